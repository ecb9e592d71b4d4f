package gateway

import (
	"slices"
	"time"
)

// GrantRecord is what a gateway remembers of a grant. It is kept for ever, without
// what is personal, so that an older version or a spent use never comes back.
type GrantRecord struct {
	Grant         // PIN is always empty here
	Used   int    // entries so far, over all versions
	Block  bool   // a resident deleted it: denied here until a higher version comes
	Digest []byte // keyed hash of the claims: tells an equal version with other claims
	// Stripped: it is past its retention and what it said is gone, so that it is never judged again.
	Stripped bool
	Spoilt   bool // limited, and from before a backup was restored: void (D7)

	// What the house alone knows of a grant that was made at home.
	Kind  Kind       // as its maker said; "": not said
	Maker ResidentID // who made it; "": whoever was at the console, or it is forgotten

	// Entry is the newest entry by a grant for several doors.
	Entry *GrantEntry
}

// EntryLasts is how long an entry may take from its first door to its last: a use opens each of the
// grant's doors once meanwhile, as a hall and a flat.
const EntryLasts = 15 * time.Minute

// GrantEntry is an entry by a grant for several doors. It needs no clock of the day within a boot.
type GrantEntry struct {
	Episode   AttemptID     `json:"episode"` // the attempt at its first door
	Doors     []DoorID      `json:"doors"`   // that it has opened
	Began     time.Time     `json:"began"`   // not before this instant
	Boot      string        `json:"boot"`
	SinceBoot time.Duration `json:"since_boot"`
}

// Continues reports whether an attempt at a door at a reading belongs to the entry: it is not over,
// and has not opened that door.
func (e *GrantEntry) Continues(door DoorID, r Reading) bool {
	switch {
	case e == nil || slices.Contains(e.Doors, door):
		return false
	case e.Boot == r.Boot:
		return r.SinceBoot-e.SinceBoot < EntryLasts
	}
	return r.State != ClockUndecided && !e.Began.After(r.Latest) && r.Latest.Sub(e.Began) < EntryLasts
}

// Unsure reports whether nobody can say if the entry goes on at a door: the machine has started anew
// since, and the clock is not believed.
func (e *GrantEntry) Unsure(door DoorID, r Reading) bool {
	return e != nil && !slices.Contains(e.Doors, door) && e.Boot != r.Boot && r.State == ClockUndecided
}

// Whom says whom the grant is for: as its maker said, else as its hours and uses tell.
func (r *GrantRecord) Whom() Kind {
	switch {
	case r.Kind != "":
		return r.Kind
	case r.Schedule != nil:
		return KindEmployee
	case r.Uses == 1:
		return KindCourier
	}
	return KindTechnician
}

// UsesLeft is the number of entries left; ok is false where there is no limit.
func (r *GrantRecord) UsesLeft() (n int, ok bool) {
	if r.Uses == 0 {
		return 0, false
	}
	if r.Spoilt {
		return 0, true
	}
	return max(r.Uses-r.Used, 0), true
}

// PINRecord is a live PIN at one door, or a card.
type PINRecord struct {
	Grant  GrantID
	Door   DoorID
	Length int        // in digits; 0: a card
	Owner  ResidentID // whose own it is, if anybody's
	Duress ResidentID // whose duress PIN it is, if anybody's
	Unsure bool       // that resident is not confirmed: it opens nothing
}

// Own reports whether it is a resident's own. A duress PIN is, too: it must look like any other.
func (p *PINRecord) Own() bool { return p.Owner != "" || p.Duress != "" }

// Guess is a PIN or card that an issuer tries and that was not its grant's before. It has so many
// different ones a day (I2).
type Guess struct {
	Issuer IssuerID
	Day    string
	Card   bool
	MAC    []byte // keyed hash of what it tries, another each day
	Most   int    // of its kind in a day
}

// IssuerState is what a gateway remembers of an issuer.
type IssuerState struct {
	Paused     *Pause    // nil: it is not
	HeardAt    time.Time // newest iat of any verified document, by the issuer's word
	ManifestAt time.Time // newest iat of a verified manifest
	Today      int       // entries since midnight
}

// LastSign is when the issuer last gave a sign of life, for its offline limit: its newest manifest; until the
// first one, its newest document. Zero: never.
func (s *IssuerState) LastSign() time.Time {
	if s.ManifestAt.IsZero() {
		return s.HeardAt
	}
	return s.ManifestAt
}

// SignLeeway is how far ahead an issuer's clock may be.
const SignLeeway = time.Minute

// Disproved reports an issuer whose last sign of life had a date that turned out to lie in the future, so that
// it counts for nothing (T3): it is kept as one of 1970.
func (s *IssuerState) Disproved() bool {
	last := s.LastSign()
	return !last.IsZero() && !last.After(DisprovedAt)
}

// DisprovedAt is what such a date becomes.
var DisprovedAt = time.Unix(1, 0).UTC()

// Silent reports whether the issuer was not heard from for longer than a limit (A9). A date that is
// still to come is no sign of life (T3).
func (s *IssuerState) Silent(limit time.Duration, r Reading) bool {
	last := s.LastSign()
	return r.Latest.Sub(last) > limit || last.After(r.Latest.Add(SignLeeway))
}

// Throttle is a reader's memory of wrong PINs and unknown cards (P2–P4).
type Throttle struct {
	Failures int            `json:"failures"` // in a row
	Level    int            `json:"level"`    // lock-outs in a row
	Recent   []ThrottleMark `json:"recent"`   // of the last 24 hours
	// LockedFor is the length of the lock-out that Locked began. After a restart
	// it runs anew from the start: a power cut shortens nothing.
	Locked    time.Duration `json:"locked"` // since boot
	LockedFor time.Duration `json:"locked_for"`
	Boot      string        `json:"boot"`
	// PausedAt is when third parties' PINs and cards paused at this reader; zero: they do not.
	PausedAt time.Time `json:"paused_at,omitzero"`
	// Spare is how many failures a lift still allows before the next pause.
	Spare int `json:"spare,omitempty"`
}

// ThrottleMark is one failure, on both clocks.
type ThrottleMark struct {
	At        time.Time     `json:"at"`
	Boot      string        `json:"boot"`
	SinceBoot time.Duration `json:"since_boot"`
}
