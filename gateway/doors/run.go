package doors

import (
	"context"
	"slices"
	"time"

	"gardien/gateway"
)

// closeFor bounds what a door still does when it is told to stop.
const closeFor = 5 * time.Second

// Run watches the door until ctx ends, then secures it and writes what is left for
// the record. The latch is secured on a panic, too.
func (d *Door) Run(ctx context.Context) error {
	records := make(chan struct{})
	go func() { defer close(records); d.queue.run() }()
	defer func() {
		d.stop()
		d.queue.close()
		<-records
	}()
	var contact, rex, lock, fault, bell <-chan struct{}
	if d.hw.Contact != nil {
		contact = d.hw.Contact.ContactChanges()
	}
	if d.hw.REX != nil {
		rex = d.hw.REX.Requests()
	}
	if d.hw.Bell != nil {
		bell = d.hw.Bell.Requests()
	}
	if m := d.monitor(); m != nil {
		lock = m.LockChanges()
	}
	if m := d.monitored(); m != nil {
		fault = m.FaultChanges()
	}
	d.begin()
	close(d.ready)
	for {
		timer := time.NewTimer(d.due())
		select {
		case <-ctx.Done():
			timer.Stop()
			return nil
		case <-contact:
		case <-lock:
		case <-fault:
		case <-bell:
			d.rang()
		case <-rex:
			d.Request()
		case <-d.poke:
		case <-timer.C:
		}
		timer.Stop()
		select { // before the leaf: whoever asked to leave forces nothing
		case <-rex:
			d.Request()
		default:
		}
		d.tick()
	}
}

// begin takes the levels that the door starts with: nothing has happened yet.
func (d *Door) begin() {
	d.mu.Lock()
	defer d.mu.Unlock()
	// Who pressed while the daemon waited for its disk is not there any more (F10).
	for _, b := range []gateway.REX{d.hw.REX, d.hw.Bell} {
		for b != nil && len(b.Requests()) > 0 {
			<-b.Requests()
		}
	}
	if d.hw.Contact != nil {
		d.leaf, d.openedAt = d.hw.Contact.Contact(), time.Now()
		d.ajar = d.leaf == gateway.ContactOpen
	}
	if m := d.monitor(); m != nil {
		d.lock = m.LockState()
	}
	d.watched = true
}

// due is how long nothing happens by itself.
func (d *Door) due() time.Duration {
	d.mu.Lock()
	defer d.mu.Unlock()
	next := time.Now().Add(24 * time.Hour)
	if d.released {
		next = earlier(next, d.until)
		if d.again.After(d.until) {
			next = d.again
		}
		if d.boltWaits() {
			next = time.Now().Add(24 * time.Hour)
		}
	}
	if at, ok := d.nextAlarm(); ok {
		next = earlier(next, at)
	}
	return max(0, time.Until(next))
}

func earlier(a, b time.Time) time.Time {
	if b.Before(a) {
		return b
	}
	return a
}

// boltWaits reports that a bolt waits for the leaf to close.
func (d *Door) boltWaits() bool { return d.latch.needsClosed() && d.ajar }

func (d *Door) nextAlarm() (time.Time, bool) {
	if d.leaf != gateway.ContactOpen || d.HeldOpenAfter == 0 || d.alarms > 16 {
		return time.Time{}, false
	}
	return d.openedAt.Add(d.HeldOpenAfter << d.alarms), true
}

// tick samples the inputs and does what is due: whoever opened in time has entered.
func (d *Door) tick() {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.look()
	now := time.Now()
	if d.released && !now.Before(d.until) && !now.Before(d.again) && !d.boltWaits() {
		d.secure(context.Background(), now)
	}
	if at, ok := d.nextAlarm(); ok && !now.Before(at) {
		d.alarms++
		d.Show(gateway.SignalHeldOpen)
		d.emit(true, gateway.Event{Type: gateway.DoorHeldOpen})
	}
}

// secure ends the release. A driver that fails is tried again.
func (d *Door) secure(ctx context.Context, now time.Time) {
	if err := d.latch.secure(ctx); err != nil {
		if d.again.IsZero() {
			d.emit(true, gateway.Event{Type: gateway.DoorFault, Reason: gateway.Fault})
		}
		d.log.Error("the strike is not secured; trying again", "door", d.ID, "err", err)
		d.faulty, d.again = true, now.Add(secureAgain)
		return
	}
	d.released, d.faulty, d.until, d.again = false, false, time.Time{}, time.Time{}
	_, secured := d.latch.events()
	events := []gateway.Event{secured.Of(d.last)}
	d.last = gateway.Attempt{}
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

// sample is look for whoever does not hold the lock.
func (d *Door) sample() {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.look()
}

// look samples the inputs' levels and acts on what has changed.
func (d *Door) look() {
	if !d.watched {
		return
	}
	if d.hw.Contact != nil {
		if level := d.hw.Contact.Contact(); level != d.leaf {
			d.moved(level)
			d.wake()
		}
	}
	if m := d.monitor(); m != nil {
		if s := m.LockState(); s != d.lock {
			d.relocked(s)
		}
	}
	if m := d.monitored(); m != nil {
		if fault := m.Fault(); (fault != nil) != d.broken {
			d.broke(fault)
		}
	}
}

// broke takes what the strike says of itself: it does not do what it was told, or does again.
func (d *Door) broke(fault error) {
	d.broken = fault != nil
	if d.broken {
		d.log.Error("the strike does not work", "door", d.ID, "err", fault)
		d.emit(true, gateway.Event{Type: gateway.DoorFault, Reason: gateway.Fault, Device: d.hw.Strike.String()})
		return
	}
	d.emit(true, gateway.Event{Type: gateway.DeviceOnline, Device: d.hw.Strike.String()})
}

// relocked takes a new state of the lock: trouble, and the end of it.
func (d *Door) relocked(s gateway.LockState) {
	was := d.lock
	d.lock = s
	trouble := was == gateway.LockJammed || was == gateway.LockUnknown
	switch {
	case s == gateway.LockJammed:
		d.emit(true, gateway.Event{Type: gateway.LockJammedEvent})
	case s == gateway.LockUnknown:
		d.emit(true, gateway.Event{Type: gateway.LockUnknownEvent})
	case trouble && s == gateway.LockLocked:
		d.emit(true, gateway.Event{Type: gateway.LockLockedEvent})
	case trouble && s == gateway.LockUnlocked:
		d.emit(true, gateway.Event{Type: gateway.LockOpenedEvent})
	}
}

// moved takes a new level of the contact.
func (d *Door) moved(level gateway.ContactState) {
	d.leaf = level
	switch level {
	case gateway.ContactOpen:
		if !d.ajar {
			d.ajar = true
			d.opened(time.Now())
		}
	case gateway.ContactClosed:
		if d.alarms > 0 {
			d.Show(gateway.SignalNone)
		}
		d.alarms = 0
		if d.ajar {
			d.ajar = false
			d.emit(!d.released, gateway.Event{Type: gateway.DoorClosed})
		}
	default:
		// Nobody can say what the leaf does now: no entry is provably untaken.
		clear(d.graces)
		d.waiting = nil
		d.emit(true, gateway.Event{Type: gateway.DoorFault, Reason: gateway.Fault, Device: d.hw.Contact.String()})
	}
}

func (d *Door) opened(now time.Time) {
	clear(d.graces) // somebody may have entered
	d.openedAt, d.alarms = now, 0
	events := []gateway.Event{{Type: gateway.DoorOpened}}
	forced := false
	switch {
	case d.released:
		if len(d.waiting) > 0 {
			first := d.waiting[0]
			events[0] = gateway.DoorOpened.Of(first)
			events = append(events, gateway.AccessTaken.Of(first))
			d.waiting = slices.DeleteFunc(d.waiting, func(a gateway.Attempt) bool { return a.ID == first.ID })
		}
		d.until = earlier(d.until, now.Add(d.RelockDelay))
	case now.Before(d.shunted):
	default:
		forced = true
		events = append(events, gateway.Event{Type: gateway.DoorForcedOpen})
	}
	d.emit(forced, events...)
}

// Request is a request to exit. It moves the latch before anything else, and
// waits for neither database, clock nor network (F4).
func (d *Door) Request() {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.shunted = time.Now().Add(d.REXShunt)
	var err error
	releases := d.REXReleases && !d.closed
	if releases {
		err = d.release(context.Background())
	}
	events := []gateway.Event{{Type: gateway.RequestToExit}}
	if releases {
		released, _ := d.latch.events()
		e := gateway.Event{Type: released}
		if err != nil {
			e = gateway.Event{Type: gateway.DoorFault, Reason: gateway.Fault}
		}
		events = append(events, e)
	}
	d.emit(false, events...)
}

// rang tells of the bell: Rung is called for whoever has to know at once.
func (d *Door) rang() {
	d.emit(false, gateway.Event{Type: gateway.DoorBell})
	if d.Rung != nil {
		d.Rung()
	}
}

// stop secures for good.
func (d *Door) stop() {
	ctx, cancel := context.WithTimeout(context.Background(), closeFor)
	defer cancel()
	d.mu.Lock()
	defer d.mu.Unlock()
	d.closed = true
	if d.boltWaits() {
		d.log.Warn("the lock is left open: a bolt is not thrown into an open door", "door", d.ID)
	} else if d.released {
		d.secure(ctx, time.Now())
	} else if err := d.latch.secure(ctx); err != nil {
		d.log.Error("the strike is not secured", "door", d.ID, "err", err)
	}
}
