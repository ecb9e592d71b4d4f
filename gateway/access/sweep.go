package access

import (
	"context"
	"slices"
	"time"

	"gardien/gateway"
)

// sweepEvery keeps P6: a PIN's row is gone within 60 s of its last use, or of its end where time
// is settled.
const sweepEvery = 30 * time.Second

// Ready is closed when Run has begun.
func (c *Controller) Ready() <-chan struct{} { return c.ready }

func (c *Controller) String() string { return "access" }

// Run sweeps grants that have ended and writes counted refusals.
func (c *Controller) Run(ctx context.Context) error {
	sweep := time.NewTicker(sweepEvery)
	defer sweep.Stop()
	var flush <-chan time.Time
	failures := 0
	close(c.ready)
	for {
		select {
		case <-ctx.Done():
			close(c.stopping)
			c.beside.finish()
			c.Asks.end(ctx)
			c.denials.flush(ctx, c)
			c.sparing.tell(ctx, c, true)
			return nil
		case <-c.denials.wake:
			if flush == nil {
				flush = time.After(denialsEvery)
			}
		case <-flush:
			flush = nil
			if err := c.denials.flush(ctx, c); err != nil {
				flush = time.After(denialsEvery << failures)
				failures = min(failures+1, 7) // a minute between tries
			} else {
				failures = 0
			}
		case <-sweep.C:
			if err := c.Sweep(ctx); err != nil && ctx.Err() == nil {
				c.log.Warn("ended grants are swept later", "err", err)
			}
			c.sparing.tell(ctx, c, false)
		}
	}
}

// sweepAtOnce is how many grants share a transaction of the sweep: whoever stands at a door
// waits for one at most.
const sweepAtOnce = 100

// Sweep ends what is surely over, however many: pauses, and PINs, which are wiped. The record
// says which pauses ended, and which grants expired unused. Dates of issuers that turn out to lie
// in the future are forgotten.
func (c *Controller) Sweep(ctx context.Context) error {
	for more := true; more && ctx.Err() == nil; {
		at := c.clock.Read()
		d, err := c.due(ctx, at)
		if err == nil && d.unproved {
			err = c.ledger.Update(ctx, func(tx Tx) error { tx.House.Disprove(proved(at)); return tx.Err() })
		}
		if err == nil && d.pauses {
			err = c.endPauses(ctx, at)
		}
		if err == nil {
			err = c.sweepSome(ctx, at, d)
		}
		if err != nil {
			return err
		}
		more = max(len(d.over), len(d.dead)) >= sweepAtOnce
	}
	return nil
}

// due is what a sweep has to do, found by one look.
type due struct {
	unproved   bool // issuers' dates are still to come: a manifest of 2099 would keep a silent one fresh for ever (T3)
	pauses     bool // some have passed
	over, dead []gateway.GrantRecord
}

// proved is up to when an issuer's date may be true.
func proved(at gateway.Reading) time.Time { return at.Latest.Add(gateway.SignLeeway) }

// due looks. What is surely over is told at once; its codes, which nobody could bring back, are
// wiped once time is settled (I6). Until then the rule refuses them. A PIN that may still be tried
// again within its grace is left alone.
func (c *Controller) due(ctx context.Context, at gateway.Reading) (d due, err error) {
	var wipeAfter time.Time
	if at.Settled {
		wipeAfter = at.Earliest
	}
	err = c.ledger.View(ctx, func(tx Tx) error {
		d.unproved = at.State != gateway.ClockUndecided && tx.House.Unproved(proved(at))
		all, each := passed(tx, at)
		d.pauses = all || len(each) > 0
		d.over = tx.Grants.Ending(at.Earliest, sweepAtOnce)
		var last gateway.GrantID
		for more := true; more && len(d.dead) < sweepAtOnce; {
			page := tx.Grants.DeadCodes(wipeAfter, last, sweepAtOnce)
			if more = len(page) == sweepAtOnce; more {
				last = page[sweepAtOnce-1].ID
			}
			d.dead = append(d.dead, slices.DeleteFunc(page, func(g gateway.GrantRecord) bool { return c.graced(g, at) })...)
		}
		return nil
	})
	return d, err
}

// sweepSome ends what is over and wipes what is dead.
func (c *Controller) sweepSome(ctx context.Context, at gateway.Reading, d due) error {
	if len(d.over)+len(d.dead) == 0 {
		return nil
	}
	return c.ledger.Update(ctx, func(tx Tx) error {
		same := func(g gateway.GrantRecord) bool { // no newer version has come since the look
			now, found := tx.Grants.Get(g.ID)
			return found && now.Version == g.Version
		}
		for _, g := range d.dead {
			if same(g) {
				tx.Codes.Wipe(g.ID)
			}
		}
		for _, g := range d.over {
			if !same(g) {
				continue
			}
			left, limited := g.UsesLeft()
			if tx.Grants.MarkEnded(g.ID) && g.Status == gateway.GrantActive && !g.Block && !(limited && left == 0) {
				tx.Record.AppendAt(at, gateway.Event{Type: gateway.GrantExpired, Issuer: g.ID.Issuer, Grant: g.ID.JTI, Sub: g.Sub})
			}
		}
		return tx.Err()
	})
}

// passed tells whether the pause of all has surely passed, and whose of the issuers'.
func passed(tx Tx, at gateway.Reading) (all bool, each []gateway.IssuerID) {
	return tx.House.Paused().Passed(at), tx.Issuers.PausesOver(at.Earliest)
}

// endPauses removes the pauses that have surely passed. No decision waits for it: each holds a
// pause against its own reading.
func (c *Controller) endPauses(ctx context.Context, at gateway.Reading) error {
	return c.ledger.Update(ctx, func(tx Tx) error {
		all, each := passed(tx, at)
		if all {
			tx.House.SetPaused(nil)
			tx.Record.AppendAt(at, gateway.Event{Type: gateway.IssuerResumed})
		}
		for _, id := range each {
			tx.Issuers.Pause(id, nil)
			tx.Record.AppendAt(at, gateway.Event{Type: gateway.IssuerResumed, Issuer: id})
		}
		return tx.Err()
	})
}

// graced reports whether a spent grant still opens, or may: it tries again, or goes on at another door.
func (c *Controller) graced(g gateway.GrantRecord, at gateway.Reading) bool {
	if g.Status != gateway.GrantActive || g.Block || g.Spoilt || at.In(g.Period) == gateway.PlaceOver {
		return false
	}
	for _, door := range c.here(g.Grant) {
		v := c.doors.View(door)
		if _, ok := v.Retry(g.ID, time.Now()); ok || g.Entry.Continues(door, at) || g.Entry.Unsure(door, at) {
			return true
		}
	}
	return false
}

// Restored forgets what was cached of the database.
func (c *Controller) Restored() { c.throttles.forget() }
