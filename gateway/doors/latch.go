package doors

import (
	"context"
	"fmt"
	"runtime/debug"
	"time"

	"gardien/gateway"
)

// How long a latch may take to answer: a strike is a wire, a bolt lock is a motor behind a
// radio (Z4). The grace is for a driver that gives up by itself at its context's deadline.
const (
	strikeWithin = time.Second
	lockWithin   = 5 * time.Second
	answerGrace  = 250 * time.Millisecond
)

// latch is a strike or a lock.
type latch interface {
	release(context.Context) error
	secure(context.Context) error
	events() (released, secured gateway.EventType)
	within() time.Duration
}

type strikeLatch struct{ gateway.Strike }

func (l strikeLatch) release(ctx context.Context) error { return l.Release(ctx) }
func (l strikeLatch) secure(ctx context.Context) error  { return l.Secure(ctx) }
func (strikeLatch) within() time.Duration               { return strikeWithin }
func (strikeLatch) events() (released, secured gateway.EventType) {
	return gateway.StrikeReleased, gateway.StrikeSecured
}

type lockLatch struct{ gateway.Lock }

func (l lockLatch) release(ctx context.Context) error { return l.Unlock(ctx) }
func (l lockLatch) secure(ctx context.Context) error  { return l.Lock.Lock(ctx) }
func (lockLatch) within() time.Duration               { return lockWithin }
func (lockLatch) events() (released, secured gateway.EventType) {
	return gateway.LockUnlockedEvent, gateway.LockLockedEvent
}

// hand makes the calls into a latch, one at a time and beside the owner of the door. There is
// room for one call and its answer: the owner makes the next when it has heard of the last.
type hand struct {
	latch   latch
	calls   chan bool // true: release
	answers chan error
}

func newHand(l latch) *hand {
	return &hand{latch: l, calls: make(chan bool, 1), answers: make(chan error, 1)}
}

// run ends when the calls do, and the last of them.
func (h *hand) run() {
	for release := range h.calls {
		h.answers <- h.call(release)
	}
}

// call makes one call. A driver's bug is a fault of its door, and of no other.
func (h *hand) call(release bool) (err error) {
	defer func() {
		if p := recover(); p != nil {
			err = fmt.Errorf("a bug in the driver: %v: %w\n%s", p, gateway.ErrFault, debug.Stack())
		}
	}()
	ctx, cancel := context.WithTimeout(context.Background(), h.latch.within())
	defer cancel()
	if release {
		return h.latch.release(ctx)
	}
	return h.latch.secure(ctx)
}

// monitor is the latch's ability to tell its state, if it has it.
func (hw *Hardware) monitor() gateway.LockMonitor {
	if m, ok := hw.Strike.(gateway.LockMonitor); ok {
		return m
	}
	m, _ := hw.Lock.(gateway.LockMonitor)
	return m
}

// monitored is the latch's ability to tell that it does not work, if it has it.
func (hw *Hardware) monitored() gateway.Monitored {
	if m, ok := hw.Strike.(gateway.Monitored); ok {
		return m
	}
	m, _ := hw.Lock.(gateway.Monitored)
	return m
}

// device names the latch.
func (hw *Hardware) device() string {
	if hw.Strike != nil {
		return hw.Strike.String()
	}
	return hw.Lock.String()
}
