package store

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"
)

// The table "state" is small, every decision needs some of it, and nobody but the writer
// changes it: the writer keeps it in memory, and a decision reads no row of it.

// setting is one row of the state table; value is nil where it is to go.
type setting struct {
	key   string
	value []byte
}

// loadState reads the table, at the start and after a restore.
func (s *Store) loadState() error {
	rows, err := s.conn.QueryContext(context.Background(), "SELECT key, value FROM state")
	if err != nil {
		return err
	}
	small := map[string][]byte{}
	for rows.Next() {
		var key string
		var value []byte
		if err = rows.Scan(&key, &value); err != nil {
			break
		}
		small[key] = value
	}
	s.small = small
	return errors.Join(err, rows.Err(), rows.Close())
}

// value gives what a key has now; nil: nothing.
func (tx *Tx) value(key string) []byte {
	if i := tx.waiting(key); i >= 0 {
		return tx.pending[i].value
	}
	return tx.s.small[key]
}

// set writes a row when the transaction ends; nil takes it away.
func (tx *Tx) set(key string, value []byte) {
	if i := tx.waiting(key); i >= 0 {
		tx.pending[i].value = value
		return
	}
	tx.pending = append(tx.pending, setting{key, value})
}

// waiting finds a row that is not written yet; -1 where there is none.
func (tx *Tx) waiting(key string) int {
	return slices.IndexFunc(tx.pending, func(s setting) bool { return s.key == key })
}

// get reads a JSON value.
func (tx *Tx) get(key string, v any) (found bool) {
	b := tx.value(key)
	if tx.err != nil || b == nil {
		return false
	}
	if err := json.Unmarshal(b, v); err != nil {
		tx.err = fmt.Errorf("state %q: %w", key, err)
	}
	return tx.err == nil
}

func (tx *Tx) put(key string, v any) {
	b, err := json.Marshal(v)
	if err != nil {
		tx.err = errors.Join(tx.err, err)
		return
	}
	tx.set(key, b)
}

func (tx *Tx) drop(key string) {
	if tx.value(key) != nil {
		tx.set(key, nil)
	}
}

// keys lists the keys that begin so, in order.
func (tx *Tx) keys(prefix string) (list []string) {
	for key := range tx.s.small {
		if strings.HasPrefix(key, prefix) && tx.value(key) != nil {
			list = append(list, key)
		}
	}
	for _, s := range tx.pending {
		if strings.HasPrefix(s.key, prefix) && s.value != nil && tx.s.small[s.key] == nil {
			list = append(list, s.key)
		}
	}
	slices.Sort(list)
	return list
}

// flush writes the rows that wait, those that stay in one statement.
func (tx *Tx) flush() {
	var args []any
	for _, s := range tx.pending {
		if s.value == nil {
			tx.exec("DELETE FROM state WHERE key = ?", s.key)
			continue
		}
		args = append(args, s.key, s.value)
	}
	if len(args) > 0 {
		tx.exec("INSERT INTO state (key, value) VALUES (?, ?)"+strings.Repeat(", (?, ?)", len(args)/2-1)+
			" ON CONFLICT (key) DO UPDATE SET value = excluded.value", args...)
	}
}

// committed keeps in memory what is in the table now.
func (tx *Tx) committed() {
	for _, s := range tx.pending {
		if s.value == nil {
			delete(tx.s.small, s.key)
		} else {
			tx.s.small[s.key] = s.value
		}
	}
}
