package store

import (
	"context"
	"database/sql"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"gardien/gateway"
	"log/slog"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"time"
)

// A card that has gone read-only, is full or fails is the commonest death of a Pi. Residents must
// still come in (D5). So a database in memory stands in for the one on the disk: it has the rows
// that are alive, and none of the record. What is decided meanwhile is kept there and is not
// durable; whoever decides asks [House.Degraded]. When the disk takes writes again, what the
// stand-in has goes into the database, its events marked as late, and the stand-in goes.
//
// It lies in the runtime folder, so that a crash of the program loses nothing of it. A power cut
// does.

const (
	standInFolder = "degraded"
	// mostCopied bounds what is copied into memory to be read: a database without its shared
	// memory on a disk that takes none.
	mostCopied = 32 << 20
	// maxLate is how many events wait in memory.
	maxLate = 2000
)

var errStandIn = errors.New("store: the disk takes no writes, so that there is no backup and no restore: check df, dmesg, and the card")

// copied are the tables of which the stand-in has all rows.
var copied = []string{"state", "grants", "pins", "residents", "issuers", "commands"}

// handles is what a store has open of a database.
type handles struct {
	connection
	write *sql.DB
	files files
}

// files are the readers.
type files struct {
	read   *sql.DB // short looks: decisions, the feed, status, who asks
	browse *sql.DB // lists and the record: who reads those waits for others who do, and for nobody else (A11)
}

func (f files) close() (err error) {
	for _, db := range []*sql.DB{f.read, f.browse} {
		if db != nil {
			err = errors.Join(err, db.Close())
		}
	}
	return err
}

// standIn is in place while the disk takes no writes.
type standIn struct {
	why      string
	parked   *handles  // of the database; nil where this process never had it open
	removals *removals // the database's
}

// degrade puts a stand-in in the place of a database whose disk takes no writes. The caller has the
// writer's turn.
func degrade(s *Store, cause error) error {
	if s.runtime == "" || standsIn(s) || !diskTrouble(cause) {
		return cause
	}
	h, err := newStandIn(filepath.Join(s.runtime, standInFolder), func(h *handles, _ string) error { return copyAlive(s.conn, h.path, "main", "standin", "standin") }, s.log)
	if err != nil {
		return errors.Join(cause, fmt.Errorf("nothing stands in for it: %w", err))
	}
	in := &standIn{why: cause.Error(), parked: &handles{s.connection, s.write, *s.files.Load()}, removals: s.removals}
	if err := use(s, h); err != nil {
		return errors.Join(cause, err, use(s, in.parked))
	}
	if s.bearer != nil { // what it speaks of is on the disk
		s.bearer.close()
		s.bearer = nil
	}
	s.standIn.Store(in)
	select { // the Keeper tries to mend it
	case s.grown <- struct{}{}:
	default:
	}
	if s.removals != nil {
		gone, err := s.removals.inMemory(filepath.Join(s.runtime, standInFolder, RemovedName))
		if err != nil {
			s.log.Error("who is removed meanwhile may come back with a power cut", "err", err)
		} else {
			s.removals = gone
		}
	}
	s.log.Error("the disk takes no writes: residents still come in, nobody else does; what happens is kept in memory until it does (check df, dmesg, and the card)", "cause", cause)
	lost := s.lost
	if s.lost = nil; lost == nil {
		return nil
	}
	return commitOnce(s, true, func(tx *Tx) error { return tx.Record.AppendAt(*lost, databaseOffline) })
}

var (
	databaseOffline = gateway.Event{Type: gateway.DeviceOffline, Device: "database"}
	databaseOnline  = gateway.Event{Type: gateway.DeviceOnline, Device: "database"}
)

// use takes handles of a database as the store's.
func use(s *Store, h *handles) error {
	s.connection, s.write = h.connection, h.write
	s.files.Store(&h.files)
	return errors.Join(s.loadState(), s.loadHead(), loadLeaves(s))
}

// newStandIn makes a database in a folder of the memory, and fills it.
func newStandIn(dir string, fill func(h *handles, dir string) error, log *slog.Logger) (_ *handles, err error) {
	if err := errors.Join(os.RemoveAll(dir), os.MkdirAll(dir, 0o700)); err != nil {
		return nil, err
	}
	h, err := openHandles(filepath.Join(dir, FileName), log)
	if err != nil {
		return nil, err
	}
	defer func() {
		if err != nil {
			h.close()
		}
	}()
	if err := h.migrate(); err != nil {
		return nil, err
	}
	return h, fill(h, dir)
}

// fillFrom fills a stand-in from a database that no connection of this process has open.
func fillFrom(of string) func(h *handles, dir string) error {
	return func(h *handles, dir string) error {
		source, err := readable(of, dir)
		if err == nil {
			err = copyAlive(h.conn, source, "live", "main", "live")
		}
		copies, _ := filepath.Glob(filepath.Join(dir, "copy.db*")) // they would stay in memory
		for _, name := range copies {
			os.Remove(name)
		}
		return err
	}
}

// readable gives a name by which SQLite reads a database on a disk that takes no writes: as it is
// where its shared memory is there; else a copy with its write-ahead log, if that is small; else the
// file alone, if there is nothing beside it (measured on SQLite 3.40).
func readable(of, dir string) (name string, err error) {
	asURI := func(path, mode string) string { return "file:" + (&url.URL{Path: path}).EscapedPath() + mode }
	wal := size(of + "-wal")
	switch {
	case size(of) == 0:
		return "", errors.New("there is no database on the disk")
	case size(of+"-shm") > 0:
		return asURI(of, "?mode=ro"), nil
	case size(of)+wal <= mostCopied:
		to := filepath.Join(dir, "copy.db")
		copyFile(to, of)
		copyFile(to+"-wal", of+"-wal")
		return asURI(to, ""), nil
	case wal == 0:
		return asURI(of, "?immutable=1"), nil
	}
	return "", fmt.Errorf("%s and its write-ahead log are too large to be read from memory (%d bytes, at most %d)", of, size(of)+wal, mostCopied)
}

// copyAlive attaches a database to a connection, and copies what is alive from one to the other.
func copyAlive(conn *sql.Conn, attached, from, to, as string) error {
	ctx := context.Background()
	if _, err := conn.ExecContext(ctx, "ATTACH ? AS "+as, attached); err != nil {
		return err
	}
	defer conn.ExecContext(ctx, "DETACH "+as)
	var theirs, ours int
	if err := errors.Join(conn.QueryRowContext(ctx, "PRAGMA "+from+".user_version").Scan(&theirs), conn.QueryRowContext(ctx, "PRAGMA "+to+".user_version").Scan(&ours)); err != nil {
		return err
	}
	if theirs != ours {
		return fmt.Errorf("the database on the disk has schema %d, and this program's is %d", theirs, ours)
	}
	if _, err := conn.ExecContext(ctx, "BEGIN"); err != nil {
		return err
	}
	err := copyTables(conn, from, to)
	if err == nil {
		_, err = conn.ExecContext(ctx, "COMMIT")
	}
	if err != nil {
		conn.ExecContext(ctx, "ROLLBACK")
	}
	return err
}

func copyTables(conn *sql.Conn, from, to string) error {
	ctx := context.Background()
	for _, table := range copied {
		list, err := columnsOf(conn, table)
		if err == nil {
			_, err = conn.ExecContext(ctx, fmt.Sprintf("INSERT INTO %s.%s (%s) SELECT %[3]s FROM %[4]s.%[2]s", to, table, strings.Join(list, ", "), from))
		}
		if err != nil {
			return err
		}
	}
	// The record goes on where the disk's ends.
	var seq int64
	hash := make([]byte, 32)
	err := conn.QueryRowContext(ctx, "SELECT seq, hash FROM "+from+".events ORDER BY seq DESC LIMIT 1").Scan(&seq, &hash)
	if err != nil && !errors.Is(err, sql.ErrNoRows) {
		return err
	}
	var saved savedHead
	var b []byte
	if conn.QueryRowContext(ctx, "SELECT value FROM "+from+".state WHERE key = 'head'").Scan(&b) == nil {
		if err := json.Unmarshal(b, &saved); err != nil {
			return fmt.Errorf("state \"head\": %w", err)
		}
	}
	saved.Seq, saved.Hash = seq, hex.EncodeToString(hash)
	for key, v := range map[string]any{"anchor": anchor{seq + 1, saved.Hash}, "head": saved} {
		if b, err = json.Marshal(v); err == nil {
			_, err = conn.ExecContext(ctx, "INSERT OR REPLACE INTO "+to+".state (key, value) VALUES (?, ?)", key, b)
		}
		if err != nil {
			return err
		}
	}
	return nil
}

// openHandles opens a database, and makes it where there is none.
func openHandles(path string, log *slog.Logger) (h *handles, err error) {
	// SQLite gives the WAL and the shared memory the mode of this file.
	f, err := os.OpenFile(path, os.O_CREATE|os.O_RDWR, 0o600)
	if err != nil {
		return nil, err
	}
	if fi, err := f.Stat(); err == nil && fi.Mode().Perm()&0o077 != 0 {
		f.Close()
		return nil, fmt.Errorf("%s has mode %04o: chmod 600 it, for it holds who comes when", path, fi.Mode().Perm())
	}
	if err := f.Close(); err != nil {
		return nil, err
	}
	h = &handles{connection: connection{path: path, log: log, stmts: map[string]*sql.Stmt{}, doubt: true}}
	if h.write, err = sql.Open(driver, dsn(path, "&_txlock=immediate")); err != nil {
		return nil, err
	}
	h.write.SetMaxOpenConns(1)
	if h.conn, err = h.write.Conn(context.Background()); err == nil {
		err = errors.Join(h.setPageSize(), h.readBack())
	}
	if err == nil {
		if h.files.read, err = readers(path, 4); err == nil {
			h.files.browse, err = readers(path, 2)
		}
	}
	if err != nil {
		h.close()
		return nil, err
	}
	return h, nil
}

func (h *handles) close() error {
	for _, st := range h.stmts {
		st.Close()
	}
	h.stmts = map[string]*sql.Stmt{}
	err := h.files.close()
	if h.conn != nil {
		err = errors.Join(err, h.conn.Close())
	}
	if h.write != nil {
		err = errors.Join(err, h.write.Close())
	}
	return err
}

// healEvery is how often it is tried whether the disk takes writes again.
const healEvery = 5 * time.Second

// heal puts the database back in its place, with what happened meanwhile, if its disk takes writes.
func heal(ctx context.Context, s *Store) error {
	if err := probe(s.dir); err != nil {
		return err
	}
	fresh, err := Open(Opts{Dir: s.dir, Zone: s.zone, Log: s.log, Known: true})
	if err != nil {
		return err
	}
	fresh.reports = s.reports
	if err := fresh.SetClock(s.clock); err != nil {
		return errors.Join(err, fresh.Close())
	}
	s.writer.take()
	defer s.writer.give()
	if err := giveBack(ctx, fresh, s.path, s.removals); err != nil {
		return errors.Join(err, fresh.Close())
	}
	in, memory := s.standIn.Load(), &handles{s.connection, s.write, *s.files.Load()}
	if err := use(s, &handles{fresh.connection, fresh.write, *fresh.files.Load()}); err != nil {
		return err
	}
	s.bearer, s.removals, s.lost = fresh.bearer, fresh.removals, nil
	s.standIn.Store(nil)
	s.vitals.sick.Store(false)
	if in.parked != nil {
		in.parked.close()
	}
	memory.close()
	os.RemoveAll(filepath.Join(s.runtime, standInFolder))
	rosterWritten(s)
	s.watchers.wake()
	s.log.Info("the disk takes writes again: what happened meanwhile is in the database")
	return nil
}

// probe makes a durable write beside the database.
func probe(dir string) error {
	f, err := os.CreateTemp(dir, ".probe-*")
	if err != nil {
		return err
	}
	_, err = f.Write(make([]byte, pageSize))
	return errors.Join(err, f.Sync(), f.Close(), os.Remove(f.Name()))
}

// giveBack writes into a database what a stand-in has, and what was taken away meanwhile.
func giveBack(ctx context.Context, fresh *Store, standIn string, gone *removals) error {
	if gone != nil {
		real, err := openRemovals(filepath.Join(fresh.dir, RemovedName), gone.mac)
		if err != nil {
			return err
		}
		var list []removal
		for hash, upTo := range gone.upTo {
			list = append(list, removal{hash, upTo})
		}
		if err := real.add(list); err != nil {
			return err
		}
		fresh.removals = real
	}
	if _, err := fresh.conn.ExecContext(ctx, "ATTACH ? AS live", standIn); err != nil {
		return err
	}
	err := fresh.Update(ctx, func(tx *Tx) error {
		tx.noteOpen()
		for _, q := range givenBack {
			tx.exec(q)
		}
		if fresh.removals != nil {
			tx.put("removals", fresh.removals.id)
		}
		tx.applyRemovals()
		tx.appendLate()
		return tx.Record.Append(databaseOnline)
	})
	if err == nil {
		_, err = fresh.conn.ExecContext(ctx, "DETACH live")
	}
	return err
}

// givenBack makes the tables what they are in the stand-in, which had all rows, and is newer. The
// place in the feed is not taken over: the cloud sends again.
var givenBack = []string{
	`DELETE FROM pins`,
	`UPDATE grants SET used = max(grants.used, l.used), entry = l.entry, ended = max(grants.ended, l.ended), stripped = max(grants.stripped, l.stripped),
		block = CASE WHEN l.ver = grants.ver THEN max(grants.block, l.block) ELSE grants.block END
		FROM live.grants l WHERE l.iss = grants.iss AND l.jti = grants.jti`,
	upsertGrants,
	`INSERT INTO pins (id, door, mac, length, iss, jti, owner, duress) SELECT id, door, mac, length, iss, jti, owner, duress FROM live.pins`,
	`DELETE FROM residents`,
	`INSERT INTO residents (id, name, token, paired, confirmed, role, holder, ver) SELECT id, name, token, paired, confirmed, role, holder, ver FROM live.residents`,
	`INSERT OR REPLACE INTO main.issuers (iss, paused, paused_until, heard, manifest, man_ver, man_iat, man_next, man_count, man_digest, man_matched,
			key_ver, key_set, key_file)
		SELECT iss, paused, paused_until, heard, manifest, man_ver, man_iat, man_next, man_count, man_digest, man_matched,
			key_ver, key_set, key_file FROM live.issuers`,
	`INSERT OR IGNORE INTO main.commands SELECT * FROM live.commands`,
	`DELETE FROM items`,
	`DELETE FROM state WHERE key = 'feed' OR key = 'paused' OR key LIKE 'throttle/%' OR key LIKE 'entries/%' OR key LIKE 'guesses/%' OR key LIKE 'open/%'`,
	`INSERT OR REPLACE INTO main.state (key, value) SELECT key, value FROM live.state WHERE key IN ('paused', 'quarantine', 'clock')
		OR key LIKE 'throttle/%' OR key LIKE 'entries/%' OR key LIKE 'guesses/%' OR key LIKE 'open/%'`,
	`INSERT INTO main.state (key, value) SELECT key, value FROM live.state WHERE key = 'floor' ON CONFLICT (key) DO UPDATE SET value = excluded.value WHERE excluded.value > value`,
}

// openStandIn begins with a stand-in, where the disk takes no writes at the start. One that a
// process of before has left in this boot knows more than the disk.
func openStandIn(s *Store, cause error) error {
	dir := filepath.Join(s.runtime, standInFolder)
	in := &standIn{why: cause.Error()}
	if s.conn != nil {
		in.parked = &handles{s.connection, s.write, *s.files.Load()}
	}
	var h *handles
	var err error
	if size(filepath.Join(dir, FileName)) > 0 {
		h, err = leftStandIn(dir, s.log)
	} else {
		h, err = newStandIn(dir, fillFrom(filepath.Join(s.dir, FileName)), s.log)
	}
	if err == nil {
		err = use(s, h)
	}
	if err != nil {
		return errors.Join(cause, fmt.Errorf("nothing stands in for it: %w", err))
	}
	s.standIn.Store(in)
	s.setAside = ""
	s.log.Error("the disk takes no writes: residents come in, nobody else does; what happens is kept in memory until it does (check df, dmesg, and the card)", "cause", cause)
	return nil
}

// leftStandIn opens a stand-in that a process of before has left, which may have been an older
// program's.
func leftStandIn(dir string, log *slog.Logger) (*handles, error) {
	h, err := openHandles(filepath.Join(dir, FileName), log)
	if err == nil {
		if err = h.migrate(); err != nil {
			h.close()
		}
	}
	return h, err
}

// standsIn reports whether there is a stand-in.
func standsIn(s *Store) bool { return s.standIn.Load() != nil }

// mend tries to heal, and keeps the events that wait in bounds. It reports whether there is no
// stand-in any more.
func mend(ctx context.Context, s *Store) (done bool) {
	if err := heal(ctx, s); err != nil && ctx.Err() == nil {
		s.log.Debug("store: the disk takes no writes yet", "err", err)
		err = s.Update(ctx, func(tx *Tx) error {
			if cut := tx.s.head.seq - maxLate; tx.exec("DELETE FROM events WHERE seq < ?", cut) > 0 {
				var hash []byte
				tx.row("SELECT hash FROM events WHERE seq = ?", []any{cut}, &hash)
				tx.put("anchor", anchor{cut + 1, hex.EncodeToString(hash)})
				tx.exec("DELETE FROM events WHERE seq = ?", cut)
			}
			return tx.err
		})
		if err != nil {
			s.log.Warn("store: events that wait are not kept in bounds", "err", err)
		}
	}
	return !standsIn(s)
}
