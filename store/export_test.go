package store

import (
	"context"
	"crypto/sha256"
	"database/sql"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"path/filepath"
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

// OnWitness tells f of each writing of the witness, which is not synced.
func OnWitness(f func(path string, size int64, b []byte)) { witnessed = f }

// Scrub is what Run does after Retain.
func (s *Store) Scrub(ctx context.Context) error { return s.scrub(ctx) }

// ReadersForTest bounds each kind of reader to so many connections.
func (s *Store) ReadersForTest(n int) {
	s.files.Load().read.SetMaxOpenConns(n)
	s.files.Load().browse.SetMaxOpenConns(n)
}

// Edit changes the database of a folder that no store has open, as another program could.
func Edit(dir, q string) error {
	db, err := sql.Open(driver, dsn(filepath.Join(dir, FileName), "")+"&_foreign_keys=off")
	if err != nil {
		return err
	}
	_, err = db.Exec(q)
	return errors.Join(err, db.Close())
}

// Commits counts the writer's.
func (s *Store) Commits() int64 { return s.vitals.count.Load() }

// Heal is what the Keeper tries while the disk takes no writes.
func (s *Store) Heal(ctx context.Context) error { return heal(ctx, s) }

// Mend is what the Keeper does every few seconds then.
func (s *Store) Mend(ctx context.Context) { mend(ctx, s) }

// Abandon is a crash, as far as a process can do that to itself: nothing more is written.
func (s *Store) Abandon() {
	s.writer.take()
	if s.bearer != nil {
		s.bearer.close()
		s.bearer = nil
	}
}

// SchemaSum is the one that a start wants, and that of this store.
func (s *Store) SchemaSum() (want, have string, err error) {
	text, err := schemaOf(s.conn)
	return schemaSum, fmt.Sprintf("%x", sha256.Sum256([]byte(text))), err
}

// OldForTest makes a database as a program made it that knew the first so many migrations, and
// fills it.
func OldForTest(dir string, version int, fill string) error {
	h, err := openHandles(filepath.Join(dir, FileName), slog.Default())
	if err != nil {
		return err
	}
	names, err := fs.Glob(migrations, "migrations/*.sql")
	for i := 0; err == nil && i < version; i++ {
		var text []byte
		if text, err = migrations.ReadFile(names[i]); err == nil {
			_, err = h.conn.ExecContext(context.Background(), fmt.Sprintf("%s; PRAGMA user_version=%d", text, i+1))
		}
	}
	if err == nil {
		_, err = h.conn.ExecContext(context.Background(), fill)
	}
	return errors.Join(err, h.close())
}

// MigrateForTest makes a database by the migrations, and looks at nothing.
func MigrateForTest(dir string) (*Store, error) {
	h, err := openHandles(filepath.Join(dir, FileName), slog.Default())
	if err == nil {
		err = h.migrate()
	}
	if err != nil {
		return nil, err
	}
	return &Store{connection: h.connection}, nil
}
