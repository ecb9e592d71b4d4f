package uplink

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"time"

	"gardien/gateway"
	"gardien/gateway/web"
)

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
	idle := backoff{jitter: s.u.Jitter}
	for {
		p, err := s.u.Feed.Position(ctx)
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
	now, err := s.u.Feed.Position(ctx)
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
	return s.u.Client.Stream(ctx, s.path("/feed"+query), func(e web.Event) error {
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
	return s.u.Feed.Receive(context.WithoutCancel(ctx), i)
}

// head holds the feed's head against what has come.
func (s *session) head(ctx context.Context, h gateway.FeedHead) error {
	same, err := s.u.Feed.CaughtUp(context.WithoutCancel(ctx), h)
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
	return s.u.Feed.ReceiveAll(context.WithoutCancel(ctx), snap)
}
