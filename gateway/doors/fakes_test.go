package doors

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"sync"
	"time"

	"gardien/gateway"
)

// fakeStrike is a strike with a limit of its own (F1), that can fail both ways.
type fakeStrike struct {
	mu                       sync.Mutex
	on                       bool
	limit                    *time.Timer
	stuckRelease, stuckHold  bool
	releases, secures, tries int
}

func (s *fakeStrike) String() string { return "fake strike" }

func (s *fakeStrike) Release(ctx context.Context) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if err := ctx.Err(); err != nil {
		return err
	}
	if s.stuckRelease {
		return fmt.Errorf("stuck: %w", gateway.ErrFault)
	}
	if s.limit != nil {
		s.limit.Stop()
	}
	var limit *time.Timer
	limit = time.AfterFunc(gateway.ReleaseLimit, func() {
		s.mu.Lock()
		defer s.mu.Unlock()
		if s.limit == limit {
			s.on = false
		}
	})
	s.limit, s.on = limit, true
	s.releases++
	return nil
}

func (s *fakeStrike) Secure(context.Context) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.tries++
	if s.stuckHold {
		return fmt.Errorf("does not let go: %w", gateway.ErrFault)
	}
	if s.limit != nil {
		s.limit.Stop()
	}
	s.on = false
	s.secures++
	return nil
}

func (s *fakeStrike) set(release, hold bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.stuckRelease, s.stuckHold = release, hold
}

func (s *fakeStrike) released() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.on
}

func poke(c chan struct{}) {
	select {
	case c <- struct{}{}:
	default:
	}
}

type fakeContact struct {
	mu      sync.Mutex
	state   gateway.ContactState
	changes chan struct{}
	panics  bool
}

func newFakeContact() *fakeContact {
	return &fakeContact{state: gateway.ContactClosed, changes: make(chan struct{}, 1)}
}

func (c *fakeContact) String() string                  { return "fake contact" }
func (c *fakeContact) ContactChanges() <-chan struct{} { return c.changes }
func (c *fakeContact) Contact() gateway.ContactState {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.panics {
		panic("a driver's bug")
	}
	return c.state
}

// move moves the leaf; silently loses the sign of it.
func (c *fakeContact) move(s gateway.ContactState) {
	c.silently(s)
	poke(c.changes)
}

func (c *fakeContact) silently(s gateway.ContactState) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.state = s
}

type fakeREX chan struct{}

func (r fakeREX) String() string            { return "fake REX" }
func (r fakeREX) Requests() <-chan struct{} { return r }

// fakeJournal keeps events, and can fail, or hang until it is mended.
type fakeJournal struct {
	mu     sync.Mutex
	fails  bool
	hangs  chan struct{}
	events []gateway.Event
	times  []time.Time
}

var errDisk = errors.New("disk full")

func (j *fakeJournal) Record(_ context.Context, at gateway.Reading, _ bool, events ...gateway.Event) error {
	j.mu.Lock()
	hangs := j.hangs
	j.mu.Unlock()
	if hangs != nil {
		<-hangs
	}
	j.mu.Lock()
	defer j.mu.Unlock()
	if j.fails {
		return errDisk
	}
	for _, e := range events {
		j.events, j.times = append(j.events, e), append(j.times, at.Wall)
	}
	return nil
}

func (j *fakeJournal) fail() { j.mu.Lock(); defer j.mu.Unlock(); j.fails = true }

func (j *fakeJournal) hang() {
	j.mu.Lock()
	defer j.mu.Unlock()
	if j.hangs == nil {
		j.hangs = make(chan struct{})
	}
}

func (j *fakeJournal) mend() {
	j.mu.Lock()
	defer j.mu.Unlock()
	j.fails = false
	if j.hangs != nil {
		close(j.hangs)
		j.hangs = nil
	}
}

// list gives the record as lines: type, and the attempt if there is one.
func (j *fakeJournal) list() (lines []string) {
	j.mu.Lock()
	defer j.mu.Unlock()
	for _, e := range j.events {
		lines = append(lines, line(e.Type, e.Attempt))
	}
	return lines
}

func line(t gateway.EventType, a gateway.AttemptID) string {
	if a == "" {
		return string(t)
	}
	return string(t) + " " + string(a)
}

type bubbleClock struct{}

func (bubbleClock) Read() gateway.Reading {
	now := time.Now()
	return gateway.Reading{Wall: now, Earliest: now, Latest: now, State: gateway.ClockSynced}
}

var quiet = slog.New(slog.NewTextHandler(io.Discard, nil))
