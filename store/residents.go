package store

import (
	"crypto/subtle"
	"database/sql"
	"time"

	"gardien/gateway"
)

// Residents is who lives here, and what was answered to their requests.
type Residents struct{ *core }

// Put stores a paired resident with the keyed hash of its token.
func (tx Residents) Put(r gateway.Resident, token []byte) error {
	tx.people = true
	tx.exec("INSERT INTO residents (id, name, token, paired, confirmed) VALUES (?, ?, ?, ?, ?)", r.ID, r.Name, token, r.PairedAt.Unix(), !r.Unconfirmed)
	return tx.err
}

// Confirm takes the console's word that a resident lives here, and reports whether there was need of it.
func (tx Residents) Confirm(id gateway.ResidentID) bool {
	tx.people = true
	return tx.exec("UPDATE residents SET confirmed = 1 WHERE id = ? AND confirmed = 0", id) == 1
}

// Remove removes a resident with what opens as its own, and reports whether there was one.
func (tx Residents) Remove(id gateway.ResidentID) bool {
	tx.exec("DELETE FROM pins WHERE owner = ?1 OR duress = ?1", id)
	if tx.exec("DELETE FROM residents WHERE id = ?", id) == 0 {
		return false
	}
	tx.people = true
	tx.takeAway(func(r *removals) removal { return r.resident(id) })
	return true
}

// PutAnswer remembers an answer.
func (tx Residents) PutAnswer(key, body, answer []byte, at time.Time) error {
	tx.exec("INSERT OR REPLACE INTO answers (key, body, answer, at) VALUES (?, ?, ?, ?)", key, body, answer, at.Unix())
	return tx.err
}

// List gives the paired residents.
func (tx Residents) List() []gateway.Resident {
	list := []gateway.Resident{}
	tx.each("SELECT id, name, paired, NOT confirmed FROM residents ORDER BY paired, id", nil, func(rows *sql.Rows) error {
		var r gateway.Resident
		var paired int64
		err := rows.Scan(&r.ID, &r.Name, &paired, &r.Unconfirmed)
		r.PairedAt = unix(paired)
		list = append(list, r)
		return err
	})
	return list
}

// HasToken reports whether the resident's token has this keyed hash, and whether the resident is
// confirmed.
func (tx Residents) HasToken(id gateway.ResidentID, token []byte) (has, confirmed bool) {
	var have []byte
	has = tx.row("SELECT token, confirmed FROM residents WHERE id = ?", []any{id}, &have, &confirmed) && subtle.ConstantTimeCompare(have, token) == 1
	return has, has && confirmed
}

// Answer finds a remembered answer: the keyed hash of the request's body that it was
// given to, the sealed answer, and its instant.
func (tx Residents) Answer(key []byte) (body, answer []byte, at time.Time) {
	var seconds int64
	tx.row("SELECT body, answer, at FROM answers WHERE key = ?", []any{key}, &body, &answer, &seconds)
	return body, answer, unix(seconds)
}

// HasAnswers reports whether answers from before an instant are remembered.
func (tx Residents) HasAnswers(before time.Time) (has bool) {
	tx.row("SELECT EXISTS (SELECT 1 FROM answers WHERE at < ?)", []any{before.Unix()}, &has)
	return has
}

// DropAnswers forgets them.
func (tx Residents) DropAnswers(before time.Time) error {
	tx.exec("DELETE FROM answers WHERE at < ?", before.Unix())
	return tx.err
}
