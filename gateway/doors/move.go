package doors

import (
	"errors"
	"fmt"
	"slices"
	"time"

	"gardien/gateway"
)

// LongestRelease is how long a strike stays released on end, whoever asks for more (F1).
const LongestRelease = time.Minute

// The bounds of what goes wrong with a latch.
const (
	mostRunning  = 16               // of those whom one release is for: a crowd is no longer list
	strikeAgain  = time.Second      // after a strike could not be secured
	lockAgain    = time.Minute      // the longest wait for a lock, whose battery each try costs
	provesWithin = 5 * time.Second  // a lock that said it locked
	suspectFor   = 30 * time.Second // a lock that failed to unlock may have done so all the same
)

var errUnproved = errors.New("it said that it locked, and does not report that it is locked")

func isAbsent(err error) bool { return errors.Is(err, gateway.ErrAbsent) }

// consider takes an ask. Whoever is to be let in gets the answer when the latch has moved.
func (d *owner) consider(k *ask) {
	if k.look {
		d.lookers = append(d.lookers, k)
		return
	}
	if err := d.refuse(k); err != nil {
		d.answer(k, err)
		return
	}
	if k.retry {
		d.graces[k.attempt.Grant].left--
	}
	if d.call != nil && d.call.release && !d.call.late {
		d.call.asks = append(d.call.asks, k) // a bolt is told once to withdraw (Z4)
		return
	}
	d.next = append(d.next, k)
}

// refuse gives what speaks against an ask before the latch is moved.
func (d *owner) refuse(k *ask) error {
	if err := k.ctx.Err(); err != nil {
		return err // whoever asked has gone: no fault of the hardware
	}
	if g := d.graces[k.attempt.Grant]; k.retry && (g == nil || g.left == 0) {
		return ErrTaken
	}
	if d.call != nil && d.call.late {
		d.failed(k.attempt)
		return d.silent()
	}
	return nil
}

func (d *owner) failed(a gateway.Attempt) {
	e := gateway.DoorFault.Of(a)
	e.Reason = gateway.Fault
	d.emit(true, e)
}

// request is a request to exit. It is the next thing that the latch does, and waits for
// neither database, clock nor network (F4).
func (d *owner) request() {
	d.shunted = time.Now().Add(d.REXShunt)
	d.emit(false, gateway.Event{Type: gateway.RequestToExit})
	switch {
	case !d.REXReleases || d.closed:
	case d.call != nil && d.call.late: // nobody is kept waiting at a door that opens later (F10)
		d.emit(false, gateway.Event{Type: gateway.DoorFault, Reason: gateway.Fault})
	default:
		d.exit = true
	}
}

// forgetPresses drops the presses of those who have gone by now (F10).
func (d *owner) forgetPresses() {
	for _, b := range []gateway.REX{d.hw.REX, d.hw.Bell} {
		for b != nil && len(b.Requests()) > 0 {
			<-b.Requests()
		}
	}
}

// move makes a call into the latch: a strike's here and now, a lock's by the hand.
func (d *owner) move(c *call, now time.Time) {
	c.due = now.Add(d.answersWithin())
	d.call = c
	if d.hw.Lock != nil {
		d.hand.calls <- c.release
		return
	}
	d.calling.Store(&c.due)
	err := d.hand.call(c.release)
	d.calling.Store(nil)
	if !time.Now().Before(c.due) {
		d.overdue()
		d.forgetPresses()
	}
	d.answered(err)
}

// overdue gives up on the answer to a call: whoever waits for it is told, and the door is
// blocked until it comes.
func (d *owner) overdue() {
	d.call.late = true
	d.log.Error("a latch does not answer; its door is blocked until it does", "door", d.ID, "device", d.hw.device())
	if d.call.release {
		d.releaseFailed(d.call, d.silent())
	} else if d.again.IsZero() {
		d.emit(true, gateway.Event{Type: gateway.DoorFault, Reason: gateway.Fault, Device: d.hw.device()})
	}
	d.faulty = true
	if d.hw.Lock != nil && d.lock != gateway.LockUnknown {
		d.emit(true, gateway.Event{Type: gateway.LockUnknownEvent})
		d.heard(gateway.LockUnknown)
	}
	for _, k := range d.next {
		d.failed(k.attempt)
		d.answer(k, d.silent())
	}
	d.next, d.exit = nil, false
}

func (d *owner) silent() error {
	return fmt.Errorf("%s: %s does not answer: %w", d, d.hw.device(), gateway.ErrFault)
}

// answered takes the answer to the call, in time or not.
func (d *owner) answered(err error) {
	c, now := d.call, time.Now()
	d.call = nil
	switch {
	case c.late:
		d.answeredLate(c, err, now)
	case c.release && err != nil:
		d.releaseFailed(c, fmt.Errorf("%s: %w", d, err))
	case c.release:
		d.admit(c, now)
	case err != nil:
		d.unsecured(err, now)
	default:
		d.prove(now)
	}
	if !d.closed {
		d.look() // what the latch says of itself now
	}
}

// answeredLate takes an answer that nobody waits for any more. A latch that has been released
// lets nobody in, so it is secured again.
func (d *owner) answeredLate(c *call, err error, now time.Time) {
	d.log.Warn("a latch has answered late", "door", d.ID, "device", d.hw.device(), "err", err)
	switch {
	case !c.release && err == nil:
		d.prove(now)
	case !c.release:
		d.unsecured(err, now)
	case err == nil:
		d.faulty = false
		d.foundReleased(now)
	default:
		d.doubt(now)
	}
}

// doubt takes a call to release that has failed: the latch may have moved all the same. A strike
// is secured; a lock says where its bolt is (see look), or is locked where it does not.
func (d *owner) doubt(now time.Time) {
	d.suspect = now.Add(suspectFor)
	if !d.released && (d.hw.Strike != nil || d.hw.monitor() == nil) {
		d.stray = true
	}
}

// foundReleased takes a latch that is released for nobody: it is secured at once.
func (d *owner) foundReleased(now time.Time) {
	released, _ := d.hand.latch.events()
	d.emit(false, gateway.Event{Type: released})
	d.heard(gateway.LockUnlocked)
	if !d.released {
		d.released, d.began, d.until = true, now, now
	}
}

// heard takes a lock's state from its answer, where a monitor will confirm it.
func (d *owner) heard(s gateway.LockState) {
	switch {
	case d.hw.Lock == nil:
	case d.hw.monitor() == nil:
		d.lock = ""
	default:
		d.lock = s
	}
}

// releaseFailed answers those whom the call was to let in.
func (d *owner) releaseFailed(c *call, err error) {
	d.faulty = true
	d.doubt(time.Now())
	if c.exit {
		d.emit(false, gateway.Event{Type: gateway.DoorFault, Reason: gateway.Fault})
	}
	for _, k := range c.asks {
		d.failed(k.attempt)
		d.answer(k, err)
	}
	if c.opened {
		d.opener = gateway.OpenedUnseen
		d.emit(true, gateway.Event{Type: gateway.DoorForcedOpen})
	}
}

// admit lets in those for whom the latch has moved, and sets the one deadline.
func (d *owner) admit(c *call, now time.Time) {
	if !d.released {
		d.began = now
	}
	d.released, d.stray, d.faulty, d.again, d.delay, d.proof, d.suspect = true, false, false, time.Time{}, 0, time.Time{}, time.Time{}
	if until := now.Add(d.ReleaseTime); until.After(d.until) {
		d.until = until // extended, never cut (F11)
	}
	released, _ := d.hand.latch.events()
	if c.exit {
		d.exits = true
		d.emit(false, gateway.Event{Type: released})
	}
	for _, k := range c.asks {
		a := k.attempt
		if g := d.graces[a.Grant]; k.retry && g != nil {
			g.secured = time.Time{}
		}
		d.last = a
		if d.running = append(d.running, a); len(d.running) > mostRunning {
			d.running = d.running[1:]
		}
		d.emit(false, released.Of(a))
		d.Show(gateway.SignalGranted)
		switch {
		case c.opened: // before a slow lock said that it was withdrawn
			c.opened = false
			d.emit(false, gateway.AccessTaken.Of(a))
			d.until = earlier(d.until, now.Add(d.RelockDelay))
		case d.hw.Contact != nil && d.leaf == gateway.ContactClosed:
			d.waiting = append(d.waiting, a)
			if !k.retry && !a.Command && a.Grant != (gateway.GrantID{}) && d.RetryGrace > 0 {
				d.graces[a.Grant] = &grace{attempt: a.ID, episode: a.Episode, left: retries}
			}
		}
		d.answer(k, nil)
	}
}

// secureAt is when the latch is to be secured.
func (d *owner) secureAt() (at time.Time, ok bool) {
	if d.boltWaits() || !d.proof.IsZero() {
		return at, false
	}
	switch {
	case !d.released && d.stray:
		return d.again, true
	case !d.released:
		return at, false
	}
	at = d.until
	if d.hw.Strike != nil {
		at = earlier(at, d.began.Add(LongestRelease))
	}
	if d.again.After(at) {
		at = d.again
	}
	return at, true
}

// boltWaits reports that a bolt waits for the leaf to close (H31).
func (d *owner) boltWaits() bool { return d.hw.Lock != nil && d.ajar }

// prove takes a latch's word that it is secured; a lock has to report it, too, if it can.
func (d *owner) prove(now time.Time) {
	m := d.hw.monitor()
	if d.hw.Lock == nil || m == nil || m.LockState() == gateway.LockLocked {
		d.secured(now)
		return
	}
	d.proof = now.Add(provesWithin)
}

// unsecured takes a latch that could not be secured. It is tried again, told once.
func (d *owner) unsecured(err error, now time.Time) {
	if d.again.IsZero() && (d.released || d.stray) {
		d.emit(true, gateway.Event{Type: gateway.DoorFault, Reason: gateway.Fault})
	}
	d.log.Error("a door is not secured; trying again", "door", d.ID, "device", d.hw.device(), "err", err)
	switch {
	case d.hw.Strike != nil:
		d.delay = strikeAgain
	default:
		d.delay = min(max(2*d.delay, strikeAgain), lockAgain)
	}
	d.faulty, d.again = true, now.Add(d.delay)
}

// secured ends the release.
func (d *owner) secured(now time.Time) {
	was := d.released
	d.heard(gateway.LockLocked)
	d.released, d.stray, d.until, d.again, d.delay, d.proof = false, false, time.Time{}, time.Time{}, 0, time.Time{}
	d.faulty = d.faulty && !was // a release that failed is still one
	if !was {
		return // it was secured for safety
	}
	_, secured := d.hand.latch.events()
	events := []gateway.Event{secured.Of(d.last)}
	d.last, d.running, d.exits = gateway.Attempt{}, nil, false
	for _, a := range distinct(d.waiting) {
		events = append(events, gateway.AccessNotTaken.Of(a))
	}
	d.waiting = nil
	for id, g := range d.graces {
		if g.secured.IsZero() {
			g.secured = now
		} else if now.Sub(g.secured) > d.RetryGrace {
			delete(d.graces, id)
		}
	}
	// The episode is over when the leaf is closed too; its end makes all of it durable.
	d.emit(d.leaf != gateway.ContactOpen, events...)
}

// distinct drops the retries of one entry.
func distinct(list []gateway.Attempt) []gateway.Attempt {
	var out []gateway.Attempt
	for _, a := range list {
		if !slices.ContainsFunc(out, func(b gateway.Attempt) bool { return a.ID == b.ID }) {
			out = append(out, a)
		}
	}
	return out
}
