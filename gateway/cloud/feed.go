package cloud

import (
	"context"
	"errors"
	"math/rand/v2"
	"net/http"
	"strconv"
	"strings"
	"time"

	"gardien/gateway"
	"gardien/gateway/web"
)

// beats counts breaths: every third is a heartbeat.
type beats struct {
	*time.Ticker
	n int
}

func newBeats() *beats { return &beats{Ticker: time.NewTicker(breath)} }

// breathe adds a sign of life, the shortest there is, or says that it is time for a head.
func (b *beats) breathe(s *web.Stream) (head bool) {
	if b.n++; b.n%3 == 0 {
		return true
	}
	s.Breathe()
	return false
}

// numberOf reads a query's number; absent is 0.
func numberOf(r *request, name string) (int64, error) {
	q := r.URL.Query().Get(name)
	if q == "" {
		return 0, nil
	}
	n, err := strconv.ParseInt(q, 10, 64)
	if err != nil || n < 0 || n > 1<<53-1 {
		return 0, web.BadRequest("%s: want a number from 0 on", name)
	}
	return n, nil
}

// feed streams a gateway's changes, or answers a long poll.
func (s *Service) feed(r *request) error {
	after, err := numberOf(r, "after")
	if err != nil {
		return err
	}
	wait, err := numberOf(r, "wait")
	if err != nil {
		return err
	}
	p := gateway.Position{Epoch: r.URL.Query().Get("epoch"), Seq: after}
	leave, ok := s.limits.enter("g/"+string(r.gateway), streamsEach)
	if !ok {
		return web.TooMany("at most %d feeds at once", streamsEach)
	}
	defer leave()
	grown, stop := s.Mailbox.Feeds.WatchGateway(r.gateway)
	defer stop()
	page, done, err := s.look(r.Context(), r.gateway, p, r.now)
	if err != nil {
		return err
	}
	if strings.Contains(r.Header.Get("Accept"), "application/json") {
		return s.poll(r, p, page, grown, min(time.Duration(wait)*time.Second, longestPoll))
	}
	s.presence.come(r.gateway, after, r.now)
	defer func() { s.presence.leave(r.gateway, s.Now()) }()
	s.metrics.streams.WithLabelValues("gateway").Inc()
	defer s.metrics.streams.WithLabelValues("gateway").Dec()
	f := &feedStream{s: s, r: r, out: web.OpenStream(r.w, writeTimeout), grown: grown, position: p}
	f.run(page, done)
	return nil
}

// look reads the feed after a position.
func (s *Service) look(ctx context.Context, gw gateway.GatewayID, p gateway.Position, now time.Time) (page gateway.FeedPage, done bool, err error) {
	err = aside(func() (err error) {
		page, done, err = s.Mailbox.Feeds.Feed(ctx, gw, p, feedBatch, now)
		return err
	})
	return page, done, err
}

// poll answers with what there is, or waits for it.
func (s *Service) poll(r *request, p gateway.Position, page gateway.FeedPage, grown <-chan struct{}, wait time.Duration) error {
	s.presence.come(r.gateway, p.Seq, r.now)
	defer s.presence.leaveLater(r.gateway, s.Now)
	timeout := time.NewTimer(wait)
	defer timeout.Stop()
	for over := wait == 0; len(page.Items) == 0 && !over; {
		select {
		case <-grown:
		case <-timeout.C:
			over = true
		case <-s.Stop:
			over = true
		case <-r.Context().Done():
			return r.Context().Err()
		}
		var err error
		if page, _, err = s.look(r.Context(), r.gateway, p, s.Now()); err != nil {
			return err
		}
	}
	page.Time = s.stamp()
	return web.Reply(r.w, http.StatusOK, page)
}

func (s *Service) stamp() string { return s.Now().UTC().Format(time.RFC3339) }

// feedStream is one gateway's open stream.
type feedStream struct {
	s        *Service
	r        *request
	out      *web.Stream
	grown    <-chan struct{}
	position gateway.Position
	told     gateway.FeedHead // the last head that was sent
}

// run sends the first page and goes on until somebody ends it.
func (f *feedStream) run(page gateway.FeedPage, done bool) {
	beat := newBeats()
	defer beat.Stop()
	for force := true; ; {
		if aside(func() error { return f.send(page, done, force) }) != nil {
			return
		}
		page.Items, force = nil, false
		for done {
			select {
			case <-f.r.Context().Done():
				return
			case <-f.s.Stop:
				f.goAway(f.s.spread())
				return
			case <-f.grown:
			case <-beat.C:
				if force = beat.breathe(f.out); !force {
					if f.out.Flush() != nil {
						return
					}
					continue
				}
			}
			break
		}
		var err error
		page, done, err = f.next()
		var gone *gateway.FeedGone
		if errors.As(err, &gone) {
			f.goAway(0) // it comes back at once, and is told so properly
		}
		if err != nil {
			return
		}
	}
}

func (f *feedStream) goAway(after time.Duration) {
	f.out.Event("goaway", 0, GoAway{after.Milliseconds()})
	f.out.Flush()
}

// send writes a page; the head follows the last change.
func (f *feedStream) send(page gateway.FeedPage, done, force bool) error {
	for _, i := range page.Items {
		f.out.Event("item", i.Seq, i)
		f.position.Seq = i.Seq
	}
	if done && (force || len(page.Items) > 0 || page.FeedHead != f.told) {
		f.told = page.FeedHead
		head := page.FeedHead
		head.Time = f.s.stamp()
		f.out.Event("head", 0, head)
		f.position.Seq = max(f.position.Seq, page.Head)
	}
	if !f.out.Waiting() {
		return nil
	}
	err := f.out.Flush()
	if err == nil && done {
		f.s.presence.at(f.r.gateway, f.position.Seq, f.s.Now())
	}
	return err
}

// next reads on; a database that is away for a moment does not end the stream.
func (f *feedStream) next() (gateway.FeedPage, bool, error) {
	for begun := time.Now(); ; {
		page, done, err := f.s.look(f.r.Context(), f.r.gateway, f.position, f.s.Now())
		var gone *gateway.FeedGone
		if err == nil || errors.As(err, &gone) || errors.Is(err, gateway.ErrNoSuchGateway) || f.r.Context().Err() != nil || time.Since(begun) > databaseFor {
			return page, done, err
		}
		if !f.s.pause(f.r.Context()) {
			return page, done, err
		}
	}
}

// pause waits a second or so for the database; false says that there is no point.
func (s *Service) pause(ctx context.Context) bool {
	select {
	case <-ctx.Done():
		return false
	case <-s.Stop:
		return false
	case <-time.After(500*time.Millisecond + rand.N(time.Second)):
		return true
	}
}

// spread is when one of the streams is to come back after this replica has gone: about a
// thousand a second, within a minute.
func (s *Service) spread() time.Duration {
	return rand.N(min(time.Minute, 200*time.Millisecond+time.Duration(s.limits.streams())*time.Millisecond))
}

// issuerFeed streams an issuer's letters, and the presence of its gateways.
func (s *Service) issuerFeed(r *request) error {
	var after int64
	var err error
	fromHead := r.URL.Query().Get("after") == "head"
	if !fromHead {
		if after, err = numberOf(r, "after"); err != nil {
			return err
		}
	}
	leave, ok := s.limits.enter("i/"+string(r.issuer), issuerStreams)
	if !ok {
		return web.TooMany("at most %d feeds at once", issuerStreams)
	}
	defer leave()
	grown, stop := s.Mailbox.Letters.WatchIssuer(r.issuer)
	defer stop()
	list, head, err := s.Mailbox.Letters.Letters(r.Context(), r.issuer, after, feedBatch)
	if err != nil {
		return err
	}
	if fromHead {
		list, after = nil, head
	}
	s.metrics.streams.WithLabelValues("issuer").Inc()
	defer s.metrics.streams.WithLabelValues("issuer").Dec()
	f := &letterStream{s: s, r: r, out: web.OpenStream(r.w, writeTimeout), after: after, online: map[gateway.GatewayID]bool{}}
	f.run(list, head, grown)
	return nil
}

// letterStream is one issuer's open stream.
type letterStream struct {
	s      *Service
	r      *request
	out    *web.Stream
	after  int64
	online map[gateway.GatewayID]bool // what was told
	looked time.Time                  // at the fleet
}

const fleetEvery = time.Second // a fleet that comes and goes is looked at once a second

func (f *letterStream) run(list []gateway.Delivered, head int64, grown <-chan struct{}) {
	beat := newBeats()
	defer beat.Stop()
	var look <-chan time.Time // the next look at the fleet
	whole := true
	for {
		for _, l := range list {
			f.out.Event("event", l.Seq, l)
			f.after = l.Seq
		}
		if wait := fleetEvery - time.Since(f.looked); wait <= 0 || whole {
			if f.fleet(whole) != nil {
				return
			}
			look = nil
		} else if look == nil {
			look = time.After(wait)
		}
		if whole {
			f.out.Event("head", 0, map[string]any{"head": head, "time": f.s.stamp()})
		}
		if f.out.Waiting() && f.out.Flush() != nil {
			return
		}
		if whole = false; len(list) < feedBatch {
			select {
			case <-f.r.Context().Done():
				return
			case <-f.s.Stop:
				f.out.Event("goaway", 0, GoAway{f.s.spread().Milliseconds()})
				f.out.Flush()
				return
			case <-grown:
			case <-look:
				look = nil
			case <-beat.C:
				whole = beat.breathe(f.out)
			}
		}
		var err error
		if list, head, err = f.next(); err != nil {
			return
		}
	}
}

func (f *letterStream) next() ([]gateway.Delivered, int64, error) {
	for begun := time.Now(); ; {
		list, head, err := f.s.Mailbox.Letters.Letters(f.r.Context(), f.r.issuer, f.after, feedBatch)
		if err == nil || f.r.Context().Err() != nil || time.Since(begun) > databaseFor || !f.s.pause(f.r.Context()) {
			return list, head, err
		}
	}
}

// fleet tells who came and who went since the last look; whole looks at all, and so finds
// those whose replica died.
func (f *letterStream) fleet(whole bool) error {
	now := f.s.Now()
	since := time.Time{}
	if !whole {
		since = f.looked.Add(-2 * fleetEvery)
	}
	list, err := f.s.Mailbox.Presence.Fleet(f.r.Context(), f.r.issuer, since, now)
	if err != nil {
		return f.r.Context().Err() // the next look may do
	}
	f.looked = now
	for _, m := range list {
		if was, told := f.online[m.Gateway]; !told || was != m.Online {
			f.online[m.Gateway] = m.Online
			f.out.Event("presence", 0, gateway.Presence{Gateway: m.Gateway, Online: m.Online, At: m.At})
		}
	}
	return nil
}
