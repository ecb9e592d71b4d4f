package configs_test

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// TestRecipes: each recipe is a valid configuration, wiring.md names each, and each is of
// what the page says.
func TestRecipes(t *testing.T) {
	page, err := os.ReadFile("wiring.md")
	if err != nil {
		t.Fatal(err)
	}
	files, err := filepath.Glob("recipes/*.yaml")
	if err != nil || len(files) < 8 {
		t.Fatalf("%d recipes, %v", len(files), err)
	}
	for _, f := range files {
		cfg := load(t, f)
		if len(cfg.Wires()) == 0 {
			t.Errorf("%s: no wires", f)
		}
		b, err := os.ReadFile(f)
		if err != nil {
			t.Fatal(err)
		}
		if !strings.Contains(string(page), "— `"+f+"`") {
			t.Errorf("wiring.md does not name %s", f)
		}
		_, title, _ := strings.Cut(string(b), `wiring.md, "`)
		title, _, _ = strings.Cut(title, `"`)
		if title == "" || !strings.Contains(string(page), "\n## "+title) {
			t.Errorf("%s: wiring.md has no section %q", f, title)
		}
	}
}
