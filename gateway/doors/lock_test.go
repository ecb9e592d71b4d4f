package doors

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"testing"
	"testing/synctest"
	"time"

	"gardien/drivers/drivertest"
	"gardien/gateway"
)

// Doors with bolt locks, good ones and others (F12).

func lockRig(t *testing.T) (*rig, *drivertest.Lock) {
	l := drivertest.NewLock()
	return lockRigOf(t, l), l
}

func lockRigOf(t *testing.T, l gateway.Lock) *rig {
	r := &rig{t: t, strike: &fakeStrike{}, contact: newFakeContact(), rex: make(fakeREX, 8), journal: &fakeJournal{}}
	r.hw = Hardware{Lock: l, Contact: r.contact, REX: r.rex}
	r.secure = func() {}
	r.start(settings())
	return r
}

// lockStory runs one in a bubble, with a lock that is good again at its end.
func lockStory(t *testing.T, name string, f func(*testing.T, *rig, *drivertest.Lock)) {
	t.Run(name, func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) {
			r, l := lockRig(t)
			defer func() {
				l.Behave(drivertest.Manner{})
				synctest.Wait()
				r.cancel()
				synctest.Wait()
			}()
			f(t, r, l)
		})
	})
}

// later asks for a release beside the test, and gives its outcome.
func (r *rig) later(id string) <-chan error {
	done := make(chan error, 1)
	go func() {
		_, err := r.door.Release(r.t.Context(), gateway.Attempt{ID: gateway.AttemptID(id), Grant: gateway.GrantID{Issuer: "home", JTI: id}}, false)
		done <- err
	}()
	synctest.Wait()
	return done
}

func (r *rig) ailing(want ...gateway.Ailment) {
	r.t.Helper()
	synctest.Wait()
	if v := r.door.View(); !slices.Equal(v.Ailments, want) {
		r.t.Errorf("ailments %v, want %v", v.Ailments, want)
	}
}

func TestLockStories(t *testing.T) {
	open, shut, fault := gateway.ContactOpen, gateway.ContactClosed, gateway.ContactFault

	lockStory(t, "a bolt is thrown into a closed door only (H31)", func(t *testing.T, r *rig, l *drivertest.Lock) {
		r.admit("a", "g")
		pass(2 * s)
		r.move(open)
		pass(10 * s)
		if !l.Unlocked() {
			t.Error("the bolt was thrown into an open door")
		}
		r.move(fault) // it was open when last seen
		if !l.Unlocked() {
			t.Error("the bolt was thrown into a door that was open when last seen")
		}
		r.move(shut)
		if l.Unlocked() {
			t.Error("not locked when the leaf closed")
		}
		r.expect("lock_unlocked a", "door_opened a", "access_taken a", "door_fault", "door_closed", "lock_locked a")
	})
	lockStory(t, "trouble is told, and its end; third parties are kept out meanwhile", func(t *testing.T, r *rig, l *drivertest.Lock) {
		for _, tt := range []struct {
			state gateway.LockState
			want  []gateway.Ailment
		}{{gateway.LockJammed, []gateway.Ailment{gateway.LockIsJammed}}, {gateway.LockUnlocked, nil}, {gateway.LockUnknown, []gateway.Ailment{gateway.LockIsUnknown}}, {gateway.LockLocked, nil}} {
			l.Report(tt.state)
			r.ailing(tt.want...)
			if v := r.door.View(); v.Blocked || v.Lock != tt.state {
				t.Errorf("%s: %+v", tt.state, v)
			}
		}
		r.expect("lock_jammed", "lock_unlocked", "lock_unknown", "lock_locked")
		l.Break(gateway.ErrFault)
		r.ailing(gateway.LockFaulty)
		if v := r.door.View(); v.Blocked || !v.Fault {
			t.Errorf("a lock that says that it does not work: %+v", v)
		}
		l.Break(fmt.Errorf("unplugged: %w", gateway.ErrAbsent))
		l.Break(nil)
		r.ailing()
		r.expect("lock_jammed", "lock_unlocked", "lock_unknown", "lock_locked", "door_fault", "device_online")
	})
	lockStory(t, "taps while a slow lock withdraws share the call that is under way (Z4)", func(t *testing.T, r *rig, l *drivertest.Lock) {
		l.Behave(drivertest.Manner{Takes: 4 * s})
		calls := l.Calls()
		first := r.later("a")
		pass(s)
		second := r.later("b")
		pass(s)
		third := r.later("c")
		pass(2*s + s/2)
		for n, done := range []<-chan error{first, second, third} {
			select {
			case err := <-done:
				if err != nil {
					t.Errorf("tap %d: %v", n+1, err)
				}
			default:
				t.Errorf("tap %d waits for a call of its own", n+1)
			}
		}
		if n := l.Calls() - calls; n != 1 {
			t.Errorf("the lock was called %d times for three taps", n)
		}
	})
	lockStory(t, "whoever wants all to be looked at waits for the call that is under way", func(t *testing.T, r *rig, l *drivertest.Lock) {
		l.Behave(drivertest.Manner{Takes: 4 * s})
		first := r.later("a")
		synced := make(chan error, 1)
		go func() { synced <- r.door.Sync(r.t.Context()) }()
		pass(3 * s)
		select {
		case <-synced:
			t.Error("it did not wait")
		default:
		}
		pass(2 * s)
		if err := errors.Join(<-first, <-synced); err != nil {
			t.Error(err)
		}
	})
	lockStory(t, "one that is not there can be moved for nobody", func(t *testing.T, r *rig, l *drivertest.Lock) {
		l.Break(fmt.Errorf("unplugged: %w", gateway.ErrAbsent))
		r.ailing(gateway.LockFaulty)
		if v := r.door.View(); !v.Blocked {
			t.Errorf("%+v", v)
		}
	})
	lockStory(t, "the end of the program throws no bolt into an open door", func(t *testing.T, r *rig, l *drivertest.Lock) {
		r.admit("a", "g")
		r.move(open)
		calls := l.Calls()
		r.stop()
		if l.Calls() != calls {
			t.Error("it does")
		}
	})
	lockStory(t, "a slow lock: who comes meanwhile shares its one call (Z4), and the leaf may be quicker", func(t *testing.T, r *rig, l *drivertest.Lock) {
		l.Behave(drivertest.Manner{Takes: 4 * s})
		a := r.later("a")
		pass(3 * s)
		b := r.later("b")
		if v := r.door.View(); v.Blocked || v.Fault || len(a)+len(b) > 0 {
			t.Errorf("meanwhile: %+v", v)
		}
		r.move(open) // somebody pushes before the lock has said so
		pass(s)
		if err := errors.Join(<-a, <-b); err != nil || l.Calls() != 1 {
			t.Errorf("%v, %d calls", err, l.Calls())
		}
		l.Behave(drivertest.Manner{})
		r.move(shut)
		pass(s)
		r.expect("door_opened", "lock_unlocked a", "access_taken a", "lock_unlocked b", "door_closed", "lock_locked b")
	})
	lockStory(t, "a slow lock that is opened and fails: somebody forced it", func(t *testing.T, r *rig, l *drivertest.Lock) {
		l.Behave(drivertest.Manner{Takes: 10 * s})
		a := r.later("a")
		r.move(open)
		pass(6 * s)
		if err := <-a; !errors.Is(err, gateway.ErrFault) {
			t.Error(err)
		}
		r.expect("door_opened", "door_fault a", "door_forced_open")
	})
	lockStory(t, "a hung lock: blocked at its deadline, heard again when it comes back", func(t *testing.T, r *rig, l *drivertest.Lock) {
		l.Behave(drivertest.Manner{Hangs: true})
		a, start := r.later("a"), time.Now()
		if err := <-a; !errors.Is(err, gateway.ErrFault) || time.Since(start) != lockWithin+answerGrace {
			t.Errorf("%v after %v", err, time.Since(start))
		}
		if v := r.door.View(); !v.Blocked || !v.Fault || v.Lock != gateway.LockUnknown {
			t.Errorf("blocked: %+v", v)
		}
		r.ailing(gateway.LockIsUnknown)
		start = time.Now()
		if err := <-r.later("b"); !errors.Is(err, gateway.ErrFault) || time.Since(start) != 0 {
			t.Errorf("the next: %v after %v", err, time.Since(start))
		}
		if err := r.door.Sync(t.Context()); err != nil {
			t.Errorf("whoever looks: %v", err)
		}
		pass(time.Hour)
		l.Behave(drivertest.Manner{}) // it unlocks now, for nobody
		pass(s)
		if v := r.door.View(); l.Unlocked() || v.Blocked || v.Fault || v.Lock != gateway.LockLocked {
			t.Errorf("late: unlocked %v, %+v", l.Unlocked(), v)
		}
		r.expect("door_fault a", "lock_unknown", "door_fault b", "lock_unlocked", "lock_locked")
		if err := <-r.later("c"); err != nil {
			t.Errorf("well again: %v", err)
		}
	})
	lockStory(t, "a late lock is locked again", func(t *testing.T, r *rig, l *drivertest.Lock) {
		l.Behave(drivertest.Manner{Takes: 8 * s, Deaf: true})
		if err := <-r.later("a"); !errors.Is(err, gateway.ErrFault) {
			t.Error(err)
		}
		l.Behave(drivertest.Manner{})
		pass(10 * s)
		if l.Unlocked() {
			t.Error("left open")
		}
		r.expect("door_fault a", "lock_unknown", "lock_unlocked", "lock_locked")
	})
	lockStory(t, "one that fails to unlock and does so later is locked again; a key's turn an hour later is nobody's business", func(t *testing.T, r *rig, l *drivertest.Lock) {
		l.Behave(drivertest.Manner{Takes: 10 * s}) // gives up by itself
		if err := <-r.later("a"); !errors.Is(err, gateway.ErrFault) {
			t.Error(err)
		}
		l.Behave(drivertest.Manner{})
		pass(5 * s)
		l.Turn(true) // the radio was slow, the motor was not
		pass(s)
		if l.Unlocked() {
			t.Error("left open")
		}
		r.expect("door_fault a", "lock_unlocked", "lock_locked")
		pass(time.Hour)
		l.Turn(true)
		pass(time.Minute)
		if !l.Unlocked() {
			t.Error("a resident is locked in or out")
		}
	})
	lockStory(t, "one that says that it failed, and unlocked", func(t *testing.T, r *rig, l *drivertest.Lock) {
		l.Behave(drivertest.Manner{Fails: true})
		a := r.later("a")
		l.Behave(drivertest.Manner{})
		pass(s)
		if err := <-a; err == nil || l.Unlocked() {
			t.Errorf("%v, unlocked %v", err, l.Unlocked())
		}
	})
	lockStory(t, "a lying lock is told until it proves that it locked, less and less often", func(t *testing.T, r *rig, l *drivertest.Lock) {
		r.admit("a", "g")
		l.Behave(drivertest.Manner{Lies: true})
		pass(4*s + provesWithin)
		r.ailing(gateway.LockUnsecured)
		calls := l.Calls()
		pass(10 * time.Minute)
		if n := l.Calls() - calls; n < 5 || n > 20 {
			t.Errorf("told %d times in ten minutes", n)
		}
		l.Behave(drivertest.Manner{})
		pass(lockAgain + s)
		if l.Unlocked() {
			t.Error("left open")
		}
		r.ailing()
		r.expect("lock_unlocked a", "door_fault", "lock_locked a", "access_not_taken a")
	})
	lockStory(t, "locking hangs", func(t *testing.T, r *rig, l *drivertest.Lock) {
		r.admit("a", "g")
		l.Behave(drivertest.Manner{Hangs: true})
		pass(10 * s)
		r.ailing(gateway.LockIsUnknown)
		l.Behave(drivertest.Manner{})
		pass(s)
		r.ailing()
		r.expect("lock_unlocked a", "door_fault", "lock_unknown", "lock_locked a", "access_not_taken a")
	})
	lockStory(t, "a request to exit at a lock that hangs opens nothing an hour later (F10)", func(t *testing.T, r *rig, l *drivertest.Lock) {
		r.door.REXReleases = true
		r.admit("a", "g")
		l.Behave(drivertest.Manner{Hangs: true})
		pass(10 * s)
		r.rex <- struct{}{}
		pass(time.Hour)
		l.Behave(drivertest.Manner{})
		pass(10 * s)
		if l.Unlocked() || l.Calls() != 2 {
			t.Errorf("unlocked %v, %d calls", l.Unlocked(), l.Calls())
		}
		r.expect("lock_unlocked a", "door_fault", "lock_unknown", "request_to_exit", "door_fault", "lock_locked a", "access_not_taken a")
	})
	lockStory(t, "a retry that waits for a lock being thrown is too late when the leaf opens (A4)", func(t *testing.T, r *rig, l *drivertest.Lock) {
		r.admit("a", "g")
		l.Behave(drivertest.Manner{Takes: 3 * s})
		pass(5 * s) // it is being thrown
		retry := make(chan error, 1)
		go func() {
			_, err := r.door.Release(r.t.Context(), gateway.Attempt{ID: "a", Grant: gateway.GrantID{Issuer: "home", JTI: "g"}}, true)
			retry <- err
		}()
		synctest.Wait()
		r.move(open)
		if err := <-retry; !errors.Is(err, ErrTaken) {
			t.Errorf("%v", err)
		}
		r.move(shut)
		pass(10 * s)
		if l.Unlocked() {
			t.Error("unlocked once more")
		}
		r.expect("lock_unlocked a", "door_opened a", "access_taken a", "door_closed", "lock_locked a")
	})
	lockStory(t, "one that fails after its deadline, and unlocked, is locked again", func(t *testing.T, r *rig, l *drivertest.Lock) {
		l.Behave(drivertest.Manner{Takes: 40 * s, Deaf: true, Fails: true})
		if err := <-r.later("a"); err == nil {
			t.Error("let in")
		}
		l.Behave(drivertest.Manner{})
		pass(time.Minute)
		if l.Unlocked() {
			t.Error("left open")
		}
		r.expect("door_fault a", "lock_unknown", "lock_unlocked", "lock_locked")
	})
	lockStory(t, "a bolt that the last run left withdrawn is thrown; one that a resident left is not", func(t *testing.T, r *rig, l *drivertest.Lock) {
		set := r.door.Settings
		r.stop()
		l.Turn(true)
		r.start(set)
		pass(time.Minute)
		if !l.Unlocked() {
			t.Error("a resident's bolt is thrown")
		}
		r.stop()
		r.secure = func() { r.door.Interrupted() }
		r.start(set)
		pass(s)
		if l.Unlocked() {
			t.Error("left open after an entry that was interrupted")
		}
		r.expect("lock_unlocked", "lock_locked")
	})
	lockStory(t, "not there, then there and at fault, then not there", func(t *testing.T, r *rig, l *drivertest.Lock) {
		for _, tt := range []struct {
			fault   error
			blocked bool
		}{{gateway.ErrAbsent, true}, {gateway.ErrFault, false}, {gateway.ErrAbsent, true}, {nil, false}} {
			l.Break(tt.fault)
			synctest.Wait()
			if v := r.door.View(); v.Blocked != tt.blocked || v.Fault != (tt.fault != nil) {
				t.Errorf("%v: %+v", tt.fault, v)
			}
		}
		r.expect("door_fault", "device_online")
	})
	lockStory(t, "told to stop while a lock hangs (SIGTERM)", func(t *testing.T, r *rig, l *drivertest.Lock) {
		l.Behave(drivertest.Manner{Hangs: true})
		a, start := r.later("a"), time.Now()
		r.stop()
		if took := time.Since(start); took > closeFor {
			t.Errorf("stopped after %v", took)
		}
		if err := <-a; err == nil {
			t.Error("let in by a door that stops")
		}
	})
}

// A lock that tells no state, and hangs: unknown while it does, then as blind as before.
func TestBlindLock(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l := drivertest.NewLock()
		r := lockRigOf(t, blind{l})
		l.Behave(drivertest.Manner{Hangs: true})
		a := r.later("a")
		pass(6 * s)
		if v := r.door.View(); <-a == nil || v.Lock != gateway.LockUnknown {
			t.Errorf("%+v", v)
		}
		l.Behave(drivertest.Manner{})
		pass(s)
		if v := r.door.View(); v.Lock != "" || l.Unlocked() || v.Blocked {
			t.Errorf("%+v, unlocked %v", v, l.Unlocked())
		}
		r.stop()
	})
}

type blind struct{ l *drivertest.Lock }

func (b blind) String() string                   { return b.l.String() }
func (b blind) Unlock(ctx context.Context) error { return b.l.Unlock(ctx) }
func (b blind) Lock(ctx context.Context) error   { return b.l.Lock(ctx) }
