package access

import (
	"context"
	"errors"
	"fmt"
	"slices"
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
	Owner     gateway.ResidentID // the PIN is this resident's own
	Holder    string             // thumbprint of the key whose holder may present it, too
	Duress    gateway.ResidentID // the PIN is this resident's duress PIN
	By        gateway.ResidentID // who makes it; "": whoever is at the console
	Kind      gateway.Kind       // whom it is for; "": not said
	Approval  gateway.Approval
}

// Made is a grant that was made at home.
type Made struct {
	ID   gateway.GrantID
	PIN  gateway.PIN // told this once
	Text string      // what its holder's phone presents
}

// Home makes a grant at home: the same object as a carrier's, signed, sealed, and
// taken in by the same way (A1). The PIN has the shortest length that has room (P1). Bad
// requests are *gateway.Refusal.
func (c *Controller) Home(ctx context.Context, h HomeGrant) (Made, error) {
	at := c.clock.Read()
	g := gateway.Grant{
		ID:      gateway.GrantID{Issuer: gateway.HomeIssuer, JTI: gateway.NewJTI()},
		Version: 1, Status: gateway.GrantActive, Doors: h.Doors,
		IssuedAt: at.Earliest.Truncate(time.Second),
		Period:   gateway.Period{NotBefore: h.NotBefore, NotAfter: h.NotAfter},
		Uses:     h.Uses, Schedule: h.Schedule, Sub: h.Sub, Card: h.Card, Holder: h.Holder, Approval: h.Approval,
	}
	if g.NotBefore.IsZero() {
		g.NotBefore = at.Earliest.Truncate(time.Second)
	}
	if g.NotAfter.IsZero() {
		g.NotAfter = gateway.MaxTime
	}
	if !g.NotBefore.Before(g.NotAfter) || at.In(g.Period) == gateway.PlaceOver {
		return Made{}, &gateway.Refusal{Reason: gateway.Expired, Detail: "the grant would be over already: not_after must lie after now and not_before"}
	}
	for range 20 { // a PIN that is taken is drawn again
		if h.PIN {
			n, err := c.pinLength(ctx, h.Doors)
			if err != nil {
				return Made{}, err
			}
			g.PIN = gateway.DrawPIN(n)
		}
		text, err := c.tokens.Sign(g)
		if err != nil {
			return Made{}, err
		}
		refusal, again, err := c.takeHome(ctx, text, making{by: h.By, kind: h.Kind, owner: h.Owner, duress: h.Duress})
		if err != nil {
			return Made{}, err
		}
		if refusal == nil {
			return Made{ID: g.ID, PIN: g.PIN, Text: text}, nil
		}
		if !again {
			return Made{}, refusal
		}
	}
	return Made{}, errors.New("found no free PIN in 20 draws")
}

// takeHome is Take for the gateway's own text: a PIN that collides makes no event, and asks
// to be drawn again.
func (c *Controller) takeHome(ctx context.Context, text string, m making) (refusal *gateway.Refusal, again bool, err error) {
	at := c.clock.Read()
	g, refusal := c.tokens.Grant(text)
	if refusal != nil {
		return refusal, false, nil
	}
	var t taken
	err = c.ledger.Update(ctx, func(tx Tx) error {
		t = c.take(tx, g, m, at)
		return tx.Err()
	})
	return t.refusal, t.pinRefuse != "", err
}

// pinLength gives the shortest length of home's PINs that has room at each of the doors (P1).
func (c *Controller) pinLength(ctx context.Context, doors []gateway.DoorID) (length int, err error) {
	rules := c.rules.Load()
	var lists [][]int
	for _, d := range doors {
		lists = append(lists, rules.pinLengths(d, gateway.HomeIssuer))
	}
	common := gateway.CommonPINLengths(lists...)
	if len(common) == 0 {
		return 0, &gateway.Refusal{Reason: gateway.BeyondPolicy, Detail: fmt.Sprintf("the doors %v take PINs of no common length: make a grant for each", doors)}
	}
	var full gateway.DoorID
	err = c.ledger.View(ctx, func(tx Tx) error {
		home := gateway.GrantID{Issuer: gateway.HomeIssuer}
		for _, n := range common {
			i := slices.IndexFunc(doors, func(d gateway.DoorID) bool {
				return tx.Codes.Live(home, d, n) >= rules.share(d, gateway.HomeIssuer, n)
			})
			if i < 0 {
				length = n
				return nil
			}
			full = doors[i]
		}
		return nil
	})
	if err == nil && length == 0 {
		err = &gateway.Refusal{Reason: gateway.BeyondPolicy, Detail: fmt.Sprintf("door %s has no room for another PIN of %s; revoke one first", full, gateway.Digits(common))}
	}
	return length, err
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
	refusal, _, err := c.takeHome(ctx, text, making{by: by})
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
// of an attempt. Uses, lock-outs and the door's state are those of now; the pauses that are set now
// are held against the instant.
func (c *Controller) Explain(ctx context.Context, id gateway.GrantID, door gateway.DoorID, t time.Time) (x Explanation, found bool, err error) {
	at := surely(t)
	var f Facts
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
		f = c.facts(tx, g, c.doors.View(door), at)
		f.Explain, f.Engaged = true, c.interlock.engaged(c.doors, c.rules.Load(), door)
		if p, has := tx.Codes.Of(id, door); has {
			f.PIN = &p
		} else {
			f.Card = tx.Codes.HasCard(id, door)
		}
		checks := Judge(f)
		if f.Policy.Knock > 0 {
			checks = append(checks, f.knock(c.knocks.isVetoed(door, id)))
		}
		if approval := approvalOf(g, f.Policy); approval != gateway.ApprovalOff {
			checks = append(checks, f.approval(approval, c.knocks.isVetoed(door, id)))
		}
		checks = append(checks, presentable(c.rules.Load(), tx, &f))
		x = Explanation{door, Verdict(checks), checks}
		return nil
	})
	if err == nil && (f.PIN != nil || f.Card) {
		var check Check
		check, err = c.lockOut(ctx, id, door, f.Card, f.Degraded)
		x.Checks = slices.Insert(x.Checks, 0, check) // as the order for a PIN is
		x.Verdict = Verdict(x.Checks)
	}
	return x, found, err
}
