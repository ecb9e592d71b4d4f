package access

import (
	"context"
	"errors"
	"fmt"
	"time"

	"gardien/gateway"
)

// HomeGrant is what a resident asks for.
type HomeGrant struct {
	Doors     []gateway.DoorID
	NotBefore time.Time // zero: now
	NotAfter  time.Time // zero: as long as the schedule
	Uses      int
	Schedule  *gateway.Schedule
	Sub       string
	PIN       bool
	Card      gateway.Card       // that opens, too
	Duress    gateway.ResidentID // the PIN is this resident's duress PIN
	By        gateway.ResidentID // who makes it; "": whoever is at the console
}

// Home makes a grant at home: the same object as a carrier's, signed, sealed, and
// taken in by the same way (A1). The PIN is long enough for the live ones (P1) and
// given this once. Bad requests are *gateway.Refusal.
func (c *Controller) Home(ctx context.Context, h HomeGrant) (gateway.GrantID, gateway.PIN, error) {
	at := c.clock.Read()
	g := gateway.Grant{
		ID:      gateway.GrantID{Issuer: gateway.HomeIssuer, JTI: gateway.NewJTI()},
		Version: 1, Status: gateway.GrantActive, Doors: h.Doors,
		IssuedAt: at.Earliest.Truncate(time.Second),
		Period:   gateway.Period{NotBefore: h.NotBefore, NotAfter: h.NotAfter},
		Uses:     h.Uses, Schedule: h.Schedule, Sub: h.Sub, Card: h.Card,
	}
	if g.NotBefore.IsZero() {
		g.NotBefore = at.Earliest.Truncate(time.Second)
	}
	if g.NotAfter.IsZero() {
		g.NotAfter = gateway.MaxTime
	}
	if !g.NotBefore.Before(g.NotAfter) || at.In(g.Period) == gateway.PlaceOver {
		return g.ID, gateway.PIN{}, &gateway.Refusal{Reason: gateway.Expired, Detail: "the grant would be over already: not_after must lie after now and not_before"}
	}
	for range 20 { // a PIN that is taken is drawn again
		if h.PIN {
			n, err := c.pinLength(ctx, h.Doors)
			if err != nil {
				return g.ID, gateway.PIN{}, err
			}
			g.PIN = gateway.DrawPIN(n)
		}
		text, err := c.tokens.Sign(g)
		if err != nil {
			return g.ID, gateway.PIN{}, err
		}
		refusal, again, err := c.takeHome(ctx, text, h.Duress, h.By)
		if err != nil || refusal == nil {
			return g.ID, g.PIN, err
		}
		if !again {
			return g.ID, gateway.PIN{}, refusal
		}
	}
	return g.ID, gateway.PIN{}, errors.New("found no free PIN in 20 draws")
}

// takeHome is Take for the gateway's own text: a PIN that collides makes no event, and asks
// to be drawn again; a duress PIN is marked in the same transaction.
func (c *Controller) takeHome(ctx context.Context, text string, duress, by gateway.ResidentID) (refusal *gateway.Refusal, again bool, err error) {
	at := c.clock.Read()
	g, refusal := c.tokens.Grant(text)
	if refusal != nil {
		return refusal, false, nil
	}
	var t taken
	err = c.ledger.Update(ctx, func(tx Tx) error {
		if t = c.take(tx, g, by, at); t.refusal == nil && duress != "" {
			tx.Codes.Wipe(g.ID)
			for _, door := range c.here(g) {
				tx.Codes.Put(gateway.PINRecord{Grant: g.ID, Door: door, Length: g.PIN.Len(), Duress: duress}, c.mac.pin(door, g.PIN))
			}
		}
		return tx.Err()
	})
	return t.refusal, t.pinRefuse != "", err
}

func (c *Controller) pinLength(ctx context.Context, doors []gateway.DoorID) (int, error) {
	n := gateway.MinPIN
	for _, d := range doors {
		live := 0
		err := c.ledger.View(ctx, func(tx Tx) error { live = tx.Codes.Live(d, gateway.GrantID{}); return nil })
		if err != nil {
			return 0, err
		}
		need := gateway.PINLength(live + 1)
		if need == 0 {
			return 0, &gateway.Refusal{Reason: gateway.BeyondPolicy, Detail: fmt.Sprintf("door %s has %d live PINs; revoke one first", d, live)}
		}
		n = max(n, need)
	}
	return n, nil
}

// Revoke ends a grant, as a resident ("": whoever is at the console) wants it: one made at
// home by a signed revocation, a third party's by a block here. found is false where there
// is no such grant.
func (c *Controller) Revoke(ctx context.Context, id gateway.GrantID, by gateway.ResidentID) (found bool, err error) {
	if id.Issuer != gateway.HomeIssuer {
		return c.Block(ctx, id, by)
	}
	var g gateway.GrantRecord
	err = c.ledger.View(ctx, func(tx Tx) error { g, found = tx.Grants.Get(id); return nil })
	if err != nil || !found || g.Status == gateway.GrantRevoked {
		return found, err
	}
	g.Status, g.Version = gateway.GrantRevoked, g.Version+1
	text, err := c.tokens.Sign(g.Grant)
	if err != nil {
		return true, err
	}
	refusal, _, err := c.takeHome(ctx, text, "", by)
	if err == nil && refusal != nil {
		err = refusal
	}
	return true, err
}

// Explanation is what the rule says of a grant at a door and an instant.
type Explanation struct {
	Door    gateway.DoorID
	Verdict gateway.Reason // "" grants
	Checks  []Check
}

// Explain answers every check for any grant and instant, as if the clock were sure: by the facts
// of an attempt. Uses and the door's state are those of now; the pauses that are set now are held
// against the instant.
func (c *Controller) Explain(ctx context.Context, id gateway.GrantID, door gateway.DoorID, t time.Time) (x Explanation, found bool, err error) {
	at := gateway.Reading{Wall: t, Earliest: t, Latest: t, State: gateway.ClockSynced}
	err = c.ledger.View(ctx, func(tx Tx) error {
		var g gateway.GrantRecord
		if g, found = tx.Grants.Get(id); !found {
			return nil
		}
		if door == "" {
			if door = g.Doors[0]; len(c.here(g.Grant)) > 0 {
				door = c.here(g.Grant)[0]
			}
		}
		f := c.facts(tx, g, c.doors.View(door), at)
		f.Explain = true
		if p, has := tx.Codes.Of(id, door); has {
			f.PIN = &p
		} else {
			f.Card = tx.Codes.HasCard(id, door)
		}
		checks := Judge(f)
		if f.Policy.Knock > 0 {
			checks = append(checks, f.knock(c.knocks.isVetoed(door)))
		}
		x = Explanation{door, Verdict(checks), checks}
		return nil
	})
	return x, found, err
}
