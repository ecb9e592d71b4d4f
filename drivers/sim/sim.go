// Package sim is a door without hardware: strike, lock, contact, REX and reader
// that are moved by hand, with faults. It is the shortest complete driver, and
// what the demo, the tests and a first try on a laptop run on.
package sim

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	"gardien/gateway"
)

// Fault is what a simulated strike can suffer.
type Fault string

const (
	FaultNone  Fault = "clear"
	FaultStuck Fault = "stuck" // releasing fails
	FaultJam   Fault = "jam"   // the lock reports that it is jammed
)

// Door is a simulated strike with a lock monitor. It enforces gateway.ReleaseLimit by
// itself (F1). Its methods are safe for concurrent use.
type Door struct {
	name    string
	changes chan struct{}

	mu       sync.Mutex
	released bool
	limit    *time.Timer
	fault    Fault
	watch    func(released bool)
}

// NewDoor makes a secured strike; watch, if not nil, is told each movement.
func NewDoor(name string, watch func(released bool)) *Door {
	return &Door{name: name, changes: make(chan struct{}, 1), watch: watch}
}

func (d *Door) String() string { return "sim " + d.name }

// Release implements gateway.Strike.
func (d *Door) Release(ctx context.Context) error {
	d.mu.Lock()
	defer d.mu.Unlock()
	if err := ctx.Err(); err != nil {
		return err
	}
	if d.fault == FaultStuck {
		return fmt.Errorf("%s: stuck: %w", d, gateway.ErrFault)
	}
	if d.limit != nil {
		d.limit.Stop()
	}
	var limit *time.Timer
	limit = time.AfterFunc(gateway.ReleaseLimit, func() {
		d.mu.Lock()
		defer d.mu.Unlock()
		if d.limit == limit { // else a later Release has set another
			d.secure()
		}
	})
	d.limit = limit
	d.set(true)
	return nil
}

// Secure implements gateway.Strike. A stuck strike can always be secured: it only
// fails to release.
func (d *Door) Secure(context.Context) error {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.secure()
	return nil
}

func (d *Door) secure() {
	if d.limit != nil {
		d.limit.Stop()
		d.limit = nil
	}
	d.set(false)
}

func (d *Door) set(released bool) {
	if d.released != released && d.watch != nil {
		d.watch(released)
	}
	d.released = released
}

// Unlock and Lock make the same device a gateway.Lock.
func (d *Door) Unlock(ctx context.Context) error { return d.Release(ctx) }

// Lock implements gateway.Lock.
func (d *Door) Lock(ctx context.Context) error { return d.Secure(ctx) }

// Close leaves it secured.
func (d *Door) Close() error { return d.Secure(context.Background()) }

// Released tells where the strike is.
func (d *Door) Released() bool {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.released
}

// SetFault breaks or mends it.
func (d *Door) SetFault(f Fault) error {
	if f != FaultNone && f != FaultStuck && f != FaultJam {
		return fmt.Errorf("fault %q: want stuck, jam or clear", f)
	}
	d.mu.Lock()
	d.fault = f
	d.mu.Unlock()
	notify(d.changes)
	return nil
}

// LockState implements gateway.LockMonitor.
func (d *Door) LockState() gateway.LockState {
	d.mu.Lock()
	defer d.mu.Unlock()
	switch {
	case d.fault == FaultJam:
		return gateway.LockJammed
	case d.released:
		return gateway.LockUnlocked
	}
	return gateway.LockLocked
}

// LockChanges implements gateway.LockMonitor.
func (d *Door) LockChanges() <-chan struct{} { return d.changes }

// Contact is a simulated door position switch, closed at first.
type Contact struct {
	name    string
	changes chan struct{}
	mu      sync.Mutex
	state   gateway.ContactState
}

// NewContact makes a closed contact.
func NewContact(name string) *Contact {
	return &Contact{name: name, changes: make(chan struct{}, 1), state: gateway.ContactClosed}
}

func (c *Contact) String() string { return "sim " + c.name }

// Contact implements gateway.Contact.
func (c *Contact) Contact() gateway.ContactState {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.state
}

// ContactChanges implements gateway.Contact.
func (c *Contact) ContactChanges() <-chan struct{} { return c.changes }

// Move moves the leaf.
func (c *Contact) Move(s gateway.ContactState) {
	c.mu.Lock()
	c.state = s
	c.mu.Unlock()
	notify(c.changes)
}

// Close implements io.Closer.
func (c *Contact) Close() error { return nil }

// REX is a simulated request-to-exit input.
type REX struct {
	name     string
	requests chan struct{}
}

// NewREX makes one.
func NewREX(name string) *REX { return &REX{name, make(chan struct{}, 8)} }

func (r *REX) String() string { return "sim " + r.name }

// Requests implements gateway.REX.
func (r *REX) Requests() <-chan struct{} { return r.requests }

// Press presses it.
func (r *REX) Press() { notify(r.requests) }

// Close implements io.Closer.
func (r *REX) Close() error { return nil }

// Reader is a simulated keypad and scanner. Its methods are safe for concurrent use.
type Reader struct {
	name  string
	input chan input
	keys  gateway.Keypad
}

type input struct {
	keys, scan string
	done       chan struct{}
}

// NewReader makes one.
func NewReader(name string) *Reader { return &Reader{name: name, input: make(chan input)} }

func (r *Reader) String() string { return "sim " + r.name }

// Read implements gateway.Reader.
func (r *Reader) Read(ctx context.Context, present func(context.Context, gateway.Credential)) error {
	for {
		select {
		case <-ctx.Done():
			return nil
		case in := <-r.input:
			for i := range len(in.keys) {
				if pin, ok := r.keys.Press(in.keys[i], time.Now()); ok {
					present(ctx, gateway.PINCredential{PIN: pin})
				}
			}
			if in.scan != "" {
				present(ctx, gateway.GrantCredential{Text: gateway.NewSecret(in.scan)})
			}
			close(in.done)
		}
	}
}

// MaxInput bounds one call of Keys or Scan, in bytes.
const MaxInput = 16 << 10

// Keys types keys and returns when every verdict is recorded.
func (r *Reader) Keys(ctx context.Context, keys string) error { return r.feed(ctx, input{keys: keys}) }

// Scan presents a text and returns when the verdict is recorded.
func (r *Reader) Scan(ctx context.Context, text string) error { return r.feed(ctx, input{scan: text}) }

func (r *Reader) feed(ctx context.Context, in input) error {
	if len(in.keys)+len(in.scan) > MaxInput {
		return errors.New("more than a reader takes at once")
	}
	in.done = make(chan struct{})
	select {
	case r.input <- in:
	case <-ctx.Done():
		return ctx.Err()
	}
	select {
	case <-in.done:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

// Close implements io.Closer.
func (r *Reader) Close() error { return nil }

func notify(c chan struct{}) {
	select {
	case c <- struct{}{}:
	default:
	}
}
