// Package drivertest is the suite that every driver passes. A driver's own test
// gives it a way to make the device, and a way to see what the device did; what a
// particular chip or bus adds is tested beside the driver.
package drivertest

import (
	"context"
	"fmt"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"gardien/gateway"
)

// Options of a suite.
type Options struct {
	// RealTime is for drivers that cannot run in a synctest bubble, such as those on
	// a socket or a kernel line. Their waits are skipped with -short.
	RealTime bool
}

func (o Options) run(t *testing.T, name string, slow bool, f func(*testing.T)) {
	t.Run(name, func(t *testing.T) {
		switch {
		case !o.RealTime:
			synctest.Test(t, f)
		case slow && testing.Short():
			t.Skip("waits in real time")
		case slow:
			t.Parallel() // each has a device of its own
			f(t)
		default:
			f(t)
		}
	})
}

// settle is how long a device in real time may take to do what it was told.
const settle = 200 * time.Millisecond

// wait lets d pass.
func (o Options) wait(d time.Duration) {
	timer := time.NewTimer(d)
	<-timer.C
	if !o.RealTime {
		synctest.Wait()
	}
}

func closed(t *testing.T, v any) {
	t.Helper()
	if c, ok := v.(interface{ Close() error }); ok {
		t.Cleanup(func() { c.Close() })
	}
}

func named(t *testing.T, v fmt.Stringer) {
	t.Helper()
	if s := v.String(); strings.TrimSpace(s) == "" || strings.ContainsAny(s, "\n\r") {
		t.Errorf("String gives %q: want a name for the log", s)
	}
}

// TestStrike holds a strike to its promises. open makes a secured strike, new for
// each test, and released looks at the device itself, not at what the driver believes.
func TestStrike(t *testing.T, o Options, open func(t *testing.T) (s gateway.Strike, released func() bool)) {
	latch(t, o, true, func(t *testing.T) (fmt.Stringer, func(context.Context) error, func(context.Context) error, func() bool) {
		s, released := open(t)
		return s, s.Release, s.Secure, released
	})
}

// TestLock holds a bolt lock to its promises. unlocked looks at the device itself.
func TestLock(t *testing.T, o Options, open func(t *testing.T) (l gateway.Lock, unlocked func() bool)) {
	latch(t, o, false, func(t *testing.T) (fmt.Stringer, func(context.Context) error, func(context.Context) error, func() bool) {
		l, unlocked := open(t)
		return l, l.Unlock, l.Lock, unlocked
	})
	o.run(t, "monitor", false, func(t *testing.T) {
		l, _ := open(t)
		closed(t, l)
		m, ok := l.(gateway.LockMonitor)
		if !ok {
			t.Skip("tells no state")
		}
		switch s := m.LockState(); s {
		case gateway.LockLocked, gateway.LockUnlocked, gateway.LockJammed, gateway.LockUnknown:
		default:
			t.Errorf("state %q", s)
		}
		if c := m.LockChanges(); c == nil || c != m.LockChanges() {
			t.Error("LockChanges is not one channel")
		}
	})
}

type opened func(t *testing.T) (name fmt.Stringer, release, secure func(context.Context) error, released func() bool)

func latch(t *testing.T, o Options, limit bool, open opened) {
	// each opens a device and gives a shorthand for looking at it.
	each := func(name string, slow bool, f func(t *testing.T, release, secure func(context.Context) error, expect func(bool, string))) {
		o.run(t, name, slow, func(t *testing.T) {
			v, release, secure, released := open(t)
			closed(t, v)
			f(t, release, secure, func(want bool, when string) {
				t.Helper()
				if o.RealTime {
					for end := time.Now().Add(settle); released() != want && time.Now().Before(end); {
						o.wait(5 * time.Millisecond)
					}
				}
				if released() != want {
					t.Errorf("%s: released is %v, want %v", when, !want, want)
				}
			})
		})
	}
	must := func(t *testing.T, err error) {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
	}
	o.run(t, "name", false, func(t *testing.T) {
		v, _, _, _ := open(t)
		closed(t, v)
		named(t, v)
	})
	each("release then secure", false, func(t *testing.T, release, secure func(context.Context) error, expect func(bool, string)) {
		ctx := t.Context()
		expect(false, "at first")
		must(t, release(ctx))
		expect(true, "after release")
		must(t, secure(ctx))
		expect(false, "after secure")
		must(t, release(ctx))
		expect(true, "after another release")
		must(t, secure(ctx))
		expect(false, "after another secure")
	})
	each("secure is idempotent", false, func(t *testing.T, release, secure func(context.Context) error, expect func(bool, string)) {
		for range 3 {
			must(t, secure(t.Context()))
			expect(false, "after secure")
		}
		must(t, release(t.Context()))
		must(t, release(t.Context()))
		expect(true, "after two releases")
		must(t, secure(t.Context()))
		expect(false, "one secure ends two releases")
	})
	each("cancelled context", false, func(t *testing.T, release, secure func(context.Context) error, expect func(bool, string)) {
		gone, cancel := context.WithCancel(t.Context())
		cancel()
		if release(gone) == nil {
			t.Error("release with a cancelled context gives no error")
		}
		expect(false, "after it")
		must(t, release(t.Context()))
		if secure(gone) == nil {
			expect(false, "secure says that it did")
		}
		must(t, secure(t.Context()))
		expect(false, "in the end")
	})
	each("context that ends later", false, func(t *testing.T, release, secure func(context.Context) error, expect func(bool, string)) {
		ctx, cancel := context.WithCancel(t.Context())
		must(t, release(ctx))
		cancel()
		o.wait(50 * time.Millisecond)
		expect(true, "the release outlives its call's context")
		must(t, secure(t.Context()))
		expect(false, "after secure")
	})
	o.run(t, "close secures", false, func(t *testing.T) {
		v, release, _, released := open(t)
		c, ok := v.(interface{ Close() error })
		if !ok {
			t.Fatal("no Close: who leaves the door secured?")
		}
		must(t, release(t.Context()))
		must(t, c.Close())
		if o.RealTime {
			o.wait(settle)
		}
		if released() {
			t.Error("released after Close")
		}
	})
	each("concurrent use", false, func(t *testing.T, release, secure func(context.Context) error, expect func(bool, string)) {
		var all sync.WaitGroup
		for i := range 8 {
			all.Go(func() {
				for range 50 {
					if i%2 == 0 {
						release(t.Context())
					} else {
						secure(t.Context())
					}
				}
			})
		}
		all.Wait()
		must(t, secure(t.Context()))
		expect(false, "after all")
	})
	if !limit {
		return
	}
	const l = gateway.ReleaseLimit
	each("hard limit", true, func(t *testing.T, release, secure func(context.Context) error, expect func(bool, string)) {
		must(t, release(t.Context()))
		o.wait(l - time.Second)
		expect(true, "a second before the limit")
		o.wait(time.Second)
		expect(false, "at the limit, whatever became of the caller (F1)")
		must(t, release(t.Context()))
		expect(true, "released again")
		must(t, secure(t.Context()))
	})
	each("overlapping releases extend", true, func(t *testing.T, release, secure func(context.Context) error, expect func(bool, string)) {
		must(t, release(t.Context()))
		o.wait(l - 2*time.Second)
		must(t, release(t.Context()))
		o.wait(l - time.Second)
		expect(true, "the first one's limit does not cut the second (F11)")
		o.wait(time.Second)
		expect(false, "at the second one's limit")
	})
	each("the limit counts from the latest release", true, func(t *testing.T, release, secure func(context.Context) error, expect func(bool, string)) {
		must(t, release(t.Context()))
		o.wait(l - 2*time.Second)
		must(t, secure(t.Context()))
		must(t, release(t.Context()))
		o.wait(3 * time.Second)
		expect(true, "after the first one's limit")
		o.wait(l)
		expect(false, "at the end")
	})
}

// TestContact holds a contact to its promises; move moves the leaf's magnet.
func TestContact(t *testing.T, o Options, open func(t *testing.T) (c gateway.Contact, move func(gateway.ContactState))) {
	sees := func(t *testing.T, c gateway.Contact, want gateway.ContactState) {
		t.Helper()
		if o.RealTime {
			for end := time.Now().Add(settle); c.Contact() != want && time.Now().Before(end); {
				o.wait(5 * time.Millisecond)
			}
		}
		if got := c.Contact(); got != want {
			t.Errorf("contact is %s, want %s", got, want)
		}
	}
	o.run(t, "level is sampled", false, func(t *testing.T) {
		c, move := open(t)
		closed(t, c)
		named(t, c)
		for _, s := range []gateway.ContactState{gateway.ContactClosed, gateway.ContactOpen, gateway.ContactOpen, gateway.ContactClosed} {
			move(s) // nobody takes the tokens: the level is right all the same (F5)
			sees(t, c, s)
			sees(t, c, s)
		}
	})
	o.run(t, "a token follows each change, and never blocks", false, func(t *testing.T) {
		c, move := open(t)
		closed(t, c)
		changes := c.ContactChanges()
		if changes == nil || changes != c.ContactChanges() {
			t.Fatal("ContactChanges is not one channel")
		}
		for i := range 1001 {
			move([]gateway.ContactState{gateway.ContactOpen, gateway.ContactClosed}[i%2])
		}
		token(t, o, changes)
		sees(t, c, gateway.ContactOpen)
		o.wait(time.Millisecond)
		for drained := false; !drained; {
			select {
			case <-changes:
			default:
				drained = true
			}
		}
		move(gateway.ContactClosed)
		token(t, o, changes)
		sees(t, c, gateway.ContactClosed)
	})
}

// TestREX holds a request-to-exit input to its promises; press presses it once.
func TestREX(t *testing.T, o Options, open func(t *testing.T) (r gateway.REX, press func())) {
	o.run(t, "a token for each request, and never blocks", false, func(t *testing.T) {
		r, press := open(t)
		closed(t, r)
		named(t, r)
		requests := r.Requests()
		if requests == nil || requests != r.Requests() {
			t.Fatal("Requests is not one channel")
		}
		press()
		token(t, o, requests)
		for range 1000 {
			press() // nobody listens
		}
		token(t, o, requests)
	})
}

func token(t *testing.T, o Options, c <-chan struct{}) {
	t.Helper()
	timer := time.NewTimer(time.Second)
	defer timer.Stop()
	select {
	case <-c:
	case <-timer.C:
		t.Fatal("no token after a change")
	}
}

// TestReader holds a reader to its promises; give makes it read one credential,
// and must not wait for the verdict.
func TestReader(t *testing.T, o Options, open func(t *testing.T) (r gateway.Reader, give func())) {
	o.run(t, "one at a time, until the context ends", false, func(t *testing.T) {
		r, give := open(t)
		closed(t, r)
		named(t, r)
		ctx, cancel := context.WithCancel(t.Context())
		defer cancel()
		var mu sync.Mutex
		busy, seen := 0, make(chan struct{}, 3)
		ended := make(chan error, 1)
		go func() {
			ended <- r.Read(ctx, func(_ context.Context, c gateway.Credential) {
				mu.Lock()
				busy++
				if busy > 1 {
					t.Error("two credentials at once")
				}
				mu.Unlock()
				if c == nil {
					t.Error("no credential")
				}
				o.wait(20 * time.Millisecond) // a verdict takes its time
				mu.Lock()
				busy--
				mu.Unlock()
				seen <- struct{}{}
			})
		}()
		var giving sync.WaitGroup
		for range 3 {
			giving.Go(give)
		}
		for range 3 {
			<-seen
		}
		giving.Wait()
		cancel()
		if err := <-ended; err != nil {
			t.Errorf("Read ends with %v when its context does", err)
		}
	})
}
