package access

import (
	"context"
	"errors"
	"slices"

	"gardien/gateway"
)

// Bag is documents that somebody has carried here, whoever it is: so many, of which the n-th is
// read when its turn comes.
type Bag struct {
	Len  int
	Item func(n int) gateway.Item
}

// Turn waits until a bag may be worked on for a moment, and gives the way out.
type Turn func(context.Context) (leave func(), err error)

const (
	// verifiedAtOnce is how many documents of a bag are verified in one turn: so long another bag
	// waits for this one.
	verifiedAtOnce = 8
	// keptAtOnce is how many documents of a bag share a transaction: so long whoever stands at a
	// door waits.
	keptAtOnce = 32
)

// TakeItem takes a document that somebody handed in, not the feed.
func (c *Controller) TakeItem(ctx context.Context, kind gateway.ItemKind, text string) (Intake, error) {
	item := gateway.Item{Kind: kind, Body: text}
	in, err := c.TakeBag(ctx, Bag{1, func(int) gateway.Item { return item }}, nil)
	if err != nil {
		return Intake{}, err
	}
	return in[0], nil
}

// Take takes a grant, sealed or not, into the cache. An error means that the database
// failed and nothing was kept.
func (c *Controller) Take(ctx context.Context, text string) (Intake, error) {
	return c.TakeItem(ctx, gateway.ItemGrant, text)
}

// TakeBag takes in what somebody carried here, each document good for itself, and gives what became
// of each. What takes away comes first: a revocation is durable before the turn that verified it is
// over. A key set counts from its place on. Grants follow, and manifests last, for they speak of the
// grants. turn may be nil. An error means that the database failed, or that whoever carried it has
// gone; what was taken in until then stays.
func (c *Controller) TakeBag(ctx context.Context, bag Bag, turn Turn) ([]Intake, error) {
	w := &unpacking{c: c, docs: map[int]document{}, results: make([]Intake, bag.Len)}
	each := func(do func(context.Context) error) error {
		if turn != nil {
			leave, err := turn(ctx)
			if err != nil {
				return err
			}
			defer leave()
		}
		return do(context.WithoutCancel(ctx))
	}
	for from := 0; from < bag.Len; from += verifiedAtOnce {
		err := each(func(ctx context.Context) error {
			err := w.verify(ctx, bag, from, min(from+verifiedAtOnce, bag.Len))
			if err == nil && bag.Len <= verifiedAtOnce { // a small one is done in one turn
				err = w.finish(func(do func(context.Context) error) error { return do(ctx) })
			}
			return err
		})
		if err != nil {
			return nil, err
		}
	}
	return w.results, w.finish(each)
}

// finish keeps what has been verified, in turns.
func (w *unpacking) finish(each func(func(context.Context) error) error) error {
	all := append(w.grants, w.manifests...)
	w.grants, w.manifests = nil, nil
	for part := range slices.Chunk(all, keptAtOnce) {
		if err := each(func(ctx context.Context) error { return w.keep(ctx, part) }); err != nil {
			return err
		}
	}
	if len(w.grown) == 0 {
		return nil
	}
	err := each(w.rematch)
	w.grown = nil
	return err
}

// unpacking is a bag that is being taken in.
type unpacking struct {
	c                 *Controller
	docs              map[int]document // verified, and not kept yet
	grants, manifests []int
	results           []Intake
	grown             []gateway.IssuerID // whose grants have come
}

// verify verifies some documents, and keeps at once what takes away and what verifies others.
func (w *unpacking) verify(ctx context.Context, bag Bag, from, to int) error {
	var away []int
	for n := from; n < to; n++ {
		item := bag.Item(n)
		d := w.c.open(item.Kind, item.Body)
		switch {
		case d.refusal == nil && d.command != nil:
			d.refusal = byFeedOnly
			fallthrough
		case d.refusal != nil:
			w.refuse(ctx, n, d, w.c.clock.Read())
			continue
		case d.keys != nil:
			w.docs[n] = d
			if err := w.keep(ctx, []int{n}); err != nil {
				return err
			}
			continue
		case d.manifest != nil:
			w.manifests = append(w.manifests, n)
		case d.grant.Status == gateway.GrantRevoked:
			away = append(away, n)
		default:
			w.grants = append(w.grants, n)
		}
		w.docs[n] = d
	}
	return w.keep(ctx, away)
}

// keep takes verified documents in, in one transaction, which is none where nothing of them is news.
func (w *unpacking) keep(ctx context.Context, list []int) error {
	if len(list) == 0 {
		return nil
	}
	at := w.c.clock.Read()
	refusals, news := map[int]*gateway.Refusal{}, map[int]bool{}
	err := w.c.ledger.Update(ctx, func(tx Tx) error {
		clear(refusals)
		clear(news)
		keep := false
		for _, n := range list {
			changed, refusal := w.c.apply(tx, w.docs[n], at)
			news[n], keep = changed, keep || changed
			if refusal != nil {
				refusals[n] = refusal
			}
		}
		if tx.Err() == nil && !keep {
			return errDenied
		}
		return tx.Err()
	})
	if err != nil && !errors.Is(err, errDenied) {
		return err
	}
	for _, n := range list {
		d := w.docs[n]
		delete(w.docs, n)
		switch d.refusal = refusals[n]; {
		case d.refusal != nil:
			w.refuse(ctx, n, d, at)
		case !news[n]:
			w.results[n] = Intake{d.id, "known", nil}
		default:
			w.results[n] = Intake{d.id, "accepted", nil}
			if d.keys != nil && w.c.rotated != nil {
				w.c.rotated(d.keys.Issuer)
			}
			if d.grant != nil && !slices.Contains(w.grown, d.id.Issuer) {
				w.grown = append(w.grown, d.id.Issuer)
			}
		}
	}
	return nil
}

func (w *unpacking) refuse(ctx context.Context, n int, d document, at gateway.Reading) {
	w.results[n] = Intake{d.id, "rejected", d.refusal}
	w.c.sparing.add(ctx, w.c, gateway.Event{Type: gateway.GrantRejected, Issuer: d.id.Issuer, Grant: d.id.JTI, Reason: d.refusal.Reason}, at)
}

// rematch looks again at the manifests of issuers whose grants have come: a manifest may have come
// before them, with another bag.
func (w *unpacking) rematch(ctx context.Context) error {
	var unmatched []gateway.IssuerID
	if err := w.c.ledger.View(ctx, func(tx Tx) error { unmatched = tx.Issuers.Unmatched(); return nil }); err != nil {
		return err
	}
	for _, iss := range unmatched {
		if !slices.Contains(w.grown, iss) {
			continue
		}
		if err := w.c.rematch(ctx, iss); err != nil {
			return err
		}
	}
	return nil
}
