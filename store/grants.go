package store

import (
	"database/sql"
	"encoding/json"
	"fmt"
	"time"

	"gardien/gateway"
)

// Grants is what is remembered of grants.
type Grants struct{ *core }

const grantColumns = "iss, jti, ver, status, doors, iat, nbf, exp, uses, used, entry, block, stripped, spoilt, approval, schedule, sub, holder, kind, maker, digest"

// Get reads what is remembered of a grant; false: nothing.
func (tx Grants) Get(id gateway.GrantID) (gateway.GrantRecord, bool) {
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

// Put stores a version of a grant; uses go on counting, and a block ends. The PIN is not
// stored: see Codes.
func (tx Grants) Put(g gateway.Grant, digest []byte) {
	doors, err := json.Marshal(g.Doors)
	var schedule any
	if g.Schedule != nil && err == nil {
		schedule, err = json.Marshal(g.Schedule)
	}
	if err != nil {
		tx.fail(err)
		return
	}
	tx.exec(`INSERT INTO grants (iss, jti, ver, status, doors, iat, nbf, exp, uses, since, approval, schedule, sub, holder, digest)
		VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)
		ON CONFLICT (iss, jti) DO UPDATE SET ver = excluded.ver, status = excluded.status, doors = excluded.doors, iat = excluded.iat,
			nbf = excluded.nbf, exp = excluded.exp, uses = excluded.uses, approval = excluded.approval, schedule = excluded.schedule, sub = excluded.sub,
			holder = excluded.holder, digest = excluded.digest, block = 0, ended = 0, stripped = 0, spoilt = 0`,
		g.ID.Issuer, g.ID.JTI, g.Version, g.Status, doors, g.IssuedAt.Unix(), g.NotBefore.Unix(), g.NotAfter.Unix(),
		g.Uses, tx.s.head.seq, orNull(string(g.Approval)), schedule, orNull(g.Sub), orNull(g.Holder), digest)
	if r := tx.s.removals; r != nil && r.has(r.grant(g.ID, g.Version)) && g.Status == gateway.GrantActive {
		tx.exec("UPDATE grants SET block = 1 WHERE iss = ? AND jti = ?", g.ID.Issuer, g.ID.JTI) // it was taken away for good (R3)
	}
	if g.ID.Issuer == gateway.HomeIssuer && g.Status == gateway.GrantRevoked {
		tx.takeAway(func(r *removals) removal { return r.grant(g.ID, g.Version) })
	}
}

// Note keeps what the house alone knows of a grant: whom it is for, and who made it.
func (tx Grants) Note(id gateway.GrantID, kind gateway.Kind, maker gateway.ResidentID) {
	tx.exec("UPDATE grants SET kind = ?, maker = ? WHERE iss = ? AND jti = ?", orNull(string(kind)), orNull(string(maker)), id.Issuer, id.JTI)
}

// PutEntry keeps the newest entry by a grant for several doors.
func (tx Grants) PutEntry(id gateway.GrantID, e gateway.GrantEntry) {
	b, err := json.Marshal(e)
	if err != nil {
		tx.fail(err)
		return
	}
	tx.exec("UPDATE grants SET entry = ? WHERE iss = ? AND jti = ?", string(b), id.Issuer, id.JTI)
}

// Block denies a grant here until a higher version of it comes.
func (tx Grants) Block(id gateway.GrantID) {
	var version int64
	if tx.exec("UPDATE grants SET block = 1 WHERE iss = ? AND jti = ?", id.Issuer, id.JTI) == 1 &&
		tx.row("SELECT ver FROM grants WHERE iss = ? AND jti = ?", []any{id.Issuer, id.JTI}, &version) {
		tx.takeAway(func(r *removals) removal { return r.grant(id, version) })
	}
}

// Spend counts one entry of the grant, if it has one left: a conditional update,
// so that no number of presenters gets more (A4).
func (tx Grants) Spend(id gateway.GrantID) bool {
	return tx.exec("UPDATE grants SET used = used + 1 WHERE iss = ? AND jti = ? AND (uses = 0 OR used < uses)", id.Issuer, id.JTI) == 1
}

// MarkEnded marks a grant whose end is in the record, and reports whether it was not.
func (tx Grants) MarkEnded(id gateway.GrantID) bool {
	return tx.exec("UPDATE grants SET ended = 1 WHERE iss = ? AND jti = ? AND ended = 0", id.Issuer, id.JTI) == 1
}

// List gives what is remembered of grants, by issuer and jti, after an id.
func (tx Grants) List(after gateway.GrantID, limit int) []gateway.GrantRecord {
	return tx.list("WHERE (iss, jti) > (?, ?) ORDER BY iss, jti LIMIT ?", after.Issuer, after.JTI, limit)
}

// Ending lists up to limit grants that are surely over at t and not yet told so.
func (tx Grants) Ending(t time.Time, limit int) []gateway.GrantRecord {
	return tx.list("WHERE ended = 0 AND exp <= ? ORDER BY exp LIMIT ?", t.Unix(), limit)
}

// DeadCodes lists up to limit grants with live codes that have no uses left, or that are over at
// an instant, by id after one; zero: whenever they end.
func (tx Grants) DeadCodes(over time.Time, after gateway.GrantID, limit int) []gateway.GrantRecord {
	end := int64(-1)
	if !over.IsZero() {
		end = over.Unix()
	}
	return tx.list("WHERE (uses > 0 AND (used >= uses OR spoilt) OR exp <= ?) AND (iss, jti) > (?, ?) AND (iss, jti) IN (SELECT iss, jti FROM pins) ORDER BY iss, jti LIMIT ?",
		end, after.Issuer, after.JTI, limit)
}

func (tx Grants) list(where string, args ...any) []gateway.GrantRecord {
	list := []gateway.GrantRecord{}
	tx.walk(where, args, func(g gateway.GrantRecord) { list = append(list, g) })
	return list
}

// walk hands each of the grants to take, which must ask nothing itself.
func (tx Grants) walk(where string, args []any, take func(gateway.GrantRecord)) {
	void := tx.void()
	tx.each("SELECT "+grantColumns+" FROM grants "+where, args, func(rows *sql.Rows) error {
		var row grantRow
		if err := rows.Scan(row.dest()...); err != nil {
			return err
		}
		g, err := row.record(void)
		if err == nil {
			take(g)
		}
		return err
	})
}

// grantRow scans grantColumns.
type grantRow struct {
	iss, jti, status      string
	doors                 []byte
	ver, iat, nbf, exp    int64
	uses, used            int
	block, stripped       bool
	spoilt                bool
	schedule, sub, holder sql.NullString
	entry, approval       sql.NullString
	kind, maker           sql.NullString
	digest                []byte
}

func (r *grantRow) dest() []any {
	return []any{&r.iss, &r.jti, &r.ver, &r.status, &r.doors, &r.iat, &r.nbf, &r.exp, &r.uses, &r.used, &r.entry, &r.block, &r.stripped, &r.spoilt,
		&r.approval, &r.schedule, &r.sub, &r.holder, &r.kind, &r.maker, &r.digest}
}

func (r *grantRow) record(void time.Time) (gateway.GrantRecord, error) {
	g := gateway.GrantRecord{
		Grant: gateway.Grant{
			ID:      gateway.GrantID{Issuer: gateway.IssuerID(r.iss), JTI: r.jti},
			Version: r.ver, Status: gateway.GrantStatus(r.status),
			IssuedAt: unix(r.iat), Period: gateway.Period{NotBefore: unix(r.nbf), NotAfter: unix(r.exp)},
			Uses: r.uses, Sub: r.sub.String, Holder: r.holder.String, Approval: gateway.Approval(r.approval.String),
		},
		Used: r.used, Block: r.block, Stripped: r.stripped, Digest: r.digest,
		Kind: gateway.Kind(r.kind.String), Maker: gateway.ResidentID(r.maker.String),
	}
	g.Spoilt = g.Uses > 0 && (r.spoilt || !void.IsZero() && !g.IssuedAt.After(void))
	err := json.Unmarshal(r.doors, &g.Doors)
	if r.schedule.Valid && err == nil {
		err = json.Unmarshal([]byte(r.schedule.String), &g.Schedule)
	}
	if r.entry.Valid && err == nil {
		err = json.Unmarshal([]byte(r.entry.String), &g.Entry)
	}
	if err != nil {
		err = fmt.Errorf("grant %s: %w", g.ID, err)
	}
	return g, err
}
