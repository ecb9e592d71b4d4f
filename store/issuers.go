package store

import (
	"bytes"
	"database/sql"
	"time"

	"gardien/gateway"
)

// Issuers is what is remembered of issuers: whether they are paused and were heard from, their
// manifests, keys and commands.
type Issuers struct{ *core }

// State reads what is remembered of an issuer; day is the day of Today.
func (tx Issuers) State(id gateway.IssuerID, day string) gateway.IssuerState {
	var st gateway.IssuerState
	var paused bool
	var until, heard, manifest int64
	if tx.row("SELECT paused, paused_until, heard, manifest FROM issuers WHERE iss = ?", []any{id}, &paused, &until, &heard, &manifest) {
		st.HeardAt, st.ManifestAt = unix(heard), unix(manifest)
	}
	if paused {
		st.Paused = &gateway.Pause{Until: unix(until)}
	}
	st.Today = tx.today(id, day)
	return st
}

// entriesOf counts an issuer's entries of one day.
type entriesOf struct {
	Day string `json:"day"`
	N   int    `json:"n"`
}

func (tx Issuers) today(id gateway.IssuerID, day string) int {
	var e entriesOf
	if tx.get("entries/"+string(id), &e) && e.Day == day {
		return e.N
	}
	return 0
}

// CountEntry counts an entry of the issuer for per_day.
func (tx Issuers) CountEntry(id gateway.IssuerID, day string) {
	tx.put("entries/"+string(id), entriesOf{day, tx.today(id, day) + 1})
}

// Heard notes the iat of a verified document of the issuer; only newer ones count.
func (tx Issuers) Heard(id gateway.IssuerID, iat time.Time) {
	tx.exec(`INSERT INTO issuers (iss, heard) VALUES (?, ?) ON CONFLICT (iss) DO UPDATE SET heard = excluded.heard
		WHERE excluded.heard > heard`, id, iat.Unix())
}

// Pause pauses one issuer until the pause's end, or resumes it (nil), and reports whether that
// changed anything.
func (tx Issuers) Pause(id gateway.IssuerID, p *gateway.Pause) bool {
	if p == nil {
		return tx.exec("UPDATE issuers SET paused = 0, paused_until = 0 WHERE iss = ? AND paused", id) == 1
	}
	until := int64(0)
	if !p.Until.IsZero() {
		until = p.Until.Unix()
	}
	return tx.exec(`INSERT INTO issuers (iss, paused, paused_until) VALUES (?1, 1, ?2) ON CONFLICT (iss) DO UPDATE
		SET paused = 1, paused_until = ?2 WHERE NOT paused OR paused_until <> ?2`, id, until) == 1
}

// PausesOver lists the issuers whose pause is over at an instant.
func (tx Issuers) PausesOver(t time.Time) (list []gateway.IssuerID) {
	tx.each("SELECT iss FROM issuers WHERE paused AND paused_until > 0 AND paused_until <= ?", []any{t.Unix()}, func(rows *sql.Rows) error {
		var iss gateway.IssuerID
		err := rows.Scan(&iss)
		list = append(list, iss)
		return err
	})
	return list
}

// Manifest gives the newest manifest of an issuer.
func (tx Issuers) Manifest(iss gateway.IssuerID) (m gateway.ManifestState, found bool) {
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
func (tx Issuers) PutManifest(m gateway.ManifestState) {
	counts := int64(0)
	if m.Matched {
		counts = m.IssuedAt.Unix()
	}
	tx.exec(`INSERT INTO issuers (iss, man_ver, man_iat, man_next, man_count, man_digest, man_matched, manifest) VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?3)
		ON CONFLICT (iss) DO UPDATE SET man_ver = ?2, man_iat = ?3, man_next = ?4, man_count = ?5, man_digest = ?6, man_matched = ?7,
			manifest = CASE manifest WHEN 0 THEN ?3 ELSE max(manifest, ?8) END`,
		m.Issuer, m.Version, m.IssuedAt.Unix(), m.NextUpdate.Unix(), m.Count, m.Digest[:], m.Matched, counts)
}

// NoteCommand notes a command, and reports whether it comes for the first time.
func (tx Issuers) NoteCommand(m gateway.Command) bool {
	return tx.exec("INSERT OR IGNORE INTO commands (iss, jti, exp) VALUES (?, ?, ?)", m.Issuer, m.JTI, m.NotAfter.Unix()) == 1
}

// PutKeys notes a key set that an issuer rotated to; false says that a newer one is there.
func (tx Issuers) PutKeys(k gateway.KeyRing) bool {
	return tx.exec(`INSERT INTO issuers (iss, key_ver, key_set) VALUES (?1, ?2, ?3) ON CONFLICT (iss) DO UPDATE SET key_ver = ?2, key_set = ?3 WHERE key_ver < ?2`,
		k.Issuer, k.Version, []byte(k.JWKS)) == 1
}

// KeyFile says which configured key file an issuer has now, by a hash of its content. If it
// is another than before, what the issuer rotated to is dropped.
func (tx Issuers) KeyFile(iss gateway.IssuerID, hash []byte) {
	var have, set []byte
	if tx.row("SELECT key_file, key_set FROM issuers WHERE iss = ?", []any{iss}, &have, &set) && bytes.Equal(have, hash) {
		return
	}
	tx.exec("INSERT INTO issuers (iss, key_file) VALUES (?1, ?2) ON CONFLICT (iss) DO UPDATE SET key_file = ?2, key_set = CASE WHEN key_file IS NULL THEN key_set END", iss, hash)
}

// NoteRefused notes a grant that was rightly signed and not kept, and reports whether that is
// news.
func (tx Issuers) NoteRefused(g gateway.Grant) bool {
	return tx.exec(`INSERT INTO refused (iss, jti, ver, exp) VALUES (?, ?, ?, ?) ON CONFLICT (iss, jti) DO UPDATE
		SET ver = excluded.ver, exp = excluded.exp WHERE excluded.ver > ver`, g.ID.Issuer, g.ID.JTI, g.Version, g.NotAfter.Unix()) == 1
}

// ActiveLines lists the issuer's active grants that end after an instant and were issued
// at or before another, kept or refused, as a manifest does.
func (tx Issuers) ActiveLines(iss gateway.IssuerID, end, issued time.Time) []gateway.ManifestLine {
	var list []gateway.ManifestLine
	tx.each(`SELECT jti, max(ver) FROM (
		SELECT jti, ver FROM grants WHERE iss = ?1 AND status = 'active' AND exp > ?2 AND iat <= ?3
		UNION ALL SELECT r.jti, r.ver FROM refused r LEFT JOIN grants g ON g.iss = r.iss AND g.jti = r.jti
			WHERE r.iss = ?1 AND r.exp > ?2 AND (g.ver IS NULL OR g.ver < r.ver)) GROUP BY jti`,
		[]any{iss, end.Unix(), issued.Unix()}, func(rows *sql.Rows) error {
			var l gateway.ManifestLine
			err := rows.Scan(&l.JTI, &l.Ver)
			list = append(list, l)
			return err
		})
	return list
}

// Unmatched lists the issuers whose newest manifest names other grants than the gateway has.
func (tx Issuers) Unmatched() (list []gateway.IssuerID) {
	tx.each("SELECT iss FROM issuers WHERE man_ver > 0 AND man_matched = 0", nil, func(rows *sql.Rows) error {
		var iss gateway.IssuerID
		err := rows.Scan(&iss)
		list = append(list, iss)
		return err
	})
	return list
}

// RotatedKeys gives the key set that an issuer rotated to; nil where there is none.
func (tx Issuers) RotatedKeys(iss gateway.IssuerID) (jwks []byte) {
	tx.row("SELECT key_set FROM issuers WHERE iss = ?", []any{iss}, &jwks)
	return jwks
}
