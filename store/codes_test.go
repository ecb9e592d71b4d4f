package store_test

import (
	"bytes"
	"context"
	"fmt"
	"slices"
	"testing"

	"github.com/google/go-cmp/cmp"

	"gardien/gateway"
	"gardien/store"
)

// guess tries a PIN, or a card, of which an issuer has two a day.
func guess(t *testing.T, s *store.Store, iss gateway.IssuerID, day string, card bool, what string) (got string) {
	t.Helper()
	update(t, s, func(tx *store.Tx) error {
		within, isNew := tx.Codes.Guess(gateway.Guess{Issuer: iss, Day: day, Card: card, MAC: []byte(what + ", hashed"), Most: 2})
		got = fmt.Sprint(within, isNew)
		return tx.Err()
	})
	return got
}

// TestI2_GuessesAreCounted: different tries count, each once, by issuer, kind and day. The count
// outlives restarts and a restored backup.
func TestI2_GuessesAreCounted(t *testing.T) {
	dir, c := t.TempDir(), newClock()
	s := reopenWith(t, dir, nil, c)
	saved := backup(t, s)
	const first, again, over = "true true", "true false", "false false"
	try := func(iss gateway.IssuerID, day string, card bool, what, want string) {
		t.Helper()
		if got := guess(t, s, iss, day, card, what); got != want {
			t.Errorf("%s on %s, card %v, tries %q: within and new are %s, want %s", iss, day, card, what, got, want)
		}
	}
	try("a.example", "2026-11-23", false, "111111", first)
	try("a.example", "2026-11-23", false, "111111", again)
	try("a.example", "2026-11-23", false, "222222", first)
	try("a.example", "2026-11-23", false, "333333", over)
	try("a.example", "2026-11-23", false, "222222", again)
	try("a.example", "2026-11-23", true, "333333", first)
	try("b.example", "2026-11-23", false, "333333", first)
	s = reopenWith(t, dir, s, c)
	try("a.example", "2026-11-23", false, "333333", over)
	if err := s.Restore(context.Background(), bytes.NewReader(saved)); err != nil {
		t.Fatal(err)
	}
	try("a.example", "2026-11-23", false, "333333", over)
	try("a.example", "2026-11-24", false, "333333", first)
	try("a.example", "2026-11-24", true, "111111", first)
}

// TestP1_OddPINsAreWiped: PINs that fit no more go, cards and other PINs stay; who misses them is
// remembered over restarts, until there is a live code again.
func TestP1_OddPINsAreWiped(t *testing.T) {
	dir, c := t.TempDir(), newClock()
	s := reopenWith(t, dir, nil, c)
	var grants []gateway.Grant
	for _, jti := range []string{"short", "long", "both", "card"} {
		grants = append(grants, oneTime("x.example", jti, ""))
	}
	put(t, s, grants...)
	id := func(n int) gateway.GrantID { return grants[n].ID }
	update(t, s, func(tx *store.Tx) error {
		for i, p := range []gateway.PINRecord{
			{Grant: id(0), Door: "front", Length: 6}, {Grant: id(0), Door: "side", Length: 6}, {Grant: id(1), Door: "front", Length: 8},
			{Grant: id(2), Door: "front", Length: 6}, {Grant: id(2), Door: "side", Length: 8}, {Grant: id(3), Door: "front"},
		} {
			tx.Codes.Put(p, fmt.Append(nil, "mac-", i))
		}
		return tx.Err()
	})
	missed := func(want ...gateway.GrantID) {
		t.Helper()
		got, err := store.Look(context.Background(), s, func(tx *store.Tx) []gateway.GrantID { return tx.Codes.Missed() })
		if err != nil || !slices.Equal(got, want) {
			t.Errorf("missed are %v, %v, want %v", got, err, want)
		}
	}
	for _, want := range []int{3, 0} {
		update(t, s, func(tx *store.Tx) error {
			if n := tx.Codes.WipeOdd(func(p gateway.PINRecord) bool { return p.Length == 8 }); n != want {
				t.Errorf("%d PINs are wiped, want %d", n, want)
			}
			return tx.Err()
		})
		missed(id(0))
		s = reopenWith(t, dir, s, c)
	}
	update(t, s, func(tx *store.Tx) error {
		var left []string
		for n := range grants {
			_, front := tx.Codes.Of(id(n), "front")
			_, side := tx.Codes.Of(id(n), "side")
			left = append(left, fmt.Sprint(front, side, tx.Codes.HasCard(id(n), "front")))
		}
		if diff := cmp.Diff([]string{"false false false", "true false false", "false true false", "false false true"}, left); diff != "" {
			t.Error(diff)
		}
		tx.Codes.Put(gateway.PINRecord{Grant: id(0), Door: "side", Length: 8}, []byte("new"))
		return tx.Err()
	})
	missed()
}
