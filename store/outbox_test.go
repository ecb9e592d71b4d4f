package store_test

import (
	"bytes"
	"context"
	"fmt"
	"math/rand/v2"
	"testing"
	"time"

	"gardien/gateway"
	"gardien/store"
)

func mailItem(jti string, ver int64) gateway.Item {
	return gateway.Item{ID: gateway.ItemID("carrier.example", jti), Kind: gateway.ItemGrant, Ver: ver, Body: fmt.Sprint(jti, ver)}
}

// The digest of what has come is that of the items, whatever the order and the versions.
func TestMailDigest(t *testing.T) {
	s := reopen(t, t.TempDir(), nil)
	ctx := context.Background()
	want := map[string]gateway.Item{}
	for n := range 200 {
		i := mailItem(fmt.Sprint(rand.IntN(20)), rand.Int64N(1000))
		command := rand.IntN(5) == 0
		if command {
			i.Kind = gateway.ItemCommand
		} else {
			want[i.ID] = i
		}
		update(t, s, func(tx *store.Tx) error {
			tx.Feed.Note(gateway.FeedItem{Seq: int64(n + 1), Item: i}, n%3 != 0)
			return tx.Err()
		})
	}
	var all []gateway.Item
	for _, i := range want {
		all = append(all, i)
	}
	p, d, err := place(s)
	if err != nil || p.Seq != 200 || d != gateway.DigestOf(all) {
		t.Errorf("at %+v, digest equal %v, %v", p, d == gateway.DigestOf(all), err)
	}
	taken, err := store.Look(ctx, s, func(tx *store.Tx) map[string]gateway.Digest { return tx.Feed.Taken() })
	if err != nil || len(taken) == 0 || len(taken) == len(all) {
		t.Errorf("%d of %d are taken, %v", len(taken), len(all), err)
	}
	for id, sum := range taken {
		if i := want[id]; sum != i.Sum() {
			t.Errorf("%s has another digest", id)
		}
	}
	if err := s.Update(ctx, func(tx *store.Tx) error { tx.Feed.Resync(); return tx.Err() }); err != nil {
		t.Fatal(err)
	}
	if p, _, _ := place(s); p != (gateway.Position{}) {
		t.Errorf("after resync: %+v", p)
	}
	update(t, s, func(tx *store.Tx) error { tx.Feed.Reset(gateway.Position{Epoch: "e", Seq: 7}); return tx.Err() })
	if p, d, _ := place(s); p.Seq != 7 || p.Epoch != "e" || d != (gateway.Digest{}) {
		t.Errorf("after a reset: %+v %v", p, d)
	}
}

// reporting opens a store whose carrier's events go up.
func reporting(t *testing.T, dir string, c *clock) *store.Store {
	t.Helper()
	s := reopenWith(t, dir, nil, c)
	s.SetReporting(func(iss gateway.IssuerID) bool { return iss == "carrier.example" })
	return s
}

func note(t *testing.T, s *store.Store, iss gateway.IssuerID, n int) {
	t.Helper()
	for range n {
		update(t, s, func(tx *store.Tx) error {
			return tx.Record.Append(gateway.Event{Type: gateway.GrantRejected, Issuer: iss, Grant: "g"})
		})
	}
}

func unsent(t *testing.T, s *store.Store) (log string, last int64, seqs []int64) {
	t.Helper()
	log, last, list, err := s.Unsent(context.Background(), 100)
	if err != nil {
		t.Fatal(err)
	}
	for _, o := range list {
		seqs = append(seqs, o.Seq)
		if o.Event.Issuer != "carrier.example" {
			t.Errorf("an event of %q goes up", o.Event.Issuer)
		}
	}
	return log, last, seqs
}

func wantUnsent(t *testing.T, when string, s *store.Store, last int64, from, to int64) string {
	t.Helper()
	log, gotLast, seqs := unsent(t, s)
	ok := gotLast == last && int64(len(seqs)) == max(0, to-from+1)
	for i, n := range seqs {
		ok = ok && n == from+int64(i)
	}
	if !ok {
		t.Errorf("%s: last %d, then %v; want %d, then %d to %d", when, gotLast, seqs, last, from, to)
	}
	return log
}

// L4: what goes up is dense, whatever else is in the record, over restarts, a cloud that
// asks again, a retention that overtakes it, and a backup.
func TestOutbox(t *testing.T) {
	ctx := context.Background()
	dir, c := t.TempDir(), newClock()
	s := reporting(t, dir, c)
	for _, iss := range []gateway.IssuerID{"carrier.example", gateway.HomeIssuer, "", "other.example", "carrier.example"} {
		note(t, s, iss, 3)
	}
	log := wantUnsent(t, "at first", s, 0, 1, 6)
	mark := func(log string, seq int64) {
		t.Helper()
		if err := s.MarkSent(ctx, log, seq); err != nil {
			t.Fatal(err)
		}
	}
	mark(log, 0) // the cloud's word first
	mark(log, 4)
	wantUnsent(t, "after four", s, 4, 5, 6)
	mark("another log", 6)
	wantUnsent(t, "another log's", s, 4, 5, 6)
	s.Close()
	s = reporting(t, dir, c)
	note(t, s, "carrier.example", 1)
	wantUnsent(t, "after a restart", s, 4, 5, 7)
	mark(log, 6)
	wantUnsent(t, "the cloud has what was found here", s, 6, 7, 7)
	mark(log, 2)
	wantUnsent(t, "the cloud has lost some", s, 2, 3, 7)
	mark(log, 99)
	wantUnsent(t, "more than there is", s, 7, 8, 7)

	// A backup, then two more that went up, and one that did not.
	saved := backup(t, s)
	note(t, s, "carrier.example", 2)
	mark(log, 9)
	note(t, s, "carrier.example", 1)
	if err := s.Restore(ctx, bytes.NewReader(saved)); err != nil {
		t.Fatal(err)
	}
	next := wantUnsent(t, "restored", s, 0, 1, 0)
	if next == log {
		t.Error("a restored record goes on in the old log")
	}
	note(t, s, "carrier.example", 2)
	wantUnsent(t, "after a restore", s, 0, 1, 2)
	mark(next, 1)

	// Three months without internet: what is past its retention can never go up. The rest does,
	// in a log of its own, from 1.
	c.set(c.Read().Wall.Add(100 * 24 * time.Hour))
	note(t, s, "carrier.example", 3)
	if n, err := s.Retain(ctx, c.Read().Earliest.Add(-90*24*time.Hour)); err != nil || n == 0 {
		t.Fatalf("%d, %v", n, err)
	}
	third := wantUnsent(t, "past its retention", s, 0, 1, 3)
	if third == next {
		t.Error("numbers are missing in the old log, and it goes on")
	}
	s.Close()
	s = reporting(t, dir, c)
	wantUnsent(t, "and after a restart", s, 0, 1, 3)
}

// L4 over a power cut: events that had gone up already are gone here, and others would have
// taken their numbers. These go up all the same, in a log of their own.
func TestOutboxAfterPowerCut(t *testing.T) {
	dir, c := t.TempDir(), newClock()
	s := reporting(t, dir, c)
	note(t, s, "carrier.example", 5)
	log, _, _ := unsent(t, s)
	s.Close()
	s = reporting(t, dir, c) // with the five that were durable; the cloud has seven
	note(t, s, "carrier.example", 3)
	if err := s.MarkSent(t.Context(), log, 7); err != nil {
		t.Fatal(err)
	}
	if next := wantUnsent(t, "the cloud has more", s, 0, 1, 3); next == log {
		t.Error("two events have one number")
	}
}

// A cloud that begins again empty asks for what is forgotten here: what is left goes up.
func TestOutboxForANewCloud(t *testing.T) {
	ctx := t.Context()
	c := newClock()
	s := reporting(t, t.TempDir(), c)
	mark := func(log string, seq int64) {
		t.Helper()
		if err := s.MarkSent(ctx, log, seq); err != nil {
			t.Fatal(err)
		}
	}
	log, _, _ := unsent(t, s)
	mark(log, 0)
	note(t, s, "carrier.example", 4)
	mark(log, 4)
	c.set(c.Read().Wall.Add(100 * 24 * time.Hour))
	note(t, s, "carrier.example", 2)
	if n, err := s.Retain(ctx, c.Read().Earliest.Add(-90*24*time.Hour)); err != nil || n == 0 {
		t.Fatalf("%d, %v", n, err)
	}
	wantUnsent(t, "two are left", s, 4, 5, 6)
	mark(log, 0)
	next := wantUnsent(t, "the cloud is new", s, 0, 1, 2)
	if next == log {
		t.Error("numbers are missing, and the log goes on")
	}
	mark(next, 0)
	mark(next, 2)
	wantUnsent(t, "all are up", s, 2, 3, 2)
}

// A9, F10 over a restored backup: keys, manifests and commands are not undone.
func TestRestoreOfMail(t *testing.T) {
	ctx := context.Background()
	s := reporting(t, t.TempDir(), newClock())
	saved := backup(t, s)
	const iss gateway.IssuerID = "carrier.example"
	cmd := gateway.Command{Issuer: iss, JTI: "c", IssuedAt: start, NotAfter: start.Add(time.Second)}
	update(t, s, func(tx *store.Tx) error {
		tx.Issuers.KeyFile(iss, []byte("file"))
		if !tx.Issuers.PutKeys(gateway.KeyRing{Issuer: iss, Version: 5, JWKS: []byte("five")}) || tx.Issuers.PutKeys(gateway.KeyRing{Issuer: iss, Version: 4, JWKS: []byte("four")}) {
			t.Error("versions of key sets do not rise")
		}
		tx.Issuers.PutManifest(gateway.ManifestState{Manifest: gateway.Manifest{Issuer: iss, Version: 3, IssuedAt: start, NextUpdate: start.Add(time.Hour)}, Matched: true})
		if !tx.Issuers.NoteCommand(cmd) || tx.Issuers.NoteCommand(cmd) {
			t.Error("a command is not once")
		}
		tx.Feed.Note(gateway.FeedItem{Seq: 4, Item: mailItem("a", 1)}, true)
		return tx.Err()
	})
	if err := s.Restore(ctx, bytes.NewReader(saved)); err != nil {
		t.Fatal(err)
	}
	if jwks, err := rotatedKeys(s, iss); err != nil || string(jwks) != "five" {
		t.Errorf("keys %q, %v", jwks, err)
	}
	if p, d, err := place(s); err != nil || p != (gateway.Position{}) || d != (gateway.Digest{}) {
		t.Errorf("the feed goes on from %+v, %v", p, err)
	}
	update(t, s, func(tx *store.Tx) error {
		if tx.Issuers.NoteCommand(cmd) {
			t.Error("a command is new again")
		}
		if m, found := tx.Issuers.Manifest(iss); !found || m.Version != 3 || !m.Matched {
			t.Errorf("manifest %+v", m)
		}
		tx.Issuers.KeyFile(iss, []byte("file"))
		return tx.Err()
	})
	if jwks, _ := rotatedKeys(s, iss); string(jwks) != "five" {
		t.Error("the same file ends the rotation")
	}
	update(t, s, func(tx *store.Tx) error { tx.Issuers.KeyFile(iss, []byte("another file")); return tx.Err() })
	if jwks, _ := rotatedKeys(s, iss); jwks != nil {
		t.Error("another file does not end the rotation")
	}
}
