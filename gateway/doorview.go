package gateway

import "time"

// StrikeState is where a strike is.
type StrikeState string

const (
	StrikeIsSecured  StrikeState = "secured"
	StrikeIsReleased StrikeState = "released"
)

// Ailment is why a door is unwell: a key of contract §9.
type Ailment string

const (
	ContactFaulty   Ailment = "contact.fault"       // its wire is cut or shorted, or its line is gone
	ContactUnsure   Ailment = "contact.unknown"     // it has not told yet where the leaf is
	StrikeFaulty    Ailment = "strike.fault"        // it says itself that it does not work
	StrikeUnsecured Ailment = "strike.not_secured"  // it could not be secured the last time
	LockFaulty      Ailment = "lock.fault"          // as for a strike
	LockUnsecured   Ailment = "lock.not_secured"    // it was told to lock, and does not prove that it did
	LockIsJammed    Ailment = "lock.jammed"         //
	LockIsUnknown   Ailment = "lock.unknown"        // it is not heard from, or does not answer
	BoardVoltage    Ailment = "board.under_voltage" // of the whole gateway
)

// DoorView is what is known of a door at one instant. It is a value: looking at it waits for
// nothing, whatever the door's hardware does.
type DoorView struct {
	ID       DoorID
	Name     string
	Strike   StrikeState  // "" where there is a lock
	Contact  ContactState // "" where there is none
	Lock     LockState    // "" where nothing tells it
	HeldOpen bool
	Fault    bool // some of its hardware does not do what it is told
	// Blocked: the latch is not there, or has not answered in time. It can be moved for nobody.
	Blocked bool
	// Ailments are why it could not be closed, or be proved closed, once it is opened.
	Ailments []Ailment
	Entries  []Entry

	// SeenAt is the last instant at which this was known: now, while the hardware answers; zero: it was
	// never known. It and Since are of the process's clock.
	SeenAt time.Time
	Since  time.Time // since when Strike, Contact, Lock and HeldOpen are as they are
	// HeldSince is since when it is held open, whatever moves meanwhile; zero: it is not.
	HeldSince time.Time
	OpenedBy  Opener // while the leaf is open: who opened it; "": it is not
	Battery   *int   // of the lock, in percent; nil: none is known
}

// Opener is who opened a leaf.
type Opener string

const (
	OpenedByGrant  Opener = "grant"   // somebody who was let in, a resident included
	OpenedByHandle Opener = "handle"  // somebody inside, after a request to exit
	OpenedUnseen   Opener = "unknown" // nobody knows: a key, a break-in, or before the start
)

// Entry is one entry that goes on: its release runs, or nobody has taken it yet.
type Entry struct {
	Attempt AttemptID
	Episode AttemptID // that it belongs to; "": it began with the attempt itself
	Grant   GrantID
	Running bool      // the strike is released for it
	Retries int       // how often it may be tried again
	Until   time.Time // when that ends; zero: not while it is running
}

// Retry gives the entry that the grant may try again at an instant.
func (v *DoorView) Retry(g GrantID, now time.Time) (Entry, bool) {
	if v.Contact != ContactClosed {
		return Entry{}, false
	}
	for _, e := range v.Entries {
		if e.Grant == g && e.Retries > 0 && (e.Until.IsZero() || !now.After(e.Until)) {
			return e, true
		}
	}
	return Entry{}, false
}

// Runs reports whether the door is released for an attempt.
func (v *DoorView) Runs(a AttemptID) bool {
	for _, e := range v.Entries {
		if e.Attempt == a && e.Running {
			return true
		}
	}
	return false
}

// GoesOn reports whether an attempt's entry is not over at an instant: the door is released for it,
// or it may be tried again.
func (v *DoorView) GoesOn(a AttemptID, now time.Time) bool {
	for _, e := range v.Entries {
		if e.Attempt == a && (e.Running || e.Retries > 0 && (e.Until.IsZero() || !now.After(e.Until))) {
			return true
		}
	}
	return false
}
