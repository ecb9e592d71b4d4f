package doors

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"gardien/drivers/drivertest"
	"gardien/gateway"
)

// A strike that does not answer is as a lock that does not; a request to exit that comes
// meanwhile is told as a fault.
func TestHungStrike(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l := drivertest.NewLock()
		r := &rig{t: t, strike: &fakeStrike{}, contact: newFakeContact(), rex: make(fakeREX, 8), journal: &fakeJournal{}, secure: func() {}}
		r.hw = Hardware{Strike: asStrike{l}, Contact: r.contact, REX: r.rex}
		r.start(settings())
		l.Behave(drivertest.Manner{Hangs: true})
		if err := <-r.later("a"); !errors.Is(err, gateway.ErrFault) {
			t.Error(err)
		}
		r.ailing(gateway.StrikeFaulty)
		if v := r.door.View(); !v.Blocked {
			t.Errorf("%+v", v)
		}
		l.Behave(drivertest.Manner{})
		pass(s)
		if l.Unlocked() {
			t.Error("left released")
		}
		r.ailing()
		r.expect("door_fault a", "strike_released", "strike_secured")
		r.stop()
	})
}

// A strike that says that it was not released, and is, is secured until that succeeds; a driver
// that never answers is seen by the watchdog once it may hold the strike released (F2).
func TestStrayStrike(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l := drivertest.NewLock()
		r := &rig{t: t, strike: &fakeStrike{}, contact: newFakeContact(), rex: make(fakeREX, 8), journal: &fakeJournal{}, secure: func() {}}
		r.hw = Hardware{Strike: asStrike{l}, Contact: r.contact, REX: r.rex}
		r.start(settings())
		l.Behave(drivertest.Manner{Fails: true})
		if err := <-r.later("a"); err == nil {
			t.Error("let in")
		}
		pass(10 * s) // securing says that it fails, too
		r.ailing(gateway.StrikeUnsecured)
		l.Turn(true)
		l.Behave(drivertest.Manner{})
		pass(2 * s)
		if l.Unlocked() {
			t.Error("left released")
		}
		r.ailing()
		r.expect("door_fault a", "door_fault")

		l.Behave(drivertest.Manner{Hangs: true})
		<-r.later("b")
		if r.door.Stuck() {
			t.Error("stuck at once")
		}
		pass(gateway.ReleaseLimit)
		if !r.door.Stuck() {
			t.Error("not stuck")
		}
		l.Behave(drivertest.Manner{})
		pass(s)
		if r.door.Stuck() || l.Unlocked() {
			t.Errorf("stuck %v, released %v", r.door.Stuck(), l.Unlocked())
		}
		r.stop()
	})
}

// brokenStrike has a bug.
type brokenStrike struct{ fakeStrike }

func (*brokenStrike) Release(context.Context) error { panic("index out of range") }

// A bug in a strike's driver is a fault of its door, told with where it is; the daemon goes on.
func TestDriversBug(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := &rig{t: t, strike: &fakeStrike{}, contact: newFakeContact(), rex: make(fakeREX, 8), journal: &fakeJournal{}, secure: func() {}}
		r.hw = Hardware{Strike: &brokenStrike{}, Contact: r.contact, REX: r.rex}
		r.start(settings())
		defer r.stop()
		err := <-r.later("a")
		if !errors.Is(err, gateway.ErrFault) || !strings.Contains(err.Error(), "index out of range") || !strings.Contains(err.Error(), "stray_test.go") {
			t.Error(err)
		}
		r.expect("door_fault a")
		if v := r.door.View(); v.Strike != gateway.StrikeIsSecured || v.Blocked {
			t.Errorf("%+v", v)
		}
	})
}

// asStrike makes the lock a strike.
type asStrike struct{ l *drivertest.Lock }

func (a asStrike) String() string                    { return a.l.String() }
func (a asStrike) Release(ctx context.Context) error { return a.l.Unlock(ctx) }
func (a asStrike) Secure(ctx context.Context) error  { return a.l.Lock(ctx) }

// F1: nothing keeps a strike released for over a minute on end, not even a crowd.
func TestF1_NoEndlessRelease(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t, settings(), true)
		defer r.stop()
		var released, longest time.Duration
		for i := range 3000 { // five minutes of a button, a resident and a grant in turn
			switch i % 30 {
			case 0:
				r.admit(fmt.Sprint("a", i), "g")
			case 10:
				r.admit(fmt.Sprint("r", i), "")
			}
			pass(100 * time.Millisecond)
			if released += 100 * time.Millisecond; !r.strike.released() {
				released = 0
			}
			longest = max(longest, released)
		}
		if longest > time.Minute || longest < 50*time.Second {
			t.Errorf("released for %v on end", longest)
		}
	})
}
