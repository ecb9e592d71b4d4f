package wallclock

import (
	"context"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"gardien/gateway"
)

func TestFirstStart(t *testing.T) {
	b := newBench(t, func(b *bench) { b.offset = -56 * 365 * day }) // 1970
	r := b.expect(t, undecided, "a Pi without network")
	if !r.Earliest.Equal(built) || !r.Latest.Before(gateway.MaxTime) || !r.Wall.Equal(built) {
		t.Errorf("from %v to %v, shown %v: want the build time at first", r.Earliest, r.Latest, r.Wall)
	}
	if got := r.In(gateway.Period{NotBefore: built, NotAfter: gateway.MaxTime}); got != gateway.PlaceInside {
		t.Errorf("an untimed grant is %v (T5)", got)
	}
	if got := r.In(gateway.Period{NotBefore: built, NotAfter: built.Add(100 * day)}); got != gateway.PlaceUndecided {
		t.Errorf("a timed grant is %v", got)
	}
	b.pass(time.Minute)
	b.ntp()
	r = b.expect(t, synced, "after the first sync")
	if !r.Wall.Equal(b.truth) {
		t.Errorf("%v, want %v", r.Wall, b.truth)
	}
}

func TestHoldover(t *testing.T) {
	b := newBench(t, func(b *bench) { b.ntp() })
	b.expect(t, synced, "at the sync")
	b.pass(SyncedFor)
	b.expect(t, synced, "after three polls")
	b.pass(time.Second)
	b.expect(t, holdover, "later")
	b.pass(10*day - SyncedFor - time.Second)
	r := b.expect(t, holdover, "after ten days")
	if want := 86400 * time.Millisecond; r.Latest.Sub(r.Wall) != want || r.Wall.Sub(r.Earliest) != want {
		t.Errorf("%v either side, want %v (100 ppm)", r.Latest.Sub(r.Wall), want)
	}
	b.pass(20 * day)
	b.expect(t, holdover, "at 30 days")
	b.pass(time.Nanosecond)
	r = b.expect(t, undecided, "after 30 days")
	if r.Earliest.Before(b.truth.Add(-5 * time.Minute)) {
		t.Errorf("the floor is %v: want what was surely past", r.Earliest)
	}
	b.ntp()
	b.expect(t, synced, "after the next sync")
}

func TestRestartKeepsTrust(t *testing.T) {
	b := newBench(t, func(b *bench) { b.ntp() })
	b.pass(5 * day)
	b.expect(t, holdover, "before")
	b.save()
	b.pass(time.Minute)
	b.start(t)
	r := b.expect(t, holdover, "after")
	if r.Latest.Sub(r.Wall) < 40*time.Second {
		t.Errorf("%v wide: the restart counts as a sync", r.Latest.Sub(r.Wall))
	}
}

func TestConfirm(t *testing.T) {
	b := newBench(t, func(b *bench) { b.sync = time.Time{} })
	b.expect(t, undecided, "no evidence")
	b.Confirm(t.Context(), "")
	b.expect(t, holdover, "a resident's word")
	b.pass(10 * day)
	if r := b.expect(t, holdover, "ten days later"); r.Latest.Sub(r.Wall) != 86400*time.Millisecond {
		t.Errorf("%v wide", r.Latest.Sub(r.Wall))
	}
	b.pass(20*day + 1)
	b.expect(t, undecided, "30 days later")
	b.Confirm(t.Context(), "")
	b.step(-time.Hour)
	b.expect(t, undecided, "stepped after a resident's word")
	b.pass(time.Minute)
	b.ntp()
	b.expect(t, synced, "a sync")
	b.pass(time.Minute)
	b.step(-time.Hour)
	b.expect(t, undecided, "stepped")
	b.offset = 0
	b.Confirm(t.Context(), "")
	b.expect(t, holdover, "a resident's word after steps")
	b.pass(time.Minute)
	b.ntp()
	b.expect(t, synced, "a sync after a resident's word")
}

func TestRTC(t *testing.T) {
	rtc := func(b *bench) { b.opts.RTC = true; b.memory.saved = Saved{Floor: b.truth, LastSync: b.truth} }
	after := func(off, offset time.Duration, change func(*bench)) *bench {
		return newBench(t, func(b *bench) {
			rtc(b)
			b.reboot(off, offset)
			if change != nil {
				change(b)
			}
		})
	}
	b := after(10*day, 0, nil)
	if r := b.expect(t, holdover, "ten days off"); r.Latest.Sub(r.Wall) != 86400*time.Millisecond {
		t.Errorf("%v wide", r.Latest.Sub(r.Wall))
	}
	b.ntp()
	b.expect(t, synced, "a sync")
	after(31*day, 0, nil).expect(t, undecided, "31 days off")
	after(day, -2*day, nil).expect(t, undecided, "the battery was flat")
	after(day, 0, func(b *bench) { b.opts.RTC = false }).expect(t, undecided, "no RTC")
	after(day, 0, func(b *bench) { b.memory.saved.LastSync = time.Time{} }).expect(t, undecided, "never synced")
	b = after(day, 0, nil)
	b.step(-time.Hour)
	b.expect(t, undecided, "an RTC is no confirmation of a step")
	b.save()
	b.start(t)
	b.expect(t, undecided, "nor after a restart")
}

func TestHasRTC(t *testing.T) {
	dir := t.TempDir()
	now := time.Unix(1795000000, 0)
	write := func(name, text string) {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	if hasRTC(dir, now) {
		t.Error("no files, but an RTC")
	}
	write("hctosys", "1\n")
	write("since_epoch", "1795000002\n")
	if !hasRTC(dir, now) {
		t.Error("an RTC is not seen")
	}
	write("since_epoch", "31\n")
	if hasRTC(dir, now) {
		t.Error("a flat battery: the clock was moved on by systemd, not by the RTC")
	}
	write("since_epoch", "1795000002\n")
	write("hctosys", "0\n")
	if hasRTC(dir, now) {
		t.Error("the kernel did not set the clock from it")
	}
}

// TestSystem: with clock.source "system" the operating system's word is enough.
func TestSystem(t *testing.T) {
	b := newBench(t, func(b *bench) { b.opts.Source = nil })
	b.expect(t, synced, "at first")
	b.step(-time.Second)
	b.expect(t, synced, "a little back")
	b.step(-time.Hour)
	b.expect(t, undecided, "below the floor: surely wrong")
	b.step(2 * time.Hour)
	b.expect(t, synced, "forward")
	sys, err := NewSystem()
	if err != nil {
		t.Fatal(err)
	}
	wall, since, boot := sys.Now()
	if boot == "" || since <= 0 || time.Since(wall).Abs() > time.Minute {
		t.Errorf("%v %v %q", wall, since, boot)
	}
	file := filepath.Join(t.TempDir(), "synchronized")
	src := Sources{Timesyncd{file}, Timesyncd{file + "2"}}
	if _, ok := src.LastSync(t.Context()); ok {
		t.Error("evidence without a file")
	}
	for i, f := range []string{file, file + "2"} {
		os.WriteFile(f, nil, 0o600)
		os.Chtimes(f, built, built.Add(time.Duration(i)*time.Hour))
	}
	if at, ok := src.LastSync(t.Context()); !ok || !at.Equal(built.Add(time.Hour)) {
		t.Errorf("%v, %v; want the latest", at, ok)
	}
}

// bubbleOS is the bubble's own time; it can be stepped.
type bubbleOS struct {
	*machine
	start time.Time
}

func (o bubbleOS) Now() (time.Time, time.Duration, string) {
	o.mu.Lock()
	defer o.mu.Unlock()
	up := time.Since(o.start)
	return o.truth.Add(up + o.offset), up + time.Hour, "boot"
}

// TestRun: one event for each change, a save every ten minutes and at the end.
func TestRun(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		os := bubbleOS{&machine{truth: time.Date(2026, 11, 23, 12, 0, 0, 0, time.UTC)}, time.Now()}
		touch := func() {
			wall, _, _ := os.Now()
			os.mu.Lock()
			defer os.mu.Unlock()
			os.machine.sync = wall
		}
		var told []string
		keeper := &memory{}
		c := New(t.Context(), Opts{OS: os, Source: os, Build: built, Keeper: keeper,
			Notify: func(_ context.Context, e gateway.Event) {
				told = append(told, strings.TrimSpace(string(e.Type)+" "+string(e.Resident)))
			}})
		ctx, cancel := context.WithCancel(t.Context())
		done := make(chan error)
		go func() { done <- c.Run(ctx) }()
		<-c.Ready()
		wait := func(d time.Duration, want ...string) {
			t.Helper()
			time.Sleep(d)
			synctest.Wait()
			if !slices.Equal(told, want) {
				t.Errorf("told %s, want %s", strings.Join(told, " "), strings.Join(want, " "))
			}
		}
		wait(time.Minute, "clock_undecided")
		touch()
		wait(5*time.Second, "clock_undecided", "clock_trusted")
		wait(time.Hour, "clock_undecided", "clock_trusted")
		if keeper.saves < 7 {
			t.Errorf("%d saves in an hour", keeper.saves)
		}
		os.step(-time.Hour)
		for range 10 {
			c.Read() // an attempt sees the step first
		}
		wait(0, "clock_undecided", "clock_trusted", "clock_undecided")
		wait(3*time.Hour, "clock_undecided", "clock_trusted", "clock_undecided")
		os.step(time.Hour)
		touch()
		wait(5*time.Second, "clock_undecided", "clock_trusted", "clock_undecided", "clock_trusted")
		os.step(time.Hour)
		wait(40*time.Second, "clock_undecided", "clock_trusted", "clock_undecided", "clock_trusted", "clock_undecided")
		os.step(-time.Hour)
		touch()
		wait(time.Minute, "clock_undecided", "clock_trusted", "clock_undecided", "clock_trusted", "clock_undecided", "clock_trusted")
		keeper.mu.Lock()
		keeper.fails = true
		keeper.mu.Unlock()
		time.Sleep(11 * time.Minute)
		saves := keeper.saves
		keeper.mu.Lock()
		keeper.fails = false
		keeper.mu.Unlock()
		time.Sleep(time.Minute)
		synctest.Wait()
		if keeper.saves != saves+1 {
			t.Errorf("%d saves in the minute after the disk was mended, want one", keeper.saves-saves)
		}
		time.Sleep(5 * time.Minute)
		wall, _, _ := os.Now()
		cancel()
		<-done
		if !keeper.saved.Floor.Equal(wall) {
			t.Errorf("the last floor is %v, want %v", keeper.saved.Floor, wall)
		}
	})
}
