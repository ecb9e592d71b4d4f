package access

import (
	"context"
	"time"

	"gardien/gateway"
)

// Ledger is the durable memory.
type Ledger interface {
	// Update is durable when it returns; an error leaves nothing behind.
	Update(context.Context, func(Tx) error) error
	// Follow survives a crash at once, and a power cut from the next Update on.
	Follow(context.Context, func(Tx) error) error
	// View looks at one instant, and changes nothing.
	View(context.Context, func(Tx) error) error
	// Browse is View for whoever reads much: no decision waits for it.
	Browse(context.Context, func(Tx) error) error
}

// Tx is one transaction, sorted by what it speaks of. The first error of the database sticks:
// later calls do nothing and give zero values, and nothing is committed.
type Tx struct {
	Grants  Grants
	Codes   Codes
	Issuers Issuers
	Feed    Feed
	House   House
	Record  Record
	Err     func() error // the first error of the database
}

// Grants is what is remembered of grants.
type Grants interface {
	// Get finds a grant; false: nothing is remembered of it.
	Get(gateway.GrantID) (gateway.GrantRecord, bool)
	// Put stores a version, whichever was there; uses go on counting, a block ends.
	Put(g gateway.Grant, digest []byte)
	// Block denies a grant until a higher version is put.
	Block(gateway.GrantID)
	// Spend takes one use, and reports false where none is left: for any number of presenters.
	Spend(gateway.GrantID) bool
	// PutEntry keeps the newest entry by a grant for several doors.
	PutEntry(gateway.GrantID, gateway.GrantEntry)
	// Note keeps whom a grant is for, and who made it.
	Note(gateway.GrantID, gateway.Kind, gateway.ResidentID)
	// MarkEnded notes that a grant's end is in the record, and reports false where it was.
	MarkEnded(gateway.GrantID) bool
	// Ending lists up to limit grants that are over at an instant and not marked so.
	Ending(t time.Time, limit int) []gateway.GrantRecord
	// DeadCodes lists up to limit grants with live codes that have no uses left, or that are over
	// at an instant, by id after one; zero: whenever they end.
	DeadCodes(over time.Time, after gateway.GrantID, limit int) []gateway.GrantRecord
	// Visiting hands to take, which must ask nothing itself, each active grant whose period meets
	// from..to and that may have an entry left. Residents' own PINs and duress PINs are no visits,
	// and neither is a grant made at home that nothing presents any more.
	Visiting(from, to time.Time, take func(gateway.GrantRecord))
}

// Codes is the live PINs and cards of doors, as keyed hashes (P6).
type Codes interface {
	// Find finds a live PIN or card.
	Find(door gateway.DoorID, mac []byte) (gateway.PINRecord, bool)
	// Of finds a grant's live PIN at a door.
	Of(gateway.GrantID, gateway.DoorID) (gateway.PINRecord, bool)
	// HasCard reports whether a grant has a live card at a door.
	HasCard(gateway.GrantID, gateway.DoorID) bool
	// Live counts the live PINs of a length that a grant's issuer has at a door, its own aside.
	Live(of gateway.GrantID, door gateway.DoorID, length int) int
	// Guess counts a PIN or card that an issuer tries; see gateway.Guess.
	Guess(gateway.Guess) (within, isNew bool)
	// Put makes a PIN or card (Length 0) live; the hash must be new at its door.
	Put(p gateway.PINRecord, mac []byte)
	// Wipe removes a grant's PINs and cards from the raw file, too.
	Wipe(gateway.GrantID)
}

// Issuers is what is remembered of issuers.
type Issuers interface {
	// State is whether it is paused, when it was heard from, and its entries of a day.
	State(id gateway.IssuerID, day string) gateway.IssuerState
	// Pause pauses one until the pause's end, or resumes it (nil); false: nothing changed.
	Pause(gateway.IssuerID, *gateway.Pause) bool
	// PausesOver lists those whose pause is over at an instant.
	PausesOver(time.Time) []gateway.IssuerID
	// CountEntry counts an entry for per_day.
	CountEntry(id gateway.IssuerID, day string)
	// Heard notes the iat of a verified document; only newer ones count.
	Heard(gateway.IssuerID, time.Time)
	// ActiveLines lists active grants that end after an instant and were issued at or before
	// another, kept or refused, as a manifest does.
	ActiveLines(iss gateway.IssuerID, end, issued time.Time) []gateway.ManifestLine
	// NoteRefused notes a grant that was rightly signed and not kept; false: it was noted.
	NoteRefused(gateway.Grant) bool
	// NoteCommand notes a command; false: it came before.
	NoteCommand(gateway.Command) bool
	// Manifest finds the newest manifest.
	Manifest(gateway.IssuerID) (gateway.ManifestState, bool)
	PutManifest(gateway.ManifestState)
	// Unmatched lists the issuers whose newest manifest names other grants than are here.
	Unmatched() []gateway.IssuerID
	// PutKeys notes a key set that an issuer rotated to; false: a newer one is there.
	PutKeys(gateway.KeyRing) bool
}

// Feed is where we are in the mailbox's feed.
type Feed interface {
	// Place is the place that is reached, and the digest of what has come.
	Place() (gateway.Position, gateway.Digest)
	// Taken gives the items that need not be looked at again, by id.
	Taken() map[string]gateway.Digest
	// Note notes an item and its place; a command leaves a place only.
	Note(i gateway.FeedItem, taken bool)
	// Reset forgets all items, and goes to a place.
	Reset(gateway.Position)
	// Advance moves the place.
	Advance(seq int64)
}

// House is what concerns all of it.
type House interface {
	// Paused is the pause of all third parties, or the vacation; nil: there is none.
	Paused() *gateway.Pause
	// SetPaused replaces it; nil ends it.
	SetPaused(*gateway.Pause) error
	// Degraded reports whether the disk takes no writes, so that nothing is durable (D5).
	Degraded() bool
	// Quarantined reports whether third parties wait until a resident accepts what happened to
	// the database (R1).
	Quarantined() bool
	Throttle(gateway.ReaderID) gateway.Throttle
	PutThrottle(gateway.ReaderID, gateway.Throttle)
	// Unproved reports whether an issuer's dates, by which it counts as heard from, lie after an
	// instant.
	Unproved(time.Time) bool
	// Disprove makes such dates count for nothing for good.
	Disprove(time.Time)
	// Floor persists that it is surely not earlier; it never falls (T3).
	Floor(time.Time)
}

// Record is the hash-chained record.
type Record interface {
	// AppendAt writes events as of a reading.
	AppendAt(gateway.Reading, ...gateway.Event) error
	// Entry finds the access_granted of an entry whose release is over.
	Entry(gateway.AttemptID) (gateway.Event, bool)
}
