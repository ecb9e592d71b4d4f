package access

import (
	"context"
	"sync"
	"time"

	"gardien/gateway"
)

// The budget of refusals (D6): in any hour the first are written one by one, with an
// fsync. The others share a commit without one every half second, and beyond 64 at
// once they are counted.
const (
	denialsDurable = 40
	denialsEvery   = 500 * time.Millisecond
	denialsWhole   = 64 // of one flush
	maxKinds       = 64 // of counted refusals at once
)

// denials writes refusals into the record.
type denials struct {
	wake chan struct{}

	mu     sync.Mutex
	times  []time.Duration // since boot, of the last hour's durable ones
	whole  []refused
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
	if len(d.times) < denialsDurable && len(d.whole) == 0 {
		d.times = append(d.times, at.SinceBoot)
		if c.ledger.Update(context.WithoutCancel(ctx), func(tx Tx) error { return tx.Record.AppendAt(at, e) }) == nil {
			return
		}
	}
	d.wait(e, at)
}

// later records a refusal beside: whoever was refused does not wait for a database that fails.
func (d *denials) later(e gateway.Event, at gateway.Reading) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.wait(e, at)
}

// wait keeps a refusal for the next flush.
func (d *denials) wait(e gateway.Event, at gateway.Reading) {
	defer func() {
		select {
		case d.wake <- struct{}{}:
		default:
		}
	}()
	if len(d.whole) < denialsWhole {
		d.whole = append(d.whole, refused{at, e})
		return
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
}

// refused is a refusal that waits for its commit.
type refused struct {
	at    gateway.Reading
	event gateway.Event
}

// flush writes what waits.
func (d *denials) flush(ctx context.Context, c *Controller) error {
	d.mu.Lock()
	defer d.mu.Unlock()
	if len(d.whole) == 0 {
		return nil
	}
	at := c.clock.Read()
	err := c.ledger.Follow(context.WithoutCancel(ctx), func(tx Tx) error {
		for _, r := range d.whole {
			tx.Record.AppendAt(r.at, r.event)
		}
		for e, n := range d.counts {
			e.Count = n
			tx.Record.AppendAt(at, e)
		}
		return tx.Err()
	})
	if err == nil {
		d.whole, d.counts = nil, nil
	}
	return err
}
