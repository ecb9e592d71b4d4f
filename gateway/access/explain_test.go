package access_test

import (
	"slices"
	"strings"
	"testing"
	"time"

	"gardien/gateway"
	"gardien/gateway/access"
)

// An explanation goes by the facts of an attempt: cards and knocks, too.
func TestExplainKnowsCardsAndKnocks(t *testing.T) {
	live(t, asked, func(h *house) {
		explain := func(jti string) access.Explanation {
			t.Helper()
			x, found, err := h.Explain(h.t.Context(), gateway.GrantID{Issuer: colisX, JTI: jti}, "front", time.Now())
			h.check(err)
			if !found {
				t.Fatalf("%s is not known", jti)
			}
			return x
		}
		h.takes(h.grant("c", func(g *gateway.Grant) { g.Card = gateway.NewCard(26, 123, 99) }), "accepted")
		if x := explain("c"); x.Verdict != gateway.BeyondPolicy {
			t.Errorf("a card that the policy does not allow: %+v", x)
		}
		h.takes(h.grant("g1", nil), "accepted")
		x := explain("g1")
		i := slices.IndexFunc(x.Checks, func(c access.Check) bool { return c.Name == "residents asked first" })
		if x.Verdict != "" || i < 0 || !x.Checks[i].OK || !strings.Contains(x.Checks[i].Detail, "2m0s") {
			t.Errorf("a grant whose residents are asked: %+v", x)
		}
		h.Ring("front")
		if !h.Veto(h.t.Context(), "front") {
			t.Error("nobody knocks")
		}
		if x := explain("g1"); x.Verdict != gateway.Vetoed {
			t.Errorf("after a veto: %+v", x)
		}
	})
}

// TestPresentable: the last check says what can present a grant at a door now, and where.
func TestPresentable(t *testing.T) {
	live(t, func(p *gateway.Policy) { p.Doors, p.Bearer = []gateway.DoorID{"front"}, false }, func(h *house) {
		h.rules.Doors = []gateway.DoorID{"front", "side"}
		h.rules.Readers = map[gateway.DoorID][]access.Reader{"front": {{ID: "front-pad"}, {ID: "scanner", Texts: true}}}
		h.SetRules(h.rules)
		holder := h.carrier.PublicKey.KeyID()
		explain := func(name string, id gateway.GrantID, door gateway.DoorID, want string) {
			t.Helper()
			x, found, err := h.Explain(h.t.Context(), id, door, time.Now())
			h.check(err)
			last := x.Checks[len(x.Checks)-1]
			if !found || last.Name != "presentable" || last.Detail != want {
				t.Errorf("%s: %+v, want %q", name, last, want)
			}
			nothing := strings.HasPrefix(want, "nothing")
			if last.OK == nothing || nothing != (last.Reason == gateway.UnknownCredential) || nothing && x.Verdict == "" {
				t.Errorf("%s: verdict %q by %+v", name, x.Verdict, last)
			}
		}
		const none = "nothing: no PIN or card of it is live at this door, and it names no holder"
		pin, _ := h.home(access.HomeGrant{PIN: true, Doors: []gateway.DoorID{"front", "side"}})
		explain("a PIN", pin, "front", "a PIN at reader front-pad, scanner")
		explain("a PIN where there is no reader", pin, "side", "nothing: no reader of this door takes a PIN")
		card, _ := h.home(access.HomeGrant{Card: gateway.NewCard(26, 123, 4567)})
		explain("a card where no reader reads any", card, "front", "nothing: no reader of this door takes a card")
		both, _ := h.home(access.HomeGrant{PIN: true, Holder: holder})
		explain("a PIN and a holder", both, "front", "a PIN at reader front-pad, scanner; its holder's phone")
		id := gateway.GrantID{Issuer: colisX, JTI: "g1"}
		h.takes(h.grant("g1", nil), "accepted")
		explain("a courier's grant by itself", id, "front", none)
		h.takes(h.grant("g1", func(g *gateway.Grant) { with(gateway.DrawPIN(8), "front", "side")(g); g.Version = 2 }), "accepted")
		explain("a courier's PIN", id, "front", "a PIN at reader front-pad, scanner")
		explain("a courier's PIN beyond its policy", id, "side", none)

		h.rules.Issuers = map[gateway.IssuerID]gateway.Issuer{colisX: {ID: colisX, Policy: gateway.Policy{Doors: []gateway.DoorID{"front"}, Bearer: true}}}
		h.rules.Readers = map[gateway.DoorID][]access.Reader{"front": {{ID: "wiegand", Cards: true}, {ID: "scanner", Texts: true}}}
		h.SetRules(h.rules)
		explain("a card", card, "front", "a card at reader wiegand")
		explain("a PIN and a code", id, "front", "a PIN at reader wiegand, scanner; its text as a code at reader scanner")
		_, err := h.Block(h.t.Context(), id, "")
		h.check(err)
		h.takes(h.grant("g2", func(g *gateway.Grant) { g.Holder = holder }), "accepted")
		explain("a courier's phone", gateway.GrantID{Issuer: colisX, JTI: "g2"}, "front", "its holder's phone")
	})
}

// The door as it is now counts: what cannot be moved opens for nobody, what might not be closed
// again for residents only.
func TestUnwellDoors(t *testing.T) {
	live(t, nil, func(h *house) {
		_, pin := h.home(access.HomeGrant{Uses: 3, PIN: true})
		text := h.grant("g1", nil)
		v := h.doors.View("front")
		v.Ailments = []gateway.Ailment{gateway.ContactFaulty}
		h.doors.Set(v)
		if r := h.scan(text); r != gateway.DoorBlocked {
			t.Errorf("a courier at a door that is unwell: %q", r)
		}
		if r := h.types("front", pin); r != "" {
			t.Errorf("somebody of the house: %q", r)
		}
		v.Blocked = true
		h.doors.Set(v)
		if r := h.types("front", pin); r != gateway.DoorBlocked {
			t.Errorf("somebody of the house at a door that cannot be moved: %q", r)
		}
		h.doors.Set(gateway.DoorView{ID: "front", Strike: gateway.StrikeIsSecured, Contact: gateway.ContactClosed})
		h.doors.Fail(gateway.ErrFault)
		if r := h.scan(text); r != gateway.Fault {
			t.Errorf("a strike that fails: %q", r)
		}
		if n := h.used("g1"); n != 1 {
			t.Errorf("used %d: what was spent stays spent", n)
		}
	})
}
