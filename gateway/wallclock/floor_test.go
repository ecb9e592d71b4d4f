package wallclock

import (
	"fmt"
	"math/rand/v2"
	"strings"
	"testing"
	"time"

	"gardien/gateway"
)

func TestFloor(t *testing.T) {
	b := newBench(t, func(b *bench) { b.ntp() })
	b.pass(day)
	b.save()
	floor := b.Floor(b.Read())
	if !floor.Equal(b.Read().Earliest) {
		t.Errorf("the floor is %v, the earliest now %v", floor, b.Read().Earliest)
	}
	b.reboot(time.Hour, -7*day)
	b.start(t)
	if r := b.expect(t, undecided, "after a power cut"); !r.Earliest.Equal(floor) {
		t.Errorf("the earliest now is %v, want the floor %v", r.Earliest, floor)
	}
	b.sync = b.truth.Add(b.offset) // evidence that says it is before the floor
	b.expect(t, undecided, "a sync from before the floor")
	b.ntp()
	b.expect(t, synced, "a sync")
	b.opts.Build = b.truth.Add(time.Hour)
	b.start(t)
	if r := b.look(t); r.State != undecided || !r.Earliest.Equal(b.opts.Build) {
		t.Errorf("built in the future: %s, the floor is %v, want the build time", r.State, r.Earliest)
	}
}

// TestAbsurdFuture: a server that lies moves the floor to 2040; a resident's word
// brings it back (T3).
func TestAbsurdFuture(t *testing.T) {
	b := newBench(t, func(b *bench) { b.ntp() })
	b.pass(time.Minute)
	b.lie(14 * 365 * day)
	b.expect(t, synced, "the lie is evidence like any other")
	b.save()
	b.pass(time.Hour)
	b.ntp()
	for range 10 {
		if r := b.look(t); r.State != undecided || r.Earliest.Year() < 2040 {
			t.Fatalf("%s, from %v", r.State, r.Earliest)
		}
		b.pass(time.Hour)
		b.ntp()
	}
	r, err := b.Confirm(t.Context(), "")
	if err != nil || r.State == undecided || !r.Earliest.Equal(b.truth) {
		t.Errorf("confirmed: %s from %v, %v", r.State, r.Earliest, err)
	}
	if !b.memory.saved.Floor.Equal(b.truth) {
		t.Errorf("the saved floor is %v", b.memory.saved.Floor)
	}
	b.pass(time.Hour)
	b.start(t)
	b.ntp()
	b.expect(t, synced, "after a restart and a sync")
	b.reboot(time.Hour, -time.Hour)
	b.start(t)
	if r := b.expect(t, undecided, "after a power cut"); r.Earliest.Year() != 2026 {
		t.Errorf("the floor is %v again", r.Earliest)
	}
}

func TestYears(t *testing.T) {
	b := newBench(t, func(b *bench) {
		b.offset = time.Date(2000, 1, 1, 0, 0, 0, 0, time.UTC).Sub(b.truth)
		b.sync = b.truth.Add(b.offset)
	})
	b.expect(t, undecided, "2000, and something says that it is synchronised")
	b = newBench(t, func(b *bench) { b.offset = time.Date(2040, 1, 1, 0, 0, 0, 0, time.UTC).Sub(b.truth) })
	if r := b.expect(t, undecided, "2040 without evidence"); r.Earliest.After(b.truth) || !r.Earliest.Equal(built) {
		t.Errorf("the floor is %v", r.Earliest)
	}
	b.save()
	b.ntp()
	b.expect(t, synced, "a sync")
	b = newBench(t, func(b *bench) { b.truth = time.Date(2040, 2, 29, 12, 0, 0, 0, time.UTC); b.ntp() })
	b.expect(t, synced, "truly 2040")
}

// TestNeverInsideAgain plays steps, syncs, restarts, power cuts and reads
// at random. As long as the servers tell the truth and nobody confirms by word: the
// truth lies within each trusted reading, what one process has surely known to be
// over never comes back, and across processes nothing that was saved (T1).
func TestNeverInsideAgain(t *testing.T) {
	const s = time.Second
	first := rand.Uint64N(1 << 40)
	for seed := first; seed < first+3000; seed++ {
		r := rand.New(rand.NewPCG(seed, 3))
		var known, kept time.Time
		var steps []string
		b := newBench(t, func(b *bench) {
			b.offset = []time.Duration{0, -365 * day, time.Hour, -time.Hour}[r.IntN(4)]
			b.truth = b.truth.Add(time.Duration(r.Int64N(int64(day))))
		})
		straight := b.offset == 0 // the clock has not been moved since it was right
		for range 60 {
			op := r.IntN(11)
			switch op {
			case 0, 1, 2, 3:
				b.pass([]time.Duration{time.Duration(r.Int64N(int64(2 * s))), time.Duration(r.Int64N(int64(40 * s))), time.Duration(r.Int64N(int64(time.Hour))), time.Duration(r.Int64N(int64(20 * day)))}[r.IntN(4)])
			case 4:
				b.look(t)
			case 5, 6:
				b.ntp()
				straight = true
			case 7:
				b.step([]time.Duration{-s, -3 * s, -time.Minute, -time.Hour, -90 * day, 400 * s, time.Hour, 90 * day}[r.IntN(8)])
				straight = false
				if b.offset.Abs() < 10*s {
					b.look(t) // small steps are not seen: Run looks every 30 s, so there is one between looks
				}
			case 8:
				b.save()
				kept = later(kept, b.memory.saved.Floor)
			case 9:
				b.start(t)
				known = kept
			case 10:
				if r.IntN(3) == 0 {
					off := []time.Duration{0, -time.Minute, -time.Hour, -30 * day, time.Hour}[r.IntN(5)]
					b.reboot(time.Duration(r.Int64N(int64(10*day))), off)
					straight = off == 0
					b.start(t)
					known = kept
				}
			}
			x := b.Read()
			steps = append(steps, fmt.Sprintf("%d: truth %v off %v synced %v: %s %v – %v", op, b.truth, b.offset, b.machine.sync, x.State, x.Earliest, x.Latest))
			bad := ""
			switch {
			case x.Earliest.Before(known):
				bad = fmt.Sprintf("the earliest now falls below %v", known)
			case x.In(gateway.Period{NotBefore: gateway.MinTime, NotAfter: known}) == gateway.PlaceInside:
				bad = "a grant that was over is valid again"
			case x.State != undecided && b.offset.Abs() > StepForward && b.offset != 0 && !straight:
				bad = "a clock that was stepped is believed"
			case x.State != undecided && straight && (b.truth.Before(x.Earliest.Add(-s)) || b.truth.After(x.Latest.Add(s))):
				bad = "the truth is outside"
			}
			if bad != "" {
				t.Fatalf("seed %d: %s\n%s", seed, bad, strings.Join(steps, "\n"))
			}
			known = later(known, x.Earliest)
			if b.unsaved { // as Run does, poked by what it sees
				b.save()
				kept = later(kept, b.memory.saved.Floor)
			}
		}
	}
}
