package store_test

import (
	"bytes"
	"context"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"testing"
	"time"

	"gardien/gateway"
	"gardien/store"
)

// settle waits until the witness knows of the newest commit.
func settle(t *testing.T, s *store.Store, dir string) {
	t.Helper()
	want := fmt.Sprintf(`"seq":%d,`, s.Head())
	for range 1000 {
		if b, _ := os.ReadFile(filepath.Join(dir, store.WitnessName)); bytes.Contains(b, []byte(want)) {
			return
		}
		time.Sleep(time.Millisecond) // it is written by another goroutine, into a file
	}
	t.Fatal("no witness")
}

// killed gives the files of a running store, as kill -9 leaves them.
func killed(t *testing.T, s *store.Store, dir string) string {
	t.Helper()
	settle(t, s, dir)
	return copyOf(t, dir)
}

var parcel = gateway.GrantID{Issuer: "carrier.example", JTI: "parcel"}

// TestR1_RolledBack: what was spent stays spent, whatever is done to the files behind the
// database's back, and everybody is told.
func TestR1_RolledBack(t *testing.T) {
	t.Parallel()
	ctx := context.Background()
	source := t.TempDir()
	s := reopen(t, source, nil)
	unlimited := oneTime(parcel.Issuer, "cleaner", "")
	unlimited.Uses = 0
	put(t, s, oneTime(parcel.Issuer, parcel.JTI, ""), unlimited)
	if err := s.CheckpointBeside(ctx, 0); err != nil {
		t.Fatal(err)
	}
	older := killed(t, s, source)
	spend(t, s, parcel)
	fill(t, s, 3)
	file := func(dir, suffix string) string { return filepath.Join(dir, store.FileName+suffix) }
	for name, attack := range map[string]func(t *testing.T, dir string){
		"the write-ahead log is removed": func(t *testing.T, dir string) { os.Remove(file(dir, "-wal")) },
		"one bit of its first frame flips": func(t *testing.T, dir string) {
			b, err := os.ReadFile(file(dir, "-wal"))
			if err != nil {
				t.Fatal(err)
			}
			b[156] ^= 1
			if err := os.WriteFile(file(dir, "-wal"), b, 0o600); err != nil {
				t.Fatal(err)
			}
		},
		"an older database is put in its place": func(t *testing.T, dir string) {
			for _, suffix := range []string{"", "-wal"} {
				b, err := os.ReadFile(file(older, suffix))
				if err == nil {
					err = os.WriteFile(file(dir, suffix), b, 0o600)
				}
				if err != nil {
					t.Fatal(err)
				}
			}
		},
	} {
		t.Run(name, func(t *testing.T) {
			dir := killed(t, s, source)
			attack(t, dir)
			early := newClock() // that does not know how late it is
			early.set(start.Add(-time.Hour))
			r, err := openStore(dir, early, true)
			if err != nil {
				t.Fatal(err)
			}
			defer r.Close()
			if g := grant(t, r, parcel.JTI); !g.Spoilt {
				t.Errorf("opens again: %+v", g)
			}
			if g := grant(t, r, "cleaner"); g.Spoilt {
				t.Error("a grant without a limit is void, too")
			}
			i := about(t, r)
			if r.RolledBack() == "" || i.Quarantine != store.RolledBack || i.Epoch != 1 {
				t.Errorf("rolled back %q, %+v", r.RolledBack(), i)
			}
			if e := events(t, r); e[len(e)-1].Type != gateway.DatabaseRolledBack {
				t.Errorf("the record ends with %s", e[len(e)-1].Type)
			}
			if v := verify(t, r); !v.OK {
				t.Errorf("%+v", v)
			}
			settle(t, r, dir)
			// A restart is no acceptance, and no second alarm.
			again := reopenWith(t, dir, r, newClock())
			if i := about(t, again); again.RolledBack() != "" || i.Quarantine != store.RolledBack || i.Epoch != 1 {
				t.Errorf("the next start: %q, %+v", again.RolledBack(), i)
			}
		})
	}
}

// TestR1_LegalStates: what may happen to an honest box raises no alarm.
func TestR1_LegalStates(t *testing.T) {
	t.Parallel()
	ctx := context.Background()
	source := t.TempDir()
	s := reopen(t, source, nil)
	put(t, s, oneTime(parcel.Issuer, parcel.JTI, ""))
	saved := backup(t, s)
	if err := s.Restore(ctx, bytes.NewReader(saved)); err != nil { // what follows is no first epoch
		t.Fatal(err)
	}
	early := killed(t, s, source)
	spend(t, s, parcel)
	fill(t, s, 3)
	witnessOf := func(from, to string) {
		b, err := os.ReadFile(filepath.Join(from, store.WitnessName))
		if err == nil {
			err = os.WriteFile(filepath.Join(to, store.WitnessName), b, 0o600)
		}
		if err != nil {
			t.Fatal(err)
		}
	}
	for name, happens := range map[string]func(t *testing.T, dir string){
		"killed":                      func(t *testing.T, dir string) {},
		"the witness was not written": func(t *testing.T, dir string) { os.Remove(filepath.Join(dir, store.WitnessName)) },
		"the witness is of earlier":   func(t *testing.T, dir string) { witnessOf(early, dir) },
		"the witness's page is zeros": func(t *testing.T, dir string) {
			os.WriteFile(filepath.Join(dir, store.WitnessName), make([]byte, 512), 0o600)
		},
		"the witness is cut":             func(t *testing.T, dir string) { os.Truncate(filepath.Join(dir, store.WitnessName), 100) },
		"the shared memory is not there": func(t *testing.T, dir string) { os.Remove(filepath.Join(dir, store.FileName+"-shm")) },
		"a restore, and the witness was not written": func(t *testing.T, dir string) {
			r, err := openStore(dir, newClock(), true)
			if err != nil {
				t.Fatal(err)
			}
			defer witnessOf(source, dir)
			defer r.Close()
			if err := r.Restore(ctx, bytes.NewReader(saved)); err != nil {
				t.Fatal(err)
			}
		},
		"a database that was set aside, and the witness was not written": func(t *testing.T, dir string) {
			os.Truncate(filepath.Join(dir, store.FileName), 3000)
			os.Truncate(filepath.Join(dir, store.FileName+"-wal"), 0)
			r, err := openStore(dir, newClock(), true)
			if err != nil || r.SetAside() == "" {
				t.Fatal(err, "not set aside")
			}
			defer witnessOf(source, dir)
			r.Close()
		},
	} {
		t.Run(name, func(t *testing.T) {
			dir := killed(t, s, source)
			happens(t, dir)
			r, err := openStore(dir, newClock(), true)
			if err != nil {
				t.Fatal(err)
			}
			defer r.Close()
			if r.RolledBack() != "" || about(t, r).Quarantine == store.RolledBack {
				t.Errorf("a false alarm: %s", r.RolledBack())
			}
		})
	}
}

// spoilt opens copies of a database in which a test has changed something. Whatever it is, the
// start succeeds, and what was spent, revoked or blocked does not live.
func spoilt(t *testing.T, name string, files map[string]string, outside *int) (setAside bool) {
	t.Helper()
	dir := ramDir(t)
	defer os.RemoveAll(dir) // now: there are thousands
	for name, raw := range files {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(raw), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	s, err := store.Open(store.Opts{Dir: dir, Zone: paris, Log: quiet, Known: true})
	if err != nil {
		t.Errorf("%s: the start fails: %v", name, err)
		return false
	}
	defer s.Close()
	if err := s.SetClock(newClock()); err != nil {
		t.Errorf("%s: the start fails: %v", name, err)
		return false
	}
	s.Salvage()
	in, err := store.Look(context.Background(), s, func(tx *store.Tx) bool {
		r, token, found := tx.Residents.Find("ada")
		return found && string(token) == "token" && !r.Unconfirmed
	})
	if err != nil || !in {
		*outside++
	}
	if s.SetAside() != "" {
		return true
	}
	for _, jti := range []string{"spent", "revoked", "blocked"} {
		g, found, err := getGrant(s, gateway.GrantID{Issuer: parcel.Issuer, JTI: jti})
		left, limited := g.UsesLeft()
		if err != nil || !found || g.Status == gateway.GrantActive && !g.Block && !(limited && left == 0) {
			t.Errorf("%s: %s lives: found %v, %+v (%v)", name, jti, found, g, err)
		}
	}
	return false
}

// ended makes a database with a grant that was spent, one that was revoked and one that was
// blocked, all in the file, and gives its files.
func ended(t *testing.T) map[string]string {
	t.Helper()
	dir := t.TempDir()
	s := reopen(t, dir, nil)
	for _, jti := range []string{"spent", "revoked", "blocked", "alive"} {
		g := oneTime(parcel.Issuer, jti, "ref")
		if jti != "spent" {
			g.Uses = 0
		}
		put(t, s, g)
	}
	spend(t, s, gateway.GrantID{Issuer: parcel.Issuer, JTI: "spent"})
	update(t, s, func(tx *store.Tx) error {
		return tx.Record.Append(gateway.Event{Type: gateway.AccessGranted, Door: "front", Reader: "keypad", Issuer: parcel.Issuer, Grant: "spent", Attempt: "a1"},
			gateway.Event{Type: gateway.StrikeSecured, Door: "front"})
	})
	update(t, s, func(tx *store.Tx) error {
		g := oneTime(parcel.Issuer, "revoked", "ref")
		g.Version, g.Status, g.Uses = 2, gateway.GrantRevoked, 0
		tx.Grants.Put(g, []byte("digest"))
		tx.Grants.Block(gateway.GrantID{Issuer: parcel.Issuer, JTI: "blocked"})
		for _, jti := range []string{"revoked", "blocked"} {
			tx.Record.Append(gateway.Event{Type: gateway.GrantRevokedOn, Issuer: parcel.Issuer, Grant: jti})
		}
		return tx.Residents.Put(gateway.Resident{ID: "ada", Name: "Ada", PairedAt: start}, []byte("token"))
	})
	fill(t, s, 20)
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	return rawFiles(dir)
}

// TestR4_FlippedBits: a bit that flips on the card revives nothing, and locks nobody out.
func TestR4_FlippedBits(t *testing.T) {
	t.Parallel()
	files := ended(t)
	file := files[store.FileName]
	rng := rand.New(rand.NewPCG(1, 2))
	flips, aside, outside := 1320, 0, 0
	if *allCuts {
		flips = 100_000
	}
	for range flips {
		bit := rng.IntN(8 * len(file))
		b := []byte(file)
		b[bit/8] ^= 1 << (bit % 8)
		files[store.FileName] = string(b)
		if spoilt(t, fmt.Sprintf("bit %d of byte %d", bit%8, bit/8), files, &outside) {
			aside++
		}
	}
	t.Logf("%d flips in %d bytes: %d were set aside, a resident stays outside after %d", flips, len(file), aside, outside)
	if aside > flips/3 || outside > 0 {
		t.Errorf("too many")
	}
}

// TestD4_Unusable: whatever makes the content unusable, the database is set aside and the
// start succeeds.
func TestD4_Unusable(t *testing.T) {
	t.Parallel()
	files := ended(t)
	for name, q := range map[string]string{
		"a newer schema":             "PRAGMA user_version = 1048578",
		"a table is gone":            "DROP TABLE residents",
		"the record is gone":         "DROP TABLE events",
		"a column has another name":  "ALTER TABLE pins RENAME COLUMN door TO gate",
		"a table is somebody else's": "DROP TABLE issuers; CREATE TABLE issuers (x)",
		"an index is gone":           "DROP INDEX pins_grant",
		"a row was edited":           "PRAGMA writable_schema = ON; UPDATE sqlite_schema SET sql = replace(sql, 'GENERATED ALWAYS AS (row_sum(key, value)) STORED', '') WHERE name = 'state'",
	} {
		t.Run(name, func(t *testing.T) {
			dir := t.TempDir()
			for name, raw := range files {
				if err := os.WriteFile(filepath.Join(dir, name), []byte(raw), 0o600); err != nil {
					t.Fatal(err)
				}
			}
			if err := store.Edit(dir, q); err != nil {
				t.Fatal(err)
			}
			if !spoilt(t, name, rawFiles(dir), new(int)) {
				t.Error("not set aside")
			}
		})
	}
}

// TestR4_RecordAgainstTables: a page that went back in time, alone, is found by what the record
// says.
func TestR4_RecordAgainstTables(t *testing.T) {
	t.Parallel()
	files := ended(t)
	for name, q := range map[string]string{
		"a use":        "UPDATE grants SET used = 0 WHERE jti = 'spent'",
		"a revocation": "UPDATE grants SET status = 'active', ver = 1 WHERE jti = 'revoked'",
		"a block":      "UPDATE grants SET block = 0 WHERE jti = 'blocked'",
		"a grant":      "DELETE FROM pins; DELETE FROM grants WHERE jti = 'spent'",
		"an event":     "UPDATE events SET body = replace(body, 'access_granted', 'access_denied')",
		"the end":      "DELETE FROM events WHERE seq > 10",
	} {
		t.Run(name, func(t *testing.T) {
			dir := t.TempDir()
			for name, raw := range files {
				if err := os.WriteFile(filepath.Join(dir, name), []byte(raw), 0o600); err != nil {
					t.Fatal(err)
				}
			}
			if err := store.Edit(dir, q); err != nil {
				t.Fatal(err)
			}
			if name != "a grant" {
				spoilt(t, name, rawFiles(dir), new(int))
			}
			s, err := openStore(dir, newClock(), true)
			if err != nil {
				t.Fatal(err)
			}
			defer s.Close()
			if i := about(t, s); s.RolledBack() == "" || i.Quarantine != store.RolledBack || i.Epoch != 1 {
				t.Errorf("unnoticed: %+v", i)
			}
			again := reopenWith(t, dir, s, newClock())
			if i := about(t, again); again.RolledBack() != "" || i.Epoch != 1 {
				t.Errorf("told a second time: %q, %+v", again.RolledBack(), i)
			}
		})
	}
}

// TestSchemaSum: the start wants the schema that the migrations make. Whoever adds a migration puts
// the new sum into sound.go.
func TestSchemaSum(t *testing.T) {
	s, err := store.MigrateForTest(t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	defer s.Conn().Close()
	if want, have, err := s.SchemaSum(); err != nil || have != want {
		t.Errorf("schemaSum is %q, want %q (%v)", want, have, err)
	}
}
