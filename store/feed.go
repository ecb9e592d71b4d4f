package store

import (
	"database/sql"

	"gardien/gateway"
)

// Feed is where we are in the mailbox's feed, and which of its items have come.
type Feed struct{ *core }

// feedState is where we are in the mailbox's feed, and the digest of what it has.
type feedState struct {
	gateway.Position
	Digest gateway.Digest `json:"digest"`
}

// Advance moves our place in the feed.
func (tx Feed) Advance(seq int64) {
	var f feedState
	tx.get("feed", &f)
	f.Seq = seq
	tx.put("feed", f)
}

// Note notes an item of the feed and its place; a command leaves a place only.
func (tx Feed) Note(i gateway.FeedItem, taken bool) {
	var f feedState
	tx.get("feed", &f)
	f.Seq = max(f.Seq, i.Seq)
	if i.Kind != gateway.ItemCommand {
		sum := i.Sum()
		if old, _, had := tx.Item(i.ID); had {
			f.Digest.Toggle(old)
		}
		f.Digest.Toggle(sum)
		tx.exec("INSERT INTO items (id, sum, taken) VALUES (?, ?, ?) ON CONFLICT (id) DO UPDATE SET sum = excluded.sum, taken = excluded.taken",
			i.ID, sum[:], taken)
	}
	tx.put("feed", f)
}

// Item finds what is noted of an item.
func (tx Feed) Item(id string) (sum gateway.Digest, taken, found bool) {
	var raw []byte
	if found = tx.row("SELECT sum, taken FROM items WHERE id = ?", []any{id}, &raw, &taken); found {
		copy(sum[:], raw)
	}
	return sum, taken, found
}

// Reset forgets what is noted of all items, before a snapshot is noted.
func (tx Feed) Reset(p gateway.Position) {
	tx.exec("DELETE FROM items")
	tx.put("feed", feedState{Position: p})
}

// Place gives our place in the feed and the digest of what it has for us.
func (tx Feed) Place() (gateway.Position, gateway.Digest) {
	var f feedState
	tx.get("feed", &f)
	return f.Position, f.Digest
}

// Taken gives the items that need not be looked at again, by id.
func (tx Feed) Taken() map[string]gateway.Digest {
	list := map[string]gateway.Digest{}
	tx.each("SELECT id, sum FROM items WHERE taken = 1", nil, func(rows *sql.Rows) error {
		var id string
		var raw []byte
		if err := rows.Scan(&id, &raw); err != nil {
			return err
		}
		var d gateway.Digest
		copy(d[:], raw)
		list[id] = d
		return nil
	})
	return list
}

// Resync makes the next look at the feed a snapshot: the rules have changed, and what was
// rejected may be good now.
func (tx Feed) Resync() {
	var f feedState
	if tx.get("feed", &f) {
		f.Position = gateway.Position{}
		tx.put("feed", f)
	}
}
