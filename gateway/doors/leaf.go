package doors

import (
	"slices"
	"time"

	"gardien/gateway"
)

// look samples the levels and acts on what has changed.
func (d *owner) look() {
	if d.hw.Contact != nil {
		if level := d.hw.Contact.Contact(); level != d.leaf {
			d.moved(level)
		}
	}
	if m := d.hw.monitored(); m != nil {
		switch fault := m.Fault(); {
		case (fault != nil) != (d.broken != nil):
			d.broke(fault)
		default: // not there, or there and at fault
			d.broken = fault
		}
	}
	if m := d.hw.monitor(); m != nil && !(d.call != nil && d.call.late) {
		switch s, now := m.LockState(), time.Now(); {
		case s == gateway.LockUnlocked && d.hw.Lock != nil && !d.released && d.call == nil && now.Before(d.suspect):
			// Withdrawn after all, when whoever asked for it had been told that it failed.
			d.suspect = time.Time{}
			d.foundReleased(now)
		case s != d.lock:
			d.relocked(s, now)
		}
	}
}

// broke takes what the latch says of itself: it does not do what it was told, or does again.
func (d *owner) broke(fault error) {
	d.broken = fault
	if fault != nil {
		d.log.Error("the latch does not work", "door", d.ID, "err", fault)
		d.emit(true, gateway.Event{Type: gateway.DoorFault, Reason: gateway.Fault, Device: d.hw.device()})
		return
	}
	d.emit(true, gateway.Event{Type: gateway.DeviceOnline, Device: d.hw.device()})
}

// relocked takes a new state of the lock: trouble, and the end of it, and the proof that it
// locked.
func (d *owner) relocked(s gateway.LockState, now time.Time) {
	was := d.lock
	d.lock = s
	trouble := was == gateway.LockJammed || was == gateway.LockUnknown
	switch {
	case s == gateway.LockJammed:
		d.emit(true, gateway.Event{Type: gateway.LockJammedEvent})
	case s == gateway.LockUnknown:
		d.emit(true, gateway.Event{Type: gateway.LockUnknownEvent})
	case s == gateway.LockLocked && !d.proof.IsZero():
		d.secured(now)
	case trouble && s == gateway.LockLocked:
		d.emit(true, gateway.Event{Type: gateway.LockLockedEvent})
	case trouble && s == gateway.LockUnlocked:
		d.emit(true, gateway.Event{Type: gateway.LockUnlockedEvent})
	}
}

// moved takes a new level of the contact.
func (d *owner) moved(level gateway.ContactState) {
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

func (d *owner) opened(now time.Time) {
	clear(d.graces) // somebody may have entered
	d.next = slices.DeleteFunc(d.next, func(k *ask) bool {
		if k.retry { // it waits for a slow lock, and is too late
			d.answer(k, ErrTaken)
		}
		return k.retry
	})
	d.openedAt, d.alarms, d.opener = now, 0, openedBy(d, now)
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
	case d.call != nil && d.call.release && !d.call.late:
		d.call.opened = true // by whoever is being let in, unless it fails
	default:
		forced = true
		events = append(events, gateway.Event{Type: gateway.DoorForcedOpen})
	}
	d.emit(forced, events...)
}

func (d *owner) nextAlarm() (time.Time, bool) {
	if d.leaf != gateway.ContactOpen || d.HeldOpenAfter == 0 || d.alarms > 16 {
		return time.Time{}, false
	}
	return d.openedAt.Add(d.HeldOpenAfter << d.alarms), true
}
