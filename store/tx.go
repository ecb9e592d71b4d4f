package store

import (
	"database/sql"
	"encoding/json"
	"errors"
	"fmt"
	"strconv"
	"time"

	"gardien/gateway"
)

// Tx is one transaction of the writer. The first error of the database sticks:
// later calls do nothing and give zero values, and nothing is committed.
type Tx struct {
	s       *Store
	err     error
	pending []setting // of the state table, written together at the end
}

// Err is the first error of the database in this transaction.
func (tx *Tx) Err() error { return tx.err }

func (tx *Tx) exec(q string, args ...any) int64 {
	if tx.err != nil {
		return 0
	}
	var n int64
	n, tx.err = tx.s.execN(q, args...)
	return n
}

// row scans one row; found is false where there is none.
func (tx *Tx) row(q string, args []any, dest ...any) (found bool) {
	if tx.err != nil {
		return false
	}
	st, err := tx.s.prepare(q)
	if err == nil {
		err = st.QueryRow(args...).Scan(dest...)
	}
	if errors.Is(err, sql.ErrNoRows) {
		return false
	}
	tx.err = err
	return err == nil
}

const grantColumns = "iss, jti, ver, status, doors, iat, nbf, exp, uses, used, block, schedule, sub, holder, digest"

// Grant reads what is remembered of a grant.
func (tx *Tx) Grant(id gateway.GrantID) (gateway.GrantRecord, bool) {
	var row grantRow
	if !tx.row("SELECT "+grantColumns+" FROM grants WHERE iss = ? AND jti = ?", []any{id.Issuer, id.JTI}, row.dest()...) {
		return gateway.GrantRecord{}, false
	}
	var void time.Time
	if row.uses > 0 {
		void = tx.void()
	}
	g, err := row.record(void)
	if err != nil {
		tx.err = err
	}
	return g, tx.err == nil
}

// PutGrant stores a version of a grant; uses go on counting. The PIN is not
// stored: see PutPIN.
func (tx *Tx) PutGrant(g gateway.Grant, digest []byte) {
	doors, err := json.Marshal(g.Doors)
	var schedule any
	if g.Schedule != nil && err == nil {
		schedule, err = json.Marshal(g.Schedule)
	}
	if err != nil {
		tx.err = errors.Join(tx.err, err)
		return
	}
	tx.exec(`INSERT INTO grants (iss, jti, ver, status, doors, iat, nbf, exp, uses, schedule, sub, holder, digest)
		VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)
		ON CONFLICT (iss, jti) DO UPDATE SET ver = excluded.ver, status = excluded.status, doors = excluded.doors, iat = excluded.iat,
			nbf = excluded.nbf, exp = excluded.exp, uses = excluded.uses, schedule = excluded.schedule, sub = excluded.sub,
			holder = excluded.holder, digest = excluded.digest, block = 0, ended = 0`,
		g.ID.Issuer, g.ID.JTI, g.Version, g.Status, doors, g.IssuedAt.Unix(), g.NotBefore.Unix(), g.NotAfter.Unix(),
		g.Uses, schedule, orNull(g.Sub), orNull(g.Holder), digest)
}

func orNull(s string) any {
	if s == "" {
		return nil
	}
	return s
}

// Block denies a grant here until a higher version of it comes.
func (tx *Tx) Block(id gateway.GrantID) {
	tx.exec("UPDATE grants SET block = 1 WHERE iss = ? AND jti = ?", id.Issuer, id.JTI)
}

// Spend counts one entry of the grant, if it has one left: a conditional update,
// so that no number of presenters gets more (A4).
func (tx *Tx) Spend(id gateway.GrantID) bool {
	return tx.exec("UPDATE grants SET used = used + 1 WHERE iss = ? AND jti = ? AND (uses = 0 OR used < uses)", id.Issuer, id.JTI) == 1
}

// Ended marks a grant whose end is in the record, and reports whether it was not.
func (tx *Tx) Ended(id gateway.GrantID) bool {
	return tx.exec("UPDATE grants SET ended = 1 WHERE iss = ? AND jti = ? AND ended = 0", id.Issuer, id.JTI) == 1
}

// PIN finds a live PIN by its keyed hash.
func (tx *Tx) PIN(door gateway.DoorID, mac []byte) (gateway.PINRecord, bool) {
	p := gateway.PINRecord{Door: door}
	var duress sql.NullString
	if !tx.row(`SELECT iss, jti, length, duress, (SELECT count(*) FROM pins q WHERE q.door = p.door AND q.id <= p.id AND q.length > 0)
		FROM pins p WHERE door = ? AND mac = ?`, []any{door, mac}, &p.Grant.Issuer, &p.Grant.JTI, &p.Length, &duress, &p.Rank) {
		return gateway.PINRecord{}, false
	}
	p.Duress = gateway.ResidentID(duress.String)
	return p, true
}

// LivePINs counts the live PINs of a door that are not of the given grant.
func (tx *Tx) LivePINs(door gateway.DoorID, except gateway.GrantID) (n int) {
	tx.row("SELECT count(*) FROM pins WHERE door = ? AND length > 0 AND NOT (iss = ? AND jti = ?)", []any{door, except.Issuer, except.JTI}, &n)
	return n
}

// PutPIN makes a PIN live.
func (tx *Tx) PutPIN(p gateway.PINRecord, mac []byte) {
	tx.exec("INSERT INTO pins (door, mac, length, iss, jti, duress) VALUES (?, ?, ?, ?, ?, ?)",
		p.Door, mac, p.Length, p.Grant.Issuer, p.Grant.JTI, orNull(string(p.Duress)))
}

// WipePINs removes a grant's PINs for good (P6).
func (tx *Tx) WipePINs(id gateway.GrantID) {
	tx.exec("DELETE FROM pins WHERE iss = ? AND jti = ?", id.Issuer, id.JTI)
}

// Issuer reads what is remembered of an issuer; day is the day of Today.
func (tx *Tx) Issuer(id gateway.IssuerID, day string) gateway.IssuerState {
	var st gateway.IssuerState
	var heard, manifest int64
	if tx.row("SELECT paused, heard, manifest FROM issuers WHERE iss = ?", []any{id}, &st.Paused, &heard, &manifest) {
		st.HeardAt, st.ManifestAt = unix(heard), unix(manifest)
	}
	st.Today = tx.today(id, day)
	return st
}

func unix(s int64) time.Time {
	if s == 0 {
		return time.Time{}
	}
	return time.Unix(s, 0).UTC()
}

// entriesOf counts an issuer's entries of one day.
type entriesOf struct {
	Day string `json:"day"`
	N   int    `json:"n"`
}

func (tx *Tx) today(id gateway.IssuerID, day string) int {
	var e entriesOf
	if tx.get("entries/"+string(id), &e) && e.Day == day {
		return e.N
	}
	return 0
}

// CountEntry counts an entry of the issuer for per_day.
func (tx *Tx) CountEntry(id gateway.IssuerID, day string) {
	tx.put("entries/"+string(id), entriesOf{day, tx.today(id, day) + 1})
}

// Heard notes the iat of a verified document of the issuer; only newer ones count.
func (tx *Tx) Heard(id gateway.IssuerID, iat time.Time) {
	tx.exec(`INSERT INTO issuers (iss, heard) VALUES (?, ?) ON CONFLICT (iss) DO UPDATE SET heard = excluded.heard
		WHERE excluded.heard > heard`, id, iat.Unix())
}

// PauseIssuer pauses or resumes one issuer, and reports whether that changed anything.
func (tx *Tx) PauseIssuer(id gateway.IssuerID, paused bool) bool {
	return tx.exec(`INSERT INTO issuers (iss, paused) VALUES (?1, ?2) ON CONFLICT (iss) DO UPDATE SET paused = ?2 WHERE paused <> ?2`,
		id, paused) == 1 && tx.err == nil
}

// Paused reports whether all third parties are paused.
func (tx *Tx) Paused() (paused bool) { tx.get("paused", &paused); return paused }

// SetPaused pauses or resumes all third parties.
func (tx *Tx) SetPaused(paused bool) error { tx.put("paused", paused); return tx.err }

// Throttle reads a reader's memory of wrong PINs.
func (tx *Tx) Throttle(r gateway.ReaderID) (t gateway.Throttle) {
	tx.get("throttle/"+string(r), &t)
	return t
}

// PutThrottle stores it.
func (tx *Tx) PutThrottle(r gateway.ReaderID, t gateway.Throttle) { tx.put("throttle/"+string(r), t) }

// Floor persists that it is surely not earlier than t (T3); it never falls. Its
// milliseconds have 13 digits until the year 2286, so that texts compare as numbers do.
func (tx *Tx) Floor(t time.Time) {
	if text := floorText(t); string(text) > string(tx.value("floor")) {
		tx.set("floor", text)
	}
}

func floorText(t time.Time) []byte { return fmt.Appendf(nil, "%013d", max(0, t.UnixMilli())) }

// floorTime reads it; zero where there is none.
func floorTime(text []byte) time.Time {
	ms, err := strconv.ParseInt(string(text), 10, 64)
	if err != nil {
		return time.Time{}
	}
	return time.UnixMilli(ms).UTC()
}

// void is the iat up to which limited grants are void; zero: none.
func (tx *Tx) void() (t time.Time) { tx.get("void", &t); return t }

// voidBefore makes limited grants void that were made before the reading, with a
// minute for issuers whose clock is ahead. Under an undecided clock nobody can
// say how late it is, so all that exists, or claims a later iat than the floor,
// falls under the pause that comes with it.
func (tx *Tx) voidBefore(r gateway.Reading) error {
	at := r.Latest
	if r.State == gateway.ClockUndecided {
		at = r.Wall
	}
	tx.put("void", at.Add(time.Minute).UTC().Truncate(time.Second))
	var epoch int
	tx.get("epoch", &epoch)
	tx.put("epoch", epoch+1)
	return tx.err
}

// grantRow scans grantColumns.
type grantRow struct {
	iss, jti, status      string
	doors                 []byte
	ver, iat, nbf, exp    int64
	uses, used            int
	block                 bool
	schedule, sub, holder sql.NullString
	digest                []byte
}

func (r *grantRow) dest() []any {
	return []any{&r.iss, &r.jti, &r.ver, &r.status, &r.doors, &r.iat, &r.nbf, &r.exp, &r.uses, &r.used, &r.block,
		&r.schedule, &r.sub, &r.holder, &r.digest}
}

func (r *grantRow) record(void time.Time) (gateway.GrantRecord, error) {
	g := gateway.GrantRecord{
		Grant: gateway.Grant{
			ID:      gateway.GrantID{Issuer: gateway.IssuerID(r.iss), JTI: r.jti},
			Version: r.ver, Status: gateway.GrantStatus(r.status),
			IssuedAt: unix(r.iat), Period: gateway.Period{NotBefore: unix(r.nbf), NotAfter: unix(r.exp)},
			Uses: r.uses, Sub: r.sub.String, Holder: r.holder.String,
		},
		Used: r.used, Block: r.block, Digest: r.digest,
	}
	g.Spoilt = g.Uses > 0 && !void.IsZero() && !g.IssuedAt.After(void)
	err := json.Unmarshal(r.doors, &g.Doors)
	if r.schedule.Valid && err == nil {
		err = json.Unmarshal([]byte(r.schedule.String), &g.Schedule)
	}
	if err != nil {
		err = fmt.Errorf("grant %s: %w", g.ID, err)
	}
	return g, err
}
