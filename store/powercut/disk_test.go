package powercut

import (
	"fmt"
	"maps"
	"slices"
	"strings"
	"syscall"
	"testing"
)

// Short forms of calls, all on file f with descriptor 3 unless named.
func create(name string, fd int32) Op { return Op{Kind: Open, Path: name, FD: fd, Created: true} }
func opendir(fd int32) Op             { return Op{Kind: Open, Path: ".", FD: fd, Directory: true} }
func write(off int64, s string) Op {
	return Op{Kind: Write, Path: "f", FD: 3, Off: off, Data: []byte(s)}
}
func truncate(size int64) Op    { return Op{Kind: Truncate, Path: "f", FD: 3, Off: size} }
func sync(fd int32) Op          { return Op{Kind: Sync, FD: fd} }
func unlink(name string) Op     { return Op{Kind: Unlink, Path: name, FD: -1} }
func rename(from, to string) Op { return Op{Kind: Rename, Path: from, Data: []byte(to), FD: -1} }
func failSync(fd int32) Op {
	return Op{Kind: Fault, Failed: Sync, FD: fd, Errno: syscall.EIO}
}

func (s State) text() string {
	var parts []string
	for _, path := range slices.Sorted(maps.Keys(s)) {
		parts = append(parts, fmt.Sprintf("%s=%s", path, strings.ReplaceAll(string(s[path]), "\x00", "0")))
	}
	return strings.Join(parts, " ")
}

func TestDisk(t *testing.T) {
	for _, tc := range []struct {
		name          string
		ops           []Op
		dropped, kept string
		torn          []string // all that may come up, and must within 300 seeds
	}{
		{"a creation alone",
			[]Op{create("f", 3)},
			"", "f=", []string{"", "f="}},
		{"a sync makes data and name durable",
			[]Op{create("f", 3), write(0, "ab"), sync(3)},
			"f=ab", "f=ab", []string{"f=ab"}},
		{"an extending write may leave zeros, but never other content",
			[]Op{create("f", 3), write(0, "ab"), sync(3), write(2, "cd")},
			"f=ab", "f=abcd", []string{"f=ab", "f=ab00", "f=abcd"}},
		{"of two writes the later may persist alone",
			[]Op{create("f", 3), write(0, "ab"), sync(3), write(0, "c"), write(1, "d")},
			"f=ab", "f=cd", []string{"f=ab", "f=ad", "f=cb", "f=cd"}},
		{"names go in order",
			[]Op{create("f", 3), create("g", 4)},
			"", "f= g=", []string{"", "f=", "f= g="}},
		{"syncing the later file commits the earlier name",
			[]Op{create("f", 3), create("g", 4), sync(4)},
			"f= g=", "f= g=", []string{"f= g="}},
		{"syncing the earlier file says nothing of the later name",
			[]Op{create("f", 3), create("g", 4), sync(3)},
			"f=", "f= g=", []string{"f=", "f= g="}},
		{"syncing the directory commits names, not data",
			[]Op{create("f", 3), write(0, "a"), opendir(5), sync(5)},
			"f=", "f=a", []string{"f=", "f=0", "f=a"}},
		{"an unlink not committed",
			[]Op{create("f", 3), write(0, "a"), sync(3), unlink("f")},
			"f=a", "", []string{"f=a", ""}},
		{"a replacement by rename is all or nothing",
			[]Op{create("g", 4), sync(4), create("f", 3), write(0, "a"), sync(3), rename("f", "g")},
			"f=a g=", "g=a", []string{"f=a g=", "g=a"}},
		{"renamed without a sync: name without content",
			[]Op{create("f", 3), write(0, "a"), rename("f", "g"), opendir(5), sync(5)},
			"g=", "g=a", []string{"g=", "g=0", "g=a"}},
		{"what comes after a lost truncation is lost beyond it",
			[]Op{create("f", 3), write(0, "abcd"), sync(3), truncate(1), write(0, "xy")},
			"f=abcd", "f=xy", []string{"f=abcd", "f=xbcd", "f=a", "f=a0", "f=xy"}},
		{"a truncation committed through another file",
			[]Op{create("f", 3), write(0, "abcd"), sync(3), truncate(1), create("g", 4), sync(4)},
			"f=a g=", "f=a g=", []string{"f=a g="}},
		{"a failed sync loses the data for good",
			[]Op{create("f", 3), sync(3), write(0, "a"), failSync(3), sync(3)},
			"f=", "f=a", []string{"f="}},
		{"and a retried write brings it back",
			[]Op{create("f", 3), sync(3), write(0, "a"), failSync(3), write(0, "a"), sync(3)},
			"f=a", "f=a", []string{"f=a"}},
		{"a file that the Go runtime created",
			[]Op{{Kind: Open, Path: "f", FD: 3}, write(0, "ab"), sync(3)},
			"f=ab", "f=ab", []string{"f=ab"}},
		{"what SQLite rebuilds is left out",
			[]Op{create("db-shm", 4), create(AckFile, 6)},
			"", "", []string{""}},
	} {
		t.Run(tc.name, func(t *testing.T) {
			d := NewDisk()
			for _, op := range tc.ops {
				if err := d.Apply(op); err != nil {
					t.Fatal(err)
				}
			}
			seen := map[string]bool{}
			for seed := range uint64(300) {
				seen[d.State(Torn, seed).text()] = true
			}
			want := slices.Sorted(slices.Values(tc.torn))
			if got := slices.Sorted(maps.Keys(seen)); !slices.Equal(got, want) {
				t.Errorf("torn: %q, not %q", got, want)
			}
			if got := d.State(Dropped, 0).text(); got != tc.dropped {
				t.Errorf("dropped: %q, not %q", got, tc.dropped)
			}
			if got := d.State(Kept, 0).text(); got != tc.kept {
				t.Errorf("kept: %q, not %q", got, tc.kept)
			}
		})
	}
}

// TestSectors checks that a torn write is torn at sectors' edges.
func TestSectors(t *testing.T) {
	d := NewDisk()
	for _, op := range []Op{create("f", 3), write(0, strings.Repeat("a", 2048)), sync(3), write(256, strings.Repeat("b", 1024))} {
		if err := d.Apply(op); err != nil {
			t.Fatal(err)
		}
	}
	seen := map[string]bool{}
	for seed := range uint64(300) {
		s := string(d.State(Torn, seed)["f"])
		pieces := ""
		for _, p := range [][2]int{{0, 256}, {256, 512}, {512, 1024}, {1024, 1280}, {1280, 2048}} {
			if strings.Count(s[p[0]:p[1]], s[p[0]:p[0]+1]) != p[1]-p[0] {
				t.Fatalf("seed %d: torn within a sector", seed)
			}
			pieces += s[p[0] : p[0]+1]
		}
		seen[pieces] = true
	}
	if len(seen) != 8 { // three sectors touched
		t.Errorf("%d different outcomes: %v", len(seen), seen)
	}
}

// TestUnknown checks that calls which cannot be are not passed over.
func TestUnknown(t *testing.T) {
	for _, op := range []Op{write(0, "a"), unlink("f"), rename("f", "g"), {Kind: Open, Path: "f", FD: 3, Off: 1}, sync(7)} {
		if err := NewDisk().Apply(op); err == nil {
			t.Errorf("%v: no error", op)
		}
	}
}
