package web

import (
	"context"
	"crypto/tls"
	"net"
	"net/netip"
	"slices"
	"sync"
	"time"
)

// Crowd is the connections of a server, bounded in all and for each address (N2). Where there is
// no room, the oldest connection of a stranger goes, of the address that has most: whoever holds
// many keeps nobody else out. A connection whose device has authenticated within a minute is put
// out for nobody, and those of the addresses that devices came from lately only where there are no
// others. A device has a few such connections, so that no guest can take all the room.
type Crowd struct {
	most, each int

	mu      sync.Mutex
	present []*visit // oldest first
	trusted []origin // the latest last
}

// origin is where a device came from.
type origin struct {
	addr   netip.Addr
	device string
	at     time.Time
}

// The numbers of who is known.
const (
	knownFor    = time.Minute
	trustedFor  = time.Hour
	maxKnown    = 8  // connections of one device
	maxTrusted  = 64 // addresses
	trustedEach = 2  // of one device
)

// NewCrowd bounds the connections in all, and of one address.
func NewCrowd(most, each int) *Crowd { return &Crowd{most: most, each: each} }

// visit is one connection.
type visit struct {
	net.Conn
	crowd *Crowd
	addr  netip.Addr
	gone  sync.Once

	device string // that has authenticated last; "": none
	seen   time.Time
}

func (v *visit) known() bool { return v.device != "" && time.Since(v.seen) < knownFor }

// Listen makes a listener's connections part of the crowd.
func (c *Crowd) Listen(l net.Listener) net.Listener { return &door{l, c} }

type door struct {
	net.Listener
	crowd *Crowd
}

// Accept gives the next connection that there is room for.
func (d *door) Accept() (net.Conn, error) {
	for {
		conn, err := d.Listener.Accept()
		if err != nil {
			return nil, err
		}
		v := &visit{Conn: conn, crowd: d.crowd, addr: addressOf(conn.RemoteAddr())}
		out, ok := d.crowd.enter(v)
		if out != nil {
			out.Close()
		}
		if ok {
			return v, nil
		}
		conn.Close()
	}
}

func addressOf(a net.Addr) netip.Addr {
	if tcp, ok := a.(*net.TCPAddr); ok {
		return tcp.AddrPort().Addr().Unmap().WithZone("")
	}
	return netip.Addr{}
}

// enter makes room for a visit. It gives who has to go for it, and whether it may come.
func (c *Crowd) enter(v *visit) (out *visit, ok bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	count := map[netip.Addr]int{}
	for _, o := range c.present {
		count[o.addr]++
	}
	if count[v.addr] >= c.each {
		out = c.oldest(func(o *visit) bool { return o.addr == v.addr })
	} else if len(c.present) >= c.most {
		most := 0
		for _, o := range c.present {
			if !o.known() && !c.trusts(o.addr) {
				most = max(most, count[o.addr])
			}
		}
		out = c.oldest(func(o *visit) bool { return count[o.addr] == most && !c.trusts(o.addr) })
		if out == nil {
			out = c.oldest(func(*visit) bool { return true })
		}
	} else {
		c.present = append(c.present, v)
		return nil, true
	}
	if out == nil {
		return nil, false
	}
	c.leave(out)
	c.present = append(c.present, v)
	return out, true
}

// oldest finds the oldest stranger's visit of a kind. The caller holds mu.
func (c *Crowd) oldest(is func(*visit) bool) *visit {
	for _, o := range c.present {
		if !o.known() && is(o) {
			return o
		}
	}
	return nil
}

// trusts reports an address that a device came from lately. The caller holds mu.
func (c *Crowd) trusts(a netip.Addr) bool {
	return slices.ContainsFunc(c.trusted, func(o origin) bool { return o.addr == a && time.Since(o.at) < trustedFor })
}

// leave takes a visit out. The caller holds mu.
func (c *Crowd) leave(v *visit) {
	if i := slices.Index(c.present, v); i >= 0 {
		c.present = slices.Delete(c.present, i, i+1)
	}
}

// Close closes the connection and makes room.
func (v *visit) Close() error {
	v.gone.Do(func() {
		v.crowd.mu.Lock()
		defer v.crowd.mu.Unlock()
		v.crowd.leave(v)
	})
	return v.Conn.Close()
}

type visitKey struct{}

// Visit is an http.Server's ConnContext for connections of a crowd.
func Visit(ctx context.Context, conn net.Conn) context.Context {
	if t, ok := conn.(*tls.Conn); ok {
		conn = t.NetConn()
	}
	return context.WithValue(ctx, visitKey{}, conn)
}

// Recognise says that a device has authenticated on a request's connection. Of more than a few
// connections of it the ones longest unused count as a stranger's.
func Recognise(ctx context.Context, device string) {
	v, ok := ctx.Value(visitKey{}).(*visit)
	if !ok {
		return
	}
	c, now := v.crowd, time.Now()
	c.mu.Lock()
	defer c.mu.Unlock()
	v.device, v.seen = device, now
	var its []*visit
	for _, o := range c.present {
		if o.device == device && o.known() {
			its = append(its, o)
		}
	}
	if len(its) > maxKnown {
		slices.SortFunc(its, func(a, b *visit) int { return b.seen.Compare(a.seen) })
		for _, o := range its[maxKnown:] {
			o.device = ""
		}
	}
	c.trust(origin{v.addr, device, now})
}

// trust remembers where a device came from. The caller holds mu.
func (c *Crowd) trust(from origin) {
	c.trusted = slices.DeleteFunc(c.trusted, func(o origin) bool { return o.addr == from.addr || from.at.Sub(o.at) >= trustedFor })
	n := 0
	for i := len(c.trusted) - 1; i >= 0; i-- {
		if c.trusted[i].device == from.device {
			if n++; n >= trustedEach {
				c.trusted = slices.Delete(c.trusted, i, i+1)
			}
		}
	}
	if len(c.trusted) >= maxTrusted {
		c.trusted = c.trusted[1:]
	}
	c.trusted = append(c.trusted, from)
}
