package mailbox

import (
	"context"
	"crypto/sha256"
	"database/sql"
	"errors"
	"fmt"
	"slices"
	"time"

	"gardien/gateway"
)

// The kinds of principals.
const (
	KindGateway = "gateway"
	KindIssuer  = "issuer"
)

func hashOf(code gateway.Secret) []byte {
	sum := sha256.Sum256([]byte(code.Reveal()))
	return sum[:]
}

// AddCode keeps a one-time code for a principal.
func (b *Box) AddCode(ctx context.Context, kind, id string, code gateway.Secret, expires time.Time) error {
	return b.update(ctx, func(t *tx) error {
		t.exec("INSERT INTO codes (hash, kind, id, expires) VALUES ($1, $2, $3, $4)", hashOf(code), kind, id, seconds(expires))
		return t.err
	})
}

// redeem spends a code for a principal's key; the same key may ask again, for the
// first answer may have been lost.
func (t *tx) redeem(kind, id string, code gateway.Secret, key string, now time.Time) error {
	var forKind, forID, used string
	var expires int64
	found := t.row("SELECT kind, id, expires, used FROM codes WHERE hash = $1"+t.lock(), []any{hashOf(code)}, &forKind, &forID, &expires, &used)
	switch {
	case t.err != nil:
		return t.err
	case !found || forKind != kind || forID != id || used != "" && used != key || used == "" && expires <= seconds(now):
		return gateway.ErrBadCode
	}
	t.exec("UPDATE codes SET used = $1 WHERE hash = $2", key, hashOf(code))
	return t.err
}

// EnrolGateway registers a gateway with a one-time code.
func (b *Box) EnrolGateway(ctx context.Context, code gateway.Secret, r gateway.Registration, now time.Time) error {
	return b.update(ctx, func(t *tx) error {
		if err := t.redeem(KindGateway, string(r.ID), code, r.KeyID, now); err != nil {
			return err
		}
		var kid string
		if t.row("SELECT kid FROM gateways WHERE id = $1"+t.lock(), []any{r.ID}, &kid) && kid != r.KeyID {
			return gateway.ErrOtherKey
		}
		if kid == "" {
			t.exec("INSERT INTO gateways (id, kid, descriptor, epoch, digest) VALUES ($1, $2, $3, $4, $5)",
				string(r.ID), r.KeyID, r.Descriptor, randomID(8), make([]byte, len(gateway.Digest{})))
		}
		return t.describe(r)
	})
}

// UpdateGateway replaces the descriptor of a gateway that is enrolled.
func (b *Box) UpdateGateway(ctx context.Context, r gateway.Registration) error {
	return b.update(ctx, func(t *tx) error {
		var kid string
		switch found := t.row("SELECT kid FROM gateways WHERE id = $1"+t.lock(), []any{r.ID}, &kid); {
		case t.err != nil:
			return t.err
		case !found:
			return gateway.ErrNoSuchGateway
		case kid != r.KeyID:
			return gateway.ErrOtherKey
		}
		return t.describe(r)
	})
}

func (t *tx) describe(r gateway.Registration) error {
	t.exec("UPDATE gateways SET descriptor = $1 WHERE id = $2", r.Descriptor, string(r.ID))
	var had []gateway.IssuerID
	t.each("SELECT iss FROM listens WHERE gw = $1", []any{r.ID}, func(rows *sql.Rows) error {
		var iss gateway.IssuerID
		err := rows.Scan(&iss)
		had = append(had, iss)
		return err
	})
	for _, iss := range had {
		if !slices.Contains(r.Issuers, iss) {
			t.exec("DELETE FROM listens WHERE gw = $1 AND iss = $2", string(r.ID), string(iss))
		}
	}
	for _, iss := range r.Issuers {
		if !slices.Contains(had, iss) {
			// What it wrote when it was listened to before is still there.
			t.exec(`INSERT INTO listens (gw, iss, items, bytes) SELECT $1, $2, count(*), coalesce(sum(length(body) + $3), 0)
				FROM items WHERE gw = $1 AND iss = $2 AND current AND kind <> 'command' ON CONFLICT DO NOTHING`, string(r.ID), string(iss), itemOverhead)
		}
		t.topics = append(t.topics, issuerTopic(iss))
	}
	return t.err
}

// each calls f with each row.
func (t *tx) each(q string, args []any, f func(*sql.Rows) error) {
	if t.err == nil {
		t.err = each(t.ctx, t.sql, f, q, args...)
	}
}

type querier interface {
	QueryContext(context.Context, string, ...any) (*sql.Rows, error)
}

func each(ctx context.Context, db querier, f func(*sql.Rows) error, q string, args ...any) error {
	rows, err := db.QueryContext(ctx, q, args...)
	if err != nil {
		return err
	}
	defer rows.Close()
	for rows.Next() {
		if err := f(rows); err != nil {
			return err
		}
	}
	return rows.Err()
}

// EnrolIssuer registers an issuer's key set with a one-time code. keyID tells one set
// from another.
func (b *Box) EnrolIssuer(ctx context.Context, code gateway.Secret, iss gateway.IssuerID, keyID, jwks string, now time.Time) error {
	return b.update(ctx, func(t *tx) error {
		if err := t.redeem(KindIssuer, string(iss), code, keyID, now); err != nil {
			return err
		}
		var have string
		if t.row("SELECT keys FROM issuers WHERE id = $1"+t.lock(), []any{iss}, &have) && have != "" && have != jwks {
			return gateway.ErrOtherKey
		}
		return t.putIssuer(iss, jwks)
	})
}

// UpdateIssuer replaces the key set of an issuer that is enrolled, in a rotation.
func (b *Box) UpdateIssuer(ctx context.Context, iss gateway.IssuerID, jwks string) error {
	return b.update(ctx, func(t *tx) error { return t.putIssuer(iss, jwks) })
}

func (t *tx) putIssuer(iss gateway.IssuerID, jwks string) error {
	t.exec("INSERT INTO issuers (id, keys) VALUES ($1, $2) ON CONFLICT (id) DO UPDATE SET keys = excluded.keys", string(iss), jwks)
	return t.err
}

// GatewayDescriptor gives what a gateway registered.
func (b *Box) GatewayDescriptor(ctx context.Context, id gateway.GatewayID) (descriptor string, found bool, err error) {
	return b.text(ctx, "SELECT descriptor FROM gateways WHERE id = $1", string(id))
}

// IssuerKeys gives an issuer's JWKS.
func (b *Box) IssuerKeys(ctx context.Context, id gateway.IssuerID) (jwks string, found bool, err error) {
	jwks, found, err = b.text(ctx, "SELECT keys FROM issuers WHERE id = $1", string(id))
	return jwks, found && jwks != "", err
}

func (b *Box) text(ctx context.Context, q string, args ...any) (s string, found bool, err error) {
	err = b.read.QueryRowContext(ctx, q, args...).Scan(&s)
	if errors.Is(err, sql.ErrNoRows) {
		return "", false, nil
	}
	if err != nil {
		err = fmt.Errorf("mailbox: %w", err)
	}
	return s, err == nil, err
}

// Listens reports whether a gateway listens to an issuer.
func (b *Box) Listens(ctx context.Context, gw gateway.GatewayID, iss gateway.IssuerID) (bool, error) {
	_, found, err := b.text(ctx, "SELECT iss FROM listens WHERE gw = $1 AND iss = $2", string(gw), string(iss))
	return found, err
}

// Summary counts.
func (b *Box) Summary(ctx context.Context, now time.Time) (s gateway.MailboxSummary, err error) {
	err = b.read.QueryRowContext(ctx, `SELECT (SELECT count(*) FROM gateways),
		(SELECT count(*) FROM gateways g JOIN replicas r ON r.id = g.replica WHERE r.seen >= $1),
		(SELECT count(*) FROM issuers WHERE keys <> ''), (SELECT count(*) FROM items WHERE current), (SELECT count(*) FROM letters)`,
		seconds(now.Add(-replicaLost))).Scan(&s.Gateways, &s.Online, &s.Issuers, &s.Items, &s.Letters)
	return s, err
}
