package api

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"
)

// trickler enters and lets its body come for ever, until it is put out; it comes again at once.
func trickler(ctx context.Context, s *places, who func() string) {
	for ctx.Err() == nil {
		out := make(chan struct{}, 8)
		p, err := s.enter(ctx, who(), func(until time.Time) error {
			if !until.After(time.Now()) {
				out <- struct{}{}
			}
			return nil
		})
		if err != nil {
			time.Sleep(200 * time.Millisecond)
			continue
		}
		select {
		case <-out:
		case <-ctx.Done():
		}
		p.leave()
	}
}

// TestI2_PlacesAndTricklers: while many addresses, each with as many bodies as it may have, let them
// trickle in, a neighbour's large body has its place within the time of one, as often as it comes, and
// keeps it, be it that as many wait as may. Where nobody waits nobody is put out, however slow.
func TestI2_PlacesAndTricklers(t *testing.T) {
	for name, address := range map[string]func(n int) string{
		"64":              func(n int) string { return fmt.Sprint(n % 64) },
		"80":              func(n int) string { return fmt.Sprint(n % 80) },
		"every":           func(n int) string { return fmt.Sprint(n % (maxConns - 1)) },
		"IPv6":            func(n int) string { return fmt.Sprintf("fd00::%x", n%(maxConns-1)) },
		"IPv6, new again": func(n int) string { return fmt.Sprintf("fd00::%x:%x", n>>16, n&0xffff) },
	} {
		t.Run(name, func(t *testing.T) { placesAndTricklers(t, address) })
	}
}

// placesAndTricklers gives the n-th body the address of n.
func placesAndTricklers(t *testing.T, address func(n int) string) {
	synctest.Test(t, func(t *testing.T) {
		s := newPlaces(maxCarriers, maxCarriersEach)
		free := func(time.Time) error { return nil }
		slow, err := s.enter(t.Context(), "slow", free)
		if err != nil {
			t.Fatal(err)
		}
		time.Sleep(time.Hour)
		if err := slow.whole(); err != nil {
			t.Errorf("nobody waits, and it is put out: %v", err)
		}
		slow.leave()
		ctx, cancel := context.WithCancel(t.Context())
		var all sync.WaitGroup
		var bodies atomic.Int64
		for range (maxConns - 1) * maxCarriersEach {
			all.Go(func() { trickler(ctx, s, func() string { return address(int(bodies.Add(1))) }) })
		}
		time.Sleep(10 * time.Second)
		for range 5 {
			begun := time.Now()
			p, err := s.enter(ctx, "neighbour", free)
			if err != nil {
				t.Fatal(err)
			}
			if waited := time.Since(begun); waited > placeFor+100*time.Millisecond {
				t.Errorf("a neighbour waits %v for a place", waited)
			}
			time.Sleep(placeFor / 2) // it comes over a slow network
			if err := p.whole(); err != nil {
				t.Errorf("a neighbour is put out: %v", err)
			}
			time.Sleep(2 * placeFor) // it is worked on
			if err := p.whole(); err != nil {
				t.Errorf("a neighbour is put out while it is worked on: %v", err)
			}
			p.leave()
		}
		cancel()
		all.Wait()
		if len(s.present)+len(s.waiting)+len(s.last) != 0 {
			t.Errorf("%d are present, %d wait, %d are remembered", len(s.present), len(s.waiting), len(s.last))
		}
	})
}

// TestI2_PlacesOfAnAddress: beyond its own an address gets 429, and the console never does.
func TestI2_PlacesOfAnAddress(t *testing.T) {
	s := newPlaces(maxCarriers, maxCarriersEach)
	free := func(time.Time) error { return nil }
	for _, c := range []struct {
		who  string
		n    int
		most int
	}{{"a", maxCarriersEach + 1, maxCarriersEach}, {"b", maxCarriersEach, maxCarriersEach}, {"", 5, 5}} {
		in := 0
		for range c.n {
			_, err := s.enter(t.Context(), c.who, free)
			var p *Problem
			switch {
			case err == nil:
				in++
			case !errors.As(err, &p) || p.Status != http.StatusTooManyRequests:
				t.Error(err)
			}
		}
		if in != c.most {
			t.Errorf("%q has %d places, want %d", c.who, in, c.most)
		}
	}
}

// TestI2_PlacesOfANetwork: where too many wait, one of the /64 goes of which most wait, one that came
// first included, and in it the neighbour who has one body is not the one. The console does not go.
func TestI2_PlacesOfANetwork(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newPlaces(0, maxCarriersEach) // all wait
		ctx, cancel := context.WithCancel(t.Context())
		var all sync.WaitGroup
		refused := map[string]int{}
		var mu sync.Mutex
		enter := func(who string) {
			all.Go(func() {
				s.enter(ctx, who, func(time.Time) error { return nil })
				if ctx.Err() == nil {
					mu.Lock()
					defer mu.Unlock()
					refused[who]++
				}
			})
			synctest.Wait()
		}
		for n := range maxWaiting - 16 {
			enter(fmt.Sprintf("fd00::a:%x", n/maxCarriersEach))
		}
		for range 16 {
			enter("")
		}
		for _, who := range []string{"fd00::1", "fd00:0:0:1::1", "fe80::1%eth0", "10.0.0.1", "10.0.0.2"} {
			enter(who)
		}
		cancel()
		all.Wait()
		sum := 0
		for who, n := range refused {
			if sum += n; !strings.HasPrefix(who, "fd00::a:") {
				t.Errorf("%q was refused", who)
			}
		}
		if sum != 5 {
			t.Errorf("%d were refused, want 5: %v", sum, refused)
		}
	})
}

// TestI2_PlacesOfAnswers: whoever is slow to take a large answer loses his place to one who waits, and to
// nobody else. A small answer needs no place.
func TestI2_PlacesOfAnswers(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newPlaces(1, 1)
		free := func(time.Time) error { return nil }
		enter := func(who string) *place {
			p, err := s.enter(t.Context(), who, free)
			if err != nil {
				t.Fatal(err)
			}
			if err := p.whole(); err != nil {
				t.Error(err)
			}
			return p
		}
		small := enter("small")
		small.answers(maxBody, free)
		begun := time.Now()
		large := enter("large")
		if waited := time.Since(begun); waited != 0 {
			t.Errorf("a place whose answer is small is free after %v", waited)
		}
		var out time.Time
		large.answers(maxBody+1, func(until time.Time) error {
			out = until
			go large.leave() // as its handler does when it cannot write
			return nil
		})
		time.Sleep(time.Hour)
		if !out.IsZero() {
			t.Error("nobody waits, and a slow one is put out")
		}
		begun = time.Now()
		enter("neighbour").leave()
		if waited := time.Since(begun); out.IsZero() || waited > placeFor {
			t.Errorf("a neighbour waits %v, one is put out at %v", waited, out)
		}
	})
}

// TestI1_TurnsOfBags: one bag is worked on at a time, however many there are; one of a single document
// waits for a few turns of others, and the large one that is open for few as well.
func TestI1_TurnsOfBags(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := &counter{}
		ctx, cancel := context.WithCancel(t.Context())
		var all sync.WaitGroup
		working := 0
		turn := func(ts *bagTurns) bool {
			leave, err := ts.take(ctx)
			if err != nil {
				return false
			}
			if working++; working != 1 {
				t.Errorf("%d bags are worked on at once", working)
			}
			time.Sleep(time.Millisecond)
			working--
			leave()
			return true
		}
		for range 128 { // each of 9 turns, and another one at once
			all.Go(func() {
				for {
					ts := &bagTurns{counter: c, lane: laneSmall}
					for range 9 {
						if !turn(ts) {
							return
						}
					}
				}
			})
		}
		var large atomic.Int64
		all.Go(func() {
			for ts := (&bagTurns{counter: c, lane: laneLarge}); turn(ts); large.Add(1) {
			}
		})
		time.Sleep(5 * time.Second)
		before, begun := large.Load(), time.Now()
		for range 5 {
			one := time.Now()
			ts := &bagTurns{counter: c, lane: laneSmall}
			for range 2 {
				turn(ts)
			}
			if waited := time.Since(one); waited > 15*time.Millisecond {
				t.Errorf("a bag of one document is done after %v, of which each turn is 1ms", waited)
			}
			time.Sleep(time.Second)
		}
		if turns, most := large.Load()-before, time.Since(begun).Milliseconds(); turns < most/4 {
			t.Errorf("the large bag had %d turns of %d", turns, most)
		}
		cancel()
		all.Wait()
		for lane, waiting := range c.waiting {
			if len(waiting) != 0 {
				t.Errorf("lane %d: %d wait still", lane, len(waiting))
			}
		}
	})
}
