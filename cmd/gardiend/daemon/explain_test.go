package daemon

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"gardien/gateway"
	"gardien/gateway/api"
	"gardien/gateway/tokens"
)

// An explanation goes by the facts of an attempt: cards and knocks, too.
func TestExplainKnowsCardsAndKnocks(t *testing.T) {
	h := build(t)
	text := strings.Replace(houseYAML, "bearer: true,", "bearer: true, knock: 30s,", 1)
	if err := os.WriteFile(filepath.Join(h.dir, "g.yaml"), []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	h.start(t)
	now := time.Now().Truncate(time.Second)
	g := gateway.Grant{ID: gateway.GrantID{Issuer: "colis-x.example", JTI: "c"}, Version: 1, Status: gateway.GrantActive, Doors: []gateway.DoorID{"front"},
		IssuedAt: now, Period: gateway.Period{NotBefore: now, NotAfter: now.Add(time.Hour)}, Card: gateway.NewCard(26, 123, 99)}
	signed, err := tokens.SignGrant(h.carrier, h.identity.ID, g)
	if err != nil {
		t.Fatal(err)
	}
	sealed, err := tokens.Seal(signed, tokens.TypGrant, h.identity.Opening.PublicKey)
	if err != nil {
		t.Fatal(err)
	}
	if in, err := h.access.Take(t.Context(), sealed); err != nil || in.Refusal != nil {
		t.Fatal(in, err)
	}
	explain := func() api.Explanation {
		t.Helper()
		x, err := h.backend().Grants.Explain(t.Context(), g.ID, "front", time.Time{})
		if err != nil {
			t.Fatal(err)
		}
		return x
	}
	if x := explain(); x.Verdict != "denied" || *x.Reason != gateway.BeyondPolicy {
		t.Errorf("a card that the policy does not allow: %+v", x)
	}
	_, one := h.grant(t, 1, "front", "")
	if in, err := h.access.Take(t.Context(), one); err != nil || in.Refusal != nil {
		t.Fatal(in, err)
	}
	g.ID.JTI = "g1"
	asked := func(x api.Explanation) (c api.Check) {
		for _, c := range x.Checks {
			if c.Check == "residents asked first" {
				return c
			}
		}
		return c
	}
	if x := explain(); x.Verdict != "granted" || !asked(x).OK || !strings.Contains(asked(x).Detail, "30s") {
		t.Errorf("a grant whose residents are asked: %+v", x)
	}
	h.access.Ring("front")
	if err := h.backend().Doors.Veto(t.Context(), api.Caller{}, "front"); err != nil {
		t.Fatal(err)
	}
	if x := explain(); x.Verdict != "denied" || *x.Reason != gateway.Vetoed {
		t.Errorf("after a veto: %+v", x)
	}
}
