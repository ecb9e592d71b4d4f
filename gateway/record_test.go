package gateway

import (
	"testing"
	"time"
)

// An entry by a grant for several doors goes on at each other door once, for 15 minutes: by the boot
// clock, and after a restart of the machine by the clock of the day where that is believed.
func TestEntryContinues(t *testing.T) {
	began := time.Date(2027, 3, 1, 9, 0, 0, 0, time.UTC)
	e := &GrantEntry{Episode: "a1", Doors: []DoorID{"hall"}, Began: began, Boot: "b1", SinceBoot: time.Hour}
	same := func(after time.Duration) Reading { // the clock of the day stands wrong, and that does not matter
		return Reading{Earliest: MinTime, Latest: MaxTime, State: ClockUndecided, Boot: "b1", SinceBoot: time.Hour + after}
	}
	other := func(after time.Duration, state ClockState) Reading {
		return Reading{Earliest: began.Add(after - time.Minute), Latest: began.Add(after), State: state, Boot: "b2", SinceBoot: time.Minute}
	}
	for _, tc := range []struct {
		what string
		e    *GrantEntry
		door DoorID
		at   Reading
		want bool
	}{
		{"no entry", nil, "flat", same(0), false},
		{"the same door", e, "hall", same(0), false},
		{"another door", e, "flat", same(EntryLasts - 1), true},
		{"another door, too late", e, "flat", same(EntryLasts), false},
		{"after a restart", e, "flat", other(EntryLasts-1, ClockSynced), true},
		{"after a restart, perhaps too late", e, "flat", other(EntryLasts, ClockHoldover), false},
		{"after a restart, the clock undecided", e, "flat", other(time.Minute, ClockUndecided), false},
	} {
		if got := tc.e.Continues(tc.door, tc.at); got != tc.want {
			t.Errorf("%s: %v", tc.what, got)
		}
	}
}
