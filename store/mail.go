package store

import (
	"bytes"
	"context"
	"database/sql"
	"encoding/json"
	"errors"
	"fmt"
	"time"

	"gardien/gateway"
)

// feedState is where we are in the mailbox's feed, and the digest of what it has.
type feedState struct {
	gateway.Position
	Digest gateway.Digest `json:"digest"`
}

// Feed gives our place in the mailbox's feed and the digest of what it has for us.
func (s *Store) Feed(ctx context.Context) (gateway.Position, gateway.Digest, error) {
	var f feedState
	err := s.state(ctx, "feed", &f)
	return f.Position, f.Digest, err
}

// Advance moves our place in the feed.
func (tx *Tx) Advance(seq int64) {
	var f feedState
	tx.get("feed", &f)
	f.Seq = seq
	tx.put("feed", f)
}

// PutMail notes an item of the feed and its place; a command leaves a place only.
func (tx *Tx) PutMail(i gateway.FeedItem, taken bool) {
	var f feedState
	tx.get("feed", &f)
	f.Seq = max(f.Seq, i.Seq)
	if i.Kind != gateway.ItemCommand {
		sum := i.Sum()
		if old, _, had := tx.Mail(i.ID); had {
			f.Digest.Toggle(old)
		}
		f.Digest.Toggle(sum)
		tx.exec("INSERT INTO mail (id, sum, taken) VALUES (?, ?, ?) ON CONFLICT (id) DO UPDATE SET sum = excluded.sum, taken = excluded.taken",
			i.ID, sum[:], taken)
	}
	tx.put("feed", f)
}

// Mail finds what is noted of an item.
func (tx *Tx) Mail(id string) (sum gateway.Digest, taken, found bool) {
	var raw []byte
	if found = tx.row("SELECT sum, taken FROM mail WHERE id = ?", []any{id}, &raw, &taken); found {
		copy(sum[:], raw)
	}
	return sum, taken, found
}

// ResetMail forgets what is noted of all items, before a snapshot is noted.
func (tx *Tx) ResetMail(p gateway.Position) {
	tx.exec("DELETE FROM mail")
	tx.put("feed", feedState{Position: p})
}

// TakenMail gives the items that need not be looked at again, by id.
func (s *Store) TakenMail(ctx context.Context) (map[string]gateway.Digest, error) {
	rows, err := s.read.QueryContext(ctx, "SELECT id, sum FROM mail WHERE taken = 1")
	if err != nil {
		return nil, fmt.Errorf("store: mail: %w", err)
	}
	defer rows.Close()
	list := map[string]gateway.Digest{}
	for rows.Next() {
		var id string
		var raw []byte
		if err := rows.Scan(&id, &raw); err != nil {
			return nil, fmt.Errorf("store: mail: %w", err)
		}
		var d gateway.Digest
		copy(d[:], raw)
		list[id] = d
	}
	return list, rows.Err()
}

// Resync makes the next look at the feed a snapshot: the rules have changed, and what was
// rejected may be good now.
func (s *Store) Resync(ctx context.Context) error {
	return s.Update(ctx, func(tx *Tx) error {
		var f feedState
		if tx.get("feed", &f) {
			f.Position = gateway.Position{}
			tx.put("feed", f)
		}
		return tx.err
	})
}

// Refused notes a grant that was rightly signed and not kept, and reports whether that is
// news.
func (tx *Tx) Refused(g gateway.Grant) bool {
	return tx.exec(`INSERT INTO refused (iss, jti, ver, exp) VALUES (?, ?, ?, ?) ON CONFLICT (iss, jti) DO UPDATE
		SET ver = excluded.ver, exp = excluded.exp WHERE excluded.ver > ver`, g.ID.Issuer, g.ID.JTI, g.Version, g.NotAfter.Unix()) == 1
}

// ActiveLines lists the issuer's active grants that end after an instant and were issued
// at or before another, kept or refused, as a manifest does.
func (tx *Tx) ActiveLines(iss gateway.IssuerID, end, issued time.Time) []gateway.ManifestLine {
	if tx.err != nil {
		return nil
	}
	rows, err := tx.s.conn.QueryContext(context.Background(), `SELECT jti, max(ver) FROM (
		SELECT jti, ver FROM grants WHERE iss = ?1 AND status = 'active' AND exp > ?2 AND iat <= ?3
		UNION ALL SELECT r.jti, r.ver FROM refused r LEFT JOIN grants g ON g.iss = r.iss AND g.jti = r.jti
			WHERE r.iss = ?1 AND r.exp > ?2 AND (g.ver IS NULL OR g.ver < r.ver)) GROUP BY jti`, iss, end.Unix(), issued.Unix())
	if err != nil {
		tx.err = err
		return nil
	}
	var list []gateway.ManifestLine
	for rows.Next() {
		var l gateway.ManifestLine
		if err := rows.Scan(&l.JTI, &l.Ver); err != nil {
			tx.err = errors.Join(tx.err, err)
		}
		list = append(list, l)
	}
	tx.err = errors.Join(tx.err, rows.Err(), rows.Close())
	return list
}

// Manifest gives the newest manifest of an issuer.
func (tx *Tx) Manifest(iss gateway.IssuerID) (m gateway.ManifestState, found bool) {
	var iat, next int64
	var digest []byte
	m.Issuer = iss
	if !tx.row("SELECT man_ver, man_iat, man_next, man_count, man_digest, man_matched FROM issuers WHERE iss = ? AND man_ver > 0", []any{iss},
		&m.Version, &iat, &next, &m.Count, &digest, &m.Matched) {
		return m, false
	}
	copy(m.Digest[:], digest)
	m.IssuedAt, m.NextUpdate = unix(iat), unix(next)
	return m, true
}

// PutManifest notes a manifest. Its iat is what offline_limit counts from if the gateway
// has had the grants that it names, or if it is the first: from then on it counts from
// manifests alone.
func (tx *Tx) PutManifest(m gateway.ManifestState) {
	counts := int64(0)
	if m.Matched {
		counts = m.IssuedAt.Unix()
	}
	tx.exec(`INSERT INTO issuers (iss, man_ver, man_iat, man_next, man_count, man_digest, man_matched, manifest) VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?3)
		ON CONFLICT (iss) DO UPDATE SET man_ver = ?2, man_iat = ?3, man_next = ?4, man_count = ?5, man_digest = ?6, man_matched = ?7,
			manifest = CASE manifest WHEN 0 THEN ?3 ELSE max(manifest, ?8) END`,
		m.Issuer, m.Version, m.IssuedAt.Unix(), m.NextUpdate.Unix(), m.Count, m.Digest[:], m.Matched, counts)
}

// Unmatched lists the issuers whose newest manifest names other grants than the gateway has.
func (s *Store) Unmatched(ctx context.Context) (list []gateway.IssuerID, err error) {
	rows, err := s.read.QueryContext(ctx, "SELECT iss FROM issuers WHERE man_ver > 0 AND man_matched = 0")
	if err != nil {
		return nil, fmt.Errorf("store: manifests: %w", err)
	}
	defer rows.Close()
	for rows.Next() {
		var iss gateway.IssuerID
		if err := rows.Scan(&iss); err != nil {
			return nil, err
		}
		list = append(list, iss)
	}
	return list, rows.Err()
}

// Once reports whether a command comes for the first time, and notes it.
func (tx *Tx) Once(m gateway.Command) bool {
	return tx.exec("INSERT OR IGNORE INTO commands (iss, jti, exp) VALUES (?, ?, ?)", m.Issuer, m.JTI, m.NotAfter.Unix()) == 1
}

// PutKeys notes a key set that an issuer rotated to; false says that a newer one is there.
func (tx *Tx) PutKeys(k gateway.KeyRing) bool {
	return tx.exec(`INSERT INTO issuers (iss, key_ver, key_set) VALUES (?1, ?2, ?3) ON CONFLICT (iss) DO UPDATE SET key_ver = ?2, key_set = ?3 WHERE key_ver < ?2`,
		k.Issuer, k.Version, []byte(k.JWKS)) == 1
}

// KeyFile says which configured key file an issuer has now, by a hash of its content. If it
// is another than before, what the issuer rotated to is dropped.
func (tx *Tx) KeyFile(iss gateway.IssuerID, hash []byte) {
	var have, set []byte
	if tx.row("SELECT key_file, key_set FROM issuers WHERE iss = ?", []any{iss}, &have, &set) && bytes.Equal(have, hash) {
		return
	}
	tx.exec("INSERT INTO issuers (iss, key_file) VALUES (?1, ?2) ON CONFLICT (iss) DO UPDATE SET key_file = ?2, key_set = CASE WHEN key_file IS NULL THEN key_set END", iss, hash)
}

// RotatedKeys gives the key set that an issuer rotated to; nil where there is none.
func (s *Store) RotatedKeys(ctx context.Context, iss gateway.IssuerID) (jwks []byte, err error) {
	err = s.read.QueryRowContext(ctx, "SELECT key_set FROM issuers WHERE iss = ?", iss).Scan(&jwks)
	if errors.Is(err, sql.ErrNoRows) {
		err = nil
	}
	return jwks, err
}

// CloudState is what is remembered of the cloud.
type CloudState struct {
	Origin     string `json:"origin"`     // where the gateway is enrolled
	Descriptor string `json:"descriptor"` // fingerprint of what it has registered there
	Pin        []byte `json:"pin"`        // SHA-256 of the cloud's public key, seen under a trusted clock
}

// Cloud reads it.
func (s *Store) Cloud(ctx context.Context) (c CloudState, err error) {
	err = s.state(ctx, "cloud", &c)
	return c, err
}

// ChangeCloud changes it.
func (s *Store) ChangeCloud(ctx context.Context, f func(*CloudState)) error {
	return s.Update(ctx, func(tx *Tx) error {
		var c CloudState
		tx.get("cloud", &c)
		f(&c)
		tx.put("cloud", c)
		return tx.err
	})
}

// sent is how far the record has gone up. The number on the wire is up − base: a log
// begins with 1.
type sent struct {
	Up   int64 `json:"up"`
	Base int64 `json:"base"`
}

// Outgoing is an event on its way up.
type Outgoing struct {
	Seq   int64 // on the wire, dense per log
	Event gateway.Event
}

// Unsent gives the log's id and up to limit events that have not gone up, in order; last
// is the number of the last that has.
func (s *Store) Unsent(ctx context.Context, limit int) (log string, last int64, list []Outgoing, err error) {
	// One reading transaction: a restore in between would mix two logs.
	tx, err := s.read.BeginTx(ctx, nil)
	if err != nil {
		return "", 0, nil, fmt.Errorf("store: outbox: %w", err)
	}
	defer tx.Rollback()
	var at sent
	if err := errors.Join(stateOf(ctx, tx, "log", &log), stateOf(ctx, tx, "sent", &at)); err != nil {
		return "", 0, nil, fmt.Errorf("store: outbox: %w", err)
	}
	rows, err := tx.QueryContext(ctx, "SELECT up, sub, body FROM events WHERE up > ? ORDER BY up LIMIT ?", at.Up, limit)
	if err != nil {
		return "", 0, nil, fmt.Errorf("store: outbox: %w", err)
	}
	defer rows.Close()
	for rows.Next() {
		var up int64
		var sub sql.NullString
		var body string
		var c canonical
		if err := errors.Join(rows.Scan(&up, &sub, &body), json.Unmarshal([]byte(body), &c)); err != nil {
			return "", 0, nil, fmt.Errorf("store: outbox: %w", err)
		}
		e := c.event()
		e.Sub = sub.String
		list = append(list, Outgoing{up - at.Base, e})
	}
	return log, at.Up - at.Base, list, rows.Err()
}

// MarkSent says that the log has gone up to a number, be it lower than before: the cloud
// may have lost what it had. The first call of a process must be the cloud's own word. It
// need not be durable, for the cloud knows doubles.
//
// Numbers mean one event for ever. Where that cannot hold, a new log begins: a power cut
// took events that had gone up already, so that their numbers would name others; or the
// cloud has lost what is forgotten here.
func (s *Store) MarkSent(ctx context.Context, log string, seq int64) error {
	return s.Follow(ctx, func(tx *Tx) error {
		var have string
		var at sent
		if tx.get("log", &have); have != log || seq < 0 {
			return tx.err
		}
		tx.get("sent", &at)
		up := at.Base + seq
		if first := !s.asked; first && up > s.upAtOpen {
			at = sent{s.upAtOpen, s.upAtOpen}
			tx.put("log", newLogID())
		} else if next := tx.firstUp(up); up < at.Up && next > up+1 {
			at = sent{next - 1, next - 1}
			tx.put("log", newLogID())
		} else {
			at.Up = min(up, s.head.up)
		}
		s.asked = true
		tx.put("sent", at)
		return tx.err
	})
}

// firstUp is the first number of the outbox after one; where there is none, the next to come.
func (tx *Tx) firstUp(after int64) int64 {
	var n sql.NullInt64
	if tx.row("SELECT min(up) FROM events WHERE up > ?", []any{after}, &n); n.Valid {
		return n.Int64
	}
	return tx.s.head.up + 1
}

// abandon begins a new log after what can never go up: it is gone. A log of which nothing
// has gone up keeps its id.
func (tx *Tx) abandon(upTo int64) {
	var at sent
	tx.get("sent", &at)
	if upTo <= at.Up {
		return
	}
	if at.Up > at.Base {
		tx.put("log", newLogID())
	}
	tx.put("sent", sent{upTo, upTo})
}
