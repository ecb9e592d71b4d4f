package api

import (
	"context"
	"slices"
	"sync"
	"time"

	"gardien/gateway/web"
)

// placeFor is how long a large body may take to come, from its place on, while others wait for one.
const placeFor = time.Second

// maxWaiting is how many wait for a place, each with the first part of its body in memory.
const maxWaiting = 128

// places are where large bodies lie in memory, of which there are so many in all and so many, waiting
// ones included, for each address; "" is the console, which has as many as it wants. Where all are
// taken a newcomer waits. Meanwhile whoever lets his body trickle in for longer than placeFor loses
// his place. The next one is of the address that had its last place longest ago: so a neighbour waits
// for few, however many bodies of others wait (I2).
type places struct {
	most, each int

	mu      sync.Mutex
	present []*place // oldest first
	waiting []*place
	admits  int            // so far
	last    map[string]int // the last of each address that is present or waits
}

// place is one large body's.
type place struct {
	places   *places
	who      string
	since    time.Time
	deadline func(time.Time) error // of reading the body
	in       chan struct{}         // closed when it has its place
	arrived  bool
	out      bool // it was put out
}

func newPlaces(most, each int) *places {
	return &places{most: most, each: each, last: map[string]int{}}
}

// enter waits for a place. deadline sets until when the body can be read.
func (s *places) enter(ctx context.Context, who string, deadline func(time.Time) error) (*place, error) {
	p := &place{places: s, who: who, deadline: deadline, in: make(chan struct{})}
	s.mu.Lock()
	if who != "" && count(s.present, who)+count(s.waiting, who) >= s.each || len(s.waiting) >= maxWaiting {
		s.mu.Unlock()
		return nil, web.TooMany("too many large bodies at once: come back later")
	}
	s.waiting = append(s.waiting, p)
	s.admit()
	s.mu.Unlock()
	for {
		again := time.NewTimer(s.makeRoom())
		select {
		case <-p.in:
			again.Stop()
			return p, nil
		case <-ctx.Done():
			again.Stop()
			p.leave()
			return nil, ctx.Err()
		case <-again.C:
		}
	}
}

func count(list []*place, who string) (n int) {
	for _, p := range list {
		if p.who == who {
			n++
		}
	}
	return n
}

// admit gives free places to those who wait. The caller holds mu.
func (s *places) admit() {
	for len(s.present) < s.most && len(s.waiting) > 0 {
		next := 0
		for i, p := range s.waiting {
			if s.last[p.who] < s.last[s.waiting[next].who] {
				next = i
			}
		}
		p := s.waiting[next]
		s.waiting = slices.Delete(s.waiting, next, next+1)
		s.admits++
		s.last[p.who] = s.admits
		p.since = time.Now()
		p.deadline(p.since.Add(requestFor)) // it has waited: its time begins anew
		s.present = append(s.present, p)
		close(p.in)
	}
}

// makeRoom puts those out whose body has trickled in for too long, as far as others wait, and gives
// when to look again.
func (s *places) makeRoom() (again time.Duration) {
	s.mu.Lock()
	defer s.mu.Unlock()
	wanted := len(s.waiting)
	for _, p := range s.present {
		if p.out {
			wanted--
		}
	}
	now := time.Now()
	for _, p := range s.present {
		if p.arrived || p.out || wanted <= 0 {
			continue
		}
		if left := placeFor - now.Sub(p.since); left > 0 {
			return left
		}
		p.out = true
		p.deadline(now) // under the lock: once it has left there is nothing to set a deadline of
		wanted--
	}
	return placeFor
}

// whole says that all of the body is there; it is an error where the place was lost.
func (p *place) whole() error {
	p.places.mu.Lock()
	defer p.places.mu.Unlock()
	if p.out {
		return web.TooMany("the body came too slowly while others waited: come back later")
	}
	p.arrived = true
	return nil
}

// leave gives the place back, or stops waiting for one.
func (p *place) leave() {
	s := p.places
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, list := range []*[]*place{&s.present, &s.waiting} {
		if i := slices.Index(*list, p); i >= 0 {
			*list = slices.Delete(*list, i, i+1)
		}
	}
	if count(s.present, p.who)+count(s.waiting, p.who) == 0 {
		delete(s.last, p.who)
	}
	s.admit()
}
