package gateway

import (
	"encoding/json"
	"math/rand/v2"
	"strings"
	"testing"
)

func TestItemID(t *testing.T) {
	// printf 'colis-x.example/g1' | sha256sum | head -c 32 | xxd -r -p | basenc --base64url
	if got := ItemID("colis-x.example", "g1"); got != "uuTsD_6tbI_GkAexmi8zLQ" {
		t.Errorf("ItemID = %s", got)
	}
	for s, want := range map[string]bool{ItemID("a", "b"): true, "": false, "AAAAAAAAAAAAAAAAAAAAAB": false, "AAAAAAAAAAAAAAAAAAAAAA": true, "AAAAAAAAAAAAAAAAAAAAAA==": false} {
		if ValidItemID(s) != want {
			t.Errorf("ValidItemID(%q) = %v", s, !want)
		}
	}
}

func TestMidnight(t *testing.T) {
	for in, want := range map[int64]int64{0: 0, 1: 86400, 86399: 86400, 86400: 86400, 86401: 172800} {
		if got := Midnight(in); got != want {
			t.Errorf("Midnight(%d) = %d, want %d", in, got, want)
		}
	}
}

// The digest is that of a set: order and detours do not matter, commands do not count.
func TestDigest(t *testing.T) {
	if b, _ := json.Marshal(Digest{}); string(b) != `"`+strings.Repeat("A", 43)+`"` {
		t.Errorf("the empty set is %s", b)
	}
	var items []Item
	for i := range 50 {
		items = append(items, Item{ID: ItemID("a", string(rune('a'+i))), Kind: ItemGrant, Ver: int64(i + 1), Body: strings.Repeat("x", i)})
	}
	want := DigestOf(items)
	for range 20 {
		rand.Shuffle(len(items), func(i, j int) { items[i], items[j] = items[j], items[i] })
		var d Digest
		detour := Item{ID: ItemID("a", "detour"), Ver: rand.Int64(), Body: "y"}
		d.Toggle(detour.Sum())
		for _, i := range items {
			d.Toggle(i.Sum())
		}
		d.Toggle(detour.Sum())
		if d != want || DigestOf(append([]Item{{Kind: ItemCommand, ID: "c"}}, items...)) != want {
			t.Fatal("the digest depends on more than the set")
		}
	}
	items[3].Ver++
	if DigestOf(items) == want {
		t.Error("another version has the same digest")
	}
	var back Digest
	if b, err := json.Marshal(want); err != nil || json.Unmarshal(b, &back) != nil || back != want {
		t.Error("the digest does not come back from JSON")
	}
}

func TestManifestDigest(t *testing.T) {
	a := ManifestDigest([]ManifestLine{{"b", 2}, {"a", 10}})
	if a != ManifestDigest([]ManifestLine{{"a", 10}, {"b", 2}}) || a == ManifestDigest([]ManifestLine{{"a", 1}, {"b", 2}}) {
		t.Error("the lines are not sorted, or the version does not count")
	}
	// printf 'a 10\nb 2\n' | sha256sum | xxd -r -p | basenc --base64url
	if b, _ := a.MarshalText(); string(b) != "253rje3gR7O9p-4mLnHZptJppp1BWEf17GRDZUjpPBo" {
		t.Errorf("digest %s, want %s", b, "253rje3gR7O9p-4mLnHZptJppp1BWEf17GRDZUjpPBo")
	}
}
