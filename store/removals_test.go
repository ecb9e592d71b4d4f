package store_test

import (
	"bytes"
	"context"
	"crypto/hmac"
	"crypto/sha256"
	"errors"
	"fmt"
	"gardien/gateway"
	"gardien/store"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

func testMAC(purpose string, parts ...string) []byte {
	m := hmac.New(sha256.New, []byte("device key"))
	fmt.Fprintf(m, "%q %q", purpose, parts)
	return m.Sum(nil)
}

// openBox opens a store as the daemon does, with its list of what was removed.
func openBox(t *testing.T, dir string, c store.Clock) *store.Store {
	t.Helper()
	_, fresh := os.Stat(filepath.Join(dir, store.FileName))
	s, err := store.Open(store.Opts{Dir: dir, Zone: paris, Log: quiet, Known: fresh == nil})
	if err == nil {
		t.Cleanup(func() { s.Close() })
		err = errors.Join(s.SetClock(c), s.KeepRemovals(testMAC))
	}
	if err == nil {
		s.Salvage()
		err = s.Belong(gatewayID)
	}
	if err != nil {
		t.Fatal(err)
	}
	return s
}

func residentsOf(t *testing.T, s *store.Store) string {
	t.Helper()
	list, err := store.Look(context.Background(), s, func(tx *store.Tx) []gateway.Resident { return tx.Residents.List() })
	if err != nil {
		t.Fatal(err)
	}
	var names []string
	for _, r := range list {
		if r.Unconfirmed {
			r.Name += "?"
		}
		names = append(names, r.Name)
	}
	return strings.Join(names, " ")
}

// TestR3_RemovedStaysRemoved: whoever was removed, and whatever was revoked at home or blocked,
// does not come back with an older database.
func TestR3_RemovedStaysRemoved(t *testing.T) {
	t.Parallel()
	ctx := context.Background()
	dir, c := t.TempDir(), newClock()
	s := openBox(t, dir, c)
	home := oneTime(gateway.HomeIssuer, "cleaner", "")
	home.Uses = 0
	blocked := oneTime(parcel.Issuer, "blocked", "")
	blocked.Uses = 0
	put(t, s, home, blocked)
	for _, name := range []string{"Ada", "Bob"} {
		update(t, s, func(tx *store.Tx) error {
			tx.Codes.Put(gateway.PINRecord{Grant: home.ID, Door: "front", Length: 6, Duress: gateway.ResidentID(name)}, []byte(name))
			return tx.Residents.Put(gateway.Resident{ID: gateway.ResidentID(name), Name: name, PairedAt: start}, []byte(name))
		})
	}
	fill(t, s, 5)
	saved := backup(t, s)
	old := killed(t, s, dir)

	update(t, s, func(tx *store.Tx) error {
		tx.Residents.Remove("Bob")
		tx.Grants.Block(blocked.ID)
		revoked := home
		revoked.Version, revoked.Status = 2, gateway.GrantRevoked
		tx.Grants.Put(revoked, []byte("digest"))
		return tx.Record.Append(gateway.Event{Type: gateway.ResidentRemoved, Resident: "Bob"})
	})
	if _, err := s.Forget(ctx, "Bob"); err != nil { // and the record has no trace of him
		t.Fatal(err)
	}
	c.set(start.Add(400 * 24 * time.Hour))
	fill(t, s, 2)
	if _, err := s.Retain(ctx, start.Add(399*24*time.Hour)); err != nil { // nor of the rest
		t.Fatal(err)
	}
	gone := func(t *testing.T, s *store.Store, want string) {
		t.Helper()
		if got := residentsOf(t, s); got != want {
			t.Errorf("residents %q, want %q", got, want)
		}
		for _, id := range []gateway.GrantID{home.ID, blocked.ID} {
			if g, found, err := getGrant(s, id); err != nil || !found || g.Status == gateway.GrantActive && !g.Block {
				t.Errorf("%s is alive: %v %v", id, found, err)
			}
		}
		err := s.View(ctx, func(tx *store.Tx) error {
			if _, found := tx.Codes.Find("front", []byte("Bob")); found {
				t.Error("Bob's duress PIN is alive")
			}
			return nil
		})
		if err != nil {
			t.Fatal(err)
		}
	}
	list := func(to string) {
		b, err := os.ReadFile(filepath.Join(dir, store.RemovedName))
		if err == nil {
			err = os.WriteFile(filepath.Join(to, store.RemovedName), b, 0o600)
		}
		if err != nil {
			t.Fatal(err)
		}
		if bytes.Contains(b, []byte("Bob")) || bytes.Contains(b, []byte("cleaner")) {
			t.Error("the list has names")
		}
	}
	t.Run("a restore", func(t *testing.T) {
		to := killed(t, s, dir)
		r := openBox(t, to, c)
		if err := r.Restore(ctx, bytes.NewReader(saved)); err != nil {
			t.Fatal(err)
		}
		gone(t, r, "Ada")
		r.Close()
		gone(t, openBox(t, to, c), "Ada")
	})
	t.Run("an older database", func(t *testing.T) {
		to := copyOf(t, old)
		list(to)
		gone(t, openBox(t, to, c), "Ada")
	})
	t.Run("a database that is set aside", func(t *testing.T) {
		spoilt := copyOf(t, old)
		list(spoilt)
		if err := store.Edit(spoilt, "PRAGMA user_version = 99"); err != nil {
			t.Fatal(err)
		}
		r := openBox(t, spoilt, c)
		if r.SetAside() == "" {
			t.Fatal("not set aside")
		}
		if got := residentsOf(t, r); got != "Ada" {
			t.Errorf("residents %q", got)
		}
		put(t, r, home, blocked) // whoever has their texts presents them again
		gone(t, r, "Ada")
	})
	t.Run("on a box without the list", func(t *testing.T) {
		r := openBox(t, t.TempDir(), c)
		if err := r.Restore(ctx, bytes.NewReader(saved)); err != nil {
			t.Fatal(err)
		}
		if got := residentsOf(t, r); got != "Ada? Bob?" {
			t.Errorf("residents %q", got)
		}
		if i := about(t, r); i.Quarantine != store.Restored {
			t.Errorf("%+v", i)
		}
		update(t, r, func(tx *store.Tx) error { tx.Residents.Confirm("Ada"); return tx.Err() })
		if got := residentsOf(t, r); got != "Ada Bob?" {
			t.Errorf("residents %q", got)
		}
	})
	t.Run("a line that was cut off", func(t *testing.T) {
		to := killed(t, s, dir)
		f, err := os.OpenFile(filepath.Join(to, store.RemovedName), os.O_APPEND|os.O_WRONLY, 0)
		if err != nil {
			t.Fatal(err)
		}
		f.WriteString("\nabcdef")
		f.Close()
		r := openBox(t, to, c)
		update(t, r, func(tx *store.Tx) error { tx.Residents.Remove("Ada"); return tx.Err() })
		r.Close()
		r = openBox(t, to, c)
		if err := r.Restore(ctx, bytes.NewReader(saved)); err != nil {
			t.Fatal(err)
		}
		gone(t, r, "")
	})
}
