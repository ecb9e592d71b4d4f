// Package uplink is the gateway's end of the cloud (contract §4): it brings items in and
// carries events out, when the internet is there. No door waits for it.
//
// # Down
//
// One stream is held open, from the place that the database has. Each item is handed to
// [Feed] with its place, in one transaction, before the next. Every head of the feed is held
// against what has come; where they differ, or where the cloud answers 410, the snapshot
// is taken, whose digest is checked before it is applied. A cloud that is silent deletes
// nothing. A stream that brings no head for 40 s is behind a proxy that keeps it to
// itself: then the feed is polled.
//
// # Up
//
// Events leave from the record by a cursor, in batches, each sealed to its issuer. The
// cloud knows each by (gateway, log, seq), so a batch may go up twice and counts once. On
// every new connection the cloud is asked how far it has come: one that was restored
// from a backup gets again what it has lost.
//
// # A network that fails
//
// HTTP/2 PING finds a dead path within 15 s. Back-off is drawn from nothing to a bound
// that grows with the outage from 0.5 s to 60 s ("full jitter"). It begins anew when the
// kernel says that a link or an address came up, and after a minute in which all was well:
// a cloud that is reached and of no use (streams that end, snapshots that do not help) is
// away, too. Retry-After is honoured up to an hour, goaway up to two minutes. What answers
// and is not our cloud (a captive portal) is told by its content type and never believed.
// Answers have bounds, are never unpacked, and never redirected.
//
// # A clock that is wrong
//
// While the gateway does not know the time, a certificate is good if it was good at some
// instant that could be now, or if it has the key that was seen under a trusted clock; and
// an assertion bears the time that the cloud asks for. Neither moves the gateway's clock:
// only signed documents do.
package uplink
