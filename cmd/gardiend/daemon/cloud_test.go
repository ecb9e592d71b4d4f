package daemon

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"gardien/gateway"
	"gardien/gateway/tokens"
	"gardien/gateway/uplink"
	"gardien/store"
)

// The whole way: a grant comes down, opens, and its events go up to its issuer alone; a
// revocation waits for the cable.
func TestCloud(t *testing.T) {
	h := newHome(t, sqliteSky(t))
	g := h.x.grantOf("one", 1, gateway.GrantActive)
	h.x.send(t, h.identity, g)
	h.known(t, h.x.id, "one", 1)
	text, err := tokens.SignGrant(h.x.key, h.identity.ID, g)
	if err != nil {
		t.Fatal(err)
	}
	if r := h.present(t, text); r != "" {
		t.Errorf("denied: %s", r)
	}
	two := h.x.grantOf("two", 1, gateway.GrantActive)
	h.x.send(t, h.identity, two)
	h.known(t, h.x.id, "two", 1)
	h.y.send(t, h.identity, h.y.grantOf("other", 1, gateway.GrantActive))
	h.known(t, h.y.id, "other", 1)

	h.sky.cable.Refuse()
	h.until(t, "disconnected", func() bool { s, _ := h.uplink.State(); return s == uplink.Disconnected })
	// The carrier's way to the cloud is another: it writes while the gateway is away.
	revoked := h.x.grantOf("two", 2, gateway.GrantRevoked)
	item := h.x.sealed(t, h.identity, revoked)
	if _, _, err := h.sky.box.Put(context.Background(), h.identity.ID, h.x.id, item, time.Now()); err != nil {
		t.Fatal(err)
	}
	h.sky.cable.Heal()
	healed := time.Now()
	h.known(t, h.x.id, "two", 2)
	t.Logf("the revocation landed %s after the cable was mended", time.Since(healed).Round(time.Millisecond))
	twoText, err := tokens.SignGrant(h.x.key, h.identity.ID, two)
	if err != nil {
		t.Fatal(err)
	}
	if r := h.present(t, twoText); r != gateway.Revoked {
		t.Errorf("after its revocation: %s", r)
	}

	keys := tokens.NewKeySet(h.identity.Signing.PublicKey)
	list := h.x.follow(t, 0, keys, func(l []letter) bool { return slices.Contains(types(l), "access_denied") })
	want := []string{"grant_added", "access_granted", "strike_released", "grant_added", "grant_revoked", "access_denied"}
	got := slices.DeleteFunc(types(list), func(s string) bool { return s == "strike_secured" || s == "access_not_taken" })
	if !slices.Equal(got, want) {
		t.Errorf("events %v, want %v", got, want)
	}
	for _, l := range list {
		if l.Event.Issuer != h.x.id || l.Gateway != h.identity.ID || l.Event.Seq != 0 || l.Event.Hash != "" {
			t.Errorf("%+v", l)
		}
	}
	others := h.y.follow(t, 0, keys, func(l []letter) bool { return len(l) > 0 })
	if len(others) != 1 || others[0].Event.Grant != "other" {
		t.Errorf("another issuer's events: %v", types(others))
	}
}

// N7: one that is poisoned is recorded with its reason, and blocks nothing behind it.
func TestPoisonedItems(t *testing.T) {
	h := newHome(t, sqliteSky(t))
	forger, stranger := newShipper(t, h.x.id), newShipper(t, "unknown.example")
	other, err := tokens.LoadIdentity(t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	put := func(jti string, i gateway.Item) {
		t.Helper()
		i.ID = gateway.ItemID(h.x.id, jti)
		if err := h.x.put(h.identity.ID, i); err != nil {
			t.Fatal(err)
		}
	}
	good := h.x.grantOf("good", 1, gateway.GrantActive)
	readdressed := h.x.sealed(t, other, good)
	if readdressed.Body, err = tokens.SignGrant(h.x.key, other.ID, good); err != nil {
		t.Fatal(err)
	}
	if readdressed.Body, err = tokens.Seal(readdressed.Body, tokens.TypGrant, h.identity.Opening.PublicKey); err != nil {
		t.Fatal(err)
	}
	over := h.x.grantOf("over", 1, gateway.GrantActive)
	over.NotBefore, over.NotAfter = over.NotBefore.Add(-time.Hour), over.NotBefore.Add(-time.Minute)
	unknown := h.x.sealed(t, h.identity, good)
	unknown.Kind = "horoscope"
	for n, c := range []struct {
		item gateway.Item
		want gateway.Reason
	}{
		{forger.sealed(t, h.identity, forger.grantOf("f", 1, gateway.GrantActive)), gateway.BadSignature},
		{stranger.sealed(t, h.identity, stranger.grantOf("s", 1, gateway.GrantActive)), gateway.UnknownIssuer},
		{h.x.sealed(t, other, good), gateway.UnknownCredential},
		{readdressed, gateway.WrongGateway},
		{gateway.Item{Kind: "grant", Ver: 1, Exp: 1900000000, Body: "rubbish"}, gateway.UnknownCredential},
		{gateway.Item{Kind: "grant", Ver: 1, Exp: 1900000000, Body: strings.Repeat("x", gateway.MaxItemBody)}, gateway.UnknownCredential},
		{h.x.sealed(t, h.identity, over), gateway.Expired},
		{unknown, gateway.UnknownCredential},
	} {
		put(fmt.Sprint("poison", n), c.item)
		h.until(t, string(c.want), func() bool { return len(h.events(t, gateway.GrantRejected)) > n })
		if e := h.events(t, gateway.GrantRejected)[n]; e.Reason != c.want {
			t.Errorf("item %d: recorded as %s, want %s", n, e.Reason, c.want)
		}
	}
	h.x.send(t, h.identity, good)
	h.known(t, h.x.id, "good", 1)
	// The same again by a snapshot: nothing is taken twice, and the good one stays.
	if err := h.sky.box.Compact(context.Background(), h.identity.ID, time.Unix(0, 0)); err != nil {
		t.Fatal(err)
	}
	h.stop()
	h.start(t)
	h.connected(t)
	if n := len(h.events(t, gateway.GrantAdded)); n != 1 {
		t.Errorf("%d grants were added", n)
	}
}

// A9: who withholds an item shows in the manifest, at once, and the issuer goes stale.
func TestManifests(t *testing.T) {
	h := newHome(t, sqliteSky(t))
	state := func() gateway.IssuerState {
		s, err := store.Look(context.Background(), h.store, func(tx *store.Tx) gateway.IssuerState { return tx.Issuers.State(h.x.id, "") })
		if err != nil {
			t.Fatal(err)
		}
		return s
	}
	line := func(jti string, ver int64) gateway.ManifestLine { return gateway.ManifestLine{JTI: jti, Ver: ver} }
	for _, jti := range []string{"a", "b"} {
		h.x.send(t, h.identity, h.x.grantOf(jti, 1, gateway.GrantActive))
	}
	h.known(t, h.x.id, "b", 1)
	h.x.manifest(t, h.identity, 1, line("a", 1), line("b", 1))
	h.until(t, "the manifest", func() bool { return !state().ManifestAt.IsZero() })
	first := state().ManifestAt
	if n := len(h.events(t, gateway.GrantRejected)); n != 0 {
		t.Errorf("%d rejections by a manifest that is right", n)
	}
	// The issuer has revoked b; the cloud keeps that to itself and delivers the manifest.
	next := first.Add(2 * time.Second)
	h.x.now = func() time.Time { return next }
	h.x.manifest(t, h.identity, 2, line("a", 1))
	h.until(t, "the event", func() bool { return len(h.events(t, gateway.GrantRejected)) == 1 })
	if e := h.events(t, gateway.GrantRejected)[0]; e.Reason != gateway.IssuerStale || e.Issuer != h.x.id {
		t.Errorf("%+v", e)
	}
	if !state().ManifestAt.Equal(first) {
		t.Error("a manifest that does not match counts for offline_limit")
	}
	// The revocation comes after all: the manifest is right now.
	h.x.send(t, h.identity, h.x.grantOf("b", 2, gateway.GrantRevoked))
	h.until(t, "the manifest's second look", func() bool { return state().ManifestAt.Equal(next) })
	// An older one, replayed, changes nothing.
	if in, err := h.access.TakeItem(context.Background(), gateway.ItemManifest, signed(t, func() (string, error) {
		return tokens.SignManifest(h.x.key, h.identity.ID, gateway.Manifest{Issuer: h.x.id, Version: 1, IssuedAt: next, NextUpdate: next.Add(time.Hour)})
	})); err != nil || in.Result != "rejected" || !state().ManifestAt.Equal(next) {
		t.Errorf("an older manifest: %+v, %v", in, err)
	}
	// A grant that is refused here (its PIN equals a live one) was not withheld.
	pin := h.pinGrant(t, "front")
	clash := h.x.grantOf("clash", 1, gateway.GrantActive)
	clash.PIN = pin
	h.x.send(t, h.identity, clash)
	h.until(t, "the refusal", func() bool { return len(h.events(t, gateway.GrantRejected)) == 3 })
	later := next.Add(time.Second)
	h.x.now = func() time.Time { return later }
	h.x.manifest(t, h.identity, 3, line("a", 1), line("clash", 1))
	h.until(t, "a manifest with a refused grant", func() bool { return state().ManifestAt.Equal(later) })
}

// F10: a command opens once, within its seconds, in the process that was there, and only
// where the resident allows it.
func TestCommands(t *testing.T) {
	h := newHome(t, sqliteSky(t))
	granted := func() int { return len(h.events(t, gateway.AccessGranted)) }
	denied := func(reason gateway.Reason) func() bool {
		return func() bool {
			return slices.ContainsFunc(h.events(t, gateway.AccessDenied), func(e gateway.Event) bool { return e.Reason == reason })
		}
	}
	now := func() time.Time { return time.Now().Truncate(time.Second) }
	// A command waits for the second after this process began.
	for h.access.Present(context.Background(), "front", "app", gateway.CommandCredential{Command: gateway.Command{Issuer: h.x.id, JTI: gateway.NewJTI(),
		IssuedAt: now(), NotAfter: now().Add(30 * time.Second), Door: "front"}}).Reason == gateway.Expired {
		<-time.After(50 * time.Millisecond)
	}
	before := granted()
	h.x.command(t, h.identity, "c1", now())
	h.until(t, "the command", func() bool { return granted() == before+1 })
	e := h.events(t, gateway.AccessGranted)[before]
	if e.Issuer != h.x.id || e.Grant != "c1" || e.Reader != gateway.ReaderApp {
		t.Errorf("%+v", e)
	}
	cmd := func(iss gateway.IssuerID, jti string, iat time.Time) gateway.Reason {
		return h.access.Present(context.Background(), "front", "app", gateway.CommandCredential{Command: gateway.Command{Issuer: iss, JTI: jti, IssuedAt: iat, NotAfter: iat.Add(30 * time.Second), Door: "front"}}).Reason
	}
	for _, c := range []struct {
		iss  gateway.IssuerID
		jti  string
		iat  time.Time
		want gateway.Reason
	}{
		{h.x.id, "c1", now(), gateway.UsesSpent},
		{h.x.id, "c2", now().Add(-31 * time.Second), gateway.Expired},
		{h.x.id, "c3", now().Add(2 * time.Minute), gateway.NotYetValid},
		{h.y.id, "c4", now(), gateway.BeyondPolicy},
	} {
		if r := cmd(c.iss, c.jti, c.iat); r != c.want {
			t.Errorf("%s: %s, want %s", c.jti, r, c.want)
		}
	}
	if in, err := h.access.TakeItem(context.Background(), gateway.ItemCommand, signed(t, func() (string, error) {
		return tokens.SignCommand(h.x.key, h.identity.ID, gateway.Command{Issuer: h.x.id, JTI: "bag", IssuedAt: now(), NotAfter: now().Add(time.Second), Door: "front"})
	})); err != nil || in.Result != "rejected" {
		t.Errorf("a command in a mailbag: %+v, %v", in, err)
	}
	// Issued while the gateway was down: over when it comes up, however few seconds that took.
	before = granted()
	h.stop()
	h.x.command(t, h.identity, "while-down", now().Add(-time.Second))
	h.start(t)
	h.connected(t)
	h.until(t, "it is told as over", denied(gateway.Expired))
	// And the one that was carried out before the restart is not carried out again.
	if r := cmd(h.x.id, "c1", now()); r != gateway.UsesSpent {
		t.Errorf("after a restart: %s", r)
	}
	if granted() != before {
		t.Error("a command from before the restart opened")
	}
}
