package store

import (
	"cmp"
	"database/sql"
	"time"

	"gardien/gateway"
)

// Residents is who lives here, and what was answered to their requests.
type Residents struct{ *core }

// Put stores a paired resident with the keyed hash of its token.
func (tx Residents) Put(r gateway.Resident, token []byte) error {
	tx.people = true
	tx.exec("INSERT INTO residents (id, name, token, paired, confirmed, role, holder, ver) VALUES (?, ?, ?, ?, ?, ?, ?, ?)", r.ID, r.Name, token,
		r.PairedAt.Unix(), !r.Unconfirmed, cmp.Or(r.Role, gateway.RoleResident), orNull(r.Key), max(r.Ver, 1))
	return tx.err
}

// Rebind gives a resident another token and key. The old ones come back with no backup (R3).
func (tx Residents) Rebind(id gateway.ResidentID, token []byte, key string) bool {
	var ver int64
	if !tx.row("SELECT ver FROM residents WHERE id = ?", []any{id}, &ver) {
		return false
	}
	tx.people = true
	if tx.s.removals != nil && tx.err == nil {
		tx.moved = append(tx.moved, tx.s.removals.resident(id, ver))
	}
	return tx.exec("UPDATE residents SET token = ?, holder = ?, ver = ver + 1 WHERE id = ?", token, orNull(key), id) == 1
}

// Confirm takes the console's word that a resident lives here, and reports whether there was need of it.
func (tx Residents) Confirm(id gateway.ResidentID) bool {
	tx.people = true
	return tx.exec("UPDATE residents SET confirmed = 1 WHERE id = ? AND confirmed = 0", id) == 1
}

// Remove removes a resident with what opens as its own, and reports whether there was one.
func (tx Residents) Remove(id gateway.ResidentID) bool { return tx.remove(id, everyVersion) }

// remove removes a resident whose device was not moved further than a version.
func (tx Residents) remove(id gateway.ResidentID, upTo int64) bool {
	tx.exec("DELETE FROM pins WHERE owner = ?1 OR duress = ?1", id)
	tx.unsee(id)
	if tx.exec("DELETE FROM residents WHERE id = ?", id) == 0 {
		return false
	}
	tx.people = true
	tx.takeAway(func(r *removals) removal { return r.resident(id, upTo) })
	return true
}

// PutAnswer remembers an answer.
func (tx Residents) PutAnswer(key, body, answer []byte, at time.Time) error {
	tx.exec("INSERT OR REPLACE INTO answers (key, body, answer, at) VALUES (?, ?, ?, ?)", key, body, answer, at.Unix())
	return tx.err
}

const residentColumns = "id, name, paired, NOT confirmed, role, coalesce(holder, ''), ver"

// scanResident reads them, and what else is selected after them.
func scanResident(scan func(...any) error, more ...any) (r gateway.Resident, err error) {
	var paired int64
	err = scan(append([]any{&r.ID, &r.Name, &paired, &r.Unconfirmed, &r.Role, &r.Key, &r.Ver}, more...)...)
	r.PairedAt = unix(paired)
	return r, err
}

// List gives the paired residents.
func (tx Residents) List() []gateway.Resident {
	list := []gateway.Resident{}
	tx.each("SELECT "+residentColumns+" FROM residents ORDER BY paired, id", nil, func(rows *sql.Rows) error {
		r, err := scanResident(rows.Scan)
		list = append(list, r)
		return err
	})
	return list
}

// Find finds a resident and the keyed hash of its token.
func (tx Residents) Find(id gateway.ResidentID) (r gateway.Resident, token []byte, found bool) {
	tx.each("SELECT "+residentColumns+", token FROM residents WHERE id = ?", []any{id}, func(rows *sql.Rows) (err error) {
		r, err = scanResident(rows.Scan, &token)
		found = err == nil
		return err
	})
	return r, token, found
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
