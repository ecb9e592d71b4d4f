package cloud

import (
	"context"
	"sync"
	"time"

	"gardien/gateway"
)

const (
	presenceEvery = 200 * time.Millisecond // who comes and goes shares a commit
	positionEvery = 10 * time.Second       // how far gateways are is less urgent
	pollGrace     = 15 * time.Second       // between two long polls a gateway is here
)

// presence gathers what feeds see of gateways, for one commit every now and then: a city
// that comes back is a few commits, not thousands.
type presence struct {
	mu      sync.Mutex
	feeds   map[gateway.GatewayID]int
	pending map[gateway.GatewayID]gateway.Sighting
	wake    chan struct{}
	later   *time.Timer // wakes for positions alone
}

func (p *presence) init() {
	p.feeds, p.pending = map[gateway.GatewayID]int{}, map[gateway.GatewayID]gateway.Sighting{}
	p.wake = make(chan struct{}, 1)
}

func (p *presence) note(gw gateway.GatewayID, online *bool, position int64, at time.Time) {
	s := p.pending[gw]
	s.Gateway, s.At = gw, at
	if online != nil {
		s.Online = online
	}
	if position > 0 {
		s.Position = position
	}
	p.pending[gw] = s
	if online != nil {
		p.poke()
	} else if p.later == nil {
		p.later = time.AfterFunc(positionEvery, p.poke)
	}
}

func (p *presence) poke() {
	select {
	case p.wake <- struct{}{}:
	default:
	}
}

// come says that a feed of the gateway began at a position.
func (p *presence) come(gw gateway.GatewayID, position int64, at time.Time) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.feeds[gw]++
	p.note(gw, new(true), position, at) // be it the second: another replica may have had it since the first
}

// leave says that a feed ended.
func (p *presence) leave(gw gateway.GatewayID, at time.Time) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.feeds[gw]--; p.feeds[gw] == 0 {
		delete(p.feeds, gw)
		p.note(gw, new(false), 0, at)
	}
}

// leaveLater is leave for a long poll, which is followed by the next.
func (p *presence) leaveLater(gw gateway.GatewayID, now func() time.Time) {
	time.AfterFunc(pollGrace, func() { p.leave(gw, now()) })
}

// at says that the gateway has been sent all up to a position.
func (p *presence) at(gw gateway.GatewayID, position int64, at time.Time) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.note(gw, nil, position, at)
}

func (p *presence) take() (list []gateway.Sighting) {
	p.mu.Lock()
	defer p.mu.Unlock()
	for _, s := range p.pending {
		list = append(list, s)
	}
	clear(p.pending)
	if p.later != nil {
		p.later.Stop()
		p.later = nil
	}
	return list
}

// putBack keeps sightings that could not be written, unless there are newer ones.
func (p *presence) putBack(list []gateway.Sighting) {
	p.mu.Lock()
	defer p.mu.Unlock()
	for _, s := range list {
		newer, ok := p.pending[s.Gateway]
		if ok && newer.Online != nil {
			s.Online = newer.Online
		}
		if ok && newer.Position > 0 {
			s.Position = newer.Position
		}
		p.pending[s.Gateway] = s
	}
}

// Run writes sightings until ctx ends, the last ones too.
func (s *Service) Run(ctx context.Context) error {
	var last time.Time
	for {
		select {
		case <-ctx.Done():
			last, cancel := context.WithTimeout(context.WithoutCancel(ctx), 2*time.Second)
			defer cancel()
			s.observe(last)
			return nil
		case <-s.presence.wake:
		}
		select {
		case <-ctx.Done():
		case <-time.After(presenceEvery - time.Since(last)): // at once, where all was quiet
		}
		s.observe(ctx)
		last = time.Now()
	}
}

func (s *Service) observe(ctx context.Context) {
	const batch = 500
	list := s.presence.take()
	for len(list) > 0 {
		n := min(batch, len(list))
		if err := s.Mailbox.Presence.Observe(ctx, list[:n]); err != nil {
			if ctx.Err() == nil {
				s.Log.Warn("who is online is written later", "err", err)
			}
			s.presence.putBack(list)
			s.pause(ctx)
			s.presence.poke()
			return
		}
		list = list[n:]
	}
}
