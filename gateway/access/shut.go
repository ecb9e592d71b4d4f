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
	Degraded  bool          // it is locked out because the disk takes no writes (D5)
	For       time.Duration // how much longer, where it is locked out; 0: until a resident lifts it
	Since     time.Time     // zero: nobody knows
}

// ShutReaders lists them, by id, as of a reading. It changes nothing.
func (c *Controller) ShutReaders(ctx context.Context, at gateway.Reading) (list []ShutReader, err error) {
	var degraded bool
	if err := c.ledger.View(ctx, func(tx Tx) error { degraded = tx.House.Degraded(); return tx.Err() }); err != nil {
		return nil, err
	}
	rules := c.rules.Load()
	for door, readers := range rules.Readers {
		for _, r := range readers {
			t, err := c.throttles.peek(ctx, c.ledger, r.ID, at)
			if err != nil {
				return nil, err
			}
			if s, shut := shutNow(t, at, degraded, c.born); shut {
				s.ID, s.Door = r.ID, door
				list = append(list, s)
			}
			if pausedToday(t, at, rules.Zone) {
				list = append(list, ShutReader{ID: r.ID, Door: door, Since: t.PausedAt})
			}
		}
	}
	slices.SortStableFunc(list, func(a, b ShutReader) int { return cmp.Compare(a.ID, b.ID) })
	return list, nil
}

// shutNow says whether a reader takes no PIN and no card now, and which reason for that lasts longest.
func shutNow(t gateway.Throttle, at gateway.Reading, degraded bool, born time.Duration) (s ShutReader, shut bool) {
	if since := at.SinceBoot - t.Locked; lockedOut(t, at) {
		s, shut = ShutReader{LockedOut: true, For: t.LockedFor - since, Since: at.Wall.Add(-since)}, true
	}
	if !degraded || !shy(t, at, born) {
		return s, shut
	}
	if guessed(t, at) {
		return ShutReader{LockedOut: true, Degraded: true}, true
	}
	age := at.SinceBoot - born
	if left := firstLockOut - age; left > s.For {
		s = ShutReader{LockedOut: true, Degraded: true, For: left, Since: at.Wall.Add(-age)}
	}
	return s, true
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
