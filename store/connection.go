package store

import (
	"context"
	"database/sql"
	"fmt"
	"io/fs"
	"log/slog"
	"slices"
	"strings"
)

// connection is the one that writes, with its statements. Whoever holds the writer's turn uses it.
type connection struct {
	path  string
	log   *slog.Logger
	conn  *sql.Conn // nil: closed
	stmts map[string]*sql.Stmt
	lax   bool // synchronous is NORMAL, for a Follow
	doubt bool // an fsync may have failed: see rewrite
}

// setPageSize does so in a new file only, and before WAL fixes it.
func (c *connection) setPageSize() error {
	_, err := c.conn.ExecContext(context.Background(), fmt.Sprintf("PRAGMA page_size=%d; PRAGMA journal_mode=WAL", pageSize))
	return err
}

// readBack proves that the settings took: go-sqlite3 ignores misspelt ones (D2).
func (c *connection) readBack() error {
	q := fmt.Sprintf("PRAGMA wal_autocheckpoint=0; PRAGMA journal_size_limit=%d", walSize)
	if _, err := c.conn.ExecContext(context.Background(), q); err != nil {
		return err
	}
	for _, p := range []struct{ pragma, want string }{
		{"journal_mode", "wal"}, {"synchronous", "2"}, {"foreign_keys", "1"}, {"secure_delete", "1"}, {"wal_autocheckpoint", "0"},
		{"journal_size_limit", fmt.Sprint(walSize)}, {"page_size", fmt.Sprint(pageSize)},
	} {
		var got string
		if err := c.conn.QueryRowContext(context.Background(), "PRAGMA "+p.pragma).Scan(&got); err != nil {
			return err
		}
		if got != p.want {
			return fmt.Errorf("PRAGMA %s is %q, want %q: the file system may not support it; use a local one", p.pragma, got, p.want)
		}
	}
	return nil
}

func (c *connection) quickCheck() error {
	var verdict string
	if err := c.conn.QueryRowContext(context.Background(), "PRAGMA quick_check(1)").Scan(&verdict); err != nil {
		return err
	}
	if verdict != "ok" {
		return &brokenError{fmt.Errorf("quick_check: %s", verdict)}
	}
	return nil
}

// migrate applies what the file has not seen yet, one transaction each, forward only.
func (c *connection) migrate() error {
	names, err := fs.Glob(migrations, "migrations/*.sql")
	if err != nil {
		return err
	}
	slices.Sort(names)
	var have int
	if err := c.conn.QueryRowContext(context.Background(), "PRAGMA user_version").Scan(&have); err != nil {
		return err
	}
	if have < 0 || have > len(names) {
		return fmt.Errorf("it has schema %d, and this program knows those up to %d: if a newer Gardien wrote it, install that again and put the file back", have, len(names))
	}
	for i, name := range names[have:] {
		text, err := migrations.ReadFile(name)
		if err != nil {
			return err
		}
		q := fmt.Sprintf("BEGIN IMMEDIATE; %s; PRAGMA user_version=%d; COMMIT", strings.TrimSuffix(strings.TrimSpace(string(text)), ";"), have+i+1)
		if _, err := c.conn.ExecContext(context.Background(), q); err != nil {
			c.conn.ExecContext(context.Background(), "ROLLBACK")
			return fmt.Errorf("migration %s: %w", name, err)
		}
	}
	return nil
}

// relax sets whether a commit goes without fsync.
func (c *connection) relax(lax bool) error {
	if c.lax == lax {
		return nil
	}
	q := "PRAGMA synchronous=FULL"
	if lax {
		q = "PRAGMA synchronous=NORMAL"
	}
	if err := c.exec(q); err != nil {
		return err
	}
	c.lax = lax
	return nil
}

// exec runs a statement prepared once; writes are never cancelled half-way.
func (c *connection) exec(q string, args ...any) error {
	_, err := c.execN(q, args...)
	return err
}

func (c *connection) execN(q string, args ...any) (int64, error) {
	st, err := c.prepare(q)
	if err != nil {
		return 0, err
	}
	r, err := st.Exec(args...)
	if err != nil {
		return 0, err
	}
	return r.RowsAffected()
}

func (c *connection) prepare(q string) (*sql.Stmt, error) {
	if st, ok := c.stmts[q]; ok {
		return st, nil
	}
	st, err := c.conn.PrepareContext(context.Background(), q)
	if err == nil {
		c.stmts[q] = st
	}
	return st, err
}
