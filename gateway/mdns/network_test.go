package mdns

import (
	"context"
	"errors"
	"log/slog"
	"net/netip"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"
	"golang.org/x/sys/unix"
)

const good = unix.IFF_UP | unix.IFF_RUNNING | unix.IFF_MULTICAST | unix.IFF_BROADCAST

func dev(index int, name string, flags uint32, addrs ...string) device {
	d := device{index: index, name: name, flags: flags}
	for _, a := range addrs {
		d.addrs = append(d.addrs, address{prefix: netip.MustParsePrefix(a)})
	}
	return d
}

func flagged(d device, flags uint32) device {
	for i := range d.addrs {
		d.addrs[i].flags = flags
	}
	return d
}

// TestInterfaces is where the gateway is announced.
func TestInterfaces(t *testing.T) {
	const home = "10.77.0.1/24"
	for _, c := range []struct {
		name    string
		opts    Opts
		devices []device
		want    string // of each interface its name and addresses
	}{
		{"cable and Wi-Fi", Opts{}, []device{dev(3, "wlan0", good, "10.78.0.1/24"), dev(2, "eth0", good, home)}, "eth0 10.77.0.1, wlan0 10.78.0.1"},
		{"no address yet", Opts{}, []device{dev(2, "eth0", good)}, ""},
		{"down", Opts{}, []device{dev(2, "eth0", good&^unix.IFF_UP, home)}, ""},
		{"no carrier", Opts{}, []device{dev(2, "eth0", good&^unix.IFF_RUNNING, home)}, ""},
		{"no multicast", Opts{}, []device{dev(2, "eth0", good&^unix.IFF_MULTICAST, home)}, ""},
		{"loopback", Opts{}, []device{dev(1, "lo", good|unix.IFF_LOOPBACK, "127.0.0.1/8")}, ""},
		{"point to point", Opts{}, []device{dev(2, "ppp0", good|unix.IFF_POINTOPOINT, home)}, ""},
		{"bridges and tunnels", Opts{}, []device{dev(2, "docker0", good, home), dev(3, "veth1a2b", good, home), dev(4, "br-5c6d", good, home),
			dev(5, "virbr0", good, home), dev(6, "wg0", good, home), dev(7, "tun0", good, home), dev(8, "tap0", good, home), dev(9, "br0", good, home)}, "br0 10.77.0.1"},
		{"named", Opts{Interfaces: []string{"docker0"}}, []device{dev(2, "docker0", good, home), dev(3, "eth0", good, home)}, "docker0 10.77.0.1"},
		{"named and down", Opts{Interfaces: []string{"eth0"}}, []device{dev(3, "eth0", good&^unix.IFF_UP, home)}, ""},
		{"one address alone", Opts{Only: netip.MustParseAddr("10.77.0.2")}, []device{dev(2, "eth0", good, home, "10.77.0.2/24", "fd77::1/64"), dev(3, "wlan0", good, "10.78.0.1/24")}, "eth0 10.77.0.2"},
		{"one address that is not there", Opts{Only: netip.MustParseAddr("10.77.0.3")}, []device{dev(2, "eth0", good, home)}, ""},
		{"both families", Opts{}, []device{dev(2, "eth0", good, "fd77::1/64", "fe80::1/64", home)}, "eth0 10.77.0.1 fd77::1"},
		{"link-local alone", Opts{}, []device{dev(2, "eth0", good, "fe80::1/64", home)}, "eth0 10.77.0.1 fe80::1"},
		{"IPv4 that gave itself an address", Opts{}, []device{dev(2, "eth0", good, "169.254.3.4/16")}, "eth0 169.254.3.4"},
		{"tentative", Opts{}, []device{flagged(dev(2, "eth0", good, "fd77::1/64"), unix.IFA_F_TENTATIVE)}, ""},
		{"deprecated", Opts{}, []device{flagged(dev(2, "eth0", good, "fd77::1/64"), unix.IFA_F_DEPRECATED)}, ""},
		{"for privacy", Opts{}, []device{flagged(dev(2, "eth0", good, "fd77::1/64"), unix.IFA_F_TEMPORARY)}, ""},
		{"second IPv4 address", Opts{}, []device{flagged(dev(2, "eth0", good, home), unix.IFA_F_SECONDARY)}, "eth0 10.77.0.1"},
		{"too many", Opts{}, []device{dev(2, "eth0", good, "10.0.0.1/8", "10.0.0.2/8", "10.0.0.3/8", "10.0.0.4/8", "10.0.0.5/8", "10.0.0.6/8", "10.0.0.7/8", "10.0.0.8/8", "10.0.0.9/8")},
			"eth0 10.0.0.1 10.0.0.2 10.0.0.3 10.0.0.4 10.0.0.5 10.0.0.6 10.0.0.7 10.0.0.8"},
	} {
		got := ""
		for n, i := range c.opts.look(c.devices).ifaces {
			if n > 0 {
				got += ", "
			}
			got += i.name
			for _, a := range i.addrs() {
				got += " " + a.String()
			}
		}
		if got != c.want {
			t.Errorf("%s: %q, want %q", c.name, got, c.want)
		}
	}
}

// TestFingerprint: what is not announced does not make a change; a new index does.
func TestFingerprint(t *testing.T) {
	look := func(d ...device) view { return Opts{}.look(d) }
	base := look(dev(2, "eth0", good, "10.77.0.1/24"))
	if !base.equal(look(dev(2, "eth0", good, "10.77.0.1/24"), dev(5, "docker0", good, "172.17.0.1/16"))) {
		t.Error("another interface makes a change")
	}
	for name, other := range map[string]view{
		"gone":       look(),
		"re-created": look(dev(7, "eth0", good, "10.77.0.1/24")),
		"address":    look(dev(2, "eth0", good, "10.77.0.2/24")),
		"one more":   look(dev(2, "eth0", good, "10.77.0.1/24", "fd77::1/64")),
		"prefix":     look(dev(2, "eth0", good, "10.77.0.1/16")),
	} {
		if base.equal(other) {
			t.Errorf("%s makes no change", name)
		}
	}
}

// TestChangesAreGathered: a plug makes many messages and one look; without any there is one look in 15 s.
func TestChangesAreGathered(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ctx, cancel := context.WithCancel(t.Context())
		begun := time.Now()
		var looks []time.Duration
		news := make(chan struct{}, 1)
		done := make(chan struct{})
		go func() {
			follow(ctx, news, func() { looks = append(looks, time.Since(begun)) })
			close(done)
		}()
		for range 10 { // 500 ms of news
			poke(news)
			time.Sleep(50 * time.Millisecond)
		}
		time.Sleep(34500 * time.Millisecond)
		for range 40 { // 4 s of news do not put the look off
			poke(news)
			time.Sleep(97 * time.Millisecond)
		}
		cancel()
		<-done
		ms := func(n int) time.Duration { return time.Duration(n) * time.Millisecond }
		want := []time.Duration{ms(700), ms(15000), ms(30000), ms(35700), ms(36476), ms(37252)}
		if diff := cmp.Diff(want, looks[:min(len(looks), len(want))]); diff != "" {
			t.Error(diff)
		}
	})
}

// TestNoNetworkIsNoFailure: what was known is kept while the kernel does not answer, and a token comes for a change alone.
func TestNoNetworkIsNoFailure(t *testing.T) {
	list, failure := []device{dev(2, "eth0", good, "10.77.0.1/24")}, error(nil)
	n := &network{opts: Opts{Log: slog.New(slog.DiscardHandler)}, changed: make(chan struct{}, 1), list: func() ([]device, error) { return list, failure }}
	token := func() bool {
		select {
		case <-n.changed:
			return true
		default:
			return false
		}
	}
	n.again()
	if !token() || len(n.current().ifaces) != 1 {
		t.Error("the first look found nothing")
	}
	n.again()
	if token() {
		t.Error("a change without one")
	}
	failure = errors.New("no netlink here")
	n.again()
	if token() || len(n.current().ifaces) != 1 {
		t.Error("a failure took the interfaces away")
	}
	failure, list = nil, nil
	n.again()
	if !token() || len(n.current().ifaces) != 0 {
		t.Error("the interface is still there")
	}
}
