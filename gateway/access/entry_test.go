package access_test

import (
	"fmt"
	"math/rand/v2"
	"sync"
	"testing"
	"time"

	"gardien/gateway"
	"gardien/gateway/access"
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

// presentsAt presents a grant's text, and lets the door be.
func (h *house) presentsAt(door gateway.DoorID, text string) access.Outcome {
	return h.Present(h.t.Context(), door, gateway.ReaderID(door+"-pad"), gateway.GrantCredential{Text: gateway.NewSecret(text)})
}

// reopened gives what the start says of the database.
func (h *house) reopened() string {
	h.t.Helper()
	h.stop()
	h.check(h.store.Close())
	h.store = storetest.Open(h.t, h.dir, h.clock, zone)
	about, err := h.store.About(h.t.Context())
	h.check(err)
	h.start()
	return string(about.Quarantine)
}

// A4: a version that comes within an entry, with whatever doors, opens each of them once, by PIN too;
// and the record agrees with the uses (R4).
func TestA4_NewVersionWithinAnEntry(t *testing.T) {
	live(t, nil, func(h *house) {
		pin := gateway.DrawPIN(8)
		change := func(ver int64, doors ...gateway.DoorID) func(*gateway.Grant) {
			return func(g *gateway.Grant) { g.Version, g.Doors, g.Uses = ver, doors, 2 }
		}
		h.at("front", h.grant("g1", change(1, "front", "side")))
		v2 := h.grant("g1", func(g *gateway.Grant) { change(2, "side")(g); g.PIN = pin })
		h.takes(v2, "accepted")
		opened := 0
		for range 10 {
			for _, r := range []gateway.Reason{h.at("side", v2), h.types("side", pin)} {
				if h.doors.Pass("side"); r == "" {
					opened++
				}
			}
			time.Sleep(5 * time.Second)
		}
		if n := h.used("g1"); opened != 2 || n != 2 { // the entry's one, and the second use
			h.t.Errorf("opened %d times, used %d", opened, n)
		}
		if q := h.reopened(); q != "" {
			h.t.Errorf("the database is said to be %s", q)
		}
	})
}

// R4: a retry at a second door, after the next entry has begun, is no further use.
func TestR4_RetryOfAnOlderEntry(t *testing.T) {
	live(t, nil, func(h *house) {
		text := h.grant("g1", func(g *gateway.Grant) { hallAndFlat(g); g.Uses = 3 })
		hall := h.presentsAt("front", text)
		h.doors.Pass("front")
		flat := h.presentsAt("side", text)
		h.doors.Secure("side") // nobody came in
		h.presentsAt("front", text)
		h.doors.Pass("front")
		again := h.presentsAt("side", text)
		if !again.Granted || again.Attempt != flat.Attempt {
			h.t.Fatalf("%+v, then %+v", flat, again)
		}
		list := h.events()
		if e := list[len(list)-1]; e.Episode != hall.Attempt {
			h.t.Errorf("the retry's episode is %s, want that of the first try, %s", e.Episode, hall.Attempt)
		}
		if used, q := h.used("g1"), h.reopened(); used != 2 || q != "" {
			h.t.Errorf("used %d; the database is said to be %q", used, q)
		}
	})
}

// P6: an entry keeps no PIN beyond its grant's end, and those of others not at all, however many
// entries there are.
func TestP6_EntriesKeepNoPIN(t *testing.T) {
	live(t, nil, func(h *house) {
		issued := func(jti string, change func(*gateway.Grant)) gateway.PIN {
			pin := gateway.DrawPIN(8)
			h.takes(h.grant(jti, func(g *gateway.Grant) { g.PIN = pin; change(g) }), "accepted")
			return pin
		}
		short := issued("short", func(g *gateway.Grant) { hallAndFlat(g); g.NotAfter = g.NotBefore.Add(2 * time.Minute) })
		h.types("front", short)
		h.doors.Pass("front")
		for i := range 100 {
			h.types("front", issued(fmt.Sprintf("a%03d", i), hallAndFlat))
			h.doors.Pass("front")
		}
		h.types("front", issued("zz", func(*gateway.Grant) {}))
		h.doors.Pass("front")
		time.Sleep(time.Minute)
		if n := h.livePINs("front"); n != 101 {
			h.t.Errorf("%d PINs at the hall a minute later: that of one entry was the last, and is there", n)
		}
		time.Sleep(2 * time.Minute)
		if n := h.livePINs("side"); n != 100 {
			h.t.Errorf("%d PINs at the flat: that of a grant that has ended is there", n)
		}
	})
}

// A power cut between hall and flat, on a machine without a clock: the flat waits until time is
// known, the PIN is there then, and typing it meanwhile is no wrong PIN.
func TestEntryOverAPowerCut(t *testing.T) {
	live(t, nil, func(h *house) {
		pin := gateway.DrawPIN(8)
		h.takes(h.grant("g1", func(g *gateway.Grant) { hallAndFlat(g); g.PIN = pin }), "accepted")
		if r := h.types("front", pin); r != "" {
			h.t.Fatal(r)
		}
		h.doors.Pass("front")
		h.stop()
		h.clock.Reboot(gateway.ClockUndecided)
		h.start()
		time.Sleep(2 * time.Minute) // the sweep looks
		if r := h.types("side", pin); r != gateway.ClockUntrusted {
			h.t.Errorf("while the clock is undecided: %q", r)
		}
		h.clock.Set(gateway.ClockSynced)
		if r := h.types("side", pin); r != "" {
			h.t.Errorf("when it is not any more: %q", r)
		}
		if n := h.count(gateway.ReaderLockedOut); n != 0 || h.used("g1") != 1 {
			h.t.Errorf("used %d", h.used("g1"))
		}
	})
}
