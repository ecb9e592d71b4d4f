package store_test

import (
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"gardien/gateway"
	"gardien/store"
)

func backup(t *testing.T, s *store.Store) []byte {
	t.Helper()
	var b bytes.Buffer
	if err := s.Backup(context.Background(), &b); err != nil {
		t.Fatal(err)
	}
	return b.Bytes()
}

func about(t *testing.T, s *store.Store) store.Info {
	t.Helper()
	i, err := s.About(context.Background())
	if err != nil {
		t.Fatal(err)
	}
	return i
}

func grant(t *testing.T, s *store.Store, jti string) gateway.GrantRecord {
	t.Helper()
	g, found, err := getGrant(s, gateway.GrantID{Issuer: "carrier.example", JTI: jti})
	if err != nil || !found {
		t.Fatalf("grant %s: found %v, %v", jti, found, err)
	}
	return g
}

// TestRestore: a backup revives nothing that was spent, revoked or blocked since (D7).
func TestRestore(t *testing.T) {
	ctx := context.Background()
	dir, c := t.TempDir(), newClock()
	s := reopenWith(t, dir, nil, c)
	const iss = "carrier.example"
	unlimited := oneTime(iss, "unlimited", "")
	unlimited.Uses = 0
	revokedLater, blockedLater := unlimited, unlimited
	revokedLater.ID.JTI, blockedLater.ID.JTI = "revoked-later", "blocked-later"
	put(t, s, oneTime(iss, "spent-before", ""), oneTime(iss, "spent-after", ""), oneTime(iss, "unspent", ""), unlimited, revokedLater, blockedLater)
	spend(t, s, gateway.GrantID{Issuer: iss, JTI: "spent-before"})
	fill(t, s, 5)
	saved, was := backup(t, s), about(t, s)

	// What happens after the backup.
	spend(t, s, gateway.GrantID{Issuer: iss, JTI: "spent-after"})
	put(t, s, oneTime(iss, "new-and-spent", ""))
	spend(t, s, gateway.GrantID{Issuer: iss, JTI: "new-and-spent"})
	revokedLater.Version, revokedLater.Status = 2, gateway.GrantRevoked
	put(t, s, revokedLater)
	floor := start.Add(30 * 24 * time.Hour)
	update(t, s, func(tx *store.Tx) error {
		tx.Grants.Block(blockedLater.ID)
		tx.Codes.Put(gateway.PINRecord{Grant: unlimited.ID, Door: "front", Length: 6}, []byte("mac"))
		tx.House.Floor(floor)
		return tx.Err()
	})
	fill(t, s, 50)

	grown, stop := s.Watch()
	defer stop()
	if err := s.Restore(ctx, bytes.NewReader(saved)); err != nil {
		t.Fatal(err)
	}
	<-grown
	s = reopenWith(t, dir, s, c) // and it lasts
	for jti, want := range map[string]struct {
		spoilt  bool
		used    int
		revoked bool
		block   bool
	}{
		"spent-before":  {spoilt: true, used: 1},
		"spent-after":   {spoilt: true, used: 1},
		"new-and-spent": {spoilt: true, used: 1},
		"unspent":       {spoilt: true},
		"unlimited":     {},
		"revoked-later": {revoked: true},
		"blocked-later": {block: true},
	} {
		g := grant(t, s, jti)
		if g.Spoilt != want.spoilt || g.Used != want.used || (g.Status == gateway.GrantRevoked) != want.revoked || g.Block != want.block {
			t.Errorf("%s: spoilt %v, used %d, %s, block %v", jti, g.Spoilt, g.Used, g.Status, g.Block)
		}
		if left, limited := g.UsesLeft(); limited && left != 0 {
			t.Errorf("%s: %d uses left", jti, left)
		}
	}
	// A new version, issued after the restore, gives no second entry either.
	for _, jti := range []string{"spent-before", "spent-after", "new-and-spent", "unspent"} {
		g := oneTime(iss, jti, "")
		g.Version, g.IssuedAt = 2, start.Add(24*time.Hour)
		put(t, s, g)
		if got := spend(t, s, g.ID); got != (jti == "unspent") {
			t.Errorf("%s, version 2: spent %v", jti, got)
		}
	}
	is := about(t, s)
	if is.Epoch <= was.Epoch || is.Log == was.Log || is.Log == "" {
		t.Errorf("before %+v, now %+v", was, is)
	}
	list := events(t, s)
	if v := verify(t, s); !v.OK || v.Events != 6 || list[5].Type != gateway.DatabaseRestored {
		t.Errorf("%+v, last %+v", v, list[len(list)-1])
	}
	if saved, err := savedClock(s); err != nil || !saved.Floor.Equal(floor) {
		t.Errorf("floor %v, want %v (%v)", saved.Floor, floor, err)
	}
	for name := range rawFiles(dir) {
		if !strings.HasPrefix(name, store.FileName) && name != store.WitnessName && name != store.RosterName {
			t.Errorf("%s was left behind", name)
		}
	}
}

// TestRestoreRefuses: what is no backup of this gateway changes nothing.
func TestRestoreRefuses(t *testing.T) {
	ctx := context.Background()
	dir := t.TempDir()
	s := reopen(t, dir, nil)
	fill(t, s, 10)
	mine := backup(t, s)
	foreign := bytes.ReplaceAll(mine, []byte(gatewayID), []byte("gw-zzzzzzzzzz"))
	torn := bytes.Clone(mine)
	for i := 2048; i < len(torn); i++ {
		torn[i] ^= 0x55
	}
	newer := bytes.Clone(mine)
	binary.BigEndian.PutUint32(newer[60:], 99) // user_version
	for name, b := range map[string][]byte{
		"nothing": nil, "garbage": bytes.Repeat([]byte("garbage "), 1000), "cut short": mine[:len(mine)/2], "header only": mine[:100],
		"torn": torn, "of another gateway": foreign, "newer": newer, "text": []byte("hello"),
	} {
		t.Run(name, func(t *testing.T) {
			err := s.Restore(ctx, bytes.NewReader(b))
			if !errors.Is(err, store.ErrNotBackup) {
				t.Errorf("%v", err)
			}
			if v := verify(t, s); !v.OK || v.Events != 10 || s.SetAside() != "" || about(t, s).Epoch != 0 {
				t.Errorf("the live data: %+v %+v", v, about(t, s))
			}
			for name := range rawFiles(dir) {
				if !strings.HasPrefix(name, store.FileName) && name != store.WitnessName || strings.Contains(name, "broken") {
					t.Errorf("%s was left behind", name)
				}
			}
		})
	}
	fill(t, s, 1)
	if v := verify(t, s); !v.OK || v.Events != 11 {
		t.Errorf("%+v", v)
	}
}

// copyOf copies the files of a running store, as a crash would leave them.
func copyOf(t *testing.T, dir string) string {
	t.Helper()
	to := t.TempDir()
	for name, raw := range rawFiles(dir) {
		if err := os.WriteFile(filepath.Join(to, name), []byte(raw), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	return to
}

// TestSetAside: a broken database is set aside with all its bytes, third parties are
// paused, and residents go on where they can be read (D4).
func TestSetAside(t *testing.T) {
	ctx := context.Background()
	source := t.TempDir()
	s := reopen(t, source, nil)
	resident := gateway.Resident{ID: gateway.NewResidentID(), Name: "Chloé", PairedAt: start, Role: gateway.RoleResident, Ver: 1}
	update(t, s, func(tx *store.Tx) error { return tx.Residents.Put(resident, []byte("token")) })
	put(t, s, oneTime("carrier.example", "parcel", ""))
	fill(t, s, 400)
	if err := s.Scrub(ctx); err != nil {
		t.Fatal(err)
	}
	fill(t, s, 20) // in the WAL
	// Of this one the WAL alone knows all.
	young := t.TempDir()
	y := reopen(t, young, nil)
	update(t, y, func(tx *store.Tx) error { return tx.Residents.Put(resident, []byte("token")) })

	edit := func(f func([]byte) []byte) func(*testing.T, string) {
		return func(t *testing.T, dir string) {
			path := filepath.Join(dir, store.FileName)
			b, err := os.ReadFile(path)
			if err == nil {
				err = os.WriteFile(path, f(b), 0o600)
			}
			if err != nil {
				t.Fatal(err)
			}
		}
	}
	noWAL := func(f func(*testing.T, string)) func(*testing.T, string) {
		return func(t *testing.T, dir string) { os.Remove(filepath.Join(dir, store.FileName+"-wal")); f(t, dir) }
	}
	overwrite := func(page, with int) func([]byte) []byte {
		return func(b []byte) []byte {
			page := page
			if page < 0 {
				page = len(b) / 2048
			}
			copy(b[page*1024:], bytes.Repeat([]byte{byte(with)}, 1024))
			return b
		}
	}
	remove := func(t *testing.T, dir string) { os.Remove(filepath.Join(dir, store.FileName)) }
	for _, tc := range []struct {
		name  string
		from  string
		spoil func(*testing.T, string)
		named bool // else the second copy of the list, which has no names, tells who lives here
	}{
		{"header, no WAL", source, noWAL(edit(func(b []byte) []byte { copy(b, "not a database, no."); return b })), false},
		{"page in the middle", source, noWAL(edit(overwrite(-1, 0x5a))), true},
		{"page in the middle, with WAL", source, edit(overwrite(-1, 0x5a)), true},
		{"truncated", source, noWAL(edit(func(b []byte) []byte { return b[:len(b)/2048*1024] })), true},
		{"truncated within a page", source, noWAL(edit(func(b []byte) []byte { return b[:len(b)/2-100] })), true},
		{"empty, with WAL", source, edit(func(b []byte) []byte { return nil }), false},
		{"empty", source, noWAL(edit(func(b []byte) []byte { return nil })), false},
		{"missing, with WAL", source, remove, false},
		{"missing, the WAL has all", young, remove, true},
		{"missing", source, noWAL(remove), false},
	} {
		t.Run(tc.name, func(t *testing.T) {
			dir := copyOf(t, tc.from)
			tc.spoil(t, dir)
			before := rawFiles(dir)
			s, err := openStore(dir, newClock(), true)
			if err != nil {
				t.Fatal(err)
			}
			defer s.Close()
			if s.SetAside() == "" {
				t.Fatal("silently made anew, or believed")
			}
			n := s.Salvage()
			for name, raw := range before {
				if raw == "" || name == store.WitnessName {
					continue
				}
				kept := strings.Replace(name, store.FileName, filepath.Base(s.SetAside()), 1)
				if after, err := os.ReadFile(filepath.Join(dir, kept)); err != nil || string(after) != raw {
					t.Errorf("the bytes of %s are not kept in %s: %d, were %d (%v)", name, kept, len(after), len(raw), err)
				}
			}
			list, err := store.Look(ctx, s, func(tx *store.Tx) []gateway.Resident { return tx.Residents.List() })
			if err != nil || len(list) != 1 || n != 1 || list[0].ID != resident.ID || tc.named && list[0] != resident {
				t.Errorf("salvaged %d: %v, %v", n, list, err)
			}
			if ok, err := store.Look(ctx, s, func(tx *store.Tx) bool {
				r, token, found := tx.Residents.Find(resident.ID)
				return found && string(token) == "token" && !r.Unconfirmed
			}); err != nil || ok != (n == 1) {
				t.Errorf("the resident opens: %v, %v", ok, err)
			}
			if i := about(t, s); i.Quarantine != store.SetAside || i.Epoch != 1 || i.SetAside == "" {
				t.Errorf("%+v", i)
			}
			if e := events(t, s); len(e) != 1 || e[0].Type != gateway.DatabaseSetAside {
				t.Errorf("%+v", e)
			}
			// A limited grant from before, presented again, is void.
			put(t, s, oneTime("carrier.example", "parcel", ""))
			if g := grant(t, s, "parcel"); !g.Spoilt {
				t.Errorf("%+v", g)
			}
			s.Close()
			again, err := openStore(dir, newClock(), true)
			if err != nil || again.SetAside() != "" {
				t.Fatalf("the new one: %v", err)
			}
			defer again.Close()
			if i := about(t, again); i.Quarantine != store.SetAside {
				t.Error("the quarantine did not last")
			}
		})
	}
	for _, known := range []bool{false, true} {
		s, err := store.Open(store.Opts{Dir: t.TempDir(), Zone: paris, Log: quiet, Known: known})
		if err != nil || (s.SetAside() != "") != known {
			t.Errorf("no file, known %v: %v", known, err)
		}
		s.Close()
	}
}

// TestSweepCopies: a copy that a crash left does not outlive the next start.
func TestSweepCopies(t *testing.T) {
	dir := t.TempDir()
	left := filepath.Join(dir, ".backup-123")
	if err := errors.Join(os.Mkdir(left, 0o700), os.WriteFile(filepath.Join(left, store.FileName), nil, 0o600)); err != nil {
		t.Fatal(err)
	}
	reopen(t, dir, nil)
	if _, err := os.Stat(left); !errors.Is(err, os.ErrNotExist) {
		t.Error(err)
	}
}

// TestBackup is taken while others write; it is of one instant, and goes nowhere else.
func TestBackup(t *testing.T) {
	dir := t.TempDir()
	s := reopen(t, dir, nil)
	done := make(chan struct{})
	go func() {
		defer close(done)
		for range 50 {
			if err := s.Update(context.Background(), func(tx *store.Tx) error {
				return tx.Record.Append(gateway.Event{Type: gateway.AccessGranted, Door: "front"}, gateway.Event{Type: gateway.StrikeSecured, Door: "front"})
			}); err != nil {
				t.Error(err)
			}
		}
	}()
	for i := range 5 {
		copied := t.TempDir()
		if err := os.WriteFile(filepath.Join(copied, store.FileName), backup(t, s), 0o600); err != nil {
			t.Fatal(err)
		}
		c, err := openStore(copied, newClock(), true)
		if err != nil {
			t.Fatal(err)
		}
		if v := verify(t, c); !v.OK || v.Events%2 != 0 {
			t.Errorf("backup %d: %+v", i, v)
		}
		c.Close()
	}
	<-done
	if left := fmt.Sprint(len(rawFiles(dir))); left != "3" { // with the witness
		t.Errorf("%s files", left)
	}
}
