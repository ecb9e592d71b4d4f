package access_test

import (
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"gardien/gateway"
	"gardien/gateway/access"
	"gardien/store"
	"gardien/store/storetest"
)

// pause sets the pause of all third parties, as a resident does; nil ends it.
func (h *house) pause(p *gateway.Pause) {
	h.t.Helper()
	h.check(h.store.Update(h.t.Context(), func(tx *store.Tx) error { return tx.House.SetPaused(p) }))
}

// pauseIssuer pauses the carrier.
func (h *house) pauseIssuer(p *gateway.Pause) {
	h.t.Helper()
	h.check(h.store.Update(h.t.Context(), func(tx *store.Tx) error { tx.Issuers.Pause(colisX, p); return tx.Err() }))
}

// untimed makes a grant at home that no period ends, with a PIN.
func (h *house) untimed() (gateway.GrantID, gateway.PIN) {
	h.t.Helper()
	made, err := h.Home(h.t.Context(), access.HomeGrant{Doors: []gateway.DoorID{"front"}, PIN: true})
	h.check(err)
	return made.ID, made.PIN
}

// opens has somebody come, and go in where that opens.
func (h *house) opens(who string, got, want gateway.Reason) {
	h.t.Helper()
	h.doors.Pass("front")
	if got != want {
		h.t.Errorf("%s: %s: %q, want %q", time.Now().In(zone).Format("15:04:05"), who, got, want)
	}
}

// anytime is a grant of the carrier that no period ends.
func anytime(g *gateway.Grant) {
	g.NotBefore, g.NotAfter, g.Uses = gateway.MinTime, gateway.MaxTime, 0
}

func (h *house) resident() gateway.Reason {
	return h.Present(h.t.Context(), "front", gateway.ReaderApp, gateway.ResidentCredential{Resident: "r"}).Reason
}

// resumed lists the issuers of events issuer_resumed; "all" names none. No resident did it.
func (h *house) resumed() (list []string) {
	h.t.Helper()
	for _, e := range h.events() {
		if e.Type != gateway.IssuerResumed {
			continue
		}
		if e.Resident != "" {
			h.t.Errorf("%s did it: %+v", e.Resident, e)
		}
		list = append(list, string(e.Issuer))
	}
	return list
}

// On vacation home's grants rest, but for those kept; phones open. It begins and ends at its
// times, whether or not a sweep has come; the next sweep tells the end, once.
func TestVacation(t *testing.T) {
	live(t, nil, func(h *house) {
		_, cleaner := h.untimed()
		kept, mine := h.untimed()
		_, err := h.Home(h.t.Context(), access.HomeGrant{Doors: []gateway.DoorID{"front"}, Card: gateway.NewCard(26, 123, 7)})
		h.check(err)
		parcel := h.grant("g1", anytime)
		begun := time.Now().Add(time.Hour + 10*time.Second) // between two sweeps
		v := &gateway.Pause{From: begun, Until: begun.Add(10 * time.Hour), Home: true, Keep: []gateway.GrantID{kept}}
		h.pause(v)
		at := func(when time.Time, want gateway.Reason) {
			h.t.Helper()
			time.Sleep(time.Until(when))
			h.opens("the cleaner", h.types("front", cleaner), want)
			h.opens("a card", h.card(7), want)
			h.opens("a courier", h.scan(parcel), want)
			h.opens("the PIN that is kept", h.types("front", mine), "")
			h.opens("a resident's phone", h.resident(), "")
		}
		at(begun.Add(-time.Nanosecond), "")
		at(begun, gateway.IssuerPaused)
		at(v.Until.Add(-time.Nanosecond), gateway.IssuerPaused)
		at(v.Until, "")
		if got := h.resumed(); got != nil {
			t.Fatalf("a sweep has come: this test shows nothing: %v", got)
		}
		time.Sleep(time.Minute)
		if diff := cmp.Diff([]string{""}, h.resumed()); diff != "" {
			t.Errorf("(-want +got):\n%s", diff)
		}
		if p, err := store.Look(h.t.Context(), h.store, func(tx *store.Tx) *gateway.Pause { return tx.House.Paused() }); err != nil || p != nil {
			t.Errorf("it is still there: %+v, %v", p, err)
		}
	})
}

// A PIN that rests is no wrong PIN: however often it is typed, no reader is locked out.
func TestVacationLocksNobodyOut(t *testing.T) {
	live(t, nil, func(h *house) {
		_, cleaner := h.untimed()
		kept, mine := h.untimed()
		h.pause(&gateway.Pause{Home: true, Keep: []gateway.GrantID{kept}})
		for range 60 {
			if r := h.types("front", cleaner); r != gateway.IssuerPaused {
				t.Fatal(r)
			}
		}
		h.opens("the PIN that is kept", h.types("front", mine), "")
		for _, e := range h.events() {
			if e.Type == gateway.ReaderLockedOut || e.Type == gateway.ReaderTamper {
				t.Errorf("%+v", e)
			}
		}
	})
}

// The pauses of one issuer and of all end by themselves, each told in the record.
func TestPausesEnd(t *testing.T) {
	live(t, nil, func(h *house) {
		parcel := h.grant("g1", anytime)
		end := time.Now().Add(time.Hour + 10*time.Second)
		h.pauseIssuer(&gateway.Pause{Until: end})
		h.pause(&gateway.Pause{Until: end.Add(20 * time.Minute)})
		at := func(when time.Time, want gateway.Reason, resumed ...string) {
			h.t.Helper()
			time.Sleep(time.Until(when))
			h.opens("a courier", h.scan(parcel), want)
			if diff := cmp.Diff(resumed, h.resumed()); diff != "" {
				t.Errorf("%s: (-want +got):\n%s", time.Now().In(zone).Format("15:04:05"), diff)
			}
		}
		at(end.Add(-1), gateway.IssuerPaused)
		at(end, gateway.IssuerPaused) // of all
		at(end.Add(time.Minute), gateway.IssuerPaused, string(colisX))
		h.pauseIssuer(&gateway.Pause{Until: end.Add(2 * time.Hour)})
		at(end.Add(20*time.Minute), gateway.IssuerPaused, string(colisX))
		at(end.Add(21*time.Minute), gateway.IssuerPaused, string(colisX), "")
		at(end.Add(2*time.Hour-1), gateway.IssuerPaused, string(colisX), "")
		at(end.Add(2*time.Hour), "", string(colisX), "")
		at(end.Add(2*time.Hour+time.Minute), "", string(colisX), "", string(colisX))
		h.pauseIssuer(&gateway.Pause{})
		at(end.Add(24*time.Hour), gateway.IssuerPaused, string(colisX), "", string(colisX))
	})
}

// An undecided clock ends no pause, and begins a planned one for third parties only.
func TestPausesUnderAnUndecidedClock(t *testing.T) {
	live(t, nil, func(h *house) {
		h.clock.Set(gateway.ClockUndecided)
		_, cleaner := h.untimed()
		parcel := h.grant("g1", func(g *gateway.Grant) { anytime(g); g.IssuedAt = gateway.MinTime })
		now := time.Now()
		h.opens("a courier", h.scan(parcel), "")
		for name, c := range map[string]struct {
			p           *gateway.Pause
			home, third gateway.Reason
		}{
			"planned":        {&gateway.Pause{From: now.Add(time.Hour), Home: true}, "", gateway.IssuerPaused},
			"perhaps begun":  {&gateway.Pause{From: now.Add(-time.Hour), Home: true}, "", gateway.IssuerPaused},
			"perhaps over":   {&gateway.Pause{Until: now.Add(-time.Hour), Home: true}, gateway.IssuerPaused, gateway.IssuerPaused},
			"at once":        {&gateway.Pause{Home: true}, gateway.IssuerPaused, gateway.IssuerPaused},
			"of all only":    {&gateway.Pause{Until: now.Add(-time.Hour)}, "", gateway.IssuerPaused},
			"surely over":    {&gateway.Pause{Until: gateway.MinTime, Home: true}, "", ""},
			"surely running": {&gateway.Pause{From: gateway.MinTime, Until: now, Home: true}, gateway.IssuerPaused, gateway.IssuerPaused},
		} {
			h.pause(c.p)
			h.check(h.Sweep(h.t.Context()))
			h.opens(name+": the cleaner", h.types("front", cleaner), c.home)
			h.opens(name+": a courier", h.scan(parcel), c.third)
			h.opens(name+": a resident's phone", h.resident(), "")
		}
		h.pause(nil)
		h.pauseIssuer(&gateway.Pause{Until: now.Add(-time.Hour)})
		h.check(h.Sweep(h.t.Context()))
		h.opens("one that is perhaps over: a courier", h.scan(parcel), gateway.IssuerPaused)
		if diff := cmp.Diff([]string{""}, h.resumed()); diff != "" { // what was surely over
			t.Errorf("(-want +got):\n%s", diff)
		}
	})
}

// An issuer's dates make it later for its own documents while the clock is undecided (T3), but end
// no pause that a resident has set.
func TestIssuersDateEndsNoPause(t *testing.T) {
	live(t, nil, func(h *house) {
		h.clock.Set(gateway.ClockUndecided)
		end := time.Now().Add(time.Hour)
		parcel := h.grant("g1", func(g *gateway.Grant) { anytime(g); g.IssuedAt = end.Add(time.Hour) })
		for name, pause := range map[string]func(*gateway.Pause){"of all": h.pause, "of its own": h.pauseIssuer} {
			pause(&gateway.Pause{Until: end})
			for range 2 { // the first brings the date
				h.opens("a courier under the pause "+name, h.scan(parcel), gateway.IssuerPaused)
			}
			h.check(h.Sweep(h.t.Context()))
			h.opens("a courier after a sweep, under the pause "+name, h.scan(parcel), gateway.IssuerPaused)
			pause(nil)
			h.opens("a courier without the pause "+name, h.scan(parcel), "")
		}
	})
}

// I7: whoever was let in a moment ago is kept out by a pause that comes then, in each way of
// asking again; and the same ways are open again when it has passed.
func TestI7_PausesHoldForEveryWay(t *testing.T) {
	live(t, func(p *gateway.Policy) { p.RemoteUnlock = true }, func(h *house) {
		time.Sleep(2 * time.Second) // a command from before this process is over
		id, cleaner := h.home(access.HomeGrant{Uses: 2, PIN: true})
		parcel := h.grant("g1", nil)
		commands := 0
		command := func() gateway.Reason {
			commands++
			now := time.Now().Truncate(time.Second)
			m := gateway.Command{Issuer: colisX, JTI: "c" + strings.Repeat("x", commands), Door: "front", IssuedAt: now, NotAfter: now.Add(25 * time.Second)}
			return h.Present(h.t.Context(), "front", gateway.ReaderApp, gateway.CommandCredential{Command: m}).Reason
		}
		ways := func(when string, want gateway.Reason) {
			h.t.Helper()
			for _, w := range []struct {
				name string
				got  gateway.Reason
			}{{"the PIN", h.types("front", cleaner)}, {"the code", h.scan(parcel)}, {"a command", command()},
				{"the PIN at another reader", h.Present(h.t.Context(), "front", "other", gateway.PINCredential{PIN: cleaner}).Reason},
				{"the code at another reader", h.Present(h.t.Context(), "front", "other", gateway.GrantCredential{Text: gateway.NewSecret(parcel)}).Reason}} {
				if w.got != want {
					t.Errorf("%s, %s: %q, want %q", w.name, when, w.got, want)
				}
			}
		}
		end := time.Now().Add(90 * time.Second)
		ways("before", "")
		h.pause(&gateway.Pause{Until: end, Home: true})
		ways("while the door is released", gateway.IssuerPaused)
		h.doors.Secure("front")
		ways("within the grace", gateway.IssuerPaused)
		time.Sleep(time.Until(end) - 1)
		ways("at the end of the pause", gateway.IssuerPaused)
		time.Sleep(time.Nanosecond)
		ways("after it, within the grace", "")
		g, err := store.Look(h.t.Context(), h.store, func(tx *store.Tx) gateway.GrantRecord { g, _ := tx.Grants.Get(id); return g })
		if h.check(err); g.Used != 1 || h.used("g1") != 1 {
			t.Errorf("used %d and %d: the pause spends nothing, and ends no grace", g.Used, h.used("g1"))
		}
	})
}

// Whoever waits for the residents is kept out by a pause that begins meanwhile.
func TestPauseWhileSomebodyKnocks(t *testing.T) {
	live(t, asked, func(h *house) {
		h.scan(h.grant("g1", nil))
		h.pause(&gateway.Pause{From: time.Now().Add(time.Minute)})
		time.Sleep(residentsTime)
		h.told(gateway.KnockedEvent, gateway.AccessDenied)
	})
}

// A restart in the middle ends nothing, and one after the end finds it over.
func TestVacationOutlivesARestart(t *testing.T) {
	live(t, nil, func(h *house) {
		_, cleaner := h.untimed()
		end := time.Now().Add(time.Hour)
		h.pause(&gateway.Pause{Until: end, Home: true})
		restart := func() {
			h.stop()
			h.check(h.store.Close())
			h.store = storetest.Open(h.t, h.dir, h.clock, zone)
			h.start()
		}
		restart()
		h.opens("the cleaner", h.types("front", cleaner), gateway.IssuerPaused)
		h.opens("a resident's phone", h.resident(), "")
		h.stop()
		time.Sleep(2 * time.Hour)
		restart()
		h.opens("the cleaner", h.types("front", cleaner), "")
		time.Sleep(time.Minute)
		if diff := cmp.Diff([]string{""}, h.resumed()); diff != "" {
			t.Errorf("(-want +got):\n%s", diff)
		}
	})
}

// Explain holds the pauses of now against the instant that is asked for, and says until when.
func TestExplainPauses(t *testing.T) {
	live(t, nil, func(h *house) {
		now := time.Now().Truncate(time.Second)
		id, _ := h.untimed()
		kept, _ := h.untimed()
		h.takes(h.grant("g1", anytime), "accepted")
		courier := gateway.GrantID{Issuer: colisX, JTI: "g1"}
		from, end, later := now.Add(time.Hour), now.Add(2*time.Hour), now.Add(4*time.Hour)
		h.pause(&gateway.Pause{From: from, Until: end, Home: true, Keep: []gateway.GrantID{kept}})
		h.pauseIssuer(&gateway.Pause{Until: later})
		for _, c := range []struct {
			id   gateway.GrantID
			at   time.Time
			want gateway.Reason
			say  string
		}{
			{id, now, "", "a pause is planned from 2027-03-01T09:00:00+01:00 until 2027-03-01T10:00:00+01:00"},
			{id, from, gateway.IssuerPaused, "vacation: grants made at home are paused, but for those kept from 2027-03-01T09:00:00+01:00 until"},
			{id, end, "", ""},
			{kept, from, "", "kept through the vacation"},
			{courier, now, gateway.IssuerPaused, "paused by a resident until 2027-03-01T12:00:00+01:00"},
			{courier, from, gateway.IssuerPaused, "all third parties are paused from 2027-03-01T09:00:00+01:00 until 2027-03-01T10:00:00+01:00"},
			{courier, end, gateway.IssuerPaused, "paused by a resident"},
			{courier, later, "", ""},
		} {
			x, _, err := h.Explain(h.t.Context(), c.id, "front", c.at)
			h.check(err)
			i := slices.IndexFunc(x.Checks, func(k access.Check) bool { return k.Name == "issuer not paused" })
			if x.Verdict != c.want || i < 0 || x.Checks[i].Reason != c.want || !strings.HasPrefix(x.Checks[i].Detail, c.say) || (c.say == "") != (x.Checks[i].Detail == "") {
				t.Errorf("%s at %s: %q: %+v", c.id, c.at.In(zone).Format("15:04"), x.Verdict, x.Checks)
			}
		}
	})
}
