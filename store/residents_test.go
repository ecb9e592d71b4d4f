package store_test

import (
	"bytes"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"gardien/gateway"
	"gardien/store"
)

// household pairs two residents, each with an own PIN and a duress PIN, beside a cleaner's.
func household(t *testing.T, s *store.Store) {
	t.Helper()
	g := oneTime("home", "all", "")
	put(t, s, g)
	update(t, s, func(tx *store.Tx) error {
		for _, id := range []gateway.ResidentID{"ada", "ben"} {
			tx.Residents.Put(gateway.Resident{ID: id, Name: string(id), PairedAt: start}, []byte("token"))
			tx.Codes.Put(gateway.PINRecord{Grant: g.ID, Door: "front", Length: 6, Owner: id}, []byte(id+" own"))
			tx.Codes.Put(gateway.PINRecord{Grant: g.ID, Door: "front", Length: 6, Duress: id}, []byte(id+" duress"))
		}
		tx.Codes.Put(gateway.PINRecord{Grant: g.ID, Door: "front", Length: 6}, []byte("cleaner"))
		return tx.Err()
	})
}

// livePINs lists those of the household, and whose they are.
func livePINs(t *testing.T, s *store.Store) map[string]string {
	t.Helper()
	live, err := store.Look(t.Context(), s, func(tx *store.Tx) map[string]string {
		live := map[string]string{}
		for _, mac := range []string{"ada own", "ada duress", "ben own", "ben duress", "cleaner"} {
			if p, found := tx.Codes.Find("front", []byte(mac)); found {
				live[mac] = string(p.Owner + "/" + p.Duress)
			}
		}
		return live
	})
	if err != nil {
		t.Fatal(err)
	}
	return live
}

// P2: a resident's own PINs go with the resident, as the duress PINs do: removed, forgotten, and
// removed after a backup that comes back.
func TestP2_OwnPINsGoWithTheResident(t *testing.T) {
	remove := func(s *store.Store) {
		update(t, s, func(tx *store.Tx) error {
			if !tx.Residents.Remove("ada") {
				t.Error("no such resident")
			}
			return tx.Record.Append(gateway.Event{Type: gateway.ResidentRemoved, Resident: "ada"})
		})
	}
	for name, gone := range map[string]func(*store.Store){
		"removed": remove,
		"forgotten": func(s *store.Store) {
			if n, err := s.Forget(t.Context(), "ada"); n != 1 || err != nil {
				t.Errorf("%d rows, %v", n, err)
			}
		},
		"removed after the backup": func(s *store.Store) {
			saved := backup(t, s)
			remove(s)
			if err := s.Restore(t.Context(), bytes.NewReader(saved)); err != nil {
				t.Fatal(err)
			}
		},
	} {
		s := openBox(t, t.TempDir(), newClock())
		household(t, s)
		if n := len(livePINs(t, s)); n != 5 {
			t.Errorf("%s: %d PINs at first", name, n)
		}
		gone(s)
		if diff := cmp.Diff(map[string]string{"ben own": "ben/", "ben duress": "/ben", "cleaner": "/"}, livePINs(t, s)); diff != "" {
			t.Errorf("%s (-want +got):\n%s", name, diff)
		}
	}
}

// P6: an answer bears its instant, and those from before another can be dropped.
func TestAnswersEnd(t *testing.T) {
	s := reopen(t, t.TempDir(), nil)
	update(t, s, func(tx *store.Tx) error {
		tx.Residents.PutAnswer([]byte("old"), []byte("body"), []byte("answer"), start)
		return tx.Residents.PutAnswer([]byte("new"), []byte("body"), []byte("answer"), start.Add(time.Second))
	})
	has := func(before time.Time) bool {
		t.Helper()
		has, err := store.Look(t.Context(), s, func(tx *store.Tx) bool { return tx.Residents.HasAnswers(before) })
		if err != nil {
			t.Fatal(err)
		}
		return has
	}
	if has(start) || !has(start.Add(time.Second)) {
		t.Error("HasAnswers does not go by their instants")
	}
	update(t, s, func(tx *store.Tx) error { return tx.Residents.DropAnswers(start.Add(time.Second)) })
	for key, want := range map[string]time.Time{"old": {}, "new": start.Add(time.Second)} {
		at, err := store.Look(t.Context(), s, func(tx *store.Tx) time.Time { _, _, at := tx.Residents.Answer([]byte(key)); return at })
		if err != nil || !at.Equal(want) {
			t.Errorf("%s: %v, %v, want %v", key, at, err, want)
		}
	}
}
