package wallclock

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"gardien/gateway"
)

var built = time.Date(2026, 11, 1, 0, 0, 0, 0, time.UTC)

// machine is a computer: the true time, what its clock shows, and its boots.
type machine struct {
	mu     sync.Mutex
	truth  time.Time
	offset time.Duration // the clock shows truth + offset
	up     time.Duration
	boots  int
	sync   time.Time // mtime of the synchronised file, as the clock showed it then
}

func (m *machine) Now() (time.Time, time.Duration, string) {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.truth.Add(m.offset), m.up, fmt.Sprint("boot", m.boots)
}

func (m *machine) LastSync(context.Context) (time.Time, bool) {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.sync, !m.sync.IsZero()
}

func (m *machine) pass(d time.Duration) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.truth, m.up = m.truth.Add(d), m.up+d
}

// step moves the clock, behind everybody's back.
func (m *machine) step(d time.Duration) { m.mu.Lock(); defer m.mu.Unlock(); m.offset += d }

// ntp puts the clock right and touches the file.
func (m *machine) ntp() { m.lie(0) }

// lie is an answer of a server that is off.
func (m *machine) lie(off time.Duration) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.offset = off
	m.sync = m.truth.Add(off)
}

// reboot is a power cut of length d; the clock comes back off the truth.
func (m *machine) reboot(d, offset time.Duration) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.truth, m.offset, m.up, m.sync = m.truth.Add(d), offset, 20*time.Second, time.Time{}
	m.boots++
}

// memory is the store's part: the floor rises unless it is reset.
type memory struct {
	mu    sync.Mutex
	saved Saved
	saves int
	fails bool
}

func (k *memory) SaveClock(_ context.Context, s Saved) error {
	k.mu.Lock()
	defer k.mu.Unlock()
	if k.fails {
		return errors.New("disk full")
	}
	s.Floor = later(s.Floor, k.saved.Floor)
	k.saved = s
	k.saves++
	return nil
}

func (k *memory) ResetClock(_ context.Context, s Saved) error {
	k.mu.Lock()
	defer k.mu.Unlock()
	k.saved = s
	return nil
}

// bench is a machine, its memory and its clock.
type bench struct {
	*machine
	memory
	*Clock
	opts Opts
}

func newBench(t *testing.T, change func(*bench)) *bench {
	b := &bench{machine: &machine{truth: time.Date(2026, 11, 23, 12, 0, 0, 0, time.UTC), up: time.Hour}}
	b.opts = Opts{OS: b.machine, Source: b.machine, Build: built, Keeper: &b.memory, Notify: func(context.Context, gateway.EventType) {}}
	if change != nil {
		change(b)
	}
	b.start(t)
	return b
}

// start is a new process; it knows what was saved.
func (b *bench) start(t *testing.T) {
	b.opts.Saved = b.memory.saved
	b.Clock = New(t.Context(), b.opts)
	b.save()
}

// save does what Run and each decision do.
func (b *bench) save() {
	r := b.Read()
	b.Floor(r)
	b.Clock.mu.Lock()
	s := b.Clock.saved()
	b.unsaved = false
	b.Clock.mu.Unlock()
	b.memory.SaveClock(context.Background(), s)
}

func (b *bench) look(t *testing.T) gateway.Reading {
	b.refresh(t.Context())
	return b.Read()
}

func (b *bench) expect(t *testing.T, want gateway.ClockState, when string) gateway.Reading {
	t.Helper()
	r := b.look(t)
	if r.State != want {
		t.Errorf("%s: %s, want %s", when, r.State, want)
	}
	if r.Latest.Before(r.Earliest) || r.Wall.Before(r.Earliest) || r.Wall.After(r.Latest) && want != gateway.ClockUndecided {
		t.Errorf("%s: %v is not within %v to %v", when, r.Wall, r.Earliest, r.Latest)
	}
	if b.machine.offset == 0 && (b.truth.Before(r.Earliest) || b.truth.After(r.Latest)) {
		t.Errorf("%s: the truth %v is not within %v to %v", when, b.truth, r.Earliest, r.Latest)
	}
	return r
}

const (
	synced, holdover, undecided = gateway.ClockSynced, gateway.ClockHoldover, gateway.ClockUndecided
	day                         = 24 * time.Hour
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
	r, err := b.Confirm(t.Context())
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

func TestConfirm(t *testing.T) {
	b := newBench(t, func(b *bench) { b.sync = time.Time{} })
	b.expect(t, undecided, "no evidence")
	b.Confirm(t.Context())
	b.expect(t, holdover, "a resident's word")
	b.pass(10 * day)
	if r := b.expect(t, holdover, "ten days later"); r.Latest.Sub(r.Wall) != 86400*time.Millisecond {
		t.Errorf("%v wide", r.Latest.Sub(r.Wall))
	}
	b.pass(20*day + 1)
	b.expect(t, undecided, "30 days later")
	b.Confirm(t.Context())
	b.step(-time.Hour)
	b.expect(t, undecided, "stepped after a resident's word")
	b.pass(time.Minute)
	b.ntp()
	b.expect(t, synced, "a sync")
	b.pass(time.Minute)
	b.step(-time.Hour)
	b.expect(t, undecided, "stepped")
	b.offset = 0
	b.Confirm(t.Context())
	b.expect(t, holdover, "a resident's word after steps")
	b.pass(time.Minute)
	b.ntp()
	b.expect(t, synced, "a sync after a resident's word")
}

func TestRaise(t *testing.T) {
	b := newBench(t, func(b *bench) { b.offset = -365 * day })
	b.expect(t, undecided, "no evidence")
	b.Raise(built.Add(20 * day))
	if got := b.Read().Earliest; !got.Equal(built.Add(20 * day)) {
		t.Errorf("the floor is %v", got)
	}
	b.Raise(built)
	if got := b.Read().Earliest; !got.Equal(built.Add(20 * day)) {
		t.Errorf("the floor falls to %v", got)
	}
	for range 100 { // an issuer that dates each document eleven months past the last
		b.Raise(b.Read().Earliest.AddDate(0, 11, 0))
	}
	if got := b.Read().Earliest; got.After(built.AddDate(1, 0, 0)) {
		t.Errorf("documents alone raise the floor to %v", got)
	}
	b = newBench(t, func(b *bench) { b.ntp() })
	b.expect(t, synced, "a sync")
	b.Raise(b.truth.Add(time.Minute))
	if got := b.Read().Earliest; got.After(b.truth) {
		t.Errorf("a document from the future raises the floor to %v", got)
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
			Notify: func(_ context.Context, e gateway.EventType) { told = append(told, string(e)) }})
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

// TestNeverInsideAgain plays steps, syncs, restarts, power cuts, documents and reads
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
			op := r.IntN(12)
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
			case 11:
				b.Raise(b.truth.Add(-time.Duration(r.Int64N(int64(day)))))
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
