package store

import (
	"context"
	"database/sql"
	"encoding/json"
	"maps"
	"slices"
	"strings"

	"gardien/gateway"
)

// What belongs to one entry stands in the record under one episode: the attempt that it began with.
// A leaf does not know who opened it, so what it does after an opening is put there, over restarts,
// too, until it is closed again.

// openEntry is an entry whose release is not over.
type openEntry struct {
	Attempt gateway.AttemptID `json:"attempt"`
	Episode gateway.AttemptID `json:"episode"`
	Seq     int64             `json:"seq"` // of its access_granted
	Reader  gateway.ReaderID  `json:"reader"`
	Issuer  gateway.IssuerID  `json:"issuer,omitempty"`
	Grant   string            `json:"grant,omitempty"`
}

// leafEvents are those of a leaf that has been opened.
var leafEvents = []gateway.EventType{gateway.DoorClosed, gateway.DoorHeldOpen}

// episodeOf gives the episode of an event that does not say it.
func (tx *core) episodeOf(e gateway.Event) (episode gateway.AttemptID) {
	var open []openEntry
	switch {
	case e.Attempt != "": // another's where it is that of a further door
		tx.get("open/"+string(e.Door), &open)
		for _, o := range append(open, tx.over...) {
			if o.Attempt == e.Attempt {
				return o.Episode
			}
		}
		return e.Attempt
	case e.Type == gateway.DoorOpened:
		if tx.get("open/"+string(e.Door), &open) && len(open) > 0 {
			return open[len(open)-1].Episode
		}
	case slices.Contains(leafEvents, e.Type):
		episode = tx.s.head.leaves[e.Door]
	}
	return episode
}

// trackLeaf keeps the episode of a leaf that is open.
func (tx *core) trackLeaf(e gateway.Event) {
	if e.Type == gateway.DoorOpened || e.Type == gateway.DoorClosed {
		tx.s.head.leaves = tx.s.head.leaves.with(e)
	}
}

// leaves is the episodes of those leaves that are open. It is never changed: a transaction that
// fails goes back to the one before.
type leaves map[gateway.DoorID]gateway.AttemptID

// with gives what follows from an opening or a closing.
func (l leaves) with(e gateway.Event) leaves {
	next := maps.Clone(l)
	if next == nil {
		next = leaves{}
	}
	delete(next, e.Door)
	if e.Type == gateway.DoorOpened && e.Episode != "" {
		next[e.Door] = e.Episode
	}
	return next
}

// loadLeaves reads from the newest events which leaves were left open, and by whom.
func loadLeaves(s *Store) error {
	s.head.leaves = nil
	rows, err := s.conn.QueryContext(context.Background(), "SELECT body FROM events WHERE seq > ? AND ("+ofTypes(gateway.DoorOpened, gateway.DoorClosed)+") ORDER BY seq",
		s.head.seq-tailEvents)
	if err != nil {
		return err
	}
	defer rows.Close()
	for rows.Next() {
		var body sql.RawBytes
		var c canonical
		if err := rows.Scan(&body); err != nil {
			return err
		}
		if json.Unmarshal(body, &c) == nil { // Verify finds one that cannot be read
			s.head.leaves = s.head.leaves.with(c.event())
		}
	}
	return rows.Err()
}

// noteEntry keeps where the record has an entry whose release is over: its first try, unless the record
// has moved on so far that this is out of sight.
func (tx *core) noteEntry(attempt gateway.AttemptID, seq int64) {
	tx.exec("INSERT INTO entries (attempt, seq) VALUES (?1, ?2) ON CONFLICT (attempt) DO UPDATE SET seq = ?2 WHERE seq <= ?3",
		attempt, seq, seq-gateway.ReceiptSpan/2)
}

func (tx *core) noteEntries(list []openEntry) {
	for _, o := range list {
		tx.noteEntry(o.Attempt, o.Seq)
	}
}

// noteOpen keeps where the record has the entries whose release goes on: another database has what
// follows (D5).
func (tx *core) noteOpen() {
	for _, key := range tx.keys("open/") {
		var open []openEntry
		tx.get(key, &open)
		tx.noteEntries(open)
	}
}

func (tx *core) trackEntry(seq int64, e gateway.Event) {
	tx.trackLeaf(e)
	key := "open/" + string(e.Door)
	var open []openEntry
	switch e.Type {
	case gateway.AccessGranted:
		tx.get(key, &open)
		// Overlapping entries are few; the bound keeps a stuck door from growing the page.
		if open = append(open, openEntry{e.Attempt, e.Episode, seq, e.Reader, e.Issuer, e.Grant}); len(open) > 16 {
			tx.noteEntries(open[:1])
			open = open[1:]
		}
		tx.put(key, open)
	case gateway.StrikeSecured, gateway.LockLockedEvent:
		tx.get(key, &open)
		// Who was granted after the last who was let in waits for a release of their own.
		last := len(open) - 1
		for i, o := range open {
			if o.Attempt == e.Attempt {
				last = i
			}
		}
		over := open[:last+1]
		tx.noteEntries(over)
		tx.over = append(tx.over, over...)
		if open = open[last+1:]; len(open) > 0 {
			tx.put(key, open)
		} else {
			tx.drop(key)
		}
	case gateway.AccessDenied: // granted, but the hardware failed
		if e.Reason != gateway.Fault || !tx.get(key, &open) {
			return
		}
		open = slices.DeleteFunc(open, func(o openEntry) bool {
			if o.Attempt == e.Attempt {
				tx.noteEntry(o.Attempt, o.Seq)
			}
			return o.Attempt == e.Attempt
		})
		tx.put(key, open)
	}
}

// Interrupt writes an interrupted event for every entry that a crash or a power
// cut left open, and gives the door of each (D1). Nothing is released again.
func (tx Record) Interrupt() (doors []gateway.DoorID) {
	for _, key := range tx.keys("open/") {
		var open []openEntry
		tx.get(key, &open)
		door := gateway.DoorID(strings.TrimPrefix(key, "open/"))
		for _, o := range append(open, tx.over...) {
			tx.Append(gateway.Event{Type: gateway.Interrupted, Door: door, Reader: o.Reader, Issuer: o.Issuer, Grant: o.Grant, Attempt: o.Attempt, Episode: o.Episode})
			doors = append(doors, door)
		}
		tx.noteEntries(open)
		tx.drop(key)
	}
	return doors
}
