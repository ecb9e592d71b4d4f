package uplink

import (
	"context"
	"errors"
	"log/slog"
	"net/http"
	"sync"
	"time"

	"gardien/gateway"
)

// Feed takes in what the feed brings.
type Feed interface {
	// Position is the place in the feed that is reached.
	Position(context.Context) (gateway.Position, error)
	// Receive takes one item with its place, in one transaction. An error means that nothing
	// was kept; what it refuses is no error.
	Receive(context.Context, gateway.FeedItem) error
	// ReceiveAll takes a snapshot, whose digest was checked: its grants in portions, its
	// place last. An error means that it has to come again.
	ReceiveAll(context.Context, gateway.FeedSnapshot) error
	// CaughtUp holds what has come against a head.
	CaughtUp(context.Context, gateway.FeedHead) (same bool, err error)
}

// Outbox is the record as the cloud gets it.
type Outbox interface {
	// Unsent gives up to limit sealed events after the last that went up, dense from last+1.
	Unsent(ctx context.Context, limit int) (log string, last int64, list []gateway.Letter, err error)
	// Sent moves the cursor of a log, back too.
	Sent(ctx context.Context, log string, seq int64) error
	// Head is the gateway's signed word on where its record ends durably; "": it has none now.
	Head(context.Context) (string, error)
	// Told is told the newest such word that the cloud has: a gateway that knows less now was
	// rolled back. Words that are not its own prove nothing.
	Told(ctx context.Context, head string) error
	// Grown delivers a token when there may be more; stop ends it.
	Grown() (grown <-chan struct{}, stop func())
}

// Registration is how the gateway stands with its cloud.
type Registration interface {
	// Descriptor gives the signed descriptor, and a fingerprint of what it says.
	Descriptor() (text, fingerprint string, err error)
	// Registered gives the fingerprint of what the cloud has; "" where the gateway has not
	// enrolled there.
	Registered(context.Context) (fingerprint string, err error)
	Register(ctx context.Context, fingerprint string) error
}

// Clock is the gateway's.
type Clock interface{ Read() gateway.Reading }

// State is how the uplink stands.
type State string

const (
	NotEnrolled  State = "not enrolled"
	Connected    State = "connected"
	Disconnected State = "disconnected"
)

// Opts of an Uplink.
type Opts struct {
	Gateway      gateway.GatewayID
	Client       *Client
	Feed         Feed
	Outbox       Outbox
	Registration Registration
	Clock        Clock
	Log          *slog.Logger
	LinkUp       <-chan struct{}                        // nil: nobody says
	Jitter       func(most time.Duration) time.Duration // from 0 to below most; nil: random
	// Notify is told CloudConnected and CloudLost, with what was lost by.
	Notify func(context.Context, gateway.EventType)
}

// Uplink holds the connection.
type Uplink struct {
	Opts
	ready  chan struct{}
	once   sync.Once
	again  chan struct{} // come at once: enrolled, resync, link up
	fresh  chan struct{} // to the way up: a new connection
	mu     sync.Mutex
	state  State
	last   string // why it is not connected
	told   bool   // that it is connected
	missed bool   // the connection was lost, and not made anew yet
}

// New makes an uplink.
func New(o Opts) *Uplink {
	return &Uplink{Opts: o, ready: make(chan struct{}), again: make(chan struct{}, 1), fresh: make(chan struct{}, 1), state: Disconnected}
}

// Ready is closed at once: no door waits for the cloud.
func (u *Uplink) Ready() <-chan struct{} { return u.ready }

func (u *Uplink) String() string { return "uplink" }

// State tells how it stands, and why it is not connected.
func (u *Uplink) State() (State, string) {
	u.mu.Lock()
	defer u.mu.Unlock()
	return u.state, u.last
}

// Enrol enrols the gateway with a one-time code.
func (u *Uplink) Enrol(ctx context.Context, code gateway.Secret) error {
	text, fingerprint, err := u.Registration.Descriptor()
	if err != nil {
		return err
	}
	if err := u.Client.Do(ctx, http.MethodPost, "/v1/gateways", map[string]string{"code": code.Reveal(), "descriptor": text}, nil); err != nil {
		return err
	}
	if err := u.Registration.Register(ctx, fingerprint); err != nil {
		return err
	}
	u.Again()
	return nil
}

// Again ends the present connection and makes a new one at once.
func (u *Uplink) Again() { poke(u.again) }

func poke(c chan struct{}) {
	select {
	case c <- struct{}{}:
	default:
	}
}

// Run holds the connection until ctx ends.
func (u *Uplink) Run(ctx context.Context) error {
	u.once.Do(func() { close(u.ready) })
	ctx, cancel := context.WithCancel(ctx)
	var wg sync.WaitGroup
	defer func() { // whatever ends it: a second run must find none of the first
		cancel()
		wg.Wait()
		u.Client.Close()
	}()
	wg.Go(func() { u.carry(ctx) })
	b := backoff{jitter: u.Jitter}
	poll := false
	for ctx.Err() == nil {
		registered, err := u.Registration.Registered(ctx)
		if err == nil && registered == "" {
			u.set(ctx, NotEnrolled, "enrol with: gardien enrol CODE")
			u.wait(ctx, time.Hour, nil)
			continue
		}
		if err == nil {
			s := &session{u: u, poll: poll, back: &b}
			err = s.run(ctx, registered)
			poll = s.poll
		}
		if ctx.Err() != nil {
			break
		}
		if delay := b.next(err); delay > 0 {
			u.lost(ctx, err, delay)
			up := u.LinkUp
			if told(err) > 0 {
				up = nil // the cloud has said when
			}
			if u.wait(ctx, delay, up) {
				b.reset()
			}
		}
	}
	return nil
}

// told gives how long the cloud itself asked to be left alone; 0: it did not.
func told(err error) time.Duration {
	var later *laterError
	var refused *StatusError
	switch {
	case errors.As(err, &later):
		return later.after
	case errors.As(err, &refused):
		return refused.RetryAfter
	}
	return 0
}

// wait sleeps, until a link comes up from now on or somebody wants it at once.
func (u *Uplink) wait(ctx context.Context, d time.Duration, up <-chan struct{}) (woken bool) {
	select { // what came up while we were connected
	case <-up:
	default:
	}
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-ctx.Done():
	case <-t.C:
		return false
	case <-u.again:
	case <-up:
	}
	return true
}

// noisyAfter is how long a cloud that restarts is away at most.
const noisyAfter = 10 * time.Second

// lost tells that there is no connection, once a second try has failed, too, or will be long in
// coming: a cloud that restarts makes no noise.
func (u *Uplink) lost(ctx context.Context, err error, away time.Duration) {
	u.mu.Lock()
	first := u.told && !u.missed
	u.missed = true
	u.mu.Unlock()
	if first && away < noisyAfter {
		return
	}
	u.Log.Info("the cloud is not reached; doors do without it", "err", err)
	u.set(ctx, Disconnected, err.Error())
}

// set tells of each change once.
func (u *Uplink) set(ctx context.Context, s State, why string) {
	u.mu.Lock()
	connected := s == Connected
	changed := connected != u.told
	u.state, u.last, u.told = s, why, connected
	if connected {
		u.missed = false
	}
	u.mu.Unlock()
	if !changed {
		return
	}
	if connected {
		u.Log.Info("connected to the cloud")
		u.Notify(ctx, gateway.CloudConnected)
		return
	}
	u.Notify(ctx, gateway.CloudLost)
}
