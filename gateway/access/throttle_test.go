package access

import (
	"encoding/json"
	"fmt"
	"math/rand/v2"
	"testing"
	"time"

	"gardien/gateway"
)

var noon = time.Date(2026, 11, 23, 12, 0, 0, 0, time.UTC)

// reader is a reader's throttle, and the machine that it lives on.
type reader struct {
	t    *testing.T
	th   gateway.Throttle
	wall time.Time
	up   time.Duration
	boot int
	sure gateway.ClockState
}

func newReader(t *testing.T) *reader {
	return &reader{t: t, wall: noon, up: time.Hour, sure: gateway.ClockSynced}
}

func (r *reader) now() gateway.Reading {
	x := gateway.Reading{Wall: r.wall, Earliest: r.wall, Latest: r.wall, State: r.sure, Boot: fmt.Sprint(r.boot), SinceBoot: r.up}
	if r.sure == gateway.ClockUndecided {
		x.Earliest, x.Latest = noon.AddDate(0, 0, -30), gateway.MaxTime
	}
	return x
}

func (r *reader) pass(d time.Duration) { r.wall, r.up = r.wall.Add(d), r.up+d }

// restart is a new process: what it knows went through the database.
func (r *reader) restart() {
	r.t.Helper()
	b, err := json.Marshal(r.th)
	if err != nil {
		r.t.Fatal(err)
	}
	r.th = gateway.Throttle{}
	if err := json.Unmarshal(b, &r.th); err != nil {
		r.t.Fatal(err)
	}
	r.th = resume(r.th, r.now())
}

func (r *reader) reboot() { r.boot++; r.up = 10 * time.Second; r.restart() }

// wrong types a wrong PIN, if the reader takes one.
func (r *reader) wrong() (taken, locked bool) {
	if lockedOut(r.th, r.now()) {
		return false, false
	}
	if r.th.Boot == "" {
		r.th = resume(r.th, r.now())
	}
	r.th, locked = failed(r.th, r.now())
	return true, locked
}

// lockFor waits out a lock-out, second by second, and tells how long it was.
func (r *reader) lockFor() (d time.Duration) {
	for lockedOut(r.th, r.now()) {
		r.pass(time.Second)
		d += time.Second
	}
	return d
}

func TestLockOuts(t *testing.T) {
	r := newReader(t)
	for i := range 3 {
		if taken, locked := r.wrong(); !taken || locked || lockedOut(r.th, r.now()) {
			t.Fatalf("failure %d is not free", i+1)
		}
	}
	for i, want := range []time.Duration{30, 60, 120, 240, 480, 900, 900, 900} {
		if taken, locked := r.wrong(); !taken || !locked {
			t.Fatalf("lock-out %d does not begin", i+1)
		}
		if taken, _ := r.wrong(); taken {
			t.Errorf("lock-out %d: a PIN is taken", i+1)
		}
		if got := r.lockFor(); got != want*time.Second {
			t.Errorf("lock-out %d is %v, want %v", i+1, got, want*time.Second)
		}
	}
	for what, end := range map[string]func(gateway.Throttle) gateway.Throttle{"a resident's own PIN": ended, "a lift": lifted} {
		again := *r
		again.wrong()
		again.th = end(again.th)
		for i := range 3 {
			if taken, locked := again.wrong(); !taken || locked {
				t.Errorf("failure %d after %s is not free", i+1, what)
			}
		}
		if _, locked := again.wrong(); !locked || again.lockFor() != 30*time.Second {
			t.Errorf("the first lock-out after %s is not 30 s", what)
		}
	}
}

// TestLockOutSurvives: no restart, power cut or step shortens a lock-out (P4).
func TestLockOutSurvives(t *testing.T) {
	for name, disturb := range map[string]func(*reader){
		"restart":          func(r *reader) { r.restart() },
		"another boot":     func(r *reader) { r.reboot() },
		"two boots":        func(r *reader) { r.reboot(); r.reboot() },
		"clock steps on":   func(r *reader) { r.wall = r.wall.AddDate(10, 0, 0) },
		"clock steps back": func(r *reader) { r.wall = r.wall.AddDate(-10, 0, 0) },
		"clock is lost":    func(r *reader) { r.sure = gateway.ClockUndecided },
		"step and boot":    func(r *reader) { r.wall = r.wall.AddDate(1, 0, 0); r.reboot() },
	} {
		for after := time.Duration(0); after < 120*time.Second; after += 7 * time.Second {
			r := newReader(t)
			for r.th.Level < 3 {
				r.wrong()
				if r.th.Level < 3 {
					r.lockFor()
				}
			}
			r.pass(after)
			disturb(r)
			if got := after + r.lockFor(); got < 120*time.Second {
				t.Errorf("%s after %v: the lock-out is %v, want 2 min", name, after, got)
			}
			if _, locked := r.wrong(); !locked || r.th.LockedFor != 240*time.Second {
				t.Errorf("%s: the next lock-out is %v", name, r.th.LockedFor)
			}
		}
	}
}

// TestDay: at fifty failures in 24 hours third-party PINs pause, until a resident or
// the next day (P3).
func TestDay(t *testing.T) {
	paris, err := time.LoadLocation("Europe/Paris")
	if err != nil {
		t.Fatal(err)
	}
	paused := func(r *reader) bool { return pausedToday(r.th, r.now(), paris) }
	// fail types n wrong PINs, ten minutes apart.
	fail := func(r *reader, n int) {
		for range n {
			r.lockFor()
			if taken, _ := r.wrong(); !taken {
				t.Fatal("locked out")
			}
		}
	}
	r := newReader(t)
	r.wall = time.Date(2026, 11, 23, 0, 30, 0, 0, paris)
	fail(r, 49)
	if paused(r) {
		t.Error("paused at 49")
	}
	early := *r
	early.th = lifted(early.th)
	fail(&early, 9)
	if paused(&early) {
		t.Error("a lift at 49 does not allow ten further failures")
	}
	fail(&early, 1)
	if !paused(&early) {
		t.Error("not paused at 59, ten failures after a lift")
	}
	fail(r, 1)
	if !paused(r) {
		t.Error("not paused at 50")
	}
	if len(r.th.Recent) > 50 {
		t.Errorf("%d marks are kept", len(r.th.Recent))
	}
	for what, end := range map[string]func(gateway.Throttle) gateway.Throttle{"a resident's own PIN": ended, "a lift": lifted} {
		again := *r
		again.th = end(again.th)
		again.restart()
		if n := len(recent(again.th, again.now())); n != 50 || paused(&again) {
			t.Errorf("after %s: %d failures of the day, paused %v", what, n, paused(&again))
		}
		fail(&again, 9)
		if paused(&again) {
			t.Errorf("paused nine failures after %s", what)
		}
		fail(&again, 1)
		if !paused(&again) {
			t.Errorf("not paused ten failures after %s", what)
		}
	}
	lost := *r
	lost.sure = gateway.ClockUndecided
	lost.wall = lost.wall.AddDate(1, 0, 0)
	if !paused(&lost) {
		t.Error("a clock that nobody believes ends the pause")
	}
	booted := *r
	booted.reboot()
	if !paused(&booted) {
		t.Error("a power cut ends the pause")
	}
	r.wall = time.Date(2026, 11, 23, 23, 59, 59, 0, paris)
	if !paused(r) {
		t.Error("the pause ends before midnight")
	}
	r.pass(time.Second)
	if paused(r) {
		t.Error("the pause does not end at midnight")
	}
	// Another day, another fifty: the pause is not once only.
	r.pass(30 * time.Hour)
	fail(r, 49)
	if paused(r) {
		t.Error("paused at 49 of another day")
	}
	fail(r, 1)
	if !paused(r) {
		t.Error("not paused at 50 of another day")
	}
}

// TestFiftyADay: whatever somebody does at a reader, third-party PINs take at most
// fifty wrong ones in any 24 hours before they pause, and ten more for each lift.
func TestFiftyADay(t *testing.T) {
	seed := rand.Uint64()
	rng := rand.New(rand.NewPCG(seed, 2))
	for range 200 {
		r := newReader(t)
		var at, lifts []time.Duration
		elapsed := time.Duration(0)
		wait := func(d time.Duration) { r.pass(d); elapsed += d }
		for range 400 {
			switch rng.IntN(8) {
			case 0:
				r.restart()
			case 1: // the clock is right again after a power cut
				if rng.IntN(10) == 0 {
					r.reboot()
				}
			case 2:
				if rng.IntN(10) == 0 {
					r.th = lifted(r.th)
					lifts = append(lifts, elapsed)
				}
			case 3:
				wait(time.Duration(rng.Int64N(int64(3 * time.Hour))))
			default:
				if lockedOut(r.th, r.now()) {
					wait(r.th.LockedFor - (r.up - r.th.Locked))
				}
				if pausedToday(r.th, r.now(), time.UTC) {
					break
				}
				if taken, _ := r.wrong(); taken {
					at = append(at, elapsed)
				}
			}
		}
		for i := range at {
			n := 0
			for _, b := range at[i:] {
				if b-at[i] < day {
					n++
				}
			}
			more := 0
			for _, l := range lifts {
				if l >= at[i] && l-at[i] < day {
					more += afterALift
				}
			}
			if len(lifts) > 0 && lifts[0] < at[i] { // what it has left over
				more += afterALift
			}
			// At midnight one more is taken before the next pause begins.
			if n > dayFailures+more+1 {
				t.Fatalf("seed %d: %d failures within 24 hours, of which lifts allow %d", seed, n, more)
			}
		}
	}
}

func TestRecent(t *testing.T) {
	r := newReader(t)
	r.wrong()
	r.pass(day - time.Second)
	r.wall = r.wall.AddDate(0, 0, 3) // steps do not age failures within a boot
	if n := len(recent(r.th, r.now())); n != 1 {
		t.Errorf("%d failures, want 1", n)
	}
	r.pass(time.Second)
	if n := len(recent(r.th, r.now())); n != 0 {
		t.Errorf("%d failures after 24 hours", n)
	}
	r = newReader(t)
	r.wrong()
	r.pass(time.Hour)
	r.reboot()
	r.wall = r.wall.AddDate(0, 0, 3)
	r.sure = gateway.ClockUndecided
	if n := len(recent(r.th, r.now())); n != 1 {
		t.Errorf("%d failures of another boot while the clock is undecided, want 1", n)
	}
	r.sure = gateway.ClockHoldover
	if n := len(recent(r.th, r.now())); n != 0 {
		t.Errorf("%d failures of another boot, days ago", n)
	}
}
