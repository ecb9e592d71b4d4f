package access

import (
	"context"
	"sync"
	"time"

	"gardien/gateway"
)

// The budget of refusals (D6): in any hour the first are written one by one, most of
// them with an fsync, and the rest as counts.
const (
	denialsDurable = 40
	denialsSingle  = 60
	denialsEvery   = time.Minute
	maxKinds       = 64 // of counted refusals at once
)

// denials writes refusals into the record.
type denials struct {
	wake chan struct{}

	mu     sync.Mutex
	times  []time.Duration // since boot, of the last hour's single ones
	counts map[gateway.Event]int
}

// add records a refusal, at once or as a count that Run writes. One that the
// database does not take becomes a count, too.
func (d *denials) add(ctx context.Context, c *Controller, e gateway.Event, at gateway.Reading) {
	d.mu.Lock()
	defer d.mu.Unlock()
	for len(d.times) > 0 && at.SinceBoot-d.times[0] >= time.Hour {
		d.times = d.times[1:]
	}
	if n := len(d.times); n < denialsSingle {
		d.times = append(d.times, at.SinceBoot)
		write := c.ledger.Follow
		if n < denialsDurable {
			write = c.ledger.Update
		}
		err := write(context.WithoutCancel(ctx), func(tx Tx) error { return tx.AppendAt(at, e) })
		if err == nil {
			return
		}
	}
	// What differs between alike refusals is left out of the count.
	e.Attempt, e.Sub = "", ""
	if d.counts == nil {
		d.counts = map[gateway.Event]int{}
	}
	if _, known := d.counts[e]; !known && len(d.counts) >= maxKinds {
		e = gateway.Event{Type: e.Type, Reason: e.Reason}
	}
	d.counts[e]++
	select {
	case d.wake <- struct{}{}:
	default:
	}
}

// flush writes the counts.
func (d *denials) flush(ctx context.Context, c *Controller) error {
	d.mu.Lock()
	defer d.mu.Unlock()
	if len(d.counts) == 0 {
		return nil
	}
	at := c.clock.Read()
	err := c.ledger.Follow(context.WithoutCancel(ctx), func(tx Tx) error {
		for e, n := range d.counts {
			e.Count = n
			tx.AppendAt(at, e)
		}
		return tx.Err()
	})
	if err == nil {
		d.counts = nil
	}
	return err
}
