package mdns

import (
	"bytes"
	"context"
	"errors"
	"log/slog"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"
	"golang.org/x/sys/unix"
)

// logged is a log that can be asked.
type logged struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (l *logged) Write(b []byte) (int, error) { l.mu.Lock(); defer l.mu.Unlock(); return l.b.Write(b) }
func (l *logged) logger() *slog.Logger        { return slog.New(slog.NewTextHandler(l, nil)) }
func (l *logged) count(text string) int {
	l.mu.Lock()
	defer l.mu.Unlock()
	return strings.Count(l.b.String(), text)
}

// responder gives one whose self-query is as told.
func (r *room) responder(confirm func(context.Context, iface) error) *responder {
	return &responder{desk: r.d, wire: r.wire, links: map[int]*link{}, confirm: confirm, confirmed: make(chan confirmation), asked: map[int]context.CancelFunc{}}
}

func fine(context.Context, iface) error { return nil }

// during runs something in the background, and gives its error once it has ended.
func during(f func(context.Context) error) (end func() error) {
	ctx, cancel := context.WithCancel(context.Background())
	ended := make(chan error, 1)
	go func() { ended <- f(ctx) }()
	synctest.Wait()
	return func() error { cancel(); return <-ended }
}

func (r *room) want(by string, where []string, collision string) {
	r.t.Helper()
	synctest.Wait()
	s := r.a.State()
	s.Since = time.Time{}
	if diff := cmp.Diff(State{By: by, Interfaces: where, Collision: collision}, s); diff != "" {
		r.t.Error(diff)
	}
}

// pass lets time pass, and all come to rest.
func pass(d time.Duration) { time.Sleep(d); synctest.Wait() }

var cable, wifi = dev(2, "eth0", good, "10.77.0.1/24"), dev(3, "wlan0", good, "10.78.0.1/24")

// TestN3_BuiltinFollowsTheNetwork: no interface is no failure; each is probed and announced when it comes, and left when it goes.
func TestN3_BuiltinFollowsTheNetwork(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRoom(t, Builtin, nil)
		end := during(func(ctx context.Context) error { return r.responder(fine).run(ctx, nil, nil) })
		pass(time.Hour)
		r.want("", nil, "")
		r.plug(cable)
		pass(5 * time.Second)
		r.want(Builtin, []string{"eth0"}, "")
		r.plug(cable, wifi)
		pass(5 * time.Second)
		r.want(Builtin, []string{"eth0", "wlan0"}, "")
		r.plug(wifi)
		r.want(Builtin, []string{"wlan0"}, "")
		if diff := cmp.Diff(map[string]bool{"0 3": true}, r.wire.joined); diff != "" {
			t.Error(diff)
		}
		before := len(r.wire.sent)
		r.plug(dev(7, "wlan0", good, "10.78.0.1/24")) // another adapter
		pass(5 * time.Second)
		if said := r.wire.sent[before:]; len(said) != 5 || !strings.HasPrefix(said[0], "7 4 all probe") {
			t.Errorf("%q", said)
		}
		before = len(r.wire.sent)
		r.plug(dev(7, "wlan0", good, "10.78.0.9/24")) // another address: no probe
		pass(5 * time.Second)
		if said := r.wire.sent[before:]; len(said) != 2 || !strings.Contains(said[0], "A!=10.78.0.9 A=10.78.0.1/0") {
			t.Errorf("%q", said)
		}
		before = len(r.wire.sent)
		pass(time.Hour)
		if said := r.wire.sent[before:]; len(said) > 0 {
			t.Errorf("in an idle hour: %q", said)
		}
		if err := end(); err != nil {
			t.Error(err)
		}
		if said := r.wire.sent[before:]; len(said) != 1 || !strings.Contains(said[0], "SRV!/0") {
			t.Errorf("the goodbye: %q", said)
		}
	})
}

// TestNobodyHearsUs: a network on which we do not find ourselves ends the run; one that is gone meanwhile does not.
func TestNobodyHearsUs(t *testing.T) {
	deaf := func(ctx context.Context, _ iface) error {
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-time.After(confirmIn):
			return errors.New("nobody")
		}
	}
	synctest.Test(t, func(t *testing.T) {
		r := newRoom(t, Builtin, nil)
		r.plug(cable)
		end := during(func(ctx context.Context) error { return r.responder(deaf).run(ctx, nil, nil) })
		pass(10 * time.Second)
		if err := end(); err == nil || err.Error() != "eth0: nobody" {
			t.Error(err)
		}
	})
	synctest.Test(t, func(t *testing.T) {
		r := newRoom(t, Builtin, nil)
		r.plug(cable)
		end := during(func(ctx context.Context) error { return r.responder(deaf).run(ctx, nil, nil) })
		pass(3 * time.Second)
		r.plug()
		pass(10 * time.Second)
		r.want("", nil, "")
		if err := end(); err != nil {
			t.Error(err)
		}
	})
}

// TestN3_FloodIsNoDeafNetwork: where packets are dropped our own question may be among them. It is put again, for as long as that lasts.
func TestN3_FloodIsNoDeafNetwork(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRoom(t, Builtin, nil)
		r.plug(cable)
		asked := 0
		packets := make(chan incoming)
		re := r.responder(func(ctx context.Context, _ iface) error {
			asked++
			time.Sleep(confirmIn)
			return errors.New("nobody")
		})
		end := during(func(ctx context.Context) error { return re.run(ctx, packets, nil) })
		for range 20 { // seconds
			packets <- incoming{ip4, true, 2, phone, []byte("no DNS")}
			pass(time.Second)
		}
		r.want(Builtin, []string{"eth0"}, "")
		pass(2 * confirmIn)
		if err := end(); err == nil || asked < 4 || asked > 6 {
			t.Errorf("%v; asked %d times", err, asked)
		}
	})
}

// TestN3_Pace: 2,000 packets are read at once, and as many a second.
func TestN3_Pace(t *testing.T) {
	b, read := bucket{rate: readRate}, 0
	for i := range 200_000 { // ten seconds of 20,000
		if b.take(dawn.Add(time.Duration(i) * 50 * time.Microsecond)) {
			read++
		}
	}
	if read < 10*readRate || read > 11*readRate {
		t.Errorf("%d packets are read in ten seconds", read)
	}
}

// TestTheSocketFails: the run ends, to begin anew.
func TestTheSocketFails(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRoom(t, Builtin, nil)
		failed := make(chan error, 1)
		failed <- unix.ENETDOWN
		if err := r.responder(fine).run(t.Context(), nil, failed); !errors.Is(err, unix.ENETDOWN) {
			t.Error(err)
		}
	})
}

// TestAvahiTakesOver: when avahi comes it gets the service, and no goodbye is said; a bus that comes late is found.
func TestAvahiTakesOver(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := newFakeAvahi()
		f.runs = false
		r := newRoom(t, Auto, f)
		r.plug(cable)
		var there atomic.Bool
		r.a.dial = func(context.Context) (avahi, error) {
			if !there.Load() {
				return nil, errors.New("no bus yet")
			}
			return f, nil
		}
		if r.d.open(t.Context()) {
			t.Error("avahi is there before its bus")
		}
		end := during(func(ctx context.Context) error { return r.responder(fine).run(ctx, nil, nil) })
		pass(5 * time.Second)
		r.want(Builtin, []string{"eth0"}, "")
		there.Store(true)
		pass(poll)
		f.set(func() { f.runs = true })
		f.news <- news{what: ownerChanged}
		synctest.Wait()
		before := len(r.wire.sent)
		if err := end(); err != nil {
			t.Error(err)
		}
		if said := r.wire.sent[before:]; len(said) > 0 || !r.d.open(t.Context()) {
			t.Errorf("it did not hand over: %q", said)
		}
		r.d.again.Stop()
	})
}

// TestTheBusIsLost: its connection is let go, and another is made at the next look.
func TestTheBusIsLost(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := newFakeAvahi()
		f.runs = false
		r := newRoom(t, Auto, f)
		r.plug(cable)
		r.d.open(t.Context())
		end := during(func(ctx context.Context) error { return r.responder(fine).run(ctx, nil, nil) })
		close(f.news)
		synctest.Wait()
		if f.set(func() { f.news = make(chan news) }); !f.closed || r.dials.Load() != 1 {
			t.Errorf("closed %v, dialled %d times", f.closed, r.dials.Load())
		}
		pass(poll)
		if r.dials.Load() != 2 {
			t.Errorf("dialled %d times", r.dials.Load())
		}
		if err := end(); err != nil {
			t.Error(err)
		}
		r.d.again.Stop()
	})
}

// TestAvahiFollowsTheNetwork: a service and its addresses on each interface; a new address concerns no service.
func TestAvahiFollowsTheNetwork(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := newFakeAvahi()
		r := newRoom(t, Auto, f)
		r.plug(cable, wifi)
		if !r.d.open(t.Context()) {
			t.Fatal("avahi is not there")
		}
		end := during(r.d.runAvahi)
		r.want(Avahi, []string{"eth0", "wlan0"}, "")
		if diff := cmp.Diff([]string{"eth0", "eth0 10.77.0.1", "wlan0", "wlan0 10.78.0.1"}, f.has()); diff != "" {
			t.Error(diff)
		}
		made := f.made
		r.plug(cable, dev(3, "wlan0", good, "10.78.0.9/24"))
		r.want(Avahi, []string{"eth0", "wlan0"}, "")
		if diff := cmp.Diff([]string{"eth0", "eth0 10.77.0.1", "wlan0", "wlan0 10.78.0.9"}, f.has()); diff != "" || f.made != made+1 {
			t.Error(diff, f.made-made)
		}
		r.plug(cable)
		r.want(Avahi, []string{"eth0"}, "")
		f.set(func() { f.name = "gardien-62fg" }) // avahi has a new host name: ours
		f.news <- news{what: serverRuns}
		r.want(Avahi, []string{"eth0"}, "")
		if diff := cmp.Diff([]string{"eth0"}, f.has()); diff != "" {
			t.Error(diff)
		}
		if err := end(); err != nil || len(f.has()) != 0 {
			t.Error(err, f.has())
		}
		r.d.again.Stop()
	})
}

// TestAvahiCollides: we do not rename; it is tried again, warned of once, and over when the name is free.
func TestAvahiCollides(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := newFakeAvahi()
		f.silent, f.whoever = true, "10.77.0.7"
		r := newRoom(t, Auto, f)
		r.plug(cable)
		r.d.open(t.Context())
		end := during(r.d.runAvahi)
		r.want("", nil, "")
		for range 5 {
			f.set(func() {
				for id := range f.groups {
					f.news <- news{what: groupCollides, id: id}
				}
			})
			r.want("", nil, "10.77.0.7")
			if len(f.has()) != 0 {
				t.Errorf("what collides is still there: %q", f.has())
			}
			pass(maxRetry)
			if len(f.has()) != 2 {
				t.Fatalf("it is not tried again: %q", f.has())
			}
		}
		f.set(func() { f.fails = collision() }) // another program of this machine
		f.set(func() {
			for id := range f.groups {
				f.news <- news{what: groupCollides, id: id}
			}
		})
		pass(maxRetry)
		r.want("", nil, "10.77.0.7")
		f.set(func() { f.fails, f.silent = nil, false })
		pass(maxRetry)
		r.want(Avahi, []string{"eth0"}, "")
		if n := r.log.count("somebody else on the network"); n != 1 {
			t.Errorf("warned %d times", n)
		}
		if err := end(); err != nil {
			t.Error(err)
		}
		r.d.again.Stop()
	})
}

// TestAvahiFails: in auto we announce ourselves until another avahi comes; in avahi the run ends.
func TestAvahiFails(t *testing.T) {
	for name, fail := range map[string]func(*fakeAvahi){
		"publish":   func(f *fakeAvahi) { f.fails = errors.New("not permitted") },
		"addresses": func(f *fakeAvahi) { f.failsAddresses = true },
		"server":    func(f *fakeAvahi) { f.news <- news{what: serverFailed} },
		"group":     func(f *fakeAvahi) { f.silent = true; f.news <- news{what: groupFailed, id: "/group/1"} },
	} {
		for _, mode := range []string{Auto, Avahi} {
			synctest.Test(t, func(t *testing.T) {
				f := newFakeAvahi()
				r := newRoom(t, mode, f)
				r.plug(cable)
				r.d.open(t.Context())
				fail(f)
				err := r.d.runAvahi(t.Context())
				if (err != nil) != (mode == Avahi) {
					t.Errorf("%s, %s: %v", name, mode, err)
				}
				if mode == Auto && r.d.open(t.Context()) {
					t.Errorf("%s: it is asked again at once", name)
				}
				if r.d.reopen(news{what: ownerChanged}, true); !r.d.open(t.Context()) {
					t.Errorf("%s: another avahi is not asked", name)
				}
				if len(f.has()) != 0 {
					t.Errorf("%s: %q stay", name, f.has())
				}
				r.d.again.Stop()
			})
		}
	}
}

// TestItIsSaidOnce: a twin that shows another address is no other warning; State has the newest, and Since when it is announced so.
func TestItIsSaidOnce(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRoom(t, Builtin, nil)
		r.d.again.Stop()
		begun := time.Now()
		for _, s := range []State{
			{},
			{By: Builtin, Interfaces: []string{"eth0"}},
			{Collision: "fe80::7"},
			{Collision: "10.77.0.7"},
			{By: Builtin, Interfaces: []string{"eth0"}, Collision: "10.77.0.7"},
		} {
			pass(time.Minute)
			r.a.tell(s.By, s.Interfaces, s.Collision)
			r.a.tell(s.By, s.Interfaces, s.Collision)
			r.want(s.By, s.Interfaces, s.Collision)
		}
		r.a.tell(Builtin, []string{"eth0"}, "")
		if s := r.a.State(); !s.Since.Equal(begun.Add(5 * time.Minute)) {
			t.Errorf("since %v, now %v", s.Since, time.Now())
		}
		for text, want := range map[string]int{"phones find": 2, "phones do not find": 1, "somebody else": 1, "its own again": 1} {
			if n := r.log.count(text); n != want {
				t.Errorf("%q is said %d times", text, n)
			}
		}
	})
}

// TestRun: wrong options end the run with all that is wrong; whatever ends it, nothing is announced afterwards.
func TestRun(t *testing.T) {
	a := New(Opts{Host: "gardien-", Port: 70000})
	err := a.Run(t.Context())
	if err == nil || !strings.Contains(err.Error(), "host") || !strings.Contains(err.Error(), "instance") || !strings.Contains(err.Error(), "port 70000") {
		t.Error(err)
	}
	select {
	case <-a.Ready():
		t.Error("ready")
	default:
	}
	if a.String() != "mdns" || a.State().By != "" {
		t.Error(a, a.State())
	}
}
