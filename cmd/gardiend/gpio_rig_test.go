package main

import (
	"bufio"
	"context"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"gardien/drivers/gpio/gpiosim"
	"gardien/gateway"
	"gardien/gateway/api"
)

// Stories of a real door on the kernel's own GPIO, with the real daemon as a process of its
// own: .ci/lab runs them in a virtual machine.

// The lines of the simulated chip.
const (
	strikeLine = iota
	contactLine
	rexLine
	d0Line
	d1Line
	feedbackLine
)

// wired is a door with wires.
type wired struct {
	t      testing.TB
	chip   *gpiosim.Chip
	dir    string
	config string
	client *api.Client
	cmd    *exec.Cmd
	ended  chan struct{} // closed when cmd has ended

	watchdogIn string // WatchdogSec in µs; "": none

	mu   sync.Mutex
	fed  time.Time     // last sign of life to the service manager
	live chan struct{} // READY=1
}

// newWired makes a door that is closed, with its reader idle; extra is added to the door's
// configuration.
func newWired(t testing.TB, extra string) *wired {
	t.Helper()
	w := &wired{t: t, chip: gpiosim.New(t, "STRIKE", "CONTACT", "REX", "D0", "D1", "FEEDBACK"), dir: t.TempDir(), watchdogIn: "10000000"}
	w.chip.Set(rexLine, true)
	w.chip.Set(d0Line, true)
	w.chip.Set(d1Line, true)
	w.config = filepath.Join(w.dir, "g.yaml")
	w.check(os.WriteFile(w.config, []byte(fmt.Sprintf(`
gateway: {time_zone: Europe/Paris, state_dir: state}
clock: {source: system}
api: {listen: "", socket: s}
mdns: {mode: "off"}
doors:
  - id: front
    strike: {driver: gpio, pin: "%s", active: high}
    contact: {driver: gpio, pin: "%s", closed: low, debounce: 20ms, pull: none}
    rex: {driver: gpio, pin: "%s", active: low, pull: none}
    release_time: 3s
    held_open_after: 2s
%s
readers:
  - {id: keypad, door: front, driver: wiegand, d0: "%s", d1: "%s"}
`, w.chip.Pin(strikeLine), w.chip.Pin(contactLine), w.chip.Pin(rexLine), extra, w.chip.Pin(d0Line), w.chip.Pin(d1Line))), 0o600))
	w.client = api.NewClient(filepath.Join(w.dir, "s"))
	t.Cleanup(func() {
		w.client.Close()
		if w.cmd != nil {
			w.cmd.Process.Signal(syscall.SIGCONT)
			w.cmd.Process.Kill()
			<-w.ended
		}
		if t.Failed() {
			b, _ := os.ReadFile(filepath.Join(w.dir, "log"))
			t.Logf("gardiend's log:\n%s", b)
		}
	})
	return w
}

// change changes the configuration before the start.
func (w *wired) change(from, to string) {
	w.t.Helper()
	b, err := os.ReadFile(w.config)
	w.check(err)
	text := strings.Replace(string(b), from, to, 1)
	if text == string(b) {
		w.t.Fatalf("the configuration has no %q", from)
	}
	w.check(os.WriteFile(w.config, []byte(text), 0o600))
}

func (w *wired) check(err error) {
	w.t.Helper()
	if err != nil {
		w.t.Fatal(err)
	}
}

// start runs gardiend as systemd does, and waits for READY=1.
func (w *wired) start() {
	w.t.Helper()
	calm.Lock()
	defer calm.Unlock()
	path := filepath.Join(w.dir, "notify")
	os.Remove(path)
	notify, err := net.ListenUnixgram("unixgram", &net.UnixAddr{Name: path, Net: "unixgram"})
	w.check(err)
	log, err := os.OpenFile(filepath.Join(w.dir, "log"), os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o600)
	w.check(err)
	w.cmd = exec.Command("gardiend", "--config", w.config)
	w.cmd.Env = append(os.Environ(), "NOTIFY_SOCKET="+path)
	if w.watchdogIn != "" {
		w.cmd.Env = append(w.cmd.Env, "WATCHDOG_USEC="+w.watchdogIn)
	}
	w.cmd.Stderr = log
	ended, ready := make(chan struct{}), make(chan struct{})
	w.ended, w.live = ended, ready
	w.check(w.cmd.Start())
	w.fed = time.Now()
	go func() {
		defer notify.Close()
		buf := make([]byte, 4096)
		for {
			n, err := notify.Read(buf)
			if err != nil {
				return
			}
			w.mu.Lock()
			w.fed = time.Now()
			w.mu.Unlock()
			if strings.Contains(string(buf[:n]), "READY=1") {
				close(ready)
			}
		}
	}()
	cmd := w.cmd
	go func() { cmd.Wait(); notify.Close(); log.Close(); close(ended) }()
	select {
	case <-ready:
	case <-ended:
		w.t.Fatal("gardiend ended at its start")
	case <-time.After(30 * time.Second):
		w.t.Fatal("not ready")
	}
}

// stop ends gardiend as systemd does.
func (w *wired) stop() {
	w.t.Helper()
	select {
	case <-w.ended:
		w.t.Fatal("gardiend has ended by itself")
	default:
	}
	w.cmd.Process.Signal(syscall.SIGTERM)
	select {
	case <-w.ended:
	case <-time.After(10 * time.Second):
		w.t.Fatal("gardiend does not end")
	}
	w.cmd = nil
}

// secureAll is ExecStopPost.
func (w *wired) secureAll() {
	w.t.Helper()
	if out, err := exec.Command("gardiend", "secure-all", "--config", w.config).CombinedOutput(); err != nil {
		w.t.Errorf("secure-all: %v: %s", err, out)
	}
}

// pin makes a grant with a PIN.
func (w *wired) pin(uses int) string {
	w.t.Helper()
	var g struct{ PIN string }
	body := map[string]any{"doors": []string{"front"}, "pin": true, "not_after": time.Now().Add(time.Hour).Format(time.RFC3339)}
	if uses > 0 {
		body["uses"] = uses
	}
	w.check(w.client.Do(context.Background(), "POST", "/v1/grants", body, &g))
	return g.PIN
}

// calm keeps processes from starting while somebody types: this machine is emulated, and slow
// enough for that to delay an interrupt's thread by bits.
var calm sync.Mutex

// keys types on the Wiegand keypad, with a real keypad's timing: pulses of some 50 µs, 2 ms apart.
func (w *wired) keys(s string) {
	calm.Lock()
	defer calm.Unlock()
	for _, k := range s {
		code := strings.IndexByte("0123456789*#", byte(k))
		for bit := 3; bit >= 0; bit-- {
			line := d0Line + code>>bit&1
			w.chip.Set(line, false)
			w.chip.Set(line, true)
			time.Sleep(2 * time.Millisecond)
		}
		time.Sleep(60 * time.Millisecond)
	}
}

// An emulated machine on a busy host may miss a key, as no real one does: whoever types goes on
// until a verdict is in the record, this often at most, and the run says when that was needed.
const typings = 10

// present types a PIN until there is a verdict, and gives it.
func (w *wired) present(pin string) gateway.Event {
	w.t.Helper()
	_, seq := w.events(0)
	for try := 1; try <= typings; try++ {
		w.keys("*" + pin + "#")
		if e, ok := w.verdict(seq, 2*time.Second); ok {
			if try > 1 {
				w.t.Logf("a PIN was typed %d times until there was a verdict", try)
			}
			return e
		}
	}
	w.t.Fatalf("typed %d times, and there is no verdict", typings)
	return gateway.Event{}
}

// presentLive types a PIN that is live until the verdict is its own: one of which a key was
// missed is a wrong one. Three wrong ones are free (P2).
func (w *wired) presentLive(pin string) (e gateway.Event) {
	w.t.Helper()
	for try := 1; try <= 4; try++ {
		if e = w.present(pin); e.Reason != gateway.WrongPIN {
			break
		}
		w.t.Logf("a key of a live PIN was missed (%d)", try)
	}
	return e
}

// verdict waits for what became of an attempt after a number.
func (w *wired) verdict(after int64, within time.Duration) (gateway.Event, bool) {
	w.t.Helper()
	for end := time.Now().Add(within); ; time.Sleep(25 * time.Millisecond) {
		list, _ := w.events(after)
		for _, e := range list {
			if e.Type == gateway.AccessGranted || e.Type == gateway.AccessDenied {
				return e, true
			}
		}
		if time.Now().After(end) {
			return gateway.Event{}, false
		}
	}
}

// enter types a good PIN until the strike is released, and gives when. A PIN of which a key was
// missed is a wrong one.
func (w *wired) enter(pin string) time.Time {
	w.t.Helper()
	for try := 1; try <= typings; try++ {
		_, seq := w.events(0)
		w.keys("*" + pin + "#")
		for end := time.Now().Add(time.Second); time.Now().Before(end); time.Sleep(time.Millisecond) {
			if now := time.Now(); w.chip.Get(strikeLine) {
				if try > 1 {
					w.t.Logf("a PIN was typed %d times until the strike was released", try)
				}
				return now
			}
		}
		if e, ok := w.verdict(seq, time.Second); ok && e.Reason != gateway.WrongPIN {
			w.t.Fatalf("a good PIN: %s %s, and the strike is not released", e.Type, e.Reason)
		}
	}
	w.t.Fatalf("typed %d times, and the strike is not released", typings)
	return time.Time{}
}

// noise lets a contact bounce at 1 kHz, closed at the end, and gives how long it was open on end
// at most: a machine that stands still in between makes an opening of it.
func (w *wired) noise(line int) (longest time.Duration) {
	for range 100 {
		begun := time.Now()
		w.chip.Set(line, true)
		time.Sleep(time.Millisecond)
		w.chip.Set(line, false)
		longest = max(longest, time.Since(begun))
		time.Sleep(time.Millisecond)
	}
	return longest
}

// released waits for the strike's line to have a level, and gives when.
func (w *wired) released(want bool, within time.Duration) time.Time {
	w.t.Helper()
	for end := time.Now().Add(within); ; time.Sleep(2 * time.Millisecond) {
		now := time.Now()
		if w.chip.Get(strikeLine) == want {
			return now
		}
		if now.After(end) {
			w.t.Fatalf("the strike's line is not %v within %v", want, within)
		}
	}
}

// events gives the types of what happened after a number, and the last number.
func (w *wired) events(after int64) (list []gateway.Event, last int64) {
	w.t.Helper()
	var page struct{ Events []gateway.Event }
	w.check(w.client.Do(context.Background(), "GET", fmt.Sprintf("/v1/events?limit=1000&after=%d", after), nil, &page))
	if n := len(page.Events); n > 0 {
		after = page.Events[n-1].Seq
	}
	return page.Events, after
}

// until waits for events of these types, in this order, among others; it gives them.
func (w *wired) until(after int64, within time.Duration, types ...gateway.EventType) []gateway.Event {
	w.t.Helper()
	for end := time.Now().Add(within); ; time.Sleep(25 * time.Millisecond) {
		list, _ := w.events(after)
		var found []gateway.Event
		for _, e := range list {
			if len(found) < len(types) && e.Type == types[len(found)] {
				found = append(found, e)
			}
		}
		if len(found) == len(types) {
			return found
		}
		if time.Now().After(end) {
			var got []string
			for _, e := range list {
				got = append(got, string(e.Type)+" "+string(e.Reason))
			}
			w.t.Fatalf("not within %v: %v; there are %v", within, types, got)
		}
	}
}

// tracing counts the levels that the strike's line is set to from now on: of all, and those
// that release it.
func tracing(t *testing.T, c *gpiosim.Chip) (stop func() (all, released int)) {
	t.Helper()
	instance := "/sys/kernel/tracing/instances/" + c.Label
	if err := os.Mkdir(instance, 0o700); err != nil {
		gpiosim.Skip(t, "this kernel has no gpio tracepoints: "+err.Error())
	}
	t.Cleanup(func() { os.Remove(instance) })
	if err := os.WriteFile(instance+"/events/gpio/enable", []byte("1"), 0); err != nil {
		gpiosim.Skip(t, "this kernel has no gpio tracepoints: "+err.Error())
	}
	line := fmt.Sprintf(" %d ", c.Number(strikeLine))
	return func() (all, released int) {
		os.WriteFile(instance+"/events/gpio/enable", []byte("0"), 0)
		f, err := os.Open(instance + "/trace")
		if err != nil {
			t.Fatal(err)
		}
		defer f.Close()
		for s := bufio.NewScanner(f); s.Scan(); {
			if _, event, ok := strings.Cut(s.Text(), "gpio_value:"); ok && strings.HasPrefix(event, line+"set ") {
				all++
				if strings.HasPrefix(event, line+"set 1") {
					released++
				}
			}
		}
		return all, released
	}
}
