package evdev

import (
	"context"
	"fmt"
	"os"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/holoplot/go-evdev"

	"gardien/drivers/drivertest"
	"gardien/drivers/gpio/gpiosim"
	"gardien/gateway"
)

// stream writes what a keyboard of a layout sends for a text: presses and releases, shift
// where it needs one, enter at line ends, a report after each.
func stream(layout Layout, text string) (list []evdev.InputEvent) {
	at := syscall.Timeval{Sec: 1}
	add := func(code evdev.EvCode, value int32) {
		at.Usec += 500
		list = append(list, evdev.InputEvent{Time: at, Type: evdev.EV_KEY, Code: code, Value: value}, evdev.InputEvent{Time: at, Type: evdev.EV_SYN, Code: evdev.SYN_REPORT})
	}
	tap := func(code evdev.EvCode) { add(code, 1); add(code, 0) }
	for i := range len(text) {
		if text[i] == '\n' {
			tap(evdev.KEY_ENTER)
			continue
		}
		found := false
		for _, code := range keysOf(layout) {
			c := layouts[layout][code]
			if found = c.plain == text[i]; found {
				tap(code)
				break
			}
			if found = c.shift == text[i]; found {
				add(evdev.KEY_LEFTSHIFT, 1)
				tap(code)
				add(evdev.KEY_LEFTSHIFT, 0)
				break
			}
		}
		if !found {
			panic(fmt.Sprintf("no key for %q", text[i]))
		}
	}
	return list
}

func keysOf(layout Layout) (codes []evdev.EvCode) {
	for code := range layouts[layout] {
		if code < evdev.KEY_KP7 || code > evdev.KEY_KPDOT { // the main block
			codes = append(codes, code)
		}
	}
	slices.Sort(codes)
	return codes
}

func read(kind Kind, layout Layout, events []evdev.InputEvent) (got []string) {
	d := decoder{kind: kind, layout: layouts[layout], us: layout == US}
	for _, e := range events {
		switch c, _ := d.event(e); c := c.(type) {
		case gateway.PINCredential:
			got = append(got, "pin "+c.PIN.Reveal())
		case gateway.GrantCredential:
			got = append(got, "grant "+c.Text.Reveal())
		}
	}
	return got
}

const token = "eyJhbGciOiJFUzI1NiJ9.ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz-_0123456789.x_Y-z"

func TestScanner(t *testing.T) {
	for _, layout := range []Layout{US, French} {
		long := strings.Repeat(token, 40)
		got := read(Scanner, layout, stream(layout, token+"\n"+"012345\n\n"+long+"\n"))
		if want := []string{"grant " + token, "pin 012345", "grant " + long}; !slices.Equal(got, want) {
			t.Errorf("%s: %.200q", layout, got)
		}
	}
	// A scanner that is read with the wrong layout gives another text: its signature is not
	// that of a grant. It must not look like a PIN of digits either.
	if got := read(Scanner, French, stream(US, "4711\n")); len(got) != 0 {
		t.Errorf("digits in the wrong layout are %q", got)
	}
	// Facts of AZERTY: the places of some characters.
	for text, codes := range map[string][]evdev.EvCode{"a": {evdev.KEY_Q}, "m": {evdev.KEY_SEMICOLON}, "w": {evdev.KEY_Z}, "-": {evdev.KEY_6}, "_": {evdev.KEY_8}} {
		for _, code := range codes {
			if c := layouts[French][code]; string(c.plain) != text {
				t.Errorf("key %d is %q, want %s", code, c.plain, text)
			}
		}
	}
	if c := layouts[French][evdev.KEY_COMMA]; c.shift != '.' {
		t.Errorf("%q", c.shift)
	}
}

func TestKeypad(t *testing.T) {
	var events []evdev.InputEvent
	at := syscall.Timeval{Sec: 1}
	tap := func(codes ...evdev.EvCode) {
		for _, c := range codes {
			for _, v := range []int32{1, 2, 2, 0} { // held for a moment: it repeats
				events = append(events, evdev.InputEvent{Time: at, Type: evdev.EV_KEY, Code: c, Value: v})
			}
		}
	}
	tap(evdev.KEY_NUMLOCK, evdev.KEY_KP0, evdev.KEY_KP4, evdev.KEY_KP2, evdev.KEY_KPENTER)
	tap(evdev.KEY_1, evdev.KEY_2, evdev.KEY_BACKSPACE, evdev.KEY_9, evdev.KEY_ENTER)
	tap(evdev.KEY_5)
	at.Sec += 11 // silence (P5)
	tap(evdev.KEY_6, evdev.KEY_KPENTER)
	tap(evdev.KEY_7)
	events = append(events, evdev.InputEvent{Time: at, Type: evdev.EV_SYN, Code: evdev.SYN_DROPPED})
	tap(evdev.KEY_1) // of what the kernel dropped
	events = append(events, evdev.InputEvent{Time: at, Type: evdev.EV_SYN, Code: evdev.SYN_REPORT})
	tap(evdev.KEY_8, evdev.KEY_ENTER)
	for _, layout := range []Layout{US, French} {
		if got := read(Keypad, layout, events); strings.Join(got, ",") != "pin 042,pin 9,pin 6,pin 8" {
			t.Errorf("%s: %q", layout, got)
		}
	}
}

// What the kernel dropped may have been the end of a shift: it does not stay for ever.
func TestShiftAfterDrop(t *testing.T) {
	events := []evdev.InputEvent{{Type: evdev.EV_KEY, Code: evdev.KEY_LEFTSHIFT, Value: 1}, {Type: evdev.EV_SYN, Code: evdev.SYN_DROPPED}, {Type: evdev.EV_SYN, Code: evdev.SYN_REPORT}}
	events = append(events, stream(US, "\nabc-DEF\n")...)
	if got := read(Scanner, US, events); len(got) != 1 || got[0] != "grant abc-DEF" {
		t.Errorf("%q", got)
	}
}

func FuzzDecoder(f *testing.F) {
	f.Add([]byte{1, 28, 1, 1, 30, 1, 1, 28, 1}, true)
	f.Fuzz(func(t *testing.T, b []byte, scanner bool) {
		kind := Keypad
		if scanner {
			kind = Scanner
		}
		var events []evdev.InputEvent
		for ; len(b) >= 3; b = b[3:] {
			events = append(events, evdev.InputEvent{Type: evdev.EvType(b[0] % 3), Code: evdev.EvCode(b[1]), Value: int32(b[2] % 4)})
		}
		for _, s := range read(kind, French, events) {
			if len(s) > gateway.MaxScan+10 || kind == Keypad && !strings.HasPrefix(s, "pin ") {
				t.Errorf("%.100q", s)
			}
		}
	})
}

// keyboard makes a device of the kernel's uinput, and gives its path.
func keyboard(t *testing.T, name string) (*evdev.InputDevice, string) {
	t.Helper()
	if _, err := os.Stat("/dev/uinput"); err != nil {
		gpiosim.Skip(t, "this kernel has no uinput")
	}
	var codes []evdev.EvCode
	for c := evdev.EvCode(1); c < 128; c++ {
		codes = append(codes, c)
	}
	d, err := evdev.CreateDevice(name, evdev.InputID{BusType: 3, Vendor: 1, Product: 1, Version: 1}, map[evdev.EvType][]evdev.EvCode{evdev.EV_KEY: codes})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { d.Close() })
	for end := time.Now().Add(2 * time.Second); ; time.Sleep(5 * time.Millisecond) {
		list, _ := evdev.ListDevicePaths()
		for _, p := range list {
			if p.Name == name {
				return d, p.Path
			}
		}
		if time.Now().After(end) {
			t.Fatal("the device does not appear")
		}
	}
}

func send(t *testing.T, d *evdev.InputDevice, text string) {
	for _, e := range stream(US, text) {
		e.Time = syscall.Timeval{}
		if err := d.WriteOne(&e); err != nil {
			t.Error(err)
		}
		if e.Type == evdev.EV_SYN { // the kernel keeps 64 events, a scanner takes a millisecond for each
			time.Sleep(200 * time.Microsecond)
		}
	}
}

func TestKernelReader(t *testing.T) {
	drivertest.TestReader(t, drivertest.Options{RealTime: true}, func(t *testing.T) (gateway.Reader, func()) {
		d, path := keyboard(t, "gardien test reader")
		one := make(chan struct{}, 1)
		return New(Opts{Name: "pad", Device: path, Kind: Keypad, Layout: US}), func() {
			one <- struct{}{}
			time.Sleep(20 * time.Millisecond) // until it is opened
			send(t, d, "42\n")
			<-one
		}
	})
}

// TestKernelGrabAndUnplug: the device is grabbed, a second reader is told so, and one that is
// pulled out ends Read with an error.
func TestKernelGrabAndUnplug(t *testing.T) {
	d, path := keyboard(t, "gardien test scanner")
	r := New(Opts{Name: "scanner", Device: path, Kind: Scanner, Layout: US})
	got := make(chan string, 1)
	done := make(chan error, 1)
	go func() {
		done <- r.Read(t.Context(), func(_ context.Context, c gateway.Credential) { got <- c.(gateway.GrantCredential).Text.Reveal() })
	}()
	time.Sleep(50 * time.Millisecond)
	if err := New(Opts{Name: "other", Device: path, Kind: Scanner, Layout: US}).Read(t.Context(), nil); err == nil || !strings.Contains(err.Error(), "another program has grabbed it") {
		t.Errorf("a second reader: %v", err)
	}
	long := strings.Repeat(token, 20)
	send(t, d, long+"\n")
	if text := <-got; text != long {
		t.Errorf("%d characters of %d", len(text), len(long))
	}
	evdev.DestroyDevice(d)
	d.Close()
	select {
	case err := <-done:
		if err == nil {
			t.Error("pulled out, and no error")
		}
	case <-time.After(5 * time.Second):
		t.Error("pulled out, and Read goes on")
	}
	if err := r.Read(t.Context(), nil); err == nil || !strings.Contains(err.Error(), path) {
		t.Errorf("not there: %v", err)
	}
}
