package access_test

import (
	"testing"
	"time"

	"gardien/gateway"
	"gardien/gateway/access"
	"gardien/gateway/tokens"
	"gardien/store"
)

// TestT3_OneIssuersDate: while the clock is undecided, a document that is dated a year ahead makes
// it later for its issuer's own documents, and for nobody else's. No PIN of others is wiped.
func TestT3_OneIssuersDate(t *testing.T) {
	live(t, nil, func(h *house) {
		_, pin := h.home(access.HomeGrant{PIN: true})
		h.takes(h.grant("today", nil), "accepted")
		h.clock.Set(gateway.ClockUndecided)
		before := h.clock.Read().Earliest
		h.takes(h.grant("ahead", func(g *gateway.Grant) {
			g.IssuedAt = time.Now().Add(354 * 24 * time.Hour).Truncate(time.Second)
			g.NotBefore, g.NotAfter = g.IssuedAt, g.IssuedAt.Add(time.Hour)
		}), "accepted")
		h.check(h.Sweep(h.t.Context()))
		saved, err := store.Look(h.t.Context(), h.store, func(tx *store.Tx) store.ClockState { return tx.House.Clock() })
		h.check(err)
		if now := h.clock.Read().Earliest; !now.Equal(before) || saved.Floor.After(time.Now()) {
			h.t.Errorf("the floor is %v (kept %v), and was %v", now, saved.Floor, before)
		}
		if r := h.scan(h.grant("today", nil)); r != gateway.Expired {
			h.t.Errorf("by its issuer's own word it is over: %q", r)
		}
		h.clock.Set(gateway.ClockSynced)
		h.check(h.Sweep(h.t.Context()))
		if r := h.types("front", pin); r != "" {
			h.t.Errorf("the PIN that was made at home: %q", r)
		}
		if r := h.scan(h.grant("today", nil)); r != "" {
			h.t.Errorf("the issuer's grant under a clock that knows better: %q", r)
		}
	})
}

// TestT3_ManifestOfTheFuture: a manifest of 2099, taken while the clock was undecided, is no sign
// of life once the clock knows better, neither now nor when its day comes.
func TestT3_ManifestOfTheFuture(t *testing.T) {
	for _, date := range []time.Time{time.Date(2099, 1, 1, 0, 0, 0, 0, time.UTC), time.Date(2027, 9, 16, 12, 0, 0, 0, time.UTC)} {
		live(t, func(p *gateway.Policy) { p.OfflineLimit = 72 * time.Hour }, func(h *house) {
			cleaner := h.grant("cleaner", func(g *gateway.Grant) { g.Uses, g.NotAfter = 0, g.NotBefore.AddDate(2, 0, 0) })
			h.takes(cleaner, "accepted")
			h.clock.Set(gateway.ClockUndecided)
			text, err := tokens.SignManifest(h.carrier, h.id.ID, gateway.Manifest{Issuer: colisX, Version: 7, IssuedAt: date,
				NextUpdate: date.Add(time.Hour), Count: 1, Digest: gateway.ManifestDigest([]gateway.ManifestLine{{JTI: "cleaner", Ver: 1}})})
			h.check(err)
			in, err := h.TakeItem(h.t.Context(), gateway.ItemManifest, text)
			h.check(err)
			if in.Result != "accepted" {
				h.t.Fatalf("%+v", in)
			}
			h.clock.Set(gateway.ClockSynced)
			if r := h.scan(cleaner); r != gateway.IssuerStale {
				h.t.Errorf("at once: %q", r)
			}
			time.Sleep(time.Minute) // the sweep
			h.isOff(200 * 24 * time.Hour)
			if r := h.scan(cleaner); r != gateway.IssuerStale {
				h.t.Errorf("200 silent days later, dated %s: %q", date, r)
			}
		})
	}
}

// isOff lets a long time pass, in which the gateway is off: it would sweep every 30 s.
func (h *house) isOff(d time.Duration) {
	h.stop()
	time.Sleep(d)
	h.start()
}

// TestI6_WipedWhenTimeStands: what is over is refused at once; its PIN is wiped when time has
// stood for a day, for nobody could bring it back.
func TestI6_WipedWhenTimeStands(t *testing.T) {
	live(t, nil, func(h *house) {
		h.clock.Unsettle(true)
		_, pin := h.home(access.HomeGrant{PIN: true})
		_, once := h.home(access.HomeGrant{PIN: true, Uses: 1})
		if r := h.types("front", once); r != "" {
			h.t.Fatal(r)
		}
		h.doors.Pass("front")
		time.Sleep(time.Minute)
		if n := h.livePINs("front"); n != 1 {
			h.t.Errorf("%d PINs a minute after one had its last use", n)
		}
		time.Sleep(time.Hour)
		if r := h.types("front", pin); r != gateway.WrongPIN {
			h.t.Errorf("a PIN that is over: %q", r)
		}
		if n := h.livePINs("front"); n != 1 {
			h.t.Errorf("%d PINs are kept while time has not stood", n)
		}
		h.clock.Unsettle(false)
		time.Sleep(time.Minute)
		if n := h.livePINs("front"); n != 0 {
			h.t.Errorf("%d PINs are left a minute after time had stood", n)
		}
	})
}

// TestI6_StrippedIsFinal: a grant that lost its schedule to the retention is never judged as one
// without, whatever the clock shows later.
func TestI6_StrippedIsFinal(t *testing.T) {
	live(t, nil, func(h *house) {
		monday := h.grant("cleaner", func(g *gateway.Grant) {
			g.Uses, g.NotAfter = 0, g.NotBefore.AddDate(1, 0, 0)
			g.Schedule = &gateway.Schedule{Windows: []gateway.Window{{Days: []gateway.Weekday{gateway.Weekday(time.Monday)}, From: 9 * 60, To: 10 * 60}}}
		})
		h.takes(monday, "accepted")
		h.isOff(5 * 24 * time.Hour) // to Saturday
		if r := h.scan(monday); r != gateway.OutsideSchedule {
			h.t.Fatalf("on Saturday: %q", r)
		}
		_, err := h.store.Retain(h.t.Context(), time.Now().AddDate(2, 0, 0)) // under a wrong date
		h.check(err)
		if r := h.scan(monday); r != gateway.Expired {
			h.t.Errorf("stripped, on Saturday: %q", r)
		}
		h.isOff(2*24*time.Hour + 90*time.Minute) // to Monday, 9:30
		if r := h.scan(monday); r != gateway.Expired {
			h.t.Errorf("stripped, on Monday: %q", r)
		}
		h.takes(h.grant("cleaner", func(g *gateway.Grant) { g.Version = 2 }), "accepted")
	})
}
