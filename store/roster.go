package store

import (
	"bytes"
	"context"
	"database/sql"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"time"

	"gardien/gateway"
)

// RosterName is the name of a second copy, beside the database, of whose devices open: ids and
// keyed hashes, no names. A database that cannot be read keeps no resident outside (D4).
const RosterName = "residents.list"

// maxRoster bounds what is read of it.
const maxRoster = 1 << 20

// listed is a line of it.
type listed struct {
	ID        gateway.ResidentID `json:"id"`
	Token     []byte             `json:"token"` // keyed hash
	Paired    int64              `json:"paired"`
	Confirmed bool               `json:"confirmed"`
	Removals  string             `json:"removals"` // id of the list of who was removed
}

// writeRoster replaces the copy. The caller has the writer's turn.
func writeRoster(s *Store) error {
	tx := s.newTx(nil)
	var of string
	tx.get("removals", &of)
	var text bytes.Buffer
	tx.each("SELECT id, token, paired, confirmed FROM residents ORDER BY id", nil, func(rows *sql.Rows) error {
		l := listed{Removals: of}
		err := rows.Scan(&l.ID, &l.Token, &l.Paired, &l.Confirmed)
		if err == nil {
			err = json.NewEncoder(&text).Encode(l)
		}
		return err
	})
	if tx.err != nil {
		return tx.err
	}
	path := filepath.Join(s.dir, RosterName)
	f, err := os.OpenFile(path+".new", os.O_CREATE|os.O_TRUNC|os.O_WRONLY, 0o600)
	if err != nil {
		return err
	}
	_, err = f.Write(text.Bytes())
	if err = errors.Join(err, f.Sync(), f.Close()); err != nil {
		return err
	}
	return os.Rename(path+".new", path)
}

// rosterWritten writes it, where the database's disk takes writes. What fails is tried again at the
// next change, and at the next start.
func rosterWritten(s *Store) {
	if standsIn(s) {
		return
	}
	if err := writeRoster(s); err != nil {
		s.log.Warn("store: the second copy of the residents' list is not written", "err", err)
	}
}

// readRoster reads the copy, as far as it can be read.
func readRoster(dir string) (list []listed) {
	path := filepath.Join(dir, RosterName)
	if size(path) > maxRoster {
		return nil
	}
	b, err := os.ReadFile(path)
	if err != nil {
		return nil
	}
	for line := range bytes.Lines(b) {
		var l listed
		if json.Unmarshal(line, &l) == nil && l.ID != "" && len(l.Token) > 0 {
			list = append(list, l)
		}
	}
	return list
}

// carried is a resident of a database that was set aside.
type carried struct {
	gateway.Resident
	token    []byte
	removals string // id of the list of who was removed that belongs to it
}

// residentsOf reads the residents of a database that was set aside, and those whom it does not
// tell from the copy beside it.
func residentsOf(old *sql.DB, dir string) (list []carried) {
	seen := map[gateway.ResidentID]bool{}
	var of string
	stateOf(context.Background(), old, "removals", &of) // unreadable: as if it were another box's
	rows, err := old.Query("SELECT id, name, paired, token, NOT confirmed FROM residents")
	for err == nil && rows.Next() {
		c := carried{removals: of}
		var paired int64
		if err = rows.Scan(&c.ID, &c.Name, &paired, &c.token, &c.Unconfirmed); err == nil {
			c.PairedAt = unix(paired)
			list, seen[c.ID] = append(list, c), true
		}
	}
	if rows != nil {
		rows.Close()
	}
	for _, l := range readRoster(dir) {
		if !seen[l.ID] {
			list = append(list, carried{gateway.Resident{ID: l.ID, Name: fmt.Sprintf("paired %s", time.Unix(l.Paired, 0).Format(time.DateOnly)),
				PairedAt: unix(l.Paired), Unconfirmed: !l.Confirmed}, l.Token, l.Removals})
		}
	}
	return list
}
