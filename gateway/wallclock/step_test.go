package wallclock

import (
	"fmt"
	"testing"
	"time"

	"gardien/gateway"
)

func TestSteps(t *testing.T) {
	for _, tt := range []struct {
		step time.Duration
		want gateway.ClockState
	}{
		{-StepBack, synced}, {-StepBack - 1, undecided}, {-time.Hour, undecided}, {-40 * 365 * day, undecided},
		{StepForward, synced}, {StepForward + 1, undecided}, {24 * 365 * day, undecided},
	} {
		t.Run(tt.step.String(), func(t *testing.T) {
			b := newBench(t, func(b *bench) { b.ntp() })
			b.pass(10 * time.Second)
			before := b.expect(t, synced, "before")
			b.step(tt.step)
			r := b.expect(t, tt.want, "after the step")
			if r.Earliest.Before(before.Earliest) {
				t.Errorf("the earliest now falls from %v to %v", before.Earliest, r.Earliest)
			}
			if tt.want != undecided {
				return
			}
			b.pass(time.Minute)
			b.expect(t, undecided, "with the old evidence only")
			b.ntp()
			b.expect(t, synced, "after a sync")
		})
	}
}

// TestStaleEvidence: the clock is set back; on the clock as it is now, an old sync
// looks fresh as soon as the clock comes by its time again. It must not count (T4).
func TestStaleEvidence(t *testing.T) {
	for _, back := range []time.Duration{3 * time.Second, 10 * time.Second, time.Minute, time.Hour, 5 * time.Hour} {
		for _, age := range []time.Duration{0, time.Second, 30 * time.Second, 20 * time.Minute} {
			for _, restart := range []bool{false, true} {
				t.Run(fmt.Sprintf("%v back, synced %v before, restart %v", back, age, restart), func(t *testing.T) {
					b := newBench(t, func(b *bench) { b.ntp() })
					b.pass(10 * time.Minute)
					b.ntp()
					b.expect(t, synced, "before")
					b.pass(age)
					b.save()
					b.step(-back)
					if restart {
						b.start(t)
					}
					for passed := time.Duration(0); passed < 2*back+time.Hour; passed += 7 * time.Second {
						if b.look(t).State != undecided {
							t.Fatalf("believed %v after the step", passed)
						}
						b.pass(7 * time.Second)
					}
					b.ntp()
					b.expect(t, synced, "after a sync")
				})
			}
		}
	}
}

// TestUnseenSync: the sync itself came after the last look.
func TestUnseenSync(t *testing.T) {
	b := newBench(t, func(b *bench) { b.ntp() })
	b.pass(10 * time.Second)
	b.expect(t, synced, "before")
	b.pass(20 * time.Second)
	b.ntp() // nobody looks
	b.pass(5 * time.Second)
	b.step(-10 * time.Second)
	for range 100 {
		b.expect(t, undecided, "after the step")
		b.pass(time.Second)
	}
}

// TestFutureEvidence: a sync from a time to come was made on another clock.
func TestFutureEvidence(t *testing.T) {
	b := newBench(t, func(b *bench) { b.ntp(); b.pass(10 * time.Minute); b.step(-time.Hour) })
	for range 100 {
		b.expect(t, undecided, "file from the future")
		b.pass(time.Minute)
	}
	b.ntp()
	b.expect(t, synced, "after a sync")
}

// TestRestartAfterStep: a restart is no confirmation, however often and whenever the
// state was saved.
func TestRestartAfterStep(t *testing.T) {
	for _, step := range []time.Duration{-time.Hour, time.Hour, -3 * time.Second} {
		b := newBench(t, func(b *bench) { b.ntp() })
		b.pass(time.Minute)
		b.save()
		b.step(step)
		b.expect(t, undecided, "after the step")
		for range 5 {
			b.save() // with the clock as it is now
			b.start(t)
			b.expect(t, undecided, fmt.Sprint("after a restart, stepped ", step))
			b.pass(30 * time.Minute)
		}
		b.ntp()
		b.expect(t, synced, "after a sync")
		b.pass(time.Minute)
		b.save()
		b.start(t)
		b.expect(t, synced, "after another restart")
	}
}
