package access

import (
	"context"
	"maps"
	"sync"
	"time"

	"gardien/gateway"
)

// knockFor is how long a knock counts, and a veto: whoever rang may enter until then.
const knockFor = 3 * time.Minute

// knocks is who stands at which door while the residents may say no. Times are monotonic: no
// clock of the day moves them.
type knocks struct {
	mu     sync.Mutex
	each   map[gateway.DoorID]*doorstep
	vetoed map[gateway.GrantID]time.Time // who was told no, for every door
}

// doorstep is one door's.
type doorstep struct {
	rang   time.Time // the bell: for whoever comes
	vetoed time.Time // for whoever comes
	by     map[gateway.GrantID]*knock
}

// knock is one grant's.
type knock struct {
	begun    time.Time
	attempt  gateway.AttemptID
	ripe     time.Time     // when the residents' time is over
	waiting  bool          // its attempt waits
	admitted bool          // it is let in: too late for a veto
	ended    chan struct{} // closed by a veto
}

func counts(t time.Time) bool { return !t.IsZero() && time.Since(t) < knockFor }

func (k *knocks) at(door gateway.DoorID) *doorstep {
	d := k.each[door]
	if d == nil {
		if k.each == nil {
			k.each = map[gateway.DoorID]*doorstep{}
		}
		d = &doorstep{by: map[gateway.GrantID]*knock{}}
		k.each[door] = d
	}
	for id, n := range d.by {
		if !counts(n.begun) && !n.waiting {
			delete(d.by, id)
		}
	}
	return d
}

// judge says what becomes of a grant that would open: "" lets it in, and no veto stops it any
// more. isNew says that its knock begins now; ripe is when its time is over.
func (k *knocks) judge(door gateway.DoorID, id gateway.GrantID, attempt gateway.AttemptID, wait time.Duration) (reason gateway.Reason, ripe time.Time, isNew bool) {
	k.mu.Lock()
	defer k.mu.Unlock()
	if k.told(door, id) {
		return gateway.Vetoed, ripe, false
	}
	d := k.at(door)
	n := d.by[id]
	if isNew = n == nil; isNew {
		n = &knock{begun: time.Now(), attempt: attempt, ended: make(chan struct{})}
		d.by[id] = n
	}
	begun := n.begun
	if counts(d.rang) && d.rang.Before(begun) {
		begun = d.rang
	}
	ripe = begun.Add(wait)
	if n.ripe = ripe; time.Now().Before(ripe) {
		return gateway.Knock, ripe, isNew
	}
	n.admitted = true
	return "", ripe, isNew
}

// isVetoed reports whether a veto counts for a grant at a door now.
func (k *knocks) isVetoed(door gateway.DoorID, id gateway.GrantID) bool {
	k.mu.Lock()
	defer k.mu.Unlock()
	return counts(k.at(door).vetoed) || counts(k.vetoed[id])
}

// refuses is isVetoed for a grant that is presented: who comes to a door while its veto counts is
// kept out of the others, too (I7).
func (k *knocks) refuses(door gateway.DoorID, id gateway.GrantID) bool {
	k.mu.Lock()
	defer k.mu.Unlock()
	return k.told(door, id)
}

func (k *knocks) told(door gateway.DoorID, id gateway.GrantID) bool {
	if at := k.at(door).vetoed; counts(at) {
		k.tellNo(id, at)
	}
	return counts(k.vetoed[id])
}

// tellNo keeps a grant out of all doors from a veto's instant on, and ends its waits.
func (k *knocks) tellNo(id gateway.GrantID, at time.Time) {
	maps.DeleteFunc(k.vetoed, func(_ gateway.GrantID, t time.Time) bool { return !counts(t) })
	if k.vetoed == nil {
		k.vetoed = map[gateway.GrantID]time.Time{}
	}
	for _, id := range []gateway.GrantID{id, {Issuer: id.Issuer}} { // and its issuer's commands
		if at.After(k.vetoed[id]) {
			k.vetoed[id] = at
		}
	}
	for _, d := range k.each {
		if n := d.by[id]; n != nil && !n.admitted {
			close(n.ended)
			delete(d.by, id)
		}
	}
}

// deny keeps grants out of all doors, and their issuers' commands.
func (k *knocks) deny(ids ...gateway.GrantID) {
	k.mu.Lock()
	defer k.mu.Unlock()
	for _, id := range ids {
		k.tellNo(id, time.Now())
	}
}

// waiting lists who knocks at a door, and may still be told no.
func (k *knocks) waiting(door gateway.DoorID) (list []Waiting) {
	k.mu.Lock()
	defer k.mu.Unlock()
	for id, n := range k.at(door).by {
		if !n.admitted && time.Now().Before(n.ripe) {
			list = append(list, Waiting{n.attempt, id, n.ripe, false})
		}
	}
	return list
}

// over forgets a knock whose attempt has ended.
func (k *knocks) over(door gateway.DoorID, id gateway.GrantID) {
	k.mu.Lock()
	defer k.mu.Unlock()
	d := k.at(door)
	if n := d.by[id]; n != nil && n.admitted {
		delete(d.by, id)
		d.rang = time.Time{} // the bell was theirs
	}
}

// wait claims the one wait of a grant's knock.
func (k *knocks) wait(door gateway.DoorID, id gateway.GrantID) (ended <-chan struct{}, ok bool) {
	k.mu.Lock()
	defer k.mu.Unlock()
	n := k.at(door).by[id]
	if n == nil || n.waiting {
		return nil, false
	}
	n.waiting = true
	return n.ended, true
}

func (k *knocks) waited(door gateway.DoorID, id gateway.GrantID) {
	k.mu.Lock()
	defer k.mu.Unlock()
	if n := k.at(door).by[id]; n != nil {
		n.waiting = false
	}
}

// Ring notes the bell: the residents' time begins for whoever comes.
func (c *Controller) Ring(door gateway.DoorID) {
	c.knocks.mu.Lock()
	defer c.knocks.mu.Unlock()
	if d := c.knocks.at(door); !counts(d.rang) {
		d.rang = time.Now()
	}
}

// Veto keeps whoever knocks at a door from entering there or elsewhere, and whoever comes to it in
// the next three minutes. Who asks there is denied. It reports false where nobody knocks or asks, or
// is let in already.
func (c *Controller) Veto(ctx context.Context, door gateway.DoorID) bool {
	asking := c.Asks.takeAll(door)
	for _, k := range asking {
		c.knocks.deny(k.as, k.attempt.Grant)
	}
	somebody := c.knocks.veto(door, len(asking) > 0)
	for _, k := range asking {
		c.Asks.refuse(context.WithoutCancel(ctx), k, gateway.Vetoed)
	}
	return somebody
}

// veto is Veto for who knocks; asked says that somebody asked there, and is told no.
func (k *knocks) veto(door gateway.DoorID, asked bool) bool {
	k.mu.Lock()
	defer k.mu.Unlock()
	d, now := k.at(door), time.Now()
	somebody := counts(d.rang) || asked
	for id, n := range d.by {
		if !n.admitted {
			somebody = true
			k.tellNo(id, now)
		}
	}
	if somebody {
		d.vetoed, d.rang = now, time.Time{}
	}
	return somebody
}

// knocked holds a grant that would open against the policy's time for the residents. Each
// command has a name of its own, so that it is the issuer who knocks with them: the first
// tells the residents, a later one opens.
func (a *attempt) knocked(g gateway.GrantRecord, p gateway.Policy) (reason gateway.Reason) {
	if p.Knock == 0 || g.ID.Issuer == gateway.HomeIssuer {
		return ""
	}
	a.knocksAs = a.knownAs(g.ID)
	if a.retry { // they were asked; a veto since then counts all the same
		if a.c.knocks.refuses(a.Door, a.knocksAs) {
			return gateway.Vetoed
		}
		return ""
	}
	a.knocks = true
	reason, a.ripe, a.newKnock = a.c.knocks.judge(a.Door, a.knocksAs, a.ID, p.Knock)
	return reason
}

// tellKnock lets the residents' phones know.
func (a *attempt) tellKnock(ctx context.Context) {
	if !a.newKnock {
		return
	}
	a.newKnock = false
	e := gateway.KnockedEvent.Of(a.Attempt)
	e.Sub = a.sub
	if err := a.c.ledger.Follow(ctx, func(tx Tx) error { return tx.Record.AppendAt(a.At, e) }); err != nil {
		a.c.log.Error("a knock is not told", "door", a.Door, "err", err)
	}
}

// awaitResidents goes on with an attempt at a reader when the residents' time is over, or one
// says no. The reader does not wait for it: others may come meanwhile, and nothing that is
// typed in this time is kept for later. Who came over the network asks again by itself.
func (c *Controller) awaitResidents(ctx context.Context, a *attempt, cred gateway.Credential) (waits bool) {
	if a.Reader == gateway.ReaderLAN || a.Reader == gateway.ReaderApp {
		return false
	}
	id := a.knocksAs
	ended, ok := c.knocks.wait(a.Door, id)
	if !ok { // typed once more while the first try waits
		return true
	}
	c.doors.Show(a.Door, gateway.SignalWait)
	ctx = context.WithoutCancel(ctx) // a reader that goes away takes no verdict with it
	began := c.beside.start(func() {
		t := time.NewTimer(time.Until(a.ripe))
		defer t.Stop()
		select {
		case <-c.stopping: // nobody is let in by what was asked before
			c.knocks.waited(a.Door, id)
			return
		case <-t.C:
		case <-ended:
		}
		c.knocks.waited(a.Door, id)
		a.again = true
		c.conclude(ctx, a, c.presentOnce(ctx, a, cred))
	})
	if !began { // the gateway stops
		c.knocks.waited(a.Door, id)
		return false
	}
	return true
}
