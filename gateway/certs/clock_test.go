package certs

import (
	"bytes"
	"math/rand/v2"
	"testing"
	"time"

	"gardien/gateway"
)

// W6: validity follows the clock's floor and never the wall clock of one that is undecided.
func TestW6_Dates(t *testing.T) {
	for name, r := range map[string]gateway.Reading{"synced": synced(moved), "undecided": undecided(moved)} {
		h := mustOpen(t, opts(t.TempDir(), at(r)))
		leaf, ca := leafOf(t, h), caOf(t, h)
		if want := moved.Add(-day); !leaf.NotBefore.Equal(want) || !ca.NotBefore.Equal(want) {
			t.Errorf("%s: valid from %v, the CA from %v, want %v", name, leaf.NotBefore, ca.NotBefore, want)
		}
		if life := leaf.NotAfter.Sub(leaf.NotBefore) + time.Second; life != 397*day {
			t.Errorf("%s: the leaf lives %v", name, life)
		}
		if want := moved.Add(-day).AddDate(30, 0, 0); !ca.NotAfter.Equal(want) {
			t.Errorf("%s: the CA ends at %v", name, ca.NotAfter)
		}
	}
}

// W6: the leaf is issued anew at two thirds of its life, by the earliest now, and not before.
func TestW6_ReissueAtTwoThirds(t *testing.T) {
	c, dir := at(synced(moved)), t.TempDir()
	h := mustOpen(t, opts(dir, c))
	first := leafOf(t, h)
	point := first.NotBefore.Add(first.NotAfter.Sub(first.NotBefore) / 3 * 2)
	c.set(gateway.Reading{Earliest: point.Add(-time.Second), Latest: lastNow, State: gateway.ClockUndecided})
	if !leafOf(t, h).Equal(first) {
		t.Error("issued anew too early")
	}
	c.set(synced(point))
	second := leafOf(t, h)
	if second.Equal(first) || !second.NotBefore.Equal(point.Add(-day).Truncate(time.Second)) {
		t.Errorf("at two thirds the leaf is valid from %v", second.NotBefore)
	}
	if fingerprint(second.RawSubjectPublicKeyInfo) != h.Fingerprint() {
		t.Error("the key is another")
	}
	if !leafOf(t, mustOpen(t, opts(dir, c))).Equal(second) {
		t.Error("the new one is not on the disk")
	}
}

// T3: a floor from the absurd future is recovered: leaf and CA that are surely not valid yet are
// made anew, with the same keys.
func TestT3_AbsurdFuture(t *testing.T) {
	for name, absurd := range map[string]time.Time{"2095": time.Date(2095, 5, 5, 0, 0, 0, 0, time.UTC), "the end of time": lastNow} {
		t.Run(name, func(t *testing.T) {
			c, dir := at(undecided(absurd)), t.TempDir()
			h := mustOpen(t, opts(dir, c))
			fp := h.Fingerprint()
			if ca := caOf(t, h); ca.NotAfter.After(lastDay) || ca.NotAfter.Before(ca.NotBefore.AddDate(1, 0, 0)) {
				t.Errorf("the CA is valid from %v until %v", ca.NotBefore, ca.NotAfter)
			}
			c.set(synced(moved))
			for _, h := range []*House{h, mustOpen(t, opts(dir, c))} {
				leaf, ca := leafOf(t, h), caOf(t, h)
				for _, p := range []gateway.Period{period(leaf), period(ca)} {
					if synced(moved).In(p) != gateway.PlaceInside {
						t.Errorf("valid from %v until %v, and it is %v", p.NotBefore, p.NotAfter, moved)
					}
				}
				if h.Fingerprint() != fp || leaf.CheckSignatureFrom(ca) != nil {
					t.Error("other keys")
				}
			}
			if a, b := h.CA(), mustOpen(t, opts(dir, c)).CA(); !bytes.Equal(a, b) {
				t.Error("the CA made anew is not on the disk")
			}
		})
	}
}

// A house that was fine and believed the future for a while keeps its CA.
func TestT3_FutureForAWhile(t *testing.T) {
	c := at(synced(moved))
	h := mustOpen(t, opts(t.TempDir(), c))
	ca := h.CA()
	c.set(synced(time.Date(2098, 1, 1, 0, 0, 0, 0, time.UTC))) // after the CA's end
	leafOf(t, h)
	c.set(synced(moved.Add(time.Hour)))
	if leaf := leafOf(t, h); c.Read().In(period(leaf)) != gateway.PlaceInside {
		t.Errorf("the leaf is valid from %v until %v", leaf.NotBefore, leaf.NotAfter)
	}
	if !bytes.Equal(ca, h.CA()) {
		t.Error("the CA is another")
	}
}

// W6, T3: whatever the clock shows, a handshake gets a certificate, which is valid now as far as one
// can be; and a clock that stands still has nothing issued.
func TestW6_AnyClock(t *testing.T) {
	seed := uint64(time.Now().UnixNano())
	t.Logf("seed %d", seed)
	rnd := rand.New(rand.NewPCG(seed, 0))
	instant := func(from, to time.Time) time.Time {
		return from.Add(time.Duration(rnd.Float64() * float64(to.Sub(from))))
	}
	reading := func() gateway.Reading {
		e := instant(gateway.MinTime, lastNow)
		switch rnd.IntN(4) {
		case 0:
			return undecided(e)
		case 1:
			return gateway.Reading{Earliest: e, Latest: e.Add(time.Duration(rnd.Int64N(int64(10 * time.Minute)))), State: gateway.ClockHoldover}
		case 2:
			return synced(instant(moved, moved.AddDate(31, 0, 0)))
		}
		return synced(e)
	}
	for range 30 {
		c, dir := at(reading()), t.TempDir()
		h := mustOpen(t, opts(dir, c))
		for range 40 {
			r := reading()
			c.set(r)
			if rnd.IntN(8) == 0 {
				h = mustOpen(t, opts(dir, c))
			}
			checkNow(t, h, r)
		}
	}
	for _, r := range []gateway.Reading{{}, synced(time.Time{}), synced(time.Date(9999, 12, 31, 23, 59, 59, 0, time.UTC))} {
		c := at(r)
		h := mustOpen(t, opts(t.TempDir(), c))
		if leaf := leafOf(t, h); !leafOf(t, h).Equal(leaf) {
			t.Errorf("%v: each handshake issues", r.Earliest)
		}
		c.set(synced(moved))
		checkNow(t, h, c.Read())
	}
}

func checkNow(t *testing.T, h *House, r gateway.Reading) {
	t.Helper()
	leaf, ca := leafOf(t, h), caOf(t, h)
	life := leaf.NotAfter.Sub(leaf.NotBefore)
	switch {
	case !leafOf(t, h).Equal(leaf):
		t.Errorf("%+v: issued again while the clock stood still", r)
	case leaf.CheckSignatureFrom(ca) != nil || fingerprint(leaf.RawSubjectPublicKeyInfo) != h.Fingerprint():
		t.Errorf("%+v: not the house's", r)
	case life <= 0 || life > leafLife || leaf.NotAfter.After(ca.NotAfter) || ca.NotAfter.After(lastDay):
		t.Errorf("%+v: valid from %v until %v, the CA until %v", r, leaf.NotBefore, leaf.NotAfter, ca.NotAfter)
	case r.In(period(leaf)) == gateway.PlaceBefore || r.In(period(ca)) == gateway.PlaceBefore:
		t.Errorf("%+v: surely not valid yet: leaf from %v, CA from %v", r, leaf.NotBefore, ca.NotBefore)
	case !r.Earliest.After(ca.NotAfter) && r.Earliest.After(leaf.NotAfter):
		t.Errorf("%+v: surely over since %v, the CA is good until %v", r, leaf.NotAfter, ca.NotAfter)
	case r.Latest.Sub(r.Earliest) < time.Hour && r.Latest.Before(ca.NotAfter.Add(-time.Hour)) && r.In(period(leaf)) != gateway.PlaceInside:
		t.Errorf("%+v: valid from %v until %v: not all that may be now", r, leaf.NotBefore, leaf.NotAfter)
	}
}
