package service

import (
	"context"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"gardien/gateway"
	"gardien/gateway/tokens"
	"gardien/gateway/uplink"
)

// citizen is one simulated gateway: a real uplink, and nothing behind it.
type citizen struct {
	id        *tokens.Identity
	issuer    gateway.IssuerID
	uplink    *uplink.Uplink
	connected atomic.Int64 // how often it has caught up on a new connection

	mu      sync.Mutex
	epoch   string
	seq     int64
	letters []gateway.Letter
	sent    int64
	grown   chan struct{}
	seen    func(id string)
}

func (c *citizen) Position(context.Context) (gateway.Position, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	return gateway.Position{Epoch: c.epoch, Seq: c.seq}, nil
}

func (c *citizen) Receive(_ context.Context, i gateway.FeedItem) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.seq = i.Seq
	if i.Kind == gateway.ItemCommand {
		c.seen(i.ID)
		c.letters = append(c.letters, gateway.Letter{Seq: int64(len(c.letters) + 1), To: c.issuer, Body: i.ID})
		select {
		case c.grown <- struct{}{}:
		default:
		}
	}
	return nil
}

func (c *citizen) ReceiveAll(_ context.Context, s gateway.FeedSnapshot) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.epoch, c.seq = s.Epoch, s.Head
	return nil
}

func (c *citizen) CaughtUp(_ context.Context, h gateway.FeedHead) (bool, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.seq = max(c.seq, h.Head)
	c.connected.Add(1)
	return h.Epoch == c.epoch, nil
}

func (c *citizen) Unsent(_ context.Context, limit int) (string, int64, []gateway.Letter, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	list := c.letters[c.sent:]
	return "log", c.sent, slices.Clone(list[:min(limit, len(list))]), nil
}

func (c *citizen) Sent(_ context.Context, _ string, seq int64) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.sent = min(seq, int64(len(c.letters)))
	return nil
}

func (c *citizen) Head(context.Context) (string, error)       { return "head", nil }
func (c *citizen) Told(context.Context, string) error         { return nil }
func (c *citizen) Grown() (<-chan struct{}, func())           { return c.grown, func() {} }
func (c *citizen) Descriptor() (string, string, error)        { return "", "registered", nil }
func (c *citizen) Registered(context.Context) (string, error) { return "registered", nil }
func (c *citizen) Register(context.Context, string) error     { return nil }
func (c *citizen) Read() gateway.Reading                      { return gateway.Reading{Wall: time.Now()} }
