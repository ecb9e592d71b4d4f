package store_test

import (
	"bytes"
	"errors"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"gardien/gateway"
	"gardien/store"
)

// device is a resident with the keyed hash of its token.
type device struct {
	gateway.Resident
	token string
}

// devices lists them all.
func devices(t *testing.T, s *store.Store) map[gateway.ResidentID]device {
	t.Helper()
	list, err := store.Look(t.Context(), s, func(tx *store.Tx) map[gateway.ResidentID]device {
		list := map[gateway.ResidentID]device{}
		for _, r := range tx.Residents.List() {
			found, token, is := tx.Residents.Find(r.ID)
			if !is || found != r {
				t.Errorf("listed %+v, found %+v", r, found)
			}
			list[r.ID] = device{r, string(token)}
		}
		return list
	})
	if err != nil {
		t.Fatal(err)
	}
	return list
}

func sameDevices(t *testing.T, what string, want, got map[gateway.ResidentID]device) {
	t.Helper()
	if diff := cmp.Diff(want, got, cmp.AllowUnexported(device{})); diff != "" {
		t.Errorf("%s (-want +got):\n%s", what, diff)
	}
}

// nameless is what the second copy of the list tells.
func nameless(list map[gateway.ResidentID]device) map[gateway.ResidentID]device {
	list = maps.Clone(list)
	for id, d := range list {
		d.Name = "paired " + d.PairedAt.Local().Format("2006-01-02")
		list[id] = d
	}
	return list
}

// everyKind pairs one of each role, with a key and without, confirmed and not.
func everyKind(t *testing.T, s *store.Store) map[gateway.ResidentID]device {
	t.Helper()
	want := map[gateway.ResidentID]device{}
	for i, d := range []device{
		{gateway.Resident{ID: "ada", Name: "Ada", Role: gateway.RoleResident, Key: "K of ada", Ver: 1}, "token of ada"},
		{gateway.Resident{ID: "ben", Name: "Ben", Role: gateway.RoleResident, Ver: 3}, "token of ben"},
		{gateway.Resident{ID: "guest", Name: "Guest", Role: gateway.RoleGuest, Key: "K of guest", Ver: 1}, "token of guest"},
		{gateway.Resident{ID: "fitter", Name: "Fitter", Role: gateway.RoleInstaller, Ver: 2, Unconfirmed: true}, "token of fitter"},
	} {
		d.PairedAt = start.AddDate(0, 0, i)
		want[d.ID] = d
		update(t, s, func(tx *store.Tx) error { return tx.Residents.Put(d.Resident, []byte(d.token)) })
	}
	return want
}

func edited(t *testing.T, dir string, edit func([]byte) []byte, names ...string) {
	t.Helper()
	for _, name := range names {
		b, err := os.ReadFile(filepath.Join(dir, name))
		if err == nil {
			err = os.WriteFile(filepath.Join(dir, name), edit(b), 0o600)
		}
		if err != nil {
			t.Fatal(err)
		}
	}
}

func noDatabase(b []byte) []byte { copy(b, "not a database, no."); return b }

// Contract §9: role, key and version of a device outlive whatever the database does.
func TestRolesAndKeysLast(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	s := openBox(t, dir, newClock())
	want := everyKind(t, s)
	fill(t, s, 5)
	sameDevices(t, "at once", want, devices(t, s))
	saved := backup(t, s)
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	for name, tt := range map[string]struct {
		happens  func(t *testing.T, dir string)
		aside    bool // the database is set aside
		nameless bool
	}{
		"a restart": {func(*testing.T, string) {}, false, false},
		"a restore": {func(t *testing.T, dir string) {
			s := openBox(t, dir, newClock())
			update(t, s, func(tx *store.Tx) error {
				tx.Residents.Put(gateway.Resident{ID: "late", Name: "Late"}, []byte("token"))
				return tx.Err()
			})
			if err := errors.Join(s.Restore(t.Context(), bytes.NewReader(saved)), s.Close()); err != nil {
				t.Fatal(err)
			}
		}, false, false},
		"a database that is set aside": {func(t *testing.T, dir string) {
			if err := store.Edit(dir, "PRAGMA user_version = 99"); err != nil {
				t.Fatal(err)
			}
		}, true, false},
		"that and the second copy is gone": {func(t *testing.T, dir string) {
			if err := errors.Join(store.Edit(dir, "PRAGMA user_version = 99"), os.Remove(filepath.Join(dir, store.RosterName))); err != nil {
				t.Fatal(err)
			}
		}, true, false},
		"a database that cannot be read": {func(t *testing.T, dir string) { edited(t, dir, noDatabase, store.FileName) }, true, true},
		"a database that is gone": {func(t *testing.T, dir string) {
			if err := os.Remove(filepath.Join(dir, store.FileName)); err != nil {
				t.Fatal(err)
			}
		}, true, true},
	} {
		t.Run(name, func(t *testing.T) {
			to := copyOf(t, dir)
			tt.happens(t, to)
			want := want
			if tt.nameless {
				want = nameless(want)
			}
			for _, start := range []string{"the first start", "the next"} {
				s, err := store.Open(store.Opts{Dir: to, Zone: paris, Log: quiet, Known: true})
				if err != nil {
					t.Fatal(err)
				}
				if aside := s.SetAside() != ""; aside != (tt.aside && start == "the first start") {
					t.Errorf("%s: set aside %v", start, aside)
				}
				if err := errors.Join(s.SetClock(newClock()), s.KeepRemovals(testMAC)); err != nil {
					t.Fatal(err)
				}
				s.Salvage()
				if err := s.Belong(gatewayID); err != nil {
					t.Fatal(err)
				}
				sameDevices(t, start, want, devices(t, s))
				if err := s.Close(); err != nil {
					t.Fatal(err)
				}
			}
		})
	}
	t.Run("a box without the list of who was removed", func(t *testing.T) {
		s := openBox(t, t.TempDir(), newClock())
		if err := s.Restore(t.Context(), bytes.NewReader(saved)); err != nil {
			t.Fatal(err)
		}
		want := maps.Clone(want)
		for id, d := range want {
			d.Unconfirmed = true
			want[id] = d
		}
		sameDevices(t, "restored", want, devices(t, s))
	})
}

// D4: a row, or a line of the second copy, that is not what was written makes nobody a resident.
func TestD4_NobodyBecomesAResident(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	s := openBox(t, dir, newClock())
	want := nameless(everyKind(t, s))
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	lines := func(edit func(line string) string) func([]byte) []byte {
		return func(b []byte) []byte {
			var out strings.Builder
			for line := range strings.Lines(string(b)) {
				out.WriteString(edit(line))
			}
			return []byte(out.String())
		}
	}
	replaced := func(old, with string) func([]byte) []byte {
		return lines(func(line string) string { return strings.ReplaceAll(line, old, with) })
	}
	all := []gateway.ResidentID{"ada", "ben", "guest", "fitter"}
	for name, tt := range map[string]struct {
		roster func([]byte) []byte
		there  []gateway.ResidentID
	}{
		"as it was written":      {func(b []byte) []byte { return b }, all},
		"no role":                {replaced(`"role":"guest",`, ""), []gateway.ResidentID{"ada", "ben", "fitter"}},
		"an empty role":          {replaced(`"role":"installer"`, `"role":""`), []gateway.ResidentID{"ada", "ben", "guest"}},
		"another role":           {replaced(`"role":"guest"`, `"role":"owner"`), []gateway.ResidentID{"ada", "ben", "fitter"}},
		"a role in upper case":   {replaced(`"role":"guest"`, `"role":"Guest"`), []gateway.ResidentID{"ada", "ben", "fitter"}},
		"a flipped bit of roles": {replaced(`"guest"`, `"guesu"`), []gateway.ResidentID{"ada", "ben", "fitter"}},
		"no token": {lines(func(line string) string {
			if strings.Contains(line, `"guest"`) {
				a, b, _ := strings.Cut(line, `"token":"`)
				_, b, _ = strings.Cut(b, `"`)
				return a + `"token":"` + `"` + b
			}
			return line
		}), []gateway.ResidentID{"ada", "ben", "fitter"}},
		"lines that are none": {func(b []byte) []byte { return append([]byte("\n{}\n[]\nnull\n{\"id\":1}\n"), b...) }, all},
		"cut off":             {func(b []byte) []byte { return b[:len(b)-3] }, []gateway.ResidentID{"ada", "ben", "fitter"}},
		"gone":                {func([]byte) []byte { return nil }, nil},
	} {
		to := copyOf(t, dir)
		edited(t, to, noDatabase, store.FileName)
		edited(t, to, tt.roster, store.RosterName)
		want := maps.Clone(want)
		maps.DeleteFunc(want, func(id gateway.ResidentID, _ device) bool { return !slices.Contains(tt.there, id) })
		sameDevices(t, name, want, devices(t, openBox(t, to, newClock())))
	}
	// A row that was hit: what the second copy says counts, and without it a role that is none is
	// nobody's.
	for name, tt := range map[string]struct {
		at     string // of which the first byte is hit
		copied bool
		want   []gateway.ResidentID
	}{
		"a role":                      {"tK of guest", true, all},
		"a token":                     {"token of guest", true, all},
		"a key":                       {"K of guest", true, all},
		"a role, without the copy":    {"tK of guest", false, []gateway.ResidentID{"ada", "ben", "fitter"}},
		"one in a file that is whole": {"", true, all},
	} {
		to := copyOf(t, dir)
		edited(t, to, func(b []byte) []byte {
			at := bytes.Index(b, []byte(tt.at))
			if at < 0 {
				t.Fatal("no such row")
			}
			if tt.at != "" {
				b[at] ^= 1
			}
			return b
		}, store.FileName)
		if !tt.copied {
			if err := os.Remove(filepath.Join(to, store.RosterName)); err != nil {
				t.Fatal(err)
			}
		}
		s := openBox(t, to, newClock())
		list := devices(t, s)
		if aside := s.SetAside() != ""; aside != (tt.at != "") || !cmp.Equal(slices.Sorted(maps.Keys(list)), slices.Sorted(slices.Values(tt.want))) {
			t.Errorf("%s: set aside %v, %+v", name, aside, list)
		}
		for id, d := range list {
			if w := want[id]; d.Role != w.Role || d.Key != w.Key || d.token != w.token || d.Ver != w.Ver || d.Unconfirmed != w.Unconfirmed {
				t.Errorf("%s: %+v, want %+v", name, d, w)
			}
		}
	}
}

// version4 fills a database as the program before this one did.
const version4 = `INSERT INTO state (key, value) VALUES ('gateway', CAST('"gw-a3r73d62fg"' AS BLOB)), ('log', CAST('"AAAAAAAAAAAAAAAAAAAAAA"' AS BLOB));
	INSERT INTO residents (id, name, token, paired, confirmed) VALUES
	('ada', 'Ada', CAST('token of ada' AS BLOB), 1790000000, 1), ('ben', 'Ben', CAST('token of ben' AS BLOB), 1790000001, 0)`

// roster4 is the second copy of its list.
const roster4 = `{"id":"ada","token":"dG9rZW4gb2YgYWRh","paired":1790000000,"confirmed":true,"removals":"AAAAAAAAAAAAAAAAAAAAAA"}
{"id":"ben","token":"dG9rZW4gb2YgYmVu","paired":1790000001,"confirmed":false,"removals":"AAAAAAAAAAAAAAAAAAAAAA"}
`

// ofVersion4 is who was there, as this program knows them.
func ofVersion4() map[gateway.ResidentID]device {
	return map[gateway.ResidentID]device{
		"ada": {gateway.Resident{ID: "ada", Name: "Ada", PairedAt: time.Unix(1790000000, 0).UTC(), Role: gateway.RoleResident, Ver: 1}, "token of ada"},
		"ben": {gateway.Resident{ID: "ben", Name: "Ben", PairedAt: time.Unix(1790000001, 0).UTC(), Role: gateway.RoleResident, Ver: 1, Unconfirmed: true}, "token of ben"},
	}
}

// Residents from before roles are residents without a key, and their rows have sums.
func TestResidentsOfVersion4(t *testing.T) {
	dir := t.TempDir()
	if err := store.OldForTest(dir, 4, version4); err != nil {
		t.Fatal(err)
	}
	for _, start := range []string{"the first start", "the next"} {
		s := openBox(t, dir, newClock())
		if s.SetAside() != "" || s.RolledBack() != "" {
			t.Fatalf("%s: set aside %q, rolled back %q", start, s.SetAside(), s.RolledBack())
		}
		sameDevices(t, start, ofVersion4(), devices(t, s))
		var sums int
		q := "SELECT count(*) FROM residents WHERE length(sum) = 8 AND sum IS row_sum(id, name, token, paired, confirmed, role, holder, ver) AND holder IS NULL"
		if err := s.Conn().QueryRowContext(t.Context(), q).Scan(&sums); err != nil || sums != 2 {
			t.Errorf("%s: %d rows have their sum, %v", start, sums, err)
		}
		if b, err := os.ReadFile(filepath.Join(dir, store.RosterName)); err != nil || bytes.Count(b, []byte(`"role":"resident"`)) != 2 {
			t.Errorf("%s: the second copy: %s, %v", start, b, err)
		}
		if err := s.Close(); err != nil {
			t.Fatal(err)
		}
	}
	s := openBox(t, dir, newClock())
	update(t, s, func(tx *store.Tx) error {
		if !tx.Residents.Rebind("ada", []byte("another"), "K") {
			t.Error("not there")
		}
		return tx.Err()
	})
	want := ofVersion4()
	ada := want["ada"]
	ada.Key, ada.Ver, ada.token = "K", 2, "another"
	want["ada"] = ada
	sameDevices(t, "moved", want, devices(t, s))
}

// D4: a database of the version before that is broken at the update keeps no resident outside: the
// second copy beside it has no roles either.
func TestD4_BrokenAtTheUpdate(t *testing.T) {
	dir := t.TempDir()
	if err := store.OldForTest(dir, 4, version4); err != nil {
		t.Fatal(err)
	}
	edited(t, dir, noDatabase, store.FileName)
	if err := errors.Join(os.WriteFile(filepath.Join(dir, store.RemovedName), []byte("gardien removed 1 AAAAAAAAAAAAAAAAAAAAAA\n"), 0o600),
		os.WriteFile(filepath.Join(dir, store.RosterName), []byte(roster4), 0o600)); err != nil {
		t.Fatal(err)
	}
	s := openBox(t, dir, newClock())
	if s.SetAside() == "" {
		t.Fatal("not set aside")
	}
	sameDevices(t, "salvaged", nameless(ofVersion4()), devices(t, s))
}

// D5: a stand-in that the program of before has left in memory is given back after an update.
func TestD5_UpdatedWhileItStandsIn(t *testing.T) {
	r := &standInRun{dir: t.TempDir(), memory: t.TempDir()}
	if err := store.OldForTest(r.dir, 4, version4); err != nil {
		t.Fatal(err)
	}
	degraded := filepath.Join(r.memory, "degraded")
	if err := os.Mkdir(degraded, 0o700); err != nil {
		t.Fatal(err)
	}
	if err := store.OldForTest(degraded, 4, version4+"; DELETE FROM residents WHERE id = 'ben'"); err != nil {
		t.Fatal(err)
	}
	s, err := r.open()
	if err != nil {
		t.Fatalf("no start: %v", err)
	}
	defer s.Close()
	want := ofVersion4()
	delete(want, "ben") // who was removed meanwhile
	sameDevices(t, "given back", want, devices(t, s))
	if left, _ := os.ReadDir(r.memory); len(left) > 0 {
		t.Errorf("%s is left in memory", left[0].Name())
	}
}
