package keypad

import (
	"context"
	"runtime"
	"strings"
	"sync"
	"testing"
	"time"

	periph "periph.io/x/conn/v3/gpio"

	"gardien/drivers/gpio"
	"gardien/drivers/gpio/gpiosim"
	"gardien/gateway"
)

// wires is a keypad on the kernel's simulated lines: while a key is down, its column has what
// its row has.
type wires struct {
	chip *gpiosim.Chip
	mu   sync.Mutex
	down int // the key, or -1
}

func (w *wires) run(stop <-chan struct{}) {
	for {
		select {
		case <-stop:
			return
		default:
		}
		w.mu.Lock()
		for r := range 4 { // the simulator lets a line that floats keep what it was driven to
			w.chip.Set(r, true)
		}
		for c := range 3 {
			w.chip.Set(4+c, w.down < 0 || w.down%3 != c || w.chip.Get(w.down/3))
		}
		w.mu.Unlock()
		runtime.Gosched() // a wire is quicker than a timer
	}
}

func (w *wires) press(key int) {
	w.mu.Lock()
	w.down = key
	w.mu.Unlock()
	time.Sleep(100 * time.Millisecond)
}

// TestKernelKeys: a pad on lines of the kernel, which turn from outputs to inputs and back as
// it is scanned; at rest each row is an output again.
func TestKernelKeys(t *testing.T) {
	w := &wires{chip: gpiosim.New(t, "R0", "R1", "R2", "R3", "C0", "C1", "C2"), down: -1}
	for i := range 7 {
		w.chip.Set(i, true) // rows that float are high, too
	}
	stop, stopped := make(chan struct{}), make(chan struct{})
	go func() { defer close(stopped); w.run(stop) }()
	defer func() { close(stop); <-stopped }()
	line := func(n int) *gpio.Line {
		p, err := gateway.ParseLine(w.chip.Pin(n))
		if err != nil {
			t.Fatal(err)
		}
		return gpio.NewLine(gpio.LineOpts{Consumer: "gardien test"}, p)
	}
	var rows []periph.PinIO
	var columns []periph.PinIn
	for i := range 4 {
		rows = append(rows, line(i))
	}
	for i := range 3 {
		columns = append(columns, line(4+i))
	}
	pad, err := New(rows, columns, Opts{Name: "pad", Keys: usual})
	if err != nil {
		t.Fatal(err)
	}
	defer pad.Close()
	ctx, cancel := context.WithCancel(t.Context())
	done, got := make(chan error, 1), make(chan string, 8)
	go func() {
		done <- pad.Read(ctx, func(_ context.Context, c gateway.Credential) { got <- c.(gateway.PINCredential).PIN.Reveal() })
	}()
	time.Sleep(100 * time.Millisecond)
	for _, k := range "0123456789#42*7#" {
		w.press(strings.IndexByte(usual, byte(k)))
		w.press(-1)
	}
	for _, want := range []string{"0123456789", "7"} {
		select {
		case s := <-got:
			if s != want {
				t.Errorf("%s, want %s", s, want)
			}
		case <-time.After(5 * time.Second):
			t.Fatal("no PIN")
		}
	}
	for i := range 4 {
		if w.chip.Get(i) {
			t.Errorf("row %d is not low at rest", i)
		}
	}
	cancel()
	if err := <-done; err != nil {
		t.Error(err)
	}
}
