package residents_test

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"sync"
	"testing"
	"time"

	"gardien/gateway"
	"gardien/gateway/residents"
)

// house is what several people at once do to a room, and what became of it.
type house struct {
	*residents.Residents
	*clock
	t *testing.T

	mu      sync.Mutex
	secrets []gateway.Secret       // of windows and of moves
	paired  []residents.Paired     // whoever got a token
	good    map[gateway.Secret]int // what each secret was good for
	removed map[gateway.ResidentID]bool
}

// W5: whatever many people do at once, each secret is good for one device at most, each resident has
// one token, one device at most waits, and whoever was removed stays removed.
func TestW5_Interleaved(t *testing.T) {
	for seed := range uint64(60) {
		r, f, c := room()
		h := &house{Residents: r, clock: c, t: t, secrets: []gateway.Secret{wrong}, good: map[gateway.Secret]int{}, removed: map[gateway.ResidentID]bool{}}
		h.paired = append(h.paired, settled(t, r, "Ada"), settled(t, r, "Ben"))
		var all sync.WaitGroup
		for person := range 4 {
			rng := rand.New(rand.NewPCG(seed, uint64(person)))
			all.Go(func() {
				for i := range 80 {
					h.act(rng, fmt.Sprint(person, ".", i))
				}
			})
		}
		all.Wait()
		h.look(seed, f)
		if t.Failed() {
			return
		}
	}
}

func (h *house) act(rng *rand.Rand, name string) {
	ctx := context.Background()
	h.mu.Lock()
	secret, who := h.secrets[max(0, len(h.secrets)-1-rng.IntN(4))], h.paired[max(0, len(h.paired)-1-rng.IntN(6))]
	h.mu.Unlock()
	if rng.IntN(6) == 0 {
		secret = gateway.Secret{} // as good as a button's window is
	}
	keep := func(s gateway.Secret) {
		h.mu.Lock()
		defer h.mu.Unlock()
		h.secrets = append(h.secrets, s)
	}
	var err error
	switch rng.IntN(12) {
	case 0:
		keep(h.OpenWindow(gateway.Roles()[rng.IntN(3)]).Secret)
	case 1:
		if code, err := h.Move(who.ID); err == nil {
			keep(code)
		}
	case 2:
		if err = h.PressButton(ctx); errors.Is(err, residents.ErrFirst) {
			err = nil
		}
	case 3:
		if rng.IntN(4) == 0 {
			h.CloseWindow(residents.AnyWindow)
		}
		h.add(time.Duration(rng.IntN(int(20 * time.Second))))
	case 4, 5:
		if err = h.Confirm(ctx, who.ID); isUnknown(err) {
			err = nil
		}
	case 6:
		switch err = h.Remove(ctx, who.ID, rng.IntN(2) == 0); {
		case err == nil:
			h.mu.Lock()
			h.removed[who.ID] = true
			h.mu.Unlock()
		case errors.Is(err, residents.ErrLast), isUnknown(err):
			err = nil
		}
	case 7:
		var o gateway.Resident
		var good bool
		if o, good, err = h.Authenticate(ctx, who.Token); good && o.ID != who.ID {
			err = fmt.Errorf("the token of %s is good for %s", who.ID, o.ID)
		}
	default:
		var p residents.Paired
		p, err = h.Pair(ctx, residents.Ask{Secret: secret, Name: name, JWK: []byte("key " + name)})
		if err == nil {
			h.mu.Lock()
			h.paired, h.good[secret] = append(h.paired, p), h.good[secret]+1
			h.mu.Unlock()
		} else if errors.Is(err, residents.ErrNoWindow) || errors.Is(err, residents.ErrSecret) {
			err = nil
		}
	}
	if err != nil {
		h.t.Error(err)
	}
}

// look holds what is there against what became of each.
func (h *house) look(seed uint64, f *residents.Fake) {
	h.t.Helper()
	for s, n := range h.good {
		if n > 1 && !s.IsZero() { // a button's window has none
			h.t.Errorf("seed %d: a secret is good for %d devices", seed, n)
		}
	}
	stored, err := f.List(context.Background())
	if err != nil {
		h.t.Error(err)
	}
	list, err := h.List(context.Background())
	if err != nil || len(list) > len(stored)+1 {
		h.t.Errorf("seed %d: %d wait (%v)", seed, len(list)-len(stored), err)
	}
	tokens := map[gateway.ResidentID]int{}
	for _, p := range h.paired {
		if o, good, _ := h.Authenticate(context.Background(), p.Token); good && o.ID == p.ID {
			tokens[p.ID]++
		}
	}
	for _, o := range list {
		if tokens[o.ID] != 1 || h.removed[o.ID] {
			h.t.Errorf("seed %d: %s has %d tokens that are good; removed: %v", seed, o.ID, tokens[o.ID], h.removed[o.ID])
		}
		delete(tokens, o.ID)
	}
	for id := range tokens {
		h.t.Errorf("seed %d: %s is nobody here, and has a token that is good", seed, id)
	}
	for _, o := range stored {
		if o.Unconfirmed {
			h.t.Errorf("seed %d: %s was stored, and nobody confirmed it", seed, o.ID)
		}
	}
}
