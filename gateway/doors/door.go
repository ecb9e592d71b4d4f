package doors

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"sync"
	"time"

	"gardien/gateway"
)

// The retry grace of contract §1: the same grant, at most twice more.
const (
	DefaultGrace = 3 * time.Minute
	retries      = 2

	secureAgain = time.Second // after a driver failed to secure
)

// Hardware of one door: a Strike or a Lock, the rest if there is any.
type Hardware struct {
	Strike  gateway.Strike
	Lock    gateway.Lock
	Contact gateway.Contact
	REX     gateway.REX
	Bell    gateway.REX // a request to be let in

	Indicators []gateway.Indicator
}

// Settings of one door.
type Settings struct {
	ID            gateway.DoorID
	Name          string
	ReleaseTime   time.Duration // release → secure if nobody comes
	RelockDelay   time.Duration // opening → secure
	HeldOpenAfter time.Duration // opening → door_held_open; 0: never
	RetryGrace    time.Duration // 0: none
	REXReleases   bool          // REX releases; else it only shunts the alarm
	REXShunt      time.Duration // how long after a REX an opening is no alarm
	Rung          func()        // told of each press of the bell; nil: nobody is
}

// Door is one opening with its hardware. Its methods are safe for concurrent use.
type Door struct {
	Settings
	hw     Hardware
	latch  latch
	clock  Clock
	queue  *queue
	log    *slog.Logger
	ready  chan struct{}
	poke   chan struct{}
	closed bool

	mu       sync.Mutex
	released bool
	until    time.Time         // deadline of the release
	last     gateway.Attempt   // the newest of this release, for the record
	waiting  []gateway.Attempt // who may still come
	graces   map[gateway.GrantID]*grace
	watched  bool // Run has taken the first levels
	leaf     gateway.ContactState
	ajar     bool // the leaf was open when the contact last knew
	openedAt time.Time
	alarms   int       // held-open alarms of this opening
	shunted  time.Time // REX: openings until then are no alarm
	lock     gateway.LockState
	faulty   bool      // the latch did not move the last time
	broken   bool      // the strike says so itself
	again    time.Time // when securing is tried again
}

// grace is an entry that nobody has taken yet.
type grace struct {
	attempt gateway.AttemptID
	left    int
	secured time.Time // zero while released
}

// Clock reads the time for the record.
type Clock interface{ Read() gateway.Reading }

// New makes a door. Call Secure, then Run.
func New(s Settings, hw Hardware, clock Clock, journal Journal, log *slog.Logger) (*Door, error) {
	d := &Door{Settings: s, hw: hw, clock: clock, log: log, queue: newQueue(journal, log),
		ready: make(chan struct{}), poke: make(chan struct{}, 1),
		graces: map[gateway.GrantID]*grace{}, leaf: gateway.ContactUnknown}
	switch {
	case hw.Strike != nil && hw.Lock == nil:
		d.latch = strikeLatch{hw.Strike}
	case hw.Lock != nil && hw.Strike == nil:
		d.latch = lockLatch{hw.Lock}
	default:
		return nil, fmt.Errorf("door %s: want a strike or a lock", s.ID)
	}
	return d, nil
}

// latch is a strike or a lock.
type latch interface {
	release(context.Context) error
	secure(context.Context) error
	events() (released, secured gateway.EventType)
	needsClosed() bool // a bolt is thrown into a closed door only (H31)
}

type strikeLatch struct{ gateway.Strike }

func (l strikeLatch) release(ctx context.Context) error { return l.Release(ctx) }
func (l strikeLatch) secure(ctx context.Context) error  { return l.Secure(ctx) }
func (strikeLatch) needsClosed() bool                   { return false }
func (strikeLatch) events() (released, secured gateway.EventType) {
	return gateway.StrikeReleased, gateway.StrikeSecured
}

type lockLatch struct{ gateway.Lock }

func (l lockLatch) release(ctx context.Context) error { return l.Unlock(ctx) }
func (l lockLatch) secure(ctx context.Context) error  { return l.Lock.Lock(ctx) }
func (lockLatch) needsClosed() bool                   { return true }
func (lockLatch) events() (released, secured gateway.EventType) {
	return gateway.LockOpenedEvent, gateway.LockLockedEvent
}

// monitor is the latch's ability to tell its state, if it has it.
func (d *Door) monitor() gateway.LockMonitor {
	if m, ok := d.hw.Strike.(gateway.LockMonitor); ok {
		return m
	}
	m, _ := d.hw.Lock.(gateway.LockMonitor)
	return m
}

// monitored is the strike's ability to tell that it does not work, if it has it.
func (d *Door) monitored() gateway.Monitored {
	m, _ := d.hw.Strike.(gateway.Monitored)
	return m
}

func (d *Door) String() string { return "door " + string(d.ID) }

// Secure holds the latch: the first thing a start does.
func (d *Door) Secure(ctx context.Context) error { return d.latch.secure(ctx) }

// Ready is closed when the door is secured and its inputs are watched.
func (d *Door) Ready() <-chan struct{} { return d.ready }

// emit queues events for the record, at this instant.
func (d *Door) emit(durable bool, events ...gateway.Event) {
	for i := range events {
		events[i].Door = d.ID
	}
	d.queue.put(entry{d.clock.Read(), durable, events})
}

// Release lets the attempt in. With retry it continues an entry that nobody took;
// it fails if somebody has by now.
func (d *Door) Release(ctx context.Context, a gateway.Attempt, retry bool) (time.Duration, error) {
	released, err := d.admit(ctx, a, retry)
	if err != nil {
		// The fault stands in the record before what the caller makes of it.
		bounded, cancel := context.WithTimeout(ctx, time.Second)
		defer cancel()
		d.queue.drain(bounded)
	}
	return released, err
}

func (d *Door) admit(ctx context.Context, a gateway.Attempt, retry bool) (time.Duration, error) {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.closed {
		return 0, errors.New("the door is shutting down")
	}
	if err := ctx.Err(); err != nil {
		return 0, err // whoever asked has gone: no fault of the hardware
	}
	d.look()
	g := d.graces[a.Grant]
	if retry && (g == nil || g.left == 0) {
		return 0, errors.New("the entry was taken in the meantime")
	}
	if retry {
		g.left--
	}
	if err := d.release(ctx); err != nil {
		e := gateway.DoorFault.Of(a)
		e.Reason = gateway.Fault
		d.emit(true, e)
		return 0, err
	}
	if retry {
		g.secured = time.Time{}
	}
	d.last = a
	released, _ := d.latch.events()
	d.emit(false, released.Of(a))
	d.Show(gateway.SignalGranted)
	if d.hw.Contact != nil && d.leaf == gateway.ContactClosed {
		d.waiting = append(d.waiting, a)
		if !retry && a.Grant != (gateway.GrantID{}) && d.RetryGrace > 0 {
			d.graces[a.Grant] = &grace{attempt: a.ID, left: retries}
		}
	}
	return d.ReleaseTime, nil
}

// release moves the latch and sets the one deadline.
func (d *Door) release(ctx context.Context) error {
	if err := d.latch.release(ctx); err != nil {
		d.faulty = true
		return fmt.Errorf("%s: %w", d, err)
	}
	d.released, d.faulty, d.again = true, false, time.Time{}
	if until := time.Now().Add(d.ReleaseTime); until.After(d.until) {
		d.until = until // extended, never cut (F11)
	}
	d.wake()
	return nil
}

// Show tells whoever stands at the door.
func (d *Door) Show(s gateway.Signal) {
	for _, i := range d.hw.Indicators {
		i.Show(s)
	}
}

// Retry gives the attempt that the grant may continue.
func (d *Door) Retry(id gateway.GrantID) (gateway.AttemptID, bool) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.look()
	g := d.graces[id]
	if g == nil || d.leaf != gateway.ContactClosed {
		return "", false
	}
	if !g.secured.IsZero() && time.Since(g.secured) > d.RetryGrace {
		delete(d.graces, id)
		return "", false
	}
	return g.attempt, g.left > 0
}

// Blocked reports a lock that is jammed or unknown, or a strike that is known not to work:
// nobody's grant is spent on it.
func (d *Door) Blocked() bool {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.lock == gateway.LockJammed || d.lock == gateway.LockUnknown || d.broken
}

// State is what is known of a door.
type State struct {
	ID       gateway.DoorID
	Name     string
	Strike   string // "released", "secured"; "" where there is a lock
	Contact  gateway.ContactState
	Lock     gateway.LockState
	HeldOpen bool
	Fault    bool
}

// State tells it. Contact is "" where there is none.
func (d *Door) State() State {
	d.mu.Lock()
	defer d.mu.Unlock()
	s := State{ID: d.ID, Name: d.Name, Lock: d.lock, HeldOpen: d.alarms > 0, Fault: d.faulty || d.broken || d.leaf == gateway.ContactFault}
	if d.hw.Contact != nil {
		s.Contact = d.leaf
	}
	if d.hw.Strike != nil {
		s.Strike = "secured"
		if d.released {
			s.Strike = "released"
		}
	}
	return s
}

// Sync samples the inputs and returns when everything so far is in the record.
func (d *Door) Sync(ctx context.Context) error {
	d.sample()
	return d.queue.drain(ctx)
}

func (d *Door) wake() {
	select {
	case d.poke <- struct{}{}:
	default:
	}
}
