package store

import (
	"bytes"
	"context"
	"crypto/hmac"
	"crypto/rand"
	"crypto/sha256"
	"database/sql"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"time"

	"gardien/gateway"
)

// head is the end of the chain.
type head struct {
	seq  int64
	hash [32]byte
	up   int64 // the newest number of what goes up to issuers
	n    int64 // durable commits so far
	leaves
}

// savedHead is the head as of the last durable commit: a record whose tail was
// cut off ends before it.
type savedHead struct {
	Seq  int64  `json:"seq"`
	Hash string `json:"hash"`
	N    int64  `json:"n"`
}

// anchor is where the kept part of the chain begins.
type anchor struct {
	First int64  `json:"first"`
	Prev  string `json:"prev"`
}

var origin = anchor{1, strings.Repeat("0", 64)}

// Record is the end of the hash-chained record.
type Record struct{ *core }

// canonical is an Event in the order of its member names, so that encoding/json
// writes RFC 8785 canonical JSON: every value is an integer or ASCII without
// characters to escape (TestCanonical holds it against another implementation).
type canonical struct {
	At       string             `json:"at"`
	Attempt  gateway.AttemptID  `json:"attempt,omitempty"`
	Boot     string             `json:"boot"`
	Clock    gateway.ClockState `json:"clock"`
	Count    int                `json:"count,omitempty"`
	Device   string             `json:"device,omitempty"`
	Door     gateway.DoorID     `json:"door,omitempty"`
	Episode  gateway.AttemptID  `json:"episode,omitempty"`
	Grant    string             `json:"grant,omitempty"`
	Issuer   gateway.IssuerID   `json:"issuer,omitempty"`
	Late     bool               `json:"late,omitempty"`
	Prev     string             `json:"prev,omitempty"` // absent as stored: it is the row before
	Reader   gateway.ReaderID   `json:"reader,omitempty"`
	Reason   gateway.Reason     `json:"reason,omitempty"`
	Resident string             `json:"resident,omitempty"` // commitment
	Seq      int64              `json:"seq"`
	Sub      string             `json:"sub,omitempty"` // commitment
	Type     gateway.EventType  `json:"type"`
}

func (c canonical) event() gateway.Event {
	return gateway.Event{Seq: c.Seq, At: c.At, Clock: c.Clock, Boot: c.Boot, Type: c.Type, Door: c.Door, Reader: c.Reader,
		Issuer: c.Issuer, Grant: c.Grant, Attempt: c.Attempt, Episode: c.Episode, Reason: c.Reason, Device: c.Device, Count: c.Count, Late: c.Late}
}

// chain gives the hash of the event that follows prev, and the event as it is stored.
func (c canonical) chain(prev [32]byte) (body []byte, hash [32]byte, err error) {
	c.Prev = hex.EncodeToString(prev[:])
	b, err := json.Marshal(c)
	hash = sha256.Sum256(append(prev[:], b...))
	return bytes.Replace(b, []byte(`"prev":"`+c.Prev+`",`), nil, 1), hash, err
}

// commit gives a commitment to a personal value: hex HMAC-SHA-256(salt, value).
func commitment(salt []byte, value string) string {
	m := hmac.New(sha256.New, salt)
	m.Write([]byte(value))
	return hex.EncodeToString(m.Sum(nil))
}

func salted(value string) (salt []byte, commit string) {
	if value == "" {
		return nil, ""
	}
	salt = make([]byte, 16)
	rand.Read(salt)
	return salt, commitment(salt, value)
}

// Append writes events at the end of the record, at the store's clock. An entry
// is open from its access_granted until the door's strike_secured or lock_locked, or
// until the hardware has failed it:
// what a restart finds open was interrupted (D1).
func (tx Record) Append(events ...gateway.Event) error {
	r := tx.s.clock.Read()
	for _, e := range events {
		tx.append(r, e)
	}
	return tx.err
}

// AppendAt is Append at a reading that was taken already.
func (tx Record) AppendAt(r gateway.Reading, events ...gateway.Event) error {
	for _, e := range events {
		tx.append(r, e)
	}
	return tx.err
}

func (tx *core) append(r gateway.Reading, e gateway.Event) {
	if e.Episode == "" {
		e.Episode = tx.episodeOf(e)
	}
	seq := tx.s.head.seq + 1
	if tx.write(r, e); tx.err == nil {
		tx.trackEntry(seq, e)
	}
}

// write writes an event at the end of the record.
func (tx *core) write(r gateway.Reading, e gateway.Event) {
	at := r.Wall.In(tx.s.zone)
	c := canonical{At: at.Format(gateway.TimeFormat), Attempt: e.Attempt, Boot: r.Boot, Clock: r.State, Count: e.Count,
		Device: e.Device, Door: e.Door, Episode: e.Episode, Grant: e.Grant, Issuer: e.Issuer, Late: e.Late, Reader: e.Reader, Reason: e.Reason,
		Seq: tx.s.head.seq + 1, Type: e.Type}
	var subSalt, resSalt []byte
	subSalt, c.Sub = salted(e.Sub)
	resSalt, c.Resident = salted(string(e.Resident))
	body, hash, err := c.chain(tx.s.head.hash)
	if err != nil {
		tx.fail(err)
		return
	}
	next := tx.s.head
	next.seq, next.hash = c.Seq, hash
	var up any
	if tx.s.reports(e.Issuer) && !standsIn(tx.s) { // what a stand-in has goes up when it is in the database
		next.up++
		up = next.up
	}
	tx.exec("INSERT INTO events (seq, at, body, hash, sub, sub_salt, resident, resident_salt, up) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?)",
		c.Seq, at.UnixMilli(), string(body), hash[:], orNull(e.Sub), subSalt, orNull(string(e.Resident)), resSalt, up)
	if tx.err == nil {
		tx.s.head = next
	}
}

// appendLate writes the events of a stand-in, attached as live.
func (tx *core) appendLate() error {
	type late struct {
		r gateway.Reading
		e gateway.Event
	}
	var list []late
	tx.each("SELECT body, sub, resident FROM live.events ORDER BY seq", nil, func(rows *sql.Rows) error {
		var body string
		var sub, resident sql.NullString
		var c canonical
		err := rows.Scan(&body, &sub, &resident)
		if err == nil {
			err = json.Unmarshal([]byte(body), &c)
		}
		if err != nil {
			return err
		}
		at, err := time.Parse(gateway.TimeFormat, c.At)
		e := c.event()
		e.Sub, e.Resident, e.Late = sub.String, gateway.ResidentID(resident.String), true
		list = append(list, late{gateway.Reading{Wall: at, State: c.Clock, Boot: c.Boot}, e})
		return err
	})
	for _, l := range list {
		if tx.write(l.r, l.e); l.e.Type == gateway.AccessGranted {
			tx.noteEntry(l.e.Attempt, tx.s.head.seq)
		}
	}
	return tx.err
}

// saveHead notes where a durable commit ends.
func (tx *core) saveHead() {
	tx.s.head.n++
	tx.put("head", savedHead{tx.s.head.seq, hex.EncodeToString(tx.s.head.hash[:]), tx.s.head.n})
}

// loadHead finds the end of the chain. Where the saved head is not in the record, a
// tail was cut off or written anew: the record goes on from the saved head, so that
// Verify finds it still (L1).
func (s *Store) loadHead() error {
	var hash []byte
	var up sql.NullInt64
	var gone sent
	if err := s.conn.QueryRowContext(context.Background(), "SELECT max(up) FROM events WHERE up IS NOT NULL").Scan(&up); err != nil {
		return err
	}
	if err := stateOf(context.Background(), s.conn, "sent", &gone); err != nil {
		return err
	}
	defer func() {
		s.head.up = max(up.Int64, gone.Up)
		s.upAtOpen, s.asked = s.head.up, false
		s.vitals.newest.Store(s.head.seq)
	}()
	var saved savedHead
	err := s.conn.QueryRowContext(context.Background(), "SELECT seq, hash FROM events ORDER BY seq DESC LIMIT 1").Scan(&s.head.seq, &hash)
	if errors.Is(err, sql.ErrNoRows) {
		s.head, err = head{}, nil
	}
	copy(s.head.hash[:], hash)
	if err == nil {
		err = stateOf(context.Background(), s.conn, "head", &saved)
	}
	s.head.n = saved.N
	if err != nil || saved.Seq == 0 {
		return err
	}
	have, found, err := hashOf(s.conn, saved.Seq)
	if err == nil && (!found || have != saved.Hash) {
		s.head = head{seq: max(saved.Seq, s.head.seq), hash: unhex(saved.Hash), n: saved.N}
	}
	return err
}

// hashOf gives the hash of an event.
func hashOf(conn *sql.Conn, seq int64) (text string, found bool, err error) {
	var hash []byte
	err = conn.QueryRowContext(context.Background(), "SELECT hash FROM events WHERE seq = ?", seq).Scan(&hash)
	if errors.Is(err, sql.ErrNoRows) {
		return "", false, nil
	}
	return hex.EncodeToString(hash), err == nil, err
}

const eventColumns = "seq, at, body, hash, sub, sub_salt, resident, resident_salt"

// eventRow scans eventColumns.
type eventRow struct {
	seq, at          int64
	body             string
	hash             []byte
	sub, resident    sql.NullString
	subSalt, resSalt []byte
}

func (r *eventRow) dest() []any {
	return []any{&r.seq, &r.at, &r.body, &r.hash, &r.sub, &r.subSalt, &r.resident, &r.resSalt}
}

// Events gives at most limit events after a number, in order.
func (tx Record) Events(after int64, limit int) []gateway.Event {
	events := []gateway.Event{}
	first := origin
	tx.get("anchor", &first)
	prev := first.Prev // what stands before the first that is kept
	// One row more at the front: its hash is the first event's prev.
	tx.each("SELECT "+eventColumns+" FROM events WHERE seq >= ? ORDER BY seq LIMIT ?", []any{after, limit + 1}, func(rows *sql.Rows) error {
		var row eventRow
		var c canonical
		if err := rows.Scan(row.dest()...); err != nil {
			return err
		}
		hash := hex.EncodeToString(row.hash)
		if row.seq > after && len(events) < limit {
			if err := json.Unmarshal([]byte(row.body), &c); err != nil {
				return err
			}
			e := c.event()
			e.Sub, e.Resident = row.sub.String, gateway.ResidentID(row.resident.String)
			e.Prev, e.Hash = prev, hash
			events = append(events, e)
		}
		prev = hash
		return nil
	})
	return events
}

// Events gives at most limit events after a number, in order.
func (s *Store) Events(ctx context.Context, after int64, limit int) (list []gateway.Event, err error) {
	err = s.Browse(ctx, func(tx *Tx) error { list = tx.Record.Events(after, limit); return nil })
	return list, err
}

// Verification is the verdict on the record.
type Verification struct {
	OK       bool   `json:"ok"`
	Events   int64  `json:"events"`
	FirstBad int64  `json:"first_bad,omitempty"`
	Problem  string `json:"problem,omitempty"`
}

// Verify walks the whole record: numbers without gaps, each hash over the one
// before, each personal value behind its commitment, the end not cut off (L1).
func (s *Store) Verify(ctx context.Context) (Verification, error) {
	conn, err := s.files.Load().browse.Conn(ctx)
	if err != nil {
		return Verification{}, fmt.Errorf("store: verify: %w", err)
	}
	defer conn.Close()
	tx, at, ends, err := snapshot(ctx, s, conn)
	if err != nil {
		return Verification{}, fmt.Errorf("store: verify: %w", err)
	}
	defer tx.Rollback()
	rows, err := tx.QueryContext(ctx, "SELECT "+eventColumns+" FROM events ORDER BY seq")
	if err != nil {
		return Verification{}, fmt.Errorf("store: verify: %w", err)
	}
	defer rows.Close()
	v := Verification{}
	next, prev := at.First, unhex(at.Prev)
	for rows.Next() {
		var row eventRow
		if err := rows.Scan(row.dest()...); err != nil {
			return v, fmt.Errorf("store: verify: %w", err)
		}
		problem := row.check(next, prev)
		for _, end := range ends {
			if row.seq == end.Seq && hex.EncodeToString(row.hash) != end.Hash {
				problem = "the head of the record is another"
			}
		}
		if problem != "" {
			v.FirstBad, v.Problem = next, problem
			return v, nil
		}
		copy(prev[:], row.hash)
		next++
		v.Events++
	}
	if err := rows.Err(); err != nil {
		return v, fmt.Errorf("store: verify: %w", err)
	}
	if next <= max(ends[0].Seq, ends[1].Seq) {
		v.FirstBad, v.Problem = next, "the end of the record is missing"
		return v, nil
	}
	v.OK = true
	return v, nil
}

// snapshot begins to read the record as of one instant: where it begins, and where it
// ends by the database's word and by the writer's.
func snapshot(ctx context.Context, s *Store, conn *sql.Conn) (tx *sql.Tx, at anchor, ends [2]savedHead, err error) {
	s.writer.take() // no commit comes between the writer's word and the first read
	defer s.writer.give()
	ends[1] = savedHead{Seq: s.head.seq, Hash: hex.EncodeToString(s.head.hash[:])}
	at = origin
	if tx, err = conn.BeginTx(ctx, nil); err != nil {
		return nil, at, ends, err
	}
	if err = errors.Join(stateOf(ctx, tx, "anchor", &at), stateOf(ctx, tx, "head", &ends[0])); err != nil {
		tx.Rollback()
	}
	return tx, at, ends, err
}

// check holds one row against its place in the chain.
func (r *eventRow) check(seq int64, prev [32]byte) string {
	var c canonical
	if r.seq != seq {
		return "an event is missing before this one"
	}
	if json.Unmarshal([]byte(r.body), &c) != nil || c.Seq != seq {
		return "the event is not what was written"
	}
	if b, err := json.Marshal(c); err != nil || string(b) != r.body {
		return "the event is not what was written"
	}
	if at, err := time.Parse(gateway.TimeFormat, c.At); err != nil || at.UnixMilli() != r.at {
		return "the event's instant is another"
	}
	if _, hash, err := c.chain(prev); err != nil || !bytes.Equal(hash[:], r.hash) {
		return "the hash does not follow"
	}
	if r.sub.Valid && commitment(r.subSalt, r.sub.String) != c.Sub ||
		r.resident.Valid && commitment(r.resSalt, r.resident.String) != c.Resident {
		return "a personal value is not the one that was recorded"
	}
	return ""
}

func unhex(s string) (b [32]byte) {
	hex.Decode(b[:], []byte(s))
	return b
}

// Retain strips what ended before the cutoff: events go from the front of the
// chain, which verifies from a new anchor; grants lose what is personal, are over for
// good, and keep their version and uses. The newest event always stays (L2, L7).
func (s *Store) Retain(ctx context.Context, cutoff time.Time) (events int64, err error) {
	err = s.Update(ctx, func(tx *Tx) error {
		var last int64
		var hash []byte
		if tx.row("SELECT seq, hash FROM events WHERE at < ? AND seq < ? ORDER BY seq DESC LIMIT 1",
			[]any{cutoff.UnixMilli(), s.head.seq}, &last, &hash) {
			// What came before an event that is kept for its age may be younger by a
			// clock that stepped; the chain has no holes, so it goes too.
			var up sql.NullInt64
			tx.row("SELECT max(up) FROM events WHERE seq <= ? AND up IS NOT NULL", []any{last}, &up)
			tx.abandon(up.Int64)
			events = tx.exec("DELETE FROM events WHERE seq <= ?", last)
			tx.exec("DELETE FROM entries WHERE seq <= ?", last)
			tx.put("anchor", anchor{last + 1, hex.EncodeToString(hash)})
		}
		tx.exec("DELETE FROM refused WHERE exp < ?", cutoff.Unix())
		tx.exec("DELETE FROM commands WHERE exp < ?", cutoff.Unix())
		tx.exec("UPDATE grants SET stripped = 1, sub = NULL, schedule = NULL, holder = NULL, maker = NULL, kind = NULL, entry = NULL WHERE exp < ? AND NOT stripped", cutoff.Unix())
		return tx.err
	})
	return events, err
}

// Forget removes what is personal about a reference (an issuer's sub, a grant's
// "iss/jti", or a resident's id) from the database and its raw file. Events stay,
// and so do their hashes. It gives how many rows lost something.
func (s *Store) Forget(ctx context.Context, ref string) (n int64, err error) {
	err = s.Update(ctx, func(tx *Tx) error {
		n += tx.exec("UPDATE events SET sub = NULL, sub_salt = NULL WHERE sub = ?", ref)
		n += tx.exec("UPDATE events SET resident = NULL, resident_salt = NULL WHERE resident = ?", ref)
		n += tx.exec("UPDATE grants SET sub = NULL WHERE sub = ?", ref)
		n += tx.exec("UPDATE grants SET maker = NULL WHERE maker = ?", ref)
		if tx.Residents.Remove(gateway.ResidentID(ref)) {
			n++
		}
		if id, err := gateway.ParseGrantID(ref); err == nil { // a short id is one made at home
			n += tx.exec(`UPDATE events SET sub = NULL, sub_salt = NULL WHERE sub IS NOT NULL
				AND json_extract(body, '$.issuer') = ? AND json_extract(body, '$.grant') = ?`, id.Issuer, id.JTI)
			n += tx.exec("UPDATE grants SET sub = NULL WHERE iss = ? AND jti = ? AND sub IS NOT NULL", id.Issuer, id.JTI)
		}
		return tx.err
	})
	if err != nil {
		return n, err
	}
	return n, s.scrub(ctx)
}
