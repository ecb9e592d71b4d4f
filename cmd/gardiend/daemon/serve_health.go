package daemon

import (
	"cmp"
	"context"
	"errors"
	"net/http"
	"sync"
	"time"

	"gardien/gateway"
	"gardien/gateway/api"
	"gardien/store"
)

// watchEvery is how often somebody looks for findings that nobody asks for.
const watchEvery = time.Minute

// watched is the findings that this process has seen, and since when: by the boot clock.
type watched struct {
	mu    sync.Mutex
	first map[string]time.Duration
	last  time.Duration   // of the newest look
	ended map[string]bool // whose mark does not count any more, and is still in the memory
	// warm: the process has had the time to find what was there before it began.
	warm bool
}

// look takes what is found now, and which of it is marked: it gives since when each is known here, and
// forgets what has ended. Looks overlap and may come late: one that is older than another that was
// here already begins and ends nothing.
func (w *watched) look(list findings, marks map[string]string, at gateway.Reading) {
	w.mu.Lock()
	defer w.mu.Unlock()
	first := make(map[string]time.Duration, len(list))
	for i, f := range list {
		since, known := w.first[f.key]
		if !known {
			since = at.SinceBoot
		}
		first[f.key] = since
		if f.since.IsZero() || f.since.After(at.Wall) {
			list[i].since = at.Wall.Add(since - at.SinceBoot)
		}
	}
	if at.SinceBoot < w.last {
		return
	}
	w.last = at.SinceBoot
	for key := range w.first {
		if _, is := first[key]; !is && marks[key] != "" {
			if w.ended == nil {
				w.ended = map[string]bool{}
			}
			w.ended[key] = true
		}
	}
	w.first = first
}

// isStale reports a mark that does not count: its finding has ended, and may have come again. What is not
// found at the start may be found a little later.
func (w *watched) isStale(key string) bool {
	w.mu.Lock()
	defer w.mu.Unlock()
	_, is := w.first[key]
	return w.ended[key] || !is && w.warm
}

func (w *watched) warmUp() {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.warm = true
}

// settle says that the memory has no mark of these findings from before, and undo takes that back. It is
// said by whoever has the memory's turn, so that no mark is taken for an older one.
func (w *watched) settle(keys ...string) (undo func()) {
	w.mu.Lock()
	defer w.mu.Unlock()
	var were []string
	for _, key := range keys {
		if w.ended[key] {
			were = append(were, key)
		}
		delete(w.ended, key)
	}
	return func() {
		w.mu.Lock()
		defer w.mu.Unlock()
		for _, key := range were {
			w.ended[key] = true
		}
	}
}

// healthService serves findings to the API, and looks for them when nobody asks.
type healthService struct{ g *Gateway }

// findings gives what is found now, each with when it began, and the condition that it was found in.
func (s healthService) findings(ctx context.Context) (condition, findings, error) {
	c, err := s.g.condition(ctx)
	if err != nil {
		return c, nil, err
	}
	list := c.findings()
	s.g.watched.look(list, c.seen, c.at)
	return c, list, nil
}

// watch looks for findings now and then, drops the marks of those that have ended, and writes down
// when devices were seen.
func (s healthService) watch(ctx context.Context) error {
	tick := time.NewTicker(watchEvery)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return nil
		case <-tick.C:
		}
		if err := s.watchOnce(ctx); err != nil && ctx.Err() == nil {
			return err
		}
	}
}

func (s healthService) watchOnce(ctx context.Context) error {
	c, _, err := s.findings(ctx)
	if err != nil {
		return err
	}
	s.g.watched.warmUp()
	for key := range c.seen {
		if s.g.watched.isStale(key) {
			err = s.mark(ctx, s.g.store.Follow, "", "")
			break
		}
	}
	return errors.Join(err, s.g.residents.KeepSeen(ctx))
}

// Findings implements api.HealthService. Who has seen one is told to those who live here.
func (s healthService) Findings(ctx context.Context, house bool) ([]api.Finding, error) {
	c, list, err := s.findings(ctx)
	if err != nil {
		return nil, err
	}
	out := []api.Finding{}
	for _, f := range list {
		if f.house && !house {
			continue
		}
		o := api.Finding{Key: f.key, Severity: f.severity, Subject: orNull(f.subject), Since: s.g.stamp(f.since)}
		if by := c.seen[f.key]; (house || by == store.Console) && !s.g.watched.isStale(f.key) {
			o.SeenBy = orNull(by)
		}
		out = append(out, o)
	}
	return out, nil
}

// See implements api.HealthService.
func (s healthService) See(ctx context.Context, by api.Caller, key string) error {
	_, list, err := s.findings(ctx)
	if err != nil {
		return err
	}
	var keys []string
	for _, f := range list {
		if keys = append(keys, f.key); f.key == key {
			return s.mark(ctx, s.g.store.Update, key, cmp.Or(string(by.Resident), store.Console))
		}
	}
	return api.NotFound("finding", key, keys)
}

// mark drops the marks of findings that have ended, and marks one ("": none).
func (s healthService) mark(ctx context.Context, write func(context.Context, func(*store.Tx) error) error, key, by string) error {
	undo, full := func() {}, false
	err := write(ctx, func(tx *store.Tx) error {
		var gone []string
		tx.House.UnseeFindings(func(key, _ string) bool {
			stale := s.g.watched.isStale(key)
			if stale {
				gone = append(gone, key)
			}
			return stale
		})
		if key != "" {
			if full = !tx.House.SeeFinding(key, by); !full {
				gone = append(gone, key)
			}
		}
		undo = s.g.watched.settle(gone...)
		return tx.Err()
	})
	switch {
	case err != nil:
		undo()
	case full:
		return api.Fail(http.StatusConflict, "conflict", "%d findings are marked as seen, and no more marks are kept: put right some of what was found, and mark %s then", store.MostMarks, key)
	}
	return err
}
