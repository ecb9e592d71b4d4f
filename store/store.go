package store

import (
	"context"
	"database/sql"
	"embed"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"log/slog"
	"net/url"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"time"

	_ "github.com/mattn/go-sqlite3" // the driver "sqlite3"

	"gardien/gateway"
)

// FileName is the database's name in the state folder.
const FileName = "gardien.db"

// pageSize is small because a decision dirties three pages and each is written
// whole: see doc.go and BenchmarkOpening.
const pageSize = 1024

//go:embed migrations/*.sql
var migrations embed.FS

// Clock is what the store needs of a clock.
type Clock interface{ Read() gateway.Reading }

// Store is the gateway's memory. Its methods are safe for concurrent use.
type Store struct {
	path  string
	clock Clock
	zone  *time.Location
	log   *slog.Logger

	read  *sql.DB
	write *sql.DB

	mu     sync.Mutex // one writer
	conn   *sql.Conn
	stmts  map[string]*sql.Stmt
	head   head
	sick   bool // the last write failed: the next good one says so (D5)
	synced bool // no Follow since the last Update
	lax    bool // synchronous is NORMAL, for a Follow
	doubt  bool // an fsync may have failed: see rewrite

	upAtOpen int64 // the last number of the outbox that this process found
	asked    bool  // the cloud has said how far the log has come, since this process found it

	watchers watchers
	ready    chan struct{}
	setAside string
	mailed   func(gateway.IssuerID) bool // whose events go up
}

// Opts of a Store.
type Opts struct {
	Dir   string // state folder, made 0700
	Zone  *time.Location
	Log   *slog.Logger
	Known bool // there has been a database here before: a missing one is a loss
}

// Open opens the database, checks it (D2), migrates it forward, and sets a broken
// one aside. Use SetClock before the first event.
func Open(o Opts) (*Store, error) {
	if o.Log == nil {
		o.Log = slog.Default()
	}
	s := &Store{path: filepath.Join(o.Dir, FileName), zone: o.Zone, log: o.Log, stmts: map[string]*sql.Stmt{},
		ready: make(chan struct{}), synced: true, doubt: true, mailed: func(gateway.IssuerID) bool { return false }}
	s.sweepCopies()
	// SQLite takes an empty file for a new database, and deletes the WAL beside it.
	missing := size(s.path) == 0
	var err error
	if missing && size(s.path+"-wal") > 0 {
		err = &brokenError{errors.New("the file is gone or empty, but there is a write-ahead log")}
	} else {
		err = s.open()
	}
	var broken *brokenError
	if errors.As(err, &broken) {
		if s.setAside, err = s.moveAside(); err == nil {
			o.Log.Error("the database is broken and was set aside; third parties are paused until a resident resumes them",
				"file", s.setAside, "cause", broken.error)
			err = s.open()
		}
	} else if err == nil && missing && o.Known {
		s.setAside = "(the file was missing)"
		o.Log.Error("the database is missing; a new one starts, with third parties paused until a resident resumes them", "file", s.path)
	}
	if err == nil && o.Known && s.setAside == "" && s.owner(context.Background()) == "" {
		// A start that set a database aside was cut off before it could say so in the new one.
		s.setAside = "(the database is new, and this gateway is not)"
	}
	if err != nil {
		s.Close()
		return nil, fmt.Errorf("store: %w", err)
	}
	return s, nil
}

// size of a file; 0 where there is none.
func size(path string) int64 {
	fi, err := os.Stat(path)
	if err != nil {
		return 0
	}
	return fi.Size()
}

// sweepCopies removes what a crash left of a backup, a restore or a salvage: a copy
// would remember what the database has forgotten.
func (s *Store) sweepCopies() {
	for _, pattern := range []string{".backup-*", ".restore-*", ".salvage-*"} {
		left, _ := filepath.Glob(filepath.Join(filepath.Dir(s.path), pattern))
		for _, dir := range left {
			os.RemoveAll(dir)
		}
	}
}

// brokenError says that the file's content is beyond use, in contrast to a disk or
// a permission that fails.
type brokenError struct{ error }

func (s *Store) dsn(extra string) string {
	return "file:" + (&url.URL{Path: s.path}).EscapedPath() +
		"?_foreign_keys=on&_synchronous=FULL&_busy_timeout=5000&_secure_delete=on" + extra
}

func (s *Store) open() error {
	// SQLite gives the WAL and the shared memory the mode of this file.
	f, err := os.OpenFile(s.path, os.O_CREATE|os.O_RDWR, 0o600)
	if err != nil {
		return err
	}
	if fi, err := f.Stat(); err == nil && fi.Mode().Perm()&0o077 != 0 {
		f.Close()
		return fmt.Errorf("%s has mode %04o: chmod 600 it, for it holds who comes when", s.path, fi.Mode().Perm())
	}
	if err := f.Close(); err != nil {
		return err
	}
	if s.write, err = sql.Open("sqlite3", s.dsn("&_txlock=immediate")); err != nil {
		return err
	}
	s.write.SetMaxOpenConns(1)
	if s.conn, err = s.write.Conn(context.Background()); err != nil {
		return classify(err)
	}
	for _, step := range []func() error{s.setPageSize, s.readBack, s.quickCheck, s.migrate, s.loadHead, s.tryWrite} {
		if err := step(); err != nil {
			return classify(err)
		}
	}
	if s.read, err = sql.Open("sqlite3", s.dsn("&_query_only=on")); err != nil {
		return err
	}
	s.read.SetMaxOpenConns(4)
	s.read.SetMaxIdleConns(1)
	return nil
}

// classify finds SQLITE_CORRUPT and SQLITE_NOTADB by code and by quick_check's word.
func classify(err error) error {
	var broken *brokenError
	if err == nil || errors.As(err, &broken) {
		return err
	}
	if isBroken(err) {
		return &brokenError{err}
	}
	return err
}

// setPageSize does so in a new file only, and before WAL fixes it.
func (s *Store) setPageSize() error {
	_, err := s.conn.ExecContext(context.Background(), fmt.Sprintf("PRAGMA page_size=%d; PRAGMA journal_mode=WAL", pageSize))
	return err
}

// readBack proves that the settings took: go-sqlite3 ignores misspelt ones (D2).
func (s *Store) readBack() error {
	if _, err := s.conn.ExecContext(context.Background(), "PRAGMA wal_autocheckpoint=0"); err != nil {
		return err
	}
	for _, p := range []struct{ pragma, want string }{
		{"journal_mode", "wal"}, {"synchronous", "2"}, {"foreign_keys", "1"}, {"secure_delete", "1"}, {"wal_autocheckpoint", "0"},
		{"page_size", fmt.Sprint(pageSize)},
	} {
		var got string
		if err := s.conn.QueryRowContext(context.Background(), "PRAGMA "+p.pragma).Scan(&got); err != nil {
			return err
		}
		if got != p.want {
			return fmt.Errorf("PRAGMA %s is %q, want %q: the file system may not support it; use a local one", p.pragma, got, p.want)
		}
	}
	return nil
}

func (s *Store) quickCheck() error {
	var verdict string
	if err := s.conn.QueryRowContext(context.Background(), "PRAGMA quick_check(1)").Scan(&verdict); err != nil {
		return err
	}
	if verdict != "ok" {
		return &brokenError{fmt.Errorf("quick_check: %s", verdict)}
	}
	return nil
}

// migrate applies what the file has not seen yet, one transaction each, forward only.
func (s *Store) migrate() error {
	names, err := fs.Glob(migrations, "migrations/*.sql")
	if err != nil {
		return err
	}
	slices.Sort(names)
	var have int
	if err := s.conn.QueryRowContext(context.Background(), "PRAGMA user_version").Scan(&have); err != nil {
		return err
	}
	if have > len(names) {
		return fmt.Errorf("%s has schema %d, newer than this program's %d: install the newer Gardien again", s.path, have, len(names))
	}
	for i, name := range names[have:] {
		text, err := migrations.ReadFile(name)
		if err != nil {
			return err
		}
		q := fmt.Sprintf("BEGIN IMMEDIATE; %s; PRAGMA user_version=%d; COMMIT", strings.TrimSuffix(strings.TrimSpace(string(text)), ";"), have+i+1)
		if _, err := s.conn.ExecContext(context.Background(), q); err != nil {
			s.conn.ExecContext(context.Background(), "ROLLBACK")
			return fmt.Errorf("migration %s: %w", name, err)
		}
	}
	return nil
}

// tryWrite makes a durable write. At the start it finds a disk that takes none, where
// the daemon waits for it (D5). What it writes is new each time: SQLite skips what is not.
func (s *Store) tryWrite() error {
	return s.Update(context.Background(), func(tx *Tx) error { tx.put("tried", newLogID()); return tx.err })
}

// moveAside renames the broken file and its companions, and gives the new name. It
// does so before it closes them: SQLite leaves a file that has moved as it is.
func (s *Store) moveAside() (string, error) {
	aside := fmt.Sprintf("%s.broken-%s", s.path, time.Now().UTC().Format("20060102T150405.000000000"))
	for _, suffix := range []string{"", "-wal", "-shm", "-journal"} {
		if err := os.Rename(s.path+suffix, aside+suffix); err != nil && !errors.Is(err, fs.ErrNotExist) {
			return "", fmt.Errorf("set the broken database aside: %w", err)
		}
	}
	if s.conn != nil {
		s.conn.Close()
		s.conn = nil
	}
	s.Close()
	s.write, s.read, s.sick = nil, nil, false
	return aside, nil
}

// SetClock gives the store its clock. When the database was set aside it then
// writes so into the new one: third parties pause, and what was limited before is void.
func (s *Store) SetClock(c Clock) error {
	s.clock = c
	if s.setAside == "" {
		return nil
	}
	return s.Update(context.Background(), func(tx *Tx) error {
		return errors.Join(
			tx.voidBefore(s.clock.Read()),
			tx.SetPaused(true),
			tx.Append(gateway.Event{Type: gateway.DatabaseSetAside}),
		)
	})
}

// SetMailed says whose events go up to their issuer from now on. Use it before the first
// event.
func (s *Store) SetMailed(f func(gateway.IssuerID) bool) { s.mailed = f }

// SetAside names where a broken database went at this start; "" if there was none.
func (s *Store) SetAside() string { return s.setAside }

// Update runs f in one immediate transaction that is durable when Update returns.
// An error of f, or of the disk, leaves nothing behind.
func (s *Store) Update(ctx context.Context, f func(*Tx) error) error { return s.commit(ctx, true, f) }

// Follow runs f like Update, but without fsync: see the package comment.
func (s *Store) Follow(ctx context.Context, f func(*Tx) error) error { return s.commit(ctx, false, f) }

func (s *Store) commit(ctx context.Context, durable bool, f func(*Tx) error) (err error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if err := ctx.Err(); err != nil {
		return err
	}
	if s.conn == nil {
		return errors.New("store: closed")
	}
	before := s.head
	tx := &Tx{s: s}
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
	if s.sick {
		tx.err = tx.Append(gateway.Event{Type: gateway.DeviceOnline, Device: "database"})
	}
	if err := errors.Join(tx.err, f(tx)); err != nil {
		s.abort(before)
		if tx.err != nil {
			return s.failed(err)
		}
		return err
	}
	if durable && s.head != before || durable && !s.synced {
		tx.saveHead()
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
	s.sick, s.synced = false, durable
	if s.head.seq != before.seq {
		s.watchers.wake()
	}
	return nil
}

// rewrite writes the WAL's bytes once more in their place, and syncs them, where an fsync
// may have failed. The kernel then takes pages for clean that never reached the disk, and
// the next fsync says nothing: a Follow would be a hole in the WAL, behind which recovery
// drops every commit (TestFailedSync).
func (s *Store) rewrite() error {
	if !s.doubt {
		return nil
	}
	f, err := os.OpenFile(s.path+"-wal", os.O_RDWR, 0)
	if errors.Is(err, fs.ErrNotExist) {
		s.doubt = false
		return nil
	}
	if err != nil {
		return err
	}
	defer f.Close()
	b, err := io.ReadAll(f)
	if err == nil && len(b) > 0 {
		_, err = f.WriteAt(b, 0)
		err = errors.Join(err, f.Sync())
		rewritten(f.Name(), b)
	}
	s.doubt = err != nil
	return err
}

// rewritten is for the test's record of I/O, which does not see Go's own.
var rewritten = func(path string, b []byte) {}

// relax sets whether a commit goes without fsync.
func (s *Store) relax(lax bool) error {
	if s.lax == lax {
		return nil
	}
	q := "PRAGMA synchronous=FULL"
	if lax {
		q = "PRAGMA synchronous=NORMAL"
	}
	if err := s.exec(q); err != nil {
		return err
	}
	s.lax = lax
	return nil
}

// failed marks the database sick, so that its recovery is told.
func (s *Store) failed(err error) error {
	if !s.sick {
		s.log.Error("the database does not take writes: doors stay shut for third parties until it does; check the disk (df, dmesg)", "err", err)
	}
	s.sick, s.doubt = true, true
	return fmt.Errorf("store: %w", err)
}

func (s *Store) abort(before head) {
	s.head = before
	s.exec("ROLLBACK") // fails where SQLite has rolled back by itself
}

// exec runs a statement prepared once; writes are never cancelled half-way.
func (s *Store) exec(q string, args ...any) error {
	_, err := s.execN(q, args...)
	return err
}

func (s *Store) execN(q string, args ...any) (int64, error) {
	st, err := s.prepare(q)
	if err != nil {
		return 0, err
	}
	r, err := st.Exec(args...)
	if err != nil {
		return 0, err
	}
	return r.RowsAffected()
}

func (s *Store) prepare(q string) (*sql.Stmt, error) {
	if st, ok := s.stmts[q]; ok {
		return st, nil
	}
	st, err := s.conn.PrepareContext(context.Background(), q)
	if err == nil {
		s.stmts[q] = st
	}
	return st, err
}

// Healthy reports whether the last write succeeded.
func (s *Store) Healthy() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return !s.sick && s.conn != nil
}

// Close closes the database; it is durable already.
func (s *Store) Close() error {
	s.mu.Lock()
	defer s.mu.Unlock()
	var errs []error
	for _, st := range s.stmts {
		st.Close()
	}
	s.stmts = map[string]*sql.Stmt{}
	if s.read != nil {
		errs = append(errs, s.read.Close())
	}
	if s.conn != nil {
		s.conn.ExecContext(context.Background(), "PRAGMA wal_checkpoint(TRUNCATE)")
		errs = append(errs, s.conn.Close())
		s.conn = nil
	}
	if s.write != nil {
		errs = append(errs, s.write.Close())
	}
	return errors.Join(errs...)
}
