package web

import (
	"context"
	"crypto/tls"
	"net"
	"net/netip"
	"slices"
	"sync"
)

// Crowd is the connections of a server, bounded in all and for each address (N2). Where there is
// no room, the oldest connection of a stranger goes, of the address that has most: whoever holds
// many keeps nobody else out. A connection that has authenticated is never put out for another,
// and neither are those of the addresses that did so lately, as long as there is anybody else.
type Crowd struct {
	most, each int

	mu      sync.Mutex
	present []*visit     // oldest first
	trusted []netip.Addr // that have authenticated, the latest last
}

// maxTrusted is how many addresses are remembered.
const maxTrusted = 64

// NewCrowd bounds the connections in all, and of one address.
func NewCrowd(most, each int) *Crowd { return &Crowd{most: most, each: each} }

// visit is one connection.
type visit struct {
	net.Conn
	crowd *Crowd
	addr  netip.Addr
	known bool // it has authenticated
	gone  sync.Once
}

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
			if !o.known && !slices.Contains(c.trusted, o.addr) {
				most = max(most, count[o.addr])
			}
		}
		out = c.oldest(func(o *visit) bool { return count[o.addr] == most && !slices.Contains(c.trusted, o.addr) })
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
		if !o.known && is(o) {
			return o
		}
	}
	return nil
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

// Recognise says that a request's connection has authenticated.
func Recognise(ctx context.Context) {
	v, ok := ctx.Value(visitKey{}).(*visit)
	if !ok {
		return
	}
	c := v.crowd
	c.mu.Lock()
	defer c.mu.Unlock()
	if v.known && len(c.trusted) > 0 && c.trusted[len(c.trusted)-1] == v.addr {
		return
	}
	v.known = true
	c.trusted = slices.DeleteFunc(c.trusted, func(a netip.Addr) bool { return a == v.addr })
	if len(c.trusted) >= maxTrusted {
		c.trusted = c.trusted[1:]
	}
	c.trusted = append(c.trusted, v.addr)
}
