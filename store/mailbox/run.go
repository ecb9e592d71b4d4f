package mailbox

import (
	"context"
	"errors"
	"strings"
	"sync"
	"time"

	"github.com/jackc/pgx/v5"

	"gardien/gateway"
)

const (
	replicaSeen = 10 * time.Second // how often a replica says that it lives
	replicaLost = 40 * time.Second // when it is taken for dead
	purgeEvery  = 10 * time.Minute
	channel     = "gardien_mail"
	notifyBatch = 5 * time.Millisecond
	maxPayload  = 7900 // PostgreSQL takes less than 8000 bytes
)

// A topic is what somebody waits for.
func gatewayTopic(gw gateway.GatewayID) string { return "g/" + string(gw) }
func issuerTopic(iss gateway.IssuerID) string  { return "i/" + string(iss) }

// hub wakes who waits.
type hub struct {
	mu     sync.Mutex
	topics map[string]map[chan struct{}]bool
	tell   map[string]bool // other replicas
}

func (h *hub) watch(topic string) (<-chan struct{}, func()) {
	c := make(chan struct{}, 1)
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.topics == nil {
		h.topics = map[string]map[chan struct{}]bool{}
	}
	if h.topics[topic] == nil {
		h.topics[topic] = map[chan struct{}]bool{}
	}
	h.topics[topic][c] = true
	return c, func() {
		h.mu.Lock()
		defer h.mu.Unlock()
		delete(h.topics[topic], c)
		if len(h.topics[topic]) == 0 {
			delete(h.topics, topic)
		}
	}
}

func (h *hub) wake(topics ...string) {
	h.mu.Lock()
	defer h.mu.Unlock()
	for _, t := range topics {
		for c := range h.topics[t] {
			poke(c)
		}
	}
}

// wakeAll is for what may have been missed.
func (h *hub) wakeAll() {
	h.mu.Lock()
	defer h.mu.Unlock()
	for _, list := range h.topics {
		for c := range list {
			poke(c)
		}
	}
}

func poke(c chan struct{}) {
	select {
	case c <- struct{}{}:
	default:
	}
}

// WatchGateway delivers a token after a gateway's feed has grown; stop ends it.
func (b *Box) WatchGateway(gw gateway.GatewayID) (grown <-chan struct{}, stop func()) {
	return b.hub.watch(gatewayTopic(gw))
}

// WatchIssuer delivers a token after an issuer's feed has grown, or a gateway of its
// fleet came or went.
func (b *Box) WatchIssuer(iss gateway.IssuerID) (grown <-chan struct{}, stop func()) {
	return b.hub.watch(issuerTopic(iss))
}

// wake wakes here at once, and lets Run tell the other replicas.
func (b *Box) wake(topics ...string) {
	if len(topics) == 0 {
		return
	}
	b.hub.wake(topics...)
	if !b.postgres {
		return
	}
	b.hub.mu.Lock()
	if b.hub.tell == nil {
		b.hub.tell = map[string]bool{}
	}
	for _, t := range topics {
		b.hub.tell[t] = true
	}
	b.hub.mu.Unlock()
	poke(b.notify)
}

// Run keeps this replica known, tells others and hears from them, and purges, until ctx
// ends.
func (b *Box) Run(ctx context.Context) error {
	var wg sync.WaitGroup
	wg.Go(func() { b.keepAlive(ctx) })
	if b.postgres {
		wg.Go(func() { b.tellOthers(ctx) })
		wg.Go(func() { b.hearOthers(ctx) })
	}
	wg.Wait()
	return nil
}

// Announce says that this replica lives.
func (b *Box) Announce(ctx context.Context, now time.Time) error {
	return b.update(ctx, func(t *tx) error {
		t.exec("INSERT INTO replicas (id, seen) VALUES ($1, $2) ON CONFLICT (id) DO UPDATE SET seen = excluded.seen", b.replica, seconds(now))
		return t.err
	})
}

func (b *Box) keepAlive(ctx context.Context) {
	tick := time.NewTicker(replicaSeen)
	defer tick.Stop()
	var purged time.Time
	for {
		now := time.Now()
		err := b.Announce(ctx, now)
		if err == nil {
			err = b.PurgeCommands(ctx, now)
		}
		if err == nil && now.Sub(purged) >= purgeEvery {
			err = b.Purge(ctx, now)
			purged = now
		}
		if err != nil && ctx.Err() == nil {
			b.log.Warn("the mailbox's upkeep failed; trying again", "err", redact(err, b.dsn))
		}
		select {
		case <-ctx.Done():
			gone, cancel := context.WithTimeout(context.WithoutCancel(ctx), time.Second)
			defer cancel()
			b.update(gone, func(t *tx) error { t.exec("DELETE FROM replicas WHERE id = $1", b.replica); return t.err })
			return
		case <-tick.C:
		}
	}
}

// tellOthers sends what was committed, a few milliseconds' worth at a time.
func (b *Box) tellOthers(ctx context.Context) {
	for {
		select {
		case <-ctx.Done():
			return
		case <-b.notify:
		}
		b.hub.mu.Lock()
		topics := b.hub.tell
		b.hub.tell = nil
		b.hub.mu.Unlock()
		payload := b.replica
		send := func() {
			if payload != b.replica {
				// A lost one costs a look every 25 s.
				if _, err := b.read.ExecContext(ctx, "SELECT pg_notify($1, $2)", channel, payload); err != nil && ctx.Err() == nil {
					b.log.Warn("other replicas were not told", "err", redact(err, b.dsn))
				}
			}
			payload = b.replica
		}
		for t := range topics {
			if len(payload)+1+len(t) > maxPayload {
				send()
			}
			payload += " " + t
		}
		send()
		select {
		case <-ctx.Done():
			return
		case <-time.After(notifyBatch):
		}
	}
}

func (b *Box) hearOthers(ctx context.Context) {
	for ctx.Err() == nil {
		err := b.listen(ctx)
		if ctx.Err() != nil {
			return
		}
		b.log.Warn("other replicas are not heard; trying again", "err", redact(err, b.dsn))
		select {
		case <-ctx.Done():
		case <-time.After(time.Second):
		}
	}
}

func (b *Box) listen(ctx context.Context) error {
	conn, err := pgx.Connect(ctx, b.dsn)
	if err != nil {
		return err
	}
	defer conn.Close(context.WithoutCancel(ctx))
	if _, err := conn.Exec(ctx, "LISTEN "+channel); err != nil {
		return err
	}
	b.hub.wakeAll() // for what was missed
	for {
		n, err := conn.WaitForNotification(ctx)
		if err != nil {
			return errors.Join(err, ctx.Err())
		}
		if words := strings.Fields(n.Payload); len(words) > 0 && words[0] != b.replica {
			b.hub.wake(words[1:]...)
		}
	}
}
