package doors

import (
	"context"
	"errors"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"gardien/drivers/drivertest"
	"gardien/gateway"
)

const s = time.Second

// retry asks whether a grant may try its entry again.
func (r *rig) retry(grant string) (gateway.AttemptID, bool) {
	v := r.door.View()
	e, ok := v.Retry(gateway.GrantID{Issuer: "home", JTI: grant}, time.Now())
	return e.Attempt, ok
}

func settings() Settings {
	return Settings{ID: "front", ReleaseTime: 4 * s, RelockDelay: s, HeldOpenAfter: 30 * s, RetryGrace: DefaultGrace, REXShunt: 5 * s}
}

// story runs one in a bubble, with a door that closes at its end.
func story(t *testing.T, name string, change func(*Settings), f func(*testing.T, *rig)) {
	t.Run(name, func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) {
			set := settings()
			if change != nil {
				change(&set)
			}
			r := newRig(t, set, true)
			defer func() {
				r.journal.mend()
				r.strike.set(false, false)
				r.cancel()
				synctest.Wait()
				if r.strike.released() {
					t.Error("released after the end")
				}
			}()
			f(t, r)
		})
	})
}

func TestStories(t *testing.T) {
	open, shut, fault := gateway.ContactOpen, gateway.ContactClosed, gateway.ContactFault

	story(t, "somebody enters", nil, func(t *testing.T, r *rig) {
		r.admit("a", "g")
		pass(2 * s)
		r.move(open)
		pass(s)
		if r.strike.released() {
			t.Error("released after the relock delay")
		}
		r.move(shut)
		r.expect("strike_released a", "door_opened a", "access_taken a", "strike_secured a", "door_closed")
	})
	story(t, "nobody enters; two retries, then no more", nil, func(t *testing.T, r *rig) {
		for i, want := range []gateway.AttemptID{"a", "a", "a", "b"} {
			id := "a"
			if i == 3 {
				id = "b"
			}
			if got, _ := r.admit(id, "g"); got != want {
				t.Errorf("attempt %d is %s, want %s", i, got, want)
			}
			pass(5 * s)
		}
	})
	story(t, "the grace is 180 seconds from securing", nil, func(t *testing.T, r *rig) {
		r.admit("a", "g")
		pass(4*s + 180*s)
		if _, ok := r.retry("g"); !ok {
			t.Error("no grace at 180 s")
		}
		pass(1)
		if _, ok := r.retry("g"); ok {
			t.Error("grace after 180 s")
		}
	})
	story(t, "a retry that the driver refuses does not make the grace eternal", nil, func(t *testing.T, r *rig) {
		r.admit("a", "g")
		pass(10 * s)
		r.strike.set(true, false)
		if _, err := r.admit("x", "g"); !errors.Is(err, gateway.ErrFault) {
			t.Errorf("stuck: %v", err)
		}
		r.strike.set(false, false)
		pass(time.Hour)
		if id, ok := r.retry("g"); ok {
			t.Errorf("%s may retry an hour later", id)
		}
	})
	story(t, "an opening that nobody has looked at yet ends the grace", nil, func(t *testing.T, r *rig) {
		r.admit("a", "g")
		pass(5 * s)
		r.contact.silently(open) // its token is under way
		if _, err := r.admit("x", "g"); !errors.Is(err, ErrTaken) || r.strike.released() {
			t.Errorf("a retry although the leaf is open: %v", err)
		}
	})
	story(t, "a token is lost: the next sign puts it right", nil, func(t *testing.T, r *rig) {
		r.contact.silently(open)
		r.move(shut)
		r.expect()
		r.contact.silently(open)
		pass(time.Minute)
		r.door.Sync(t.Context())
		r.expect("door_opened", "door_forced_open")
	})
	story(t, "opens at the last instant", nil, func(t *testing.T, r *rig) {
		r.admit("a", "g")
		time.Sleep(4*s - 1)
		r.contact.silently(open) // the deadline comes before the token
		pass(1)
		r.expect("strike_released a", "door_opened a", "access_taken a", "strike_secured a")
	})
	story(t, "REX and leaf within one instant are no alarm", nil, func(t *testing.T, r *rig) {
		r.rex <- struct{}{}
		r.contact.move(open)
		r.expect("request_to_exit", "door_opened")
	})
	story(t, "a REX of long ago shunts nothing", nil, func(t *testing.T, r *rig) {
		r.rex <- struct{}{}
		pass(5 * s)
		r.move(open)
		r.expect("request_to_exit", "door_opened", "door_forced_open")
	})
	story(t, "REX releases at once while the journal hangs (F4)", func(s *Settings) { s.REXReleases = true }, func(t *testing.T, r *rig) {
		r.journal.hang()
		r.move(open) // the queue is stuck with this
		r.move(shut)
		start := time.Now()
		r.rex <- struct{}{}
		synctest.Wait()
		if !r.strike.released() || time.Since(start) != 0 {
			t.Errorf("released %v after %v", r.strike.released(), time.Since(start))
		}
		pass(4 * s)
		if r.strike.released() {
			t.Error("not secured while the journal hangs")
		}
		r.expect()
		r.journal.mend()
		r.expect("door_opened", "door_forced_open", "door_closed", "request_to_exit", "strike_released", "strike_secured")
	})
	story(t, "a REX from before the start releases nothing (F10)", func(s *Settings) { s.REXReleases = true }, func(t *testing.T, r *rig) {
		r.stop()
		for range 3 {
			r.rex <- struct{}{}
		}
		s := r.door.Settings
		r.start(s)
		if r.strike.released() {
			t.Error("released for whoever has gone")
		}
		r.rex <- struct{}{}
		synctest.Wait()
		if !r.strike.released() {
			t.Error("not released for whoever is there")
		}
	})
	story(t, "the journal fails for an hour: nothing is lost, in order", nil, func(t *testing.T, r *rig) {
		r.journal.fail()
		r.admit("a", "g")
		pass(s)
		r.move(open)
		pass(2 * s)
		r.move(shut)
		pass(time.Hour)
		r.expect()
		r.journal.mend()
		pass(s)
		r.expect("strike_released a", "door_opened a", "access_taken a", "strike_secured a", "door_closed")
	})
	story(t, "a record that fails is no success for whoever waits for it", nil, func(t *testing.T, r *rig) {
		if err := r.door.Sync(t.Context()); err != nil {
			t.Error(err)
		}
		r.journal.fail()
		r.move(open)
		if err := r.door.Sync(t.Context()); err == nil {
			t.Error("all is in the record, and nothing is")
		}
		r.journal.mend()
		pass(s)
		if err := r.door.Sync(t.Context()); err != nil {
			t.Error(err)
		}
	})
	story(t, "a hanging journal does not hold a fault's answer for long", nil, func(t *testing.T, r *rig) {
		r.journal.hang()
		r.strike.set(true, false)
		start := time.Now()
		if _, err := r.admit("a", "g"); err == nil || time.Since(start) > s {
			t.Errorf("%v after %v", err, time.Since(start))
		}
	})
	story(t, "overlapping releases extend (F11)", nil, func(t *testing.T, r *rig) {
		r.admit("a", "g")
		pass(3 * s)
		r.admit("b", "h")
		pass(4*s - 1)
		if !r.strike.released() {
			t.Error("the first deadline cut the second release")
		}
		pass(1)
		if r.strike.released() {
			t.Error("still released")
		}
		r.expect("strike_released a", "strike_released b", "strike_secured b", "access_not_taken a", "access_not_taken b")
	})
	story(t, "securing fails: tried again, told once", nil, func(t *testing.T, r *rig) {
		r.admit("a", "g")
		r.strike.set(false, true)
		pass(10 * s)
		if !r.door.View().Fault {
			t.Error("no fault in the state")
		}
		r.strike.set(false, false)
		pass(s)
		r.expect("strike_released a", "door_fault", "strike_secured a", "access_not_taken a")
		if r.door.View().Fault {
			t.Error("the fault stays in the state")
		}
	})
	story(t, "releasing fails, then securing: both are told", nil, func(t *testing.T, r *rig) {
		r.admit("a", "g")
		r.strike.set(true, true)
		r.admit("b", "h")
		pass(10 * s)
		r.expect("strike_released a", "door_fault b", "door_fault")
	})
	story(t, "held open, again after twice and four times as long", nil, func(t *testing.T, r *rig) {
		r.rex <- struct{}{}
		r.move(open)
		for i, after := range []time.Duration{30 * s, 30 * s, 60 * s, 120 * s} {
			pass(after)
			if got := strings.Count(strings.Join(r.journal.list(), " "), "door_held_open"); got != i+1 {
				t.Errorf("%d alarms, want %d", got, i+1)
			}
		}
		if !r.door.View().HeldOpen {
			t.Error("not held open")
		}
		r.move(shut)
		if r.door.View().HeldOpen {
			t.Error("held open although it is closed")
		}
	})
	story(t, "the contact fails while somebody may come", nil, func(t *testing.T, r *rig) {
		r.admit("a", "g")
		r.move(fault)
		pass(10 * s)
		if _, ok := r.retry("g"); ok {
			t.Error("a retry although nobody can say that the leaf stayed closed")
		}
		r.move(shut)
		r.expect("strike_released a", "door_fault", "strike_secured a") // neither taken nor not taken
	})
	story(t, "the contact fails while the leaf is open", nil, func(t *testing.T, r *rig) {
		r.rex <- struct{}{}
		r.move(open)
		pass(10 * s)
		r.move(fault)
		r.move(open) // as it was: nobody forced it
		r.move(fault)
		r.move(shut)
		r.expect("request_to_exit", "door_opened", "door_fault", "door_fault", "door_closed")
	})
	story(t, "a cut wire and an open leaf", nil, func(t *testing.T, r *rig) {
		r.move(fault)
		r.move(open)
		r.expect("door_fault", "door_opened", "door_forced_open")
	})
	story(t, "whoever asked has gone", nil, func(t *testing.T, r *rig) {
		gone, cancel := context.WithCancel(t.Context())
		cancel()
		if _, err := r.door.Release(gone, gateway.Attempt{ID: "a"}, false); !errors.Is(err, context.Canceled) || r.strike.released() {
			t.Errorf("%v, released %v", err, r.strike.released())
		}
		if r.door.View().Fault {
			t.Error("the hardware is blamed")
		}
		r.expect()
	})
	story(t, "told to stop in mid-release (SIGTERM)", func(s *Settings) { s.REXReleases = true }, func(t *testing.T, r *rig) {
		r.admit("a", "g")
		pass(s)
		r.stop()
		if r.strike.released() {
			t.Error("released after Run")
		}
		want := []string{"strike_released a", "strike_secured a", "access_not_taken a"}
		r.expect(want...)
		if _, err := r.admit("b", "h"); err == nil || r.strike.released() {
			t.Errorf("a release after the end: %v", err)
		}
		r.rex <- struct{}{}
		synctest.Wait()
		if r.strike.released() {
			t.Error("REX releases after the end")
		}
	})
	story(t, "a restart ends the grace", nil, func(t *testing.T, r *rig) {
		r.admit("a", "g")
		pass(5 * s)
		r.stop()
		r.start(settings())
		if _, ok := r.retry("g"); ok {
			t.Error("grace after a restart")
		}
	})
	story(t, "a start with an open leaf forces nothing, but is held open", nil, func(t *testing.T, r *rig) {
		r.stop()
		r.contact.silently(open)
		r.start(settings())
		pass(30 * s)
		r.expect("door_held_open")
		r.move(shut)
		r.expect("door_held_open", "door_closed")
	})
	story(t, "a command makes no grace, for no grant of its name either (I7)", nil, func(t *testing.T, r *rig) {
		command := gateway.Attempt{ID: "c", Grant: gateway.GrantID{Issuer: "home", JTI: "g"}, Command: true}
		if _, err := r.door.Release(t.Context(), command, false); err != nil {
			t.Fatal(err)
		}
		for _, when := range []string{"while it is released", "then"} {
			if id, ok := r.retry("g"); ok {
				t.Errorf("%s the grant may retry %s", when, id)
			}
			pass(5 * s)
		}
		r.expect("strike_released c", "strike_secured c", "access_not_taken c")
		r.admit("a", "g")
		pass(5 * s)
		if _, err := r.door.Release(t.Context(), command, false); err != nil {
			t.Fatal(err)
		}
		pass(5 * s)
		if id, ok := r.retry("g"); id != "a" || !ok {
			t.Errorf("the grant's own grace is %q, %v", id, ok)
		}
	})
	story(t, "no contact, no grace", nil, func(t *testing.T, r *rig) {
		r.stop()
		r.hw.Contact = nil
		r.start(settings())
		r.admit("a", "g")
		pass(5 * s)
		if _, ok := r.retry("g"); ok {
			t.Error("grace without a contact")
		}
		r.expect("strike_released a", "strike_secured a")
	})
}

// TestPanic: a driver's bug ends the program; the strike is secured before that.
func TestPanic(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		strike, contact, journal := &fakeStrike{}, newFakeContact(), &fakeJournal{}
		d, err := New(settings(), Hardware{Strike: strike, Contact: contact}, bubbleClock{}, journal, quiet)
		if err != nil {
			t.Fatal(err)
		}
		panicked := make(chan any, 1)
		go func() {
			defer func() { panicked <- recover() }()
			d.Run(t.Context())
		}()
		<-d.Ready()
		d.Release(t.Context(), gateway.Attempt{ID: "a"}, false)
		synctest.Wait()
		contact.mu.Lock()
		contact.panics = true
		contact.mu.Unlock()
		poke(contact.changes)
		if <-panicked == nil {
			t.Fatal("no panic")
		}
		if strike.released() {
			t.Error("released after a panic")
		}
	})
}

func TestHouse(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t, settings(), true)
		defer r.stop()
		h := House{r.door}
		if h.Door("front") != r.door || h.Door("back") != nil || h.View("front").Blocked || !h.View("back").Blocked {
			t.Error("the house does not find its doors")
		}
		if _, err := h.Release(t.Context(), gateway.Attempt{Door: "back"}, false); err == nil {
			t.Error("a release of a door that is not there")
		}
		if d, err := h.Release(t.Context(), gateway.Attempt{Door: "front"}, false); err != nil || d != 4*s {
			t.Errorf("%v, %v", d, err)
		}
	})
	for _, hw := range []Hardware{{}, {Strike: &fakeStrike{}, Lock: drivertest.NewLock()}} {
		if _, err := New(settings(), hw, bubbleClock{}, &fakeJournal{}, quiet); err == nil {
			t.Errorf("%+v is taken", hw)
		}
	}
}

// TestConcurrent is for the race detector: everything at once, then the invariants.
func TestConcurrent(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t, settings(), true)
		ctx := t.Context()
		done := make(chan struct{})
		actors := []func(int){
			func(i int) { r.door.Release(ctx, gateway.Attempt{ID: "a"}, false) },
			func(i int) {
				if id, ok := r.retry("g"); ok {
					r.door.Release(ctx, gateway.Attempt{ID: id, Grant: gateway.GrantID{Issuer: "home", JTI: "g"}}, true)
				} else {
					r.door.Release(ctx, gateway.Attempt{ID: "b", Grant: gateway.GrantID{Issuer: "home", JTI: "g"}}, false)
				}
			},
			func(i int) {
				r.contact.move([]gateway.ContactState{gateway.ContactOpen, gateway.ContactClosed, gateway.ContactFault}[i%3])
			},
			func(i int) { poke(r.rex) },
			func(i int) { r.strike.set(i%7 == 0, i%5 == 0) },
			func(i int) { r.door.Sync(ctx); r.door.View() },
		}
		for n, act := range actors {
			go func() {
				for i := range 200 {
					act(i)
					time.Sleep(time.Duration(n+1) * 13 * time.Millisecond)
				}
				done <- struct{}{}
			}()
		}
		for range actors {
			<-done
		}
		r.strike.set(false, false)
		r.move(gateway.ContactClosed)
		pass(11 * s)
		if r.strike.released() || r.door.View().Strike != gateway.StrikeIsSecured {
			t.Error("released in the end")
		}
		r.stop()
	})
}
