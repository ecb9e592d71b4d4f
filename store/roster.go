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
	"slices"
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
	Role      gateway.Role       `json:"role"`
	Key       string             `json:"key,omitempty"` // thumbprint
	Ver       int64              `json:"ver"`
	Removals  string             `json:"removals"` // id of the list of who was removed
}

// writeRoster replaces the copy. The caller has the writer's turn.
func writeRoster(s *Store) error {
	tx := s.newTx(nil)
	var of string
	tx.get("removals", &of)
	var text bytes.Buffer
	tx.each("SELECT "+residentColumns+", token FROM residents ORDER BY id", nil, func(rows *sql.Rows) error {
		var token []byte
		r, err := scanResident(rows.Scan, &token)
		if err != nil {
			return err
		}
		return json.NewEncoder(&text).Encode(listed{ID: r.ID, Token: token, Paired: r.PairedAt.Unix(), Confirmed: !r.Unconfirmed,
			Role: r.Role, Key: r.Key, Ver: r.Ver, Removals: of})
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
		if json.Unmarshal(line, &l) != nil {
			continue
		}
		if l.Role == "" && l.Ver == 0 { // from before there were roles
			l.Role, l.Ver = gateway.RoleResident, 1
		}
		if l.ID != "" && len(l.Token) > 0 && slices.Contains(gateway.Roles(), l.Role) {
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
// tell soundly, or of whom it tells an older version, from the copy beside it.
func residentsOf(old *sql.DB, dir string) (list []carried) {
	copied := map[gateway.ResidentID]listed{}
	for _, l := range readRoster(dir) {
		copied[l.ID] = l
	}
	var of string
	stateOf(context.Background(), old, "removals", &of) // unreadable: as if it were another box's
	const q = "SELECT " + residentColumns + ", token, sum IS row_sum(id, name, token, paired, confirmed, role, holder, ver) FROM residents"
	rows, err := old.Query(q)
	for err == nil && rows.Next() {
		c := carried{removals: of}
		var sound bool
		if c.Resident, err = scanResident(rows.Scan, &c.token, &sound); err != nil || !slices.Contains(gateway.Roles(), c.Role) {
			continue
		}
		if l, again := copied[c.ID]; !again || sound && c.Ver >= l.Ver {
			list = append(list, c)
			delete(copied, c.ID)
		}
	}
	if rows != nil {
		rows.Close()
	}
	for _, l := range copied {
		list = append(list, carried{gateway.Resident{ID: l.ID, Name: fmt.Sprintf("paired %s", time.Unix(l.Paired, 0).Format(time.DateOnly)),
			PairedAt: unix(l.Paired), Role: l.Role, Key: l.Key, Ver: l.Ver, Unconfirmed: !l.Confirmed}, l.Token, l.Removals})
	}
	return list
}
