package store

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"time"
)

// Tx is one transaction: the writer's, within Update or Follow, or a reader's, within View or
// Browse, which sees one instant and cannot write. The first error of the database sticks:
// later calls do nothing and give zero values, and nothing is committed. What can be asked and
// done is sorted by what it speaks of.
type Tx struct {
	*core
	Grants    Grants
	Codes     Codes
	Issuers   Issuers
	Feed      Feed
	House     House
	Residents Residents
	Record    Record
}

// core is what all of it rests on.
type core struct {
	s       *Store
	reader  *sql.Tx // nil: the writer's connection
	err     error
	pending []setting // of the state table, written together at the end
	away    []removal // taken away for good
	moved   []removal // old keys of devices that moved: taken away once the move is durable
	people  bool      // residents have changed

	over []openEntry // whose release this transaction has ended
}

func (s *Store) newTx(reader *sql.Tx) *Tx {
	c := &core{s: s, reader: reader}
	return &Tx{c, Grants{c}, Codes{c}, Issuers{c}, Feed{c}, House{c}, Residents{c}, Record{c}}
}

// Err is the first error of the database in this transaction.
func (tx *core) Err() error { return tx.err }

// fail keeps the first error.
func (tx *core) fail(err error) {
	if tx.err == nil {
		tx.err = err
	}
}

var errReader = errors.New("a reader writes")

func (tx *core) exec(q string, args ...any) int64 {
	if tx.err != nil {
		return 0
	}
	if tx.reader != nil {
		tx.err = errReader
		return 0
	}
	var n int64
	n, tx.err = tx.s.execN(q, args...)
	return n
}

// row scans one row; found is false where there is none.
func (tx *core) row(q string, args []any, dest ...any) (found bool) {
	if tx.err != nil {
		return false
	}
	var err error
	if tx.reader != nil {
		err = tx.reader.QueryRow(q, args...).Scan(dest...)
	} else {
		var st *sql.Stmt
		if st, err = tx.s.prepare(q); err == nil {
			err = st.QueryRow(args...).Scan(dest...)
		}
	}
	if errors.Is(err, sql.ErrNoRows) {
		return false
	}
	tx.err = err
	return err == nil
}

// each hands every row to scan, which must ask nothing itself: the connection is busy with the
// rows.
func (tx *core) each(q string, args []any, scan func(*sql.Rows) error) {
	if tx.err != nil {
		return
	}
	var rows *sql.Rows
	if tx.reader != nil {
		rows, tx.err = tx.reader.Query(q, args...)
	} else {
		rows, tx.err = tx.s.conn.QueryContext(context.Background(), q, args...)
	}
	if tx.err != nil {
		return
	}
	for tx.err == nil && rows.Next() {
		tx.err = scan(rows)
	}
	tx.err = errors.Join(tx.err, rows.Err(), rows.Close())
}

// View runs f in a reader's transaction, for short looks: it waits for nobody who reads lists or
// the record (A11).
func (s *Store) View(ctx context.Context, f func(*Tx) error) error {
	return s.look(ctx, s.files.Load().read, f)
}

// Browse is View for whoever reads lists or the record.
func (s *Store) Browse(ctx context.Context, f func(*Tx) error) error {
	return s.look(ctx, s.files.Load().browse, f)
}

func (s *Store) look(ctx context.Context, db *sql.DB, f func(*Tx) error) error {
	reader, err := db.BeginTx(ctx, nil)
	if err != nil {
		return fmt.Errorf("store: %w", err)
	}
	defer reader.Rollback()
	tx := s.newTx(reader)
	err = f(tx)
	if tx.err != nil {
		return fmt.Errorf("store: %w", tx.err)
	}
	return err
}

// Look asks one question in a View.
func Look[T any](ctx context.Context, s *Store, ask func(*Tx) T) (answer T, err error) {
	err = s.View(ctx, func(tx *Tx) error { answer = ask(tx); return nil })
	return answer, err
}

func orNull(s string) any {
	if s == "" {
		return nil
	}
	return s
}

func unix(s int64) time.Time {
	if s == 0 {
		return time.Time{}
	}
	return time.Unix(s, 0).UTC()
}
