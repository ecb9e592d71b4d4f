package mailbox

import (
	"cmp"
	"context"
	"database/sql"
	"fmt"
	"maps"
	"slices"
	"time"

	"gardien/gateway"
)

// Upload takes letters of a gateway's log. Those that came before are ignored, one that
// is missing before them is *UploadGap. Letters to issuers that the gateway does not list go
// nowhere. Whichever way it ends, the newest head is returned.
func (b *Box) Upload(ctx context.Context, gw gateway.GatewayID, u gateway.Upload, now time.Time) (r gateway.Receipt, err error) {
	err = b.update(ctx, func(t *tx) error {
		if !t.row("SELECT record_head FROM gateways WHERE id = $1"+t.lock(), []any{string(gw)}, &r.Head) {
			return cmp.Or(t.err, gateway.ErrNoSuchGateway)
		}
		var id string
		var last int64
		t.row("SELECT last FROM uploads WHERE gw = $1 AND log = $2", []any{string(gw), u.Log}, &last)
		to := map[gateway.IssuerID][]string{}
		ack := last
		for _, l := range u.Letters {
			if l.Seq <= ack {
				continue
			}
			if l.Seq != ack+1 {
				return &gateway.UploadGap{Expect: last + 1, Head: r.Head}
			}
			to[l.To] = append(to[l.To], l.Body)
			ack = l.Seq
		}
		r.Ack = ack
		if u.Head != "" && u.Head != r.Head {
			r.Head = u.Head
			t.exec("UPDATE gateways SET record_head = $1 WHERE id = $2", u.Head, string(gw))
		}
		if ack == last {
			return t.err
		}
		t.exec("INSERT INTO uploads (gw, log, last) VALUES ($1, $2, $3) ON CONFLICT (gw, log) DO UPDATE SET last = excluded.last", string(gw), u.Log, ack)
		for _, iss := range slices.Sorted(maps.Keys(to)) { // in one order, so that uploads do not lock each other out
			if !t.row("SELECT iss FROM listens WHERE gw = $1 AND iss = $2", []any{string(gw), string(iss)}, &id) {
				continue
			}
			t.deliver(gw, iss, to[iss], now)
		}
		return t.err
	})
	return r, err
}

func (t *tx) deliver(gw gateway.GatewayID, iss gateway.IssuerID, bodies []string, now time.Time) {
	var head int64
	t.row("INSERT INTO issuers (id, head) VALUES ($1, $2) ON CONFLICT (id) DO UPDATE SET head = issuers.head + excluded.head RETURNING head",
		[]any{string(iss), len(bodies)}, &head)
	for i, body := range bodies {
		t.exec("INSERT INTO letters (iss, seq, gw, body, written) VALUES ($1, $2, $3, $4, $5)",
			string(iss), head-int64(len(bodies)-1-i), string(gw), body, seconds(now))
	}
	t.topics = append(t.topics, issuerTopic(iss))
}

// Letters gives up to limit letters of an issuer after a number, and the number of the
// newest. Who comes with more than there is has seen what this database has lost: its
// numbers go on from there.
func (b *Box) Letters(ctx context.Context, iss gateway.IssuerID, after int64, limit int) (list []gateway.Delivered, head int64, err error) {
	found := false
	err = each(ctx, b.read, func(rows *sql.Rows) error {
		var seq sql.NullInt64
		var gw, body sql.NullString
		err := rows.Scan(&head, &seq, &gw, &body)
		if seq.Valid {
			list = append(list, gateway.Delivered{Seq: seq.Int64, Gateway: gateway.GatewayID(gw.String), Body: body.String})
		}
		found = true
		return err
	}, `SELECT i.head, l.seq, l.gw, l.body FROM issuers i LEFT JOIN
		(SELECT seq, gw, body FROM letters WHERE iss = $1 AND seq > $2 ORDER BY seq LIMIT $3) l ON true WHERE i.id = $1 ORDER BY l.seq`,
		string(iss), after, limit)
	if err != nil {
		return nil, 0, fmt.Errorf("mailbox: letters: %w", err)
	}
	if found && after > head {
		err = b.update(ctx, func(t *tx) error {
			t.exec("UPDATE issuers SET head = $1 WHERE id = $2 AND head < $1", after, string(iss))
			return t.err
		})
		head = after
	}
	return list, head, err
}

// Observe writes what feeds have seen of gateways.
func (b *Box) Observe(ctx context.Context, changes []gateway.Sighting) error {
	slices.SortStableFunc(changes, func(x, y gateway.Sighting) int { return cmp.Compare(x.Gateway, y.Gateway) })
	return b.update(ctx, func(t *tx) error {
		for _, c := range changes {
			if c.Position > 0 {
				t.exec("UPDATE gateways SET position = $1, position_at = $2 WHERE id = $3 AND (position <> $1 OR position_at < $2 - 600)",
					c.Position, seconds(c.At), string(c.Gateway))
			}
			if c.Online == nil {
				continue
			}
			if *c.Online {
				t.exec("UPDATE gateways SET replica = $1, changed = $2 WHERE id = $3", b.replica, c.At.UnixMilli(), string(c.Gateway))
			} else { // unless another replica has it by now
				t.exec("UPDATE gateways SET replica = '', changed = $1 WHERE id = $2 AND replica = $3", c.At.UnixMilli(), string(c.Gateway), b.replica)
			}
			t.each("SELECT iss FROM listens WHERE gw = $1", []any{string(c.Gateway)}, func(rows *sql.Rows) error {
				var iss gateway.IssuerID
				err := rows.Scan(&iss)
				t.topics = append(t.topics, issuerTopic(iss))
				return err
			})
		}
		return t.err
	})
}

// Fleet lists the gateways that listen to an issuer, and where they stand; those that
// changed since an instant, or all if that is zero.
func (b *Box) Fleet(ctx context.Context, iss gateway.IssuerID, since, now time.Time) (list []gateway.Member, err error) {
	list = []gateway.Member{}
	stamp := func(t time.Time, never bool) string {
		if never {
			return ""
		}
		return t.UTC().Format(time.RFC3339)
	}
	from := int64(-1)
	if !since.IsZero() {
		from = since.UnixMilli()
	}
	err = each(ctx, b.read, func(rows *sql.Rows) error {
		var m gateway.Member
		var changed, positionAt int64
		err := rows.Scan(&m.Gateway, &m.Descriptor, &m.Online, &changed, &m.Head, &m.Position, &positionAt)
		m.At = stamp(time.UnixMilli(changed), changed == 0)
		m.PositionAt = stamp(time.Unix(positionAt, 0), positionAt == 0)
		list = append(list, m)
		return err
	}, `SELECT g.id, g.descriptor, (r.id IS NOT NULL), g.changed, g.head, g.position, g.position_at FROM listens l JOIN gateways g ON g.id = l.gw
		LEFT JOIN replicas r ON r.id = g.replica AND r.seen >= $1 WHERE l.iss = $2 AND g.changed >= $3 ORDER BY g.id`,
		seconds(now.Add(-replicaLost)), string(iss), from)
	return list, err
}
