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
		if !h.Veto("front") {
			t.Error("nobody knocks")
		}
		if x := explain("g1"); x.Verdict != gateway.Vetoed {
			t.Errorf("after a veto: %+v", x)
		}
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
