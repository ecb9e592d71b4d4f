package gpio

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"strings"
	"syscall"
	"testing"
	"time"

	"periph.io/x/conn/v3/gpio"

	"gardien/drivers/drivertest"
	"gardien/drivers/gpio/gpiosim"
	"gardien/gateway"
)

// These tests run on the kernel's own GPIO: .ci/lab has one. real is for waits in real time.
var real = drivertest.Options{RealTime: true}

func TestMain(m *testing.M) {
	if at, ok := os.LookupEnv("GARDIEN_TEST_HOLD"); ok {
		hold(at)
	}
	os.Exit(m.Run())
}

// hold is another process: it releases a strike and waits to be killed.
func hold(at string) {
	p, err := gateway.ParseLine(at)
	if err != nil {
		panic(err)
	}
	s, err := NewStrike(NewLine(LineOpts{Consumer: "another program"}, p), StrikeOpts{Active: gpio.High})
	if err != nil {
		panic(err)
	}
	if err := s.Release(context.Background()); err != nil {
		panic(err)
	}
	fmt.Println("held")
	select {}
}

func line(t *testing.T, o LineOpts, names ...string) *Line {
	t.Helper()
	var pins []gateway.Line
	for _, n := range names {
		p, err := gateway.ParseLine(n)
		if err != nil {
			t.Fatal(err)
		}
		pins = append(pins, p)
	}
	if o.Consumer == "" {
		o.Consumer = "gardien test"
	}
	l := NewLine(o, pins...)
	t.Cleanup(func() { l.Close() })
	return l
}

func TestKernelStrike(t *testing.T) {
	drivertest.TestStrike(t, real, func(t *testing.T) (gateway.Strike, func() bool) {
		c := gpiosim.New(t, "STRIKE")
		s, err := NewStrike(line(t, LineOpts{}, c.Pin(0)), StrikeOpts{Name: "front", Active: gpio.High})
		if err != nil {
			t.Fatal(err)
		}
		return s, func() bool { return c.Get(0) }
	})
}

func TestKernelContact(t *testing.T) {
	c := gpiosim.New(t, "DOOR")
	drivertest.TestContact(t, real, func(t *testing.T) (gateway.Contact, func(gateway.ContactState)) {
		d, err := NewContact(line(t, LineOpts{Debounce: time.Millisecond}, c.Pin(0)), ContactOpts{Name: "front", Closed: gpio.Low})
		if err != nil {
			t.Fatal(err)
		}
		return d, func(s gateway.ContactState) { c.Set(0, s == gateway.ContactOpen) }
	})
}

func TestKernelREX(t *testing.T) {
	c := gpiosim.New(t, "REX")
	drivertest.TestREX(t, real, func(t *testing.T) (gateway.REX, func()) {
		b, err := NewButton(line(t, LineOpts{}, c.Pin(0)), ButtonOpts{Name: "front", Kind: "rex", Active: gpio.High})
		if err != nil {
			t.Fatal(err)
		}
		// A finger is slower; what is shorter than the kernel's interrupt thread needs is no press.
		return b, func() {
			for _, down := range []bool{true, false} {
				c.Set(0, down)
				time.Sleep(time.Millisecond)
			}
		}
	})
}

func TestFind(t *testing.T) {
	c := gpiosim.New(t, "ID_SD", "GPIO17", "GPIO4")
	for in, want := range map[string]string{
		"GPIO17": c.Name() + " line 1", "P1_11": c.Name() + " line 1", "P1_7": c.Name() + " line 2",
		c.Name() + ":0": c.Name() + " line 0", c.Label + ":2": c.Name() + " line 2",
	} {
		p, _ := gateway.ParseLine(in)
		a, err := Find(p)
		if err != nil || a.String() != want {
			t.Errorf("%s: %v, %v, want %s", in, a, err, want)
		}
	}
	for in, want := range map[string]string{
		"GPIO9":           c.Name() + " (" + c.Label + ", 3 lines)",
		"gpiochip77:1":    c.Name() + " (",
		c.Name() + ":3":   "the chip has lines 0 to 2",
		"pinctrl-rp1:100": "there is no such chip",
	} {
		p, _ := gateway.ParseLine(in)
		if _, err := Find(p); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: %v, want %q", in, err, want)
		}
	}
	gpiosim.New(t, "GPIO17")
	p, _ := gateway.ParseLine("GPIO17")
	if _, err := Find(p); err == nil || !strings.Contains(err.Error(), "write the pin as chip:line") {
		t.Errorf("two lines of one name: %v", err)
	}
}

// TestF1_FirstLevelKernel: the kernel's own trace shows that an active-low strike never
// has its released level while the daemon takes it, whatever the wire had before.
func TestF1_FirstLevelKernel(t *testing.T) {
	c := gpiosim.New(t, "STRIKE")
	for _, active := range []gpio.Level{gpio.Low, gpio.High} {
		c.Set(0, active == gpio.Low) // at rest: not released
		trace := tracing(t)
		s, err := NewStrike(line(t, LineOpts{}, c.Pin(0)), StrikeOpts{Name: "front", Active: active})
		if err != nil {
			t.Fatal(err)
		}
		s.Secure(t.Context())
		seen := trace()
		s.Close()
		want, bad := "set 1", "set 0"
		if active == gpio.High {
			want, bad = bad, want
		}
		if !strings.Contains(seen, want) && !strings.Contains(seen, "out") {
			t.Errorf("active %v: the trace shows nothing:\n%s", active, seen)
		}
		if strings.Contains(seen, bad) {
			t.Errorf("active %v: a glitch:\n%s", active, seen)
		}
	}
}

// tracing records the kernel's gpio events until the returned function is called.
func tracing(t *testing.T) (stop func() string) {
	t.Helper()
	const dir = "/sys/kernel/tracing/"
	if _, err := os.Stat(dir + "events/gpio"); err != nil {
		gpiosim.Skip(t, "this kernel has no gpio tracepoints")
	}
	write := func(file, v string) {
		if err := os.WriteFile(dir+file, []byte(v), 0); err != nil {
			t.Fatal(err)
		}
	}
	write("trace", "")
	write("events/gpio/enable", "1")
	return func() string {
		write("events/gpio/enable", "0")
		b, err := os.ReadFile(dir + "trace")
		if err != nil {
			t.Fatal(err)
		}
		var lines []string
		for _, l := range strings.Split(string(b), "\n") {
			if strings.Contains(l, "gpio_") {
				lines = append(lines, l)
			}
		}
		return strings.Join(lines, "\n")
	}
}

// TestBusy: a line that another process holds is named with its holder, nothing is done to
// it, and it is taken when it is free.
func TestBusy(t *testing.T) {
	c := gpiosim.New(t, "STRIKE")
	other := holder(t, c.Pin(0))
	l := line(t, LineOpts{}, c.Pin(0))
	s, err := NewStrike(l, StrikeOpts{Name: "front", Active: gpio.High})
	if !Busy(err) || !strings.Contains(err.Error(), `is held by "another program"`) {
		t.Errorf("%v", err)
	}
	defer s.Close()
	if !c.Get(0) {
		t.Error("the other's output has moved")
	}
	kill(t, other)
	for end := time.Now().Add(15 * time.Second); s.Fault() != nil; time.Sleep(20 * time.Millisecond) {
		if time.Now().After(end) {
			t.Fatalf("the line is free, and not taken: %v", s.Fault())
		}
	}
	if c.Get(0) {
		t.Error("its first level is not the secured one")
	}
}

func holder(t *testing.T, at string) *exec.Cmd {
	t.Helper()
	cmd := exec.Command(os.Args[0])
	cmd.Env = append(os.Environ(), "GARDIEN_TEST_HOLD="+at)
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { cmd.Process.Kill(); cmd.Wait() })
	buf := make([]byte, 16)
	if n, err := out.Read(buf); err != nil || string(buf[:n]) != "held\n" {
		t.Fatalf("%q, %v", buf[:n], err)
	}
	return cmd
}

func kill(t *testing.T, cmd *exec.Cmd) {
	t.Helper()
	cmd.Process.Signal(syscall.SIGKILL)
	cmd.Wait()
}

// TestVanished: the chip goes away and comes back, under whatever number; strike and
// contact say so, and work again by themselves.
func TestVanished(t *testing.T) {
	c := gpiosim.New(t, "GPIO17", "GPIO27")
	s, err := NewStrike(line(t, LineOpts{}, "GPIO17"), StrikeOpts{Name: "front", Active: gpio.High})
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	d, err := NewContact(line(t, LineOpts{Debounce: time.Millisecond}, "GPIO27"), ContactOpts{Name: "front", Closed: gpio.Low})
	if err != nil {
		t.Fatal(err)
	}
	defer d.Close()
	if d.Contact() != gateway.ContactClosed {
		t.Fatal("not closed at first")
	}
	c.Remove()
	if got := d.Contact(); got != gateway.ContactFault {
		t.Errorf("without its chip: %s", got)
	}
	if err := s.Release(t.Context()); !errors.Is(err, gateway.ErrFault) || s.Fault() == nil {
		t.Errorf("release without its chip: %v, %v", err, s.Fault())
	}
	if err := s.Secure(t.Context()); err == nil {
		t.Error("secured without its chip")
	}
	gpiosim.New(t, "first") // takes the number
	c = gpiosim.New(t, "x", "GPIO27", "GPIO17")
	c.Set(1, true)
	until(t, "the contact is back", func() bool { return d.Contact() == gateway.ContactOpen })
	until(t, "the strike is back", func() bool { return s.Fault() == nil })
	if c.Get(2) {
		t.Error("what could not be released then is released now")
	}
	if err := s.Release(t.Context()); err != nil || !c.Get(2) {
		t.Errorf("release: %v", err)
	}
	for len(d.ContactChanges()) > 0 {
		<-d.ContactChanges()
	}
	time.Sleep(2 * backoffMost / 10)
	c.Set(1, false)
	until(t, "edges are seen again", func() bool {
		select {
		case <-d.ContactChanges():
			return d.Contact() == gateway.ContactClosed
		default:
			return false
		}
	})
}

func until(t *testing.T, what string, f func() bool) {
	t.Helper()
	for end := time.Now().Add(2 * backoffMost); !f(); time.Sleep(10 * time.Millisecond) {
		if time.Now().After(end) {
			t.Fatalf("%s: not within %v", what, 2*backoffMost)
		}
	}
}

// TestEdges: edges carry their level, the kernel's time, and what was lost before them.
func TestEdges(t *testing.T) {
	c := gpiosim.New(t, "D0", "D1")
	l := line(t, LineOpts{}, c.Pin(0), c.Pin(1))
	if err := l.In(gpio.PullNoChange, gpio.BothEdges); err != nil {
		t.Fatal(err)
	}
	var last time.Duration
	for i := range 40 {
		n, high := i/2%2, i%2 == 0
		c.Set(n, high)
		e, err := l.NextEdge(time.Now().Add(time.Second))
		if err != nil || e.Line != n || bool(e.Level) != high || e.Lost != 0 || e.At <= last {
			t.Fatalf("edge %d: %+v, %v", i, e, err)
		}
		last = e.At
	}
	const more = 1500
	for i := range more {
		c.Set(0, i%2 == 0)
	}
	got, lost := 0, 0
	for {
		e, err := l.NextEdge(time.Now().Add(100 * time.Millisecond))
		if err != nil {
			break
		}
		got, lost = got+1, lost+e.Lost
	}
	// Two interrupts before their thread ran are two edges with the second one's number (Linux
	// 6.1): the first counts as lost, although it came.
	if got+lost < more || got+lost > more+more/10 || lost == 0 {
		t.Errorf("%d edges given and %d told as lost, want %d in all and some lost", got, lost, more)
	}
	if _, err := l.NextEdge(time.Now()); !errors.Is(err, os.ErrDeadlineExceeded) {
		t.Errorf("no edge: %v", err)
	}
	waited := make(chan error)
	go func() { _, err := l.NextEdge(time.Time{}); waited <- err }()
	time.Sleep(10 * time.Millisecond)
	l.Close()
	if err := <-waited; !errors.Is(err, os.ErrClosed) {
		t.Errorf("closed: %v", err)
	}
}

// TestBounce: a contact that bounces at 1 kHz for a while counts once it is still, and a
// spike shorter than the debounce time not at all.
func TestBounce(t *testing.T) {
	c := gpiosim.New(t, "DOOR")
	d, err := NewContact(line(t, LineOpts{Debounce: 50 * time.Millisecond}, c.Pin(0)), ContactOpts{Name: "front", Closed: gpio.Low})
	if err != nil {
		t.Fatal(err)
	}
	defer d.Close()
	changes := 0
	start := time.Now()
	for i := 1; time.Since(start) < 300*time.Millisecond; i++ {
		c.Set(0, i%2 == 1)
		time.Sleep(time.Millisecond)
		select {
		case <-d.ContactChanges():
			changes++
		default:
		}
		if d.Contact() != gateway.ContactClosed {
			t.Fatal("open while it bounces")
		}
	}
	c.Set(0, true)
	<-d.ContactChanges()
	if took := time.Since(start); d.Contact() != gateway.ContactOpen || changes > 0 {
		t.Errorf("%s after %v, %d changes before", d.Contact(), took, changes)
	}
	c.Set(0, false)
	time.Sleep(10 * time.Millisecond)
	c.Set(0, true)
	time.Sleep(100 * time.Millisecond)
	if d.Contact() != gateway.ContactOpen {
		t.Error("a spike counts")
	}
}

// TestOutputReadBack: reading an output leaves it one.
func TestOutputReadBack(t *testing.T) {
	c := gpiosim.New(t, "STRIKE")
	l := line(t, LineOpts{}, c.Pin(0))
	if err := l.Out(gpio.High); err != nil {
		t.Fatal(err)
	}
	for range 3 {
		if v, err := l.Sample(); err != nil || v != gpio.High || !c.Get(0) {
			t.Fatalf("%v, %v, wire %v", v, err, c.Get(0))
		}
	}
	c.Set(0, false)
	if !c.Get(0) {
		t.Error("not driven any more")
	}
	l.Close()
	if c.Get(0) {
		t.Error("driven after Close")
	}
}
