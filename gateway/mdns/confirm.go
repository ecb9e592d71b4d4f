package mdns

import (
	"context"
	"errors"
	"fmt"
	"net"
	"time"

	"github.com/grandcat/zeroconf"
)

// confirmIn is how long a query of our own may take. Nobody else is found there either, then: a
// firewall, or a network that takes no multicast.
const confirmIn = 5 * time.Second

// confirmation is the result of asking for ourselves.
type confirmation struct {
	index int
	err   error
}

// check has a link asked for ourselves, once.
func (r *responder) check(ctx context.Context, l *link) {
	if r.asked[l.index] != nil {
		return
	}
	inner, cancel := context.WithCancel(ctx)
	r.asked[l.index] = cancel
	i := l.iface
	go func() {
		err := r.confirm(inner, i)
		select {
		case r.confirmed <- confirmation{i.index, err}:
		case <-inner.Done():
		}
	}()
}

// forget ends the asking on a link that is gone or silent.
func (r *responder) forget(index int) {
	if cancel := r.asked[index]; cancel != nil {
		cancel()
		delete(r.asked, index)
	}
}

// heard takes a confirmation. One that failed ends the run: it begins anew, with new sockets. In a flood
// our own answer may be lost, too; then it is asked for again.
func (r *responder) heard(c confirmation) error {
	l := r.links[c.index]
	if l == nil || c.err == nil {
		return nil
	}
	if time.Since(r.flooded) < confirmIn {
		r.forget(c.index)
		return nil
	}
	return fmt.Errorf("%s: %w", l.name, c.err)
}

// lookUp asks a network for ourselves as a phone does, until it is found.
func (r *responder) lookUp(ctx context.Context, i iface) error {
	ctx, cancel := context.WithTimeout(ctx, confirmIn)
	defer cancel()
	traffic := zeroconf.IPv4
	if !i.speaks(ip4) {
		traffic = zeroconf.IPv6
	}
	for {
		found, err := r.ask(ctx, i, zeroconf.IPType(traffic))
		switch {
		case err != nil:
			return fmt.Errorf("a query cannot be sent: %w", err)
		case found:
			return nil
		case ctx.Err() != nil:
			return errors.New("a query of our own finds nobody: does a firewall bar UDP port 5353, or the network multicast?")
		}
		select { // somebody else answered first
		case <-ctx.Done():
		case <-time.After(time.Second):
		}
	}
}

// ask takes the first answer to one query. It may be another's, who has our name: then it is none.
func (r *responder) ask(ctx context.Context, i iface, traffic zeroconf.IPType) (bool, error) {
	ctx, cancel := context.WithCancel(ctx)
	resolver, err := zeroconf.NewResolver(zeroconf.SelectIPTraffic(traffic), zeroconf.SelectIfaces([]net.Interface{{Index: i.index, Name: i.name}}))
	if err != nil {
		cancel()
		return false, err
	}
	entries := make(chan *zeroconf.ServiceEntry)
	defer func() { // the library closes the channel and its sockets then, and not before it could deliver
		cancel()
		for range entries {
		}
	}()
	if err := resolver.Lookup(ctx, r.escaped(), serviceType, "local", entries); err != nil {
		return false, err
	}
	select {
	case e := <-entries:
		return e != nil && same(e.HostName, r.host) && e.Port == int(r.port), nil
	case <-ctx.Done():
		return false, nil
	}
}
