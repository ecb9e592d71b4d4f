package access

import (
	"context"
	"time"

	"gardien/gateway"
)

// fresh reports whether a proof's iat can be of now. While the clock is undecided it tells nothing.
func fresh(iat time.Time, at gateway.Reading) bool {
	const leeway = 300 * time.Second
	return at.State == gateway.ClockUndecided || !iat.Before(at.Earliest.Add(-leeway)) && !iat.After(at.Latest.Add(leeway))
}

// Entries tells of entries to whoever wants to know how one ended.
type Entries struct{ c *Controller }

// Holds reports whether a proof is by the holder of the grant that an attempt was let in by, and for
// its door. It spends the proof's nonce. The memory is asked when the proof is good in itself: what
// a stranger makes up costs no more than his nonce does (I1).
func (s *Entries) Holds(ctx context.Context, attempt gateway.AttemptID, proof gateway.Secret) (holds bool, err error) {
	at := s.c.clock.Read()
	nonce, refusal := s.c.tokens.Nonce(proof.Reveal())
	if refusal != nil || !s.c.Nonces.spend(nonce, at.SinceBoot) {
		return false, nil
	}
	said, refusal := s.c.tokens.Possession(proof.Reveal())
	if refusal != nil || !fresh(said.IssuedAt, at) {
		return false, nil
	}
	err = s.c.ledger.View(ctx, func(tx Tx) error {
		e, found := tx.Record.Entry(attempt)
		if !found || e.Grant == "" || e.Door != said.Door {
			return tx.Err()
		}
		g, found := tx.Grants.Get(gateway.GrantID{Issuer: e.Issuer, JTI: e.Grant})
		holds = found && g.Holder != "" && g.Holder == said.Holder
		return tx.Err()
	})
	return holds && err == nil, err
}

// GoesOn reports whether an attempt's entry at a door is not over, or may be tried again. If it is
// over, the record has all of it when this returns: who is being judged there is judged by then.
func (s *Entries) GoesOn(attempt gateway.AttemptID, door gateway.DoorID) bool {
	v := s.c.doors.View(door)
	goes := v.GoesOn(attempt, time.Now())
	s.c.atDoor.lock(s.c.rules.Load().lockOf(door))()
	return goes
}
