package store

import (
	"cmp"
	"context"
	"database/sql"
	"encoding/json"
	"fmt"
	"strings"

	"gardien/gateway"
)

// told is what the record says of the grants that are alive in the tables, and of issuers. It is
// as large as those are many, not as the record is long (D8).
type told struct {
	alive  map[gateway.GrantID]*toldGrant
	paused map[gateway.IssuerID]bool
	recent int64                    // the events after this one are so
	named  map[gateway.GrantID]bool // by recent events: the tables have them all, alive or not
}

type toldGrant struct {
	limited  bool
	used     int                                     // as the table has it
	attempts map[gateway.AttemptID]gateway.AttemptID // to their episodes
	dead     bool                                    // revoked or blocked, and no later version since
}

// entries counts the uses that the record has: all doors of one entry are one.
func (g *toldGrant) entries() int {
	episodes := map[gateway.AttemptID]bool{}
	for _, e := range g.attempts {
		episodes[e] = true
	}
	return len(episodes)
}

// tellers are the events that speak of grants and issuers.
var tellers = []gateway.EventType{gateway.AccessGranted, gateway.GrantAdded, gateway.GrantUpdated, gateway.GrantRevokedOn,
	gateway.IssuerPausedOn, gateway.IssuerResumed, gateway.DatabaseRestored, gateway.DatabaseRolledBack}

// ofTypes is the condition that an event is of one of some types. The type is the last member of an
// event as it is stored, which finds the few that matter without reading the others' JSON.
func ofTypes(list ...gateway.EventType) string {
	var or []string
	for _, e := range list {
		end := fmt.Sprintf(`"type":"%s"}`, e)
		or = append(or, fmt.Sprintf("substr(body, -%d) = '%s'", len(end), end))
	}
	return strings.Join(or, " OR ")
}

// listen reads the record after an event.
func listen(conn *sql.Conn, alive map[gateway.GrantID]*toldGrant, after, recent int64) (told, error) {
	t := told{alive, map[gateway.IssuerID]bool{}, recent, map[gateway.GrantID]bool{}}
	rows, err := conn.QueryContext(context.Background(), "SELECT body FROM events WHERE seq > ? AND ("+ofTypes(tellers...)+") ORDER BY seq", after)
	if err != nil {
		return t, err
	}
	defer rows.Close()
	for rows.Next() {
		var body sql.RawBytes
		var c canonical
		if err := rows.Scan(&body); err != nil {
			return t, err
		}
		if json.Unmarshal(body, &c) != nil {
			continue // of an age that the tail does not reach; Verify finds it
		}
		t.hear(c)
	}
	return t, rows.Err()
}

func (t *told) hear(c canonical) {
	id := gateway.GrantID{Issuer: c.Issuer, JTI: c.Grant}
	g := t.alive[id]
	if c.Seq > t.recent && c.Grant != "" && c.Reader != gateway.ReaderApp {
		t.named[id] = true
	}
	switch c.Type {
	case gateway.DatabaseRestored, gateway.DatabaseRolledBack: // the tables know more than this record from then on
		clear(t.paused)
		clear(t.named)
		for _, g := range t.alive {
			g.attempts, g.dead = nil, false
		}
	case gateway.AccessGranted:
		if g == nil || !g.limited || c.Reader == gateway.ReaderApp { // a command, whose id may be a grant's, too
			return
		}
		if g.attempts == nil {
			g.attempts = map[gateway.AttemptID]gateway.AttemptID{}
		}
		if _, again := g.attempts[c.Attempt]; !again { // a retry has its first attempt's id
			g.attempts[c.Attempt] = cmp.Or(c.Episode, c.Attempt)
		}
	case gateway.GrantAdded, gateway.GrantUpdated, gateway.GrantRevokedOn:
		if g != nil {
			g.dead = c.Type == gateway.GrantRevokedOn
		}
	case gateway.IssuerPausedOn, gateway.IssuerResumed:
		if c.Issuer != "" {
			t.paused[c.Issuer] = c.Type == gateway.IssuerPausedOn
		}
	}
}

// alive lists the grants that could open, if the tables are right, and after which event the
// record speaks of them: of those with limited uses all of it, of others what a card can still
// lose that lies about a flush.
func (tx *Tx) alive(recent int64) (list map[gateway.GrantID]*toldGrant, after int64) {
	after = recent
	list = map[gateway.GrantID]*toldGrant{}
	floor := floorTime(tx.value("floor")) // what is over then stays over
	tx.each("SELECT iss, jti, uses, used, since FROM grants WHERE status = 'active' AND NOT block AND NOT stripped AND (uses = 0 OR used < uses) AND exp > ?",
		[]any{floor.Unix()}, func(rows *sql.Rows) error {
			var id gateway.GrantID
			var g toldGrant
			var uses int
			var since int64
			err := rows.Scan(&id.Issuer, &id.JTI, &uses, &g.used, &since)
			if g.limited = uses > 0; g.limited {
				after = min(after, since)
			}
			list[id] = &g
			return err
		})
	return list, after
}

// amends is what the tables lack.
type amends struct {
	used   map[gateway.GrantID]int
	dead   []gateway.GrantID
	paused []gateway.IssuerID
}

// heldAgainstRecord finds what lives in the tables against the record's word, and says what; ""
// where all agree.
func (tx *Tx) heldAgainstRecord(conn *sql.Conn) (a amends, why string, err error) {
	a.used = map[gateway.GrantID]int{}
	recent := max(0, tx.s.head.seq-tailEvents)
	alive, after := tx.alive(recent)
	if tx.err != nil {
		return a, "", tx.err
	}
	t, err := listen(conn, alive, after, recent)
	if err != nil {
		return a, "", err
	}
	for id, g := range t.alive {
		if n := g.entries(); g.used < n {
			a.used[id] = n
			why = fmt.Sprintf("grant %s was used %d times, and the record has %d", id, g.used, n)
		}
		if g.dead {
			a.dead = append(a.dead, id)
			why = fmt.Sprintf("grant %s is alive, and the record has its end", id)
		}
	}
	for id := range t.named {
		if _, found := tx.Grants.Get(id); !found {
			why = fmt.Sprintf("grant %s is gone, and the record has it", id)
		}
	}
	for id, paused := range t.paused {
		if paused && tx.Issuers.State(id, "").Paused == nil {
			a.paused = append(a.paused, id)
			why = fmt.Sprintf("issuer %s is not paused, and the record has its pause", id)
		}
	}
	return a, why, tx.err
}

// amend gives the tables what the record has.
func (tx *Tx) amend(a amends) {
	for id, n := range a.used {
		tx.exec("UPDATE grants SET used = max(used, ?) WHERE iss = ? AND jti = ?", n, id.Issuer, id.JTI)
	}
	for _, id := range a.dead {
		tx.Grants.Block(id)
		tx.Codes.Wipe(id)
	}
	for _, id := range a.paused {
		tx.Issuers.Pause(id, &gateway.Pause{})
	}
}
