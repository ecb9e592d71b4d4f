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
	begun = time.Now()
	g.kill()
	lantest.Within(t, 3*time.Second, "withdrawn", func() bool { return browser.has(begun, "-;eth0;IPv4;") })
	t.Logf("kill -9 is seen after %v", browser.when(begun, "-;eth0;IPv4;"))
	_ = strings.TrimSpace
}
