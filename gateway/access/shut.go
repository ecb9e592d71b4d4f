package access

import (
	"cmp"
	"context"
	"slices"
	"time"

	"gardien/gateway"
)

// ShutReader is one that takes no PIN and no card, or none of third parties.
type ShutReader struct {
	ID        gateway.ReaderID
	Door      gateway.DoorID
	LockedOut bool          // it takes none; else third parties' pause there
	For       time.Duration // how much longer, where it is locked out
	Since     time.Time
}

// ShutReaders lists them, by id, as of a reading. It changes nothing.
func (c *Controller) ShutReaders(ctx context.Context, at gateway.Reading) (list []ShutReader, err error) {
	rules := c.rules.Load()
	for door, readers := range rules.Readers {
		for _, r := range readers {
			t, err := c.throttles.peek(ctx, c.ledger, r.ID, at)
			if err != nil {
				return nil, err
			}
			if since := at.SinceBoot - t.Locked; lockedOut(t, at) {
				list = append(list, ShutReader{r.ID, door, true, t.LockedFor - since, at.Wall.Add(-since)})
			}
			if pausedToday(t, at, rules.Zone) {
				list = append(list, ShutReader{r.ID, door, false, 0, t.PausedAt})
			}
		}
	}
	slices.SortStableFunc(list, func(a, b ShutReader) int { return cmp.Compare(a.ID, b.ID) })
	return list, nil
}

// peek is of, for whoever only looks: what is not known yet is read, and not kept.
func (t *throttles) peek(ctx context.Context, l Ledger, r gateway.ReaderID, now gateway.Reading) (th gateway.Throttle, err error) {
	t.mu.Lock()
	th, ok := t.each[r]
	t.mu.Unlock()
	if !ok {
		err = l.View(ctx, func(tx Tx) error { th = resume(tx.House.Throttle(r), now); return tx.Err() })
	}
	return th, err
}
