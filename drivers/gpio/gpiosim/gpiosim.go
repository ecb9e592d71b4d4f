// Package gpiosim makes GPIO chips of the kernel's own simulator (gpio-sim) for tests, and
// moves and reads their wires from outside, through sysfs.
package gpiosim

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"

	sim "github.com/warthog618/go-gpiosim"
)

// Required makes tests fail that would be skipped for want of a kernel feature: the lab's own runs.
func Required() bool { return os.Getenv("GARDIEN_LAB") == "required" }

// Skip skips the test, or fails it in the lab.
func Skip(t testing.TB, why string) {
	t.Helper()
	if Required() {
		t.Fatal("required in the lab: ", why)
	}
	t.Skip(why, ": .ci/lab runs this test in a virtual machine")
}

// Chip is a simulated chip.
type Chip struct {
	Label string // no other chip's

	sim *sim.Sim
	t   testing.TB
}

var made atomic.Int64

// New makes a chip with one line per name, all pulled down.
func New(t testing.TB, names ...string) *Chip {
	t.Helper()
	if _, err := os.Stat("/sys/kernel/config/gpio-sim"); err != nil {
		Skip(t, "this kernel has no gpio-sim")
	}
	var options []sim.NewBankOption
	for i, n := range names {
		options = append(options, sim.WithNamedLine(i, n))
	}
	label := fmt.Sprintf("gardien-test-%d", made.Add(1))
	s, err := sim.NewSim(sim.WithBank(sim.NewBank(label, len(names), options...)))
	if err != nil {
		t.Fatal("gpio-sim: ", err)
	}
	c := &Chip{label, s, t}
	t.Cleanup(c.Remove)
	return c
}

// Remove takes the chip away, as when its driver is unloaded.
func (c *Chip) Remove() {
	if c.sim != nil {
		c.sim.Close()
		c.sim = nil
	}
}

// Name is the kernel's name, as in gpiochip0.
func (c *Chip) Name() string { return c.sim.Chips[0].ChipName() }

// Pin names a line as the configuration does.
func (c *Chip) Pin(n int) string { return fmt.Sprintf("%s:%d", c.Name(), n) }

// Set puts a level on the wire from outside: what an input reads.
func (c *Chip) Set(n int, high bool) {
	v := 0
	if high {
		v = 1
	}
	if err := c.sim.Chips[0].SetPull(n, v); err != nil {
		c.t.Error("gpio-sim: ", err)
	}
}

// Get reads the level of the wire: what an output drives, or else the pull.
func (c *Chip) Get(n int) bool {
	v, err := c.sim.Chips[0].Level(n)
	if err != nil {
		c.t.Error("gpio-sim: ", err)
	}
	return v == 1
}

// Number is the number of a line in the kernel's trace: the chip's base and its own.
func (c *Chip) Number(n int) int {
	c.t.Helper()
	chips, _ := filepath.Glob("/sys/class/gpio/gpiochip*")
	for _, dir := range chips {
		label, err := os.ReadFile(dir + "/label")
		if err != nil || strings.TrimSpace(string(label)) != c.Label {
			continue
		}
		var base int
		if b, err := os.ReadFile(dir + "/base"); err != nil {
			c.t.Fatal(err)
		} else if _, err := fmt.Sscan(string(b), &base); err != nil {
			c.t.Fatal(err)
		}
		return base + n
	}
	Skip(c.t, "this kernel does not say the chips' first numbers")
	return 0
}
