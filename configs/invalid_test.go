package configs_test

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
	"unicode/utf16"

	"github.com/google/go-cmp/cmp"

	"gardien/configs"
)

// expectations are the "# expect: " lines that a file begins with.
func expectations(b []byte) (want []string) {
	for line := range strings.Lines(string(b)) {
		text, ok := strings.CutPrefix(line, "# expect: ")
		if !ok {
			break
		}
		want = append(want, strings.TrimSuffix(text, "\n"))
	}
	return want
}

// problems are those of an error of Load, as the lines of a file say them.
func problems(t *testing.T, file string, err error) (got []string) {
	t.Helper()
	list, ok := err.(configs.Problems)
	if !ok {
		t.Fatalf("%s: want Problems, got %v", file, err)
	}
	for line := range strings.Lines(list.Error() + "\n") {
		text, ok := strings.CutPrefix(line, file+":")
		if !ok {
			t.Errorf("%q does not begin with the file", line)
		}
		got = append(got, strings.TrimSuffix(text, "\n"))
	}
	return got
}

func TestInvalid(t *testing.T) {
	files, err := filepath.Glob("invalid/*.yaml")
	if err != nil || len(files) < 44 {
		t.Fatalf("invalid/*.yaml: %d files, %v", len(files), err)
	}
	for _, file := range files {
		t.Run(strings.TrimSuffix(filepath.Base(file), ".yaml"), func(t *testing.T) {
			b, err := os.ReadFile(file)
			if err != nil {
				t.Fatal(err)
			}
			want := expectations(b)
			if len(want) == 0 {
				t.Fatal("the file begins with no # expect: line")
			}
			cfg, err := configs.Load(file, opts)
			if cfg != nil {
				t.Fatal("it is accepted")
			}
			if diff := cmp.Diff(want, problems(t, file, err)); diff != "" {
				t.Errorf("problems (-want +got):\n%s", diff)
			}
		})
	}
}

// TestFile is about what a file is before its keys are looked at, where it cannot carry
// its own # expect: line.
func TestFile(t *testing.T) {
	minimal, err := os.ReadFile("minimal.yaml")
	if err != nil {
		t.Fatal(err)
	}
	var wide []byte
	for _, unit := range utf16.Encode([]rune("\ufeff" + string(minimal))) {
		wide = append(wide, byte(unit), byte(unit>>8))
	}
	const empty = "1: (file): it is empty: start from configs/minimal.yaml"
	for _, c := range []struct{ name, text, want string }{
		{"empty", "", empty},
		{"blank lines", "\n\n  \n", empty},
		{"null", "~\n", "1: (file): not a mapping of keys: start from configs/minimal.yaml"},
		{"UTF-16", string(wide), "1: (file): it is not UTF-8: save it in the encoding UTF-8"},
		{"alias first", "*a\n", "1: (file): anchors and aliases are not read: put a text that begins with * in quotes"},
		{"error in the first line", "{", "1: (file): not YAML: did not find expected node content, in what begins here: look for a tab, a missing space after a colon, or a quote that is not closed"},
		{"empty key", string(minimal) + "? \n", "8: ?: not a plain key: write it as one word and a colon"},
		{"key on two lines", string(minimal) + "\"re\\ntention\": 24h\n", "8: ?: not a plain key: write it as one word and a colon"},
		{"second document that is none", string(minimal) + "---\n{", "9: (file): not YAML: did not find expected node content, in what begins here: look for a tab, a missing space after a colon, or a quote that is not closed"},
		{"UTF-8 with a mark", "\ufeff" + string(minimal), ""},
		{"line ends of Windows", strings.ReplaceAll(string(minimal), "\n", "\r\n"), ""},
		{"tabs that do not indent", strings.ReplaceAll(string(minimal), "\n", "\t\n"), ""},
	} {
		t.Run(c.name, func(t *testing.T) {
			file := write(t, filepath.Join(t.TempDir(), "gardien.yaml"), c.text)
			_, err := configs.Load(file, opts)
			if c.want == "" {
				if err != nil {
					t.Fatal(err)
				}
				return
			}
			if diff := cmp.Diff([]string{c.want}, problems(t, file, err)); diff != "" {
				t.Errorf("problems (-want +got):\n%s", diff)
			}
		})
	}

	dir := t.TempDir()
	large := write(t, filepath.Join(dir, "large.yaml"), "# "+strings.Repeat("x", 1<<20))
	for file, want := range map[string]string{
		filepath.Join(dir, "nosuch.yaml"): "name another with --config",
		dir:                               "is a directory",
		large:                             "larger than 1048576 bytes",
	} {
		cfg, err := configs.Load(file, opts)
		if _, ok := err.(configs.Problems); cfg != nil || err == nil || ok || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: got %v, want an error with %q", file, err, want)
		}
	}
}
