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
	tx.exec("INSERT INTO residents (id, name, token, paired) VALUES (?, ?, ?, ?)", r.ID, r.Name, token, r.PairedAt.Unix())
	return tx.err
}

// Remove removes a resident and its duress PINs, and reports whether there
// was one.
func (tx Residents) Remove(id gateway.ResidentID) bool {
	tx.exec("DELETE FROM pins WHERE duress = ?", id)
	return tx.exec("DELETE FROM residents WHERE id = ?", id) == 1
}

// PutAnswer remembers an answer and forgets those from before expired.
func (tx Residents) PutAnswer(key, body, answer []byte, at, expired time.Time) error {
	tx.exec("DELETE FROM answers WHERE at < ?", expired.Unix())
	tx.exec("INSERT OR REPLACE INTO answers (key, body, answer, at) VALUES (?, ?, ?, ?)", key, body, answer, at.Unix())
	return tx.err
}

// List gives the paired residents.
func (tx Residents) List() []gateway.Resident {
	list := []gateway.Resident{}
	tx.each("SELECT id, name, paired FROM residents ORDER BY paired, id", nil, func(rows *sql.Rows) error {
		var r gateway.Resident
		var paired int64
		err := rows.Scan(&r.ID, &r.Name, &paired)
		r.PairedAt = unix(paired)
		list = append(list, r)
		return err
	})
	return list
}

// HasToken reports whether the resident's token has this keyed hash.
func (tx Residents) HasToken(id gateway.ResidentID, token []byte) bool {
	var have []byte
	return tx.row("SELECT token FROM residents WHERE id = ?", []any{id}, &have) && subtle.ConstantTimeCompare(have, token) == 1
}

// Answer finds a remembered answer: the keyed hash of the request's body that it was
// given to, and the sealed answer.
func (tx Residents) Answer(key []byte) (body, answer []byte) {
	tx.row("SELECT body, answer FROM answers WHERE key = ?", []any{key}, &body, &answer)
	return body, answer
}
