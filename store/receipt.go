package store

import (
	"database/sql"
	"encoding/json"
	"fmt"

	"gardien/gateway"
)

// Entry finds the access_granted of an entry whose release is over; false where the record has none,
// and while there is a stand-in: its events get other numbers.
func (tx Record) Entry(attempt gateway.AttemptID) (e gateway.Event, found bool) {
	var body string
	if standsIn(tx.s) || !tx.row("SELECT body FROM entries JOIN events USING (seq) WHERE attempt = ?", []any{attempt}, &body) {
		return e, false
	}
	var c canonical
	if err := json.Unmarshal([]byte(body), &c); err != nil {
		tx.fail(fmt.Errorf("the entry of attempt %s: %w", attempt, err))
		return e, false
	}
	return c.event(), true
}

// Story is the record of one entry: what happened from its access_granted on, and the log that the
// record is known by.
type Story struct {
	Events []gateway.Event
	Log    string
}

// Story gives an entry's events as far as they outlive a power cut, at most gateway.ReceiptSpan
// behind the first; none where the record has no such entry, or not any more. Events that are not
// what was written are an error.
func (tx Record) Story(attempt gateway.AttemptID) (s Story) {
	if standsIn(tx.s) {
		return s
	}
	tx.get("log", &s.Log)
	s.Events = tx.story(attempt)
	return s
}

func (tx Record) story(attempt gateway.AttemptID) (list []gateway.Event) {
	var first int64
	if !tx.row("SELECT seq FROM entries WHERE attempt = ?", []any{attempt}, &first) {
		return nil
	}
	at, end := origin, savedHead{}
	tx.get("anchor", &at)
	tx.get("head", &end)
	if first < at.First { // past its retention
		return nil
	}
	prev := unhex(at.Prev) // where it is the first that is kept; else one row more at the front has it
	tx.each("SELECT "+eventColumns+" FROM events WHERE seq >= ? AND seq <= ? ORDER BY seq LIMIT ?",
		[]any{max(first-1, at.First), end.Seq, gateway.ReceiptSpan + 2}, func(rows *sql.Rows) error {
			var row eventRow
			if err := rows.Scan(row.dest()...); err != nil {
				return err
			}
			if row.seq >= first {
				e, err := row.event(first+int64(len(list)), prev)
				if err != nil {
					return err
				}
				list = append(list, e)
			}
			copy(prev[:], row.hash)
			return nil
		})
	if tx.err == nil && len(list) > 0 && (list[0].Type != gateway.AccessGranted || list[0].Attempt != attempt) {
		tx.fail(fmt.Errorf("event %d is not the entry of attempt %s: verify the record (gardien events verify)", first, attempt))
	}
	if tx.err != nil {
		return nil
	}
	return list[:min(len(list), gateway.ReceiptSpan+1)]
}

// event gives a row as an event, if it is what was written at its place in the chain.
func (r *eventRow) event(seq int64, prev [32]byte) (e gateway.Event, err error) {
	if problem := r.check(seq, prev); problem != "" {
		return e, fmt.Errorf("event %d: %s: verify the record (gardien events verify)", seq, problem)
	}
	var c canonical
	if err := json.Unmarshal([]byte(r.body), &c); err != nil {
		return e, err
	}
	e = c.event()
	e.Hash = fmt.Sprintf("%x", r.hash)
	return e, nil
}
