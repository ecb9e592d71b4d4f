// Package api is the local JSON API (contract §5): its handlers, its OpenAPI text
// and its Go client.
//
// One table of routes is the source of the multiplexer and of
// /v1/openapi.json, so that neither knows a route that the other does not. What the
// handlers ask for is [Backend], which the daemon plugs in; the types of this
// package are the JSON of the wire.
//
// On the Unix socket the kernel's peer credentials are the authentication: root,
// the daemon's own user and group gardien act as resident and installer. Elsewhere a
// paired device's bearer token is. Without either there is the gateway's id, and
// what a courier needs to present a grant (W8). Reading never changes state (W2).
package api
