package access

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"sync"
	"time"

	"gardien/gateway"
)

// throttles caches what the database knows of readers, so that a locked-out reader
// costs no I/O.
type throttles struct {
	mu   sync.Mutex
	each map[gateway.ReaderID]gateway.Throttle
}

func (t *throttles) of(ctx context.Context, l Ledger, r gateway.ReaderID, now gateway.Reading) (gateway.Throttle, error) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if th, ok := t.each[r]; ok {
		return th, nil
	}
	var th gateway.Throttle
	if err := l.Follow(ctx, func(tx Tx) error { th = resume(tx.House.Throttle(r), now); return tx.Err() }); err != nil {
		return th, err
	}
	if t.each == nil {
		t.each = map[gateway.ReaderID]gateway.Throttle{}
	}
	t.each[r] = th
	return th, nil
}

func (t *throttles) set(r gateway.ReaderID, th gateway.Throttle) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.each == nil { // a restore has come between
		t.each = map[gateway.ReaderID]gateway.Throttle{}
	}
	t.each[r] = th
}

// forget empties the cache, after a restore.
func (t *throttles) forget() {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.each = nil
}

// doorOf finds the door of a reader.
func (r *Rules) doorOf(reader gateway.ReaderID) (gateway.DoorID, bool) {
	for door, list := range r.Readers {
		if slices.ContainsFunc(list, func(r Reader) bool { return r.ID == reader }) {
			return door, true
		}
	}
	return "", false
}

// troubledAt gives the readers of a door that have a run of failures or a pause to end.
func (c *Controller) troubledAt(ctx context.Context, door gateway.DoorID, now gateway.Reading) (map[gateway.ReaderID]gateway.Throttle, error) {
	list := map[gateway.ReaderID]gateway.Throttle{}
	for _, r := range c.rules.Load().Readers[door] {
		t, err := c.throttles.of(ctx, c.ledger, r.ID, now)
		if err != nil {
			return nil, err
		}
		if troubled(t) {
			list[r.ID] = t
		}
	}
	return list, nil
}

// Lift ends the lock-out and the pause at a reader, as a resident ("": whoever is at the console)
// wants it. found is false where there is no such reader.
func (c *Controller) Lift(ctx context.Context, reader gateway.ReaderID, by gateway.ResidentID) (found bool, err error) {
	door, found := c.rules.Load().doorOf(reader)
	if !found {
		return false, nil
	}
	defer c.atDoor.lock(c.rules.Load().lockOf(door))() // who types there now is judged before or after
	at := c.clock.Read()
	t, err := c.throttles.of(ctx, c.ledger, reader, at)
	if err != nil {
		return true, err
	}
	t = lifted(t)
	err = c.ledger.Update(ctx, func(tx Tx) error {
		tx.House.PutThrottle(reader, t)
		return tx.Record.AppendAt(at, gateway.Event{Type: gateway.LockOutLifted, Door: door, Reader: reader, Resident: by})
	})
	if err == nil {
		c.throttles.set(reader, t)
	}
	return true, err
}

// lockOut tells which readers of a door take no code of a grant now; card says that the code is a
// card, degraded that the disk takes no writes. It speaks against the grant where all of them do.
func (c *Controller) lockOut(ctx context.Context, id gateway.GrantID, door gateway.DoorID, card, degraded bool) (Check, error) {
	check := Check{Name: "lock-out", OK: true, Detail: "no reader of the door is locked out"}
	rules, now := c.rules.Load(), c.clock.Read()
	what := "PIN"
	if card {
		what = "card"
	}
	var shut []string
	for _, r := range rules.Readers[door] {
		t, err := c.throttles.of(ctx, c.ledger, r.ID, now)
		if err != nil {
			return check, err
		}
		switch s, is := shutNow(t, now, degraded, c.born); {
		case is && s.For == 0:
			shut = append(shut, fmt.Sprintf("reader %s takes no %s while the disk takes no writes, after too many wrong ones, unless a resident lifts it", r.ID, what))
		case is:
			shut = append(shut, fmt.Sprintf("reader %s takes no %s for %s", r.ID, what, More(s.For)))
		case id.Issuer != gateway.HomeIssuer && pausedToday(t, now, rules.Zone):
			shut = append(shut, fmt.Sprintf("reader %s takes no third party's %s today, unless a resident lifts it", r.ID, what))
		}
	}
	if len(shut) > 0 {
		check.Detail = strings.Join(shut, "; ")
	}
	if len(shut) > 0 && len(shut) == len(rules.Readers[door]) {
		check.OK, check.Reason = false, gateway.LockedOut
	}
	return check, nil
}

// More writes how much longer something lasts, rounded up.
func More(d time.Duration) string {
	n, unit := (d+time.Second-1)/time.Second, "second"
	if n > 60 {
		n, unit = (d+time.Minute-1)/time.Minute, "minute"
	}
	if n != 1 {
		unit += "s"
	}
	return fmt.Sprintf("%d more %s", n, unit)
}
