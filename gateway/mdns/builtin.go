package mdns

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"net"
	"net/netip"
	"slices"
	"sync"
	"syscall"
	"time"

	"golang.org/x/net/ipv4"
	"golang.org/x/net/ipv6"
)

const port = 5353

// hops is the IP TTL of all packets (RFC 6762 §11): some devices drop others.
const hops = 255

var groups = [2]netip.Addr{ip4: netip.MustParseAddr("224.0.0.251"), ip6: netip.MustParseAddr("ff02::fb")}

// Packets that are read of each family, a second, and the pause after them: what is not fetched meanwhile the kernel drops,
// and that costs nothing. A home has a few dozen.
const (
	readRate = 2000
	breath   = 100 * time.Millisecond
)

// incoming is a packet as it came.
type incoming struct {
	family family
	flood  bool // others were dropped before it
	index  int  // of the interface
	from   netip.AddrPort
	data   []byte
}

// wire is what a responder needs of sockets.
type wire interface {
	Join(f family, index int) error // may be told again
	Leave(f family, index int)
	Send(index int, p packet) error
}

// sockets are the machine's. A family that it does not have is nil.
type sockets struct {
	v4 *ipv4.PacketConn
	v6 *ipv6.PacketConn
}

// listen opens port 5353, which may be shared, and delivers what comes until the sockets are closed.
func listen() (*sockets, error) {
	s := &sockets{}
	c4, err4 := net.ListenUDP("udp4", &net.UDPAddr{IP: groups[ip4].AsSlice(), Port: port}) // a group: the port is shared
	if err4 == nil {
		s.v4 = ipv4.NewPacketConn(c4)
		err4 = errors.Join(s.v4.SetControlMessage(ipv4.FlagInterface, true), s.v4.SetMulticastTTL(hops), s.v4.SetTTL(hops), s.v4.SetMulticastLoopback(true))
	}
	c6, err6 := net.ListenUDP("udp6", &net.UDPAddr{IP: groups[ip6].AsSlice(), Port: port})
	if err6 == nil {
		s.v6 = ipv6.NewPacketConn(c6)
		err6 = errors.Join(s.v6.SetControlMessage(ipv6.FlagInterface, true), s.v6.SetMulticastHopLimit(hops), s.v6.SetHopLimit(hops), s.v6.SetMulticastLoopback(true))
	}
	if err4 != nil && (err6 != nil || !errors.Is(err4, syscall.EAFNOSUPPORT)) || err6 != nil && !errors.Is(err6, syscall.EAFNOSUPPORT) {
		s.Close()
		return nil, fmt.Errorf("port %d: %w", port, errors.Join(err4, err6))
	}
	return s, nil
}

func (s *sockets) Close() {
	if s.v4 != nil {
		s.v4.Close()
	}
	if s.v6 != nil {
		s.v6.Close()
	}
}

// read delivers packets of one family until the socket fails or done is closed.
func (s *sockets) read(f family, packets chan<- incoming, done <-chan struct{}) error {
	buf := make([]byte, maxPacket+1)
	pace := bucket{rate: readRate}
	for {
		in := incoming{family: f}
		var n int
		var from net.Addr
		var err error
		if f == ip4 {
			var cm *ipv4.ControlMessage
			if n, cm, from, err = s.v4.ReadFrom(buf); cm != nil {
				in.index = cm.IfIndex
			}
		} else {
			var cm *ipv6.ControlMessage
			if n, cm, from, err = s.v6.ReadFrom(buf); cm != nil {
				in.index = cm.IfIndex
			}
		}
		if err != nil {
			return err
		}
		in.from = from.(*net.UDPAddr).AddrPort()
		in.from = netip.AddrPortFrom(in.from.Addr().Unmap().WithZone(""), in.from.Port())
		in.data = slices.Clone(buf[:n])
		if in.flood = !pace.take(time.Now()); in.flood {
			select {
			case <-time.After(breath):
			case <-done:
				return nil
			}
		}
		select {
		case packets <- in:
		case <-done:
			return nil
		}
	}
}

// Join makes an interface's multicast packets come.
func (s *sockets) Join(f family, index int) (err error) {
	i, group := &net.Interface{Index: index}, &net.UDPAddr{IP: groups[f].AsSlice()}
	switch {
	case f == ip4 && s.v4 != nil:
		err = s.v4.JoinGroup(i, group)
	case f == ip6 && s.v6 != nil:
		err = s.v6.JoinGroup(i, group)
	}
	if errors.Is(err, syscall.EADDRINUSE) { // it did already
		return nil
	}
	return err
}

// Leave ends it. An interface that is gone has left by itself.
func (s *sockets) Leave(f family, index int) {
	i, group := &net.Interface{Index: index}, &net.UDPAddr{IP: groups[f].AsSlice()}
	switch {
	case f == ip4 && s.v4 != nil:
		_ = s.v4.LeaveGroup(i, group)
	case f == ip6 && s.v6 != nil:
		_ = s.v6.LeaveGroup(i, group)
	}
}

// Send sends on one interface. A packet that is lost is as one that the network lost.
func (s *sockets) Send(index int, p packet) (err error) {
	to := &net.UDPAddr{IP: groups[p.family].AsSlice(), Port: port}
	if p.to.IsValid() {
		to = net.UDPAddrFromAddrPort(p.to)
	}
	switch {
	case p.family == ip4 && s.v4 != nil:
		_, err = s.v4.WriteTo(p.data, &ipv4.ControlMessage{IfIndex: index}, to)
	case p.family == ip6 && s.v6 != nil:
		_, err = s.v6.WriteTo(p.data, &ipv6.ControlMessage{IfIndex: index}, to)
	}
	return err
}

// responder answers on all links.
type responder struct {
	*desk
	wire  wire
	links map[int]*link
	// flooded is when packets were dropped at last.
	flooded time.Time
	// confirm asks the network for ourselves, on one link; its result comes to confirmed.
	confirm   func(context.Context, iface) error
	confirmed chan confirmation
	asked     map[int]context.CancelFunc
}

// runBuiltin answers until ctx ends, or avahi comes. It says goodbye only to the first: avahi says the same.
func (d *desk) runBuiltin(ctx context.Context) error {
	s, err := listen()
	if err != nil {
		return err
	}
	inner, cancel := context.WithCancel(ctx)
	var readers sync.WaitGroup
	packets, failed := make(chan incoming), make(chan error, len(families))
	defer func() {
		cancel()
		s.Close()
		readers.Wait()
	}()
	for _, f := range families {
		if f == ip4 && s.v4 != nil || f == ip6 && s.v6 != nil {
			readers.Go(func() {
				if err := s.read(f, packets, inner.Done()); err != nil {
					failed <- err
				}
			})
		}
	}
	r := &responder{desk: d, wire: s, links: map[int]*link{}, confirmed: make(chan confirmation), asked: map[int]context.CancelFunc{}}
	r.confirm = r.lookUp
	return r.run(inner, packets, failed)
}

// run is the owner of all links.
func (r *responder) run(ctx context.Context, packets <-chan incoming, failed <-chan error) error {
	timer := time.NewTimer(0)
	defer timer.Stop()
	r.update(r.net.current())
	for {
		r.report(ctx)
		if at := r.wake(); !at.IsZero() {
			timer.Reset(time.Until(at))
		} else {
			timer.Stop()
		}
		select {
		case <-ctx.Done():
			for _, l := range r.links {
				r.send(l, l.goodbye())
			}
			return nil
		case <-r.retry():
			if r.open(ctx) {
				return nil
			}
		case n, ok := <-r.news():
			if r.reopen(n, ok) && r.open(ctx) {
				return nil
			}
		case <-r.net.changed:
			r.update(r.net.current())
		case in := <-packets:
			r.receive(in)
		case <-timer.C:
			for _, l := range r.links {
				r.send(l, l.tick(time.Now()))
			}
		case c := <-r.confirmed:
			if err := r.heard(c); err != nil {
				return err
			}
		case err := <-failed:
			return fmt.Errorf("port %d: %w", port, err)
		}
	}
}

// update takes what the network looks like now.
func (r *responder) update(v view) {
	now := time.Now()
	for index, l := range r.links {
		if !slices.ContainsFunc(v.ifaces, func(i iface) bool { return i.index == index && i.name == l.name }) {
			for _, f := range families {
				r.wire.Leave(f, index)
			}
			delete(r.links, index)
			r.forget(index)
		}
	}
	for _, i := range v.ifaces {
		l := r.links[i.index]
		if l == nil {
			l = newLink(zone{names: r.names}, i, v.own, now, jitter)
			r.links[i.index] = l
		} else if !l.iface.equal(i) {
			l.change(i, v.own, now)
		}
		l.own = v.own
		for _, f := range families {
			if l.speaks(f) {
				if err := r.wire.Join(f, i.index); err != nil {
					r.announcer.Log.Warn("an interface cannot be listened on", "interface", i.name, "err", err)
				}
			}
		}
		r.send(l, l.tick(now))
	}
}

func (r *responder) receive(in incoming) {
	l := r.links[in.index]
	now := time.Now()
	if in.flood {
		r.flooded = now
	}
	if l == nil {
		return
	}
	if m, ok := parse(in.data); ok {
		r.send(l, l.receive(now, in.family, in.from, m))
	}
}

func (r *responder) send(l *link, packets []packet) {
	for _, p := range packets {
		_ = r.wire.Send(l.index, p) // the network may lose it, too; what never arrives is seen by confirm
	}
}

// wake is when the next link has something to do; zero: never.
func (r *responder) wake() (at time.Time) {
	for _, l := range r.links {
		at = earlier(at, l.wake())
	}
	return at
}

// report tells the state, and has the links that began to answer confirmed.
func (r *responder) report(ctx context.Context) {
	var where []string
	collision := ""
	for index, l := range r.links {
		if l.phase == announced {
			where = append(where, l.name)
			r.check(ctx, l)
		} else {
			r.forget(index)
		}
		if l.twin.IsValid() && (collision == "" || l.twin.String() < collision) {
			collision = l.twin.String()
		}
	}
	r.announcer.tell(Builtin, where, collision)
}

func jitter(most time.Duration) time.Duration { return rand.N(most) }
