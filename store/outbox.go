package store

import (
	"context"
	"database/sql"
	"encoding/json"

	"gardien/gateway"
)

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
	err = s.View(ctx, func(tx *Tx) error { // one instant: a restore in between would mix two logs
		var at sent
		tx.get("log", &log)
		tx.get("sent", &at)
		last = at.Up - at.Base
		tx.each("SELECT up, sub, body FROM events WHERE up > ? ORDER BY up LIMIT ?", []any{at.Up, limit}, func(rows *sql.Rows) error {
			var up int64
			var sub sql.NullString
			var body string
			var c canonical
			err := rows.Scan(&up, &sub, &body)
			if err == nil {
				err = json.Unmarshal([]byte(body), &c)
			}
			e := c.event()
			e.Sub = sub.String
			list = append(list, Outgoing{up - at.Base, e})
			return err
		})
		return nil
	})
	return log, last, list, err
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

// beginLog begins a new log with what has not gone up, as far as it is known here.
func (tx *core) beginLog() {
	var at sent
	tx.get("sent", &at)
	tx.put("sent", sent{at.Up, at.Up})
	tx.put("log", newLogID())
}

// firstUp is the first number of the outbox after one; where there is none, the next to come.
func (tx *core) firstUp(after int64) int64 {
	var n sql.NullInt64
	if tx.row("SELECT min(up) FROM events WHERE up > ?", []any{after}, &n); n.Valid {
		return n.Int64
	}
	return tx.s.head.up + 1
}

// abandon begins a new log after what can never go up: it is gone. A log of which nothing
// has gone up keeps its id.
func (tx *core) abandon(upTo int64) {
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
