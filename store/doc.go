// Package store keeps the gateway's memory in one SQLite file: grants and their
// uses, PINs as keyed hashes, throttles, issuers' state, residents, and the
// hash-chained record of events.
//
// # Durability
//
// There is one writer. [Store.Update] commits with WAL and synchronous=FULL: when
// it returns, the transaction has been through fsync (D1, D2). [Store.Follow] is
// for outcomes that follow a durable decision (the leaf opened, the strike was
// secured): it commits without fsync, so it survives any crash of the process at
// once and a power cut from the next Update on; WAL recovery keeps a prefix, so
// nothing that was acknowledged is lost and the chain never has a hole. That is
// how an opening costs one fsync before the release and one after it.
// Checkpoints run in [Keeper.Run], never on the way to a strike.
//
// The table "state" holds the small things that every decision touches (floor,
// chain head, open entries, entries per day, throttles), so that they share one
// page and a decision writes three. Pages are small for the same reason.
//
// # A disk that takes no writes
//
// A database in memory stands in for the one on the disk, with all rows that are alive
// and none of the record (D5, standin.go). It makes nothing durable, and whoever decides
// asks [House.Degraded]. When the disk takes writes again, what happened goes into the
// database, its events marked as late.
//
// # Recency
//
// A database that is older than what it once acknowledged is not trusted (R1): the
// witness beside it, the end of its own record, and the gateway's word at its cloud bear
// witness. What was taken away for good is in a file beside it (R3), and so is a second
// copy of whose devices open (D4).
//
// # Memory of the dead
//
// The highest version of a grant stands for ever, so rows of grants are never
// deleted, only stripped. A file that SQLite finds broken, or that is missing
// where there has been one, is set aside and never silently made anew (D4): the
// new one starts with third parties paused and with every limited grant from
// before it void. A restored backup does the same (D7).
package store
