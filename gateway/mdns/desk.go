package mdns

import (
	"context"
	"fmt"
	"maps"
	"slices"
	"time"
)

// avahi is what the gateway asks of an avahi-daemon.
type avahi interface {
	// Runs reports whether it runs. It never starts it.
	Runs(context.Context) bool
	// HostName is the host name that it announces by itself, without ".local".
	HostName(context.Context) (string, error)
	// Publish gives one group of records to it, which it announces until Withdraw, or until this
	// connection ends.
	Publish(context.Context, group) (id string, err error)
	Withdraw(ctx context.Context, id string)
	// Whose gives the address that a host name has on the network; "": nobody answers.
	Whose(ctx context.Context, host string) string
	// News is closed when the connection is lost.
	News() <-chan news
	Close()
}

// group is what is announced, changes and collides as one: the service on one interface, or the
// addresses there. A new address does not take the service away for a second.
type group struct {
	iface   iface
	service *Opts // nil: addresses
	host    string
}

func (g group) equal(o group) bool {
	return g.host == o.host && (g.service != nil || g.iface.equal(o.iface))
}

// news is what avahi tells.
type news struct {
	what   newsKind
	id     string // of a group
	reason string
}

type newsKind int

const (
	ownerChanged  newsKind = iota // it came, went, or was restarted
	serverRuns                    // perhaps under another host name
	serverFailed                  // it will not work any more
	established                   // the group is announced
	groupCollides                 // somebody else has its names
	groupFailed
)

// desk decides who announces.
type desk struct {
	announcer *Announcer
	names
	net     *network
	again   *time.Ticker // for the bus
	bus     avahi        // nil: there is no connection
	lost    time.Time    // the last connection
	refused bool         // it runs, and does not do what it is asked
	waiting bool         // that it is waited for was logged
}

func (d *desk) close() {
	if d.bus != nil {
		d.bus.Close()
		d.bus = nil
	}
}

// open reports whether avahi is there to announce us.
func (d *desk) open(ctx context.Context) bool {
	if d.bus == nil && time.Since(d.lost) < time.Second {
		return false // it is going down
	}
	if d.bus == nil {
		bus, err := d.announcer.dial(ctx)
		if err != nil {
			if d.announcer.Mode == Avahi {
				d.say("the system's message bus is waited for, to reach avahi", "err", err)
			}
			return false
		}
		d.bus = bus
	}
	return !d.refused && d.bus.Runs(ctx)
}

func (d *desk) say(text string, args ...any) {
	if !d.waiting {
		d.announcer.Log.Warn(text, args...)
	}
	d.waiting = true
}

// awaitAvahi waits until there may be an avahi.
func (d *desk) awaitAvahi(ctx context.Context) error {
	d.say("avahi does not run and is waited for: phones do not find the gateway", "mode", Avahi)
	d.announcer.tell("", nil, "")
	for {
		select {
		case <-ctx.Done():
			return nil
		case <-d.net.changed: // nothing is announced
		case <-d.retry():
			return nil
		case n, ok := <-d.news():
			if d.reopen(n, ok) {
				return nil
			}
		}
	}
}

// news is what avahi tells; nil without a connection.
func (d *desk) news() <-chan news {
	if d.bus == nil {
		return nil
	}
	return d.bus.News()
}

// retry comes when a connection to the bus may be tried again; nil while there is one.
func (d *desk) retry() <-chan time.Time {
	if d.bus != nil || d.announcer.Mode == Builtin {
		return nil
	}
	return d.again.C
}

// reopen takes news, and reports whether open may give another answer now.
func (d *desk) reopen(n news, ok bool) bool {
	if !ok {
		d.close()
		d.lost = time.Now()
	}
	if !ok || n.what == ownerChanged {
		d.refused = false
	}
	return !ok || n.what == ownerChanged || n.what == serverRuns
}

// placed is a group that avahi has.
type placed struct {
	group
	id    string // "": it has it not, since it collides; it is tried again when retry fires
	state newsKind
}

type place struct {
	index   int
	service bool
}

// counter gives groups to avahi, and follows what becomes of them.
type counter struct {
	*desk
	placed map[place]*placed
	own    bool // avahi's own host name is ours
	tries  int
	retry  *time.Timer
	twin   string
}

// runAvahi has avahi announce until ctx ends, or avahi does.
func (d *desk) runAvahi(ctx context.Context) error {
	d.waiting = false
	c := &counter{desk: d, placed: map[place]*placed{}, retry: time.NewTimer(0)}
	defer c.retry.Stop()
	c.retry.Stop()
	c.named(ctx)
	for {
		if err := c.place(ctx); err != nil {
			c.withdraw()
			return c.refuse(ctx, err)
		}
		c.report()
		select {
		case <-ctx.Done():
			c.withdraw()
			return nil
		case <-d.net.changed:
		case <-c.retry.C:
			maps.DeleteFunc(c.placed, func(_ place, p *placed) bool { return p.id == "" })
		case n, ok := <-d.news():
			if n.what == ownerChanged && d.reopen(n, ok) { // or the connection is lost
				return nil
			}
			if err := c.heard(ctx, n); err != nil {
				c.withdraw()
				return c.refuse(ctx, err)
			}
		}
	}
}

// refuse notes that avahi does not do what it is asked. By ourselves is better than not at all.
func (c *counter) refuse(ctx context.Context, err error) error {
	if ctx.Err() != nil {
		return nil
	}
	if c.announcer.Mode == Avahi {
		return fmt.Errorf("avahi: %w", err)
	}
	c.announcer.Log.Warn("avahi does not announce the gateway; it announces itself", "err", err)
	c.refused = true
	return nil
}

// named asks whether avahi announces our host name, and so our addresses, by itself.
func (c *counter) named(ctx context.Context) {
	name, err := c.bus.HostName(ctx)
	c.own = err == nil && same(name, c.announcer.Host)
}

// place makes what avahi has what it should have.
func (c *counter) place(ctx context.Context) error {
	want := map[place]group{}
	for _, i := range c.net.current().ifaces {
		want[place{i.index, true}] = group{iface: i, service: &c.announcer.Opts, host: c.announcer.Host + ".local"}
		if !c.own {
			want[place{i.index, false}] = group{iface: i, host: c.announcer.Host + ".local"}
		}
	}
	for at, p := range c.placed {
		if g, still := want[at]; !still || !p.equal(g) {
			c.bus.Withdraw(ctx, p.id)
			delete(c.placed, at)
		}
	}
	for at, g := range want {
		if c.placed[at] != nil {
			continue
		}
		id, err := c.bus.Publish(ctx, g)
		if err != nil && !isCollision(err) {
			return err
		}
		c.placed[at] = &placed{group: g, id: id, state: serverRuns}
		if err != nil {
			c.collides(ctx, c.placed[at], "another program of this machine")
		}
	}
	return nil
}

// heard takes what avahi tells of the server, or of a group.
func (c *counter) heard(ctx context.Context, n news) error {
	if n.what == serverRuns {
		before := c.own
		if c.named(ctx); c.own != before {
			c.withdraw()
		}
		return nil
	}
	if n.what == serverFailed {
		return fmt.Errorf("it failed: %s", n.reason)
	}
	for _, p := range c.placed {
		if p.id != n.id {
			continue
		}
		switch p.state = n.what; n.what {
		case groupFailed:
			return fmt.Errorf("it cannot announce on %s: %s", p.iface.name, n.reason)
		case groupCollides:
			c.bus.Withdraw(ctx, p.id)
			p.id = ""
			c.collides(ctx, p, "a host that avahi knows")
		}
	}
	if !slices.ContainsFunc(slices.Collect(maps.Values(c.placed)), func(p *placed) bool { return p.state != established }) {
		c.twin, c.tries = "", 0
	}
	return nil
}

// collides has a group tried again later: we do not rename.
func (c *counter) collides(ctx context.Context, p *placed, otherwise string) {
	p.state = groupCollides
	if c.twin == "" {
		if c.twin = c.bus.Whose(ctx, p.host); c.twin == "" {
			c.twin = otherwise
		}
	}
	wait := min(minRetry<<min(c.tries, 5), maxRetry)
	c.tries++
	c.retry.Reset(wait/2 + jitter(wait/2))
}

// report tells where the service and, unless they are avahi's, the addresses are announced.
func (c *counter) report() {
	var where []string
	for at, p := range c.placed {
		if at.service && p.state == established && (c.own || c.placed[place{at.index, false}].state == established) {
			where = append(where, p.iface.name)
		}
	}
	c.announcer.tell(Avahi, where, c.twin)
}

// withdraw takes all back; avahi says goodbye.
func (c *counter) withdraw() {
	ctx, cancel := context.WithTimeout(context.Background(), callTimeout)
	defer cancel()
	for at, p := range c.placed {
		if p.id != "" {
			c.bus.Withdraw(ctx, p.id)
		}
		delete(c.placed, at)
	}
}
