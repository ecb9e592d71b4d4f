// Package gateway holds Gardien's words: the types and small interfaces that
// every room of the house shares. It imports the standard library alone and
// does no I/O.
//
// # What happens when a courier comes
//
// A [Reader] hands a [Credential] to gateway/access, which finds the [Grant]
// behind it, asks its one pure rule, and writes the spend and the intent in one
// durable transaction (store). Only then is the [Strike] released, by
// gateway/doors, which watches the [Contact] and says whether anybody entered
// and whether the door closed again. Each step is an [Event] in a hash-chained
// record.
//
// # Three storeys
//
//	cmd/*                                        wiring: decides nothing about doors
//	gateway/{access,issuers,residents,tokens,certs,doors,wallclock,api,mdns,uplink,cloud}
//	drivers/* store configs systemd              rooms: never import each other
//	gateway                                      words: this package
//
// Those that speak HTTP (api, uplink, cloud) stand on gateway/web, the one half-landing. A room
// that needs another's service declares a small interface of its own, and cmd plugs it in. The
// rule is a test (arch_test.go).
//
// What strangers rely on is contract.md. What is promised in numbers, and the test that
// shows it, is promises.md; a test holds both against the code.
//
// # Words
//
// The names are the field's own: ONVIF Door Control and Access Control, Matter
// Door Lock. Open and Closed speak of the leaf, Locked and Unlocked of a bolt
// lock, Released and Secured of a strike. Instants that a person or an issuer
// wrote are RFC 3339 or NumericDate (RFC 7519); what time it is, is never a
// number but a [Reading], an interval that the truth surely lies in.
package gateway
