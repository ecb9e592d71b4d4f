package store

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
)

const (
	// walSize is what the WAL's file measures at least, zeros at first: every commit overwrites
	// what is there. One that makes the file grow has to wait for the file system's journal,
	// too, which costs half as much again.
	walSize        = 2 << 20
	checkpointAt   = walSize / 2 // bytes of commits in it that are worth a checkpoint
	commitsPerLook = 64          // how often that is looked at
)

// rewrite writes the WAL's bytes once more in their place, and syncs them, where an fsync
// may have failed. The kernel then takes pages for clean that never reached the disk, and
// the next fsync says nothing: a Follow would be a hole in the WAL, behind which recovery
// drops every commit (TestFailedSync). A file that is smaller than walSize grows to it:
// recovery ends at the zeros, as no frame is of page 0.
func (c *connection) rewrite() error {
	if !c.doubt {
		return nil
	}
	f, err := os.OpenFile(c.path+"-wal", os.O_RDWR, 0)
	if errors.Is(err, fs.ErrNotExist) {
		c.doubt = false
		return nil
	}
	if err != nil {
		return err
	}
	defer f.Close()
	fi, err := f.Stat()
	if err != nil {
		return err
	}
	chunk := make([]byte, 64<<10)
	for off := int64(0); ; {
		n, err := f.ReadAt(chunk, off)
		if n > 0 {
			if _, err := f.WriteAt(chunk[:n], off); err != nil {
				return err
			}
			rewritten(f.Name(), fi.Size(), off, chunk[:n])
		}
		if off += int64(n); err == io.EOF {
			c.grow(f, off)
			break
		}
		if err != nil {
			return err
		}
	}
	if err := f.Sync(); err != nil {
		return err
	}
	c.doubt = false
	return nil
}

// grow fills the WAL with zeros up to its size. On a disk without that room it stays as it is, and
// takes nothing from others: SQLite makes it grow where it must.
func (c *connection) grow(f *os.File, size int64) {
	zeros := make([]byte, 64<<10)
	for at := size; at < walSize; {
		n, err := f.WriteAt(zeros[:min(int64(len(zeros)), walSize-at)], at)
		if err != nil {
			c.log.Debug("store: no room for the write-ahead log ahead of time", "err", errors.Join(err, f.Truncate(size)))
			return
		}
		rewritten(f.Name(), at, at, zeros[:n])
		at += int64(n)
	}
}

// rewritten is for the test's record of I/O, which does not see Go's own: to a file of that size
// b was written at off.
var rewritten = func(path string, size, off int64, b []byte) {}

// checkpoint moves the WAL into the file; NOOP only looks, TRUNCATE also leaves nothing in the
// WAL. It gives how many pages the WAL held.
func checkpoint(ctx context.Context, conn *sql.Conn, mode string) (frames int64, err error) {
	var busy, done int
	if err := conn.QueryRowContext(ctx, "PRAGMA wal_checkpoint("+mode+")").Scan(&busy, &frames, &done); err != nil {
		return 0, err
	}
	if busy != 0 {
		return 0, fmt.Errorf("checkpoint: another one, or a reader, is in the way")
	}
	return frames, nil
}

// checkpointBeside moves the WAL into the file when there are so many bytes in it. The decisions
// go on meanwhile; only where they come so thick that the WAL outgrows its room do they wait for
// the rest.
func (s *Store) checkpointBeside(ctx context.Context, db *sql.DB, atLeast int64) error {
	conn, err := db.Conn(ctx)
	if err != nil {
		return err
	}
	defer conn.Close()
	frames, err := checkpoint(ctx, conn, "NOOP")
	if err != nil || frames*(pageSize+24) < atLeast {
		return err
	}
	_, err = checkpoint(ctx, conn, "PASSIVE")
	if err == nil && frames*(pageSize+24) < walSize {
		return s.tryWrite()
	}
	s.writer.take()
	if err == nil {
		_, err = checkpoint(ctx, conn, "PASSIVE")
	}
	s.doubt = s.doubt || err != nil
	s.writer.give()
	if err != nil {
		return err
	}
	return s.tryWrite()
}

// scrub empties the WAL, where old pages lie. SQLite does not sync that; the write
// after it does.
func (s *Store) scrub(ctx context.Context) error {
	s.writer.take()
	err := errors.New("closed")
	if s.conn != nil {
		_, err = checkpoint(ctx, s.conn, "TRUNCATE")
		s.doubt = true // the file is empty now: room is made in it again
	}
	s.writer.give()
	if err == nil {
		err = s.tryWrite()
	}
	if err != nil {
		return fmt.Errorf("store: forgotten, but the old bytes are still in the write-ahead log: %w; run the command again", err)
	}
	return nil
}
