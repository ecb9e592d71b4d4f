package access

import (
	"context"
	"crypto/hmac"
	"fmt"
	"time"

	"gardien/gateway"
)

// taken is what became of a verified grant when it met the stored one.
type taken struct {
	record    gateway.GrantRecord // what is judged from now on
	isNew     bool                // it changed what is stored
	outdated  gateway.Reason      // the stored version contradicts it
	pinRefuse string              // its PIN is not acceptable here
	refusal   *gateway.Refusal    // it was not stored
	noted     bool                // but that it was seen, or what it tried, was
}

// making is what the house alone knows of a grant that is made here.
type making struct {
	by     gateway.ResidentID // who makes it, if it is a resident
	kind   gateway.Kind       // whom it is for, if the resident said so
	owner  gateway.ResidentID // whose own the PIN is
	duress gateway.ResidentID // whose duress PIN it is
}

// take puts a verified grant into the cache, if it is news. The highest version
// stands for ever; a revocation is kept whatever its period, door or policy (A9).
func (c *documents) take(tx Tx, g gateway.Grant, m making, at gateway.Reading) taken {
	stored, found := tx.Grants.Get(g.ID)
	digest := c.mac.grant(g)
	switch {
	case found && g.Version < stored.Version && stored.Status == gateway.GrantRevoked:
		return taken{record: stored, outdated: gateway.Revoked,
			refusal: &gateway.Refusal{Reason: gateway.Revoked, Detail: fmt.Sprintf("version %d revoked it", stored.Version)}}
	case found && g.Version < stored.Version:
		return taken{record: stored, outdated: gateway.UnknownCredential,
			refusal: &gateway.Refusal{Reason: gateway.UnknownCredential, Detail: fmt.Sprintf("version %d is known already", stored.Version)}}
	case found && g.Version == stored.Version && hmac.Equal(digest, stored.Digest):
		return taken{record: stored}
	case found && g.Version == stored.Version:
		return taken{record: stored, outdated: gateway.UnknownCredential,
			refusal: &gateway.Refusal{Reason: gateway.UnknownCredential, Detail: "this version was issued with other claims: raise ver"}}
	}
	return c.takeNew(tx, g, m, stored, found, digest, at)
}

// takeNew keeps a version that is higher than what is stored, if it may be kept. One that
// may not, though its issuer signed it, is remembered as seen: it was not withheld.
func (c *documents) takeNew(tx Tx, g gateway.Grant, m making, stored gateway.GrantRecord, found bool, digest []byte, at gateway.Reading) taken {
	t := taken{record: gateway.GrantRecord{Grant: g, Used: stored.Used, Digest: digest, Spoilt: stored.Spoilt}}
	if g.Status != gateway.GrantRevoked {
		if t.refusal = refuseNow(g, at); t.refusal == nil && !g.Card.IsZero() {
			t.refusal, t.noted = c.refuseCard(tx, g, at)
		}
		if t.refusal == nil && !g.PIN.IsZero() {
			var noted bool
			if t.refusal, noted = c.refusePIN(tx, g, at); t.refusal != nil {
				t.pinRefuse = t.refusal.Detail
			}
			t.noted = t.noted || noted
		}
	}
	if t.refusal != nil {
		t.noted = tx.Issuers.NoteRefused(g) || t.noted // a version that was noted may bring another PIN
		return t
	}
	c.keep(tx, g, m, digest, found, at)
	// Read it back: what is void after a restore shows now.
	t.record, _ = tx.Grants.Get(g.ID)
	t.isNew = true
	return t
}

// refuseNow gives the reason not to keep an active grant at all.
func refuseNow(g gateway.Grant, at gateway.Reading) *gateway.Refusal {
	switch {
	case at.In(g.Period) == gateway.PlaceOver:
		return &gateway.Refusal{Reason: gateway.Expired, Detail: "it is over"}
	case aheadOf(g.IssuedAt, at):
		return &gateway.Refusal{Reason: gateway.NotYetValid, Detail: "its iat is in the future: set the issuer's clock"}
	}
	return nil
}

// here lists the grant's doors that this gateway has.
func (c *documents) here(g gateway.Grant) []gateway.DoorID {
	var doors []gateway.DoorID
	for _, d := range c.rules.Load().Doors {
		if g.For(d) {
			doors = append(doors, d)
		}
	}
	return doors
}

func (c *documents) keep(tx Tx, g gateway.Grant, m making, digest []byte, found bool, at gateway.Reading) {
	tx.Grants.Put(g, digest)
	if !found && g.ID.Issuer == gateway.HomeIssuer {
		tx.Grants.Note(g.ID, m.kind, m.by)
	}
	c.keepCodes(tx, g, m)
	c.heard(tx, g.ID.Issuer, g.IssuedAt, at)
	e := gateway.Event{Type: gateway.GrantAdded, Issuer: g.ID.Issuer, Grant: g.ID.JTI, Sub: g.Sub, Resident: m.by}
	switch {
	case g.Status == gateway.GrantRevoked:
		e.Type = gateway.GrantRevokedOn
	case found:
		e.Type = gateway.GrantUpdated
	}
	tx.Record.AppendAt(at, e)
}

// heard notes the iat of a verified document: the issuer lives, and for its own documents it is
// not earlier. It moves no time of others (T3).
func (c *documents) heard(tx Tx, iss gateway.IssuerID, iat time.Time, at gateway.Reading) {
	if !aheadOf(iat, at) {
		tx.Issuers.Heard(iss, iat)
	}
	tx.House.Floor(c.clock.Floor(at))
}

func (c *Controller) reject(ctx context.Context, id gateway.GrantID, r *gateway.Refusal, at gateway.Reading) {
	c.denials.add(ctx, c, gateway.Event{Type: gateway.GrantRejected, Issuer: id.Issuer, Grant: id.JTI, Reason: r.Reason}, at)
}

// Block denies a third party's grant here until a higher version of it comes, as a resident
// wants it; found is false where there is no such grant.
func (c *Controller) Block(ctx context.Context, id gateway.GrantID, by gateway.ResidentID) (found bool, err error) {
	at := c.clock.Read()
	err = c.ledger.Update(ctx, func(tx Tx) error {
		var g gateway.GrantRecord
		if g, found = tx.Grants.Get(id); !found || g.Block || g.Status == gateway.GrantRevoked {
			return tx.Err()
		}
		tx.Grants.Block(id)
		tx.Codes.Wipe(id)
		return tx.Record.AppendAt(at, gateway.Event{Type: gateway.GrantRevokedOn, Issuer: id.Issuer, Grant: id.JTI, Sub: g.Sub, Resident: by})
	})
	return found, err
}
