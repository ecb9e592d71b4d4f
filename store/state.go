package store

import (
	"context"
	"database/sql"
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
	if err = errors.Join(err, rows.Err(), rows.Close()); err == nil {
		s.small = small
	}
	return err
}

// value gives what a key has now; nil: nothing.
func (tx *core) value(key string) (b []byte) {
	if tx.reader != nil {
		tx.row("SELECT value FROM state WHERE key = ?", []any{key}, &b)
		return b
	}
	if i := tx.waiting(key); i >= 0 {
		return tx.pending[i].value
	}
	return tx.s.small[key]
}

// set writes a row when the transaction ends; nil takes it away.
func (tx *core) set(key string, value []byte) {
	if tx.reader != nil {
		tx.fail(errReader)
		return
	}
	if i := tx.waiting(key); i >= 0 {
		tx.pending[i].value = value
		return
	}
	tx.pending = append(tx.pending, setting{key, value})
}

// waiting finds a row that is not written yet; -1 where there is none.
func (tx *core) waiting(key string) int {
	return slices.IndexFunc(tx.pending, func(s setting) bool { return s.key == key })
}

// get reads a JSON value.
func (tx *core) get(key string, v any) (found bool) {
	b := tx.value(key)
	if tx.err != nil || b == nil {
		return false
	}
	if err := json.Unmarshal(b, v); err != nil {
		tx.err = fmt.Errorf("state %q: %w", key, err)
	}
	return tx.err == nil
}

func (tx *core) put(key string, v any) {
	b, err := json.Marshal(v)
	if err != nil {
		tx.fail(err)
		return
	}
	tx.set(key, b)
}

func (tx *core) drop(key string) {
	if tx.value(key) != nil {
		tx.set(key, nil)
	}
}

// keys lists the keys that begin so, in order.
func (tx *core) keys(prefix string) (list []string) {
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
func (tx *core) flush() {
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
func (tx *core) committed() {
	for _, s := range tx.pending {
		if s.value == nil {
			delete(tx.s.small, s.key)
		} else {
			tx.s.small[s.key] = s.value
		}
	}
}

type querier interface {
	QueryRowContext(context.Context, string, ...any) *sql.Row
}

// stateOf reads a JSON value of the table by another connection than a transaction's; v stays
// as it is where there is none.
func stateOf(ctx context.Context, q querier, key string, v any) error {
	var b []byte
	err := q.QueryRowContext(ctx, "SELECT value FROM state WHERE key = ?", key).Scan(&b)
	if errors.Is(err, sql.ErrNoRows) {
		return nil
	}
	if err == nil {
		err = json.Unmarshal(b, v)
	}
	return err
}
