package daemon

import (
	"context"
	"crypto/x509"
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"gardien/cmd/gardien-cloud/service"
	"gardien/cmd/gardien-issuer/carrier"
	"gardien/gateway"
	"gardien/gateway/api"
	"gardien/store"
	"gardien/store/mailbox"

	"github.com/google/go-cmp/cmp"
)

// wire is a network of one server, in memory: it works in a synctest bubble, where a socket would
// stop the time.
type wire struct {
	accept chan net.Conn
	closed chan struct{}
	once   sync.Once
}

func newWire() *wire { return &wire{accept: make(chan net.Conn), closed: make(chan struct{})} }

func (w *wire) Accept() (net.Conn, error) {
	select {
	case c := <-w.accept:
		return c, nil
	case <-w.closed:
		return nil, net.ErrClosed
	}
}

func (w *wire) Close() error   { w.once.Do(func() { close(w.closed) }); return nil }
func (w *wire) Addr() net.Addr { return &net.TCPAddr{IP: net.IPv4(127, 0, 0, 1), Port: 443} }

func (w *wire) dial(ctx context.Context, _, _ string) (net.Conn, error) {
	ours, theirs := net.Pipe()
	select {
	case w.accept <- theirs:
		return ours, nil
	case <-ctx.Done():
		return nil, ctx.Err()
	case <-w.closed:
		return nil, errors.New("connection refused")
	}
}

// line is one way to a wire. It can be cut.
type line struct {
	to *wire

	mu   sync.Mutex
	cut  bool
	open []net.Conn
}

func (l *line) dial(ctx context.Context, network, address string) (net.Conn, error) {
	l.mu.Lock()
	cut := l.cut
	l.mu.Unlock()
	if cut {
		return nil, errors.New("network is unreachable")
	}
	c, err := l.to.dial(ctx, network, address)
	if err == nil {
		l.mu.Lock()
		defer l.mu.Unlock()
		l.open = append(l.open, c)
	}
	return c, err
}

// setCut cuts the line, with all that goes over it, or mends it.
func (l *line) setCut(cut bool) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.cut = cut; cut {
		for _, c := range l.open {
			c.Close()
		}
		l.open = nil
	}
}

// bubbleOS is the operating system's clocks in a bubble.
type bubbleOS struct{ booted time.Time }

func (o bubbleOS) Now() (time.Time, time.Duration, string) {
	return time.Now(), time.Since(o.booted), "boot"
}

// inBubble runs a test in a bubble that begins on a Monday at 8 in Paris.
func inBubble(t *testing.T, f func(t *testing.T)) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) {
		zone, err := time.LoadLocation("Europe/Paris")
		check(t, err)
		time.Sleep(time.Until(time.Date(2027, 3, 1, 8, 0, 0, 0, zone)))
		f(t)
	})
}

// world is a gateway, a cloud and a carrier in one bubble.
type world struct {
	t       *testing.T
	dir     string
	house   *house
	cloud   *wire
	line    *line // from the house to the cloud
	carrier *carrier.Carrier
	box     *mailbox.Box
	to      *carrier.Gateway
	read    int64 // of the record
	stop    []func()
	halt    func() // ends the gateway
}

const worldYAML = `gateway: {name: Test, time_zone: Europe/Paris, state_dir: state}
api: {listen: "", socket: s}
clock: {source: system}
doors:
  - {id: front, strike: {driver: sim}, contact: {driver: sim}, release_time: 5s, relock_delay: 0s, held_open_after: 1m}
readers:
  - {id: pad, door: front, driver: sim}
issuers:
  - {id: colis-x.example, keys: carrier/jwks.json, doors: [front], max_validity: off, remote_unlock: true, offline_limit: 36h}
cloud: {url: "https://cloud.example", ca: ca.pem}
`

func check(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// inWorld runs a story of all three.
func inWorld(t *testing.T, story func(*world)) {
	dir := t.TempDir()
	inBubble(t, func(t *testing.T) {
		w := &world{t: t, dir: dir, cloud: newWire()}
		w.line = &line{to: w.cloud}
		defer func() {
			for _, stop := range slices.Backward(w.stop) {
				stop()
			}
		}()
		w.startCloud()
		folder, err := carrier.Create(filepath.Join(dir, "carrier"), "colis-x.example")
		check(t, err)
		code := func(kind, id string) string {
			c := gateway.NewSecret(gateway.NewJTI())
			check(t, w.box.AddCode(t.Context(), kind, id, c, time.Now().Add(time.Hour)))
			return c.Reveal()
		}
		w.carrier, err = folder.Enrol(t.Context(), carrier.At{URL: "https://cloud.example", CA: filepath.Join(dir, "ca.pem")}, code(mailbox.KindIssuer, "colis-x.example"), w.cloud.dial)
		check(t, err)
		w.stop = append(w.stop, w.carrier.Close)
		check(t, os.WriteFile(filepath.Join(dir, "g.yaml"), []byte(worldYAML), 0o600))
		w.startGateway()
		w.stop = append(w.stop, func() { w.halt() })
		_, err = w.house.backend().Upkeep.EnrolInCloud(t.Context(), api.CloudEnrolment{Code: code(mailbox.KindGateway, string(w.house.identity.ID))})
		check(t, err)
		synctest.Wait()
		w.to, err = w.carrier.Gateway(t.Context(), w.house.identity.ID)
		check(t, err)
		story(w)
	})
}

func (w *world) startCloud() {
	w.t.Helper()
	config, ca := certified(w.t, &x509.Certificate{DNSNames: []string{"cloud.example"}})
	check(w.t, os.WriteFile(filepath.Join(w.dir, "ca.pem"), ca, 0o600))
	ctx, cancel := context.WithCancel(context.Background())
	ready, done := make(chan *service.Running, 1), make(chan error, 1)
	go func() {
		done <- service.Run(ctx, service.Options{DB: filepath.Join(w.dir, "mail.db"), Origin: "https://cloud.example", TLS: config, Listener: w.cloud, Log: quiet,
			Ready: func(r *service.Running) { ready <- r }})
	}()
	select {
	case r := <-ready:
		w.box = r.Box
	case err := <-done:
		w.t.Fatal(err)
	}
	w.stop = append(w.stop, func() {
		cancel()
		if err := <-done; err != nil {
			w.t.Errorf("the cloud ended with %v", err)
		}
	})
}

func (w *world) startGateway() {
	w.t.Helper()
	w.house = &house{dir: w.dir, os: bubbleOS{time.Now().Add(-time.Hour)}}
	ctx, cancel := context.WithCancel(context.Background())
	ready, done := make(chan *Gateway, 1), make(chan error, 1)
	socket := newWire()
	go func() {
		done <- Run(ctx, Options{Config: filepath.Join(w.dir, "g.yaml"), OS: w.house.os, Log: quiet, Dial: w.line.dial,
			Listen: func() (net.Listener, error) { return socket, nil }, Links: make(chan struct{}), RTC: func() bool { return false },
			Jitter: func(most time.Duration) time.Duration { return most / 2 }, wired: ready})
	}()
	select {
	case w.house.Gateway = <-ready:
	case err := <-done:
		w.t.Fatal(err)
	}
	w.halt = func() {
		cancel()
		if err := <-done; err != nil {
			w.t.Errorf("the gateway ended with %v", err)
		}
	}
}

// restart ends the gateway and starts it anew.
func (w *world) restart() {
	w.t.Helper()
	w.halt()
	w.startGateway()
	synctest.Wait()
}

// at sleeps until a time of day on the first, second or third day.
func (w *world) at(day int, clock string) {
	w.t.Helper()
	of, err := time.ParseInLocation("2006-01-02 15:04", fmt.Sprintf("2027-03-%02d %s", day, clock), w.house.cfg.Zone())
	check(w.t, err)
	if wait := time.Until(of); wait > 0 {
		time.Sleep(wait)
	}
	synctest.Wait()
}

// grant has the carrier make one with a PIN, from and to a time, and gives the PIN.
func (w *world) grant(jti string, uses int, from, to string, s *gateway.Schedule) string {
	w.t.Helper()
	g := gateway.Grant{ID: gateway.GrantID{Issuer: w.carrier.ID, JTI: jti}, Version: 1, Status: gateway.GrantActive, Doors: []gateway.DoorID{"front"},
		IssuedAt: time.Now(), Uses: uses, Schedule: s, PIN: gateway.DrawPIN(8), Sub: "ref-" + jti}
	var err error
	g.NotBefore, err = gateway.ParseTime(from, w.house.cfg.Zone())
	check(w.t, err)
	g.NotAfter, err = gateway.ParseTime(to, w.house.cfg.Zone())
	check(w.t, err)
	check(w.t, w.to.Grant(w.t.Context(), g))
	return g.PIN.Reveal()
}

// types has somebody type a PIN, and go in where that opens.
func (w *world) types(pin string, want gateway.Reason) {
	w.t.Helper()
	p, err := gateway.NewPIN(pin)
	check(w.t, err)
	out := w.house.access.Present(w.t.Context(), "front", "pad", gateway.PINCredential{PIN: p})
	if out.Reason != want || out.Granted != (want == "") {
		w.t.Errorf("%s: %v %q, want %q", time.Now().In(w.house.cfg.Zone()).Format("Mon 15:04"), out.Granted, out.Reason, want)
	}
	if out.Granted {
		time.Sleep(2 * time.Second)
		w.leaf(gateway.ContactOpen)
		time.Sleep(5 * time.Second)
		w.leaf(gateway.ContactClosed)
	}
	time.Sleep(time.Minute) // whoever comes next is somebody else
	synctest.Wait()
}

func (w *world) leaf(s gateway.ContactState) {
	w.t.Helper()
	check(w.t, (&simulator{w.house.Gateway}).Contact(w.t.Context(), api.SimContact{Door: "front", State: s}))
}

// record lists what happened since the last call: "type grant reason".
func (w *world) record() (list []string) {
	w.t.Helper()
	synctest.Wait()
	events, err := w.house.store.Events(w.t.Context(), w.read, 1000)
	check(w.t, err)
	for _, e := range events {
		list = append(list, told(e))
		w.read = e.Seq
	}
	return list
}

func told(e gateway.Event) string {
	return strings.Join(strings.Fields(string(e.Type)+" "+e.Grant+" "+string(e.Reason)), " ")
}

func (w *world) expect(when string, want ...string) {
	w.t.Helper()
	if d := cmp.Diff(want, w.record()); d != "" {
		w.t.Errorf("%s: %s", when, d)
	}
}

// letters reads all that the carrier was sent, in order.
func (w *world) letters() (list []string) {
	w.t.Helper()
	opening, err := w.carrier.Opening()
	check(w.t, err)
	ctx, cancel := context.WithTimeout(w.t.Context(), time.Minute)
	defer cancel()
	r := &carrier.Reader{Carrier: w.carrier, Opening: opening, PassedBy: func(_ gateway.Delivered, err error) { w.t.Error(err) }}
	err = r.Read(ctx, "0", func(name string, d carrier.Delivered) error {
		if name == "head" {
			return carrier.ErrDone
		}
		if name == "event" {
			var e gateway.Event
			check(w.t, json.Unmarshal(d.Event, &e))
			list = append(list, told(e))
		}
		return nil
	})
	if !errors.Is(err, carrier.ErrDone) {
		w.t.Error(err)
	}
	return list
}

// entered is what an entry leaves in the record.
func entered(jti string) []string {
	return []string{"access_granted " + jti, "strike_released " + jti, "door_opened " + jti, "access_taken " + jti, "strike_secured " + jti, "door_closed"}
}

// TestTwoDays lives two days of a house, with a gateway, a cloud and a carrier over TLS, in no
// time: an entry that is good once, one of fixed hours, an outage over night with a restart in it,
// a revocation that waits for its end, and a door that somebody left open. What was answered on
// the first day is not remembered on the third.
func TestTwoDays(t *testing.T) {
	inWorld(t, func(w *world) {
		t := w.t // the bubble's
		w.record()
		hours, err := gateway.ParseHours("mon,tue,wed", "17:00-19:00")
		check(t, err)
		courier := w.grant("courier", 1, "2027-03-01T09:00", "2027-03-01T12:00", nil)
		unused := w.grant("unused", 1, "2027-03-01T09:00", "2027-03-01T12:00", nil)
		nurse := w.grant("nurse", 0, "2027-03-01T00:00", "2027-04-01T00:00", hours)
		check(t, w.to.SendManifest(t.Context(), 24*time.Hour))
		check(t, w.house.backend().Sessions.Remember(t.Context(), "key", "body", api.Answer{Status: 201}))
		w.expect("the morning", "grant_added courier", "grant_added unused", "grant_added nurse")

		w.at(1, "08:30")
		w.types(courier, gateway.NotYetValid)
		w.expect("too early", "access_denied courier not_yet_valid")
		w.at(1, "09:30")
		w.types(courier, "")
		w.expect("in time", entered("courier")...)
		w.types(courier, gateway.WrongPIN)
		w.expect("a second time", "access_denied wrong_pin")
		w.at(1, "12:02")
		w.types(unused, gateway.WrongPIN)
		w.expect("nobody came", "grant_expired unused", "access_denied wrong_pin")

		w.at(1, "17:30")
		w.types(nurse, "")
		w.expect("her hours", entered("nurse")...)
		w.at(1, "19:30")
		w.types(nurse, gateway.OutsideSchedule)
		w.expect("not her hours", "access_denied nurse outside_schedule")

		w.at(1, "22:00")
		w.line.setCut(true)
		w.at(2, "03:00")
		w.restart()
		w.expect("the night", "cloud_disconnected", "gateway_stopped", "gateway_started")
		w.at(2, "10:00")
		revoked, err := w.to.Revocation("nurse")
		check(t, err)
		check(t, w.to.Grant(t.Context(), revoked)) // it waits at the cloud
		w.leaf(gateway.ContactOpen)
		time.Sleep(90 * time.Second)
		w.leaf(gateway.ContactClosed)
		w.expect("somebody leaves the door open", "door_opened", "door_forced_open", "door_held_open", "door_closed")
		w.at(2, "17:30")
		w.types(nurse, "") // nobody could tell the house
		w.expect("during the outage", entered("nurse")...)

		w.at(2, "18:00")
		w.line.setCut(false)
		mended := time.Now()
		for last := ""; last != "cloud_connected"; {
			time.Sleep(100 * time.Millisecond)
			for _, e := range w.record() {
				last = e
				if e == "grant_revoked nurse" && time.Since(mended) > 90*time.Second {
					t.Errorf("the revocation came %s after the outage", time.Since(mended))
				}
			}
		}
		w.types(nurse, gateway.WrongPIN)
		w.expect("after it", "access_denied wrong_pin")
		w.at(3, "08:00")
		w.expect("the second night")
		if has, err := store.Look(t.Context(), w.house.store, func(tx *store.Tx) bool { return tx.Residents.HasAnswers(time.Now()) }); has || err != nil {
			t.Errorf("an answer is remembered for two days: %v, %v", has, err)
		}

		want := slices.Concat([]string{"grant_added courier", "grant_added unused", "grant_added nurse", "access_denied courier not_yet_valid"}, ofTheGrant("courier"),
			[]string{"grant_expired unused"}, ofTheGrant("nurse"), []string{"access_denied nurse outside_schedule"}, ofTheGrant("nurse"), []string{"grant_revoked nurse"})
		if d := cmp.Diff(want, w.letters()); d != "" {
			t.Errorf("what the carrier reads, once each and in order: %s", d)
		}
		if v, err := w.house.store.Verify(t.Context()); err != nil || !v.OK {
			t.Errorf("the record: %+v %v", v, err)
		}
	})
}

// ofTheGrant is what an entry's issuer is told: what bears its grant.
func ofTheGrant(jti string) (list []string) {
	for _, e := range entered(jti) {
		if strings.HasSuffix(e, jti) {
			list = append(list, e)
		}
	}
	return list
}

// TestRotateTwice: a program that goes on signs with the key that it has changed to.
func TestRotateTwice(t *testing.T) {
	inWorld(t, func(w *world) {
		t := w.t
		for _, jti := range []string{"one", "two"} {
			kid, gateways, err := w.carrier.Rotate(t.Context())
			check(t, err)
			if kid != w.carrier.KeyID() || gateways != 1 {
				t.Errorf("key %s at %d gateways, the folder has %s", kid, gateways, w.carrier.KeyID())
			}
			w.record()
			w.grant(jti, 1, "2027-03-01T09:00", "2027-03-01T12:00", nil)
			w.expect("with key "+kid, "grant_added "+jti)
			time.Sleep(time.Second) // keys have a version by the millisecond
		}
	})
}
