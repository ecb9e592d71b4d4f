package mdns

import (
	"context"
	"fmt"
	"slices"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/godbus/dbus/v5"
)

// fakeAvahi is an avahi-daemon without a bus.
type fakeAvahi struct {
	mu             sync.Mutex
	runs           bool
	name           string
	fails          error // of Publish
	failsAddresses bool
	groups         map[string]group
	made           int
	silent         bool // groups are not established by themselves
	news           chan news
	closed         bool
	whoever        string
}

func newFakeAvahi() *fakeAvahi {
	return &fakeAvahi{runs: true, name: "raspberrypi", groups: map[string]group{}, news: make(chan news, 32)}
}

func (f *fakeAvahi) Runs(context.Context) bool { f.mu.Lock(); defer f.mu.Unlock(); return f.runs }

func (f *fakeAvahi) HostName(context.Context) (string, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.name, nil
}

func (f *fakeAvahi) Publish(_ context.Context, g group) (string, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.fails != nil {
		return "", f.fails
	}
	if f.failsAddresses && g.service == nil {
		return "", fmt.Errorf("no addresses")
	}
	f.made++
	id := fmt.Sprint("/group/", f.made)
	f.groups[id] = g
	if !f.silent {
		f.news <- news{what: established, id: id}
	}
	return id, nil
}

func (f *fakeAvahi) Withdraw(_ context.Context, id string) {
	f.mu.Lock()
	defer f.mu.Unlock()
	delete(f.groups, id)
}

func (f *fakeAvahi) Whose(context.Context, string) string { return f.whoever }
func (f *fakeAvahi) News() <-chan news                    { f.mu.Lock(); defer f.mu.Unlock(); return f.news }
func (f *fakeAvahi) Close()                               { f.mu.Lock(); defer f.mu.Unlock(); f.closed = true }

// set changes it.
func (f *fakeAvahi) set(change func()) { f.mu.Lock(); defer f.mu.Unlock(); change() }

// has tells what is published: "eth0" is a service there, "eth0 10.77.0.1" are addresses.
func (f *fakeAvahi) has() (list []string) {
	f.mu.Lock()
	defer f.mu.Unlock()
	for _, g := range f.groups {
		text := g.iface.name
		if g.service == nil {
			for _, a := range g.iface.addrs() {
				text += " " + a.String()
			}
		}
		list = append(list, text)
	}
	slices.Sort(list)
	return list
}

func collision() error { return dbus.Error{Name: avahiTwice} }

// fakeWire notes what is sent and joined.
type fakeWire struct {
	t      testing.TB
	sent   []string
	joined map[string]bool
}

func (w *fakeWire) Join(f family, index int) error {
	w.joined[fmt.Sprint(f, " ", index)] = true
	return nil
}
func (w *fakeWire) Leave(f family, index int) { delete(w.joined, fmt.Sprint(f, " ", index)) }
func (w *fakeWire) Send(index int, p packet) error {
	w.sent = append(w.sent, fmt.Sprint(index, " ", text(w.t, p)))
	return nil
}

// room is a desk whose network and avahi are told what to be. It lives in a bubble of synctest.
type room struct {
	t    *testing.T
	a    *Announcer
	d    *desk
	wire *fakeWire
	list []device
	log  *logged

	dials atomic.Int64
}

func newRoom(t *testing.T, mode string, bus avahi) *room {
	o := opts()
	o.Mode = mode
	r := &room{t: t, log: &logged{}, wire: &fakeWire{t: t, joined: map[string]bool{}}}
	o.Log = r.log.logger()
	r.a = New(o)
	r.a.dial = func(context.Context) (avahi, error) {
		r.dials.Add(1)
		if bus == nil {
			return nil, fmt.Errorf("no bus")
		}
		return bus, nil
	}
	net := &network{opts: o, changed: make(chan struct{}, 1), list: func() ([]device, error) { return r.list, nil }}
	r.d = &desk{announcer: r.a, names: checked(t, o), net: net, again: time.NewTicker(poll)}
	return r
}

// plug changes the network.
func (r *room) plug(list ...device) {
	r.list = list
	r.d.net.again()
}
