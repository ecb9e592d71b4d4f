package residents

import (
	"context"
	"sync"
	"time"

	"gardien/gateway"
)

// keptEvery is how often a device's last authentication is written down, at most.
const keptEvery = time.Hour

// seen is when devices last authenticated, by the boot clock: a clock that is set later moves nothing.
// It is in memory; now and then it is written down, beside whoever asks.
type seen struct {
	mu   sync.Mutex
	last map[gateway.ResidentID]time.Duration
	kept map[gateway.ResidentID]time.Duration // when that was written last, by this process
}

func newSeen() *seen {
	return &seen{last: map[gateway.ResidentID]time.Duration{}, kept: map[gateway.ResidentID]time.Duration{}}
}

func (s *seen) note(id gateway.ResidentID, now time.Duration) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.last[id] = now
}

func (s *seen) forget(id gateway.ResidentID) {
	s.mu.Lock()
	defer s.mu.Unlock()
	delete(s.last, id)
	delete(s.kept, id)
}

// due gives the devices whose last authentication is to be written down now.
func (s *seen) due(now gateway.Reading) map[gateway.ResidentID]time.Time {
	s.mu.Lock()
	defer s.mu.Unlock()
	list := map[gateway.ResidentID]time.Time{}
	for id, last := range s.last {
		kept, is := s.kept[id]
		if !is || last > kept && now.SinceBoot-kept >= keptEvery {
			list[id] = ago(last, now)
		}
	}
	return list
}

// wrote notes what was written down.
func (s *seen) wrote(list map[gateway.ResidentID]time.Time, now gateway.Reading) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for id := range list {
		if _, is := s.last[id]; is {
			s.kept[id] = now.SinceBoot
		}
	}
}

// ago is when the boot clock showed so much.
func ago(since time.Duration, now gateway.Reading) time.Time {
	return now.Wall.Add(since - now.SinceBoot)
}

// SeenAt gives when each device last authenticated; one that is not there was never seen.
func (r *Residents) SeenAt(ctx context.Context) (map[gateway.ResidentID]time.Time, error) {
	list, err := r.Memory.SeenAt(ctx)
	if err != nil {
		return nil, err
	}
	now := r.Clock.Read()
	r.seen.mu.Lock()
	defer r.seen.mu.Unlock()
	for id, last := range r.seen.last {
		list[id] = ago(last, now)
	}
	return list, nil
}

// KeepSeen writes down when devices last authenticated: of each once an hour at most, and nothing
// while nobody knows what time it is.
func (r *Residents) KeepSeen(ctx context.Context) error {
	now := r.Clock.Read()
	if now.State == gateway.ClockUndecided {
		return nil
	}
	list := r.seen.due(now)
	if len(list) == 0 {
		return nil
	}
	err := r.Memory.PutSeenAt(ctx, list)
	if err == nil {
		r.seen.wrote(list, now)
	}
	return err
}
