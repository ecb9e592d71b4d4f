package sim

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"gardien/drivers/drivertest"
	"gardien/gateway"
)

var bubble drivertest.Options

func TestStrike(t *testing.T) {
	drivertest.TestStrike(t, bubble, func(t *testing.T) (gateway.Strike, func() bool) {
		d := NewDoor("front", nil)
		return d, d.Released
	})
}

func TestLock(t *testing.T) {
	drivertest.TestLock(t, bubble, func(t *testing.T) (gateway.Lock, func() bool) {
		d := NewDoor("front", nil)
		return d, d.Released
	})
}

func TestContact(t *testing.T) {
	drivertest.TestContact(t, bubble, func(t *testing.T) (gateway.Contact, func(gateway.ContactState)) {
		c := NewContact("front")
		return c, c.Move
	})
}

func TestREX(t *testing.T) {
	drivertest.TestREX(t, bubble, func(t *testing.T) (gateway.REX, func()) {
		r := NewREX("front")
		return r, r.Press
	})
}

func TestReader(t *testing.T) {
	drivertest.TestReader(t, bubble, func(t *testing.T) (gateway.Reader, func()) {
		r := NewReader("pad")
		return r, func() { r.Keys(context.Background(), "123456#") }
	})
}

// TestLateLimit: a limit that has fired, and waits for the lock, does not cut the
// release that came first (F11).
func TestLateLimit(t *testing.T) {
	for range 200 {
		synctest.Test(t, func(t *testing.T) {
			d := NewDoor("front", nil)
			d.Release(t.Context())
			time.Sleep(gateway.ReleaseLimit) // this and the limit are due at once
			d.Release(t.Context())
			synctest.Wait()
			if !d.Released() {
				t.Fatal("an old limit has cut a new release")
			}
		})
	}
}

func TestFaults(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var moves []bool
		d := NewDoor("front", func(released bool) { moves = append(moves, released) })
		set := func(f Fault) {
			t.Helper()
			if err := d.SetFault(f); err != nil {
				t.Fatal(err)
			}
			select {
			case <-d.LockChanges():
			default:
				t.Errorf("no token after %q", f)
			}
		}
		set(FaultStuck)
		if err := d.Release(t.Context()); !errors.Is(err, gateway.ErrFault) || d.Released() {
			t.Errorf("stuck: %v, released %v", err, d.Released())
		}
		set(FaultNone)
		if err := d.Release(t.Context()); err != nil || d.LockState() != gateway.LockUnlocked {
			t.Errorf("mended: %v, %s", err, d.LockState())
		}
		set(FaultStuck)
		if err := d.Release(t.Context()); err == nil || !d.Released() {
			t.Errorf("stuck while released: %v, released %v", err, d.Released())
		}
		if err := d.Secure(t.Context()); err != nil || d.Released() {
			t.Errorf("stuck, secure: %v, released %v", err, d.Released())
		}
		set(FaultJam)
		if s := d.LockState(); s != gateway.LockJammed {
			t.Errorf("jam: %s", s)
		}
		set(FaultNone)
		if s := d.LockState(); s != gateway.LockLocked {
			t.Errorf("clear: %s", s)
		}
		if d.SetFault("fire") == nil {
			t.Error("an unknown fault is taken")
		}
		if got := fmt.Sprint(moves); got != "[true false]" {
			t.Errorf("moved %s", got)
		}
	})
}

func TestReaderInput(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := NewReader("pad")
		ctx, cancel := context.WithCancel(t.Context())
		defer cancel()
		var got []string
		go r.Read(ctx, func(_ context.Context, c gateway.Credential) {
			switch c := c.(type) {
			case gateway.PINCredential:
				got = append(got, "pin "+c.PIN.Reveal())
			case gateway.GrantCredential:
				got = append(got, "grant "+c.Text.Reveal())
			}
		})
		r.Keys(ctx, "12")
		r.Keys(ctx, "34#0056#")
		r.Scan(ctx, "eyJ")
		r.Keys(ctx, "99")
		time.Sleep(gateway.KeypadSilence)
		r.Keys(ctx, "7#")
		if want := "[pin 1234 pin 0056 grant eyJ pin 7]"; fmt.Sprint(got) != want {
			t.Errorf("%v, want %s", got, want)
		}
		if r.Scan(ctx, strings.Repeat("x", MaxInput)) != nil || r.Scan(ctx, strings.Repeat("x", MaxInput+1)) == nil {
			t.Error("the limit of an input is wrong")
		}
		cancel()
		synctest.Wait()
		if err := r.Keys(ctx, "1#"); !errors.Is(err, context.Canceled) {
			t.Errorf("nobody reads: %v", err)
		}
	})
}
