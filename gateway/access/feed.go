package access

import (
	"context"
	"errors"
	"maps"
	"slices"

	"gardien/gateway"
)

// Intake is what became of a document that was handed in.
type Intake struct {
	ID      gateway.GrantID
	Result  string // accepted, known, rejected
	Refusal *gateway.Refusal
}

// receive takes a document in, in one transaction with its place in the feed, if it came
// by that.
func (c *Controller) receive(ctx context.Context, d document, place *gateway.FeedItem) (Intake, error) {
	at := c.clock.Read()
	changed, refusal := false, d.refusal
	note := func(tx Tx) error {
		if place != nil {
			tx.Feed.Note(*place, refusal == nil)
		}
		return tx.Err()
	}
	if refusal == nil {
		err := c.ledger.Update(ctx, func(tx Tx) error {
			if changed, refusal = c.apply(tx, d, at); tx.Err() == nil && !changed {
				return errDenied
			}
			return note(tx)
		})
		if err != nil && !errors.Is(err, errDenied) {
			return Intake{}, err
		}
	}
	if !changed && place != nil { // its place need not be durable: it would only come again
		if err := c.ledger.Follow(ctx, note); err != nil {
			return Intake{}, err
		}
	}
	switch {
	case refusal != nil:
		c.reject(ctx, d.id, refusal, at)
		return Intake{d.id, "rejected", refusal}, nil
	case !changed:
		return Intake{d.id, "known", nil}, nil
	}
	if d.keys != nil && c.rotated != nil {
		c.rotated(d.keys.Issuer)
	}
	return Intake{d.id, "accepted", nil}, nil
}

// Receive takes one item of the feed, with its place, in one transaction. What is refused
// is recorded and passed by: it blocks nothing (N7). Commands are carried out beside the
// feed.
func (c *Controller) Receive(ctx context.Context, i gateway.FeedItem) error {
	d := c.open(i.Kind, i.Body)
	if d.command != nil && d.refusal == nil {
		if err := c.ledger.Follow(ctx, func(tx Tx) error { tx.Feed.Note(i, true); return tx.Err() }); err != nil {
			return err
		}
		c.carryOut(ctx, *d.command)
		return nil
	}
	_, err := c.receive(ctx, d, &i)
	return err
}

// atOnce is how many documents of a snapshot share a transaction: whoever stands at a door
// waits for one at most.
const atOnce = 200

// ReceiveAll takes a snapshot, whose digest the caller has checked. What it brings goes in
// by and by, each document good for itself; the place in the feed follows in one last
// transaction, so that whatever comes between begins anew. What the gateway has taken
// already is not looked at again; what the snapshot does not have stays, for a mailbox that
// says nothing deletes nothing.
func (c *Controller) ReceiveAll(ctx context.Context, s gateway.FeedSnapshot) error {
	var have map[string]gateway.Digest
	err := c.ledger.View(ctx, func(tx Tx) error { have = tx.Feed.Taken(); return nil })
	if err != nil {
		return err
	}
	known := func(i gateway.Item) bool { sum, ok := have[i.ID]; return ok && sum == i.Sum() }
	// Keys first, in transactions of their own: others may be signed by them.
	again := map[int]bool{}
	for n, i := range s.Items {
		if i.Kind == gateway.ItemKeys && !known(i) {
			in, err := c.receive(ctx, c.open(i.Kind, i.Body), nil)
			if err != nil {
				return err
			}
			again[n] = in.Refusal != nil
		}
	}
	docs := c.openAll(s.Items, func(i gateway.Item) bool { return i.Kind != gateway.ItemKeys && !known(i) })
	at := c.clock.Read()
	refused := map[int]*gateway.Refusal{}
	apply := func(tx Tx, n int) {
		if _, r := c.apply(tx, *docs[n], at); r != nil {
			refused[n] = r
		}
	}
	applied := map[int]bool{}
	for chunk := range slices.Chunk(grantsOf(s.Items, docs), atOnce) {
		err := c.ledger.Follow(ctx, func(tx Tx) error {
			for _, n := range chunk {
				delete(refused, n)
				apply(tx, n)
				applied[n] = true
			}
			return tx.Err()
		})
		if err != nil {
			return err
		}
	}
	early := maps.Clone(refused)
	err = c.ledger.Update(ctx, func(tx Tx) error {
		refused = maps.Clone(early)
		tx.Feed.Reset(gateway.Position{Epoch: s.Epoch, Seq: s.Head})
		// Manifests last: they speak of the grants.
		for _, manifests := range []bool{false, true} {
			for n, i := range s.Items {
				if (i.Kind == gateway.ItemManifest) != manifests {
					continue
				}
				if docs[n] != nil && !applied[n] {
					apply(tx, n)
				}
				tx.Feed.Note(gateway.FeedItem{Item: i}, refused[n] == nil && !again[n])
			}
		}
		return tx.Err()
	})
	if err != nil {
		return err
	}
	for n, r := range refused {
		c.reject(ctx, docs[n].id, r, at)
	}
	return nil
}

// grantsOf numbers the documents that do not speak of others.
func grantsOf(items []gateway.Item, docs []*document) (list []int) {
	for n, d := range docs {
		if d != nil && items[n].Kind != gateway.ItemManifest {
			list = append(list, n)
		}
	}
	return list
}

// CaughtUp holds what has come against a head of the feed: same is false where an item is
// missing or another. Where all is here, manifests that named grants still to come are
// looked at again.
func (c *Controller) CaughtUp(ctx context.Context, h gateway.FeedHead) (same bool, err error) {
	var p gateway.Position
	var digest gateway.Digest
	var unmatched []gateway.IssuerID
	err = c.ledger.View(ctx, func(tx Tx) error {
		p, digest = tx.Feed.Place()
		unmatched = tx.Issuers.Unmatched()
		return nil
	})
	if err != nil || p.Epoch != h.Epoch || digest != h.Digest {
		return false, err
	}
	for _, iss := range unmatched {
		if err := c.rematch(ctx, iss); err != nil {
			return false, err
		}
	}
	if p.Seq < h.Head { // commands that were over
		err = c.ledger.Follow(ctx, func(tx Tx) error { tx.Feed.Advance(h.Head); return tx.Err() })
	}
	return true, err
}

// rematch looks again whether the grants of an issuer's manifest are here.
func (c *Controller) rematch(ctx context.Context, iss gateway.IssuerID) error {
	err := c.ledger.Update(ctx, func(tx Tx) error {
		m, found := tx.Issuers.Manifest(iss)
		if !found || m.Matched || !matches(tx, m.Manifest) {
			return errors.Join(tx.Err(), errDenied)
		}
		m.Matched = true
		tx.Issuers.PutManifest(m)
		return tx.Err()
	})
	if errors.Is(err, errDenied) {
		return nil
	}
	return err
}
