package doors

import (
	"context"
	"fmt"
	"runtime/debug"
	"time"

	"gardien/gateway"
)

// closeFor bounds what a door still does when it is told to stop.
const closeFor = 5 * time.Second

// Run owns the door until ctx ends, then secures it and writes what is left for the record.
// The latch is secured on a panic, too. A latch that does not answer keeps nobody from
// stopping.
func (d *Door) Run(ctx context.Context) error {
	ended := make(chan any, 1)
	go func() {
		defer func() {
			p := recover()
			if p != nil {
				p = fmt.Sprintf("%v\n%s", p, debug.Stack())
			}
			ended <- p
		}()
		d.owner.own(ctx)
	}()
	var p any
	select {
	case p = <-ended:
	case <-ctx.Done():
		late := time.NewTimer(closeFor + time.Second)
		defer late.Stop()
		select {
		case p = <-ended:
		case <-late.C:
			d.log.Error("the door is left as it is: its hardware does not answer", "door", d.ID)
		}
	}
	if p != nil {
		panic(p)
	}
	return nil
}

// own is its life.
func (d *owner) own(ctx context.Context) {
	records := make(chan struct{})
	go func() { defer close(records); d.queue.run() }()
	go d.hand.run()
	defer func() { d.queue.close(); <-records }()
	defer func() { close(d.hand.calls); close(d.done) }()
	defer func() { d.stop(); d.conclude() }()
	d.begin()
	d.conclude()
	close(d.ready)
	news := d.hw.news()
	for {
		timer := time.NewTimer(time.Until(d.due()))
		var k *ask
		select {
		case <-ctx.Done():
			timer.Stop()
			return
		case k = <-d.asks:
		case err := <-d.hand.answers:
			d.answered(err)
		case <-news.contact:
		case <-news.lock:
		case <-news.fault:
		case <-news.bell:
			d.rang()
		case <-news.rex:
			d.request()
		case <-timer.C:
		}
		timer.Stop()
		select { // before the leaf: whoever asked to leave forces nothing
		case <-news.rex:
			d.request()
		default:
		}
		d.look()
		if k != nil {
			d.consider(k)
		}
		d.act(time.Now())
		d.conclude()
	}
}

// signs are the channels on which the hardware says that something may have changed.
type signs struct{ contact, rex, lock, fault, bell <-chan struct{} }

func (hw *Hardware) news() (s signs) {
	if hw.Contact != nil {
		s.contact = hw.Contact.ContactChanges()
	}
	if hw.REX != nil {
		s.rex = hw.REX.Requests()
	}
	if hw.Bell != nil {
		s.bell = hw.Bell.Requests()
	}
	if m := hw.monitor(); m != nil {
		s.lock = m.LockChanges()
	}
	if m := hw.monitored(); m != nil {
		s.fault = m.FaultChanges()
	}
	return s
}

// begin takes the levels that the door starts with: nothing has happened yet.
func (d *owner) begin() {
	d.forgetPresses() // who pressed while the daemon waited for its disk is not there any more
	if d.hw.Contact != nil {
		d.leaf, d.openedAt = d.hw.Contact.Contact(), time.Now()
		d.ajar, d.opener = d.leaf == gateway.ContactOpen, gateway.OpenedUnseen
	}
	if m := d.hw.monitor(); m != nil {
		d.lock = m.LockState()
	}
	if m := d.hw.monitored(); m != nil {
		if fault := m.Fault(); fault != nil {
			d.broke(fault)
		}
	}
	d.look() // where the last run left a bolt withdrawn
}

// due is when something is to be done, if there is no news before.
func (d *owner) due() time.Time {
	next := time.Now().Add(24 * time.Hour)
	if d.call != nil {
		if !d.call.late {
			next = d.call.due
		}
	} else if at, ok := d.secureAt(); ok {
		next = earlier(next, at)
	}
	if !d.proof.IsZero() {
		next = earlier(next, d.proof)
	}
	if at, ok := d.nextAlarm(); ok {
		next = earlier(next, at)
	}
	return next
}

func earlier(a, b time.Time) time.Time {
	if b.Before(a) {
		return b
	}
	return a
}

// act does what is due.
func (d *owner) act(now time.Time) {
	if d.call != nil && !d.call.late && !now.Before(d.call.due) {
		d.overdue()
	}
	if !d.proof.IsZero() && !now.Before(d.proof) {
		d.proof = time.Time{}
		d.unsecured(errUnproved, now)
	}
	if d.call == nil {
		switch at, ok := d.secureAt(); {
		case len(d.next) > 0 || d.exit:
			c := &call{release: true, asks: d.next, exit: d.exit}
			d.next, d.exit = nil, false
			d.move(c, now)
		case ok && !now.Before(at):
			d.move(&call{}, now)
		}
	}
	if at, ok := d.nextAlarm(); ok && !now.Before(at) {
		d.alarms++
		d.Show(gateway.SignalHeldOpen)
		d.emit(true, gateway.Event{Type: gateway.DoorHeldOpen})
	}
}

// answerLookers answers whoever wanted all to be looked at, when no call is under way.
func (d *owner) answerLookers() {
	if d.call != nil && !d.call.late {
		return
	}
	for _, k := range d.lookers {
		k.reply <- nil
	}
	d.lookers = nil
}

// rang tells of the bell: Rung is called for whoever has to know at once.
func (d *owner) rang() {
	d.emit(false, gateway.Event{Type: gateway.DoorBell})
	if d.Rung != nil {
		d.Rung()
	}
}

// stop secures for good. A latch that does not answer keeps nobody from stopping.
func (d *owner) stop() {
	d.closed = true
	for _, k := range d.next {
		d.answer(k, errStopping)
	}
	d.next, d.exit = nil, false
	late := time.NewTimer(closeFor)
	defer late.Stop()
	hear := func() bool {
		select {
		case err := <-d.hand.answers:
			d.answered(err)
			return true
		case <-late.C:
			d.log.Error("the door is left as it is: its latch does not answer", "door", d.ID)
			return false
		}
	}
	if d.call != nil && d.call.late {
		late.Reset(0) // it was waited for already
	}
	if d.call != nil && !hear() {
		return
	}
	if d.boltWaits() {
		d.log.Warn("the lock is left open: a bolt is not thrown into an open door", "door", d.ID)
		return
	}
	if d.hw.Lock != nil && !d.released && !d.stray && !time.Now().Before(d.suspect) {
		return // a bolt is thrown after those who were let in only
	}
	d.move(&call{}, time.Now())
	if d.call != nil {
		hear()
	}
}
