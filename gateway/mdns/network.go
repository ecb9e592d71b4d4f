package mdns

import (
	"cmp"
	"context"
	"fmt"
	"log/slog"
	"net/netip"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/jsimonetti/rtnetlink/v2"
	"github.com/mdlayher/netlink"
	"golang.org/x/sys/unix"
)

const (
	settle = 700 * time.Millisecond // one plug makes a dozen messages
	poll   = 15 * time.Second       // the net below: a message may be lost
	// maxAddrs bounds what is announced on one interface: a packet has to fit into a frame.
	maxAddrs = 8
)

// iface is an interface on which the gateway is announced.
type iface struct {
	index    int
	name     string
	prefixes []netip.Prefix // its addresses that are announced, with their nets
}

func (i iface) addrs() (list []netip.Addr) {
	for _, p := range i.prefixes {
		list = append(list, p.Addr())
	}
	return list
}

// speaks reports whether the interface has an address of a family.
func (i iface) speaks(f family) bool {
	return slices.ContainsFunc(i.prefixes, func(p netip.Prefix) bool { return p.Addr().Is4() == (f == ip4) })
}

// near reports whether an address is on this very network: no other gets a unicast answer (RFC 6762 §11).
func (i iface) near(a netip.Addr) bool {
	return a.IsLinkLocalUnicast() || slices.ContainsFunc(i.prefixes, func(p netip.Prefix) bool { return p.Contains(a) })
}

func (i iface) equal(o iface) bool {
	return i.index == o.index && i.name == o.name && slices.Equal(i.prefixes, o.prefixes)
}

// view is what the machine's network looks like. It is never changed once made.
type view struct {
	ifaces []iface
	own    map[netip.Addr]bool // all addresses of the machine
}

// equal compares what is announced. Addresses that are not do not make a difference.
func (v view) equal(o view) bool { return slices.EqualFunc(v.ifaces, o.ifaces, iface.equal) }

// device is an interface as the kernel tells of it.
type device struct {
	index int
	name  string
	flags uint32
	addrs []address
}

type address struct {
	prefix netip.Prefix
	flags  uint32
}

// neverFor are interfaces with nobody behind them who looks for a door, unless they are named.
var neverFor = []string{"docker", "veth", "br-", "virbr", "wg", "tun", "tap"}

// suitable reports whether the gateway is announced on a device.
func (o Opts) suitable(d device) bool {
	const need, bar = unix.IFF_UP | unix.IFF_RUNNING | unix.IFF_MULTICAST, unix.IFF_LOOPBACK | unix.IFF_POINTOPOINT
	switch {
	case d.flags&need != need || d.flags&bar != 0:
		return false
	case len(o.Interfaces) > 0:
		return slices.Contains(o.Interfaces, d.name)
	case o.Only.IsValid():
		return true // it has that address, or nothing to announce
	}
	return !slices.ContainsFunc(neverFor, func(p string) bool { return strings.HasPrefix(d.name, p) })
}

// announceable reports whether an address may be told to others: it is there (no duplicate
// is being looked for), and stays for a while (it is not one of those that change for privacy).
func (o Opts) announceable(a address) bool {
	const not = unix.IFA_F_TENTATIVE | unix.IFA_F_DADFAILED | unix.IFA_F_DEPRECATED
	addr := a.prefix.Addr()
	if addr.Is6() && a.flags&unix.IFA_F_TEMPORARY != 0 { // the same bit says "secondary" of IPv4
		return false
	}
	return a.flags&not == 0 && !addr.IsLoopback() && !addr.IsMulticast() && !addr.IsUnspecified() &&
		(!o.Only.IsValid() || addr == o.Only.Unmap().WithZone(""))
}

// look picks from devices what is announced.
func (o Opts) look(devices []device) view {
	v := view{own: map[netip.Addr]bool{}}
	for _, d := range devices {
		i := iface{index: d.index, name: d.name}
		for _, a := range d.addrs {
			v.own[a.prefix.Addr()] = true
			if o.announceable(a) {
				i.prefixes = append(i.prefixes, a.prefix)
			}
		}
		if slices.ContainsFunc(i.prefixes, func(p netip.Prefix) bool { return p.Addr().Is6() && !p.Addr().IsLinkLocalUnicast() }) {
			// Who has an address to reach from everywhere needs no other (RFC 6762 §6.2 lets it choose).
			i.prefixes = slices.DeleteFunc(i.prefixes, func(p netip.Prefix) bool { return p.Addr().Is6() && p.Addr().IsLinkLocalUnicast() })
		}
		slices.SortFunc(i.prefixes, func(a, b netip.Prefix) int { return a.Addr().Compare(b.Addr()) })
		i.prefixes = i.prefixes[:min(len(i.prefixes), maxAddrs)]
		if o.suitable(d) && len(i.prefixes) > 0 {
			v.ifaces = append(v.ifaces, i)
		}
	}
	slices.SortFunc(v.ifaces, func(a, b iface) int { return cmp.Compare(a.index, b.index) })
	return v
}

// network follows the machine's interfaces and addresses.
type network struct {
	opts    Opts
	list    func() ([]device, error)
	changed chan struct{} // a token: look again
	mu      sync.Mutex
	view    view
	warned  bool
}

// watch looks once, and follows the kernel's news until ctx ends.
func watch(ctx context.Context, o Opts) (*network, error) {
	news, err := netlinkNews(ctx, o.Log)
	if err != nil {
		return nil, fmt.Errorf("the kernel does not tell of interfaces: %w", err)
	}
	n := &network{opts: o, list: devices, changed: make(chan struct{}, 1)}
	list, err := n.list()
	if err != nil {
		return nil, fmt.Errorf("interfaces cannot be listed: %w", err)
	}
	n.view = o.look(list)
	go follow(ctx, news, n.again)
	return n, nil
}

func (n *network) current() view {
	n.mu.Lock()
	defer n.mu.Unlock()
	return n.view
}

// again looks, and leaves a token where something differs.
func (n *network) again() {
	list, err := n.list()
	n.mu.Lock()
	defer n.mu.Unlock()
	if err != nil {
		if !n.warned {
			n.opts.Log.Warn("interfaces cannot be listed; the last known are kept", "err", err)
		}
		n.warned = true
		return
	}
	n.warned = false
	v := n.opts.look(list)
	if !v.equal(n.view) {
		poke(n.changed)
	}
	n.view = v
}

// follow calls look a while after news began, and now and then. News that come meanwhile are one.
func follow(ctx context.Context, news <-chan struct{}, look func()) {
	net := time.NewTicker(poll)
	defer net.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-net.C:
		case <-news:
			select {
			case <-ctx.Done():
				return
			case <-time.After(settle):
			}
			select { // what came while it waited is seen by this look
			case <-news:
			default:
			}
		}
		look()
	}
}

// netlinkNews delivers a token when a link or an address changes.
func netlinkNews(ctx context.Context, log *slog.Logger) (<-chan struct{}, error) {
	conn, err := rtnetlink.Dial(&netlink.Config{Groups: unix.RTMGRP_LINK | unix.RTMGRP_IPV4_IFADDR | unix.RTMGRP_IPV6_IFADDR})
	if err != nil {
		return nil, err
	}
	news := make(chan struct{}, 1)
	context.AfterFunc(ctx, func() { conn.Close() })
	go func() {
		for failures := 0; ctx.Err() == nil && failures < 10; {
			if _, _, err := conn.Receive(); err != nil {
				failures++ // an overrun: some news are lost, so there are some
			} else {
				failures = 0
			}
			poke(news)
		}
		if ctx.Err() == nil {
			log.Warn("changes of interfaces are noticed late", "after", poll)
		}
	}()
	return news, nil
}

// devices asks the kernel.
func devices() ([]device, error) {
	conn, err := rtnetlink.Dial(nil)
	if err != nil {
		return nil, err
	}
	defer conn.Close()
	links, err := conn.Link.List()
	if err != nil {
		return nil, err
	}
	addrs, err := conn.Address.List()
	if err != nil {
		return nil, err
	}
	byIndex := map[int]*device{}
	for _, l := range links {
		if l.Attributes != nil {
			byIndex[int(l.Index)] = &device{index: int(l.Index), name: l.Attributes.Name, flags: l.Flags}
		}
	}
	for _, a := range addrs {
		d := byIndex[int(a.Index)]
		if d == nil || a.Attributes == nil {
			continue
		}
		ip := a.Attributes.Local // of a point-to-point link, and of IPv4, this is ours
		if ip == nil {
			ip = a.Attributes.Address
		}
		if addr, ok := netip.AddrFromSlice(ip); ok {
			d.addrs = append(d.addrs, address{prefix: netip.PrefixFrom(addr.Unmap(), int(a.PrefixLength)), flags: uint32(a.Flags) | a.Attributes.Flags})
		}
	}
	var list []device
	for _, d := range byIndex {
		list = append(list, *d)
	}
	return list, nil
}

func poke(c chan struct{}) {
	select {
	case c <- struct{}{}:
	default:
	}
}
