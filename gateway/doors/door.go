package doors

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"sync/atomic"
	"time"

	"gardien/gateway"
)

// The retry grace of contract §1: the same grant, at most twice more.
const (
	DefaultGrace = 3 * time.Minute
	retries      = 2
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
	hw    Hardware
	hand  *hand
	clock Clock
	queue *queue
	log   *slog.Logger
	ready chan struct{}
	asks  chan *ask
	done  chan struct{} // closed when Run has ended
	view  atomic.Pointer[sighting]

	calling atomic.Pointer[time.Time] // when a strike that is being moved has to have answered; nil: none is

	owner *owner
}

// Clock reads the time for the record.
type Clock interface{ Read() gateway.Reading }

// New makes a door. A strike has to be secured by now; a lock is where it is. Then call Run.
func New(s Settings, hw Hardware, clock Clock, journal Journal, log *slog.Logger) (*Door, error) {
	d := &Door{Settings: s, hw: hw, clock: clock, log: log, queue: newQueue(journal, log),
		ready: make(chan struct{}), asks: make(chan *ask), done: make(chan struct{})}
	switch {
	case hw.Strike != nil && hw.Lock == nil:
		d.hand = newHand(strikeLatch{hw.Strike})
	case hw.Lock != nil && hw.Strike == nil:
		d.hand = newHand(lockLatch{hw.Lock})
	default:
		return nil, fmt.Errorf("door %s: want a strike or a lock", s.ID)
	}
	d.owner = &owner{Door: d, graces: map[gateway.GrantID]*grace{}, leaf: gateway.ContactUnknown}
	d.owner.publish()
	return d, nil
}

func (d *Door) String() string { return "door " + string(d.ID) }

// Ready is closed when the door's inputs are watched.
func (d *Door) Ready() <-chan struct{} { return d.ready }

// Interrupted says that the last run ended within an entry here: a bolt that is withdrawn was
// not thrown again. Call it before Run.
func (d *Door) Interrupted() { d.owner.doubt(time.Now()) }

// Stuck reports a strike whose driver has not answered for longer than a strike may stay
// released: it may be, and nobody can secure it but a restart (F2).
func (d *Door) Stuck() bool {
	due := d.calling.Load()
	return due != nil && time.Since(*due) > gateway.ReleaseLimit
}

// View gives what is known of the door. It waits for nothing.
func (d *Door) View() gateway.DoorView {
	now := time.Now()
	v := d.view.Load().at(now)
	if due := d.calling.Load(); due != nil && !now.Before(*due) && !v.Blocked {
		v.Blocked, v.Fault, v.SeenAt = true, true, earlier(v.SeenAt, due.Add(-d.answersWithin()))
		v.Ailments = append(slices.Clip(v.Ailments), gateway.StrikeFaulty)
	}
	return v
}

// Show tells whoever stands at the door.
func (d *Door) Show(s gateway.Signal) {
	for _, i := range d.hw.Indicators {
		i.Show(s)
	}
}

// ErrTaken says that an entry cannot be tried again: somebody has taken it by now.
var ErrTaken = errors.New("the entry was taken in the meantime")

var errStopping = errors.New("the door is shutting down")

// ask is what somebody wants of the owner: to be let in, or (look) that all is looked at.
type ask struct {
	ctx     context.Context
	look    bool
	attempt gateway.Attempt
	retry   bool
	reply   chan error // holds one
}

// Release lets the attempt in, and gives for how long. With retry it continues an entry that
// nobody took; ErrTaken says that somebody has. It returns when the latch has moved, or has
// failed, or has not answered in time.
func (d *Door) Release(ctx context.Context, a gateway.Attempt, retry bool) (time.Duration, error) {
	err := d.want(ctx, &ask{ctx: ctx, attempt: a, retry: retry})
	if err != nil {
		// The fault stands in the record before what the caller makes of it.
		bounded, cancel := context.WithTimeout(ctx, time.Second)
		defer cancel()
		d.queue.drain(bounded)
		return 0, err
	}
	return d.ReleaseTime, nil
}

// Sync has the inputs sampled, and returns when everything so far is in the record.
func (d *Door) Sync(ctx context.Context) error {
	if err := d.want(ctx, &ask{ctx: ctx, look: true}); err != nil && !errors.Is(err, errStopping) {
		return err
	}
	return d.queue.drain(ctx)
}

// want hands an ask to the owner and waits for the answer, with a deadline: a strike's or a
// contact's driver that breaks its promise may hold the owner up.
func (d *Door) want(ctx context.Context, k *ask) error {
	k.reply = make(chan error, 1)
	late := time.NewTimer(2*d.hand.latch.within() + time.Second)
	defer late.Stop()
	select {
	case d.asks <- k:
	case <-ctx.Done():
		return ctx.Err()
	case <-d.done:
		return errStopping
	case <-late.C:
		return fmt.Errorf("%s: its hardware does not answer: %w", d, gateway.ErrFault)
	}
	select {
	case err := <-k.reply:
		return err
	case <-d.done:
		return errStopping
	case <-late.C:
		return fmt.Errorf("%s: its hardware does not answer: %w", d, gateway.ErrFault)
	}
}
