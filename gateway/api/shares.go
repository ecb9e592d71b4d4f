package api

import (
	"sync"

	"gardien/gateway/web"
)

// shares are places of which there are so many in all, and so many for each: whoever takes all of
// its own leaves the others theirs (I2). "" is the console, which has a share of all.
type shares struct {
	most, each int

	mu    sync.Mutex
	inAll int
	taken map[string]int
}

func newShares(most, each int) *shares {
	return &shares{most: most, each: each, taken: map[string]int{}}
}

// enter takes a place, and gives the way out, which is good once.
func (s *shares) enter(who string) (leave func(), err error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.inAll >= s.most || who != "" && s.taken[who] >= s.each {
		return func() {}, web.TooMany("too many at once: come back later")
	}
	s.inAll++
	s.taken[who]++
	return sync.OnceFunc(func() {
		s.mu.Lock()
		defer s.mu.Unlock()
		s.inAll--
		if s.taken[who]--; s.taken[who] == 0 {
			delete(s.taken, who)
		}
	}), nil
}
