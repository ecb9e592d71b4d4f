package hardware

import (
	"log/slog"
	"path/filepath"
	"strings"
	"testing"

	"gardien/configs"
)

var quiet = slog.New(slog.DiscardHandler)

// F3: whoever installs is told what keeps the strikes secured before gardiend runs, for each
// polarity, and nothing is told of doors without lines.
func TestBootNotes(t *testing.T) {
	for file, want := range map[string][]string{
		"recipes/strike.yaml": {"gpio=17=op,dl", "dtparam=strict_gpiod"},
		"minimal.yaml":        nil,
	} {
		cfg, err := configs.Load(filepath.Join("..", "..", "..", "configs", file), configs.Opts{SetAside: true})
		if err != nil {
			t.Fatal(err)
		}
		problems, notes := Check(cfg)
		if len(problems) > 0 {
			t.Skip("this machine has GPIO, and not what the recipe wants: ", problems)
		}
		text := strings.Join(notes, "\n")
		for _, w := range want {
			if !strings.Contains(text, w) {
				t.Errorf("%s: no %q in:\n%s", file, w, text)
			}
		}
		if want == nil && text != "" {
			t.Errorf("%s: %s", file, text)
		}
		for _, d := range cfg.Doors {
			if d.Strike.Driver == "gpio" {
				d.Strike.Active = "low"
				_, notes := Check(cfg)
				if !strings.Contains(strings.Join(notes, "\n"), "gpio=17=op,dh") {
					t.Errorf("active low: %q", notes)
				}
			}
		}
	}
}
