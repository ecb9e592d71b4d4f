package access

import (
	"context"
	"sync"
	"time"

	"gardien/gateway"
)

// toldADay is how many refusals of what strangers bring are told one by one in a day; the others are
// counted, and told in one line a reason when the day is over. In 90 days that is less than 1 MiB (I1).
const toldADay = 20

// sparing is what is told of documents that strangers carry here. What an issuer has signed counts by
// itself, and what nobody has, too: no one's refusals hide another's.
type sparing struct {
	mu     sync.Mutex
	began  time.Duration // since boot: of the day
	told   map[gateway.IssuerID]int
	counts map[gateway.Event]int
}

// mayTell reports whether a refusal is still told by itself; else it is counted.
func (s *sparing) mayTell(e gateway.Event, at gateway.Reading) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.told == nil {
		s.told, s.counts = map[gateway.IssuerID]int{}, map[gateway.Event]int{}
		s.began = at.SinceBoot
	}
	if s.told[e.Issuer] < toldADay {
		s.told[e.Issuer]++
		return true
	}
	s.counts[gateway.Event{Type: e.Type, Issuer: e.Issuer, Reason: e.Reason}]++
	return false
}

// over gives the counts of a day that is over, or of what there is of it, and begins another.
func (s *sparing) over(at gateway.Reading, now bool) (counts map[gateway.Event]int) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.told == nil || !now && at.SinceBoot-s.began < day {
		return nil
	}
	counts = s.counts
	s.told, s.counts = nil, nil
	return counts
}

// back takes counts back that were not written.
func (s *sparing) back(counts map[gateway.Event]int, at gateway.Reading) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.told == nil {
		s.told, s.counts, s.began = map[gateway.IssuerID]int{}, map[gateway.Event]int{}, at.SinceBoot
	}
	for e, n := range counts {
		s.counts[e] += n
	}
}

// add records a refusal of what a stranger brought.
func (s *sparing) add(ctx context.Context, c *Controller, e gateway.Event, at gateway.Reading) {
	if s.mayTell(e, at) {
		c.denials.add(ctx, c, e, at)
	}
}

// tell writes what was counted, when its day is over, or now.
func (s *sparing) tell(ctx context.Context, c *Controller, now bool) {
	at := c.clock.Read()
	counts := s.over(at, now)
	if len(counts) == 0 {
		return
	}
	err := c.ledger.Follow(context.WithoutCancel(ctx), func(tx Tx) error {
		for e, n := range counts {
			e.Count = n
			tx.Record.AppendAt(at, e)
		}
		return tx.Err()
	})
	if err != nil {
		s.back(counts, at)
	}
}
