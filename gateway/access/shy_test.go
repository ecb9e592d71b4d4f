package access

import (
	"testing"
	"time"

	"gardien/gateway"
)

// TestD5_Shy: while the disk takes no writes a reader takes nothing for 30 s after the start, and
// nothing after ten failures until a resident lifts it.
func TestD5_Shy(t *testing.T) {
	const born = time.Hour
	at := func(after time.Duration) gateway.Reading {
		now := time.Date(2027, 3, 1, 8, 0, 0, 0, time.UTC).Add(after)
		return gateway.Reading{Wall: now, Earliest: now, Latest: now, State: gateway.ClockSynced, Boot: "boot", SinceBoot: born + after}
	}
	var th gateway.Throttle
	if !shy(th, at(29*time.Second), born) || shy(th, at(30*time.Second), born) {
		t.Error("the first 30 s")
	}
	for n := range 10 {
		if shy(th, at(time.Hour), born) {
			t.Errorf("after %d failures", n)
		}
		th, _ = failed(th, at(time.Hour))
	}
	if !shy(th, at(time.Hour), born) {
		t.Error("ten failures")
	}
	told := func(what string, th gateway.Throttle, now gateway.Reading, degraded bool, want ShutReader) {
		t.Helper()
		if got, shut := shutNow(th, now, degraded, born); got != want || shut != want.LockedOut {
			t.Errorf("%s: %+v, %v", what, got, shut)
		}
	}
	locked := ShutReader{LockedOut: true, For: 15 * time.Minute, Since: at(time.Hour).Wall}
	told("ten failures, and a disk that works", th, at(time.Hour), false, locked)
	told("ten failures", th, at(time.Hour), true, ShutReader{LockedOut: true, Degraded: true})
	told("their lock-out is over", th, at(2*time.Hour), true, ShutReader{LockedOut: true, Degraded: true})
	told("lifted", lifted(th), at(2*time.Hour), true, ShutReader{})
	told("a start", gateway.Throttle{}, at(10*time.Second), true, ShutReader{LockedOut: true, Degraded: true, For: 20 * time.Second, Since: at(0).Wall})
	told("a start, and a disk that works", gateway.Throttle{}, at(10*time.Second), false, ShutReader{})
	long := th
	long.Recent, long.Locked = nil, at(0).SinceBoot
	told("a lock-out beyond the start", long, at(0), true, ShutReader{LockedOut: true, For: 15 * time.Minute, Since: at(0).Wall})
	if shy(lifted(th), at(time.Hour), born) {
		t.Error("lifted")
	}
}

// TestP4_OverIsOver: a lock-out that was over before the box was switched off does not begin again,
// where time has stood; else it does, for a wrong date must shorten none.
func TestP4_OverIsOver(t *testing.T) {
	now := time.Date(2027, 3, 1, 8, 0, 0, 0, time.UTC)
	r := gateway.Reading{Wall: now, Earliest: now, Latest: now, State: gateway.ClockSynced, Boot: "one", SinceBoot: time.Hour}
	var th gateway.Throttle
	for range 4 {
		th, _ = failed(th, r)
	}
	th.Boot = "one"
	later := gateway.Reading{Wall: now.Add(time.Hour), Earliest: now.Add(time.Hour), Latest: now.Add(time.Hour), State: gateway.ClockSynced, Boot: "two"}
	if got := resume(th, later); !lockedOut(got, later) {
		t.Error("the date may be wrong, and the lock-out is gone")
	}
	later.Settled = true
	if got := resume(th, later); lockedOut(got, later) {
		t.Error("an hour later, locked out for 30 s again")
	}
	soon := later
	soon.Wall, soon.Earliest, soon.Latest = now.Add(5*time.Second), now.Add(5*time.Second), now.Add(5*time.Second)
	if got := resume(th, soon); !lockedOut(got, soon) {
		t.Error("a power cut has shortened it")
	}
}
