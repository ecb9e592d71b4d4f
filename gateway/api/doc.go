// Package api is the local JSON API (contract §5): its handlers, its OpenAPI text
// and its Go client.
//
// One table of routes is the source of the multiplexer and of
// /v1/openapi.json, so that neither knows a route that the other does not. What the
// handlers ask for is [Backend], which the daemon plugs in; the types of this
// package are the JSON of the wire.
//
// On the Unix socket ([Socket]) the kernel's peer credentials are the authentication: root,
// the daemon's own user and group gardien act as resident and installer. On the home network
// ([LAN]) a paired device authenticates by its bearer token or its session's cookie, and signs
// its acts if it has a key. Without either there is the gateway's id, and what a courier needs
// to present a grant (W8). Reading never changes state (W2).
//
//   - routes.go: the table, with who may call each.
//   - rights.go: who asks, and whether they may; proofs of acts.
//   - server.go, serve_*.go, stream.go: the handlers.
//   - lan.go, front.go, socket.go: the listeners, and the page for those who have not paired.
package api
