package access

import (
	"slices"
	"time"

	"gardien/gateway"
)

// The numbers of P2 and P3.
const (
	freeFailures  = 3
	firstLockOut  = 30 * time.Second
	longestLock   = 15 * time.Minute
	alarmFailures = 10
	dayFailures   = 50
	day           = 24 * time.Hour
	afterALift    = 10 // failures until the next pause, at least
)

// resume adapts a throttle to the present boot: a lock-out that another boot
// began runs anew from now, so that a power cut shortens nothing (P4).
func resume(t gateway.Throttle, now gateway.Reading) gateway.Throttle {
	if t.Boot == now.Boot {
		return t
	}
	known := now.State != gateway.ClockUndecided
	if known { // marks of a boot whose clock was ahead are as of now: else they would never age
		t.Recent = slices.Clone(t.Recent)
		for i, m := range t.Recent {
			if m.At.After(now.Latest) {
				t.Recent[i] = gateway.ThrottleMark{At: now.Wall, Boot: now.Boot, SinceBoot: now.SinceBoot}
			}
		}
		if t.PausedAt.After(now.Latest) {
			t.PausedAt = now.Wall
		}
	}
	if n := len(t.Recent); t.LockedFor > 0 {
		t.Locked = now.SinceBoot
		if now.Settled && n > 0 && now.Earliest.Sub(t.Recent[n-1].At) >= t.LockedFor {
			t.LockedFor = 0 // it was over
		}
	}
	t.Boot = now.Boot
	return t
}

// lockedOut reports whether the reader takes no PIN and no card now. It counts on the boot
// clock, which no step of the wall clock moves.
func lockedOut(t gateway.Throttle, now gateway.Reading) bool {
	return t.LockedFor > 0 && now.SinceBoot-t.Locked < t.LockedFor
}

// failed counts a wrong PIN or an unknown card; locked reports whether a lock-out begins with it.
func failed(t gateway.Throttle, now gateway.Reading) (next gateway.Throttle, locked bool) {
	t.Recent = append(recent(t, now), gateway.ThrottleMark{At: now.Wall, Boot: now.Boot, SinceBoot: now.SinceBoot})
	t.Failures++
	t.Spare = max(t.Spare-1, 0)
	if len(t.Recent) >= dayFailures && t.Spare == 0 && now.Wall.After(t.PausedAt) {
		t.PausedAt = now.Wall // another day's pause, too
	}
	if t.Failures <= freeFailures {
		return t, false
	}
	t.LockedFor = min(firstLockOut<<min(t.Level, 10), longestLock)
	t.Locked = now.SinceBoot
	t.Level++
	return t, true
}

// shy reports whether a reader takes nothing while the disk takes no writes (D5): for a while
// after the start, because a power cut has taken its memory away; and after ten failures, until a
// resident lifts it.
func shy(t gateway.Throttle, now gateway.Reading, born time.Duration) bool {
	return now.SinceBoot-born < firstLockOut || guessed(t, now)
}

// guessed reports ten failures within a day that nobody has lifted.
func guessed(t gateway.Throttle, now gateway.Reading) bool {
	return len(recent(t, now)) >= alarmFailures && t.Spare == 0
}

// recent keeps the failures of the last 24 hours: by the boot clock within a boot,
// else by the wall clock where it is believed, else all.
func recent(t gateway.Throttle, now gateway.Reading) []gateway.ThrottleMark {
	var keep []gateway.ThrottleMark
	for _, m := range t.Recent {
		age := now.SinceBoot - m.SinceBoot
		if m.Boot != now.Boot {
			if now.State == gateway.ClockUndecided {
				age = 0
			} else {
				age = now.Earliest.Sub(m.At)
			}
		}
		if age < day {
			keep = append(keep, m)
		}
	}
	return keep[max(0, len(keep)-dayFailures):]
}

// troubled reports whether there is a run or a pause to end.
func troubled(t gateway.Throttle) bool { return t.Failures != 0 || !t.PausedAt.IsZero() }

// ended ends the run of failures and the pause, as a resident's own PIN does (P2); those of the
// day stay.
func ended(t gateway.Throttle) gateway.Throttle {
	t.Failures, t.Level, t.LockedFor = 0, 0, 0
	if !t.PausedAt.IsZero() {
		t.PausedAt, t.Spare = time.Time{}, afterALift
	}
	return t
}

// lifted is ended, by a resident's act: it allows further failures in any case.
func lifted(t gateway.Throttle) gateway.Throttle {
	t = ended(t)
	t.Spare = afterALift
	return t
}

// pausedToday reports whether third parties' PINs and cards are paused at the reader: until a
// resident or the next day of a believed clock (P3).
func pausedToday(t gateway.Throttle, now gateway.Reading, zone *time.Location) bool {
	if t.PausedAt.IsZero() {
		return false
	}
	if now.State == gateway.ClockUndecided {
		return true
	}
	return now.Earliest.In(zone).Format(time.DateOnly) <= t.PausedAt.In(zone).Format(time.DateOnly)
}
