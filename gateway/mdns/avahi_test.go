package mdns

import (
	"strings"
	"testing"
	"time"

	"gardien/gateway/mdns/lantest"
)

func auto() Opts {
	o := opts()
	o.Mode = Auto
	return o
}

// TestAvahiAnnounces: avahi takes the service and our own host name, each interface with its own addresses.
func TestAvahiAnnounces(t *testing.T) {
	t.Parallel()
	n := lantest.New(t)
	n.Plug(lantest.Gateway, "garden", "eth1", "10.78.0.1/24", "fd78::1/64")
	n.Plug("guest", "garden", "eth0", "10.78.0.2/24", "fd78::2/64")
	at, phone, guest := n.Avahi(lantest.Gateway, "raspberrypi"), n.Avahi(lantest.Phone, "phone"), n.Avahi("guest", "guest")
	browser := avahiBrowse(t, phone)
	begun := time.Now()
	g := startGateway(t, n, lantest.Gateway, auto(), at.Env())
	found := lantest.Within(t, soon, "found", func() bool {
		return browser.has(begun, "=;eth0;IPv4;Gardien\\03262fg;", "gardien-62fg.local", "8443", `"txtvers=1"`, `"id=gw-a3r73d62fg"`)
	})
	t.Logf("a browsing phone finds a gateway with avahi %v after it was started", found)
	g.announced(Avahi, "eth0", "eth1")
	for _, c := range []struct {
		from         *lantest.Avahi
		family, want string
	}{{phone, "-4", "10.77.0.1"}, {phone, "-6", "fd77::1"}, {guest, "-4", "10.78.0.1"}, {guest, "-6", "fd78::1"}} {
		if got := resolves(c.from, c.family); got != c.want {
			t.Errorf("resolves to %q, want %q", got, c.want)
		}
	}
	begun = time.Now()
	n.Address(lantest.Gateway, "eth0", "del", "10.77.0.1/24")
	n.Address(lantest.Gateway, "eth0", "add", "10.77.0.5/24")
	lantest.Within(t, 3*time.Second, "new address", func() bool { return resolves(phone, "-4") == "10.77.0.5" })
	t.Logf("a new address is seen after %v", time.Since(begun))
	if browser.has(begun, "-;eth0;IPv4;") {
		t.Error("the service went away for an address")
	}
}

// TestAvahiWithdraws: a gateway that is killed is gone a second later. Now and then avahi keeps the goodbye to itself: where
// a record went out, or a phone said that it knows it, in the last half second (seen with avahi 0.8). So there are three tries.
func TestAvahiWithdraws(t *testing.T) {
	t.Parallel()
	n := lantest.New(t)
	at, phone := n.Avahi(lantest.Gateway, "raspberrypi"), n.Avahi(lantest.Phone, "phone")
	browser := avahiBrowse(t, phone)
	for try := 1; ; try++ {
		g := startGateway(t, n, lantest.Gateway, auto(), at.Env())
		g.announced(Avahi, "eth0")
		begun := time.Now()
		lantest.Within(t, 5*time.Second, "past its announcements", func() bool { return time.Since(begun) > 3*time.Second })
		begun = time.Now()
		g.kill()
		lantest.Within(t, 5*time.Second, "seen or not", func() bool { return browser.has(begun, "-;eth0;IPv4;") || time.Since(begun) > 3*time.Second })
		if gone := browser.when(begun, "-;eth0;IPv4;"); gone >= 0 {
			t.Logf("kill -9 is seen after %v, in try %d", gone, try)
			return
		}
		if try == 3 {
			t.Fatal("a killed gateway stays")
		}
	}
}

// TestAvahiComesAndGoes: whoever announces, phones find the gateway; when avahi takes over, nothing vanishes.
func TestAvahiComesAndGoes(t *testing.T) {
	t.Parallel()
	n := lantest.New(t)
	at, phone := n.Bus(lantest.Gateway, "raspberrypi"), n.Avahi(lantest.Phone, "phone")
	browser := avahiBrowse(t, phone)
	g := startGateway(t, n, lantest.Gateway, auto(), at.Env())
	g.announced(Builtin, "eth0")
	found := func() bool { return resolves(phone, "-4") == lantest.GatewayIPv4 }
	lantest.Within(t, soon, "found", found)

	begun := time.Now()
	at.Start()
	g.announced(Avahi, "eth0")
	t.Logf("avahi started: it announces after %v", time.Since(begun))
	lantest.Within(t, soon, "found", found)
	lantest.Within(t, 5*time.Second, "a while", func() bool { return time.Since(begun) > 4*time.Second })
	if browser.has(begun, "-;") {
		t.Error("the gateway vanished for a moment")
	}

	begun = time.Now()
	at.Stop()
	g.announced(Builtin, "eth0")
	lantest.Within(t, soon, "found", found)
	t.Logf("avahi stopped: found again after %v", time.Since(begun))

	at.Start()
	g.announced(Avahi, "eth0")
	begun = time.Now()
	at.Kill()
	g.announced(Builtin, "eth0")
	lantest.Within(t, soon, "found", found)
	t.Logf("avahi killed: found again after %v", time.Since(begun))

	begun = time.Now()
	at.Start()
	g.announced(Avahi, "eth0")
	at.StopBus()
	g.announced(Builtin, "eth0")
	lantest.Within(t, soon, "found", found)
	g.stop()
	lantest.Within(t, soon, "withdrawn", func() bool { return browser.has(begun, "-;eth0;IPv4;") })
	if g.logged("level=WARN")+g.logged("level=ERROR") > 0 {
		t.Errorf("%q", g.log())
	}
}

// TestAvahiAlone: with mode avahi it is waited for, which is said once.
func TestAvahiAlone(t *testing.T) {
	t.Parallel()
	n := lantest.New(t)
	at, phone := n.Bus(lantest.Gateway, "raspberrypi"), n.Avahi(lantest.Phone, "phone")
	o := opts()
	o.Mode = Avahi
	g := startGateway(t, n, lantest.Gateway, o, at.Env())
	lantest.Within(t, soon, "it says so", func() bool { return g.logged("avahi does not run and is waited for") == 1 })
	if got := resolves(phone, "-4"); got != "" || g.state().By != "" {
		t.Errorf("found at %q without avahi: %+v", got, g.state())
	}
	at.Start()
	g.announced(Avahi, "eth0")
	lantest.Within(t, soon, "found", func() bool { return resolves(phone, "-4") == lantest.GatewayIPv4 })
	at.Stop()
	lantest.Within(t, soon, "it says so", func() bool { return g.logged("avahi does not run and is waited for") == 2 && g.state().By == "" })
	g.stop()
}

// TestAvahiRefuses: an avahi that takes no services leaves it to us, or ends the run where it alone may announce.
func TestAvahiRefuses(t *testing.T) {
	t.Parallel()
	n := lantest.New(t)
	at, phone := n.Bus(lantest.Gateway, "raspberrypi"), n.Avahi(lantest.Phone, "phone")
	at.Start("[publish]", "disable-user-service-publishing=yes")
	g := startGateway(t, n, lantest.Gateway, auto(), at.Env())
	g.announced(Builtin, "eth0")
	lantest.Within(t, soon, "found", func() bool { return resolves(phone, "-4") == lantest.GatewayIPv4 })
	if g.logged("avahi does not announce the gateway") != 1 {
		t.Errorf("%q", g.log())
	}
	g.stop()
	o := opts()
	o.Mode = Avahi
	g = startGateway(t, n, lantest.Gateway, o, at.Env())
	lantest.Within(t, soon, "it ends", func() bool { return g.logged("ended: avahi: ") == 1 })
}

// TestPortIsTaken: an avahi that suffers no other responder is one we cannot work beside.
func TestPortIsTaken(t *testing.T) {
	t.Parallel()
	n := lantest.New(t)
	at := n.Bus(lantest.Gateway, "raspberrypi")
	at.Start("disallow-other-stacks=yes")
	g := startGateway(t, n, lantest.Gateway, opts(), at.Env())
	lantest.Within(t, soon, "it ends", func() bool { return g.logged("ended: port 5353: ") == 1 })
	startGateway(t, n, lantest.Gateway, auto(), at.Env()).announced(Avahi, "eth0")
}

// TestAvahiHasOurName: a machine whose own host name is the gateway's has its addresses announced by avahi already.
func TestAvahiHasOurName(t *testing.T) {
	t.Parallel()
	n := lantest.New(t)
	at, phone := n.Avahi(lantest.Gateway, "gardien-62fg"), n.Avahi(lantest.Phone, "phone")
	g := startGateway(t, n, lantest.Gateway, auto(), at.Env())
	g.announced(Avahi, "eth0")
	lantest.Within(t, soon, "found", func() bool { return resolves(phone, "-4") == lantest.GatewayIPv4 })
	if s := g.state(); s.Collision != "" {
		t.Errorf("%+v", s)
	}
}

// TestTwoGatewaysWithAvahi: as TestTwoGatewaysOfOneName; the second, whoever announces it, warns and waits.
func TestTwoGatewaysWithAvahi(t *testing.T) {
	t.Parallel()
	for name, twins := range map[string]struct{ first, second bool }{"avahi and avahi": {true, true}, "avahi and ours": {true, false}, "ours and avahi": {false, true}} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			n := lantest.New(t)
			n.Plug("twin", lantest.Home, "eth0", "10.77.0.8/24")
			phone := n.Avahi(lantest.Phone, "phone")
			start := func(host, id string, withAvahi bool) (g *gatewayProcess, by string) {
				o := auto()
				o.TXT = []string{"txtvers=1", "id=" + id}
				if !withAvahi {
					return startGateway(t, n, host, o), Builtin
				}
				return startGateway(t, n, host, o, n.Avahi(host, host).Env()), Avahi
			}
			first, by := start(lantest.Gateway, "gw-aaaaaa62fg", twins.first)
			first.announced(by, "eth0")
			second, by := start("twin", "gw-zzzzzz62fg", twins.second)
			begun := time.Now()
			lantest.Within(t, 10*time.Second, "the second knows", func() bool { return second.state().Collision != "" })
			t.Logf("the second knows after %v: %q; the first: %q", time.Since(begun), second.state().Collision, first.state().Collision)
			lantest.Within(t, 10*time.Second, "some tries", func() bool { return time.Since(begun) > 5*time.Second })
			if s := second.state(); s.By != "" || s.Collision == "" || second.logged("somebody else on the network") != 1 || first.state().By == "" {
				t.Errorf("%+v %q, %+v", s, second.log(), first.state())
			}
			out, err := phone.Command("avahi-browse", "-rpt", serviceType).Output()
			if err != nil || !strings.Contains(string(out), "gw-aaaaaa62fg") || strings.Contains(string(out), "gw-zzzzzz62fg") {
				t.Errorf("%v\n%s", err, out)
			}
			first.stop()
			begun = time.Now()
			lantest.Within(t, maxRetry+soon, "the other takes over", func() bool { return second.state().By == by })
			t.Logf("the other takes over after %v", time.Since(begun))
			lantest.Within(t, soon, "found", func() bool { return resolves(phone, "-4") == "10.77.0.8" })
			if by == Avahi && second.state().Collision != "" {
				t.Errorf("%+v", second.state())
			}
		})
	}
}
