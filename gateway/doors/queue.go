package doors

import (
	"context"
	"errors"
	"log/slog"
	"sync"
	"time"

	"gardien/gateway"
)

// Journal writes events into the record.
type Journal interface {
	// Record appends events at a reading; durable makes them and all before them
	// survive a power cut when it returns.
	Record(ctx context.Context, at gateway.Reading, durable bool, events ...gateway.Event) error
}

// entry is events of one instant.
type entry struct {
	at      gateway.Reading
	durable bool
	events  []gateway.Event
}

// queueLimit bounds what waits for a database that fails; the oldest stay.
const queueLimit = 4096

// queue writes entries in order, apart from whoever makes them.
type queue struct {
	journal Journal
	log     *slog.Logger

	mu      sync.Mutex
	changed *sync.Cond
	waiting []entry
	busy    bool
	done    bool
	failing bool
}

func newQueue(j Journal, log *slog.Logger) *queue {
	q := &queue{journal: j, log: log}
	q.changed = sync.NewCond(&q.mu)
	return q
}

func (q *queue) put(e entry) {
	q.mu.Lock()
	defer q.mu.Unlock()
	if len(q.waiting) >= queueLimit {
		q.log.Error("an event is lost: the database has refused too many", "type", e.events[0].Type)
		return
	}
	q.waiting = append(q.waiting, e)
	q.changed.Broadcast()
}

// close ends run when the queue is empty, or the database fails.
func (q *queue) close() {
	q.mu.Lock()
	defer q.mu.Unlock()
	q.done = true
	q.changed.Broadcast()
}

var errNotRecorded = errors.New("the database does not take what the doors tell; it is tried again")

// drain waits until the queue is empty, or ctx ends, or the database fails: then something
// is not in the record.
func (q *queue) drain(ctx context.Context) error {
	stop := context.AfterFunc(ctx, func() { q.mu.Lock(); defer q.mu.Unlock(); q.changed.Broadcast() })
	defer stop()
	q.mu.Lock()
	defer q.mu.Unlock()
	for (len(q.waiting) > 0 || q.busy) && !q.failing && ctx.Err() == nil {
		q.changed.Wait()
	}
	if len(q.waiting) > 0 && q.failing {
		return errNotRecorded
	}
	return ctx.Err()
}

func (q *queue) run() {
	for {
		q.mu.Lock()
		for len(q.waiting) == 0 && !q.done {
			q.changed.Wait()
		}
		if len(q.waiting) == 0 {
			q.mu.Unlock()
			return
		}
		e := q.waiting[0]
		q.busy = true
		q.mu.Unlock()

		err := q.journal.Record(context.Background(), e.at, e.durable, e.events...)

		q.mu.Lock()
		q.busy, q.failing = false, err != nil
		if err == nil {
			q.waiting = q.waiting[1:]
		} else if q.done {
			q.log.Error("events are lost: the database refuses them", "events", len(q.waiting), "err", err)
			q.waiting = nil
		}
		q.changed.Broadcast()
		q.mu.Unlock()
		if err != nil {
			q.pause()
		}
	}
}

// pause waits a second, or until the queue is closed.
func (q *queue) pause() {
	expired := false
	timer := time.AfterFunc(time.Second, func() {
		q.mu.Lock()
		defer q.mu.Unlock()
		expired = true
		q.changed.Broadcast()
	})
	defer timer.Stop()
	q.mu.Lock()
	defer q.mu.Unlock()
	for !expired && !q.done {
		q.changed.Wait()
	}
}
