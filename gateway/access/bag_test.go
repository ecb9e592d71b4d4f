package access_test

import (
	"context"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"gardien/gateway"
	"gardien/gateway/access"
	"gardien/gateway/tokens"
	"gardien/store"
)

// bag is one of items, taken in with turns that are looked at: at gives the number of each.
func (h *house) bag(at func(turn int), items ...gateway.Item) []string {
	h.t.Helper()
	turns := 0
	turn := func(context.Context) (func(), error) {
		return func() {
			if turns++; at != nil {
				at(turns)
			}
		}, nil
	}
	list, err := h.TakeBag(h.t.Context(), access.Bag{Len: len(items), Item: func(n int) gateway.Item { return items[n] }}, turn)
	h.check(err)
	var results []string
	for _, in := range list {
		text := in.Result
		if in.Refusal != nil {
			text += " " + string(in.Refusal.Reason)
		}
		results = append(results, text)
	}
	return results
}

func grantItem(text string) gateway.Item { return gateway.Item{Kind: gateway.ItemGrant, Body: text} }

func (h *house) manifest(ver int64, lines ...gateway.ManifestLine) gateway.Item {
	h.t.Helper()
	at := time.Now().Truncate(time.Second)
	text, err := tokens.SignManifest(h.carrier, h.id.ID, gateway.Manifest{Issuer: colisX, Version: ver, IssuedAt: at, NextUpdate: at.Add(time.Hour),
		Count: len(lines), Digest: gateway.ManifestDigest(lines)})
	h.check(err)
	return gateway.Item{Kind: gateway.ItemManifest, Body: text}
}

// TestA9_BagTakesAwayFirst: of a bag the revocations act before anything else of it, in the turn that
// found them, and what stays of an order is that of the answers.
func TestA9_BagTakesAwayFirst(t *testing.T) {
	live(t, nil, func(h *house) {
		h.takes(h.version(1, gateway.GrantActive, nil), "accepted")
		items := []gateway.Item{grantItem(h.version(2, gateway.GrantActive, nil))}
		want := []string{"rejected revoked"}
		for n := range 20 {
			items, want = append(items, grantItem(h.grant(fmt.Sprint("new", n), nil))), append(want, "accepted")
		}
		items, want = append(items, grantItem("nonsense"), grantItem(h.version(3, gateway.GrantRevoked, nil))), append(want, "rejected unknown_credential", "accepted")
		var revokedAt, addedAt int
		got := h.bag(func(turn int) {
			for _, jti := range []string{"g1", "new0"} {
				g, err := store.Look(h.t.Context(), h.store, func(tx *store.Tx) gateway.GrantRecord {
					g, _ := tx.Grants.Get(gateway.GrantID{Issuer: colisX, JTI: jti})
					return g
				})
				h.check(err)
				if jti == "g1" && revokedAt == 0 && g.Status == gateway.GrantRevoked {
					revokedAt = turn
				}
				if jti == "new0" && addedAt == 0 && g.Version == 1 {
					addedAt = turn
				}
			}
		}, items...)
		if d := cmp.Diff(want, got); d != "" {
			h.t.Error(d)
		}
		if revokedAt != 3 || addedAt != 4 { // 23 documents are three turns
			h.t.Errorf("the revocation acts after turn %d, a grant after turn %d", revokedAt, addedAt)
		}
	})
}

// TestD6_BagSharesCommits: a bag of 1,000 grants is 32 durable transactions, and the same again none
// that changes anything.
func TestD6_BagSharesCommits(t *testing.T) {
	live(t, nil, func(h *house) {
		var items []gateway.Item
		for n := range 1000 {
			items = append(items, grantItem(h.grant(fmt.Sprint("g", n), nil)))
		}
		before := h.updates.Load()
		got := h.bag(nil, items...)
		if n := h.updates.Load() - before; n != 32 {
			h.t.Errorf("%d durable transactions, want 32", n)
		}
		for n, res := range got {
			if res != "accepted" {
				h.t.Fatalf("%d: %s", n, res)
			}
		}
		head := h.store.Head()
		for n, res := range h.bag(nil, items...) {
			if res != "known" {
				h.t.Fatalf("again, %d: %s", n, res)
			}
		}
		if h.store.Head() != head {
			h.t.Error("what was known already is told")
		}
	})
}

// A bag whose carrier has gone is not worked on any more.
func TestA11_BagOfSomebodyGone(t *testing.T) {
	live(t, nil, func(h *house) {
		gone := func(context.Context) (func(), error) { return nil, context.Canceled }
		item := grantItem(h.grant("g1", nil))
		if _, err := h.TakeBag(h.t.Context(), access.Bag{Len: 1, Item: func(int) gateway.Item { return item }}, gone); err != context.Canceled {
			h.t.Error(err)
		}
		h.takes(item.Body, "accepted")
	})
}

// TestA9_HeardByMailbag: an issuer that has gone stale is heard again by what a phone carries: by a
// manifest, or, as long as it never sent one, by a grant or a key set. A command is no such thing.
func TestA9_HeardByMailbag(t *testing.T) {
	policy := func(p *gateway.Policy) { p.OfflineLimit = 72 * time.Hour }
	cleaner := func(h *house) string {
		return h.grant("cleaner", func(g *gateway.Grant) { g.Uses, g.NotAfter = 0, g.NotBefore.AddDate(0, 1, 0) })
	}
	stale := func(h *house, text string, want gateway.Reason) {
		h.t.Helper()
		time.Sleep(time.Minute) // else it is a repeat
		if r := h.scan(text); r != want {
			h.t.Errorf("%q, want %q", r, want)
		}
	}
	for what, carry := range map[string]func(*house) gateway.Item{
		"a grant": func(h *house) gateway.Item { return grantItem(h.grant("new", nil)) },
		"a key set": func(h *house) gateway.Item {
			jwks, err := tokens.MarshalKeySet(h.carrier.PublicKey, nil)
			h.check(err)
			text, err := tokens.SignKeys(h.carrier, h.id.ID, gateway.KeyRing{Issuer: colisX, Version: 2, IssuedAt: time.Now().Truncate(time.Second), JWKS: jwks})
			h.check(err)
			return gateway.Item{Kind: gateway.ItemKeys, Body: text}
		},
		"a manifest": func(h *house) gateway.Item { return h.manifest(1, gateway.ManifestLine{JTI: "cleaner", Ver: 1}) },
	} {
		t.Run(what, func(t *testing.T) {
			live(t, policy, func(h *house) {
				text := cleaner(h)
				h.takes(text, "accepted")
				h.isOff(73 * time.Hour)
				stale(h, text, gateway.IssuerStale)
				now := time.Now().Truncate(time.Second)
				command, err := tokens.SignCommand(h.carrier, h.id.ID, gateway.Command{Issuer: colisX, JTI: "c", IssuedAt: now, NotAfter: now.Add(20 * time.Second), Door: "front"})
				h.check(err)
				if got := h.bag(nil, gateway.Item{Kind: gateway.ItemCommand, Body: command}); got[0] != "rejected unknown_credential" {
					h.t.Errorf("a command: %s", got)
				}
				stale(h, text, gateway.IssuerStale)
				if got := h.bag(nil, carry(h)); got[0] != "accepted" {
					h.t.Errorf("%s", got)
				}
				stale(h, text, "")
				h.isOff(71 * time.Hour)
				stale(h, text, "")
				h.isOff(2 * time.Hour)
				stale(h, text, gateway.IssuerStale)
			})
		})
	}
}

// TestA9_ManifestBesideItsGrants: a manifest counts whatever its place in the bag, and as soon as the
// grants that it names have come, be it with a later bag.
func TestA9_ManifestBesideItsGrants(t *testing.T) {
	live(t, func(p *gateway.Policy) { p.OfflineLimit = 72 * time.Hour }, func(h *house) {
		one, two := h.grant("one", nil), h.grant("two", nil)
		time.Sleep(time.Second) // a manifest speaks of what was issued before it
		line := func(jti string) gateway.ManifestLine { return gateway.ManifestLine{JTI: jti, Ver: 1} }
		if got := h.bag(nil, h.manifest(1, line("one")), grantItem(one)); got[0] != "accepted" || got[1] != "accepted" {
			h.t.Error(got)
		}
		h.told() // nothing was withheld
		matched := func() bool {
			m, err := store.Look(h.t.Context(), h.store, func(tx *store.Tx) gateway.ManifestState {
				m, _ := tx.Issuers.Manifest(colisX)
				return m
			})
			h.check(err)
			return m.Matched
		}
		h.bag(nil, h.manifest(2, line("one"), line("two")))
		if matched() {
			h.t.Error("a manifest matches whose grants are not here")
		}
		h.bag(nil, grantItem(two))
		if !matched() {
			h.t.Error("the grant has come, and the manifest does not count")
		}
	})
}

// TestI1_RefusalsOfStrangers: whatever strangers carry here or present on the network, and however much
// of it, a day of it is some twenty events and one for each reason. None is lost, and what an issuer has
// signed is told beside it.
func TestI1_RefusalsOfStrangers(t *testing.T) {
	live(t, nil, func(h *house) {
		old := h.version(1, gateway.GrantActive, nil)
		h.takes(h.version(2, gateway.GrantActive, nil), "accepted")
		stranger, err := tokens.GenerateES256()
		h.check(err)
		now := time.Now().Truncate(time.Second)
		forged, err := tokens.SignGrant(stranger, h.id.ID, gateway.Grant{ID: gateway.GrantID{Issuer: "x.example", JTI: "j"}, Version: 1, Status: gateway.GrantActive,
			Doors: []gateway.DoorID{"front"}, IssuedAt: now, Period: gateway.Period{NotBefore: now, NotAfter: now.Add(time.Hour)}})
		h.check(err)
		var items []gateway.Item
		for range 300 {
			items = append(items, grantItem("nonsense"), grantItem(forged), grantItem(strings.ToUpper(old)))
		}
		const days = 3
		for range days {
			for range 3 {
				h.bag(nil, items...)
			}
			h.bag(nil, grantItem(old))
			time.Sleep(24*time.Hour + time.Minute)
		}
		lines, told, theirs := 0, 0, 0
		for _, e := range h.events() {
			switch {
			case e.Issuer == colisX && e.Type == gateway.GrantRejected:
				theirs++
			case e.Type == gateway.GrantRejected, e.Type == gateway.AccessDenied:
				lines++
				told += max(1, e.Count)
			}
		}
		if want := days * 3 * len(items); told != want || theirs != days {
			h.t.Errorf("%d refusals are told, want %d; %d of the issuer's, want %d", told, want, theirs, days)
		}
		if most := days * 26; lines > most {
			h.t.Errorf("%d events of strangers in %d days, want at most %d", lines, days, most)
		}
	})
}
