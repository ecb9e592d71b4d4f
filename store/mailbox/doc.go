// Package mailbox keeps what the cloud's mailbox holds, in SQLite for one house or in
// PostgreSQL for a city. It is one implementation: the same statements run on both, and
// one conformance suite holds both to the same promises.
//
// # The change log
//
// The table items is a log per gateway. A write locks the gateway's row, takes the next
// number from it and inserts the row, in one transaction: no reader ever sees a number
// before those below it (a cursor over a bare sequence lost 532 of 3,200 changes). The
// newest row of an item is marked current; the snapshot is the current rows. Old rows
// go after a day; when a current one goes, long after its end, the floor rises to the
// head, and whoever comes with less is told to take a snapshot.
//
// # Wake-ups
//
// Who waits for a gateway's or an issuer's feed is woken in this process at once, and in
// other replicas by NOTIFY. That is sent after the commit and in batches, since a NOTIFY
// within each transaction serialises the whole database; one that is lost costs no more
// than the 25 s until the next look.
//
// # After a backup came back
//
// A restored database has forgotten changes that it had acknowledged. Restored gives every
// feed a new epoch and moves all numbers far beyond any that were handed out, so that
// gateways take a snapshot and nothing is mistaken for what is known already. A gateway
// that comes with a number beyond its head proves the same for itself.
package mailbox
