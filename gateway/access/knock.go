package access

import (
	"context"
	"sync"
	"time"

	"gardien/gateway"
)

// knockFor is how long a knock counts: whoever rang may enter until then.
const knockFor = 3 * time.Minute

// knocks is who stands at which door and waits for the residents to say no.
type knocks struct {
	mu   sync.Mutex
	each map[gateway.DoorID]*knock
}

type knock struct {
	begun  time.Time // monotonic: no clock of the day moves it
	vetoed bool
	ended  chan struct{} // closed with the veto
}

// begin gives the knock under way at a door, or begins one.
func (k *knocks) begin(door gateway.DoorID) (n *knock, isNew bool) {
	k.mu.Lock()
	defer k.mu.Unlock()
	if n := k.each[door]; n != nil && time.Since(n.begun) < knockFor {
		return n, false
	}
	if k.each == nil {
		k.each = map[gateway.DoorID]*knock{}
	}
	n = &knock{begun: time.Now(), ended: make(chan struct{})}
	k.each[door] = n
	return n, true
}

// over ends a knock that has let somebody in.
func (k *knocks) over(door gateway.DoorID) {
	k.mu.Lock()
	defer k.mu.Unlock()
	delete(k.each, door)
}

func (k *knocks) vetoed(n *knock) bool {
	k.mu.Lock()
	defer k.mu.Unlock()
	return n.vetoed
}

// Ring begins a knock at a door: somebody pressed the bell. It reports whether one was
// under way already.
func (c *Controller) Ring(door gateway.DoorID) (again bool) {
	_, isNew := c.knocks.begin(door)
	return !isNew
}

// Veto keeps whoever knocks at a door from entering, until the knock is over. It reports
// whether there was one.
func (c *Controller) Veto(door gateway.DoorID) bool {
	c.knocks.mu.Lock()
	defer c.knocks.mu.Unlock()
	n := c.knocks.each[door]
	if n == nil || n.vetoed || time.Since(n.begun) >= knockFor {
		return false
	}
	n.vetoed = true
	close(n.ended)
	return true
}

// knocked holds a grant that would open against the policy's time for the residents. reason
// is Knock while that time runs; the attempt waits for it, where it can.
func (a *attempt) knocked(tx Tx, g gateway.GrantRecord, p gateway.Policy) gateway.Reason {
	if p.Knock == 0 || a.retry || g.ID.Issuer == gateway.HomeIssuer {
		return ""
	}
	n, isNew := a.c.knocks.begin(a.Door)
	if isNew {
		e := gateway.KnockedEvent.Of(a.Attempt)
		e.Sub = g.Sub
		a.knockEvent = &e
	}
	a.knock, a.ripe = n, n.begun.Add(p.Knock)
	switch {
	case a.c.knocks.vetoed(n):
		return gateway.Vetoed
	case time.Now().Before(a.ripe):
		return gateway.Knock
	}
	return ""
}

// tellKnock lets the residents' phones know.
func (a *attempt) tellKnock(ctx context.Context) {
	if a.knockEvent == nil {
		return
	}
	e := *a.knockEvent
	a.knockEvent = nil
	if err := a.c.ledger.Follow(ctx, func(tx Tx) error { return tx.AppendAt(a.At, e) }); err != nil {
		a.c.log.Error("a knock is not told", "door", a.Door, "err", err)
	}
}

// awaitResidents waits until the residents' time is over, or one says no. Who came over the
// network does not wait: the phone asks again.
func (a *attempt) awaitResidents(ctx context.Context) bool {
	if a.Reader == gateway.ReaderLAN || a.Reader == gateway.ReaderApp {
		return false
	}
	a.c.doors.Show(a.Door, gateway.SignalWait)
	t := time.NewTimer(time.Until(a.ripe))
	defer t.Stop()
	select {
	case <-ctx.Done():
		return false
	case <-t.C:
	case <-a.knock.ended:
	}
	return true
}
