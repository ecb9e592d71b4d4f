package store

import (
	"bytes"
	"database/sql"
	"slices"

	"gardien/gateway"
)

// Codes is the live PINs and cards of doors, as keyed hashes (P6).
type Codes struct{ *core }

// Find finds a live PIN or card by its keyed hash.
func (tx Codes) Find(door gateway.DoorID, mac []byte) (gateway.PINRecord, bool) {
	p := gateway.PINRecord{Door: door}
	var owner, duress sql.NullString
	if !tx.row(`SELECT iss, jti, length, owner, duress, coalesce(owner, duress) IS NOT NULL
			AND NOT EXISTS (SELECT 1 FROM residents WHERE id = coalesce(owner, duress) AND confirmed) FROM pins WHERE door = ? AND mac = ?`,
		[]any{door, mac}, &p.Grant.Issuer, &p.Grant.JTI, &p.Length, &owner, &duress, &p.Unsure) {
		return gateway.PINRecord{}, false
	}
	p.Owner, p.Duress = gateway.ResidentID(owner.String), gateway.ResidentID(duress.String)
	return p, true
}

// Live counts the live PINs of a length that a grant's issuer has at a door, the grant's own aside.
func (tx Codes) Live(of gateway.GrantID, door gateway.DoorID, length int) (n int) {
	tx.row("SELECT count(*) FROM pins WHERE door = ? AND length = ? AND iss = ? AND jti <> ?", []any{door, length, of.Issuer, of.JTI}, &n)
	return n
}

// Put makes a PIN or card live.
func (tx Codes) Put(p gateway.PINRecord, mac []byte) {
	tx.exec("INSERT INTO pins (door, mac, length, iss, jti, owner, duress) VALUES (?, ?, ?, ?, ?, ?, ?)",
		p.Door, mac, p.Length, p.Grant.Issuer, p.Grant.JTI, orNull(string(p.Owner)), orNull(string(p.Duress)))
}

// Wipe removes a grant's PINs and cards for good (P6).
func (tx Codes) Wipe(id gateway.GrantID) {
	tx.exec("DELETE FROM pins WHERE iss = ? AND jti = ?", id.Issuer, id.JTI)
}

// Of finds a grant's live PIN at a door.
func (tx Codes) Of(id gateway.GrantID, door gateway.DoorID) (p gateway.PINRecord, found bool) {
	p = gateway.PINRecord{Grant: id, Door: door}
	found = tx.row("SELECT length FROM pins WHERE iss = ? AND jti = ? AND door = ? AND length > 0", []any{id.Issuer, id.JTI, door}, &p.Length)
	return p, found
}

// HasCard reports whether a grant has a live card at a door.
func (tx Codes) HasCard(id gateway.GrantID, door gateway.DoorID) (has bool) {
	tx.row("SELECT EXISTS (SELECT 1 FROM pins WHERE iss = ? AND jti = ? AND door = ? AND length = 0)", []any{id.Issuer, id.JTI, door}, &has)
	return has
}

// Between lists the live PINs and cards of the grants from one id to another, both included, in the order of
// their grants.
func (tx Codes) Between(first, last gateway.GrantID) (list []gateway.PINRecord) {
	tx.each("SELECT iss, jti, door, length FROM pins WHERE (iss, jti) >= (?, ?) AND (iss, jti) <= (?, ?) ORDER BY iss, jti",
		[]any{first.Issuer, first.JTI, last.Issuer, last.JTI}, func(rows *sql.Rows) error {
			var p gateway.PINRecord
			err := rows.Scan(&p.Grant.Issuer, &p.Grant.JTI, &p.Door, &p.Length)
			list = append(list, p)
			return err
		})
	return list
}

// guesses is what an issuer has tried in a day, as shortened keyed hashes.
type guesses struct {
	Day   string `json:"day"`
	PINs  []byte `json:"pins,omitempty"`
	Cards []byte `json:"cards,omitempty"`
}

// guessSize is long enough that no two of a day's few guesses are taken for one.
const guessSize = 6

// Guess notes that an issuer tries a PIN, or a card, that was not its grant's before. within is
// false where it has tried as many others that day as it may; isNew, where it is noted already.
func (tx Codes) Guess(g gateway.Guess) (within, isNew bool) {
	var of guesses
	key := "guesses/" + string(g.Issuer)
	if tx.get(key, &of) && of.Day != g.Day {
		of = guesses{}
	}
	of.Day = g.Day
	list := &of.PINs
	if g.Card {
		list = &of.Cards
	}
	short := g.MAC[:guessSize]
	for known := range slices.Chunk(*list, guessSize) {
		if bytes.Equal(known, short) {
			return true, false
		}
	}
	if len(*list) >= g.Most*guessSize {
		return false, false
	}
	*list = append(*list, short...)
	tx.put(key, of)
	return true, true
}

// WipeOdd removes the live PINs that do not fit their door any more, remembers their grants, and
// gives how many there were.
func (tx Codes) WipeOdd(fits func(gateway.PINRecord) bool) int {
	type row struct {
		id int64
		gateway.PINRecord
	}
	var odd []row
	tx.each("SELECT id, door, length, iss, jti FROM pins WHERE length > 0", nil, func(rows *sql.Rows) error {
		var r row
		err := rows.Scan(&r.id, &r.Door, &r.Length, &r.Grant.Issuer, &r.Grant.JTI)
		if err == nil && !fits(r.PINRecord) {
			odd = append(odd, r)
		}
		return err
	})
	if len(odd) == 0 {
		return 0
	}
	missed := tx.Missed()
	for _, r := range odd {
		tx.exec("DELETE FROM pins WHERE id = ?", r.id)
		if !slices.Contains(missed, r.Grant) {
			missed = append(missed, r.Grant)
		}
	}
	tx.put("pins wiped", missed)
	return len(odd)
}

// Missed lists the grants that WipeOdd has left without any live code.
func (tx Codes) Missed() (list []gateway.GrantID) {
	tx.get("pins wiped", &list)
	return slices.DeleteFunc(list, func(id gateway.GrantID) (has bool) {
		tx.row("SELECT EXISTS (SELECT 1 FROM pins WHERE iss = ? AND jti = ?)", []any{id.Issuer, id.JTI}, &has)
		return has
	})
}
