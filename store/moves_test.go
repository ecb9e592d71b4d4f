package store_test

import (
	"bytes"
	"context"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"gardien/gateway"
	"gardien/store"
)

// tokensOf tells whose tokens are good, in order: of "ada: token 2" the hash "token 2" is Ada's.
func tokensOf(t *testing.T, s *store.Store) string {
	t.Helper()
	list, err := store.Look(context.Background(), s, func(tx *store.Tx) (list []string) {
		for _, r := range tx.Residents.List() {
			_, token, _ := tx.Residents.Find(r.ID)
			text := string(r.ID) + ": " + string(token)
			if r.Unconfirmed {
				text += "?"
			}
			list = append(list, text)
		}
		return list
	})
	if err != nil {
		t.Fatal(err)
	}
	return strings.Join(list, ", ")
}

func wantTokens(t *testing.T, what string, s *store.Store, want string) {
	t.Helper()
	if got := tokensOf(t, s); got != want {
		t.Errorf("%s: %q, want %q", what, got, want)
	}
}

func rebind(t *testing.T, s *store.Store, id gateway.ResidentID, token string) {
	t.Helper()
	update(t, s, func(tx *store.Tx) error {
		if !tx.Residents.Rebind(id, []byte(token), "K of "+token) {
			t.Errorf("%s is not there", id)
		}
		return tx.Err()
	})
}

// moved is a box before and after Ada moved twice; Ben did not.
type moved struct {
	dir           string // of the box, which is closed
	before        []byte // a backup from before
	between       []byte
	after         []byte
	old, betweens string // the folder as it was then
}

func ofMoves(t *testing.T) moved {
	t.Helper()
	m := moved{dir: t.TempDir()}
	s := openBox(t, m.dir, newClock())
	g := oneTime(gateway.HomeIssuer, "own", "")
	g.Uses = 0
	put(t, s, g)
	for _, id := range []gateway.ResidentID{"ada", "ben"} {
		update(t, s, func(tx *store.Tx) error {
			tx.Codes.Put(gateway.PINRecord{Grant: g.ID, Door: "front", Length: 6, Owner: id}, []byte("PIN of "+id))
			return tx.Residents.Put(gateway.Resident{ID: id, Name: string(id), PairedAt: start, Role: gateway.RoleGuest, Key: "K"}, []byte("token 1"))
		})
	}
	fill(t, s, 3)
	m.before, m.old = backup(t, s), killed(t, s, m.dir)
	rebind(t, s, "ada", "token 2")
	fill(t, s, 3)
	m.between, m.betweens = backup(t, s), killed(t, s, m.dir)
	rebind(t, s, "ada", "token 3")
	fill(t, s, 3)
	m.after = backup(t, s)
	wantTokens(t, "moved twice", s, "ada: token 3, ben: token 1")
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	return m
}

// list puts the list of what was removed into an older folder.
func (m moved) list(t *testing.T, to string) {
	t.Helper()
	b, err := os.ReadFile(filepath.Join(m.dir, store.RemovedName))
	if err == nil {
		err = os.WriteFile(filepath.Join(to, store.RemovedName), b, 0o600)
	}
	if err != nil {
		t.Fatal(err)
	}
}

// R3: a token and a key from before a move come back with no backup, no older database and no
// salvage; the newest ones stay with each.
func TestR3_MovedStaysMoved(t *testing.T) {
	t.Parallel()
	m := ofMoves(t)
	restored := func(t *testing.T, dir string, saved []byte, want string) {
		t.Helper()
		s := openBox(t, dir, newClock())
		if err := s.Restore(t.Context(), bytes.NewReader(saved)); err != nil {
			t.Fatal(err)
		}
		wantTokens(t, "restored", s, want)
		s.Close()
		wantTokens(t, "and started", openBox(t, dir, newClock()), want)
	}
	const newest = "ada: token 3, ben: token 1"
	for name, saved := range map[string][]byte{"before": m.before, "between": m.between, "after": m.after} {
		t.Run("a backup from "+name, func(t *testing.T) { restored(t, copyOf(t, m.dir), saved, newest) })
	}
	t.Run("an older database", func(t *testing.T) {
		for name, old := range map[string]string{"before": m.old, "between": m.betweens} {
			to := copyOf(t, old)
			m.list(t, to)
			wantTokens(t, name, openBox(t, to, newClock()), "ben: token 1")
		}
	})
	t.Run("an older database, and then a backup", func(t *testing.T) {
		for name, tt := range map[string]struct {
			saved []byte
			want  string
		}{"before": {m.before, "ben: token 1"}, "between": {m.between, "ben: token 1"}, "after": {m.after, newest}} {
			to := copyOf(t, m.old)
			m.list(t, to)
			t.Log(name)
			restored(t, to, tt.saved, tt.want)
		}
	})
	t.Run("set aside", func(t *testing.T) {
		for name, tt := range map[string]struct {
			database, copied string // folders that they are from
			want             string
		}{
			"as it was":                     {m.dir, m.dir, newest},
			"an older database":             {m.old, m.dir, newest},
			"a database of between":         {m.betweens, m.dir, newest},
			"an older second copy":          {m.dir, m.old, newest},
			"both from before":              {m.old, m.old, "ben: token 1"},
			"one from before, one between":  {m.betweens, m.old, "ben: token 1"},
			"no second copy, and the older": {m.old, "", "ben: token 1"},
			"no second copy":                {m.dir, "", newest},
		} {
			to := copyOf(t, tt.database)
			os.Remove(filepath.Join(to, store.RosterName))
			if tt.copied != "" {
				b, err := os.ReadFile(filepath.Join(tt.copied, store.RosterName))
				if err == nil {
					err = os.WriteFile(filepath.Join(to, store.RosterName), b, 0o600)
				}
				if err != nil {
					t.Fatal(err)
				}
			}
			m.list(t, to)
			if err := store.Edit(to, "PRAGMA user_version = 99"); err != nil {
				t.Fatal(err)
			}
			s := openBox(t, to, newClock())
			if s.SetAside() == "" {
				t.Fatalf("%s: not set aside", name)
			}
			wantTokens(t, name, s, tt.want)
		}
	})
	t.Run("the second copy alone", func(t *testing.T) {
		for name, tt := range map[string]struct{ copied, want string }{"newest": {m.dir, newest}, "between": {m.betweens, "ben: token 1"}, "before": {m.old, "ben: token 1"}} {
			to := copyOf(t, tt.copied)
			m.list(t, to)
			edited(t, to, noDatabase, store.FileName)
			wantTokens(t, name, openBox(t, to, newClock()), tt.want)
		}
	})
	t.Run("a box without the list", func(t *testing.T) {
		s := openBox(t, t.TempDir(), newClock())
		if err := s.Restore(t.Context(), bytes.NewReader(m.before)); err != nil {
			t.Fatal(err)
		}
		wantTokens(t, "restored", s, "ada: token 1?, ben: token 1?") // the console's word is wanted
	})
}

// R3: a move ends nothing but the old token and key: PINs, role and name stay, and whoever is removed
// after a move is removed in every version.
func TestR3_MovedThenRemoved(t *testing.T) {
	t.Parallel()
	m := ofMoves(t)
	pins := func(s *store.Store) (text string) {
		for _, id := range []string{"ada", "ben"} {
			found, err := store.Look(t.Context(), s, func(tx *store.Tx) bool { _, found := tx.Codes.Find("front", []byte("PIN of "+id)); return found })
			if err != nil {
				t.Fatal(err)
			}
			if found {
				text += " " + id
			}
		}
		return text
	}
	s := openBox(t, m.dir, newClock())
	if got := devices(t, s)["ada"].Resident; got.Role != gateway.RoleGuest || got.Name != "ada" || got.Ver != 3 || got.Key != "K of token 3" || pins(s) != " ada ben" {
		t.Errorf("%+v, PINs of%s", got, pins(s))
	}
	lines := func() int {
		b, err := os.ReadFile(filepath.Join(m.dir, store.RemovedName))
		if err != nil {
			t.Fatal(err)
		}
		return len(strings.Fields(string(b)))
	}
	for i, want := range []bool{true, false, false} {
		was := lines()
		update(t, s, func(tx *store.Tx) error {
			if got := tx.Residents.Remove("ada"); got != want {
				t.Errorf("removal %d: %v", i, got)
			}
			if tx.Residents.Rebind("ada", []byte("token 4"), "K") {
				t.Error("who was removed moves")
			}
			return tx.Err()
		})
		if added := lines() - was; (added > 0) != want {
			t.Errorf("removal %d adds %d words to the list", i, added)
		}
	}
	for _, saved := range [][]byte{m.before, m.between, m.after} {
		if err := s.Restore(t.Context(), bytes.NewReader(saved)); err != nil {
			t.Fatal(err)
		}
		wantTokens(t, "restored", s, "ben: token 1")
		if got := pins(s); got != " ben" {
			t.Errorf("PINs of%s", got)
		}
	}
}

// A transaction that fails moves nobody, and takes nothing away.
func TestMoveThatFails(t *testing.T) {
	dir := t.TempDir()
	s := openBox(t, dir, newClock())
	update(t, s, func(tx *store.Tx) error {
		return tx.Residents.Put(gateway.Resident{ID: "ada", Name: "Ada", PairedAt: start}, []byte("token 1"))
	})
	was := rawFiles(dir)[store.RemovedName]
	fails := errors.New("no")
	err := s.Update(t.Context(), func(tx *store.Tx) error {
		if !tx.Residents.Rebind("ada", []byte("token 2"), "K") || !tx.Residents.Remove("ada") {
			t.Error("not there")
		}
		return fails
	})
	if !errors.Is(err, fails) {
		t.Error(err)
	}
	update(t, s, func(tx *store.Tx) error {
		if tx.Residents.Rebind("nobody", []byte("token"), "K") {
			t.Error("nobody moves")
		}
		return tx.Err()
	})
	if now := rawFiles(dir)[store.RemovedName]; now != was {
		t.Errorf("taken away: %q", now)
	}
	wantTokens(t, "after that", s, "ada: token 1")
	s.Close()
	wantTokens(t, "and started", openBox(t, dir, newClock()), "ada: token 1")
}

// TestR3_MoveAndPowerCut: a power cut before the move is durable leaves the old key, one after it the
// new one; what the list of removals lacks then, the next start adds. No cut takes both.
func TestR3_MoveAndPowerCut(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	s := openBox(t, dir, newClock())
	update(t, s, func(tx *store.Tx) error {
		return tx.Residents.Put(gateway.Resident{ID: "ada", Name: "Ada", PairedAt: start, Key: "K"}, []byte("token 1"))
	})
	fill(t, s, 3)
	without, err := os.ReadFile(filepath.Join(dir, store.RemovedName))
	if err != nil {
		t.Fatal(err)
	}
	saved := backup(t, s)
	// A commit that fails takes nothing away.
	const refuse = "CREATE TEMP TRIGGER refuse BEFORE UPDATE ON state BEGIN SELECT RAISE(ABORT, 'no'); END; CREATE TEMP TRIGGER refuse2 BEFORE INSERT ON state BEGIN SELECT RAISE(ABORT, 'no'); END"
	if _, err := s.Conn().ExecContext(t.Context(), refuse); err != nil {
		t.Fatal(err)
	}
	if err := s.Update(t.Context(), func(tx *store.Tx) error { tx.Residents.Rebind("ada", []byte("token 2"), "K"); return tx.Err() }); err == nil {
		t.Fatal("the commit does not fail")
	}
	if _, err := s.Conn().ExecContext(t.Context(), "DROP TRIGGER refuse; DROP TRIGGER refuse2"); err != nil {
		t.Fatal(err)
	}
	wantTokens(t, "after a failure", openBox(t, killed(t, s, dir), newClock()), "ada: token 1")
	rebind(t, s, "ada", "token 2")
	after := killed(t, s, dir)
	if err := os.WriteFile(filepath.Join(after, store.RemovedName), without, 0o600); err != nil {
		t.Fatal(err)
	}
	again := openBox(t, after, newClock())
	wantTokens(t, "after a cut behind the commit", again, "ada: token 2")
	if err := again.Restore(t.Context(), bytes.NewReader(saved)); err != nil {
		t.Fatal(err)
	}
	wantTokens(t, "and an old backup", again, "ada: token 2")
}

// TestI3_RemovedIsCompact: a list of ever so many lines keeps no gateway from starting, and is written
// anew with one for each.
func TestI3_RemovedIsCompact(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	s := openBox(t, dir, newClock())
	household(t, s)
	update(t, s, func(tx *store.Tx) error { tx.Residents.Remove("ben"); return tx.Err() })
	s.Close()
	name := filepath.Join(dir, store.RemovedName)
	b, err := os.ReadFile(name)
	if err == nil {
		err = os.WriteFile(name, append(b, strings.Repeat("\n"+strings.Repeat("a", 64)+" 7\n", 300_000)...), 0o600)
	}
	if err != nil {
		t.Fatal(err)
	}
	s = openBox(t, dir, newClock())
	wantTokens(t, "started", s, "ada: token")
	s.Close()
	if fi, err := os.Stat(name); err != nil || fi.Size() > 1000 {
		t.Errorf("%d bytes, %v", fi.Size(), err)
	}
	s = openBox(t, dir, newClock())
	update(t, s, func(tx *store.Tx) error {
		return tx.Residents.Put(gateway.Resident{ID: "ben", Name: "Ben", PairedAt: start}, []byte("token"))
	})
	s.Close()
	wantTokens(t, "who was removed, brought back by hand", openBox(t, dir, newClock()), "ada: token")
}
