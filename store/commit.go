package store

import (
	"context"
	"errors"
	"fmt"
	"sync/atomic"
	"time"
)

// writerWithin is how long a commit waits for its turn: a decision that comes later is
// about somebody who has gone.
const writerWithin = 5 * time.Second

// turn is a lock that need not be waited for without end.
type turn chan struct{}

var errBusy = errors.New("the database is busy: a restore, or a disk that hangs")

func (t turn) take() { t <- struct{}{} }
func (t turn) give() { <-t }

// takeWithin waits so long, or until ctx ends.
func (t turn) takeWithin(ctx context.Context, d time.Duration) error {
	select {
	case t <- struct{}{}:
		return nil
	default:
	}
	late := time.NewTimer(d)
	defer late.Stop()
	select {
	case t <- struct{}{}:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	case <-late.C:
		return errBusy
	}
}

// vitals is what can be seen of the writer without waiting for it.
type vitals struct {
	newest atomic.Int64 // number of the newest event
	sick   atomic.Bool  // the last write failed
	count  atomic.Int64 // of commits
	begun  atomic.Int64 // when the present commit began, in ns since 1970; 0: there is none
}

// working notes a commit until done is called.
func (v *vitals) working() (done func()) {
	v.begun.Store(time.Now().UnixNano())
	return func() { v.begun.Store(0) }
}

// Head gives the number of the newest event.
func (s *Store) Head() int64 { return s.vitals.newest.Load() }

// Healthy reports whether the last write succeeded.
func (s *Store) Healthy() bool { return !s.vitals.sick.Load() }

// Durable reports whether what is written now outlives a power cut: the disk takes writes.
func (s *Store) Durable() bool { return !standsIn(s) }

// Hung reports a commit that has taken longer than d.
func (s *Store) Hung(d time.Duration) bool {
	begun := s.vitals.begun.Load()
	return begun != 0 && time.Since(time.Unix(0, begun)) > d
}

// Update runs f in one immediate transaction that is durable when Update returns.
// An error of f, or of the disk, leaves nothing behind.
func (s *Store) Update(ctx context.Context, f func(*Tx) error) error { return s.commit(ctx, true, f) }

// Follow runs f like Update, but without fsync: see the package comment.
func (s *Store) Follow(ctx context.Context, f func(*Tx) error) error { return s.commit(ctx, false, f) }

func (s *Store) commit(ctx context.Context, durable bool, f func(*Tx) error) error {
	if err := s.writer.takeWithin(ctx, writerWithin); err != nil {
		return fmt.Errorf("store: %w", err)
	}
	defer s.writer.give()
	if err := ctx.Err(); err != nil {
		return err
	}
	if s.conn == nil {
		return errors.New("store: closed")
	}
	defer s.vitals.working()()
	err := commitOnce(s, durable, f)
	if err == nil || !s.vitals.sick.Load() || degrade(s, err) != nil {
		return err
	}
	return commitOnce(s, durable, f) // by the stand-in: f asks whether it is one
}

// commitOnce runs a transaction, and leaves nothing behind where it fails.
func commitOnce(s *Store, durable bool, f func(*Tx) error) (err error) {
	if s.replaced {
		if err := s.reload(); err != nil {
			return s.failed(err)
		}
	}
	before := s.head
	tx := s.newTx(nil)
	defer func() {
		if p := recover(); p != nil {
			s.abort(before)
			panic(p)
		}
	}()
	if err := errors.Join(s.rewrite(), s.relax(!durable)); err != nil {
		return s.failed(err)
	}
	defer s.relax(false) // where this fails, the next Update tries again before it writes
	if err := s.exec("BEGIN IMMEDIATE"); err != nil {
		return s.failed(err)
	}
	if s.lost != nil {
		tx.Record.AppendAt(*s.lost, databaseOffline)
		tx.Record.Append(databaseOnline)
	}
	if err := errors.Join(tx.err, f(tx)); err != nil {
		s.abort(before)
		if tx.err != nil {
			return s.failed(err)
		}
		return err
	}
	if durable {
		tx.saveHead()
	}
	if len(tx.away) > 0 {
		tx.fail(s.removals.add(tx.away))
	}
	tx.flush()
	if tx.err != nil {
		s.abort(before)
		return s.failed(tx.err)
	}
	if err := s.exec("COMMIT"); err != nil {
		s.abort(before)
		return s.failed(err)
	}
	tx.committed()
	s.lost = nil
	if len(tx.moved) > 0 {
		// Not before: a power cut in between would take the old key and bring no new one. What is
		// missing here the next start adds.
		if err := s.removals.add(tx.moved); err != nil {
			s.log.Warn("store: an old backup could bring back the key of a device that has moved, until the next start", "err", err)
		}
	}
	if tx.people {
		rosterWritten(s)
	}
	if durable && s.bearer != nil {
		s.bearer.note(witnessOf(s.head, s.small))
	}
	s.vitals.sick.Store(false)
	if s.head.seq != before.seq {
		s.vitals.newest.Store(s.head.seq)
		s.watchers.wake()
	}
	if s.vitals.count.Add(1)%commitsPerLook == 0 {
		select {
		case s.grown <- struct{}{}:
		default:
		}
	}
	return nil
}

// failed notes that the database does not take writes, so that its recovery is told. One
// that somebody else has locked is as it was; of any other, nobody knows what has reached
// the disk.
func (s *Store) failed(err error) error {
	if !s.vitals.sick.Swap(true) {
		s.log.Error("the database does not take writes: doors stay shut for third parties until it does; check the disk (df, dmesg)", "err", err)
	}
	if s.lost == nil && s.clock != nil {
		now := s.clock.Read()
		s.lost = &now
	}
	s.doubt = s.doubt || !isBusy(err)
	return fmt.Errorf("store: %w", err)
}

func (s *Store) abort(before head) {
	s.head = before
	s.exec("ROLLBACK") // fails where SQLite has rolled back by itself
}
