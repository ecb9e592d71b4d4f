package daemon

import (
	"context"
	"os"
	"path/filepath"
	"slices"
	"testing"
	"time"

	"gardien/gateway"
	"gardien/gateway/tokens"
)

// A key set of the issuer's replaces the file's, outlives a restart, and ends with the file.
func TestKeyRotation(t *testing.T) {
	h := newHome(t, sqliteSky(t))
	next := newShipper(t, h.x.id)
	jwks, err := tokens.MarshalKeySet(next.key.PublicKey, &h.x.opening.PublicKey)
	if err != nil {
		t.Fatal(err)
	}
	rotate := func(by *tokens.SigningKey, ver int64, jwks []byte) {
		k := gateway.KeyRing{Issuer: h.x.id, Version: ver, IssuedAt: time.Now().Truncate(time.Second), JWKS: jwks}
		h.x.sendDocument(t, h.identity, tokens.TypKeys, tokens.JTIKeys, gateway.ItemKeys, ver, k.IssuedAt.AddDate(1, 0, 0).Unix(), func() (string, error) { return tokens.SignKeys(by, h.identity.ID, k) })
	}
	stranger := newShipper(t, h.x.id)
	rotate(stranger.key, 1, stranger.jwks)
	h.until(t, "a stranger's keys are rejected", func() bool { return len(h.events(t, gateway.GrantRejected)) == 1 })
	rotate(h.x.key, 5, jwks)
	trusts := func(k *tokens.SigningKey) func() bool {
		return func() bool { set, _ := h.issuers.Keys(h.x.id); return slices.Equal(set.KeyIDs(), []string{k.KeyID()}) }
	}
	h.until(t, "the new key", trusts(next.key))
	h.stop()
	h.start(t)
	if !trusts(next.key)() {
		t.Error("the rotation did not outlive a restart")
	}
	h.connected(t)
	// Signed by the new key it is good, by the old one it is not; a snapshot has both in it.
	old := h.x.key
	h.x.send(t, h.identity, h.x.grantOf("by-the-old", 1, gateway.GrantActive))
	h.until(t, "the old key is over", func() bool { return len(h.events(t, gateway.GrantRejected)) == 2 })
	h.x.key = next.key
	item := h.x.sealed(t, h.identity, h.x.grantOf("by-the-new", 1, gateway.GrantActive))
	h.x.key = old // at the cloud the old one is enrolled
	if err := h.x.put(h.identity.ID, item); err != nil {
		t.Fatal(err)
	}
	h.known(t, h.x.id, "by-the-new", 1)
	// An older set, replayed, changes nothing; another file does.
	if in, err := h.access.TakeItem(context.Background(), gateway.ItemKeys, signed(t, func() (string, error) {
		return tokens.SignKeys(next.key, h.identity.ID, gateway.KeyRing{Issuer: h.x.id, Version: 5, IssuedAt: time.Now().Truncate(time.Second), JWKS: h.x.jwks})
	})); err != nil || in.Result == "accepted" || !trusts(next.key)() {
		t.Errorf("an older key set: %+v, %v", in, err)
	}
	h.stop()
	if err := os.WriteFile(filepath.Join(h.dir, "x.json"), stranger.jwks, 0o600); err != nil {
		t.Fatal(err)
	}
	h.start(t)
	if !trusts(stranger.key)() {
		t.Error("a new file does not count")
	}
}

// A revocation that comes before the key that signed it counts as soon as the key is there.
func TestRevocationBeforeItsKey(t *testing.T) {
	h := newHome(t, sqliteSky(t))
	h.x.send(t, h.identity, h.x.grantOf("g", 1, gateway.GrantActive))
	h.known(t, h.x.id, "g", 1)
	next := newShipper(t, h.x.id)
	jwks, err := tokens.MarshalKeySet(next.key.PublicKey, &h.x.opening.PublicKey)
	if err != nil {
		t.Fatal(err)
	}
	old := h.x.key
	h.x.key = next.key
	revocation := h.x.sealed(t, h.identity, h.x.grantOf("g", 2, gateway.GrantRevoked))
	h.x.key = old
	if err := h.x.put(h.identity.ID, revocation); err != nil {
		t.Fatal(err)
	}
	h.until(t, "nobody knows the key", func() bool { return len(h.events(t, gateway.GrantRejected)) == 1 })
	k := gateway.KeyRing{Issuer: h.x.id, Version: 2, IssuedAt: time.Now().Truncate(time.Second), JWKS: jwks}
	h.x.sendDocument(t, h.identity, tokens.TypKeys, tokens.JTIKeys, gateway.ItemKeys, 2, k.IssuedAt.AddDate(1, 0, 0).Unix(),
		func() (string, error) { return tokens.SignKeys(old, h.identity.ID, k) })
	h.known(t, h.x.id, "g", 2)
}
