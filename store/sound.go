package store

import (
	"cmp"
	"context"
	"crypto/sha256"
	"database/sql"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"slices"
	"strings"

	"github.com/mattn/go-sqlite3"
)

// unusable makes every error a broken database that the content is to blame for, whichever it is:
// SQLite's word, a schema that is not ours, a row that cannot be read (D4). A disk that fails, a
// lock and a permission say nothing of the content.
func unusable(err error) error {
	var broken *brokenError
	var file *fs.PathError
	var e sqlite3.Error
	switch {
	case err == nil, errors.As(err, &broken), errors.As(err, &file), diskTrouble(err):
		return err
	case errors.As(err, &e) && slices.Contains([]sqlite3.ErrNo{sqlite3.ErrBusy, sqlite3.ErrLocked, sqlite3.ErrNomem, sqlite3.ErrPerm,
		sqlite3.ErrInterrupt, sqlite3.ErrProtocol, sqlite3.ErrAuth}, e.Code):
		return err
	}
	return &brokenError{err}
}

const schemaQuery = "SELECT type, name, tbl_name, coalesce(sql, '') FROM sqlite_schema WHERE name NOT LIKE 'sqlite_stat%' ORDER BY type, name"

// schemaSum is the SHA-256 of the schema that the migrations make: see TestSchemaSum.
const schemaSum = "526911ca802e725ccb2b7101977c085362be099584347818bb493ed2e2eb4ba7"

func schemaOf(conn *sql.Conn) (string, error) {
	rows, err := conn.QueryContext(context.Background(), schemaQuery)
	if err != nil {
		return "", err
	}
	defer rows.Close()
	var text strings.Builder
	for rows.Next() {
		var part [4]string
		if err := rows.Scan(&part[0], &part[1], &part[2], &part[3]); err != nil {
			return "", err
		}
		fmt.Fprintln(&text, part)
	}
	return text.String(), rows.Err()
}

// inspector looks at a database that was opened, before it is used.
type inspector struct {
	s      *Store
	amends amends
}

// schema finds a table that is gone, or a column of another name.
func (i *inspector) schema() error {
	have, err := schemaOf(i.s.conn)
	if err == nil && fmt.Sprintf("%x", sha256.Sum256([]byte(have))) != schemaSum {
		err = errors.New("the tables are not those that this program makes")
	}
	return err
}

// rows holds every row of the tables that decide against its sum (R4).
func (i *inspector) rows() error {
	for _, table := range []string{"state", "grants", "pins", "residents", "issuers"} {
		columns, err := columnsOf(i.s.conn, table)
		if err != nil {
			return err
		}
		var bad int
		q := fmt.Sprintf("SELECT count(*) FROM %s WHERE sum IS NOT row_sum(%s)", table, strings.Join(columns, ", "))
		if err := i.s.conn.QueryRowContext(context.Background(), q).Scan(&bad); err != nil {
			return err
		}
		if bad > 0 {
			return fmt.Errorf("%d rows of table %s are not what was written", bad, table)
		}
	}
	return nil
}

// columnsOf lists a table's columns, in order, that are no sum.
func columnsOf(q interface {
	QueryContext(context.Context, string, ...any) (*sql.Rows, error)
}, table string) (list []string, err error) {
	rows, err := q.QueryContext(context.Background(), "SELECT name FROM pragma_table_xinfo(?) WHERE hidden = 0 ORDER BY cid", table)
	if err != nil {
		return nil, err
	}
	defer rows.Close()
	for rows.Next() {
		var name string
		if err := rows.Scan(&name); err != nil {
			return nil, err
		}
		list = append(list, name)
	}
	return list, rows.Err()
}

// tailEvents is how many of the newest events are verified at the start: several times what the
// write-ahead log holds in its room, and so more than a card loses that lies about a flush.
const tailEvents = 2_500

// recency holds the database against what is known of it elsewhere: the record, and the witness
// (R1, R4).
func (i *inspector) recency() error {
	byRecord, err := i.byRecord()
	if err != nil {
		return err
	}
	byWitness, err := i.byWitness()
	if i.s.rolledBack = byWitness; byWitness == "" {
		i.s.rolledBack = byRecord
	}
	i.s.amends = i.amends
	return err
}

// byRecord says why the database is not what the record tells; "" if it is. What the
// record has and the tables do not is noted in i.amends.
func (i *inspector) byRecord() (string, error) {
	broken, err := i.tail()
	if err != nil {
		return "", err
	}
	a, why, err := i.s.newTx(nil).heldAgainstRecord(i.s.conn)
	i.amends = a
	return cmp.Or(broken, why), err
}

// tail verifies the end of the chain.
func (i *inspector) tail() (string, error) {
	at := origin
	if b := i.s.small["anchor"]; b != nil {
		if err := json.Unmarshal(b, &at); err != nil {
			return "", fmt.Errorf("state \"anchor\": %w", err)
		}
	}
	next, prev := at.First, unhex(at.Prev)
	var accepted savedHead // a break before it was told, and is no news
	if b := i.s.small["accepted"]; b != nil {
		if err := json.Unmarshal(b, &accepted); err != nil {
			return "", fmt.Errorf("state \"accepted\": %w", err)
		}
	}
	if accepted.Seq >= next {
		next, prev = accepted.Seq+1, unhex(accepted.Hash)
	}
	if from := i.s.head.seq - tailEvents; from >= next {
		hash, found, err := hashOf(i.s.conn, from)
		if err != nil {
			return "", err
		}
		if !found {
			return fmt.Sprintf("event %d is missing", from), nil
		}
		next, prev = from+1, unhex(hash)
	}
	rows, err := i.s.conn.QueryContext(context.Background(), "SELECT "+eventColumns+" FROM events WHERE seq >= ? ORDER BY seq", next)
	if err != nil {
		return "", err
	}
	defer rows.Close()
	for rows.Next() {
		var row eventRow
		if err := rows.Scan(row.dest()...); err != nil {
			return "", err
		}
		if problem := row.check(next, prev); problem != "" {
			return fmt.Sprintf("event %d: %s", next, problem), nil
		}
		copy(prev[:], row.hash)
		next++
	}
	if err := rows.Err(); err != nil {
		return "", err
	}
	if next != i.s.head.seq+1 || prev != i.s.head.hash {
		return "the end of the record is missing", nil
	}
	return "", nil
}

// byWitness says why the database is older than the witness; "" if it is not, or if
// there is no witness.
func (i *inspector) byWitness() (string, error) {
	w, found, err := readWitness(witnessPath(i.s.path))
	if err != nil {
		i.s.log.Warn("store: the witness cannot be read, so that a rollback of the database would go unnoticed", "err", err)
	}
	if !found {
		return "", nil
	}
	i.s.bornWitness = w
	var epoch int
	var saved savedHead
	at := origin
	for key, v := range map[string]any{"epoch": &epoch, "head": &saved, "anchor": &at} {
		if b := i.s.small[key]; b != nil {
			if err := json.Unmarshal(b, v); err != nil {
				return "", fmt.Errorf("state %q: %w", key, err)
			}
		}
	}
	switch {
	case epoch > w.Epoch: // it took another's place since, and the witness was not written yet
		return "", nil
	case epoch < w.Epoch, saved.N < w.N:
		return fmt.Sprintf("it has %d durable commits of epoch %d, and once had %d of epoch %d", saved.N, epoch, w.N, w.Epoch), nil
	case w.Seq < at.First: // what it names is past its retention
		return "", nil
	}
	hash, found, err := hashOf(i.s.conn, w.Seq)
	if err == nil && (!found || hash != w.Hash) {
		return fmt.Sprintf("event %d is not the one that it once had", w.Seq), nil
	}
	return "", err
}
