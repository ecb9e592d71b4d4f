package doors

import (
	"testing"
	"testing/synctest"
	"time"

	"gardien/drivers/drivertest"
	"gardien/gateway"
)

// seen holds the last instant at which a door was known, and since when it is so, against what is wanted.
func (r *rig) seen(what string, at, since time.Time) {
	r.t.Helper()
	synctest.Wait()
	v := r.door.View()
	if !v.SeenAt.Equal(at) || !v.Since.Equal(since) {
		r.t.Errorf("%s: seen at %v since %v, want %v since %v", what, v.SeenAt, v.Since, at, since)
	}
}

// What is known of a door has its age (contract §5): it is of now while the hardware answers, and of
// the last good instant where a contact fails or a latch is silent.
func TestSeenAt(t *testing.T) {
	story(t, "wires", nil, func(t *testing.T, r *rig) {
		began := time.Now()
		pass(time.Hour)
		r.seen("an hour later", time.Now(), began)
		r.move(gateway.ContactOpen)
		opened := time.Now()
		pass(29 * s)
		r.seen("open", time.Now(), opened)
		pass(s)
		r.seen("held open", time.Now(), opened.Add(30*s))
		failed := time.Now()
		r.move(gateway.ContactFault)
		pass(time.Minute)
		r.seen("the contact's wire is cut", failed, failed)
		r.admit("a", "g")
		released := time.Now()
		pass(s)
		r.seen("released meanwhile", failed, released)
		r.move(gateway.ContactClosed)
		r.seen("mended", time.Now(), time.Now())
	})
	synctest.Test(t, func(t *testing.T) {
		r, l := lockRig(t)
		began := time.Now()
		l.Behave(drivertest.Manner{Hangs: true})
		pass(s)
		called := time.Now()
		r.later("a")
		pass(2 * s)
		r.seen("a lock that has time", time.Now(), began)
		pass(lockWithin)
		r.seen("a silent lock", called, called.Add(lockWithin+answerGrace))
		l.Behave(drivertest.Manner{})
		pass(10 * s)
		if v := r.door.View(); !v.SeenAt.Equal(time.Now()) {
			t.Errorf("it answers again: seen at %v, now it is %v", v.SeenAt, time.Now())
		}
		r.stop()
	})
	synctest.Test(t, func(t *testing.T) {
		l := drivertest.NewLock()
		r := &rig{t: t, strike: &fakeStrike{}, contact: newFakeContact(), rex: make(fakeREX, 8), journal: &fakeJournal{}, secure: func() {}}
		r.hw = Hardware{Strike: asStrike{l}, Contact: r.contact, REX: r.rex}
		r.contact.silently(gateway.ContactUnknown)
		r.start(settings())
		if v := r.door.View(); !v.SeenAt.IsZero() {
			t.Errorf("a contact that has never told anything was seen at %v", v.SeenAt)
		}
		r.move(gateway.ContactClosed)
		l.Behave(drivertest.Manner{Hangs: true})
		pass(s)
		called := time.Now()
		<-r.later("a")
		pass(time.Minute)
		if v := r.door.View(); !v.SeenAt.Equal(called) {
			t.Errorf("a strike that holds its door up was seen at %v, want %v", v.SeenAt, called)
		}
		l.Behave(drivertest.Manner{})
		r.stop()
	})
}

// Where two parts fail, what is known of a door is as old as the first failure: nothing that fails or comes back
// meanwhile makes it younger.
func TestSeenAtOfTwoFailures(t *testing.T) {
	heldUp := func(t *testing.T) (*rig, *drivertest.Lock) { // a strike that holds its door up
		l := drivertest.NewLock()
		r := &rig{t: t, strike: &fakeStrike{}, contact: newFakeContact(), rex: make(fakeREX, 8), journal: &fakeJournal{}, secure: func() {}}
		r.hw = Hardware{Strike: asStrike{l}, Contact: r.contact, REX: r.rex}
		r.start(settings())
		return r, l
	}
	for name, tt := range map[string]struct {
		rig   func(*testing.T) (*rig, *drivertest.Lock)
		after time.Duration // of the call, the contact fails
	}{"the contact, and a strike": {heldUp, -time.Hour}, "the contact, and a lock": {lockRig, -time.Hour}, "a lock, and the contact": {lockRig, time.Millisecond}} {
		synctest.Test(t, func(t *testing.T) {
			r, l := tt.rig(t)
			pass(time.Hour)
			first := time.Now()
			at := func(what string) {
				t.Helper()
				synctest.Wait()
				if v := r.door.View(); !v.SeenAt.Equal(first) {
					t.Errorf("%s, %s: seen at %v, want %v", name, what, v.SeenAt, first)
				}
			}
			if tt.after < 0 {
				r.move(gateway.ContactFault)
				pass(-tt.after)
			}
			l.Behave(drivertest.Manner{Hangs: true})
			asked := r.later("a")
			if tt.after > 0 {
				pass(tt.after)
				r.move(gateway.ContactFault)
			}
			<-asked
			at("the latch is late")
			pass(time.Minute)
			at("it hangs")
			l.Behave(drivertest.Manner{})
			pass(time.Minute)
			at("it is back, and the contact is not")
			r.stop()
		})
	}
}

// TestHeldSince: a door that is held open is so since its time ran out, whoever is let in meanwhile.
func TestHeldSince(t *testing.T) {
	story(t, "wires", nil, func(t *testing.T, r *rig) {
		r.move(gateway.ContactOpen)
		since := time.Now().Add(30 * s)
		held := func(what string, want time.Time) {
			t.Helper()
			synctest.Wait()
			if v := r.door.View(); v.HeldOpen == want.IsZero() || !v.HeldSince.Equal(want) {
				t.Errorf("%s: held open %v since %v, want %v", what, v.HeldOpen, v.HeldSince, want)
			}
		}
		held("at once", time.Time{})
		pass(time.Hour)
		held("an hour later", since)
		r.admit("a", "g")
		held("somebody is let in", since)
		pass(20 * s)
		held("secured again", since)
		r.move(gateway.ContactClosed)
		held("closed", time.Time{})
	})
}

func (r *rig) opener(what string, want gateway.Opener) {
	r.t.Helper()
	synctest.Wait()
	if v := r.door.View(); v.OpenedBy != want {
		r.t.Errorf("%s: opened by %q, want %q", what, v.OpenedBy, want)
	}
}

// An open leaf says who opened it: whoever was let in, somebody inside, or nobody knows.
func TestOpenedBy(t *testing.T) {
	open, shut, fault := gateway.ContactOpen, gateway.ContactClosed, gateway.ContactFault
	story(t, "wires", nil, func(t *testing.T, r *rig) {
		r.opener("closed", "")
		r.admit("a", "g")
		r.opener("released", "")
		r.move(open)
		r.opener("let in", gateway.OpenedByGrant)
		pass(time.Minute)
		r.move(fault)
		r.opener("where the leaf is, is not known", "")
		r.move(open)
		r.opener("the same opening", gateway.OpenedByGrant)
		r.move(shut)
		r.opener("closed again", "")
		r.rex <- struct{}{}
		r.move(open)
		r.opener("from inside", gateway.OpenedByHandle)
		r.move(shut)
		pass(time.Minute)
		r.move(open)
		r.opener("with a key", gateway.OpenedUnseen)
		r.move(shut)
		r.admit("b", "h")
		r.rex <- struct{}{}
		r.move(open)
		r.opener("somebody was let in, and somebody leaves", gateway.OpenedByGrant)
		r.move(shut)
		r.move(open)
		r.opener("the other of them", gateway.OpenedByHandle)
		r.stop()
		r.start(settings())
		r.opener("open at the start", gateway.OpenedUnseen)
	})
	story(t, "a request that releases, for longer than it shunts", func(set *Settings) { set.REXReleases, set.REXShunt = true, s }, func(t *testing.T, r *rig) {
		r.rex <- struct{}{}
		pass(3 * s)
		r.move(open)
		r.opener("from inside", gateway.OpenedByHandle)
		r.move(shut)
		pass(10 * s)
		r.admit("a", "g")
		pass(s)
		r.move(open)
		r.opener("the next that is let in", gateway.OpenedByGrant)
		r.move(shut)
		r.move(open)
		r.opener("a second opening of that release", gateway.OpenedByGrant)
	})
	for _, tt := range []struct {
		name string
		lock drivertest.Manner
		want gateway.Opener
	}{{"a slow lock", drivertest.Manner{Takes: 4 * s}, gateway.OpenedByGrant}, {"a lock that says it did not", drivertest.Manner{Takes: 4 * s, Fails: true}, gateway.OpenedUnseen}} {
		lockStory(t, tt.name, func(t *testing.T, r *rig, l *drivertest.Lock) {
			l.Behave(tt.lock)
			asked := r.later("a")
			pass(s)
			r.move(open)
			r.opener("before it has said that it is withdrawn", gateway.OpenedByGrant)
			<-asked
			r.opener("after it", tt.want)
			r.move(shut)
			l.Behave(drivertest.Manner{})
			pass(10 * s)
		})
	}
}
