// Package mdns lets phones find the gateway on the home network (contract §5, §9): it announces
// _gardien._tcp.local and the host gardien-XXXX.local by multicast DNS (RFC 6762, RFC 6763). It may
// fail alone: no door waits for it (N3).
package mdns
