package api

import (
	"cmp"
	"context"
	"net/netip"
	"slices"
	"sync"
	"time"

	"gardien/gateway/web"
)

// placeFor is how long a large body may take to come, from its place on, while others wait for one, and
// how long a large answer may take to go.
const placeFor = time.Second

// maxWaiting is how many wait for a place, each with the first part of its body in memory.
const maxWaiting = 128

// places are where large bodies lie in memory, of which there are so many in all and so many, waiting
// ones included, for each address; "" is the console, which has as many as it wants. Where all are
// taken a newcomer waits. Meanwhile whoever lets his body trickle in for longer than placeFor loses
// his place. The next one is of the network that had its last place longest ago, and of its addresses of
// the one that had: so a neighbour waits for few, however many bodies of others wait (I2). Where too many
// wait, one of those who have most of that goes. A network is an address, or with IPv6 a /64, in which
// whoever has one address has all the others.
type places struct {
	most, each int

	mu      sync.Mutex
	present []*place // oldest first
	waiting []*place
	admits  int            // so far
	last    map[string]int // the last of each address and network that is present or waits
}

// place is one large body's.
type place struct {
	places   *places
	who, net string
	since    time.Time
	deadline func(time.Time) error // of reading the body, then of writing the answer
	in       chan error            // tells that it has its place, or why it gets none
	arrived  bool
	out      bool // it was put out
}

func newPlaces(most, each int) *places {
	return &places{most: most, each: each, last: map[string]int{}}
}

var errFull = web.TooMany("too many large bodies at once: come back later")

// enter waits for a place. deadline sets until when the body can be read.
func (s *places) enter(ctx context.Context, who string, deadline func(time.Time) error) (*place, error) {
	p := &place{places: s, who: who, net: networkOf(who), deadline: deadline, in: make(chan error, 1)}
	s.mu.Lock()
	if who != "" && count(s.present, who)+count(s.waiting, who) >= s.each {
		s.mu.Unlock()
		return nil, errFull
	}
	s.waiting = append(s.waiting, p)
	s.admit()
	if len(s.waiting) > maxWaiting {
		s.turnAway()
	}
	s.mu.Unlock()
	for {
		again := time.NewTimer(s.makeRoom())
		select {
		case err := <-p.in:
			again.Stop()
			if err != nil {
				return nil, err
			}
			return p, nil
		case <-ctx.Done():
			again.Stop()
			p.leave()
			return nil, ctx.Err()
		case <-again.C:
		}
	}
}

// networkOf is the /64 of an IPv6 address, and any other address itself.
func networkOf(who string) string {
	a, err := netip.ParseAddr(who)
	if err != nil || a.Unmap().Is4() {
		return who
	}
	return netip.PrefixFrom(a.WithZone(""), 64).Masked().String()
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
			if best := s.waiting[next]; cmp.Or(cmp.Compare(s.last[p.net], s.last[best.net]), cmp.Compare(s.last[p.who], s.last[best.who])) < 0 {
				next = i
			}
		}
		p := s.waiting[next]
		s.waiting = slices.Delete(s.waiting, next, next+1)
		s.admits++
		s.last[p.who], s.last[p.net] = s.admits, s.admits
		p.since = time.Now()
		p.deadline(p.since.Add(requestFor)) // it has waited: its time begins anew
		s.present = append(s.present, p)
		p.in <- nil
	}
}

// turnAway refuses one of those who wait: of the network, and then of the address, of which most wait,
// and of those that are alike the one that had its place last, be it the newcomer. The console goes
// last. The caller holds mu.
func (s *places) turnAway() {
	wait := map[string]int{}
	for _, p := range s.waiting {
		if wait[p.net]++; p.net != p.who {
			wait[p.who]++
		}
	}
	delete(wait, "")
	most := 0
	for i, p := range s.waiting {
		worst := s.waiting[most]
		if cmp.Or(cmp.Compare(wait[p.net], wait[worst.net]), cmp.Compare(wait[p.who], wait[worst.who]),
			cmp.Compare(s.last[p.net], s.last[worst.net]), cmp.Compare(s.last[p.who], s.last[worst.who])) >= 0 {
			most = i
		}
	}
	p := s.waiting[most]
	s.waiting = slices.Delete(s.waiting, most, most+1)
	s.forget(p)
	p.in <- errFull
}

// forget forgets when one who has gone had a place, unless his address or network is still here. The
// caller holds mu.
func (s *places) forget(gone *place) {
	who, net := false, false
	for _, list := range [][]*place{s.present, s.waiting} {
		for _, p := range list {
			who, net = who || p.who == gone.who, net || p.net == gone.net
		}
	}
	if !who {
		delete(s.last, gone.who)
	}
	if !net {
		delete(s.last, gone.net)
	}
}

// makeRoom puts those out whose body has trickled in for too long, or whose answer has trickled out, as
// far as others wait, and gives when to look again.
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

// answers says that what is left to do is to write an answer of so many bytes. A small one needs no
// place. Of a large one the memory is still bounded (I1): it keeps its place, which whoever is slow to
// take it loses to those who wait. deadline sets until when it can be written.
func (p *place) answers(size int, deadline func(time.Time) error) {
	if p == nil {
		return
	}
	if size <= maxBody {
		p.leave()
		return
	}
	s := p.places
	s.mu.Lock()
	defer s.mu.Unlock()
	p.since, p.deadline, p.arrived = time.Now(), deadline, false
	if i := slices.Index(s.present, p); i >= 0 {
		s.present = append(slices.Delete(s.present, i, i+1), p)
	}
}

// leave gives the place back, or stops waiting for one. A body that needs no place has nil.
func (p *place) leave() {
	if p == nil {
		return
	}
	s := p.places
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, list := range []*[]*place{&s.present, &s.waiting} {
		if i := slices.Index(*list, p); i >= 0 {
			*list = slices.Delete(*list, i, i+1)
		}
	}
	s.forget(p)
	s.admit()
}
