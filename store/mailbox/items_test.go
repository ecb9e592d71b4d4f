package mailbox

import (
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"gardien/gateway"
)

func testItems(t *testing.T, b *Box) {
	enrol(t, b, gwA, issX, issY)
	if seq := put(t, b, item("a", 2)); seq != 1 {
		t.Errorf("seq %d", seq)
	}
	if seq, isNew, err := b.Put(bg, gwA, issX, item("a", 2), now); seq != 1 || isNew || err != nil {
		t.Errorf("again: %d, %v, %v", seq, isNew, err)
	}
	var conflict *gateway.VersionConflict
	for _, i := range []gateway.Item{item("a", 1), {ID: item("a", 2).ID, Kind: "grant", Ver: 2, Body: "other"}} {
		if _, _, err := b.Put(bg, gwA, issX, i, now); !errors.As(err, &conflict) || conflict.Ver != 2 {
			t.Errorf("version %d: %v", i.Ver, err)
		}
	}
	if _, _, err := b.Put(bg, gwA, issY, item("a", 3), now); !errors.Is(err, gateway.ErrNotOwner) {
		t.Errorf("another issuer's: %v", err)
	}
	for _, c := range []struct {
		gw  gateway.GatewayID
		iss gateway.IssuerID
	}{{gwB, issX}, {gwA, "z.example"}} {
		if _, _, err := b.Put(bg, c.gw, c.iss, item("z", 1), now); !errors.Is(err, gateway.ErrNoSuchGateway) {
			t.Errorf("%v: %v", c, err)
		}
	}
	if seq := put(t, b, item("a", 3)); seq != 2 {
		t.Errorf("seq %d", seq)
	}
}

// A5: an issuer that stands in another's place is moved away; nobody can move the owner.
func testSquatter(t *testing.T, b *Box) {
	enrol(t, b, gwA, issX, issY)
	place := gateway.Item{ID: gateway.ItemID(issX, "manifest"), Kind: gateway.ItemGrant, Ver: 1 << 50, Exp: now.Unix() + 86400, Body: "mine"}
	if _, _, err := b.Put(bg, gwA, issY, place, now); err != nil {
		t.Fatal(err)
	}
	manifest := gateway.Item{ID: place.ID, Kind: gateway.ItemManifest, Ver: 1, Exp: place.Exp, Body: "manifest"}
	put(t, b, manifest)
	if _, _, err := b.Put(bg, gwA, issY, place, now); !errors.Is(err, gateway.ErrNotOwner) {
		t.Errorf("the squatter comes back: %v", err)
	}
	s, err := b.Snapshot(bg, gwA)
	if err != nil || len(s.Items) != 1 || s.Items[0] != manifest || s.Digest != gateway.DigestOf(s.Items) {
		t.Errorf("%+v, %v", s, err)
	}
	if err := b.Compact(bg, gwA, now); err != nil {
		t.Error(err)
	}
}

// One issuer's plenty leaves room for another, and for its own revocations.
func testShare(t *testing.T, b *Box) {
	enrol(t, b, gwA, issX, issY)
	large := func(n int, ver int64) gateway.Item {
		i := item(fmt.Sprint("large", n), ver)
		i.Body = strings.Repeat("x", gateway.MaxItemBody-1) + fmt.Sprint(ver)
		return i
	}
	var err error
	n := 0
	for ; n < 4000 && err == nil; n++ {
		_, _, err = b.Put(bg, gwA, issX, large(n, 1), now)
	}
	if !errors.Is(err, gateway.ErrMailboxFull) || n < 1000 {
		t.Fatalf("after %d: %v", n, err)
	}
	if _, _, err := b.Put(bg, gwA, issX, large(0, 2), now); err != nil {
		t.Errorf("a new version in a full mailbox: %v", err)
	}
	small := item("small", 1)
	if _, _, err := b.Put(bg, gwA, issY, small, now); err != nil {
		t.Errorf("another issuer's: %v", err)
	}
	s, err := b.Snapshot(bg, gwA)
	if err != nil {
		t.Fatal(err)
	}
	text, err := json.Marshal(s)
	if err != nil || len(text) > maxBytes {
		t.Errorf("a snapshot of %d bytes, %v", len(text), err)
	}
	if err := b.Compact(bg, gwA, now.Add(1000*time.Hour)); err != nil {
		t.Fatal(err)
	}
	if _, _, err := b.Put(bg, gwA, issX, large(n, 1), now); err != nil {
		t.Errorf("after compaction: %v", err)
	}
}
