package mailbox

import (
	"cmp"
	"context"
	"database/sql"
	"errors"
	"fmt"
	"time"

	"gardien/gateway"
)

// What an issuer may have at one gateway: so many items, and of the bytes that a gateway
// takes in one snapshot an equal share with the others that it listens to. One issuer's
// plenty must not keep another's revocation from arriving.
const (
	MaxItems     = 20_000
	maxBytes     = 24 << 20
	itemOverhead = 150 // bytes of an item in a snapshot besides its body
	slack        = 256 // bytes that a new version may always be longer: a revocation is
)

// Put writes an item of an issuer. isNew is false where it was there already, word for
// word. Refusals are ErrNoSuchGateway, ErrNotOwner, ErrMailboxFull and *VersionConflict.
func (b *Box) Put(ctx context.Context, gw gateway.GatewayID, iss gateway.IssuerID, i gateway.Item, now time.Time) (seq int64, isNew bool, err error) {
	err = b.update(ctx, func(t *tx) error {
		seq, isNew = 0, false
		var head, count, bytes, sharers int64
		var digest []byte
		if !t.row("SELECT head, digest FROM gateways WHERE id = $1"+t.lock(), []any{string(gw)}, &head, &digest) ||
			!t.row("SELECT items, bytes, (SELECT count(*) FROM listens WHERE gw = $1) FROM listens WHERE gw = $1 AND iss = $2",
				[]any{string(gw), string(iss)}, &count, &bytes, &sharers) {
			return cmp.Or(t.err, gateway.ErrNoSuchGateway)
		}
		d, err := scanDigest(digest)
		if err != nil {
			return err
		}
		old := gateway.Item{ID: i.ID}
		var oldIss gateway.IssuerID
		had := t.row("SELECT seq, iss, kind, ver, body FROM items WHERE gw = $1 AND id = $2 AND current", []any{string(gw), i.ID},
			&seq, &oldIss, &old.Kind, &old.Ver, &old.Body)
		ver := old.Ver
		grows := int64(len(i.Body) - len(old.Body))
		full := bytes+grows+itemOverhead > maxBytes/sharers
		mine := oldIss == iss
		if had && !mine && i.ID == own(iss, i.Kind) { // a stranger stands in its place
			mine, old.Ver = true, 0
		}
		switch {
		case t.err != nil:
			return t.err
		case had && !mine:
			return gateway.ErrNotOwner
		case had && i.Ver == old.Ver && i.Body == old.Body:
			return nil
		case had && i.Ver <= old.Ver:
			return &gateway.VersionConflict{Ver: old.Ver}
		case i.Kind != gateway.ItemCommand && (!had && count >= MaxItems || full && (!had || grows > slack)):
			return gateway.ErrMailboxFull
		}
		if had {
			t.exec("UPDATE items SET current = false WHERE gw = $1 AND seq = $2", string(gw), seq)
			if old.Kind != gateway.ItemCommand {
				old.Ver = ver
				d.Toggle(old.Sum())
				t.count(gw, oldIss, -1, -len(old.Body)-itemOverhead)
			}
		}
		if i.Kind != gateway.ItemCommand {
			d.Toggle(i.Sum())
			t.count(gw, iss, 1, len(i.Body)+itemOverhead)
		}
		seq, isNew = head+1, true
		t.exec("INSERT INTO items (gw, seq, id, iss, kind, ver, exp, body, written, current) VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, true)",
			string(gw), seq, i.ID, string(iss), string(i.Kind), i.Ver, i.Exp, i.Body, seconds(now))
		t.exec("UPDATE gateways SET head = $1, digest = $2 WHERE id = $3", seq, d[:], string(gw))
		t.topics = append(t.topics, gatewayTopic(gw))
		return t.err
	})
	return seq, isNew, err
}

// own is the id of the one item of its kind that an issuer has, "" for kinds of which it
// has many.
func own(iss gateway.IssuerID, kind gateway.ItemKind) string {
	switch kind {
	case gateway.ItemManifest, gateway.ItemKeys:
		return gateway.ItemID(iss, string(kind))
	}
	return ""
}

// count keeps what an issuer has at a gateway.
func (t *tx) count(gw gateway.GatewayID, iss gateway.IssuerID, items, bytes int) {
	t.exec("UPDATE listens SET items = items + $1, bytes = bytes + $2 WHERE gw = $3 AND iss = $4", items, bytes, string(gw), string(iss))
}

// Feed gives up to limit changes after a position, in order, and the head that they lead
// to; done says that nothing is left. It is one statement: head, digest and changes are of
// one instant. Commands past their end are left out. Refusals are ErrNoSuchGateway and
// *FeedGone.
func (b *Box) Feed(ctx context.Context, gw gateway.GatewayID, p gateway.Position, limit int, now time.Time) (page gateway.FeedPage, done bool, err error) {
	page.Items = []gateway.FeedItem{}
	found := false
	err = each(ctx, b.read, func(rows *sql.Rows) error {
		var digest []byte
		var seq, ver, exp sql.NullInt64
		var id, kind, body sql.NullString
		err := rows.Scan(&page.Epoch, &page.Head, &page.Floor, &digest, &seq, &id, &kind, &ver, &exp, &body)
		if err == nil {
			page.Digest, err = scanDigest(digest)
		}
		if seq.Valid {
			page.Items = append(page.Items, gateway.FeedItem{Seq: seq.Int64, Item: gateway.Item{ID: id.String,
				Kind: gateway.ItemKind(kind.String), Ver: ver.Int64, Exp: exp.Int64, Body: body.String}})
		}
		found = true
		return err
	}, `SELECT g.epoch, g.head, g.floor, g.digest, i.seq, i.id, i.kind, i.ver, i.exp, i.body FROM gateways g LEFT JOIN
		(SELECT seq, id, kind, ver, exp, body FROM items WHERE gw = $1 AND seq > $2 AND (kind <> 'command' OR exp > $3) ORDER BY seq LIMIT $4) i
		ON true WHERE g.id = $1 ORDER BY i.seq`, string(gw), p.Seq, seconds(now), limit)
	switch {
	case err != nil:
		return page, false, fmt.Errorf("mailbox: feed: %w", err)
	case !found:
		return page, false, gateway.ErrNoSuchGateway
	case p.Epoch == page.Epoch && p.Seq > page.Head:
		// It knows changes that this database does not: it is older than it was.
		page.FeedHead, err = b.overtaken(ctx, gw, p.Seq)
		if err != nil {
			return page, false, err
		}
		fallthrough
	case p.Epoch != page.Epoch || p.Seq < page.Floor:
		return page, false, &gateway.FeedGone{FeedHead: page.FeedHead}
	}
	return page, len(page.Items) < limit, nil
}

// overtaken starts a new epoch for a gateway that has seen more than there is.
func (b *Box) overtaken(ctx context.Context, gw gateway.GatewayID, seen int64) (h gateway.FeedHead, err error) {
	err = b.update(ctx, func(t *tx) error {
		var digest []byte
		if !t.row("SELECT epoch, head, digest FROM gateways WHERE id = $1"+t.lock(), []any{string(gw)}, &h.Epoch, &h.Head, &digest) {
			return t.err
		}
		if h.Digest, err = scanDigest(digest); err != nil || h.Head >= seen {
			return err
		}
		h.Epoch, h.Head, h.Floor = randomID(8), seen, seen
		t.exec("UPDATE gateways SET epoch = $1, head = $2, floor = $2 WHERE id = $3", h.Epoch, h.Head, string(gw))
		return t.err
	})
	return h, err
}

// Snapshot gives all items of a gateway, commands aside, as of one instant.
func (b *Box) Snapshot(ctx context.Context, gw gateway.GatewayID) (s gateway.FeedSnapshot, err error) {
	s.Items = []gateway.Item{}
	found := false
	err = each(ctx, b.read, func(rows *sql.Rows) error {
		var digest []byte
		var id, kind, body sql.NullString
		var ver, exp sql.NullInt64
		err := rows.Scan(&s.Epoch, &s.Head, &digest, &id, &kind, &ver, &exp, &body)
		if err == nil {
			s.Digest, err = scanDigest(digest)
		}
		if id.Valid {
			s.Items = append(s.Items, gateway.Item{ID: id.String, Kind: gateway.ItemKind(kind.String), Ver: ver.Int64, Exp: exp.Int64, Body: body.String})
		}
		found = true
		return err
	}, `SELECT g.epoch, g.head, g.digest, i.id, i.kind, i.ver, i.exp, i.body FROM gateways g LEFT JOIN items i
		ON i.gw = g.id AND i.current AND i.kind <> 'command' WHERE g.id = $1 ORDER BY i.seq`, string(gw))
	if err != nil {
		return s, fmt.Errorf("mailbox: snapshot: %w", err)
	}
	if !found {
		return s, gateway.ErrNoSuchGateway
	}
	return s, nil
}

// Purge removes what is over: commands at their end, an item's past after a day, items a
// day after their end, letters after 90 days, codes a day after their end.
func (b *Box) Purge(ctx context.Context, now time.Time) error {
	const day = 24 * time.Hour
	if err := b.PurgeCommands(ctx, now); err != nil {
		return err
	}
	err := b.update(ctx, func(t *tx) error {
		t.exec("DELETE FROM items WHERE NOT current AND written < $1", seconds(now.Add(-day)))
		t.exec("DELETE FROM letters WHERE written < $1", seconds(now.Add(-90*day)))
		t.exec("DELETE FROM codes WHERE expires < $1", seconds(now.Add(-day)))
		t.exec("DELETE FROM replicas WHERE seen < $1", seconds(now.Add(-day)))
		return t.err
	})
	if err != nil {
		return err
	}
	var gateways []gateway.GatewayID
	err = each(ctx, b.read, func(rows *sql.Rows) error {
		var gw gateway.GatewayID
		err := rows.Scan(&gw)
		gateways = append(gateways, gw)
		return err
	}, "SELECT DISTINCT gw FROM items WHERE current AND exp < $1", seconds(now.Add(-day)))
	for _, gw := range gateways {
		err = errors.Join(err, b.Compact(ctx, gw, now.Add(-day)))
	}
	return err
}

// PurgeCommands removes commands at their end.
func (b *Box) PurgeCommands(ctx context.Context, now time.Time) error {
	return b.update(ctx, func(t *tx) error {
		t.exec("DELETE FROM items WHERE kind = 'command' AND exp <= $1", seconds(now))
		return t.err
	})
}

// Compact removes a gateway's items that ended before an instant, and all that is
// superseded. The floor rises to the head: who comes with less takes a snapshot.
func (b *Box) Compact(ctx context.Context, gw gateway.GatewayID, before time.Time) error {
	return b.update(ctx, func(t *tx) error {
		var digest []byte
		if !t.row("SELECT digest FROM gateways WHERE id = $1"+t.lock(), []any{string(gw)}, &digest) {
			return t.err
		}
		d, err := scanDigest(digest)
		if err != nil {
			return err
		}
		gone, bytes := map[gateway.IssuerID]int{}, map[gateway.IssuerID]int{}
		t.each("SELECT id, iss, ver, body FROM items WHERE gw = $1 AND current AND kind <> 'command' AND exp < $2", []any{string(gw), seconds(before)},
			func(rows *sql.Rows) error {
				var i gateway.Item
				var iss gateway.IssuerID
				err := rows.Scan(&i.ID, &iss, &i.Ver, &i.Body)
				d.Toggle(i.Sum())
				gone[iss]++
				bytes[iss] += len(i.Body) + itemOverhead
				return err
			})
		t.exec("DELETE FROM items WHERE gw = $1 AND kind <> 'command' AND (NOT current OR exp < $2)", string(gw), seconds(before))
		for iss, n := range gone {
			t.count(gw, iss, -n, -bytes[iss])
		}
		t.exec("UPDATE gateways SET digest = $1, floor = head WHERE id = $2", d[:], string(gw))
		t.topics = append(t.topics, gatewayTopic(gw))
		return t.err
	})
}

// leap is how far Restored moves all numbers: beyond whatever was handed out since the
// backup was made.
const leap = 1 << 32

// Restored says that the database came back from a backup: see the package comment.
func (b *Box) Restored(ctx context.Context) error {
	return b.update(ctx, func(t *tx) error {
		t.exec("UPDATE gateways SET epoch = $1, head = head + $2, floor = head + $2", randomID(8), int64(leap))
		t.exec("UPDATE issuers SET head = head + $1", int64(leap))
		return t.err
	})
}
