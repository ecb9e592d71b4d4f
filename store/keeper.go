package store

import (
	"context"
	"database/sql"
	"fmt"
	"gardien/gateway"
	"time"
)

// Keeper is the store's maintenance, as a task: it checkpoints the WAL beside the decisions and
// keeps to the retention.
type Keeper struct {
	store     *Store
	retention time.Duration
	ready     chan struct{}
}

// Keeper makes the task; retention 0 keeps everything.
func (s *Store) Keeper(retention time.Duration) *Keeper {
	return &Keeper{s, retention, make(chan struct{})}
}

// Ready is closed when maintenance runs.
func (k *Keeper) Ready() <-chan struct{} { return k.ready }

func (k *Keeper) String() string { return "store" }

// Run works until ctx ends. A write follows each checkpoint, so that the fsync by which SQLite
// restarts the WAL is not a courier's.
func (k *Keeper) Run(ctx context.Context) error {
	s := k.store
	db, err := sql.Open(driver, dsn(s.path, ""))
	if err != nil {
		return fmt.Errorf("store: %w", err)
	}
	defer db.Close()
	db.SetMaxOpenConns(1)
	next := time.NewTimer(k.retain(ctx))
	defer next.Stop()
	close(k.ready)
	for {
		select {
		case <-ctx.Done():
			return nil
		case <-next.C:
			next.Reset(k.retain(ctx))
		case <-s.grown:
			if err := s.checkpointBeside(ctx, db, checkpointAt); err != nil && ctx.Err() == nil {
				s.log.Warn("store: the write-ahead log grows until a checkpoint succeeds", "err", err)
			}
		}
	}
}

// How long it takes from one look at what is past its retention to the next: a day, or less
// where the clock, or the disk, did not allow it. A Pi that is switched off every night does
// not know what time it is when it starts.
const (
	retainEvery = 24 * time.Hour
	retainAgain = 10 * time.Minute
)

// retain keeps to the retention while the clock is believed, and gives when to do so next.
func (k *Keeper) retain(ctx context.Context) time.Duration {
	s := k.store
	r := s.clock.Read()
	if k.retention <= 0 {
		return retainEvery
	}
	if r.State == gateway.ClockUndecided {
		return retainAgain
	}
	n, err := s.Retain(ctx, r.Earliest.Add(-k.retention))
	if err == nil && n > 0 {
		err = s.scrub(ctx)
		s.log.Info("store: past its retention and gone", "events", n, "err", err)
	}
	if err != nil {
		if ctx.Err() == nil {
			s.log.Warn("store: what is past its retention is still there; trying again", "err", err, "in", retainAgain)
		}
		return retainAgain
	}
	return retainEvery
}
