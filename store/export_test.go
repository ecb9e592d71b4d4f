package store

import (
	"context"
	"database/sql"
)

// For the tests of package store_test.

// Conn is the writer's connection.
func (s *Store) Conn() *sql.Conn { return s.conn }

// CheckpointBeside is what Run does when the WAL has grown so far.
func (s *Store) CheckpointBeside(ctx context.Context, atLeast int64) error {
	db, err := sql.Open(driver, dsn(s.path, ""))
	if err != nil {
		return err
	}
	defer db.Close()
	return s.checkpointBeside(ctx, db, atLeast)
}

// CheckpointAt is how many bytes of WAL Run finds worth a checkpoint.
const CheckpointAt = checkpointAt

// OnRewrite tells f of each rewriting of the WAL.
func OnRewrite(f func(path string, size, off int64, b []byte)) { rewritten = f }

// Scrub is what Run does after Retain.
func (s *Store) Scrub(ctx context.Context) error { return s.scrub(ctx) }

// ReadersForTest bounds each kind of reader to so many connections.
func (s *Store) ReadersForTest(n int) {
	s.read.SetMaxOpenConns(n)
	s.browse.SetMaxOpenConns(n)
}
