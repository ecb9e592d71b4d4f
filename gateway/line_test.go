package gateway_test

import (
	"strings"
	"testing"

	"gardien/gateway"
)

func TestParseLine(t *testing.T) {
	for in, want := range map[string]gateway.Line{
		"GPIO0": {Header: 0}, "GPIO17": {Header: 17}, "GPIO27": {Header: 27},
		"P1_11": {Header: 17}, "P1_3": {Header: 2}, "P1_40": {Header: 21}, "P1_27": {Header: 0},
		"gpiochip0:17":            {Header: -1, Chip: "gpiochip0", Number: 17},
		"pinctrl-rp1:4":           {Header: 4}, // the same line: the same rules
		"pinctrl-rp1:40":          {Header: -1, Chip: "pinctrl-rp1", Number: 40},
		"gpio-sim.0-node0:0":      {Header: -1, Chip: "gpio-sim.0-node0", Number: 0},
		"raspberrypi-exp-gpio:12": {Header: -1, Chip: "raspberrypi-exp-gpio", Number: 12},
	} {
		got, err := gateway.ParseLine(in)
		if err != nil || got != want {
			t.Errorf("%s: %+v, %v", in, got, err)
		}
	}
	for _, in := range []string{"", "17", "GPIO", "GPIO28", "GPIO017", "GPIO-1", "gpio17", "GPIO17 ", "P1_1", "P1_6", "P1_0", "P1_41",
		"P1_011", "chip:", ":3", "a b:3", "gpiochip0:-1", "gpiochip0:+1", "gpiochip0:1000", strings.Repeat("x", 70) + ":1", "/dev/gpiochip0:3"} {
		if p, err := gateway.ParseLine(in); err == nil {
			t.Errorf("%q is taken as %v", in, p)
		}
	}
	seen := map[int]bool{}
	for i := 1; i <= 40; i++ {
		if p, err := gateway.ParseLine("P1_" + strings.TrimLeft(string([]byte{'0' + byte(i/10), '0' + byte(i%10)}), "0")); err == nil {
			if seen[p.Header] {
				t.Errorf("P1_%d: GPIO%d stands twice", i, p.Header)
			}
			seen[p.Header] = true
		}
	}
	if len(seen) != gateway.HeaderPins {
		t.Errorf("%d signals on the header, want %d", len(seen), gateway.HeaderPins)
	}
}

// FuzzParseLine: whatever is taken names the same line again.
func FuzzParseLine(f *testing.F) {
	for _, s := range []string{"GPIO17", "P1_11", "gpiochip0:17", "a:b:1"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		p, err := gateway.ParseLine(s)
		if err != nil {
			return
		}
		if again, err := gateway.ParseLine(p.String()); err != nil || again != p {
			t.Errorf("%q: %v, then %v, %v", s, p, again, err)
		}
	})
}
