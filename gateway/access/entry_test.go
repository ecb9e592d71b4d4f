package access_test

import (
	"math/rand/v2"
	"sync"
	"testing"
	"time"

	"gardien/gateway"
	"gardien/store/storetest"
)

func hallAndFlat(g *gateway.Grant) { g.Doors = []gateway.DoorID{"front", "side"} }

// at presents a grant's text at a door, and has somebody come in where it opens.
func (h *house) at(door gateway.DoorID, text string) gateway.Reason {
	h.t.Helper()
	o := h.Present(h.t.Context(), door, "scanner", gateway.GrantCredential{Text: gateway.NewSecret(text)})
	h.doors.Pass(door)
	return o.Reason
}

// One grant for a hall and a flat opens each of them once an entry: one use, one of the day's
// entries, one episode in the record.
func TestEntry(t *testing.T) {
	live(t, func(p *gateway.Policy) { p.PerDay, p.OneTimeOnly = 1, true }, func(h *house) {
		text := h.grant("g1", hallAndFlat)
		for _, step := range []struct {
			door gateway.DoorID
			want gateway.Reason
		}{{"front", ""}, {"front", gateway.BeyondPolicy}, {"side", ""}, {"side", gateway.BeyondPolicy}, {"front", gateway.BeyondPolicy}} {
			if r := h.at(step.door, text); r != step.want {
				h.t.Errorf("%s: %q, want %q", step.door, r, step.want)
			}
		}
		if n := h.used("g1"); n != 1 {
			h.t.Errorf("used %d", n)
		}
		list := h.events()
		hall, flat := list[0], list[2]
		if hall.Type != gateway.AccessGranted || hall.Episode != hall.Attempt || flat.Type != gateway.AccessGranted || flat.Attempt == hall.Attempt || flat.Episode != hall.Attempt {
			h.t.Errorf("hall %+v\nflat %+v", hall, flat)
		}
		if r := h.at("front", h.grant("g2", hallAndFlat)); r != gateway.BeyondPolicy {
			h.t.Errorf("another grant of that day: %q", r)
		}
	})
}

// An entry lasts 15 minutes, over restarts of the program, too; a PIN lives as long.
func TestEntryEnds(t *testing.T) {
	for _, tc := range []struct {
		after   time.Duration
		restart bool
		want    gateway.Reason
	}{{14 * time.Minute, false, ""}, {14 * time.Minute, true, ""}, {15 * time.Minute, false, gateway.WrongPIN}, {15 * time.Minute, true, gateway.WrongPIN}} {
		live(t, nil, func(h *house) {
			pin := gateway.DrawPIN(8)
			h.takes(h.grant("g1", func(g *gateway.Grant) { hallAndFlat(g); g.PIN = pin }), "accepted")
			if r := h.types("front", pin); r != "" {
				h.t.Fatal(r)
			}
			h.doors.Pass("front")
			if tc.restart {
				h.stop()
			}
			time.Sleep(tc.after)
			if tc.restart {
				h.start()
			}
			if r := h.types("front", pin); r != gateway.WrongPIN {
				h.t.Errorf("at the hall again: %q", r)
			}
			if r := h.types("side", pin); r != tc.want {
				h.t.Errorf("at the flat after %v (restart %v): %q, want %q", tc.after, tc.restart, r, tc.want)
			}
			h.doors.Pass("side")
			time.Sleep(time.Minute + gateway.EntryLasts - min(tc.after, gateway.EntryLasts))
			if n := h.livePINs("front") + h.livePINs("side"); n != 0 {
				h.t.Errorf("%d PINs are left a minute after the entry (P6)", n)
			}
		})
	}
}

// A4: whoever presents it where and in what order, a grant opens each of its doors as often as it
// has uses, and no oftener; nor does the record look rolled back at the next start (R4).
func TestA4_EachDoorOnceAnEntry(t *testing.T) {
	live(t, nil, func(h *house) {
		const uses = 3
		text := h.grant("g1", func(g *gateway.Grant) { hallAndFlat(g); g.Uses = uses })
		rng := rand.New(rand.NewPCG(1, 2))
		for range 10 {
			var wg sync.WaitGroup
			for range 16 {
				door := []gateway.DoorID{"front", "side"}[rng.IntN(2)]
				wg.Go(func() {
					h.Present(h.t.Context(), door, gateway.ReaderID(door+"-pad"), gateway.GrantCredential{Text: gateway.NewSecret(text)})
					h.doors.Pass(door)
				})
			}
			wg.Wait()
		}
		opened := map[gateway.DoorID]map[gateway.AttemptID]bool{"front": {}, "side": {}}
		for _, a := range h.doors.Released() {
			opened[a.Door][a.ID] = true
		}
		for door, n := range opened {
			if len(n) > uses || len(n) == 0 {
				h.t.Errorf("%s was opened %d times", door, len(n))
			}
		}
		if n := h.used("g1"); n != uses {
			h.t.Errorf("used %d", n)
		}
		g2 := h.grant("g2", func(g *gateway.Grant) { hallAndFlat(g); g.Uses = 2 })
		h.at("front", g2)
		h.at("side", g2)
		h.stop()
		h.check(h.store.Close())
		h.store = storetest.Open(h.t, h.dir, h.clock, zone)
		about, err := h.store.About(h.t.Context())
		h.check(err)
		if about.Quarantine != "" {
			h.t.Errorf("the database is said to be %s", about.Quarantine)
		}
		h.start()
		if r := h.at("front", g2); r != "" || h.used("g2") != 2 {
			h.t.Errorf("the second entry: %q, used %d", r, h.used("g2"))
		}
	})
}

// A retry at the second door belongs to the same entry.
func TestEntryRetry(t *testing.T) {
	live(t, nil, func(h *house) {
		text := h.grant("g1", hallAndFlat)
		h.at("front", text)
		first := h.Present(h.t.Context(), "side", "side-pad", gateway.GrantCredential{Text: gateway.NewSecret(text)})
		h.doors.Secure("side")
		again := h.Present(h.t.Context(), "side", "side-pad", gateway.GrantCredential{Text: gateway.NewSecret(text)})
		if !first.Granted || !again.Granted || first.Attempt != again.Attempt {
			h.t.Errorf("%+v, then %+v", first, again)
		}
		list := h.events()
		for _, e := range list {
			if e.Episode != list[0].Attempt {
				h.t.Errorf("%+v", e)
			}
		}
	})
}
