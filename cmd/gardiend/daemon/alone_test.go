package daemon

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"

	"gardien/cmd/gardiend/hardware"
	"gardien/drivers/drivertest"
	"gardien/drivers/gpio"
	"gardien/gateway"
	"gardien/gateway/api"
	"gardien/gateway/api/phone"
	"gardien/gateway/doors"
)

// What one part, one reader or one device does at its worst is felt by no other.

// within fails the test where f does not return: whoever is held up is held up for ever.
func within(t testing.TB, what string, f func()) {
	t.Helper()
	done := make(chan struct{})
	go func() { defer close(done); f() }()
	select {
	case <-done:
	case <-time.After(30 * time.Second):
		t.Fatalf("%s: held up", what)
	}
}

// lockAt puts a lock of the test's own at a door, in place of its strike.
func (h *house) lockAt(id gateway.DoorID, l *drivertest.Lock) {
	before := h.devices
	h.devices = func(d *hardware.Devices) {
		if before != nil {
			before(d)
		}
		d.Doors[id] = doors.Hardware{Lock: l}
	}
}

// F12: a lock that does not answer, at one door, holds up neither another door, nor who looks,
// nor the watchdog, nor the stop.
func TestF12_HungLockHoldsUpNobody(t *testing.T) {
	h := build(t)
	l := drivertest.NewLock()
	h.lockAt("side", l)
	h.start(t)
	l.Behave(drivertest.Manner{Hangs: true})
	defer l.Behave(drivertest.Manner{})
	pin, side := h.pinGrant(t, "front"), h.pinGrant(t, "side")
	began := make(chan struct{})
	ended := make(chan gateway.Reason, 1)
	go func() {
		close(began)
		ended <- h.access.Present(context.Background(), "side", "side-pad", gateway.PINCredential{PIN: side}).Reason
	}()
	<-began
	<-l.Called() // the side door waits for its lock
	within(t, "the front door and whoever looks", func() {
		h.open(t, "front", pin)
		if err := h.alive(t.Context()); err != nil {
			t.Error(err)
		}
		for _, path := range []string{"/v1/doors", "/v1/status", "/v1/grants", "/v1/events", "/v1/info"} {
			if err := h.client.Do(t.Context(), "GET", path, nil, nil); err != nil {
				t.Error(path, err)
			}
		}
		h.grant(t, 1, "front", "")
	})
	select {
	case r := <-ended:
		t.Fatalf("the side door was done before: %q", r)
	default:
	}
	if r := <-ended; r != gateway.Fault {
		t.Errorf("the side door: %q", r)
	}
	if v := h.view("side"); !v.Blocked || v.Lock != gateway.LockUnknown {
		t.Errorf("%+v", v)
	}
	if r := h.access.Present(t.Context(), "side", "side-pad", gateway.PINCredential{PIN: side}).Reason; r != gateway.DoorBlocked {
		t.Errorf("the next at the side door: %q", r)
	}
	within(t, "the stop", h.stop)
}

// A11: however many read the record, and however slowly, status, grants and revocations do
// not wait for them. (Four were enough to stop the house: each held a connection, and asked
// for another.)
func TestA11_ManyReaders(t *testing.T) {
	h := build(t)
	h.start(t)
	_, text := h.grant(t, 1, "side", "")
	if in, err := h.access.Take(t.Context(), text); err != nil || in.Refusal != nil {
		t.Fatal(in, err)
	}
	for range 300 {
		h.note(gateway.Event{Type: gateway.DoorBell, Door: "front"})
	}
	ctx, cancel := context.WithCancel(t.Context())
	var readers sync.WaitGroup
	served := make(chan struct{}, 1<<16)
	for i := range 64 {
		readers.Go(func() {
			c := api.NewClient(h.cfg.API.Socket)
			defer c.Close()
			for ctx.Err() == nil {
				var page api.Events
				if c.Do(ctx, "GET", fmt.Sprintf("/v1/events?after=%d", i%3), nil, &page) == nil && len(page.Events) > 0 {
					select {
					case served <- struct{}{}:
					default:
					}
				}
			}
		})
	}
	within(t, "the readers themselves", func() {
		for range 64 * 4 {
			<-served
		}
	})
	within(t, "status, grants and a revocation", func() {
		for _, path := range []string{"/v1/status", "/v1/grants", "/v1/doors"} {
			if err := h.client.Do(ctx, "GET", path, nil, nil); err != nil {
				t.Error(path, err)
			}
		}
		if err := h.client.Do(ctx, "DELETE", "/v1/grants/colis-x.example%2Fg1", nil, nil); err != nil {
			t.Error(err)
		}
		out := h.access.Present(ctx, "side", "scanner", gateway.GrantCredential{Text: gateway.NewSecret(text)})
		if out.Reason != gateway.Revoked {
			t.Errorf("a revoked grant: %q", out.Reason)
		}
	})
	cancel()
	within(t, "the readers' end", readers.Wait)
}

// A11: streams whose clients never read are no reason to wait, not even at the stop.
func TestA11_ReadersThatNeverRead(t *testing.T) {
	h := build(t)
	h.start(t)
	for range 40 {
		h.note(slices.Repeat([]gateway.Event{{Type: gateway.DoorBell, Door: "front"}}, 500)...)
	}
	for range 40 {
		c, err := net.Dial("unix", h.cfg.API.Socket)
		if err != nil {
			t.Fatal(err)
		}
		defer c.Close()
		io.WriteString(c, "GET /v1/events/stream HTTP/1.1\r\nHost: gardien\r\n\r\n")
	}
	within(t, "whoever reads", func() {
		for range 20 {
			h.note(gateway.Event{Type: gateway.DoorBell, Door: "front"})
			for _, path := range []string{"/v1/status", "/v1/events?limit=1000", "/v1/grants"} {
				if err := h.client.Do(t.Context(), "GET", path, nil, nil); err != nil {
					t.Error(path, err)
				}
			}
		}
	})
	within(t, "the stop", h.stop)
}

// The same over the network: paired phones whose streams nobody reads keep no other from opening, from
// reading, and no daemon from ending.
func TestA11_PhonesThatNeverRead(t *testing.T) {
	h := networked(t)
	h.start(t)
	ada, _ := h.paired(t, "Ada", gateway.RoleResident)
	ben, _ := h.paired(t, "Ben", gateway.RoleResident)
	for range 40 {
		h.note(slices.Repeat([]gateway.Event{{Type: gateway.DoorBell, Door: "front"}}, 500)...)
	}
	for i := range 12 { // half of them by HTTP/2
		c := tls.Client(must((&net.Dialer{LocalAddr: &net.TCPAddr{IP: net.IPv4(127, 0, 3, byte(i+1))}}).Dial("tcp", h.lan.Address().String())), &tls.Config{InsecureSkipVerify: true})
		defer c.Close()
		if i%2 == 0 {
			io.WriteString(c, "GET /v1/events/stream HTTP/1.1\r\nHost: localhost\r\nAuthorization: Bearer "+ben.Token+"\r\n\r\n")
			continue
		}
		each := ada.Elsewhere(phone.From(ada.HTTP, net.IPv4(127, 0, 4, byte(i+1)), h.lan.Address().String()))
		stream, err := each.Stream(t.Context(), 0)
		if err != nil {
			t.Fatal(err)
		}
		defer stream.Body.Close()
	}
	within(t, "whoever opens and reads", func() {
		for range 20 {
			h.note(gateway.Event{Type: gateway.DoorBell, Door: "front"})
			for _, path := range []string{"/v1/doors", "/v1/events?limit=1000", "/v1/grants"} {
				if a := do(t, ada, "GET", path, ""); a.Status != 200 {
					t.Error(path, a.Status)
				}
			}
			if a := do(t, ada, "POST", attempts, "{}"); a.Status != 200 {
				t.Error(a.Status, a.Body)
			}
		}
	})
	within(t, "the stop", h.stop)
}

// The list of tasks: what ends the daemon, and what does not.
func TestTasks(t *testing.T) {
	h := newHome(t, sqliteSky(t))
	vital, beside := h.tasks()
	names := func(list []Task) (names []string) {
		for _, t := range list {
			names = append(names, t.String())
		}
		return names
	}
	if diff := cmp.Diff([]string{"clock", "access", "store", "door front"}, names(vital)); diff != "" {
		t.Errorf("vital (-want +got):\n%s", diff)
	}
	for _, want := range []string{"socket", "uplink", "reader pad", "remembered answers"} {
		if !slices.Contains(names(beside), want) {
			t.Errorf("no %q beside: %v", want, names(beside))
		}
	}
}

// part is a task that fails as it is told to.
type part struct {
	mu    sync.Mutex
	run   func(context.Context) error
	tries int
}

func (p *part) String() string         { return "part" }
func (p *part) Ready() <-chan struct{} { return nil }
func (p *part) Run(ctx context.Context) error {
	p.mu.Lock()
	p.tries++
	run := p.run
	p.mu.Unlock()
	return run(ctx)
}

// A part that fails is restarted alone, ever less often; it is told once that it is down,
// and once that it is up. A bug in it is no more than a failure.
func TestPartsFailAlone(t *testing.T) {
	stays := func(ctx context.Context) error { <-ctx.Done(); return nil }
	for name, fails := range map[string]func(context.Context) error{
		"an error": func(context.Context) error { return errors.New("the port is busy") },
		"a panic":  func(context.Context) error { panic("a driver's bug") },
		"an end":   func(context.Context) error { return nil },
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				var got []gateway.EventType
				p := &part{run: fails}
				k := keepUp(p, func(events ...gateway.Event) { got = append(got, events[0].Type) }, quiet)
				ctx, cancel := context.WithCancel(t.Context())
				done := make(chan struct{})
				go func() { defer close(done); k.run(ctx) }()
				<-k.settled
				time.Sleep(time.Hour)
				synctest.Wait()
				if down, _, why := k.status(); !down || why == nil {
					t.Errorf("down %v, %v", down, why)
				}
				p.mu.Lock()
				if p.tries < 50 || p.tries > 70 {
					t.Errorf("tried %d times in an hour", p.tries)
				}
				p.run = stays
				p.mu.Unlock()
				time.Sleep(restartMost + worksAgain)
				synctest.Wait()
				if down, _, _ := k.status(); down {
					t.Error("down although it works")
				}
				if diff := cmp.Diff([]gateway.EventType{gateway.TaskDown, gateway.TaskUp}, got); diff != "" {
					t.Errorf("(-want +got):\n%s", diff)
				}
				cancel()
				<-done
			})
		})
	}
}

// A socket that cannot be had is told, and nobody is shut out; it comes when it can.
func TestSocketComesLater(t *testing.T) {
	h := build(t)
	path := filepath.Join(h.dir, "s")
	if err := os.WriteFile(path, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	h.start(t)
	pin := h.pinGrant(t, "front")
	h.open(t, "front", pin)
	if st, err := h.backend().Upkeep.Status(t.Context(), true); err != nil || !strings.Contains(strings.Join(st.Notes, "\n"), "socket does not work") {
		t.Errorf("%+v, %v", st.Notes, err)
	}
	if err := os.Remove(path); err != nil {
		t.Fatal(err)
	}
	grown, stop := h.store.Watch()
	defer stop()
	within(t, "the socket", func() {
		for {
			list, err := h.store.Events(context.Background(), 0, 1000)
			if err != nil {
				t.Error(err)
				return
			}
			if slices.ContainsFunc(list, func(e gateway.Event) bool { return e.Type == gateway.TaskUp && e.Device == "socket" }) {
				return
			}
			<-grown
		}
	})
	if err := h.client.Do(t.Context(), "GET", "/v1/info", nil, nil); err != nil {
		t.Error(err)
	}
}

// What speaks of one device is told of its door alone (contract §9): a board whose supply
// breaks down lets no third party in anywhere.
func TestBoardAilsAllDoors(t *testing.T) {
	h := build(t)
	h.start(t)
	if list := h.backend().Doors.List(); len(list) != 2 || len(list[0].Health)+len(list[1].Health) != 0 {
		t.Errorf("%+v", list)
	}
	h.stop()
	h.board = func() gpio.Facts { return gpio.Facts{UnderVoltage: true} }
	h.start(t)
	for _, d := range h.backend().Doors.List() {
		if !slices.Equal(d.Health, []gateway.Ailment{gateway.BoardVoltage}) {
			t.Errorf("%s: %v", d.ID, d.Health)
		}
	}
	_, text := h.grant(t, 1, "front", "")
	if r := h.scan(text); r != gateway.DoorBlocked {
		t.Errorf("a third party: %q", r)
	}
	h.open(t, "front", h.pinGrant(t, "front"))
}
