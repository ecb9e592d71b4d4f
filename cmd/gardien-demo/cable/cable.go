// Package cable is a network cable that can be cut: a TCP forwarder on loopback, for the
// demo and the tests.
package cable

import (
	"net"
	"sync"
	"sync/atomic"
)

// Cable forwards connections to one address until it is cut.
type Cable struct {
	listener net.Listener
	target   string
	bytes    atomic.Int64

	mu    sync.Mutex
	whole chan struct{} // closed while bytes pass
	up    bool
	open  map[net.Conn]bool
	old   map[net.Conn]chan struct{} // connections that a dead path holds for ever
}

// New listens on a free port of loopback and forwards to an address.
func New(target string) (*Cable, error) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return nil, err
	}
	c := &Cable{listener: l, target: target, whole: make(chan struct{}), up: true, open: map[net.Conn]bool{}, old: map[net.Conn]chan struct{}{}}
	close(c.whole)
	go c.serve()
	return c, nil
}

// Addr is where it listens.
func (c *Cable) Addr() string { return c.listener.Addr().String() }

// Bytes counts what has passed, both ways.
func (c *Cable) Bytes() int64 { return c.bytes.Load() }

// Retarget forwards new connections elsewhere.
func (c *Cable) Retarget(target string) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.target = target
}

func (c *Cable) serve() {
	for {
		conn, err := c.listener.Accept()
		if err != nil {
			return
		}
		c.mu.Lock()
		up, target := c.up, c.target
		if up {
			c.open[conn] = true
		}
		c.mu.Unlock()
		if !up {
			reset(conn)
			continue
		}
		go c.forward(conn, target)
	}
}

func reset(conn net.Conn) {
	if t, ok := conn.(*net.TCPConn); ok {
		t.SetLinger(0)
	}
	conn.Close()
}

func (c *Cable) forward(near net.Conn, target string) {
	far, err := net.Dial("tcp", target)
	if err != nil {
		c.drop(near)
		return
	}
	c.mu.Lock()
	c.open[far] = true
	c.mu.Unlock()
	var wg sync.WaitGroup
	for _, way := range [][2]net.Conn{{near, far}, {far, near}} {
		wg.Go(func() {
			c.copy(way[1], way[0])
			c.drop(near)
			c.drop(far)
		})
	}
	wg.Wait()
}

func (c *Cable) drop(conn net.Conn) {
	c.mu.Lock()
	delete(c.open, conn)
	delete(c.old, conn)
	c.mu.Unlock()
	reset(conn)
}

// copy passes bytes on while the cable is whole; meanwhile they wait, as in a kernel.
func (c *Cable) copy(to, from net.Conn) {
	buf := make([]byte, 32<<10)
	for {
		n, err := from.Read(buf)
		c.mu.Lock()
		whole, dead := c.whole, c.old[from]
		c.mu.Unlock()
		if dead != nil {
			<-dead
			return
		}
		<-whole
		c.mu.Lock()
		dead = c.old[from]
		c.mu.Unlock()
		if dead != nil {
			<-dead
			return
		}
		if n > 0 {
			c.bytes.Add(int64(n))
			if _, err := to.Write(buf[:n]); err != nil {
				return
			}
		}
		if err != nil {
			return
		}
	}
}

// Refuse ends every connection and accepts no other.
func (c *Cable) Refuse() {
	c.mu.Lock()
	c.up = false
	for conn := range c.open {
		defer reset(conn)
	}
	c.mu.Unlock()
}

// Hold lets nothing pass and tells nobody; Heal lets it all pass later.
func (c *Cable) Hold() {
	c.mu.Lock()
	defer c.mu.Unlock()
	select {
	case <-c.whole:
		c.whole = make(chan struct{})
	default:
	}
}

// Dead makes every connection dead for ever, without a word to anybody; new ones work.
func (c *Cable) Dead() {
	c.mu.Lock()
	defer c.mu.Unlock()
	for conn := range c.open {
		if c.old[conn] == nil {
			c.old[conn] = make(chan struct{})
		}
	}
}

// Heal mends it.
func (c *Cable) Heal() {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.up = true
	select {
	case <-c.whole:
	default:
		close(c.whole)
	}
}

// Close ends it all.
func (c *Cable) Close() {
	c.listener.Close()
	c.Refuse()
	c.Heal()
	c.mu.Lock()
	defer c.mu.Unlock()
	for conn, dead := range c.old {
		delete(c.old, conn)
		close(dead)
	}
}
