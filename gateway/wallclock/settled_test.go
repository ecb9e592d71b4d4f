package wallclock

import (
	"testing"
	"time"
)

// TestI6_Settled: time has stood when it was proved for 24 h of running, over restarts, without a
// jump of more than a day.
func TestI6_Settled(t *testing.T) {
	hours := func(b *bench, n int, trusted bool) {
		for range 60 * n {
			b.pass(time.Minute)
			if trusted {
				b.ntp()
			}
			b.look(t)
		}
	}
	want := func(b *bench, settled bool, when string) {
		t.Helper()
		if r := b.look(t); r.Settled != settled {
			t.Errorf("%s: settled %v (%s, stood %s)", when, r.Settled, r.State, b.standing.stood)
		}
	}
	b := newBench(t, nil)
	hours(b, 30, false)
	want(b, false, "never proved")
	b.ntp()
	hours(b, 23, true)
	want(b, false, "23 hours")
	hours(b, 2, true)
	want(b, true, "25 hours")
	b.save()
	b.start(t)
	want(b, true, "after a restart")

	// A Pi that is switched off every night adds its days up.
	b = newBench(t, func(b *bench) { b.ntp() })
	for day := range 4 {
		hours(b, 7, true)
		b.save()
		if r := b.Read(); r.Settled != (day == 3) {
			t.Errorf("after day %d of 7 hours: settled %v", day, r.Settled)
		}
		b.reboot(17*time.Hour, 0)
		b.start(t)
		b.ntp()
	}

	// A wrong date is a jump, and so is the right one after it.
	b = newBench(t, func(b *bench) { b.ntp() })
	hours(b, 25, true)
	b.lie(120 * day)
	want(b, false, "four months ahead")
	hours(b, 2, false)
	want(b, false, "four months ahead, two hours later")
	if _, err := b.Confirm(t.Context(), ""); err != nil {
		t.Fatal(err)
	}
	b.save()
	b.reboot(time.Minute, 0)
	b.start(t)
	b.ntp()
	want(b, false, "a start with the right date")

	// So it is at a start.
	b = newBench(t, func(b *bench) { b.ntp() })
	hours(b, 25, true)
	b.save()
	b.reboot(time.Hour, 120*day)
	b.sync = b.truth.Add(b.offset)
	b.start(t)
	b.lie(120 * day)
	want(b, false, "a start four months ahead")
	hours(b, 1, false)
	want(b, false, "an hour later")
}
