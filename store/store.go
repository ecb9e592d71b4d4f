package store

import (
	"context"
	"database/sql"
	"embed"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"log/slog"
	"net/url"
	"os"
	"path/filepath"
	"sync/atomic"
	"time"

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
	clock Clock
	zone  *time.Location

	dir     string // state folder
	runtime string // folder in memory
	files   atomic.Pointer[files]
	write   *sql.DB

	writer turn // one at a time; it guards what follows
	connection
	small    map[string][]byte // the table "state"
	replaced bool              // by a restore, and not taken into memory yet
	head     head
	lost     *gateway.Reading // when the first of the writes failed that have failed since the last good one

	grown chan struct{} // holds a token when the WAL is worth a look

	vitals vitals

	upAtOpen int64 // the last number of the outbox that this process found
	asked    bool  // the cloud has said how far the log has come, since this process found it

	watchers watchers
	setAside string

	bearer      *bearer // of the witness, once the clock is there
	bornWitness witness // what the witness said at the start
	rolledBack  string  // why the database is older than what it once acknowledged; "": it is not
	amends      amends
	removals    *removals // nil until KeepRemovals

	standIn atomic.Pointer[standIn] // in the place of a database whose disk takes no writes; nil: there is none

	reports func(gateway.IssuerID) bool // whose events go up
}

// Opts of a Store.
type Opts struct {
	Dir   string // state folder, made 0700
	Zone  *time.Location
	Log   *slog.Logger
	Known bool // there has been a database here before: a missing one is a loss
	// Runtime is a folder in memory, where a database stands in while the disk takes no writes
	// (D5). "": none does, and nothing is decided meanwhile.
	Runtime string
}

// Open opens the database, checks it (D2), migrates it forward, and sets a broken
// one aside. Use SetClock before the first event.
func Open(o Opts) (*Store, error) {
	if o.Log == nil {
		o.Log = slog.Default()
	}
	s := &Store{connection: connection{path: filepath.Join(o.Dir, FileName), log: o.Log, stmts: map[string]*sql.Stmt{}, doubt: true}, zone: o.Zone,
		dir: o.Dir, writer: make(turn, 1), grown: make(chan struct{}, 1), reports: func(gateway.IssuerID) bool { return false }}
	s.files.Store(&files{})
	sweepCopies(s.path)
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
		if s.setAside, err = moveAside(s); err == nil {
			o.Log.Error("the database is broken and was set aside; third parties are paused until a resident resumes them",
				"file", s.setAside, "cause", broken.error)
			err = s.open()
		}
	} else if err == nil && missing && o.Known {
		s.setAside = "(the file was missing)"
		o.Log.Error("the database is missing; a new one starts, with third parties paused until a resident resumes them", "file", s.path)
	}
	if err == nil && o.Known && s.setAside == "" && ownerOf(context.Background(), s.files.Load().read) == "" {
		// A start that set a database aside was cut off before it could say so in the new one.
		s.setAside = "(the database is new, and this gateway is not)"
	}
	s.runtime = o.Runtime // from now on: until here a stand-in of before must not be replaced
	if err != nil && diskTrouble(err) && o.Runtime != "" {
		err = openStandIn(s, err)
	}
	if err != nil {
		s.Close()
		return nil, fmt.Errorf("store: %w", err)
	}
	if s.setAside != "" { // the new one is not older than it was
		s.rolledBack, s.amends = "", amends{}
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
func sweepCopies(path string) {
	for _, pattern := range []string{".backup-*", ".restore-*", ".salvage-*"} {
		left, _ := filepath.Glob(filepath.Join(filepath.Dir(path), pattern))
		for _, dir := range left {
			os.RemoveAll(dir)
		}
	}
}

// brokenError says that the file's content is beyond use, in contrast to a disk or
// a permission that fails.
type brokenError struct{ error }

func dsn(path, extra string) string {
	return "file:" + (&url.URL{Path: path}).EscapedPath() +
		"?_foreign_keys=on&_synchronous=FULL&_busy_timeout=1000&_secure_delete=on" + extra
}

func (s *Store) open() error {
	if err := headerVersions(s.path); err != nil {
		return err
	}
	h, err := openHandles(s.path, s.log)
	if err != nil {
		return classify(err)
	}
	s.connection, s.write = h.connection, h.write
	s.files.Store(&h.files)
	look := inspector{s: s}
	for _, step := range []func() error{s.quickCheck, s.migrate, look.schema, look.rows, s.loadState, s.loadHead, func() error { return loadLeaves(s) }, look.recency} {
		if err := step(); err != nil {
			return unusable(err)
		}
	}
	if s.rolledBack != "" { // the first that is written is that: see SetClock
		return nil
	}
	return classify(s.tryWrite())
}

// headerVersions finds a file that says of itself that a newer SQLite wrote it, which SQLite would open
// for reading only, as if the disk took no writes (file format, 1.3.3).
func headerVersions(path string) error {
	f, err := os.Open(path)
	if err != nil {
		return nil // there is none, or whoever opens it next says what is wrong
	}
	defer f.Close()
	var header [20]byte
	if _, err := io.ReadFull(f, header[:]); err != nil {
		return nil
	}
	for _, version := range header[18:] {
		if version != 1 && version != 2 {
			return &brokenError{fmt.Errorf("its header has file format version %d: want 1 or 2", version)}
		}
	}
	return nil
}

// readers opens up to n connections that cannot write.
func readers(path string, n int) (*sql.DB, error) {
	db, err := sql.Open(driver, dsn(path, "&_query_only=on"))
	if err == nil {
		db.SetMaxOpenConns(n)
		db.SetMaxIdleConns(1)
	}
	return db, err
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

// tryWrite makes a durable write. At the start it finds a disk that takes none, where
// the daemon waits for it (D5). What it writes is new each time: SQLite skips what is not.
func (s *Store) tryWrite() error {
	return s.Update(context.Background(), func(tx *Tx) error { tx.put("tried", newLogID()); return tx.err })
}

// moveAside renames the broken file and its companions, and gives the new name. It
// does so before it closes them: SQLite leaves a file that has moved as it is.
func moveAside(s *Store) (string, error) {
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
	s.write = nil
	s.files.Store(&files{})
	return aside, nil
}

// SetClock gives the store its clock. Where the database was set aside, or is older than what it
// once acknowledged, it then writes so: third parties are kept out, and what was limited before
// is void. From then on the witness is written.
func (s *Store) SetClock(c Clock) error {
	s.clock = c
	why, event := SetAside, gateway.DatabaseSetAside
	switch {
	case standsIn(s):
		return s.Update(context.Background(), func(tx *Tx) error { return tx.Record.Append(databaseOffline) })
	case s.setAside != "":
	case s.rolledBack != "":
		why, event = RolledBack, gateway.DatabaseRolledBack
		s.log.Error("the database is older than what it once acknowledged: something took its newest part away; grants with limited uses from before are void, and third parties are kept out until a resident resumes them", "cause", s.rolledBack)
	default:
		s.bearer = newBearer(witnessPath(s.path), s.log)
		return nil
	}
	err := s.Update(context.Background(), func(tx *Tx) error {
		tx.amend(s.amends)
		return tx.distrust(why, event, s.bornWitness.Epoch)
	})
	if err == nil {
		s.bearer = newBearer(witnessPath(s.path), s.log)
		s.bearer.note(witnessOf(s.head, s.small))
	}
	return err
}

// distrust voids what was limited before, keeps third parties out, and begins a new log: numbers
// of this one may have gone up for other events.
func (tx *Tx) distrust(why Quarantine, event gateway.EventType, epoch int) error {
	tx.voidBefore(tx.s.clock.Read(), epoch)
	tx.House.SetQuarantine(why)
	tx.put("accepted", savedHead{Seq: tx.s.head.seq, Hash: hex.EncodeToString(tx.s.head.hash[:])})
	tx.beginLog()
	return tx.Record.Append(gateway.Event{Type: event})
}

// Distrust writes that the database is older than what it once acknowledged, as a head proves that
// this gateway has signed.
func (tx *Tx) Distrust(h gateway.RecordHead) error {
	tx.exec("UPDATE residents SET confirmed = 0") // the list of who was removed may be as old
	return tx.distrust(RolledBack, gateway.DatabaseRolledBack, h.Epoch)
}

// RolledBack is how the start found the database to be older than what it once acknowledged; ""
// says that it did not.
func (s *Store) RolledBack() string { return s.rolledBack }

// SetReporting says whose events go up to their issuer from now on. Use it before the first
// event.
func (s *Store) SetReporting(f func(gateway.IssuerID) bool) { s.reports = f }

// SetAside names where a broken database went at this start; "" if there was none.
func (s *Store) SetAside() string { return s.setAside }

// Close closes the database; it is durable already.
func (s *Store) Close() error {
	s.writer.take()
	defer s.writer.give()
	if s.bearer != nil {
		s.bearer.close()
		s.bearer = nil
	}
	for _, st := range s.stmts {
		st.Close()
	}
	s.stmts = map[string]*sql.Stmt{}
	errs := []error{s.files.Load().close()}
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
