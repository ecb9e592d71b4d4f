package access_test

import (
	"testing"
	"time"

	"gardien/gateway"
	"gardien/gateway/tokens"
)

// version is a version of one grant of the carrier.
func (h *house) version(ver int64, status gateway.GrantStatus, change func(*gateway.Grant)) string {
	return h.grant("g1", func(g *gateway.Grant) {
		g.Version, g.Status = ver, status
		if change != nil {
			change(g)
		}
	})
}

// refuses has a document refused for a reason.
func (h *house) refuses(text string, want gateway.Reason) {
	h.t.Helper()
	in, err := h.Take(h.t.Context(), text)
	h.check(err)
	if in.Result != "rejected" || in.Refusal.Reason != want {
		h.t.Errorf("%+v %v, want it rejected for %s", in, in.Refusal, want)
	}
}

// The highest version stands, whatever comes after it; a revocation stands for ever (A9).
func TestVersions(t *testing.T) {
	live(t, nil, func(h *house) {
		two := h.version(2, gateway.GrantActive, nil)
		h.takes(two, "accepted")
		h.takes(two, "known")
		h.refuses(h.version(1, gateway.GrantActive, nil), gateway.UnknownCredential)
		h.refuses(h.version(2, gateway.GrantActive, func(g *gateway.Grant) { g.Uses = 9 }), gateway.UnknownCredential)
		h.takes(h.version(3, gateway.GrantActive, func(g *gateway.Grant) { g.Uses = 2 }), "accepted")
		h.takes(h.version(4, gateway.GrantRevoked, nil), "accepted")
		h.refuses(two, gateway.Revoked)
		if r := h.scan(two); r != gateway.Revoked {
			h.t.Errorf("a grant of before its revocation: %q", r)
		}
		h.told(gateway.GrantRejected, gateway.GrantRejected, gateway.GrantUpdated, gateway.GrantRevokedOn, gateway.GrantRejected, gateway.AccessDenied)
	})
}

// What is over is not kept; that it is revoked is.
func TestOver(t *testing.T) {
	live(t, nil, func(h *house) {
		over := func(g *gateway.Grant) {
			g.NotBefore, g.NotAfter = time.Now().Add(-2*time.Hour).Truncate(time.Second), time.Now().Add(-time.Hour).Truncate(time.Second)
		}
		h.refuses(h.version(1, gateway.GrantActive, over), gateway.Expired)
		h.takes(h.version(2, gateway.GrantRevoked, over), "accepted")
	})
}

// TestP1_PINsOfThirdParties: a third party's PIN has the length of its class, is nobody else's
// (P11), and is kept for the doors of its policy that are here; its revocation wipes it.
func TestP1_PINsOfThirdParties(t *testing.T) {
	live(t, func(p *gateway.Policy) { p.Doors = []gateway.DoorID{"front"} }, func(h *house) {
		h.rules.Doors = []gateway.DoorID{"front", "side"}
		h.SetRules(h.rules)
		pin := func(digits string) func(*gateway.Grant) {
			return func(g *gateway.Grant) {
				g.PIN, g.Doors = h.digits(digits), []gateway.DoorID{"front", "side", "elsewhere"}
			}
		}
		live := func(front, side int) {
			t.Helper()
			if a, b := h.livePINs("front"), h.livePINs("side"); a != front || b != side {
				t.Errorf("%d live PINs at front and %d at side, want %d and %d", a, b, front, side)
			}
		}
		h.takes(h.grant("a", pin("11111111")), "accepted")
		live(1, 0)
		for _, short := range []string{"111111", "1111111", "111111111", "1111111111"} {
			h.refuses(h.grant("b", pin(short)), gateway.BeyondPolicy)
		}
		h.refuses(h.grant("b", pin("11111111")), gateway.BeyondPolicy)
		h.takes(h.grant("b", pin("22222222")), "accepted")
		h.takes(h.grant("a", func(g *gateway.Grant) { pin("11111111")(g); g.Version = 2 }), "accepted")
		live(2, 0)
		h.takes(h.grant("a", func(g *gateway.Grant) { pin("11111111")(g); g.Version, g.Status = 3, gateway.GrantRevoked }), "accepted")
		live(1, 0)
	})
}

// A resident's block holds until a higher version comes, and is told once.
func TestBlock(t *testing.T) {
	live(t, nil, func(h *house) {
		id := gateway.GrantID{Issuer: colisX, JTI: "g1"}
		block := func(want bool) {
			h.t.Helper()
			found, err := h.Block(h.t.Context(), id, "ada")
			h.check(err)
			if found != want {
				h.t.Errorf("found %v, want %v", found, want)
			}
		}
		block(false)
		one := h.version(1, gateway.GrantActive, nil)
		h.takes(one, "accepted")
		block(true)
		block(true)
		h.told(gateway.GrantRevokedOn)
		if r := h.scan(one); r != gateway.Revoked {
			h.t.Errorf("blocked: %q", r)
		}
		if r := h.scan(h.version(2, gateway.GrantActive, nil)); r != "" {
			h.t.Errorf("a higher version: %q", r)
		}
	})
}

// The newest manifest stands. One that does not speak of just the grants that have come is told at
// once; the same again says nothing.
func TestManifests(t *testing.T) {
	live(t, nil, func(h *house) {
		h.takes(h.grant("g1", nil), "accepted")
		manifest := func(ver int64, want string, lines ...gateway.ManifestLine) {
			h.t.Helper()
			at := time.Now().Truncate(time.Second)
			text, err := tokens.SignManifest(h.carrier, h.id.ID, gateway.Manifest{Issuer: colisX, Version: ver, IssuedAt: at, NextUpdate: at.Add(time.Hour),
				Count: len(lines), Digest: gateway.ManifestDigest(lines)})
			h.check(err)
			in, err := h.TakeItem(h.t.Context(), gateway.ItemManifest, text)
			h.check(err)
			if in.Result != want {
				h.t.Errorf("version %d: %+v %v, want %s", ver, in, in.Refusal, want)
			}
		}
		time.Sleep(time.Second) // a manifest speaks of what was issued before it
		right := gateway.ManifestLine{JTI: "g1", Ver: 1}
		manifest(2, "accepted", right)
		manifest(2, "known", right)
		manifest(1, "rejected", right)
		manifest(2, "rejected")
		h.told(gateway.GrantRejected, gateway.GrantRejected)
		manifest(3, "accepted", right, gateway.ManifestLine{JTI: "withheld", Ver: 1})
		h.told(gateway.GrantRejected, gateway.GrantRejected, gateway.GrantRejected)
		if last := h.events()[2]; last.Reason != gateway.IssuerStale || last.Issuer != colisX {
			h.t.Errorf("%+v", last)
		}
	})
}
