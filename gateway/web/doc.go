// Package web is what the HTTP sides of Gardien share: the local API (gateway/api), the cloud's
// mailbox (gateway/cloud) and those who read them. It knows HTTP, and nothing of doors:
//
//   - json.go: bodies of one meaning (contract, "Requests and answers").
//   - problem.go: answers, and RFC 9457 problems.
//   - sse.go: server-sent events, written and read (WHATWG HTML §9.2).
//   - turns.go: how many read at once, and how long a client may take (A11).
//   - server.go: a server that bounds what a client may take (N2), and ends gracefully.
//   - crowd.go: how many connections there are, and who goes when there is no room (N2).
//   - site.go: under which names browsers may speak to a server, and from which pages (W1, W2).
//   - routes.go: a table of routes as a handler, whose every refusal is a problem.
//   - openapi.go: the same table as OpenAPI 3.1, so that text and code cannot part.
package web
