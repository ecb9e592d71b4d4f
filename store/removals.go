package store

import (
	"bufio"
	"context"
	"database/sql"
	"encoding/hex"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strconv"
	"strings"

	"gardien/gateway"
)

// RemovedName is the name of the file, beside the database, of what was taken away for good.
const RemovedName = "removed.log"

// removals is what was taken away for good: residents, home grants that were revoked, and blocks
// (R3). It is appended and synced before the database forgets, has keyed hashes and no names, and
// is applied at every start, restore and salvage: no older database brings any of it back.
//
// The first line has the file's id, which the database keeps. A backup whose id is another's comes
// from another box: who was removed there, nobody knows here.
type removals struct {
	path string
	mac  MAC
	id   string
	upTo map[string]int64 // keyed hash → the highest version that is gone
}

// MAC hashes under the device key; purpose keeps one use from another.
type MAC func(purpose string, parts ...string) []byte

// removal is a line of the file.
type removal struct {
	hash string
	upTo int64
}

// everyVersion is of what has none.
const everyVersion = int64(1) << 62

// resident is of a device as it was up to a version of its key.
func (r *removals) resident(id gateway.ResidentID, upTo int64) removal {
	return removal{hex.EncodeToString(r.mac("removed", "resident", string(id))), upTo}
}

func (r *removals) grant(id gateway.GrantID, version int64) removal {
	return removal{hex.EncodeToString(r.mac("removed", "grant", string(id.Issuer), id.JTI)), version}
}

func (r *removals) has(m removal) bool { return r.upTo[m.hash] >= m.upTo }

const removedHeader = "gardien removed 1 "

// openRemovals reads the file, and makes one where there is none or where its making was cut off.
// A last line that was cut off is no removal: whoever asked for it was not answered.
func openRemovals(path string, mac MAC) (*removals, error) {
	r := &removals{path: path, mac: mac, upTo: map[string]int64{}}
	f, err := os.Open(path)
	if errors.Is(err, fs.ErrNotExist) {
		return r, r.create()
	}
	if err != nil {
		return nil, err
	}
	defer f.Close()
	lines := bufio.NewScanner(f)
	lines.Scan()
	id, ok := strings.CutPrefix(lines.Text(), removedHeader)
	if !ok || len(id) != len(newLogID()) {
		// A creation that was cut off has no lines; anything else is kept for whoever can read it.
		if fi, err := f.Stat(); err == nil && fi.Size() > int64(len(removedHeader))+64 {
			if err := os.Rename(path, path+".broken"); err != nil {
				return nil, err
			}
		}
		return r, r.create()
	}
	r.id = id
	count := 0
	for lines.Scan() {
		count++
		hash, version, _ := strings.Cut(lines.Text(), " ")
		if n, err := strconv.ParseInt(version, 10, 64); err == nil && len(hash) == 64 {
			r.upTo[hash] = max(r.upTo[hash], n)
		}
	}
	if err := lines.Err(); err != nil {
		return nil, err
	}
	if count > 4*len(r.upTo)+1000 {
		r.compact() // where the disk takes no writes, it is as it was
	}
	return r, nil
}

// compact writes the file anew, with one line for each.
func (r *removals) compact() error {
	var text strings.Builder
	fmt.Fprintf(&text, "%s%s\n", removedHeader, r.id)
	for hash, upTo := range r.upTo {
		fmt.Fprintf(&text, "%s %d\n", hash, upTo)
	}
	f, err := os.OpenFile(r.path+".new", os.O_CREATE|os.O_TRUNC|os.O_WRONLY, 0o600)
	if err != nil {
		return err
	}
	_, err = f.WriteString(text.String())
	if err = errors.Join(err, f.Sync(), f.Close()); err != nil {
		return err
	}
	return os.Rename(r.path+".new", r.path)
}

// inMemory goes on in another file, while this one's disk takes no writes.
func (r *removals) inMemory(path string) (*removals, error) {
	if size(path) == 0 {
		if err := os.WriteFile(path, fmt.Appendf(nil, "%s%s\n", removedHeader, r.id), 0o600); err != nil {
			return nil, err
		}
	}
	m, err := openRemovals(path, r.mac)
	if err != nil {
		return nil, err
	}
	m.id = r.id
	for hash, upTo := range r.upTo {
		m.upTo[hash] = max(m.upTo[hash], upTo)
	}
	return m, nil
}

// create makes a new file, durably.
func (r *removals) create() error {
	if r.id == "" {
		r.id = newLogID()
	}
	f, err := os.OpenFile(r.path, os.O_CREATE|os.O_TRUNC|os.O_WRONLY, 0o600)
	if err != nil {
		return err
	}
	_, err = fmt.Fprintf(f, "%s%s\n", removedHeader, r.id)
	if err = errors.Join(err, f.Sync(), f.Close()); err != nil {
		return err
	}
	dir, err := os.Open(filepath.Dir(r.path))
	if err != nil {
		return err
	}
	return errors.Join(dir.Sync(), dir.Close())
}

// add appends what is not there yet, durably.
func (r *removals) add(list []removal) error {
	var text strings.Builder
	for _, m := range list {
		if !r.has(m) {
			fmt.Fprintf(&text, "\n%s %d\n", m.hash, m.upTo) // a line of its own, whatever was cut off before it
		}
	}
	if text.Len() == 0 {
		return nil
	}
	f, err := os.OpenFile(r.path, os.O_APPEND|os.O_WRONLY, 0o600)
	if errors.Is(err, fs.ErrNotExist) { // somebody has removed it: what is known goes into a new one
		if err = r.create(); err == nil {
			for hash, upTo := range r.upTo {
				fmt.Fprintf(&text, "\n%s %d\n", hash, upTo)
			}
			f, err = os.OpenFile(r.path, os.O_APPEND|os.O_WRONLY, 0o600)
		}
	}
	if err != nil {
		return err
	}
	_, err = f.WriteString(text.String())
	if err = errors.Join(err, f.Sync(), f.Close()); err != nil {
		return err
	}
	for _, m := range list {
		r.upTo[m.hash] = max(r.upTo[m.hash], m.upTo)
	}
	return nil
}

// takeAway notes what the transaction takes away for good.
func (tx *core) takeAway(what func(*removals) removal) {
	if tx.s.removals != nil && tx.err == nil {
		tx.away = append(tx.away, what(tx.s.removals))
	}
}

// KeepRemovals begins to keep what is taken away for good, and takes away what an older database
// brought back. Use it after SetClock. Where the file is another than this database's, and the
// database is not the newest either, nobody knows who was removed: residents wait for the
// console's word.
func (s *Store) KeepRemovals(mac MAC) error {
	r, err := openRemovals(filepath.Join(s.dir, RemovedName), mac)
	memory := filepath.Join(s.runtime, standInFolder)
	if standsIn(s) {
		if err != nil && diskTrouble(err) {
			r, err = &removals{mac: mac, id: newLogID(), upTo: map[string]int64{}}, nil
		}
		if err == nil {
			r, err = r.inMemory(filepath.Join(memory, RemovedName))
		}
	}
	if err != nil {
		return fmt.Errorf("store: %s: %w", RemovedName, err)
	}
	s.removals = r
	if s.runtime != "" && !standsIn(s) && size(filepath.Join(memory, FileName)) > 0 {
		// A process of before has not lived to see the disk take writes again.
		gone, err := r.inMemory(filepath.Join(memory, RemovedName))
		var h *handles
		if err == nil {
			h, err = leftStandIn(memory, s.log)
		}
		if err == nil {
			err = h.close()
		}
		if err == nil {
			err = giveBack(context.Background(), s, filepath.Join(memory, FileName), gone)
		}
		if err != nil {
			return err
		}
		os.RemoveAll(memory)
	}
	return s.Update(context.Background(), func(tx *Tx) error {
		tx.people = s.setAside == "" // the second copy of their list may be older, or gone; Salvage still needs it
		var of string
		if tx.get("removals", &of); of != "" && of != r.id {
			s.log.Warn("the list of what was removed is new, or another's: a restored backup may bring back who was removed before", "file", r.path)
			if tx.House.Quarantine() == RolledBack {
				tx.exec("UPDATE residents SET confirmed = 0")
			}
		}
		tx.put("removals", r.id)
		tx.applyRemovals()
		// A move that a power cut caught has no line yet.
		for _, o := range (Residents{tx.core}).List() {
			if o.Ver > 1 {
				tx.away = append(tx.away, r.resident(o.ID, o.Ver-1))
			}
		}
		return tx.err
	})
}

// applyRemovals takes away what was removed.
func (tx *core) applyRemovals() {
	r := tx.s.removals
	if r == nil || len(r.upTo) == 0 {
		return
	}
	for _, o := range (Residents{tx}).List() {
		if r.has(r.resident(o.ID, o.Ver)) {
			Residents{tx}.remove(o.ID, o.Ver)
		}
	}
	var grants []gateway.GrantID
	tx.each("SELECT iss, jti, ver FROM grants WHERE status = 'active' AND block = 0", nil, func(rows *sql.Rows) error {
		var id gateway.GrantID
		var version int64
		err := rows.Scan(&id.Issuer, &id.JTI, &version)
		if r.has(r.grant(id, version)) {
			grants = append(grants, id)
		}
		return err
	})
	for _, id := range grants {
		Grants{tx}.Block(id)
		Codes{tx}.Wipe(id)
	}
}
