package store

import (
	"context"
	"database/sql"
	"fmt"
	"path/filepath"
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
	db, err := sql.Open(driver, dsn(filepath.Join(s.dir, FileName), "")) // opens nothing yet
	if err != nil {
		return fmt.Errorf("store: %w", err)
	}
	defer db.Close()
	db.SetMaxOpenConns(1)
	var again <-chan time.Time // while there is a stand-in
	if standsIn(s) {
		again = time.After(healEvery)
	}
	next := time.NewTimer(k.retain(ctx))
	defer next.Stop()
	look := time.NewTicker(idleFor / 4)
	defer look.Stop()
	quiet := rest{commits: -1}
	close(k.ready)
	for {
		select {
		case <-ctx.Done():
			return nil
		case <-next.C:
			next.Reset(k.retain(ctx))
		case <-again:
			if again = nil; !mend(ctx, s) {
				again = time.After(healEvery)
			}
		case <-look.C:
			if standsIn(s) || !quiet.after(s.vitals.count.Load()) {
				continue
			}
			if err := s.checkpointBeside(ctx, db, 1); err != nil && ctx.Err() == nil {
				s.log.Warn("store: the write-ahead log is moved into the file later", "err", err)
				quiet.looks = 0
				continue
			}
			quiet.commits = s.vitals.count.Load()
		case <-s.grown:
			if standsIn(s) {
				if again == nil {
					again = time.After(healEvery)
				}
				continue
			}
			if err := s.checkpointBeside(ctx, db, checkpointAt); err != nil && ctx.Err() == nil {
				s.log.Warn("store: the write-ahead log grows until a checkpoint succeeds", "err", err)
			}
		}
	}
}

// idleFor is how long nobody has written when the WAL is moved into the file: what it holds could
// be lost with it (D8).
const idleFor = time.Minute

// rest watches for a time without commits, each of which counts once.
type rest struct {
	commits int64
	looks   int // since the latest commit; -1: it is told already
}

// after is asked every quarter of idleFor, and reports one of them after which it was idle.
func (r *rest) after(commits int64) bool {
	switch {
	case commits != r.commits:
		r.commits, r.looks = commits, 0
	case r.looks >= 0:
		r.looks++
	}
	if r.looks < 4 {
		return false
	}
	r.looks = -1
	return true
}

// How long it takes from one look at what is past its retention to the next: a day, or less
// where the clock, or the disk, did not allow it.
const (
	retainEvery = 24 * time.Hour
	retainAgain = 10 * time.Minute
)

// retain keeps to the retention while time is settled (I6), and gives when to do so next.
func (k *Keeper) retain(ctx context.Context) time.Duration {
	s := k.store
	r := s.clock.Read()
	if k.retention <= 0 {
		return retainEvery
	}
	if !r.Settled || standsIn(s) {
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
