package doors

import (
	"runtime"
	"slices"
	"time"

	"gardien/gateway"
)

// owner is the one goroutine that owns a door: it alone moves the latch, and all that is known of
// the door is its. What others may see it leaves in the view.
type owner struct {
	*Door

	told    []entry   // in this step, for the record
	answers []outcome // to asks, in this step

	closed bool // no more releases: Run ends

	// The latch.
	call     *call             // under way; nil: the hand is idle
	next     []*ask            // to be let in with the next call
	exit     bool              // so is a request to exit
	lookers  []*ask            // wait until the hand is idle
	released bool              // as far as it has said
	exits    bool              // this release is a request to exit's, too
	stray    bool              // it may be released although nobody is let in: secure it
	began    time.Time         // of this release on end (F1)
	until    time.Time         // deadline of the release
	again    time.Time         // when securing is tried again after a failure; zero: none failed
	delay    time.Duration     // until that
	proof    time.Time         // until when a lock that said it locked has to prove it; zero: nothing to prove
	last     gateway.Attempt   // the newest of this release, for the record
	waiting  []gateway.Attempt // who may still come
	running  []gateway.Attempt // who is let in by this release
	graces   map[gateway.GrantID]*grace
	faulty   bool              // the latch did not move the last time
	broken   error             // what the latch says of itself
	lock     gateway.LockState // "" where nothing tells it
	suspect  time.Time         // a call to unlock has failed: until then a lock that is found unlocked is our doing

	// The leaf.
	leaf     gateway.ContactState
	ajar     bool // the leaf was open when the contact last knew
	openedAt time.Time
	alarms   int            // held-open alarms of this opening
	shunted  time.Time      // REX: openings until then are no alarm
	opener   gateway.Opener // of this opening

	sure   bool      // the hardware vouches for what is published
	sureAt time.Time // when it last did; zero: never
}

// call is one call into the latch.
type call struct {
	release bool
	asks    []*ask // who is let in by it
	exit    bool   // whoever wants to leave is
	opened  bool   // the leaf was opened meanwhile
	due     time.Time
	late    bool // it has not answered in time, and whoever asked was told so
}

// grace is an entry that nobody has taken yet.
type grace struct {
	attempt gateway.AttemptID
	episode gateway.AttemptID
	left    int
	secured time.Time // zero while released
}

// emit tells the record of events, at this instant.
func (d *owner) emit(durable bool, events ...gateway.Event) {
	for i := range events {
		events[i].Door = d.ID
	}
	d.told = append(d.told, entry{d.clock.Read(), durable, events})
}

// answer ends an ask when this step is over.
func (d *owner) answer(k *ask, err error) { d.answers = append(d.answers, outcome{k, err}) }

type outcome struct {
	ask *ask
	err error
}

// conclude ends a step of the owner: what is known is there for all to see; whoever was let in
// goes on; what has happened is queued for the record; and whoever was not let in finds that
// there.
func (d *owner) conclude() {
	d.publish()
	for _, o := range d.answers {
		if o.err == nil {
			o.ask.reply <- nil
			runtime.Gosched() // before whoever writes the record
		}
	}
	for _, e := range d.told {
		d.queue.put(e)
	}
	for _, o := range d.answers {
		if o.err != nil {
			o.ask.reply <- o.err
		}
	}
	d.told, d.answers = nil, nil
	d.answerLookers()
}

// publish leaves behind what is known, for whoever looks.
func (d *owner) publish() {
	v := &gateway.DoorView{ID: d.ID, Name: d.Name, Lock: d.lock, HeldOpen: d.alarms > 0}
	silent := d.call != nil && d.call.late
	if d.hw.Contact != nil {
		v.Contact = d.leaf
	}
	if d.hw.Strike != nil {
		v.Strike = gateway.StrikeIsSecured
		if d.released {
			v.Strike = gateway.StrikeIsReleased
		}
	} else if silent { // also where nothing else tells its state
		v.Lock = gateway.LockUnknown
	}
	if v.HeldOpen {
		v.HeldSince = d.openedAt.Add(d.HeldOpenAfter)
	}
	v.Blocked = silent || isAbsent(d.broken)
	v.Fault = silent || d.faulty || d.broken != nil || v.Contact == gateway.ContactFault
	v.Ailments = d.ailments(v, silent)
	v.Entries = d.entries()
	d.view.Store(sightOf(d, v, time.Now()))
}

func (d *owner) ailments(v *gateway.DoorView, silent bool) (list []gateway.Ailment) {
	isLock := d.hw.Lock != nil
	for _, a := range []struct {
		is             bool
		strike, asLock gateway.Ailment
	}{
		{v.Contact == gateway.ContactFault, gateway.ContactFaulty, gateway.ContactFaulty},
		{v.Contact == gateway.ContactUnknown, gateway.ContactUnsure, gateway.ContactUnsure},
		{d.broken != nil || silent && !isLock, gateway.StrikeFaulty, gateway.LockFaulty},
		{!d.again.IsZero(), gateway.StrikeUnsecured, gateway.LockUnsecured},
		{v.Lock == gateway.LockJammed, gateway.LockIsJammed, gateway.LockIsJammed},
		{v.Lock == gateway.LockUnknown, gateway.LockIsUnknown, gateway.LockIsUnknown},
	} {
		switch {
		case a.is && isLock:
			list = append(list, a.asLock)
		case a.is:
			list = append(list, a.strike)
		}
	}
	return list
}

func (d *owner) entries() (list []gateway.Entry) {
	for _, r := range d.running {
		list = append(list, gateway.Entry{Attempt: r.ID, Episode: r.Episode, Grant: r.Grant, Running: true})
	}
	for id, g := range d.graces {
		e := gateway.Entry{Attempt: g.attempt, Episode: g.episode, Grant: id, Retries: g.left}
		if !g.secured.IsZero() {
			e.Until = g.secured.Add(d.RetryGrace)
		}
		if i := slices.IndexFunc(list, func(r gateway.Entry) bool { return r.Attempt == g.attempt }); i >= 0 {
			list[i].Retries, list[i].Until = e.Retries, e.Until
			continue
		}
		list = append(list, e)
	}
	return list
}
