package uplink

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"math/rand/v2"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"sync"
	"time"

	"gardien/gateway"
)

// Mail takes in what the feed brings.
type Mail interface {
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
	Mail         Mail
	Outbox       Outbox
	Registration Registration
	Clock        Clock
	Log          *slog.Logger
	LinkUp       <-chan struct{} // nil: nobody says
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
	b := backoff{}
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

// The bounds of back-off (N7), and how long all must be well for an outage to be over.
const (
	backoffLeast = 500 * time.Millisecond
	backoffMost  = time.Minute
	wellFor      = time.Minute
)

// backoff draws delays with full jitter. Their bound is a quarter of the time that the
// cloud has been away, so that it grows as powers do, and who was away for seconds is back
// in less. A first success proves little: a cloud that answers and then fails, for ever, is
// away, too.
type backoff struct {
	since time.Time // when the outage began, without what was well in it; zero: there is none
	well  time.Time // since when all is well; zero: it is not
	fixed bool      // a snapshot was taken since all was well
}

// good notes that the cloud is of use.
func (b *backoff) good() {
	if b.well.IsZero() {
		b.well = time.Now()
	}
}

// trouble notes that it is not any more.
func (b *backoff) trouble() {
	if b.well.IsZero() {
		return
	}
	well := time.Since(b.well)
	if well >= wellFor {
		b.reset()
		return
	}
	b.well = time.Time{}
	if !b.since.IsZero() {
		b.since = b.since.Add(well)
	}
}

// next gives how long to wait after an error; 0 is not at all.
func (b *backoff) next(err error) time.Duration {
	switch {
	case errors.Is(err, errWanted):
		b.reset()
		return 0
	case errors.Is(err, errAtOnce):
		return 0
	}
	b.trouble()
	if b.since.IsZero() {
		b.since = time.Now()
	}
	bound := min(max(time.Since(b.since)/4, backoffLeast), backoffMost)
	return max(time.Millisecond+rand.N(bound), told(err))
}

func (b *backoff) reset() { *b = backoff{} }

// A new connection without delay: because of news from outside of the cloud, or for
// another way to follow the feed.
var (
	errWanted = errors.New("a new connection is wanted")
	errAtOnce = errors.New("again")
)

// laterError is a goaway.
type laterError struct{ after time.Duration }

func (e *laterError) Error() string { return fmt.Sprintf("the cloud asks to come back in %s", e.after) }

// headWithin is how long a feed may be silent: a head comes every 25 s.
const headWithin = 40 * time.Second

// errNoHead says that a stream brought nothing.
var errNoHead = errors.New("the stream brings no head: a proxy may keep it back")

// pollFor is how long the feed is polled before a stream is tried again.
const pollFor = 30 * time.Minute

// session is one connection.
type session struct {
	u     *Uplink
	poll  bool
	back  *backoff
	heads int
}

func (s *session) path(what string) string {
	return "/v1/gateways/" + url.PathEscape(string(s.u.Gateway)) + what
}

func (s *session) run(ctx context.Context, registered string) error {
	if err := s.register(ctx, registered); err != nil {
		return err
	}
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	go func() { // a new address or a resync ends it
		select {
		case <-ctx.Done():
		case <-s.u.again:
			cancel(errWanted)
		}
	}()
	err := s.follow(ctx, cancel)
	if cause := context.Cause(ctx); cause != nil && errors.Is(err, context.Canceled) {
		err = cause
	}
	if errors.Is(err, errNoHead) && !s.poll && s.heads == 0 {
		s.u.Log.Info("the feed is polled from now on", "why", err, "for", pollFor)
		s.poll = true
		return errAtOnce
	}
	return err
}

// register brings the cloud's copy of the descriptor up to date.
func (s *session) register(ctx context.Context, registered string) error {
	text, fingerprint, err := s.u.Registration.Descriptor()
	if err != nil || fingerprint == registered {
		return err
	}
	if err := s.u.Client.Do(ctx, http.MethodPut, s.path(""), map[string]string{"descriptor": text}, nil); err != nil {
		return err
	}
	return s.u.Registration.Register(ctx, fingerprint)
}

// follow follows the feed, over snapshots, until something ends it.
func (s *session) follow(ctx context.Context, cancel context.CancelCauseFunc) error {
	until := time.Now().Add(pollFor)
	var idle backoff
	for {
		p, err := s.u.Mail.Position(ctx)
		if err != nil {
			return err
		}
		query := "?epoch=" + url.QueryEscape(p.Epoch) + "&after=" + strconv.FormatInt(p.Seq, 10)
		if s.poll {
			err = s.pollPaced(ctx, p, query, &idle)
		} else {
			err = s.stream(ctx, cancel, p, query)
		}
		var refused *StatusError
		switch {
		case errors.As(err, &refused) && refused.Status == http.StatusGone || errors.Is(err, errDiffers):
			if err := s.renew(ctx, err); err != nil {
				return err
			}
		case err != nil:
			return err
		case time.Now().After(until):
			s.poll = false
			return errAtOnce
		}
	}
}

// errDiffers says that the feed's head is not what has come.
var errDiffers = errors.New("the feed's digest differs from what has come")

// renew takes the snapshot of a feed that cannot go on. The first is followed at once; where
// it has not helped, the next ones are failures, however well they are answered.
func (s *session) renew(ctx context.Context, why error) error {
	s.back.trouble()
	if err := s.snapshot(ctx); err != nil {
		return err
	}
	if s.back.fixed {
		return fmt.Errorf("a snapshot did not help for long, another is taken: %w", why)
	}
	s.back.fixed = true
	return nil
}

// pollHeld is how long a poll that brings nothing takes at least where it is held.
const pollHeld = 10 * time.Second

// pollPaced polls. Whoever does not hold a poll that brings nothing is asked ever less
// often.
func (s *session) pollPaced(ctx context.Context, p gateway.Position, query string, idle *backoff) error {
	begun := time.Now()
	if err := s.pollOnce(ctx, p, query); err != nil {
		return err
	}
	now, err := s.u.Mail.Position(ctx)
	if err != nil || now != p || time.Since(begun) >= pollHeld {
		idle.reset()
		return err
	}
	select {
	case <-ctx.Done():
		return ctx.Err()
	case <-time.After(idle.next(nil)):
		return nil
	}
}

func (s *session) pollOnce(ctx context.Context, p gateway.Position, query string) error {
	var page gateway.FeedPage
	err := s.u.Client.do(ctx, http.MethodGet, s.path("/feed"+query+"&wait=55"), nil, maxPage, 75*time.Second,
		func(r io.Reader) (err error) { page, err = readPage(r); return err })
	if err != nil {
		return err
	}
	if page.Epoch != p.Epoch {
		return errDiffers
	}
	for _, i := range page.Items {
		if err := s.item(ctx, p, i); err != nil {
			return err
		}
		p.Seq = i.Seq
	}
	if n := len(page.Items); n > 0 && page.Items[n-1].Seq < page.Head && page.Items[n-1].Kind != gateway.ItemCommand {
		return nil // there is more
	}
	return s.head(ctx, page.FeedHead)
}

// stream reads the feed's events.
func (s *session) stream(ctx context.Context, cancel context.CancelCauseFunc, p gateway.Position, query string) error {
	s.heads = 0
	silence := time.AfterFunc(headWithin, func() { cancel(errNoHead) })
	defer silence.Stop()
	return s.u.Client.Stream(ctx, s.path("/feed"+query), func(e Event) error {
		switch e.Name {
		case "item":
			silence.Reset(headWithin)
			var i gateway.FeedItem
			if err := json.Unmarshal(e.Data, &i); err != nil {
				return fmt.Errorf("%w: an item: %v", ErrNotOurCloud, err)
			}
			if err := s.item(ctx, p, i); err != nil {
				return err
			}
			p.Seq = i.Seq
		case "head":
			silence.Reset(headWithin)
			var h gateway.FeedHead
			if err := json.Unmarshal(e.Data, &h); err != nil {
				return fmt.Errorf("%w: a head: %v", ErrNotOurCloud, err)
			}
			return s.head(ctx, h)
		case "goaway":
			var g struct {
				RetryMS int64 `json:"retry_ms"`
			}
			if err := json.Unmarshal(e.Data, &g); err != nil {
				return fmt.Errorf("%w: a goaway: %v", ErrNotOurCloud, err)
			}
			s.u.Client.Close()
			const least, most = 10, 120_000
			return &laterError{time.Duration(min(max(g.RetryMS, least), most)) * time.Millisecond}
		}
		return nil
	})
}

// item hands one item on; what came before is passed by.
func (s *session) item(ctx context.Context, p gateway.Position, i gateway.FeedItem) error {
	if i.Seq <= p.Seq {
		return nil
	}
	return s.u.Mail.Receive(context.WithoutCancel(ctx), i)
}

// head holds the feed's head against what has come.
func (s *session) head(ctx context.Context, h gateway.FeedHead) error {
	same, err := s.u.Mail.CaughtUp(context.WithoutCancel(ctx), h)
	if err != nil {
		return err
	}
	if !same {
		return errDiffers
	}
	s.back.good()
	if s.heads++; s.heads == 1 {
		s.u.set(ctx, Connected, "")
		poke(s.u.fresh)
	}
	return nil
}

// snapshot takes all that the mailbox has.
func (s *session) snapshot(ctx context.Context) error {
	var snap gateway.FeedSnapshot
	err := s.u.Client.do(ctx, http.MethodGet, s.path("/snapshot"), nil, maxSnapshot, snapshotFor,
		func(r io.Reader) (err error) { snap, err = readSnapshot(r); return err })
	if err != nil {
		return err
	}
	if snap.Epoch == "" || gateway.DigestOf(snap.Items) != snap.Digest {
		return errors.New("the snapshot's digest is not that of its items; nothing of it is taken")
	}
	if slices.ContainsFunc(snap.Items, func(i gateway.Item) bool { return i.Kind == gateway.ItemCommand }) {
		return errors.New("a snapshot with a command in it; nothing of it is taken")
	}
	s.u.Log.Info("a snapshot of the mailbox is taken in", "items", len(snap.Items), "head", snap.Head)
	return s.u.Mail.ReceiveAll(context.WithoutCancel(ctx), snap)
}
