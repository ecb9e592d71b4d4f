package configs_test

import (
	"fmt"
	"path/filepath"
	"strings"
	"testing"

	"gardien/configs"
)

// F2: what securing needs is read of a file that Load refuses.
func TestStrikes(t *testing.T) {
	dir := t.TempDir()
	say := func(text string) string {
		c := configs.Strikes(write(t, filepath.Join(dir, "g.yaml"), text))
		s := strings.ReplaceAll(c.Gateway.StateDir, dir, "DIR")
		for _, d := range c.Doors {
			s += fmt.Sprintf(" %s:%s:%s", d.ID, d.Strike.Pin, d.Strike.Active)
		}
		return s
	}
	for text, want := range map[string]string{
		"gateway: {state_dir: state}\ndoors:\n  - {id: a, strike: {driver: gpio, pin: GPIO17}}\n  - {id: b, strike: {driver: sim}}\n  - {id: c, strike: {driver: gpio, pin: GPIO4, active: low}}": "DIR/state a:GPIO17:high c:GPIO4:low",
		"nonsense: true\ngateway: {state_dir: /s, time_zone: [}\n":                                           "/s",
		"gateway: {state_dir: /s}\ndoors:\n  - id: [1]\n    strike: {driver: gpio, pin: GPIO5, active: 7}\n": "/s :GPIO5:high",
		"":                  "/var/lib/gardien",
		"\t- [state_dir: x": "DIR/x",
	} {
		if got := say(text); got != want {
			t.Errorf("%q:\n%s, want\n%s", text, got, want)
		}
	}
	if c := configs.Strikes(filepath.Join(dir, "none.yaml")); c.Gateway.StateDir != "/var/lib/gardien" || len(c.Doors) != 0 {
		t.Errorf("%+v", c)
	}
}
