package api

import (
	"sync"

	"gardien/gateway/web"
)

// shares are places of which there are so many in all, and so many for each: whoever takes all of
// its own leaves the others theirs (I2). "" is the console, which has a share of all.
type shares struct {
	most, each int
	held       *sync.Mutex
	taken      map[string]int
	inAll      *int
}

func newShares(most, each int) shares {
	return shares{most, each, new(sync.Mutex), map[string]int{}, new(int)}
}

// enter takes a place, and gives the way out.
func (s shares) enter(who string) (leave func(), err error) {
	s.held.Lock()
	defer s.held.Unlock()
	if *s.inAll >= s.most || who != "" && s.taken[who] >= s.each {
		return func() {}, web.TooMany("too many at once: come back later")
	}
	*s.inAll++
	s.taken[who]++
	var once sync.Once
	return func() {
		once.Do(func() {
			s.held.Lock()
			defer s.held.Unlock()
			*s.inAll--
			if s.taken[who]--; s.taken[who] == 0 {
				delete(s.taken, who)
			}
		})
	}, nil
}
