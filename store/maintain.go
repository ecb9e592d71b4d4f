package store

import (
	"context"
	"crypto/rand"
	"database/sql"
	"encoding/base64"
	"encoding/binary"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"net/url"
	"os"
	"path/filepath"

	"gardien/gateway"
)

// Backup writes a copy of the database, consistent as of one instant, to w. It holds
// no keys: PINs in it are hashes under the device key, which stays in the state folder.
func (s *Store) Backup(ctx context.Context, w io.Writer) error {
	if standsIn(s) {
		return errStandIn
	}
	dir, err := os.MkdirTemp(filepath.Dir(s.path), ".backup-*") // 0700
	if err != nil {
		return fmt.Errorf("store: backup: %w", err)
	}
	defer os.RemoveAll(dir)
	name := filepath.Join(dir, FileName)
	db, err := sql.Open(driver, dsn(s.path, "")) // a reader may not write, not even elsewhere
	if err != nil {
		return fmt.Errorf("store: backup: %w", err)
	}
	defer db.Close()
	if _, err := db.ExecContext(ctx, "VACUUM INTO ?", name); err != nil {
		return fmt.Errorf("store: backup: %w", err)
	}
	f, err := os.Open(name)
	if err != nil {
		return fmt.Errorf("store: backup: %w", err)
	}
	defer f.Close()
	if _, err := io.Copy(w, f); err != nil {
		return fmt.Errorf("store: backup: %w", err)
	}
	return nil
}

// ErrNotBackup says that what came is not a backup of this gateway.
var ErrNotBackup = errors.New("not a backup of this gateway")

// MaxBackup bounds what Restore reads: 4 GiB.
const MaxBackup = 4 << 30

// Restore replaces the content by a backup, in one transaction. The epoch rises,
// the log gets a new id, and every limited grant from before is void, for some of
// them may have been used since the backup was made (D7). What a backup must not undo is
// carried over from the present content: see carryOver.
func (s *Store) Restore(ctx context.Context, r io.Reader) error {
	if standsIn(s) {
		return errStandIn
	}
	dir, err := os.MkdirTemp(filepath.Dir(s.path), ".restore-*")
	if err != nil {
		return fmt.Errorf("store: restore: %w", err)
	}
	defer os.RemoveAll(dir)
	name := filepath.Join(dir, FileName)
	f, err := os.OpenFile(name, os.O_CREATE|os.O_WRONLY|os.O_EXCL, 0o600)
	if err != nil {
		return fmt.Errorf("store: restore: %w", err)
	}
	n, err := io.Copy(f, io.LimitReader(r, MaxBackup+1))
	if err = errors.Join(err, f.Close()); err != nil {
		return fmt.Errorf("store: restore: %w", err)
	}
	if n == 0 || n > MaxBackup {
		return fmt.Errorf("store: restore: %w: %d bytes", ErrNotBackup, n)
	}
	staged, err := Open(Opts{Dir: dir, Zone: s.zone, Log: s.log})
	if err != nil {
		return fmt.Errorf("store: restore: %w: %w", ErrNotBackup, err)
	}
	defer staged.Close()
	if staged.setAside != "" {
		return fmt.Errorf("store: restore: %w: the file is broken", ErrNotBackup)
	}
	staged.clock = s.clock
	if mine, theirs := ownerOf(ctx, s.files.Load().read), ownerOf(ctx, staged.files.Load().read); mine != theirs {
		return fmt.Errorf("store: restore: %w: it belongs to %q, this is %q: put that gateway's keys folder into the state folder first",
			ErrNotBackup, theirs, mine)
	}
	return s.replace(ctx, staged)
}

// ownerOf is the gateway that a database belongs to.
func ownerOf(ctx context.Context, db *sql.DB) (id gateway.GatewayID) {
	stateOf(ctx, db, "gateway", &id)
	return id
}

// Belong marks the database as this gateway's and gives a new log its id. A database
// of another gateway is refused: its PINs and grants mean nothing here.
func (s *Store) Belong(id gateway.GatewayID) error {
	return s.Update(context.Background(), func(tx *Tx) error {
		var have gateway.GatewayID
		if tx.get("gateway", &have) && have != id {
			return fmt.Errorf("%s belongs to %s, but the keys beside it are those of %s: put the matching keys folder back", s.path, have, id)
		}
		tx.put("gateway", id)
		var log string
		if !tx.get("log", &log) {
			tx.put("log", newLogID())
		}
		return tx.err
	})
}

func newLogID() string {
	var b [16]byte
	rand.Read(b[:])
	return base64.RawURLEncoding.EncodeToString(b[:])
}

func (s *Store) replace(ctx context.Context, staged *Store) error {
	s.writer.take()
	defer s.writer.give()
	if s.conn == nil {
		return errors.New("store: closed")
	}
	if _, err := staged.conn.ExecContext(ctx, "ATTACH ? AS live", s.path); err != nil {
		return fmt.Errorf("store: restore: %w", err)
	}
	staged.reports, staged.removals = s.reports, s.removals
	err := staged.Update(ctx, func(tx *Tx) error {
		continued, err := continues(s.conn, staged.head)
		if err != nil {
			return err
		}
		var epoch int
		var quarantine Quarantine
		if err := errors.Join(stateOf(ctx, s.conn, "epoch", &epoch), stateOf(ctx, s.conn, "quarantine", &quarantine)); err != nil {
			return err
		}
		tx.carryOver(continued, quarantine)
		tx.voidBefore(s.clock.Read(), epoch)
		tx.newLog(ctx, s)
		tx.Record.Interrupt()
		return tx.Record.Append(gateway.Event{Type: gateway.DatabaseRestored})
	})
	if err == nil {
		_, err = staged.conn.ExecContext(ctx, "DETACH live")
	}
	if err != nil {
		return fmt.Errorf("store: restore: %w", err)
	}
	for _, st := range s.stmts {
		st.Close()
	}
	s.stmts = map[string]*sql.Stmt{}
	s.replaced = true // whatever becomes of the copy: nothing is decided by the memory of before
	if err := copyInto(s.conn, staged.conn); err != nil {
		return fmt.Errorf("store: restore: %w", s.failed(err))
	}
	if err := s.reload(); err != nil {
		return fmt.Errorf("store: restore: %w", s.failed(err))
	}
	if s.bearer != nil {
		s.bearer.note(witnessOf(s.head, s.small))
	}
	s.watchers.wake()
	rosterWritten(s)
	// The WAL holds all of it: a start after a kill would have to go through that.
	if _, err := checkpoint(ctx, s.conn, "TRUNCATE"); err != nil {
		s.log.Info("store: the write-ahead log is moved into the file later", "err", err)
	}
	s.doubt = true
	return nil
}

// continues reports whether the database in use was once where the backup is.
func continues(live *sql.Conn, backup head) (bool, error) {
	if backup.seq == 0 {
		return true, nil
	}
	hash, found, err := hashOf(live, backup.seq)
	return found && hash == hex.EncodeToString(backup.hash[:]), err
}

// carryOver keeps in a backup what it must not undo. Where the database in use did not continue
// it, what was taken away since the backup is not known: third parties wait for a resident, and,
// if the box has no list of who was removed there, residents for the console (R3).
func (tx *Tx) carryOver(continued bool, quarantine Quarantine) {
	for _, q := range carriedOver {
		tx.exec(q)
	}
	switch {
	case quarantine != "":
		tx.House.SetQuarantine(quarantine)
	case !continued:
		tx.House.SetQuarantine(Restored)
	}
	r := tx.s.removals
	if r == nil {
		return
	}
	var of string
	if tx.get("removals", &of); of != r.id {
		tx.exec("UPDATE residents SET confirmed = 0 WHERE id NOT IN (SELECT id FROM live.residents WHERE confirmed)")
	}
	tx.put("removals", r.id)
	tx.applyRemovals()
}

// reload takes into memory what the writer knows of a database that was replaced.
func (s *Store) reload() error {
	if err := errors.Join(s.readBack(), s.loadState(), s.loadHead(), loadLeaves(s)); err != nil {
		return err
	}
	s.replaced = false
	return nil
}

// newLog begins a new log in a restored record, after what has gone up: that is in the
// live database, unless its numbers are those of another record.
func (tx *core) newLog(ctx context.Context, live *Store) {
	var mine, theirs string
	var gone, liveGone sent
	tx.get("log", &mine)
	tx.get("sent", &gone)
	tx.err = errors.Join(tx.err, stateOf(ctx, live.conn, "log", &theirs), stateOf(ctx, live.conn, "sent", &liveGone))
	if mine == theirs {
		gone.Up = max(gone.Up, liveGone.Up)
	}
	tx.s.head.up = max(tx.s.head.up, gone.Up)
	tx.put("sent", sent{gone.Up, gone.Up})
	tx.put("log", newLogID())
}

// upsertGrants takes the versions that are higher in the other database.
const upsertGrants = `INSERT INTO main.grants (iss, jti, ver, status, doors, iat, nbf, exp, uses, used, entry, block, ended, stripped, approval, schedule, sub, holder, kind, maker, digest)
		SELECT iss, jti, ver, status, doors, iat, nbf, exp, uses, used, entry, block, ended, stripped, approval, schedule, sub, holder, kind, maker, digest FROM live.grants
		WHERE true ON CONFLICT (iss, jti) DO UPDATE SET
		ver = excluded.ver, status = excluded.status, doors = excluded.doors, iat = excluded.iat, nbf = excluded.nbf, exp = excluded.exp,
		uses = excluded.uses, approval = excluded.approval, block = excluded.block, ended = excluded.ended, stripped = excluded.stripped, schedule = excluded.schedule,
		sub = excluded.sub, holder = excluded.holder, digest = excluded.digest WHERE excluded.ver > ver`

// carriedOver is what a backup must not undo: the highest version of each grant, uses,
// revocations and blocks, keys that an issuer rotated to or a resident moved to, commands that came,
// pauses, lock-outs, the day's entries and guesses, the floor.
var carriedOver = []string{
	`DELETE FROM pins WHERE EXISTS (SELECT 1 FROM live.grants l JOIN main.grants m ON l.iss = m.iss AND l.jti = m.jti
		WHERE m.iss = pins.iss AND m.jti = pins.jti AND (l.ver > m.ver OR l.ver = m.ver AND (l.block OR l.status = 'revoked')))`,
	`UPDATE grants SET used = max(grants.used, l.used), entry = l.entry, block = CASE WHEN l.ver = grants.ver THEN max(grants.block, l.block) ELSE grants.block END
		FROM live.grants l WHERE l.iss = grants.iss AND l.jti = grants.jti`,
	upsertGrants,
	`INSERT INTO main.issuers (iss, paused, paused_until, heard, manifest, man_ver, man_iat, man_next, man_count, man_digest, man_matched,
			key_ver, key_set, key_file)
		SELECT iss, paused, paused_until, heard, manifest, man_ver, man_iat, man_next, man_count, man_digest, man_matched,
			key_ver, key_set, key_file FROM live.issuers WHERE true ON CONFLICT (iss) DO UPDATE SET
		paused_until = CASE WHEN excluded.paused THEN excluded.paused_until ELSE paused_until END,
		paused = max(paused, excluded.paused), heard = max(heard, excluded.heard), manifest = max(manifest, excluded.manifest),
		key_ver = max(key_ver, excluded.key_ver), key_set = excluded.key_set, key_file = excluded.key_file`,
	`UPDATE main.issuers SET man_ver = l.man_ver, man_iat = l.man_iat, man_next = l.man_next, man_count = l.man_count,
		man_digest = l.man_digest, man_matched = l.man_matched FROM live.issuers l WHERE l.iss = issuers.iss AND l.man_ver > issuers.man_ver`,
	`INSERT OR IGNORE INTO main.commands SELECT * FROM live.commands`,
	`UPDATE residents SET token = l.token, holder = l.holder, ver = l.ver FROM live.residents l WHERE l.id = residents.id AND l.ver > residents.ver`,
	`DELETE FROM items`,
	`DELETE FROM state WHERE key = 'feed'`,
	`INSERT OR REPLACE INTO main.state (key, value) SELECT key, value FROM live.state WHERE key IN ('cloud', 'paused')`,
	`INSERT OR REPLACE INTO main.state (key, value) SELECT key, value FROM live.state WHERE key LIKE 'throttle/%' OR key LIKE 'entries/%' OR key LIKE 'guesses/%'`,
	`INSERT INTO main.state (key, value) SELECT key, value FROM live.state WHERE key = 'floor' ON CONFLICT (key) DO UPDATE SET value = excluded.value WHERE excluded.value > value`,
}

// Salvage reads the residents of a database that was set aside, as far as it can be
// read, into this one, so that they still open (D4). It gives how many it found.
func (s *Store) Salvage() (n int) {
	if s.setAside == "" {
		return 0
	}
	defer func() { rosterWritten(s) }()
	// A copy is read, with its WAL: SQLite might change the original. Beside an empty file
	// it would delete the WAL, and a file that was cut it does not read: zeros stand in.
	dir, err := os.MkdirTemp(filepath.Dir(s.path), ".salvage-*")
	if err != nil {
		return 0
	}
	defer os.RemoveAll(dir)
	name := filepath.Join(dir, FileName)
	copyFile(name, s.setAside) // as much as can be read
	copyFile(name+"-wal", s.setAside+"-wal")
	if os.Truncate(name, headerLength(name)) != nil {
		return 0
	}
	old, err := sql.Open(driver, "file:"+(&url.URL{Path: name}).EscapedPath())
	if err != nil {
		return 0
	}
	defer old.Close()
	for _, c := range residentsOf(old, s.dir) {
		if k := s.removals; k != nil {
			if k.has(k.resident(c.ID, c.Ver)) {
				continue
			}
			c.Unconfirmed = c.Unconfirmed || c.removals != k.id
		}
		if s.Update(context.Background(), func(tx *Tx) error { return tx.Residents.Put(c.Resident, c.token) }) == nil {
			n++
		}
	}
	return n
}

// copyFile copies what can be read of a file, and makes an empty one where there is none.
func copyFile(to, from string) {
	w, err := os.OpenFile(to, os.O_CREATE|os.O_WRONLY|os.O_EXCL, 0o600)
	if err != nil {
		return
	}
	defer w.Close()
	r, err := os.Open(from)
	if err != nil {
		return
	}
	defer r.Close()
	io.Copy(w, r)
}

// headerLength is how long a database file is by its header, and at least as long as it is.
func headerLength(name string) int64 {
	length := max(pageSize, size(name))
	f, err := os.Open(name)
	if err != nil {
		return length
	}
	defer f.Close()
	var header [32]byte
	if _, err := io.ReadFull(f, header[:]); err == nil {
		length = max(length, pageSize*int64(binary.BigEndian.Uint32(header[28:])))
	}
	return length
}

// Info is what status tells of the store.
type Info struct {
	Log      string `json:"log"`
	Epoch    int    `json:"epoch"`
	SetAside string `json:"set_aside,omitempty"`
	// Paused is the pause of all third parties; nil: there is none. It is apart from the quarantine.
	Paused *gateway.Pause `json:"-"`
	// Quarantine says what happened to the database that keeps third parties out.
	Quarantine Quarantine `json:"-"`
	// Degraded says why the disk takes no writes; "": it does.
	Degraded string `json:"-"`
}

// About tells what status shows of the store.
func (s *Store) About(ctx context.Context) (i Info, err error) {
	i.SetAside = s.setAside
	if in := s.standIn.Load(); in != nil {
		i.Degraded = in.why
	}
	err = s.View(ctx, func(tx *Tx) error {
		tx.get("log", &i.Log)
		tx.get("epoch", &i.Epoch)
		i.Quarantine = tx.House.Quarantine()
		i.Paused = tx.House.Paused()
		return nil
	})
	return i, err
}
