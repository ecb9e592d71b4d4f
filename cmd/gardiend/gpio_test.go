package main

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"gardien/drivers/gpio"
	"gardien/drivers/gpio/gpiosim"
	"gardien/gateway"
	"gardien/gateway/api"
)

// TestGPIOEntry: a courier's PIN on a Wiegand keypad releases the strike; the contact tells
// that somebody came in, and the strike is secured behind them. Nobody comes the second
// time: the pulse is the release time, to 5 %. The third time the PIN is over.
func TestGPIOEntry(t *testing.T) {
	t.Parallel()
	w := newWired(t, "")
	w.start()
	pin := w.pin(2)
	_, seq := w.events(0)

	w.enter(pin)
	w.chip.Set(contactLine, true) // the leaf opens
	w.until(seq, 2*time.Second, gateway.AccessGranted, gateway.StrikeReleased, gateway.DoorOpened, gateway.AccessTaken)
	w.released(false, 1500*time.Millisecond) // the relock delay is 1 s
	w.chip.Set(contactLine, false)
	w.until(seq, 2*time.Second, gateway.StrikeSecured, gateway.DoorClosed)

	_, seq = w.events(0)
	begun := w.enter(pin)
	pulse := w.released(false, 5*time.Second).Sub(begun)
	t.Logf("a pulse of %v for a release time of 3 s", pulse)
	if pulse < 2850*time.Millisecond || pulse > 3150*time.Millisecond {
		t.Errorf("a pulse of %v, want 3 s to 5 %%", pulse)
	}
	w.until(seq, 2*time.Second, gateway.AccessGranted, gateway.StrikeSecured, gateway.AccessNotTaken)

	// The entry that nobody took may be tried again; then it is over.
	w.enter(pin)
	w.chip.Set(contactLine, true)
	w.released(false, 2*time.Second)
	w.chip.Set(contactLine, false)
	if e := w.present(pin); e.Reason != gateway.WrongPIN {
		t.Errorf("denied with %q", e.Reason)
	}
	if w.chip.Get(strikeLine) {
		t.Error("a spent PIN releases")
	}
	w.stop()
}

// TestGPIOLockOut: guessing at the keypad meets the lock-out, and a good PIN waits, too (P2).
func TestGPIOLockOut(t *testing.T) {
	t.Parallel()
	w := newWired(t, "")
	w.start()
	pin := w.pin(0)
	_, seq := w.events(0)
	for i := range 4 {
		w.present(fmt.Sprintf("%06d", i))
	}
	w.until(seq, 2*time.Second, gateway.AccessDenied, gateway.AccessDenied, gateway.AccessDenied)
	w.until(seq, 2*time.Second, gateway.ReaderLockedOut)
	if e := w.present(pin); e.Reason != gateway.LockedOut {
		t.Errorf("denied with %q", e.Reason)
	}
	if w.chip.Get(strikeLine) {
		t.Error("released while locked out")
	}
}

// TestF5_GPIOAlarms: forced open within a second, held open in its time; whoever leaves by the
// request to exit forces nothing; noise on the wire is no opening.
func TestF5_GPIOAlarms(t *testing.T) {
	t.Parallel()
	w := newWired(t, "")
	w.start()
	_, seq := w.events(0)
	for try := 1; ; try++ {
		longest := w.noise(contactLine)
		if list, _ := w.events(seq); !slices.ContainsFunc(list, func(e gateway.Event) bool { return e.Type == gateway.DoorOpened }) {
			break
		}
		if longest < 15*time.Millisecond || try == typings {
			t.Fatalf("noise of at most %v a level opens the door (%d)", longest, try)
		}
		t.Logf("the machine stood still for %v, so that it was no noise: once more (%d)", longest, try)
		w.until(seq, 5*time.Second, gateway.DoorClosed)
		_, seq = w.events(0)
	}
	opened := time.Now()
	w.chip.Set(contactLine, true)
	w.until(seq, time.Second, gateway.DoorForcedOpen)
	t.Logf("forced open after %v, debounce included", time.Since(opened))
	w.until(seq, 4*time.Second, gateway.DoorHeldOpen)
	if held := time.Since(opened); held < 1900*time.Millisecond || held > 2500*time.Millisecond {
		t.Errorf("held open after %v, want 2 s", held)
	}
	w.chip.Set(contactLine, false)
	w.until(seq, time.Second, gateway.DoorClosed)

	_, seq = w.events(0)
	w.chip.Set(rexLine, false)
	time.Sleep(50 * time.Millisecond)
	w.chip.Set(rexLine, true)
	w.until(seq, time.Second, gateway.RequestToExit)
	w.chip.Set(contactLine, true)
	w.until(seq, time.Second, gateway.DoorOpened)
	if list, _ := w.events(seq); slices.ContainsFunc(list, func(e gateway.Event) bool { return e.Type == gateway.DoorForcedOpen }) {
		t.Error("whoever leaves forces the door")
	}
}

// TestF4_GPIOExit: the request to exit releases within 200 ms, and whoever leaves forces nothing.
func TestF4_GPIOExit(t *testing.T) {
	t.Parallel()
	w := newWired(t, "")
	w.change("active: low, pull: none}", "active: low, pull: none, releases: true}")
	w.start()
	calm.Lock()
	begun := time.Now()
	w.chip.Set(rexLine, false)
	took := w.released(true, time.Second).Sub(begun)
	calm.Unlock()
	w.chip.Set(rexLine, true)
	t.Logf("released after %v, 20 ms of debounce included", took)
	if took > 200*time.Millisecond {
		t.Errorf("released after %v", took)
	}
	w.chip.Set(contactLine, true)
	w.until(0, time.Second, gateway.RequestToExit, gateway.StrikeReleased, gateway.DoorOpened)
	w.released(false, 2*time.Second)
}

// TestGPIOFault: a relay that sticks is a fault of the door, which third parties are not let in
// by until it is mended (contract §9); a resident is. A line that is gone is moved for nobody,
// and no grant is spent on it.
func TestGPIOFault(t *testing.T) {
	t.Parallel()
	w := newWired(t, "")
	w.change("active: high}", fmt.Sprintf("active: high, feedback: %q, feedback_pull: none}", w.chip.Pin(feedbackLine)))
	w.start()
	pin := w.pin(1)
	_, seq := w.events(0)
	w.chip.Set(feedbackLine, true) // the strike has its supply, although nobody released it
	w.until(seq, 15*time.Second, gateway.DoorFault)
	var list struct{ Doors []api.Door }
	w.check(w.client.Do(t.Context(), "GET", "/v1/doors", nil, &list))
	if d := list.Doors[0]; !slices.Equal(d.Health, []gateway.Ailment{gateway.StrikeFaulty}) || d.Blocked {
		t.Errorf("the door: %+v", d)
	}
	if e := w.presentLive(pin); e.Type != gateway.AccessGranted {
		t.Errorf("a resident's PIN: %s", e.Reason)
	}
	w.until(seq, 10*time.Second, gateway.StrikeSecured)
	w.chip.Set(feedbackLine, false)
	w.until(seq, 13*time.Second, gateway.DeviceOnline)
}

// TestF2_GPIODeath: whatever becomes of the daemon in the middle of a release, the strike is
// secured: 2 s after a kill or a panic, 15 s after a hang; where the kernel releases the
// lines of the dead, and where it keeps them driven.
func TestF2_GPIODeath(t *testing.T) {
	for _, persists := range []bool{false, true} {
		for _, death := range []struct {
			name   string
			signal syscall.Signal
			within time.Duration
		}{{"SIGKILL", syscall.SIGKILL, 2 * time.Second}, {"panic", syscall.SIGQUIT, 2 * time.Second}, {"hang", syscall.SIGSTOP, 15 * time.Second}} {
			t.Run(fmt.Sprintf("%s, outputs persist %v", death.name, persists), func(t *testing.T) {
				t.Parallel()
				w := newWired(t, "")
				w.start()
				pin := w.pin(0)
				w.enter(pin)
				// Where outputs persist, the wire has the level that was driven last: the
				// simulator's pull stands for it.
				w.chip.Set(strikeLine, persists)
				trace := tracing(t, w.chip)
				begun := time.Now()
				if death.signal == syscall.SIGSTOP {
					w.check(w.cmd.Process.Signal(death.signal))
					w.watchdog()
				}
				func() {
					calm.Lock()
					defer calm.Unlock()
					if death.signal != syscall.SIGSTOP {
						begun = time.Now()
						w.check(w.cmd.Process.Signal(death.signal))
					}
					<-w.ended
					if w.chip.Get(strikeLine) != persists {
						t.Errorf("without its process the line is %v", !persists)
					}
					w.secureAll() // ExecStopPost
				}()
				w.cmd = nil
				if n, released := trace(); n == 0 || released > 0 {
					t.Errorf("secure-all has set %d levels, %d of them released", n, released)
				}
				w.chip.Set(strikeLine, false)
				took := w.released(false, time.Second).Sub(begun)
				t.Logf("secured %v after it", took)
				if took > death.within {
					t.Errorf("secured after %v, want %v", took, death.within)
				}
				w.start()
				w.until(0, time.Second, gateway.Interrupted)
				if w.chip.Get(strikeLine) {
					t.Error("released again by the next start")
				}
				w.stop()
			})
		}
	}
}

// watchdog is WatchdogSec=10: it kills a daemon that gives no sign of life.
func (w *wired) watchdog() {
	for {
		w.mu.Lock()
		left := time.Until(w.fed.Add(10 * time.Second))
		w.mu.Unlock()
		if left <= 0 {
			w.cmd.Process.Kill()
			return
		}
		time.Sleep(left)
	}
}

// TestF2_SecureAllOfTheHung: by hand, without a service manager. A daemon that answers keeps
// its strikes, and is named.
func TestF2_SecureAllOfTheHung(t *testing.T) {
	t.Parallel()
	w := newWired(t, "")
	w.start()
	out, err := exec.Command("gardiend", "secure-all", "--config", w.config).CombinedOutput()
	if err == nil || !strings.Contains(string(out), "systemctl stop gardiend") {
		t.Errorf("while it answers: %v: %s", err, out)
	}
	w.enter(w.pin(0))
	w.check(w.cmd.Process.Signal(syscall.SIGSTOP))
	w.secureAll()
	if w.chip.Get(strikeLine) {
		t.Error("the strike of a hung daemon is still released")
	}
	<-w.ended
	w.cmd = nil
}

// TestF2_SecureAllOfAnotherConfiguration: the daemon dies while its configuration is being
// edited: another line, and errors. The line that it drove is secured.
func TestF2_SecureAllOfAnotherConfiguration(t *testing.T) {
	t.Parallel()
	for name, edit := range map[string]func(*wired){
		"wrong":   func(w *wired) { w.change("mdns:", "no_such_key: 1\nmdns:") },
		"no YAML": func(w *wired) { w.change("gateway:", "\t- [gateway:") },
		"no door": func(w *wired) { w.change("doors:", "windows:") },
		"other":   func(w *wired) { w.change(w.chip.Pin(strikeLine), w.chip.Pin(feedbackLine)) },
	} {
		w := newWired(t, "")
		w.start()
		w.enter(w.pin(0))
		w.chip.Set(strikeLine, true) // outputs persist
		edit(w)
		w.cmd.Process.Kill()
		<-w.ended
		w.cmd = nil
		trace := tracing(t, w.chip)
		out, err := exec.Command("gardiend", "secure-all", "--config", w.config).CombinedOutput()
		if n, released := trace(); err != nil || n == 0 || released > 0 {
			t.Errorf("%s: %d levels set, %d released, %v: %s", name, n, released, err, out)
		}
	}
}

// TestGPIOPeople: the bell is told, a reader's opened case is, and the lamps show what becomes of
// whoever stands there.
func TestGPIOPeople(t *testing.T) {
	t.Parallel()
	more := gpiosim.New(t, "BELL", "TAMPER", "GREEN", "RED")
	const bell, tamper, green, red = 0, 1, 2, 3
	w := newWired(t, fmt.Sprintf(`    bell: {driver: gpio, pin: "%s", active: high, pull: none}
    indicator: {driver: gpio, green: "%s", red: "%s"}`, more.Pin(bell), more.Pin(green), more.Pin(red)))
	w.change("driver: wiegand,", fmt.Sprintf(`driver: wiegand, tamper: {driver: gpio, pin: "%s", active: high, pull: none},`, more.Pin(tamper)))
	w.start()
	_, seq := w.events(0)
	for _, line := range []int{bell, tamper} {
		more.Set(line, true)
		time.Sleep(60 * time.Millisecond)
		more.Set(line, false)
	}
	w.until(seq, time.Second, gateway.DoorBell)
	if e := w.until(seq, time.Second, gateway.ReaderTamper)[0]; e.Reader != "keypad" {
		t.Errorf("%+v", e)
	}
	if more.Get(green) || more.Get(red) {
		t.Error("lamps are on for nobody")
	}
	w.enter(w.pin(0))
	time.Sleep(300 * time.Millisecond) // after the first sound
	if !more.Get(green) || more.Get(red) {
		t.Error("granted, and not green")
	}
	w.released(false, 5*time.Second)
	w.present("000000")
	time.Sleep(800 * time.Millisecond) // after the blinking
	if !more.Get(red) || more.Get(green) {
		t.Error("denied, and not red")
	}
	w.stop()
	if more.Get(green) || more.Get(red) {
		t.Error("lamps are on after the end")
	}
}

// TestGPIOBusy: a second gardiend, or another program, at the lines.
func TestGPIOBusy(t *testing.T) {
	t.Parallel()
	w := newWired(t, "")
	w.start()
	other := filepath.Join(w.dir, "other.yaml")
	b, err := os.ReadFile(w.config)
	w.check(err)
	w.check(os.WriteFile(other, []byte(strings.Replace(string(b), "state_dir: state", "state_dir: other", 1)), 0o600))
	out, err := exec.Command("gardiend", "--config", other).CombinedOutput()
	if err == nil || !strings.Contains(string(out), "other.yaml:8: doors[0].strike.pin: ") || !strings.Contains(string(out), `is held by "gardien front strike"`) {
		t.Errorf("a second gardiend: %v: %s", err, out)
	}
	out, err = exec.Command("gardiend", "--config", w.config, "--check").CombinedOutput()
	if err != nil {
		t.Errorf("--check beside the daemon: %v: %s", err, out)
	}
	w.check(os.WriteFile(other, []byte(strings.Replace(string(b), w.chip.Pin(strikeLine), w.chip.Name()+":77", 1)), 0o600))
	out, err = exec.Command("gardiend", "--config", other, "--check").CombinedOutput()
	if err == nil || !strings.Contains(string(out), "other.yaml:8: doors[0].strike.pin: "+w.chip.Name()+":77: the chip has lines 0 to 5: ") {
		t.Errorf("--check of a line that is not there: %v: %s", err, out)
	}
}

// TestGPIORestarts: no start and no stop lets the strike go for a moment: the kernel's trace
// shows every level that the line ever had.
func TestGPIORestarts(t *testing.T) {
	t.Parallel()
	w := newWired(t, "")
	const restarts = 100
	trace := tracing(t, w.chip)
	for range restarts {
		w.start()
		w.stop()
	}
	if n, released := trace(); released > 0 || n < restarts {
		t.Errorf("%d levels set in %d restarts, %d of them released", n, restarts, released)
	}
}

// TestGPIOLineComesLater: a strike whose line somebody else holds at the start is a fault of
// its door: nothing is spent on it. It is secured and works when the line is free.
func TestGPIOLineComesLater(t *testing.T) {
	t.Parallel()
	w := newWired(t, "")
	pin, err := gateway.ParseLine(w.chip.Pin(strikeLine))
	w.check(err)
	other := gpio.NewLine(gpio.LineOpts{Consumer: "another program"}, pin)
	w.check(other.Out(false))
	w.start()
	code := w.pin(1)
	if e := w.presentLive(code); e.Reason != gateway.DoorBlocked {
		t.Errorf("without its line: %s %s", e.Type, e.Reason)
	}
	_, seq := w.events(0)
	w.check(other.Close())
	w.until(seq, 15*time.Second, gateway.DeviceOnline)
	if e := w.presentLive(code); e.Type != gateway.AccessGranted {
		t.Errorf("with its line: %s", e.Reason)
	}
	w.stop()
}
