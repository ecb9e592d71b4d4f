package store

import (
	"context"
	"crypto/subtle"
	"database/sql"
	"encoding/json"
	"errors"
	"fmt"
	"time"

	"gardien/gateway"
)

type querier interface {
	QueryRowContext(context.Context, string, ...any) *sql.Row
}

// stateOf reads a JSON value of the state table; v stays as it is where there is none.
func stateOf(ctx context.Context, q querier, key string, v any) error {
	var b []byte
	err := q.QueryRowContext(ctx, "SELECT value FROM state WHERE key = ?", key).Scan(&b)
	if errors.Is(err, sql.ErrNoRows) {
		return nil
	}
	if err == nil {
		err = json.Unmarshal(b, v)
	}
	return err
}

func (s *Store) state(ctx context.Context, key string, v any) error {
	return stateOf(ctx, s.read, key, v)
}

// Grants lists what is remembered of grants, by issuer and jti, after an id.
func (s *Store) Grants(ctx context.Context, after gateway.GrantID, limit int) ([]gateway.GrantRecord, error) {
	return s.grants(ctx, s.browse, "WHERE (iss, jti) > (?, ?) ORDER BY iss, jti LIMIT ?", after.Issuer, after.JTI, limit)
}

// Grant reads one; found is false where there is none.
func (s *Store) Grant(ctx context.Context, id gateway.GrantID) (g gateway.GrantRecord, found bool, err error) {
	list, err := s.grants(ctx, s.read, "WHERE iss = ? AND jti = ?", id.Issuer, id.JTI)
	if err != nil || len(list) == 0 {
		return g, false, err
	}
	return list[0], true, nil
}

// Ending lists up to limit grants that are surely over at t and not yet told so.
func (s *Store) Ending(ctx context.Context, t time.Time, limit int) ([]gateway.GrantRecord, error) {
	return s.grants(ctx, s.read, "WHERE ended = 0 AND exp <= ? ORDER BY exp LIMIT ?", t.Unix(), limit)
}

// SpentPINs lists grants without uses left whose PINs are still live.
func (s *Store) SpentPINs(ctx context.Context) ([]gateway.GrantRecord, error) {
	return s.grants(ctx, s.read, "WHERE uses > 0 AND used >= uses AND (iss, jti) IN (SELECT iss, jti FROM pins)")
}

func (s *Store) grants(ctx context.Context, db *sql.DB, where string, args ...any) ([]gateway.GrantRecord, error) {
	var void time.Time
	if err := stateOf(ctx, db, "void", &void); err != nil {
		return nil, fmt.Errorf("store: grants: %w", err)
	}
	rows, err := db.QueryContext(ctx, "SELECT "+grantColumns+" FROM grants "+where, args...)
	if err != nil {
		return nil, fmt.Errorf("store: grants: %w", err)
	}
	defer rows.Close()
	list := []gateway.GrantRecord{}
	for rows.Next() {
		var row grantRow
		if err := rows.Scan(row.dest()...); err != nil {
			return nil, fmt.Errorf("store: grants: %w", err)
		}
		g, err := row.record(void)
		if err != nil {
			return nil, fmt.Errorf("store: %w", err)
		}
		list = append(list, g)
	}
	return list, rows.Err()
}

// Info is what status tells of the store.
type Info struct {
	Log      string `json:"log"`
	Epoch    int    `json:"epoch"`
	SetAside string `json:"set_aside,omitempty"`
	Paused   bool   `json:"-"`
}

// Residents lists the paired residents.
func (s *Store) Residents(ctx context.Context) ([]gateway.Resident, error) {
	rows, err := s.read.QueryContext(ctx, "SELECT id, name, paired FROM residents ORDER BY paired, id")
	if err != nil {
		return nil, fmt.Errorf("store: residents: %w", err)
	}
	defer rows.Close()
	list := []gateway.Resident{}
	for rows.Next() {
		var r gateway.Resident
		var paired int64
		if err := rows.Scan(&r.ID, &r.Name, &paired); err != nil {
			return nil, fmt.Errorf("store: residents: %w", err)
		}
		r.PairedAt = unix(paired)
		list = append(list, r)
	}
	return list, rows.Err()
}

// PutResident stores a paired resident with the keyed hash of its token.
func (tx *Tx) PutResident(r gateway.Resident, token []byte) error {
	tx.exec("INSERT INTO residents (id, name, token, paired) VALUES (?, ?, ?, ?)", r.ID, r.Name, token, r.PairedAt.Unix())
	return tx.err
}

// RemoveResident removes a resident and its duress PINs, and reports whether there
// was one.
func (tx *Tx) RemoveResident(id gateway.ResidentID) bool {
	tx.exec("DELETE FROM pins WHERE duress = ?", id)
	return tx.exec("DELETE FROM residents WHERE id = ?", id) == 1
}

// ResidentByToken finds the resident whose token has this keyed hash.
func (s *Store) ResidentByToken(ctx context.Context, id gateway.ResidentID, token []byte) (bool, error) {
	var have []byte
	err := s.read.QueryRowContext(ctx, "SELECT token FROM residents WHERE id = ?", id).Scan(&have)
	if errors.Is(err, sql.ErrNoRows) {
		return false, nil
	}
	return err == nil && subtle.ConstantTimeCompare(have, token) == 1, err
}

// Paused reports whether all third parties are paused.
func (s *Store) Paused(ctx context.Context) (paused bool, err error) {
	err = s.state(ctx, "paused", &paused)
	return paused, err
}

// Issuer reads what is remembered of an issuer.
func (s *Store) Issuer(ctx context.Context, id gateway.IssuerID, day string) (st gateway.IssuerState, err error) {
	var heard, manifest int64
	err = s.read.QueryRowContext(ctx, "SELECT paused, heard, manifest FROM issuers WHERE iss = ?", id).Scan(&st.Paused, &heard, &manifest)
	if err != nil && !errors.Is(err, sql.ErrNoRows) {
		return st, fmt.Errorf("store: issuer: %w", err)
	}
	st.HeardAt, st.ManifestAt = unix(heard), unix(manifest)
	var e entriesOf
	if err := s.state(ctx, "entries/"+string(id), &e); err != nil {
		return st, fmt.Errorf("store: issuer: %w", err)
	}
	if e.Day == day {
		st.Today = e.N
	}
	return st, nil
}

// PINOf reads the length and rank of a grant's live PIN at a door.
func (s *Store) PINOf(ctx context.Context, id gateway.GrantID, door gateway.DoorID) (p gateway.PINRecord, found bool, err error) {
	p = gateway.PINRecord{Grant: id, Door: door}
	err = s.read.QueryRowContext(ctx, `SELECT length, (SELECT count(*) FROM pins q WHERE q.door = p.door AND q.id <= p.id AND q.length > 0)
		FROM pins p WHERE iss = ? AND jti = ? AND door = ? AND length > 0`, id.Issuer, id.JTI, door).Scan(&p.Length, &p.Rank)
	if errors.Is(err, sql.ErrNoRows) {
		return p, false, nil
	}
	return p, err == nil, err
}

// LivePINs counts the live PINs of a door.
func (s *Store) LivePINs(ctx context.Context, door gateway.DoorID) (n int, err error) {
	err = s.read.QueryRowContext(ctx, "SELECT count(*) FROM pins WHERE door = ? AND length > 0", door).Scan(&n)
	return n, err
}

// Answer finds a remembered answer: the keyed hash of the request's body that it was
// given to, and the sealed answer.
func (s *Store) Answer(ctx context.Context, key []byte) (body, answer []byte, err error) {
	err = s.read.QueryRowContext(ctx, "SELECT body, answer FROM answers WHERE key = ?", key).Scan(&body, &answer)
	if errors.Is(err, sql.ErrNoRows) {
		err = nil
	}
	return body, answer, err
}

// PutAnswer remembers an answer and forgets those from before expired.
func (tx *Tx) PutAnswer(key, body, answer []byte, at, expired time.Time) error {
	tx.exec("DELETE FROM answers WHERE at < ?", expired.Unix())
	tx.exec("INSERT OR REPLACE INTO answers (key, body, answer, at) VALUES (?, ?, ?, ?)", key, body, answer, at.Unix())
	return tx.err
}

// ClockState is what the clock left at its last run.
type ClockState struct {
	Floor    time.Time `json:"-"`
	LastSync time.Time `json:"last_sync,omitzero"`
	Boot     string    `json:"boot"`
	BootWall time.Time `json:"boot_wall"`
}

// LoadClock reads it.
func (s *Store) LoadClock(ctx context.Context) (c ClockState, err error) {
	var floor []byte
	err = s.read.QueryRowContext(ctx, "SELECT value FROM state WHERE key = 'floor'").Scan(&floor)
	if errors.Is(err, sql.ErrNoRows) {
		err = nil
	}
	c.Floor = floorTime(floor)
	return c, errors.Join(err, s.state(ctx, "clock", &c))
}

// SaveClock stores it; the floor never falls.
func (s *Store) SaveClock(ctx context.Context, c ClockState) error {
	return s.Update(ctx, func(tx *Tx) error { tx.Floor(c.Floor); tx.put("clock", c); return tx.err })
}

// ResetClock stores it, the floor too, lower or not: a resident's word.
func (s *Store) ResetClock(ctx context.Context, c ClockState) error {
	return s.Update(ctx, func(tx *Tx) error {
		tx.drop("floor")
		tx.Floor(c.Floor)
		tx.put("clock", c)
		return tx.err
	})
}
