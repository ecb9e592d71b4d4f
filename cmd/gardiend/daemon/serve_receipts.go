package daemon

import (
	"context"
	"fmt"

	"gardien/gateway"
	"gardien/store"
)

// receiptService serves receipts to the API.
type receiptService struct{ g *Gateway }

// Holds implements api.ReceiptService.
func (s receiptService) Holds(ctx context.Context, attempt gateway.AttemptID, proof gateway.Secret) (bool, error) {
	return s.g.access.Entries.Holds(ctx, attempt, proof)
}

// Receipt implements api.ReceiptService. The door is asked before the record is read: what it may
// still let in is not over.
func (s receiptService) Receipt(ctx context.Context, attempt gateway.AttemptID) (text string, found bool, err error) {
	var e gateway.Event
	err = s.g.store.View(ctx, func(tx *store.Tx) error { e, found = tx.Record.Entry(attempt); return tx.Err() })
	if err != nil || !found || s.g.access.Entries.GoesOn(attempt, e.Door) {
		return "", false, err
	}
	var story store.Story
	if err := s.g.store.Browse(ctx, func(tx *store.Tx) error { story = tx.Record.Story(attempt); return tx.Err() }); err != nil {
		return "", false, fmt.Errorf("receipt of attempt %s: %w", attempt, err)
	}
	r, ended := gateway.ReceiptOf(story.Events, attempt)
	if !ended {
		return "", false, nil
	}
	r.Head.Log = story.Log
	text, err = s.g.identity.SignReceipt(r)
	return text, err == nil, err
}
