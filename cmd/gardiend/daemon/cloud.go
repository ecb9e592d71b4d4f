package daemon

import (
	"context"
	"crypto/sha256"
	"crypto/tls"
	"crypto/x509"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"net/url"
	"os"
	"sync"
	"time"

	"gardien/configs"
	"gardien/gateway"
	"gardien/gateway/access"
	"gardien/gateway/tokens"
	"gardien/gateway/uplink"
	"gardien/store"
)

// The plugs of the uplink.

// wireUplink makes the connection to the cloud, if the configuration names one.
func (g *Gateway) wireUplink(ctx context.Context) error {
	g.uplink = nil
	if g.cfg.Cloud.URL == "" {
		return nil
	}
	u, err := url.Parse(g.cfg.Cloud.URL)
	if err != nil {
		return fmt.Errorf("cloud.url: %w", err)
	}
	var config *tls.Config
	if u.Scheme == "https" {
		var roots *x509.CertPool
		if g.cfg.Cloud.CA != "" {
			pem, err := os.ReadFile(g.cfg.Cloud.CA)
			if err != nil {
				return fmt.Errorf("cloud.ca: %w", err)
			}
			roots = x509.NewCertPool()
			if !roots.AppendCertsFromPEM(pem) {
				return fmt.Errorf("cloud.ca: %s holds no certificate in PEM: put the authority's PEM file there, or leave it out for the system's authorities", g.cfg.Cloud.CA)
			}
		}
		config = uplink.TLSConfig(u.Hostname(), roots, g.clock, pins{g})
	}
	client := uplink.NewClient(uplink.ClientOpts{URL: u, TLS: config, Dial: g.opts.Dial,
		Now: func() time.Time { return g.clock.Read().Wall },
		Sign: func(now time.Time) (string, error) {
			return tokens.SignAssertion(g.identity.Signing, string(g.identity.ID), gateway.Origin(u), now)
		}})
	if g.linkUp == nil { // once, however often the disk is waited for
		if g.linkUp = g.opts.Links; g.linkUp == nil {
			g.linkUp = uplink.WatchLink(ctx, g.log)
		}
	}
	reg := registration{g, gateway.Origin(u)}
	g.uplink = uplink.New(uplink.Opts{Gateway: g.identity.ID, Client: client, Feed: feed{g.access, g.store}, Outbox: outbox{g}, Registration: reg,
		Clock: g.clock, Log: g.log, LinkUp: g.linkUp, Jitter: g.opts.Jitter, Notify: g.noteSoftly})
	return nil
}

// noteSoftly appends an event that need not survive a power cut: a network that comes and
// goes costs no fsync.
func (g *Gateway) noteSoftly(ctx context.Context, t gateway.EventType) {
	err := g.store.Follow(context.WithoutCancel(ctx), func(tx *store.Tx) error { return tx.Record.Append(gateway.Event{Type: t}) })
	if err != nil {
		g.log.Error("an event is lost", "type", t, "err", err)
	}
}

// resync lets the uplink look at everything again: the rules have changed.
func (g *Gateway) resync(ctx context.Context) {
	if g.uplink == nil {
		return
	}
	if err := g.store.Update(ctx, func(tx *store.Tx) error { tx.Feed.Resync(); return tx.Err() }); err != nil {
		g.log.Error("what was rejected is not looked at again", "err", err)
		return
	}
	g.uplink.Again()
}

// feed is access and store as the uplink sees them.
type feed struct {
	*access.Controller
	store *store.Store
}

func (m feed) Position(ctx context.Context) (gateway.Position, error) {
	return store.Look(ctx, m.store, func(tx *store.Tx) gateway.Position { p, _ := tx.Feed.Place(); return p })
}

// said is our newest word on the record: it is signed once, so that what did not change can be
// told by its text.
type said struct {
	mu   sync.Mutex
	head gateway.RecordHead
	text string
}

func (s *said) sign(id *tokens.Identity, h gateway.RecordHead) (string, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.text != "" && s.head == h {
		return s.text, nil
	}
	text, err := id.SignHead(h)
	s.head, s.text = h, text
	return text, err
}

// outbox is the record as the uplink sees it.
type outbox struct{ g *Gateway }

func (o outbox) Unsent(ctx context.Context, limit int) (log string, last int64, list []gateway.Letter, err error) {
	log, last, events, err := o.g.store.Unsent(ctx, limit)
	if err != nil {
		return "", 0, nil, err
	}
	now := o.g.clock.Read().Wall
	for _, e := range events {
		set, _ := o.g.issuers.Keys(e.Event.Issuer)
		body, err := o.g.identity.SealEvent(e.Event.Issuer, set, log, e.Event, now)
		if err != nil {
			return "", 0, nil, err
		}
		list = append(list, gateway.Letter{Seq: e.Seq, To: e.Event.Issuer, Body: body})
	}
	return log, last, list, nil
}

func (o outbox) Sent(ctx context.Context, log string, seq int64) error {
	return o.g.store.MarkSent(ctx, log, seq)
}

func (o outbox) Head(ctx context.Context) (string, error) {
	if !o.g.store.Durable() { // nothing is told of what a power cut would undo
		return "", nil
	}
	h, err := store.Look(ctx, o.g.store, func(tx *store.Tx) gateway.RecordHead { return tx.House.Head() })
	if err != nil {
		return "", err
	}
	return o.g.said.sign(o.g.identity, h)
}

// Told takes what the cloud gives back of our own words. One that is not ours, or that we know as
// much as, changes nothing.
func (o outbox) Told(ctx context.Context, text string) error {
	h, err := o.g.identity.ReadHead(text)
	if err != nil {
		o.g.log.Warn("the cloud has a head of the record that this gateway never signed; it proves nothing", "err", err)
		return nil
	}
	behind, err := store.Look(ctx, o.g.store, func(tx *store.Tx) bool { return tx.House.Behind(h) })
	if err != nil || !behind {
		return err
	}
	o.g.log.Error("the database is older than what this gateway once told its cloud: grants with limited uses from before are void, and third parties are kept out until a resident resumes them",
		"event", h.Seq, "epoch", h.Epoch)
	return o.g.store.Update(ctx, func(tx *store.Tx) error {
		if !tx.House.Behind(h) {
			return tx.Err()
		}
		return tx.Distrust(h)
	})
}

func (o outbox) Grown() (<-chan struct{}, func()) { return o.g.store.Watch() }

// registration is how this gateway stands with its cloud.
type registration struct {
	g      *Gateway
	origin string
}

func (r registration) Descriptor() (text, fingerprint string, err error) {
	if text, err = r.g.descriptor(); err != nil {
		return "", "", err
	}
	cfg := r.g.inForce.Load()
	b, err := json.Marshal([]any{rules(cfg).Doors, listened(cfg), r.g.cfg.Gateway.TimeZone, thirdPINs(cfg)})
	sum := sha256.Sum256(b)
	return text, hex.EncodeToString(sum[:8]), err
}

// descriptor signs what this gateway is to its issuers.
func (g *Gateway) descriptor() (string, error) {
	cfg := g.inForce.Load()
	return g.identity.SignDescriptor(tokens.Descriptor{Doors: rules(cfg).Doors, PINs: thirdPINs(cfg), Issuers: listened(cfg),
		Zone: g.cfg.Gateway.TimeZone, At: g.clock.Read().Wall})
}

// thirdPINs gives the lengths that a third party's PIN may have at each door.
func thirdPINs(cfg *configs.Config) map[gateway.DoorID][]int {
	pins := map[gateway.DoorID][]int{}
	for door, lengths := range rules(cfg).PINs {
		pins[door] = lengths.ThirdParty
	}
	return pins
}

// listened lists the issuers that this gateway listens to.
func listened(cfg *configs.Config) []gateway.IssuerID {
	var list []gateway.IssuerID
	for _, i := range cfg.Issuers {
		list = append(list, gateway.IssuerID(i.ID))
	}
	return list
}

func (r registration) Registered(ctx context.Context) (string, error) {
	c, err := r.g.cloud(ctx)
	if err != nil || c.Origin != r.origin {
		return "", err
	}
	return c.Descriptor, nil
}

func (r registration) Register(ctx context.Context, fingerprint string) error {
	return r.g.changeCloud(ctx, func(c *store.CloudState) {
		c.Origin, c.Descriptor = r.origin, fingerprint
	})
}

// pins remembers the cloud's key.
type pins struct{ g *Gateway }

func (p pins) Pin() []byte {
	c, err := p.g.cloud(context.Background())
	if err != nil {
		return nil
	}
	return c.Pin
}

func (p pins) SetPin(pin []byte) {
	if err := p.g.changeCloud(context.Background(), func(c *store.CloudState) { c.Pin = pin }); err != nil {
		p.g.log.Warn("the cloud's key is not remembered", "err", err)
	}
}

func (g *Gateway) cloud(ctx context.Context) (store.CloudState, error) {
	return store.Look(ctx, g.store, func(tx *store.Tx) store.CloudState { return tx.House.Cloud() })
}

func (g *Gateway) changeCloud(ctx context.Context, change func(*store.CloudState)) error {
	return g.store.Update(ctx, func(tx *store.Tx) error {
		c := tx.House.Cloud()
		change(&c)
		tx.House.PutCloud(c)
		return tx.Err()
	})
}
