package store_test

import (
	"bytes"
	"fmt"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"gardien/gateway"
	"gardien/store"
)

func marks(t *testing.T, s *store.Store) map[string]string {
	t.Helper()
	list, err := store.Look(t.Context(), s, func(tx *store.Tx) map[string]string { return tx.House.SeenFindings() })
	if err != nil {
		t.Fatal(err)
	}
	return list
}

// Who has seen a finding outlives a restart; the marks are bounded, and go one by one.
func TestSeenFindings(t *testing.T) {
	dir, c := t.TempDir(), newClock()
	s := reopenWith(t, dir, nil, c)
	update(t, s, func(tx *store.Tx) error {
		tx.House.SeeFinding("clock.undecided", "ada")
		tx.House.SeeFinding("lock.jammed.front", store.Console)
		tx.House.SeeFinding("clock.undecided", "ben")
		return tx.Err()
	})
	s = reopenWith(t, dir, s, c)
	if d := cmp.Diff(map[string]string{"clock.undecided": "ben", "lock.jammed.front": store.Console}, marks(t, s)); d != "" {
		t.Error(d)
	}
	update(t, s, func(tx *store.Tx) error {
		tx.House.UnseeFindings(func(key, _ string) bool { return key == "clock.undecided" })
		for i := range 2 * store.MostMarks {
			if marked := tx.House.SeeFinding(fmt.Sprint("task.down.", i), "ada"); marked != (i < store.MostMarks-1) {
				t.Errorf("mark %d: %v", i, marked)
			}
		}
		if !tx.House.SeeFinding("lock.jammed.front", "ada") {
			t.Error("a mark that is there already has no place")
		}
		return tx.Err()
	})
	if got := marks(t, s); len(got) != store.MostMarks || got["lock.jammed.front"] != "ada" || got["clock.undecided"] != "" {
		t.Errorf("%d marks, %q", len(got), got["lock.jammed.front"])
	}
}

// TestL7_SeenIsForgotten: what a resident has seen, and when it was seen, goes with it, from the raw file, too.
// Of a device that is not here nothing is kept.
func TestL7_SeenIsForgotten(t *testing.T) {
	dir := t.TempDir()
	s := reopenWith(t, dir, nil, newClock())
	const ada, ben = "AdaAdaAdaAdaAdaAdaAda1", "BenBenBenBenBenBenBen2"
	at := time.Date(2026, 11, 23, 9, 0, 0, 0, time.UTC)
	update(t, s, func(tx *store.Tx) error {
		for _, id := range []gateway.ResidentID{ada, ben} {
			tx.Residents.Put(gateway.Resident{ID: id, Name: "x", PairedAt: start}, []byte("token"))
		}
		tx.Residents.PutSeenAt(map[gateway.ResidentID]time.Time{ada: at, ben: at, "nobody": at})
		tx.Residents.PutSeenAt(map[gateway.ResidentID]time.Time{ben: at.Add(time.Hour)})
		tx.House.SeeFinding("pause", ada)
		tx.House.SeeFinding(gateway.ResidentUnsure.Of(ada), ben)
		tx.House.SeeFinding("clock.undecided", ben)
		return tx.Err()
	})
	seenAt := func() map[gateway.ResidentID]time.Time {
		list, err := store.Look(t.Context(), s, func(tx *store.Tx) map[gateway.ResidentID]time.Time { return tx.Residents.SeenAt() })
		if err != nil {
			t.Fatal(err)
		}
		return list
	}
	if d := cmp.Diff(map[gateway.ResidentID]time.Time{ada: at, ben: at.Add(time.Hour)}, seenAt()); d != "" {
		t.Error(d)
	}
	if _, err := s.Forget(t.Context(), ada); err != nil {
		t.Fatal(err)
	}
	if d := cmp.Diff(map[gateway.ResidentID]time.Time{ben: at.Add(time.Hour)}, seenAt()); d != "" {
		t.Error(d)
	}
	if d := cmp.Diff(map[string]string{"clock.undecided": ben}, marks(t, s)); d != "" {
		t.Error(d)
	}
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	for _, name := range []string{store.FileName, store.FileName + "-wal"} {
		if raw, _ := os.ReadFile(filepath.Join(dir, name)); bytes.Contains(raw, []byte(ada)) {
			t.Errorf("%s has a resident who was forgotten", name)
		}
	}
}

// A page of grants has its live codes by one question.
func TestCodesOfAPage(t *testing.T) {
	s := reopenWith(t, t.TempDir(), nil, newClock())
	for _, id := range []string{"a", "b", "c", "d"} {
		g := oneTime("home", id, "")
		put(t, s, g)
		update(t, s, func(tx *store.Tx) error {
			tx.Codes.Put(gateway.PINRecord{Grant: g.ID, Door: "front", Length: 6}, []byte(id+" pin"))
			tx.Codes.Put(gateway.PINRecord{Grant: g.ID, Door: "side"}, []byte(id+" card"))
			return tx.Err()
		})
	}
	list, err := store.Look(t.Context(), s, func(tx *store.Tx) []gateway.PINRecord {
		return tx.Codes.Between(gateway.GrantID{Issuer: "home", JTI: "b"}, gateway.GrantID{Issuer: "home", JTI: "c"})
	})
	if err != nil {
		t.Fatal(err)
	}
	got := map[string]int{}
	for _, p := range list {
		got[fmt.Sprintf("%s %s %d", p.Grant, p.Door, p.Length)]++
	}
	if d := cmp.Diff(map[string]int{"home/b front 6": 1, "home/b side 0": 1, "home/c front 6": 1, "home/c side 0": 1}, got); d != "" {
		t.Error(d)
	}
}
