// Package mdns lets phones find the gateway on the home network (contract §5, §9): it announces the service
// _gardien._tcp.local and the host gardien-XXXX.local by multicast DNS (RFC 6762) and DNS-SD (RFC 6763). It
// may fail alone: no door waits for it (N3). What is announced is a hint, which anybody on the network can
// forge; whoever connects checks the key.
//
// # Who announces
//
// Where avahi-daemon runs, it does, over D-Bus: the service on each interface, and our own host
// name with that interface's addresses (counter, bus). It withdraws them a second after this
// process dies. It is followed as it comes, goes and restarts, and is never started by us.
// Elsewhere, and beside an avahi that refuses, a responder of our own does (responder, link). Mode
// avahi or builtin leaves no choice. Both at once would answer each other's questions.
//
// # The responder
//
// A link is one interface, with a small state machine that does no I/O: it probes three times,
// announces twice, then answers, each interface with its own addresses. The kernel's news of
// interfaces (rtnetlink) are gathered for 0.7 s; every 15 s it is looked without any, too. An interface
// that is new is probed; a new address of a known one is announced at once. No interface is no failure.
//
// Limits (N3): one multicast packet a second, family and interface; who asks in between gets it as
// soon as the second is over, since some programs ask but once. Ten unicast answers a second and interface,
// to addresses of that very network; whoever comes later shares the multicast one. 2,000 packets a
// second and family are read, and the kernel drops the rest, so a flood takes little of the processor.
// 20,000 questions a second are answered with less than a hundredth of their bytes (measured).
//
// # A name that somebody else has
//
// It is never changed: the certificate could not follow. The probe is repeated, up to every 30 s, one
// warning is logged, and State tells who it is. The one that has the name defends it, and warns, too.
// A gateway that avahi announces knows of a twin only if it comes second: avahi tells no more.
//
// # What zeroconf does here, and what it does not
//
// github.com/grandcat/zeroconf looks for ourselves as a phone would (Resolver.Lookup), on each interface
// that has begun to answer. A gateway that it does not find within 5 s ends the run with an error:
// a firewall bars the port, say. Its server (Register, RegisterProxy) is not used. Its source was read, and it
// was measured:
//
//   - It answers without any limit, one packet for each question of a packet: 2.6 times the bytes,
//     17.8 times with 150 questions. It opens and reads its sockets itself; nothing can stand between.
//   - The life of its records is 3,200 s until TTL is called, after the first packets are out and in a
//     race with the goroutine that sends them. A gateway that dies would be found for 53 minutes.
//   - It has no answer for the host name, to questions of old DNS, or in other cases of letters. It does
//     not probe: a second gateway replaces the first without a word. Its goodbye tells that the type of
//     service is gone, for all gateways. A socket that fails makes it spin.
//
// What is left of it would be two announcements and that goodbye; a responder that answers all else
// sends them in a dozen lines.
package mdns
