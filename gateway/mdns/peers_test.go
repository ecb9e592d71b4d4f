package mdns

import (
	"bufio"
	"fmt"
	"net/netip"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/miekg/dns"

	"gardien/gateway/mdns/lantest"
)

// seen is a browser on a phone, with what it said and when.
type seen struct {
	mu    sync.Mutex
	lines []string
	at    []time.Time
}

// followLines starts a program and notes its lines.
func followLines(t *testing.T, cmd *exec.Cmd) *seen {
	t.Helper()
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	lantest.Start(t, cmd)
	s := &seen{}
	go func() {
		for sc := bufio.NewScanner(out); sc.Scan(); {
			s.mu.Lock()
			s.lines, s.at = append(s.lines, sc.Text()), append(s.at, time.Now())
			s.mu.Unlock()
		}
	}()
	return s
}

// has reports whether a line that came after begins so and has all of the parts.
func (s *seen) has(after time.Time, begins string, parts ...string) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	for i, line := range s.lines {
		if s.at[i].After(after) && strings.HasPrefix(line, begins) && !slices.ContainsFunc(parts, func(p string) bool { return !strings.Contains(line, p) }) {
			return true
		}
	}
	return false
}

// when tells how long after a time the first such line came.
func (s *seen) when(after time.Time, begins string) time.Duration {
	s.mu.Lock()
	defer s.mu.Unlock()
	for i, line := range s.lines {
		if s.at[i].After(after) && strings.HasPrefix(line, begins) {
			return s.at[i].Sub(after)
		}
	}
	return -1
}

func (s *seen) text() string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return strings.Join(s.lines, "\n")
}

// avahiBrowse browses until the test ends: "=;…" is a service that was found and resolved, "-;…" one that is gone.
func avahiBrowse(t *testing.T, a *lantest.Avahi) *seen {
	s := followLines(t, a.Command("stdbuf", "-oL", "avahi-browse", "-rpk", serviceType))
	t.Cleanup(func() {
		if t.Failed() {
			t.Logf("avahi-browse said:\n%s", s.text())
		}
	})
	return s
}

// resolves asks an avahi for the gateway's address now.
func resolves(a *lantest.Avahi, family string) string {
	out, _ := a.Command("avahi-resolve", family, "-n", "gardien-62fg.local").Output()
	_, addr, _ := strings.Cut(strings.TrimSpace(string(out)), "\t")
	return addr
}

const soon = 2 * time.Second

// TestN3_FoundByAvahi: a phone that looks for a gateway finds one that starts, with its own name, texts
// and addresses, and sees it go.
func TestN3_FoundByAvahi(t *testing.T) {
	t.Parallel()
	n := lantest.New(t)
	phone := n.Avahi(lantest.Phone, "phone")
	browser := avahiBrowse(t, phone)
	begun := time.Now()
	g := startGateway(t, n, lantest.Gateway, opts())
	found := lantest.Within(t, soon, "found", func() bool {
		return browser.has(begun, "=;eth0;IPv4;Gardien\\03262fg;", "gardien-62fg.local", "8443", `"txtvers=1"`, `"id=gw-a3r73d62fg"`)
	})
	t.Logf("a browsing phone finds a gateway %v after it was started", found)
	g.announced(Builtin, "eth0")
	for family, want := range map[string]string{"-4": lantest.GatewayIPv4, "-6": lantest.GatewayIPv6} {
		if got := resolves(phone, family); got != want {
			t.Errorf("resolves to %q, want %q", got, want)
		}
	}
	begun = time.Now()
	late, err := phone.Command("avahi-browse", "-rpt", serviceType).Output()
	if err != nil || !strings.Contains(string(late), "=;eth0;IPv4;") {
		t.Errorf("%v\n%s", err, late)
	}
	t.Logf("one that looks later: %v", time.Since(begun))
	begun = time.Now()
	g.stop()
	lantest.Within(t, soon, "withdrawn", func() bool { return browser.has(begun, "-;eth0;IPv4;") })
	t.Logf("a stop is seen after %v", browser.when(begun, "-;eth0;IPv4;"))
}

// addressOnWire asks for the gateway's address, past all memory of the phone.
func addressOnWire(t *testing.T, n *lantest.Net, host string) string {
	for _, a := range ask(t, n, host, question{Name: "gardien-62fg.local.", Type: dns.TypeA, Old: true, Wait: 200 * time.Millisecond}) {
		return strings.Join(a.Records, "; ")
	}
	return ""
}

// TestAddressesOfEachInterface: a phone gets the addresses that the gateway has on the phone's own network, and no others.
func TestAddressesOfEachInterface(t *testing.T) {
	t.Parallel()
	n := lantest.New(t)
	n.Plug(lantest.Gateway, "garden", "eth1", "10.78.0.1/24", "fd78::1/64")
	n.Plug("guest", "garden", "eth0", "10.78.0.2/24", "fd78::2/64")
	phone, guest := n.Avahi(lantest.Phone, "phone"), n.Avahi("guest", "guest")
	startGateway(t, n, lantest.Gateway, opts()).announced(Builtin, "eth0", "eth1")
	for _, c := range []struct {
		host string
		from *lantest.Avahi
		want []string // IPv4, IPv6
		not  string
	}{{lantest.Phone, phone, []string{"10.77.0.1", "fd77::1"}, "10.78."}, {"guest", guest, []string{"10.78.0.1", "fd78::1"}, "10.77."}} {
		if got := []string{resolves(c.from, "-4"), resolves(c.from, "-6")}; !slices.Equal(got, c.want) {
			t.Errorf("%s resolves to %q, want %q", c.host, got, c.want)
		}
		all := addressOnWire(t, n, c.host)
		if want := "gardien-62fg.local. 10 IN A " + c.want[0] + "; gardien-62fg.local. 10 IN AAAA " + c.want[1]; all != want {
			t.Errorf("%s is told %q, want %q", c.host, all, want)
		}
		// By multicast, too, and nothing of the other network's.
		list := ask(t, n, c.host, question{Name: "gardien-62fg.local.", Type: dns.TypeA, Wait: 1500 * time.Millisecond})
		if len(list) == 0 || strings.Contains(fmt.Sprint(list), c.not) || !strings.Contains(fmt.Sprint(list), "IN! A "+c.want[0]) {
			t.Errorf("%s hears %+v", c.host, list)
		}
	}
}

// TestOnlyOneAddress: where the API listens on one address, it alone is announced.
func TestOnlyOneAddress(t *testing.T) {
	t.Parallel()
	n := lantest.New(t)
	n.Plug(lantest.Gateway, "garden", "eth1", "10.78.0.1/24")
	n.Address(lantest.Gateway, "eth0", "add", "10.77.0.4/24")
	o := opts()
	o.Only = netip.MustParseAddr("10.77.0.4")
	startGateway(t, n, lantest.Gateway, o).announced(Builtin, "eth0")
	if got, want := addressOnWire(t, n, lantest.Phone), "gardien-62fg.local. 10 IN A 10.77.0.4"; got != want {
		t.Errorf("told %q, want %q", got, want)
	}
}

// TestNetworkThatChanges: the phone has a new address within two seconds. After a cable that was pulled, or an adapter
// that is another one, the name is probed for anew, which takes up to a second more.
func TestNetworkThatChanges(t *testing.T) {
	t.Parallel()
	n := lantest.New(t)
	phone := n.Avahi(lantest.Phone, "phone")
	browser := avahiBrowse(t, phone)
	g := startGateway(t, n, lantest.Gateway, opts())
	g.announced(Builtin, "eth0")
	right := func(what, v4, v6 string, most time.Duration) {
		t.Helper()
		begun := time.Now()
		lantest.Within(t, most, what, func() bool { return strings.Contains(addressOnWire(t, n, lantest.Phone), "IN A "+v4) })
		wire := time.Since(begun)
		lantest.Within(t, most-wire, what, func() bool { return resolves(phone, "-4") == v4 && resolves(phone, "-6") == v6 })
		t.Logf("%s: on the wire after %v, for avahi after %v", what, wire, time.Since(begun))
	}
	begun := time.Now()
	n.Address(lantest.Gateway, "eth0", "del", "10.77.0.1/24")
	n.Address(lantest.Gateway, "eth0", "add", "10.77.0.5/24")
	right("a new IPv4 address", "10.77.0.5", "fd77::1", soon)
	n.Address(lantest.Gateway, "eth0", "del", "fd77::1/64")
	n.Address(lantest.Gateway, "eth0", "add", "fd77::5/64")
	right("a new IPv6 address", "10.77.0.5", "fd77::5", soon)
	if browser.has(begun, "-;") {
		t.Error("the service went away for an address")
	}

	n.Link(lantest.Gateway, "eth0", "down")
	lantest.Within(t, soon, "the pulled cable is noticed", func() bool { return g.state().By == "" })
	n.Link(lantest.Gateway, "eth0", "up")
	n.Address(lantest.Gateway, "eth0", "add", "fd77::5/64") // the kernel took it away with the link
	right("a cable that was pulled", "10.77.0.5", "fd77::5", soon+time.Second)
	g.announced(Builtin, "eth0")

	n.Unplug(lantest.Gateway, "eth0")
	lantest.Within(t, soon, "the adapter that is gone is noticed", func() bool { return g.state().By == "" })
	n.Plug(lantest.Gateway, lantest.Home, "eth0", "10.77.0.6/24", "fd77::6/64")
	right("another adapter", "10.77.0.6", "fd77::6", soon+time.Second)
	g.announced(Builtin, "eth0")

	n.Link(lantest.Gateway, "eth0", "down")
	n.Link(lantest.Gateway, "eth0", "up")
	n.Address(lantest.Gateway, "eth0", "add", "fd77::6/64")
	right("a flap", "10.77.0.6", "fd77::6", soon)
	if g.logged("level=WARN") > 0 {
		t.Error("it complained")
	}
}

// TestLateAddress: a gateway that starts before its cable, and before DHCP, is found when they are there.
func TestLateAddress(t *testing.T) {
	t.Parallel()
	n := lantest.New(t)
	phone := n.Avahi(lantest.Phone, "phone")
	browser := avahiBrowse(t, phone)
	n.Host("late")
	n.Run("late", "sysctl", "-qw", "net.ipv6.conf.all.disable_ipv6=1", "net.ipv6.conf.default.disable_ipv6=1")
	g := startGateway(t, n, "late", opts())
	g.look()
	n.Plug("late", lantest.Home, "eth0")
	g.look()
	if s := g.state(); s.By != "" || g.logged("level=WARN") > 0 {
		t.Errorf("%+v %q", s, g.log())
	}
	begun := time.Now()
	n.Address("late", "eth0", "add", "10.77.0.9/24")
	lantest.Within(t, soon+time.Second, "found", func() bool { return browser.has(begun, "=;eth0;IPv4;Gardien\\03262fg;", "10.77.0.9") })
	t.Logf("found %v after its first address came", time.Since(begun))
	g.announced(Builtin, "eth0")
	g.stop()
}

// TestNamesOfAllKinds: accents, dots, spaces and the longest names are found and resolved.
func TestNamesOfAllKinds(t *testing.T) {
	t.Parallel()
	n := lantest.New(t)
	phone := n.Avahi(lantest.Phone, "phone")
	for _, instance := range []string{"Entrée", "Gate 2.0", `a\b"c`, strings.Repeat("é", 31) + "x"} {
		o := opts()
		o.Instance = instance
		o.TXT = []string{"txtvers=1", "k=" + strings.Repeat("x", 253), "l=" + strings.Repeat("y", 130)}
		g := startGateway(t, n, lantest.Gateway, o)
		g.announced(Builtin, "eth0")
		out, err := phone.Command("avahi-browse", "-rptl", serviceType).Output()
		if err != nil || !strings.Contains(string(out), "=;eth0;IPv4;") || !strings.Contains(string(out), ";gardien-62fg.local;") {
			t.Errorf("%q: %v\n%s", instance, err, out)
		}
		if g.stop(); g.logged("level=ERROR")+g.logged("level=WARN") > 0 {
			t.Errorf("%q", g.log())
		}
	}
}

// TestFoundByBonjourService: npm's library, which asks once, and wants all in one packet.
func TestFoundByBonjourService(t *testing.T) {
	t.Parallel()
	n := lantest.New(t)
	script, err := filepath.Abs("../../.ci/lan/browse.mjs")
	if err != nil {
		t.Fatal(err)
	}
	if _, err := exec.LookPath("node"); err != nil {
		t.Skip("skipped: no Node.js here")
	}
	if _, err := os.Stat(filepath.Join(filepath.Dir(script), "node_modules", "bonjour-service")); err != nil {
		t.Skip("skipped: bonjour-service is not here (npm ci in .ci/lan)")
	}
	early := followLines(t, n.Command(lantest.Phone, "node", script))
	lantest.Within(t, 10*time.Second, "browsing", func() bool { return early.has(time.Time{}, `{"event":"browsing"`) })
	begun := time.Now()
	g := startGateway(t, n, lantest.Gateway, opts())
	up := []string{`"name":"Gardien 62fg"`, `"host":"gardien-62fg.local"`, `"port":8443`, `"id":"gw-a3r73d62fg"`, `"txtvers":"1"`, lantest.GatewayIPv4, lantest.GatewayIPv6}
	lantest.Within(t, soon, "found", func() bool { return early.has(begun, `{"event":"up"`, up...) })
	t.Logf("a browsing program finds a gateway %v after it was started", early.when(begun, `{"event":"up"`))
	g.announced(Builtin, "eth0")

	for i := range 3 { // at any time since the last answer
		late := followLines(t, n.Command(lantest.Phone, "node", script))
		lantest.Within(t, 10*time.Second, "browsing", func() bool { return late.has(time.Time{}, `{"event":"browsing"`) })
		began := time.Now()
		lantest.Within(t, soon, "found later", func() bool { return late.has(time.Time{}, `{"event":"up"`, up...) })
		t.Logf("one that looks later (%d): %v", i, time.Since(began))
	}
	begun = time.Now()
	g.stop()
	lantest.Within(t, soon, "withdrawn", func() bool { return early.has(begun, `{"event":"down"`) })
	t.Logf("a stop is seen after %v", early.when(begun, `{"event":"down"`))
}

// TestTwoGatewaysOfOneName: neither renames, both warn once, one is found; the other takes over when it is gone.
func TestTwoGatewaysOfOneName(t *testing.T) {
	t.Parallel()
	n := lantest.New(t)
	n.Plug("twin", lantest.Home, "eth0", "10.77.0.8/24")
	phone := n.Avahi(lantest.Phone, "phone")
	first := startGateway(t, n, lantest.Gateway, opts())
	first.announced(Builtin, "eth0")
	o := opts()
	o.TXT = []string{"txtvers=1", "id=gw-zzzzzz62fg"}
	second := startGateway(t, n, "twin", o)
	begun := time.Now()
	lantest.Within(t, 5*time.Second, "both know", func() bool { return first.state().Collision != "" && second.state().Collision != "" })
	t.Logf("both know after %v: %q and %q", time.Since(begun), first.state().Collision, second.state().Collision)
	if first.state().Collision != "10.77.0.8" || first.state().By != Builtin || second.state().By != "" {
		t.Errorf("%+v, %+v", first.state(), second.state())
	}
	lantest.Within(t, 10*time.Second, "some tries", func() bool { return time.Since(begun) > 6*time.Second })
	if got := resolves(phone, "-4"); got != lantest.GatewayIPv4 {
		t.Errorf("resolves to %q", got)
	}
	out, err := phone.Command("avahi-browse", "-rpt", serviceType).Output()
	if err != nil || !strings.Contains(string(out), "gw-a3r73d62fg") || strings.Contains(string(out), "gw-zzzzzz62fg") || strings.Contains(string(out), "-2") {
		t.Errorf("%v\n%s", err, out)
	}
	for _, g := range []*gatewayProcess{first, second} {
		if g.logged("somebody else on the network has the gateway's name") != 1 {
			t.Errorf("%q", g.log())
		}
	}
	first.stop()
	begun = time.Now()
	lantest.Within(t, maxRetry+soon, "the other takes over", func() bool { return second.state().By == Builtin })
	t.Logf("the other takes over after %v", time.Since(begun))
	lantest.Within(t, soon, "found", func() bool { return resolves(phone, "-4") == "10.77.0.8" })
	if testing.Short() {
		return
	}
	lantest.Within(t, twinLife+soon, "the collision is over", func() bool { return second.state().Collision == "" })
	t.Logf("the collision is over after %v", time.Since(begun))
}

// TestAtOnce: two of one name that start at the same moment: one is found, both know.
func TestAtOnce(t *testing.T) {
	t.Parallel()
	n := lantest.New(t)
	n.Plug("twin", lantest.Home, "eth0", "10.77.0.8/24")
	gs := []*gatewayProcess{startGateway(t, n, lantest.Gateway, opts()), startGateway(t, n, "twin", opts())}
	begun := time.Now()
	lantest.Within(t, 20*time.Second, "one is announced and both know", func() bool {
		a, b := gs[0].state(), gs[1].state()
		return (a.By == Builtin) != (b.By == Builtin) && a.Collision != "" && b.Collision != ""
	})
	t.Logf("after %v: %+v and %+v", time.Since(begun), gs[0].state(), gs[1].state())
}

// TestLives: what is found stays so, past the life of every record.
func TestLives(t *testing.T) {
	if testing.Short() {
		t.Skip("skipped: takes two and a half minutes")
	}
	t.Parallel()
	n := lantest.New(t)
	phone := n.Avahi(lantest.Phone, "phone")
	browser := avahiBrowse(t, phone)
	startGateway(t, n, lantest.Gateway, opts()).announced(Builtin, "eth0")
	begun := time.Now()
	for _, at := range []time.Duration{10, 60, 110, 150} {
		lantest.Within(t, at*time.Second, "time passes", func() bool { return time.Since(begun) > at*time.Second })
		asked := time.Now()
		if got := resolves(phone, "-4"); got != lantest.GatewayIPv4 {
			t.Errorf("after %v: resolves to %q", time.Since(begun), got)
		}
		t.Logf("after %d s: resolved in %v", at, time.Since(asked))
	}
	if browser.has(begun, "-;") {
		t.Error("it went away")
	}
}

// TestDies: what dies without a word is forgotten within a record's life.
func TestDies(t *testing.T) {
	if testing.Short() {
		t.Skip("skipped: takes two minutes")
	}
	t.Parallel()
	n := lantest.New(t)
	browser := avahiBrowse(t, n.Avahi(lantest.Phone, "phone"))
	g := startGateway(t, n, lantest.Gateway, opts())
	g.announced(Builtin, "eth0")
	lantest.Within(t, soon, "found", func() bool { return browser.has(time.Time{}, "=;eth0;IPv4;") })
	begun := time.Now()
	g.kill()
	lantest.Within(t, (lifetime+5)*time.Second, "withdrawn", func() bool { return browser.has(begun, "-;eth0;IPv4;") })
	t.Logf("kill -9 is seen after %v", browser.when(begun, "-;eth0;IPv4;"))
}
