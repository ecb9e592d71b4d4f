package access_test

import (
	"fmt"
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

// A third party's PIN is long enough for its door, and nobody else's (P1, P11); its revocation
// wipes it.
func TestPINsOfThirdParties(t *testing.T) {
	live(t, nil, func(h *house) {
		pin := func(digits string) func(*gateway.Grant) {
			p, err := gateway.NewPIN(digits)
			h.check(err)
			return func(g *gateway.Grant) { g.PIN, g.Doors = p, []gateway.DoorID{"front", "elsewhere"} }
		}
		h.takes(h.grant("a", pin("111111")), "accepted")
		h.takes(h.grant("b", pin("222222")), "accepted")
		h.refuses(h.grant("c", pin("333333")), gateway.BeyondPolicy) // the third needs seven
		h.refuses(h.grant("d", pin("222222")), gateway.BeyondPolicy)
		h.takes(h.grant("e", pin("5555555")), "accepted")
		if n := h.livePINs("front"); n != 3 {
			h.t.Errorf("%d live PINs", n)
		}
		if n := h.livePINs("elsewhere"); n != 0 {
			h.t.Errorf("%d live PINs at a door that is not here", n)
		}
		h.refuses(h.grant("f", pin("5555555")), gateway.BeyondPolicy) // e's own
		h.takes(h.grant("e", func(g *gateway.Grant) { pin("5555555")(g); g.Version, g.Status = 2, gateway.GrantRevoked }), "accepted")
		if n := h.livePINs("front"); n != 2 {
			h.t.Errorf("%d live PINs after a revocation", n)
		}
		for n := range 198 {
			h.takes(h.grant(fmt.Sprint("n", n), pin(fmt.Sprint(70000000+n))), "accepted")
		}
		h.refuses(h.grant("last", pin("99999999")), gateway.BeyondPolicy) // 200 are live
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
