package wallclock

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"testing"
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
	b.opts = Opts{OS: b.machine, Source: b.machine, Build: built, Keeper: &b.memory, Notify: func(context.Context, gateway.Event) {}}
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
