package doors

import (
	"time"

	"gardien/gateway"
)

// sighting is what the door last left for others to see, and whether its hardware vouches for it.
type sighting struct {
	gateway.DoorView
	sure bool // it is so as long as nothing else is published; SeenAt is when not
}

// at is the view at an instant.
func (s *sighting) at(now time.Time) gateway.DoorView {
	v := s.DoorView
	if s.sure {
		v.SeenAt = now
	}
	return v
}

// answersWithin is how long a call may take before its latch counts as silent.
func (d *Door) answersWithin() time.Duration { return d.hand.latch.within() + answerGrace }

// sightOf says since when the view is as it is, and how far its hardware vouches for it. A silent latch
// was last known when it was called, all else until just now.
func sightOf(d *owner, v *gateway.DoorView, now time.Time) *sighting {
	silent := d.call != nil && d.call.late
	sure := !silent && !isAbsent(d.broken) && v.Lock != gateway.LockUnknown && v.Contact != gateway.ContactFault && v.Contact != gateway.ContactUnknown
	if d.sure && !sure {
		d.sureAt = now
	}
	if silent { // it may have been called before something else failed
		d.sureAt = earlier(d.sureAt, d.call.due.Add(-d.answersWithin()))
	}
	d.sure = sure
	v.SeenAt, v.Since = d.sureAt, now
	if last := d.view.Load(); last != nil && last.Strike == v.Strike && last.Contact == v.Contact && last.Lock == v.Lock && last.HeldOpen == v.HeldOpen {
		v.Since = last.Since
	}
	if v.Contact == gateway.ContactOpen {
		v.OpenedBy = d.opener
	}
	return &sighting{*v, sure}
}

// openedBy says who opens the leaf now.
func openedBy(d *owner, now time.Time) gateway.Opener {
	comesIn := d.call != nil && d.call.release && !d.call.late && len(d.call.asks) > 0 // a slow lock has not said so yet
	leaves := d.call != nil && d.call.exit && !d.call.late || d.released && d.exits
	switch {
	case d.released && len(d.waiting) > 0:
		return gateway.OpenedByGrant
	case leaves || now.Before(d.shunted):
		return gateway.OpenedByHandle
	case comesIn || d.released && len(d.running) > 0:
		return gateway.OpenedByGrant
	}
	return gateway.OpenedUnseen
}
