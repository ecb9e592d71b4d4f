package gpio

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"periph.io/x/conn/v3/gpio"

	"gardien/gateway"
)

// direction tells whether the pin controller has a line as an output: the chip's own register,
// for what gpiolib says of a line stays when its request is over.
func direction(t *testing.T, a Address) (out bool) {
	t.Helper()
	files, _ := filepath.Glob("/sys/kernel/debug/pinctrl/*/pins")
	for _, f := range files {
		b, err := os.ReadFile(f)
		if err != nil {
			t.Fatal(err)
		}
		for l := range strings.Lines(string(b)) { // "pin 17 (gpio17) 17:pinctrl-bcm2835 function gpio_in in lo; irq 0 (none)"
			if strings.HasPrefix(l, fmt.Sprintf("pin %d (", a.Offset)) {
				return strings.Contains(l, "function gpio_out")
			}
		}
	}
	t.Fatal("the pin controller does not tell its pins: mount debugfs")
	return false
}

// TestPi: on a Raspberry Pi's own pin controller (.ci/lab raspi3b emulates one) lines are found
// by the header's names, a strike is taken and released, and the mainline kernel makes the
// line of a killed process an input, as it is at reset: a strike does not stay released (F2).
func TestPi(t *testing.T) {
	if !Board().Pi {
		t.Skip("this is no Raspberry Pi")
	}
	t.Log(Board())
	for in, offset := range map[string]int{"GPIO17": 17, "P1_11": 17, "pinctrl-bcm2835:17": 17, "GPIO4": 4} {
		p, err := gateway.ParseLine(in)
		if err != nil {
			t.Fatal(err)
		}
		a, err := Find(p)
		if err != nil || a.Offset != offset || !gateway.IsHeaderChip(a.Label) {
			t.Errorf("%s: %v (%s), %v", in, a, a.Label, err)
		}
	}
	p, _ := gateway.ParseLine("GPIO17")
	a, err := Find(p)
	if err != nil {
		t.Fatal(err)
	}
	l := line(t, LineOpts{}, "GPIO17")
	s, err := NewStrike(l, StrikeOpts{Name: "front", Active: gpio.High})
	if err != nil {
		t.Fatal(err)
	}
	if err := s.Release(t.Context()); err != nil || !direction(t, a) {
		t.Errorf("released: %v, output %v", err, direction(t, a))
	}
	s.Close()
	if direction(t, a) || Holder(a) != "" {
		t.Errorf("after Close: output %v, held by %q", direction(t, a), Holder(a))
	}
	other := holder(t, "GPIO17")
	if !direction(t, a) || Holder(a) != "another program" {
		t.Errorf("held: output %v, by %q", direction(t, a), Holder(a))
	}
	kill(t, other)
	if direction(t, a) || Holder(a) != "" {
		t.Errorf("after SIGKILL: output %v, held by %q", direction(t, a), Holder(a))
	}
}
