package access

import (
	"context"
	"slices"

	"gardien/gateway"
)

// pin and card judge what may be guessed at a reader, in one way.
func (a *attempt) pin(ctx context.Context, pin gateway.PIN) (gateway.Reason, error) {
	// A pause tells nobody which of third parties' PINs are good.
	theirs := slices.Contains(a.c.rules.Load().pinLengths(a.Door, "any.third.party"), pin.Len())
	return a.code(ctx, a.c.mac.pin(a.Door, pin), gateway.WrongPIN, theirs)
}

func (a *attempt) card(ctx context.Context, card gateway.Card) (gateway.Reason, error) {
	return a.code(ctx, a.c.mac.card(a.Door, card), gateway.UnknownCredential, false)
}

// code judges a PIN or a card: lock-out, then its grant. One that nobody has is a failure
// (P2, P3), and unknown is its reason. theirs says that it can only be a third party's.
func (a *attempt) code(ctx context.Context, mac []byte, unknown gateway.Reason, theirs bool) (gateway.Reason, error) {
	t, err := a.c.throttles.of(ctx, a.c.ledger, a.Reader, a.At)
	if err != nil {
		return "", err
	}
	if lockedOut(t, a.At) || theirs && pausedToday(t, a.At, a.c.rules.Load().Zone) {
		return gateway.LockedOut, nil
	}
	next, id := t, a.ID
	a.repeats(mac)
	reason, err := a.decide(ctx, func(tx Tx) (gateway.Reason, bool) {
		if tx.House.Degraded() && shy(t, a.At, a.c.born) {
			return gateway.LockedOut, false
		}
		p, rec, live := a.find(tx, mac)
		if !live && a.again {
			return a.gone(tx), false
		}
		if !live {
			a.ID, a.Grant, a.sub, a.retry, a.repeat = id, gateway.GrantID{}, "", false, nil
			next = a.fails(tx, t)
			return unknown, true
		}
		if rec.ID.Issuer != gateway.HomeIssuer && pausedToday(t, a.At, a.c.rules.Load().Zone) {
			return gateway.LockedOut, false
		}
		isCard := p.Length == 0
		reason := a.judge(tx, rec, func(f *Facts) {
			if f.Card = isCard; !isCard {
				f.PIN = &p
			}
		})
		if reason != "" || a.repeat != nil {
			return reason, false
		}
		if p.Own() && !isCard && troubled(t) {
			next = ended(t)
			tx.House.PutThrottle(a.Reader, next)
		}
		return a.enter(tx, rec, a.duress(p)...), false
	})
	if err == nil && (reason == "" || reason == unknown) {
		a.c.throttles.set(a.Reader, next)
	}
	return reason, err
}

// find finds a code's grant, if it may still open.
func (a *attempt) find(tx Tx, mac []byte) (p gateway.PINRecord, rec gateway.GrantRecord, live bool) {
	if p, live = tx.Codes.Find(a.Door, mac); !live {
		return p, rec, false
	}
	if rec, live = tx.Grants.Get(p.Grant); !live {
		return p, rec, false
	}
	a.Grant, a.sub = rec.ID, rec.Sub
	a.continues()
	return p, rec, a.alive(rec) && !p.Unsure
}

// gone gives the reason where a code that was live when it came is not any more: waiting for the
// residents was no guess.
func (a *attempt) gone(tx Tx) gateway.Reason {
	reason := gateway.WrongPIN
	if g, found := tx.Grants.Get(a.Grant); found {
		a.sub = g.Sub
		if r := Verdict(Judge(a.c.facts(tx, g, a.view, a.At))); r != "" {
			reason = r
		}
	}
	return reason
}

// alive reports whether a code's grant may still open: a code that is over is as unknown as one
// that never was.
func (a *attempt) alive(g gateway.GrantRecord) bool {
	left, limited := g.UsesLeft()
	return g.Status == gateway.GrantActive && !g.Block && !g.Stripped && a.At.In(g.Period) != gateway.PlaceOver && !(limited && left == 0 && !a.retry && !g.Entry.Continues(a.Door, a.At) && !g.Entry.Unsure(a.Door, a.At))
}

// fails counts a failure at the reader.
func (a *attempt) fails(tx Tx, t gateway.Throttle) gateway.Throttle {
	next, locked := failed(t, a.At)
	tell := func(what gateway.EventType) {
		tx.Record.AppendAt(a.At, gateway.Event{Type: what, Door: a.Door, Reader: a.Reader, Count: len(next.Recent)})
	}
	if locked {
		tell(gateway.ReaderLockedOut)
	}
	if len(next.Recent) == alarmFailures && len(t.Recent) < alarmFailures {
		tell(gateway.ReaderTamper)
	}
	tx.House.PutThrottle(a.Reader, next)
	return next
}

// duress is the silent event of a duress PIN.
func (a *attempt) duress(p gateway.PINRecord) []gateway.Event {
	if p.Duress == "" {
		return nil
	}
	e := gateway.Duress.Of(a.Attempt)
	e.Resident = p.Duress
	return []gateway.Event{e}
}
