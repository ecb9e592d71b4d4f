package lantest

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"strconv"
	"strings"
	"sync/atomic"
	"syscall"
	"testing"
	"time"
)

// The hosts and the network that New makes, and their addresses.
const (
	Gateway = "gw"
	Phone   = "phone"
	Home    = "home"

	GatewayIPv4 = "10.77.0.1"
	GatewayIPv6 = "fd77::1"
	PhoneIPv4   = "10.77.0.2"
	PhoneIPv6   = "fd77::2"
)

var made atomic.Int64

// Net is a set of hosts and of networks (bridges) that they are plugged into.
type Net struct {
	t      testing.TB
	prefix string
	hosts  map[string]bool
	lans   map[string]bool
	ports  int
}

// Wanted is the variable that asks for such networks: as they take minutes and root, a plain "go test" has none.
const Wanted = "GARDIEN_LAN"

// New makes a gateway and a phone on one network, each with an IPv4 and an IPv6 address on eth0.
func New(t testing.TB) *Net {
	t.Helper()
	if os.Getenv(Wanted) == "" {
		t.Skip("skipped: small networks of network namespaces: .ci/lan/run has them")
	}
	if os.Geteuid() != 0 {
		t.Skip("skipped: network namespaces want root")
	}
	if out, err := exec.Command("ip", "netns", "list").CombinedOutput(); err != nil {
		t.Skipf("skipped: no network namespaces here (ip netns: %v %s)", err, out)
	}
	n := &Net{t: t, prefix: fmt.Sprintf("lt%x-%d-", os.Getpid(), made.Add(1)), hosts: map[string]bool{}, lans: map[string]bool{}}
	if out, err := exec.Command("ip", "netns", "add", n.NS("switch")).CombinedOutput(); err != nil {
		t.Skipf("skipped: no network namespaces here (ip netns add: %v %s)", err, out)
	}
	n.own("switch")
	n.Plug(Gateway, Home, "eth0", GatewayIPv4+"/24", GatewayIPv6+"/64")
	n.Plug(Phone, Home, "eth0", PhoneIPv4+"/24", PhoneIPv6+"/64")
	return n
}

// NS is the name of a host's namespace, as "ip netns" knows it.
func (n *Net) NS(host string) string { return n.prefix + host }

// own has a namespace deleted at the end of the test, with what runs there.
func (n *Net) own(host string) {
	n.hosts[host] = true
	ns := n.NS(host)
	n.t.Cleanup(func() {
		pids, _ := exec.Command("ip", "netns", "pids", ns).Output()
		for _, pid := range strings.Fields(string(pids)) {
			if id, err := strconv.Atoi(pid); err == nil {
				_ = syscall.Kill(id, syscall.SIGKILL)
			}
		}
		if out, err := exec.Command("ip", "netns", "del", ns).CombinedOutput(); err != nil {
			n.t.Errorf("namespace %s stays: %v %s", ns, err, out)
		}
	})
}

// Host makes a host without any cable.
func (n *Net) Host(host string) {
	n.t.Helper()
	if n.hosts[host] {
		return
	}
	n.ip("netns", "add", n.NS(host))
	n.own(host)
	n.ip("-n", n.NS(host), "link", "set", "lo", "up")
	// An address is there at once: no time passes while a duplicate is looked for.
	n.Run(host, "sh", "-c", "echo 0 >/proc/sys/net/ipv6/conf/default/accept_dad; echo 0 >/proc/sys/net/ipv6/conf/all/accept_dad")
}

// Plug gives a host an interface on a network, up, with addresses ("10.77.0.1/24"). Host and network are made where
// they are not there yet.
func (n *Net) Plug(host, lan, device string, addrs ...string) {
	n.t.Helper()
	n.Host(host)
	if !n.lans[lan] {
		n.lans[lan] = true
		n.ip("-n", n.NS("switch"), "link", "add", lan, "up", "type", "bridge", "mcast_snooping", "0")
	}
	n.ports++
	port := fmt.Sprintf("port%d", n.ports)
	n.ip("link", "add", device, "netns", n.NS(host), "type", "veth", "peer", "name", port, "netns", n.NS("switch"))
	n.ip("-n", n.NS("switch"), "link", "set", port, "up", "master", lan)
	n.ip("-n", n.NS(host), "link", "set", device, "up")
	for _, a := range addrs {
		n.Address(host, device, "add", a)
	}
	// As at home, something leads out; simple programs send their multicast that way.
	n.ip("-n", n.NS(host), "route", "append", "default", "dev", device)
}

// Unplug takes an interface away for good; the next one of its name has another number.
func (n *Net) Unplug(host, device string) {
	n.t.Helper()
	n.ip("-n", n.NS(host), "link", "del", device)
}

// Link sets an interface "up" or "down".
func (n *Net) Link(host, device, state string) {
	n.t.Helper()
	n.ip("-n", n.NS(host), "link", "set", device, state)
}

// Address does "add" or "del" an address of an interface.
func (n *Net) Address(host, device, verb, addr string) {
	n.t.Helper()
	args := []string{"-n", n.NS(host), "addr", verb, addr, "dev", device}
	if strings.Contains(addr, ":") && verb == "add" {
		args = append(args, "nodad")
	}
	n.ip(args...)
}

func (n *Net) ip(args ...string) {
	n.t.Helper()
	if out, err := exec.Command("ip", args...).CombinedOutput(); err != nil {
		n.t.Fatalf("ip %s: %v %s", strings.Join(args, " "), err, out)
	}
}

// Command prepares a program on a host. It is killed at the end of the test at the latest.
func (n *Net) Command(host, name string, args ...string) *exec.Cmd {
	return n.CommandContext(context.Background(), host, name, args...)
}

// CommandContext is Command with an end.
func (n *Net) CommandContext(ctx context.Context, host, name string, args ...string) *exec.Cmd {
	return exec.CommandContext(ctx, "ip", append([]string{"netns", "exec", n.NS(host), name}, args...)...)
}

// Run runs a program on a host and gives what it prints. It may take ten seconds, and must succeed.
func (n *Net) Run(host, name string, args ...string) string {
	n.t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
	defer cancel()
	out, err := n.CommandContext(ctx, host, name, args...).CombinedOutput()
	if err != nil {
		n.t.Fatalf("%s on %s: %v\n%s", name, host, err, out)
	}
	return string(out)
}

// Within asks again and again until it is so, and gives how long it took. It fails the test after most.
func Within(t testing.TB, most time.Duration, what string, so func() bool) time.Duration {
	t.Helper()
	begun := time.Now()
	for !so() {
		if time.Since(begun) > most {
			t.Fatalf("%s: not within %v", what, most)
		}
		time.Sleep(10 * time.Millisecond)
	}
	return time.Since(begun)
}
