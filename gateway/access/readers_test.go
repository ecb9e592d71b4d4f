package access_test

import (
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"gardien/gateway"
	"gardien/gateway/access"
)

const wrongPIN = "0000000000" // longer than any

// wrong types a wrong PIN at the front pad n times, and waits out each lock-out before.
func (h *house) wrong(n int) {
	h.t.Helper()
	for i := range n {
		pin, err := gateway.NewPIN(wrongPIN)
		h.check(err)
		r := h.types("front", pin)
		for wait := 15 * time.Second; r == gateway.LockedOut; wait = min(2*wait, 15*time.Minute) {
			time.Sleep(wait)
			r = h.types("front", pin)
		}
		if r != gateway.WrongPIN {
			h.t.Fatalf("wrong PIN %d: %q", i+1, r)
		}
	}
}

// count counts what happened.
func (h *house) count(what gateway.EventType) (n int) {
	h.t.Helper()
	for _, e := range h.events() {
		if e.Type == what {
			n++
		}
	}
	return n
}

// passes is types by somebody who then enters.
func (h *house) passes(door gateway.DoorID, pin gateway.PIN) gateway.Reason {
	defer h.doors.Pass(door)
	return h.types(door, pin)
}

func (h *house) thirdPIN(jti string) gateway.PIN {
	h.t.Helper()
	pin := gateway.DrawPIN(8)
	h.takes(h.grant(jti, func(g *gateway.Grant) { g.PIN, g.Uses, g.NotAfter = pin, 0, g.NotBefore.AddDate(0, 0, 7) }), "accepted")
	return pin
}

// P2: a resident's own PIN ends a run of failures, a duress PIN like any other of theirs. Nobody
// else's does: a cleaner who comes and goes helps no guesser.
func TestP2_WhosePINEndsARun(t *testing.T) {
	const ada = "ada"
	for name, tt := range map[string]struct {
		pin  func(*house) gateway.PIN
		ends bool
	}{
		"a cleaner's":    {func(h *house) gateway.PIN { _, pin := h.home(access.HomeGrant{PIN: true}); return pin }, false},
		"a courier's":    {func(h *house) gateway.PIN { return h.thirdPIN("g1") }, false},
		"a resident's":   {func(h *house) gateway.PIN { _, pin := h.home(access.HomeGrant{PIN: true, Owner: ada}); return pin }, true},
		"a duress PIN's": {func(h *house) gateway.PIN { _, pin := h.home(access.HomeGrant{PIN: true, Duress: ada}); return pin }, true},
	} {
		live(t, nil, func(h *house) {
			t := h.t // the bubble's
			pin := tt.pin(h)
			h.wrong(3)
			if r := h.passes("front", pin); r != "" {
				t.Errorf("%s: %q", name, r)
			}
			h.wrong(1)
			if locked := h.count(gateway.ReaderLockedOut) > 0; locked == tt.ends {
				t.Errorf("%s between: locked out %v", name, locked)
			}
			if r := h.types("front", pin); (r == gateway.LockedOut) == tt.ends {
				t.Errorf("%s then: %q", name, r)
			}
		})
	}
}

// P2: a resident who opens with a paired device ends the runs at the door, and the console does not.
func TestP2_ActsEndARun(t *testing.T) {
	for who, ends := range map[gateway.ResidentID]bool{"ada": true, "": false} {
		live(t, nil, func(h *house) {
			h.wrong(3)
			if o := h.Present(h.t.Context(), "front", gateway.ReaderApp, gateway.ResidentCredential{Resident: who}); !o.Granted {
				h.t.Errorf("%q: %+v", who, o)
			}
			h.doors.Pass("front")
			h.wrong(1)
			if locked := h.count(gateway.ReaderLockedOut) > 0; locked == ends {
				h.t.Errorf("%q between: locked out %v", who, locked)
			}
		})
	}
}

// P2: a resident's own card opens, and ends nothing: it can be copied.
func TestP2_OwnCardEndsNoRun(t *testing.T) {
	live(t, nil, func(h *house) {
		t := h.t // the bubble's
		h.home(access.HomeGrant{PIN: true, Card: gateway.NewCard(26, 123, 7), Owner: "ada"})
		for range 3 {
			h.card(1)
		}
		if r := h.card(7); r != "" {
			t.Errorf("their card: %q", r)
		}
		h.card(1)
		if r := h.card(7); r != gateway.LockedOut {
			t.Errorf("after a fourth failure: %q", r)
		}
	})
}

// P2, P3: a resident lifts a lock-out and a pause. The count of the day stays, ten more failures
// bring the pause back, and a restart forgets nothing of it.
func TestP2_Lift(t *testing.T) {
	live(t, nil, func(h *house) {
		t := h.t // the bubble's
		courier := h.thirdPIN("g1")
		_, cleaner := h.home(access.HomeGrant{PIN: true})
		lift := func() {
			t.Helper()
			if found, err := h.Lift(t.Context(), "front-pad", "ada"); !found || err != nil {
				t.Fatal(found, err)
			}
		}
		h.wrong(4)
		if r := h.types("front", cleaner); r != gateway.LockedOut {
			t.Errorf("locked out: %q", r)
		}
		lift()
		if r := h.passes("front", cleaner); r != "" {
			t.Errorf("lifted: %q", r)
		}
		lifts := slices.DeleteFunc(h.events(), func(e gateway.Event) bool { return e.Type != gateway.LockOutLifted })
		if len(lifts) != 1 || lifts[0].Door != "front" || lifts[0].Reader != "front-pad" || lifts[0].Resident != "ada" {
			t.Errorf("%+v", lifts)
		}
		h.wrong(46)
		time.Sleep(15 * time.Minute)
		if r := h.types("front", courier); r != gateway.LockedOut {
			t.Errorf("after fifty: %q", r)
		}
		lift()
		h.stop()
		h.start()
		if r := h.passes("front", courier); r != "" {
			t.Errorf("lifted: %q", r)
		}
		h.wrong(9)
		time.Sleep(15 * time.Minute)
		if r := h.passes("front", courier); r != "" {
			t.Errorf("nine failures later: %q", r)
		}
		h.wrong(1)
		time.Sleep(15 * time.Minute)
		if r := h.types("front", courier); r != gateway.LockedOut {
			t.Errorf("ten failures later: %q", r)
		}
		if found, err := h.Lift(t.Context(), "nosuch", ""); found || err != nil {
			t.Error(found, err)
		}
	})
}

// P3: an unknown card is a failure as a wrong PIN is: it locks the reader out for cards and PINs,
// raises the alarm at ten, and pauses third parties' cards at fifty. All of it is durable.
func TestP3_UnknownCardsAreFailures(t *testing.T) {
	live(t, func(p *gateway.Policy) { p.StaticCredentials = true }, func(h *house) {
		t := h.t // the bubble's
		h.home(access.HomeGrant{Card: gateway.NewCard(26, 123, 7)})
		week := func(g *gateway.Grant) { g.Uses, g.NotAfter = 0, g.NotBefore.AddDate(0, 0, 7) }
		h.takes(h.grant("c", func(g *gateway.Grant) { g.Card = gateway.NewCard(26, 123, 8); week(g) }), "accepted")
		passes := func(n uint64) gateway.Reason { defer h.doors.Pass("front"); return h.card(n) }
		strange := func(n uint64) {
			t.Helper()
			for i := range n {
				if r := h.card(1000 + i); r != gateway.UnknownCredential {
					t.Fatalf("strange card %d: %q", i+1, r)
				}
				time.Sleep(15 * time.Minute)
			}
		}
		for i := range uint64(4) {
			if r := h.card(1000 + i); r != gateway.UnknownCredential {
				t.Fatalf("strange card %d: %q", i+1, r)
			}
		}
		for _, card := range []uint64{7, 1} {
			if r := h.card(card); r != gateway.LockedOut {
				t.Errorf("card %d while locked out: %q", card, r)
			}
		}
		h.stop()
		h.start()
		if r := h.card(7); r != gateway.LockedOut {
			t.Errorf("after a restart: %q", r)
		}
		time.Sleep(time.Minute)
		strange(5)
		if n := h.count(gateway.ReaderTamper); n != 0 {
			t.Errorf("%d alarms after nine", n)
		}
		strange(41)
		if n := h.count(gateway.ReaderTamper); n != 1 {
			t.Errorf("%d alarms after fifty", n)
		}
		if r := passes(8); r != gateway.LockedOut {
			t.Errorf("a courier's card after fifty: %q", r)
		}
		h.home(access.HomeGrant{Card: gateway.NewCard(26, 123, 9)})
		if r := passes(9); r != "" {
			t.Errorf("home's card after fifty: %q", r)
		}
	})
}

// P3: a card whose grant has ended is as unknown as a PIN is; one that is early is no failure.
func TestP3_CardsThatAreOver(t *testing.T) {
	for name, tt := range map[string]struct {
		grant access.HomeGrant
		want  gateway.Reason
		fails bool
	}{
		"spent": {access.HomeGrant{Uses: 1}, gateway.UnknownCredential, true},
		"early": {access.HomeGrant{NotBefore: time.Date(2027, 3, 1, 8, 30, 0, 0, zone)}, gateway.NotYetValid, false},
	} {
		live(t, nil, func(h *house) {
			t := h.t // the bubble's
			tt.grant.Card = gateway.NewCard(26, 123, 7)
			h.home(tt.grant)
			h.card(7)
			h.doors.Pass("front")
			for range 5 {
				if r := h.card(7); r != tt.want && !(tt.fails && r == gateway.LockedOut) {
					t.Errorf("%s: %q", name, r)
				}
			}
			if locked := h.count(gateway.ReaderLockedOut) > 0; locked != tt.fails {
				t.Errorf("%s: locked out %v", name, locked)
			}
		})
	}
}

// P3: a signed text that is scanned is no guess.
func TestP3_ScannedTextsAreNoFailures(t *testing.T) {
	live(t, nil, func(h *house) {
		t := h.t // the bubble's
		for i := range 12 {
			h.Present(t.Context(), "front", "pad", gateway.GrantCredential{Text: gateway.NewSecret(fmt.Sprint("nonsense-", i))})
		}
		h.home(access.HomeGrant{Card: gateway.NewCard(26, 123, 7)})
		if r := h.card(7); r != "" {
			t.Errorf("a card after nonsense: %q", r)
		}
	})
}

// P2: explain says which reader takes no PIN, and why; it speaks against the grant where there is
// no other reader.
func TestP2_ExplainTellsLockOuts(t *testing.T) {
	live(t, nil, func(h *house) {
		t := h.t // the bubble's
		h.rules.Readers["front"] = []access.Reader{{ID: "front-pad"}, {ID: "pad", Texts: true}}
		h.thirdPIN("g1")
		h.takes(h.grant("scan", nil), "accepted")
		explains := func(jti string, verdict gateway.Reason, says string) {
			t.Helper()
			x, _, err := h.Explain(t.Context(), gateway.GrantID{Issuer: colisX, JTI: jti}, "front", time.Now())
			h.check(err)
			i := slices.IndexFunc(x.Checks, func(c access.Check) bool { return c.Name == "lock-out" })
			if x.Verdict != verdict || (i < 0) != (says == "") {
				t.Errorf("%s: %+v", jti, x)
			}
			if i >= 0 && (x.Checks[i].Detail != says || x.Checks[i].OK != (verdict == "") || x.Checks[i].Reason != verdict) {
				t.Errorf("%s: %+v, want %q", jti, x.Checks[i], says)
			}
		}
		explains("g1", "", "no reader of the door is locked out")
		explains("scan", "", "")
		h.wrong(7)
		explains("g1", "", "reader front-pad takes no PIN for 4 more minutes")
		for range 4 {
			h.card(1)
		}
		explains("g1", gateway.LockedOut, "reader front-pad takes no PIN for 4 more minutes; reader pad takes no PIN for 30 more seconds")
		time.Sleep(3*time.Minute + 59*time.Second)
		explains("g1", "", "reader front-pad takes no PIN for 1 more second")
		h.rules.Readers["front"] = []access.Reader{{ID: "front-pad"}}
		h.wrong(43)
		time.Sleep(15 * time.Minute)
		explains("g1", gateway.LockedOut, "reader front-pad takes no third party's PIN today, unless a resident lifts it")
		id, _ := h.home(access.HomeGrant{PIN: true})
		if x, _, err := h.Explain(t.Context(), id, "front", time.Now()); err != nil || x.Verdict != "" {
			t.Errorf("home's: %+v, %v", x, err)
		}
		id, _ = h.home(access.HomeGrant{Card: gateway.NewCard(26, 123, 7)})
		h.wrong(1)
		if x, _, err := h.Explain(t.Context(), id, "front", time.Now()); err != nil || !strings.Contains(x.Checks[0].Detail, "no card for 15 more minutes") {
			t.Errorf("home's card: %+v, %v", x, err)
		}
	})
}
