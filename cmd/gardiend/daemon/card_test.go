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

// Cards are credentials as PINs are: sealed, kept as a keyed hash, revoked with their grant;
// a third party's only where the resident allows them.
func TestCards(t *testing.T) {
	for _, allowed := range []bool{false, true} {
		h := build(t)
		if allowed {
			text := strings.Replace(houseYAML, "bearer: true,", "bearer: true, allow_static_credentials: true,", 1)
			if err := os.WriteFile(filepath.Join(h.dir, "g.yaml"), []byte(text), 0o600); err != nil {
				t.Fatal(err)
			}
		}
		h.start(t)
		card := func(number uint64) gateway.Reason {
			return h.access.Present(t.Context(), "front", "pad", gateway.CardCredential{Card: gateway.NewCard(26, 123, number)}).Reason
		}
		made, err := h.backend().Grants.Make(t.Context(), api.Caller{}, api.GrantRequest{Doors: []gateway.DoorID{"front"}, NotAfter: new(time.Now().Add(time.Hour)), Card: "26:123:4567"})
		if err != nil || made.PIN != "" {
			t.Fatal(made, err)
		}
		if _, err := h.backend().Grants.Make(t.Context(), api.Caller{}, api.GrantRequest{Doors: []gateway.DoorID{"front"}, NotAfter: new(time.Now().Add(time.Hour)), Card: "26:123:4567"}); err == nil || !strings.Contains(err.Error(), "by another grant already") {
			t.Errorf("the same card twice: %v", err)
		}
		if r := card(4567); r != "" {
			t.Errorf("home's card: %s", r)
		}
		for range 20 {
			if r := card(1); r != gateway.UnknownCredential {
				t.Fatalf("a strange card: %s", r)
			}
		}
		if r := card(4567); r != "" {
			t.Errorf("strange cards lock a good one out: %s", r)
		}
		if err := h.backend().Grants.Revoke(t.Context(), api.Caller{}, gateway.GrantID{Issuer: gateway.HomeIssuer, JTI: strings.TrimPrefix(made.ID, "home/")}); err != nil {
			t.Fatal(err)
		}
		if r := card(4567); r == "" {
			t.Error("a revoked card opens")
		}

		now := time.Now().Truncate(time.Second)
		g := gateway.Grant{ID: gateway.GrantID{Issuer: "colis-x.example", JTI: "c"}, Version: 1, Status: gateway.GrantActive, Doors: []gateway.DoorID{"front"},
			IssuedAt: now, Period: gateway.Period{NotBefore: now, NotAfter: now.Add(time.Hour)}, Card: gateway.NewCard(26, 123, 99)}
		text, err := tokens.SignGrant(h.carrier, h.identity.ID, g)
		if err != nil {
			t.Fatal(err)
		}
		if in, err := h.access.Take(t.Context(), text); err != nil || in.Result != "rejected" {
			t.Errorf("a card in the clear: %+v, %v", in, err)
		}
		if text, err = tokens.Seal(text, tokens.TypGrant, h.identity.Opening.PublicKey); err != nil {
			t.Fatal(err)
		}
		if in, err := h.access.Take(t.Context(), text); err != nil || in.Result != "accepted" {
			t.Errorf("%+v, %v", in, err)
		}
		want := gateway.BeyondPolicy
		if allowed {
			want = ""
		}
		if r := card(99); r != want {
			t.Errorf("allowed %v: %q", allowed, r)
		}
		for _, name := range []string{"gardien.db", "gardien.db-wal"} {
			if b, _ := os.ReadFile(filepath.Join(h.cfg.Gateway.StateDir, name)); strings.Contains(string(b), "26:123") {
				t.Errorf("a card in clear in %s", name)
			}
		}
		h.stop()
	}
}
