package mdns

import (
	"context"
	"fmt"
	"math/rand/v2"
	"slices"
	"sync"
	"time"
)

// wire is what a responder needs of sockets.
type wire interface {
	Join(f family, index int) error // may be told again
	Leave(f family, index int)
	Send(index int, p packet) error
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
