package gateway

import "time"

// ClockState says why a Reading may be believed.
type ClockState string

const (
	ClockSynced    ClockState = "synced"    // evidence of a sync, lately
	ClockHoldover  ClockState = "holdover"  // synced in this boot (or RTC), drifting since within a bound
	ClockUndecided ClockState = "undecided" // only a floor is known
)

// MinTime and MaxTime bound every instant that Gardien takes seriously (A3). A
// grant that lasts until MaxTime is untimed.
var (
	MinTime = time.Date(2020, 1, 1, 0, 0, 0, 0, time.UTC)
	MaxTime = time.Date(2100, 12, 31, 23, 59, 59, 0, time.UTC)
)

// Reading is what time it is: an interval that the truth surely lies in (T1).
// One attempt reads the clock once and passes the Reading down.
type Reading struct {
	Wall             time.Time // best single guess, for display and the record
	Earliest, Latest time.Time // inclusive bounds
	State            ClockState
	Boot             string        // id of this boot of the machine
	SinceBoot        time.Duration // CLOCK_BOOTTIME: runs on through suspend, never steps
	// Settled: time is proved, and has stood without a jump of more than a day for 24 h of
	// running. What cannot be undone waits for it (I6).
	Settled bool
}

// Place is where a Reading lies against a Period.
type Place int

const (
	PlaceUndecided Place = iota // could be inside or outside
	PlaceBefore                 // surely not yet
	PlaceInside                 // surely valid
	PlaceOver                   // surely over
)

// In places r against p. Half-open: at NotAfter it is over.
func (r Reading) In(p Period) Place {
	switch {
	case !r.Earliest.Before(p.NotAfter):
		return PlaceOver
	case r.Latest.Before(p.NotBefore):
		return PlaceBefore
	case !r.Earliest.Before(p.NotBefore) && r.Latest.Before(p.NotAfter):
		return PlaceInside
	}
	return PlaceUndecided
}
