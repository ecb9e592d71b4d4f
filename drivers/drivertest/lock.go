package drivertest

import (
	"context"
	"fmt"
	"sync"
	"time"

	"gardien/gateway"
)

// Manner is how a lock takes what it is told. The zero value is a good lock: at once, and true.
type Manner struct {
	Takes time.Duration // until a call is done: a slow lock
	Deaf  bool          // it does not mind that its context has ended: a late lock
	Hangs bool          // a call does not return before the manner is another: a hung lock
	Lies  bool          // it says that it did, and did nothing: a lying lock
	Fails bool          // it says that it did not, and did all the same
}

// Lock is a bolt lock for tests of whoever uses locks. It implements gateway.Lock,
// gateway.LockMonitor and gateway.Monitored, and lives in a synctest bubble or outside.
type Lock struct {
	mu       sync.Mutex
	manner   Manner
	changed  chan struct{} // closed when the manner is another
	unlocked bool
	trouble  gateway.LockState
	fault    error
	calls    int
	called   chan struct{} // closed by the first call
	changes  chan struct{}
	faults   chan struct{}
}

// NewLock makes one that is locked.
func NewLock() *Lock {
	return &Lock{changed: make(chan struct{}), called: make(chan struct{}), changes: make(chan struct{}, 1), faults: make(chan struct{}, 1)}
}

func (l *Lock) String() string { return "drivertest lock" }

// Called is closed when somebody has called it for the first time.
func (l *Lock) Called() <-chan struct{} { return l.called }

// Behave sets the manner of calls from now on, and of one that hangs.
func (l *Lock) Behave(m Manner) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.manner = m
	close(l.changed)
	l.changed = make(chan struct{})
}

// Report makes it say that it is jammed or unknown; "" is the truth again.
func (l *Lock) Report(s gateway.LockState) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.trouble = s
	notify(l.changes)
}

// Break makes it say that it does not work; nil mends it.
func (l *Lock) Break(err error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.fault = err
	notify(l.faults)
}

// Turn moves the bolt by hand, as a key does.
func (l *Lock) Turn(unlocked bool) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.set(unlocked)
}

// Unlocked looks at the bolt itself.
func (l *Lock) Unlocked() bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.unlocked
}

// Calls is how often it was told to move.
func (l *Lock) Calls() int {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.calls
}

func (l *Lock) set(unlocked bool) {
	l.unlocked = unlocked
	notify(l.changes)
}

// Unlock implements gateway.Lock.
func (l *Lock) Unlock(ctx context.Context) error { return l.call(ctx, true) }

// Lock implements gateway.Lock.
func (l *Lock) Lock(ctx context.Context) error { return l.call(ctx, false) }

func (l *Lock) call(ctx context.Context, unlock bool) error {
	l.mu.Lock()
	if l.calls++; l.calls == 1 {
		close(l.called)
	}
	m, changed := l.manner, l.changed
	l.mu.Unlock()
	if err := ctx.Err(); err != nil {
		return err
	}
	for m.Hangs {
		<-changed
		l.mu.Lock()
		m, changed = l.manner, l.changed
		l.mu.Unlock()
	}
	if m.Takes > 0 {
		gone := ctx.Done()
		if m.Deaf {
			gone = nil
		}
		t := time.NewTimer(m.Takes)
		defer t.Stop()
		select {
		case <-t.C:
		case <-gone:
			return fmt.Errorf("%s: no answer: %w: %w", l, gateway.ErrFault, ctx.Err())
		}
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	if !m.Lies {
		l.set(unlock)
	}
	if m.Fails {
		return fmt.Errorf("%s: it says that it did not: %w", l, gateway.ErrFault)
	}
	return nil
}

// LockState implements gateway.LockMonitor.
func (l *Lock) LockState() gateway.LockState {
	l.mu.Lock()
	defer l.mu.Unlock()
	switch {
	case l.trouble != "":
		return l.trouble
	case l.unlocked:
		return gateway.LockUnlocked
	}
	return gateway.LockLocked
}

// LockChanges implements gateway.LockMonitor.
func (l *Lock) LockChanges() <-chan struct{} { return l.changes }

// Fault implements gateway.Monitored.
func (l *Lock) Fault() error {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.fault
}

// FaultChanges implements gateway.Monitored.
func (l *Lock) FaultChanges() <-chan struct{} { return l.faults }

// Close leaves it locked.
func (l *Lock) Close() error {
	l.Behave(Manner{})
	return l.Lock(context.Background())
}

func notify(c chan struct{}) {
	select {
	case c <- struct{}{}:
	default:
	}
}
