package access

import (
	"container/heap"
	"context"
	"slices"
	"time"

	"gardien/gateway"
)

// maxOverlaps bounds how many others a visit names that come at the same time.
const maxOverlaps = 8

// Visits lists who may come from one instant to another, by period and schedule: a visit for each
// stretch of a grant's time and each of its doors here, in their order after a place, at most so
// many. Visits have their true bounds; conflicts tell of from..to alone. It is Explain for
// stretches of time: no resident's own way in, and nothing that is spent, revoked or over.
func (c *Controller) Visits(ctx context.Context, from, to time.Time, after gateway.VisitPlace, most int) (list []gateway.Visit, more bool, err error) {
	now, rules := c.clock.Read(), c.rules.Load()
	from, to = from.Truncate(time.Second), to.Add(time.Second-1).Truncate(time.Second)
	p := &visitPage{from: latest(from, after.From), to: to, after: after, most: most}
	o := obstacles{asked: gateway.Period{NotBefore: from, NotAfter: to}, rules: rules}
	patience := givesWayFor
	err = c.ledger.Browse(ctx, func(tx Tx) error {
		tx.Grants.Visiting(p.from, to, func(g gateway.GrantRecord) {
			patience = giveWay(c, patience)
			p.add(visitsOf(c, g, now, p))
		})
		o.read(tx, p.rows, now)
		return nil
	})
	if err != nil {
		return nil, false, err
	}
	inOrder(p.rows)
	overlaps(append(p.inOrderGoing(), p.rows...))
	if more = len(p.rows) > most; more {
		p.rows = p.rows[:most]
	}
	for _, r := range p.rows {
		list = append(list, o.settle(r))
	}
	return list, more, nil
}

// givesWayFor is how long work that others wait for gives way to decisions in all.
const givesWayFor = 50 * time.Millisecond

// giveWay has long work wait while somebody stands at a door (A11), as long as its patience lasts.
func giveWay(c *Controller, patience time.Duration) time.Duration {
	const step = 100 * time.Microsecond
	for ; patience > 0 && c.deciding.Load() > 0; patience -= step {
		time.Sleep(step)
	}
	return patience
}

// booking is a visit with its grant, and the others that come at the same time.
type booking struct {
	gateway.Visit
	grant  *gateway.GrantRecord
	others []gateway.GrantID
}

// visitsOf lists a grant's visits as far as the page wants them. An entry that goes on needs no use.
func visitsOf(c *Controller, g gateway.GrantRecord, now gateway.Reading, p *visitPage) (list []*booking) {
	left, limited := g.UsesLeft()
	doors := slices.DeleteFunc(c.here(g.Grant), func(d gateway.DoorID) bool {
		return limited && left == 0 && (g.Spoilt || !g.Entry.Continues(d, now))
	})
	if len(doors) == 0 {
		return nil
	}
	for _, s := range g.Schedule.Stretches(opensFrom(g), p.from, p.until(), c.rules.Load().Zone) {
		for _, d := range doors {
			list = append(list, &booking{Visit: gateway.Visit{Grant: g.ID, Door: d, Period: s}, grant: &g})
		}
	}
	return list
}

// opensFrom is the period of a grant without what lies before its iat, as Facts.period judges it.
func opensFrom(g gateway.GrantRecord) gateway.Period {
	p := g.Period
	if issued := g.IssuedAt.Add(-gateway.SignLeeway); issued.After(p.NotBefore) {
		p.NotBefore = issued
	}
	return p
}

// visitPage gathers the visits that come first after a place. It has room for a page, however many
// there are.
type visitPage struct {
	from, to time.Time
	after    gateway.VisitPlace
	most     int
	rows     lastFirst                     // after the place: at most one more than wanted, which tells that there are more
	going    map[gateway.DoorID][]*booking // before it, and not over there, the longest of each door: others may overlap them
}

// until is the instant from which on nothing is wanted.
func (p *visitPage) until() time.Time {
	if len(p.rows) <= p.most {
		return p.to
	}
	return latest(p.rows[0].NotBefore, p.from).Add(time.Second) // one that goes on at from may begin before them all
}

func (p *visitPage) add(list []*booking) {
	for _, r := range list {
		place := r.Place()
		switch {
		case place.Compare(p.after) <= 0:
			if r.NotAfter.After(p.after.From) {
				p.goesOn(r)
			}
		case len(p.rows) <= p.most:
			heap.Push(&p.rows, r)
		case place.Compare(p.rows[0].Place()) < 0:
			p.rows[0] = r
			heap.Fix(&p.rows, 0)
		}
	}
}

// mostGoing is how many that go on are kept for a door: a row names few of them.
const mostGoing = 8 * maxOverlaps

// goesOn keeps one that began before the page, in place of the one that ends first.
func (p *visitPage) goesOn(r *booking) {
	if p.going == nil {
		p.going = map[gateway.DoorID][]*booking{}
	}
	list := p.going[r.Door]
	if len(list) < mostGoing {
		p.going[r.Door] = append(list, r)
		return
	}
	first := 0
	for i := range list {
		if list[i].NotAfter.Before(list[first].NotAfter) {
			first = i
		}
	}
	if list[first].NotAfter.Before(r.NotAfter) {
		list[first] = r
	}
}

// lastFirst is a heap with the last of all visits at its top.
type lastFirst []*booking

func (h lastFirst) Len() int           { return len(h) }
func (h lastFirst) Less(i, j int) bool { return h[i].Place().Compare(h[j].Place()) > 0 }
func (h lastFirst) Swap(i, j int)      { h[i], h[j] = h[j], h[i] }
func (h *lastFirst) Push(x any)        { *h = append(*h, x.(*booking)) }
func (h *lastFirst) Pop() any          { panic("access: nobody takes a visit off the page") }

func (p *visitPage) inOrderGoing() (list []*booking) {
	for _, there := range p.going {
		list = append(list, there...)
	}
	inOrder(list)
	return list
}

func inOrder(rows []*booking) {
	slices.SortFunc(rows, func(a, b *booking) int { return a.Place().Compare(b.Place()) })
}

// overlaps notes of each of the rows, which are in order, the others at the same door whose time
// meets its own: first those that come while it lasts, then those who are there already, the
// newest first.
func overlaps(rows []*booking) {
	doors := map[gateway.DoorID][]*booking{}
	for _, r := range rows {
		doors[r.Door] = append(doors[r.Door], r)
	}
	for _, rows := range doors {
		var there []*booking
		for i, r := range rows {
			for _, later := range rows[i+1:] {
				if !later.NotBefore.Before(r.NotAfter) || !r.meets(later.Grant) {
					break
				}
			}
			there = r.finds(there)
			there = append(there, r)
		}
	}
}

// meets notes another grant, and reports whether there is room for more.
func (r *booking) meets(other gateway.GrantID) bool {
	if other != r.Grant && !slices.Contains(r.others, other) && len(r.others) < maxOverlaps {
		r.others = append(r.others, other)
	}
	return len(r.others) < maxOverlaps
}

// finds notes who is there, and gives those without whom it saw to be over.
func (r *booking) finds(there []*booking) []*booking {
	kept := len(there)
	for i := len(there) - 1; i >= 0; i-- {
		if there[i].NotAfter.After(r.NotBefore) {
			kept--
			there[kept] = there[i]
			if !r.meets(there[i].Grant) {
				return append(there[:i], there[kept:]...)
			}
		}
	}
	return slices.Delete(there, 0, kept)
}

// obstacles is what keeps grants out that their issuers would let in.
type obstacles struct {
	asked       gateway.Period
	rules       *Rules
	all         *gateway.Pause
	quarantined bool
	paused      map[gateway.IssuerID]*gateway.Pause
	open        map[gateway.IssuerID][]gateway.Period // by the policy's hours
}

// read asks for all that is needed, once for each issuer.
func (o *obstacles) read(tx Tx, rows []*booking, now gateway.Reading) {
	o.all, o.quarantined = tx.House.Paused(), tx.House.Quarantined()
	o.paused, o.open = map[gateway.IssuerID]*gateway.Pause{}, map[gateway.IssuerID][]gateway.Period{}
	for _, r := range rows {
		iss := r.Grant.Issuer
		if _, known := o.open[iss]; known || iss == gateway.HomeIssuer {
			continue
		}
		o.paused[iss] = tx.Issuers.State(iss, o.rules.day(now)).Paused
		var hours *gateway.Schedule
		if ws := o.rules.Issuers[iss].Policy.Hours; len(ws) > 0 {
			hours = &gateway.Schedule{Windows: ws}
		}
		o.open[iss] = hours.Stretches(o.asked, o.asked.NotBefore, o.asked.NotAfter, o.rules.Zone)
	}
}

// settle gives a visit with all that stands against it in the time that was asked for.
func (o *obstacles) settle(r *booking) gateway.Visit {
	v := r.Visit
	for _, other := range r.others {
		v.Conflicts = append(v.Conflicts, gateway.Conflict{Key: gateway.ConflictOverlap, Grant: other})
	}
	asked := gateway.Period{NotBefore: latest(v.NotBefore, o.asked.NotBefore), NotAfter: v.NotAfter}
	if asked.NotAfter.After(o.asked.NotAfter) {
		asked.NotAfter = o.asked.NotAfter
	}
	if o.pausedWithin(v.Grant, asked) {
		v.Conflicts = append(v.Conflicts, gateway.Conflict{Key: gateway.ConflictPaused})
	}
	if v.Grant.Issuer != gateway.HomeIssuer && o.beyond(r, asked) {
		v.Conflicts = append(v.Conflicts, gateway.Conflict{Key: gateway.ConflictBeyondPolicy})
	}
	return v
}

func (o *obstacles) pausedWithin(id gateway.GrantID, asked gateway.Period) bool {
	if o.quarantined && id.Issuer != gateway.HomeIssuer {
		return true
	}
	for _, p := range []*gateway.Pause{o.all, o.paused[id.Issuer]} {
		if p == nil {
			continue
		}
		// Where a pause meets a stretch at all, it is on when both have begun.
		if t := latest(asked.NotBefore, p.From); t.Before(asked.NotAfter) && p.Denies(id, surely(t)) {
			return true
		}
	}
	return false
}

// beyond asks what Judge asks of a third party's grant, per_day aside: that depends on who comes.
func (o *obstacles) beyond(r *booking, asked gateway.Period) bool {
	f := Facts{Grant: *r.grant, Door: r.Door, Policy: o.rules.Issuers[r.Grant.Issuer].Policy}
	for _, c := range []Check{f.policyDoors(), f.policyUses(), f.policyValidity()} {
		if c.Reason != "" {
			return true
		}
	}
	return !slices.ContainsFunc(o.open[r.Grant.Issuer], func(p gateway.Period) bool {
		return !p.NotBefore.After(asked.NotBefore) && !p.NotAfter.Before(asked.NotAfter)
	})
}

// surely is the reading of a clock that is right at t.
func surely(t time.Time) gateway.Reading {
	return gateway.Reading{Wall: t, Earliest: t, Latest: t, State: gateway.ClockSynced}
}

func latest(a, b time.Time) time.Time {
	if a.After(b) {
		return a
	}
	return b
}
