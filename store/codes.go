package store

import (
	"database/sql"

	"gardien/gateway"
)

// Codes is the live PINs and cards of doors, as keyed hashes (P6).
type Codes struct{ *core }

// Find finds a live PIN or card by its keyed hash.
func (tx Codes) Find(door gateway.DoorID, mac []byte) (gateway.PINRecord, bool) {
	p := gateway.PINRecord{Door: door}
	var owner, duress sql.NullString
	if !tx.row(`SELECT iss, jti, length, owner, duress, (SELECT count(*) FROM pins q WHERE q.door = p.door AND q.id <= p.id AND q.length > 0)
		FROM pins p WHERE door = ? AND mac = ?`, []any{door, mac}, &p.Grant.Issuer, &p.Grant.JTI, &p.Length, &owner, &duress, &p.Rank) {
		return gateway.PINRecord{}, false
	}
	p.Owner, p.Duress = gateway.ResidentID(owner.String), gateway.ResidentID(duress.String)
	return p, true
}

// Live counts the live PINs of a door that are not of the given grant.
func (tx Codes) Live(door gateway.DoorID, except gateway.GrantID) (n int) {
	tx.row("SELECT count(*) FROM pins WHERE door = ? AND length > 0 AND NOT (iss = ? AND jti = ?)", []any{door, except.Issuer, except.JTI}, &n)
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
	found = tx.row(`SELECT length, (SELECT count(*) FROM pins q WHERE q.door = p.door AND q.id <= p.id AND q.length > 0)
		FROM pins p WHERE iss = ? AND jti = ? AND door = ? AND length > 0`, []any{id.Issuer, id.JTI, door}, &p.Length, &p.Rank)
	return p, found
}

// HasCard reports whether a grant has a live card at a door.
func (tx Codes) HasCard(id gateway.GrantID, door gateway.DoorID) (has bool) {
	tx.row("SELECT EXISTS (SELECT 1 FROM pins WHERE iss = ? AND jti = ? AND door = ? AND length = 0)", []any{id.Issuer, id.JTI, door}, &has)
	return has
}
