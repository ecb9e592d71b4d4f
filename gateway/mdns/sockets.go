package mdns

import (
	"errors"
	"fmt"
	"net"
	"net/netip"
	"slices"
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
