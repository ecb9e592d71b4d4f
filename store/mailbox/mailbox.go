package mailbox

import (
	"context"
	"crypto/rand"
	"database/sql"
	"embed"
	"encoding/base64"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"net/url"
	"os"
	"slices"
	"strings"
	"time"

	"github.com/jackc/pgx/v5/pgconn"
	"github.com/jackc/pgx/v5/stdlib"
	_ "github.com/mattn/go-sqlite3" // registers "sqlite3"

	"gardien/gateway"
)

//go:embed migrations/*.sql
var migrations embed.FS

// Box is the mailbox's database. Its methods are safe for concurrent use.
type Box struct {
	write, read *sql.DB
	postgres    bool
	dsn         string
	log         *slog.Logger
	replica     string
	hub         hub
	notify      chan struct{} // there is something to tell other replicas
}

// Open opens a database, and brings its schema up to date: dsn is a PostgreSQL URL
// (postgres://…) or the name of a SQLite file.
func Open(ctx context.Context, dsn string, log *slog.Logger) (*Box, error) {
	b := &Box{dsn: dsn, log: log, replica: randomID(12), notify: make(chan struct{}, 1),
		postgres: strings.HasPrefix(dsn, "postgres://") || strings.HasPrefix(dsn, "postgresql://")}
	open := b.openSQLite
	if b.postgres {
		open = b.openPostgres
	}
	err := open(ctx)
	if err == nil {
		err = b.migrate(ctx)
	}
	if err != nil {
		b.Close()
		return nil, fmt.Errorf("mailbox: %w", redact(err, dsn))
	}
	return b, nil
}

// redact keeps a password out of errors (L5).
func redact(err error, dsn string) error {
	u, e := url.Parse(dsn)
	if e != nil || u.User == nil {
		return err
	}
	if p, ok := u.User.Password(); ok && p != "" && strings.Contains(err.Error(), p) {
		return errors.New(strings.ReplaceAll(err.Error(), p, "[secret]"))
	}
	return err
}

func (b *Box) openPostgres(ctx context.Context) error {
	db, err := sql.Open("pgx", b.dsn)
	if err != nil {
		return err
	}
	db.SetMaxOpenConns(16)
	db.SetMaxIdleConns(16)
	b.read, b.write = db, db
	return db.PingContext(ctx)
}

func (b *Box) openSQLite(ctx context.Context) (err error) {
	// SQLite gives the WAL and the shared memory the mode of this file.
	f, err := os.OpenFile(b.dsn, os.O_CREATE|os.O_RDWR, 0o600)
	if err != nil {
		return err
	}
	f.Close()
	name := "file:" + (&url.URL{Path: b.dsn}).EscapedPath() + "?_foreign_keys=on&_journal_mode=WAL&_synchronous=FULL&_busy_timeout=5000"
	if b.write, err = sql.Open("sqlite3", name+"&_txlock=immediate"); err != nil {
		return err
	}
	b.write.SetMaxOpenConns(1)
	if b.read, err = sql.Open("sqlite3", name+"&_query_only=on"); err != nil {
		return err
	}
	b.read.SetMaxOpenConns(8)
	b.read.SetMaxIdleConns(8)
	for pragma, want := range map[string]string{"journal_mode": "wal", "synchronous": "2"} {
		var got string
		if err := b.write.QueryRowContext(ctx, "PRAGMA "+pragma).Scan(&got); err != nil {
			return err
		}
		if got != want {
			return fmt.Errorf("PRAGMA %s is %q, want %q: the file system may not support it; use a local one", pragma, got, want)
		}
	}
	return nil
}

// migrate applies what the database has not seen yet, one transaction each.
func (b *Box) migrate(ctx context.Context) error {
	names, err := fs.Glob(migrations, "migrations/*.sql")
	if err != nil {
		return err
	}
	slices.Sort(names)
	return b.update(ctx, func(tx *tx) error {
		if b.postgres { // replicas may start together
			tx.exec("SELECT pg_advisory_xact_lock(4711)")
		}
		tx.exec("CREATE TABLE IF NOT EXISTS schema (version BIGINT NOT NULL)")
		var have int
		if !tx.row("SELECT version FROM schema", nil, &have) {
			tx.exec("INSERT INTO schema VALUES (0)")
		}
		if have > len(names) {
			return fmt.Errorf("the database has schema %d, newer than this program's %d: install the newer gardien-cloud", have, len(names))
		}
		for _, name := range names[have:] {
			text, err := migrations.ReadFile(name)
			if err != nil {
				return err
			}
			q := string(text)
			if b.postgres {
				q = strings.ReplaceAll(q, " BLOB ", " BYTEA ")
			}
			for _, statement := range statements(q) {
				tx.exec(statement)
			}
		}
		if have < len(names) {
			tx.exec("UPDATE schema SET version = $1", len(names))
		}
		return tx.err
	})
}

// statements splits a migration; comments go, for they may hold semicolons.
func statements(text string) (list []string) {
	var plain strings.Builder
	for line := range strings.Lines(text) {
		code, _, _ := strings.Cut(line, "--")
		plain.WriteString(strings.TrimRight(code, "\n") + "\n")
	}
	for _, s := range strings.Split(plain.String(), ";") {
		if s = strings.TrimSpace(s); s != "" {
			list = append(list, s)
		}
	}
	return list
}

// Close closes the database.
func (b *Box) Close() error {
	var errs []error
	if b.read != nil && b.read != b.write {
		errs = append(errs, b.read.Close())
	}
	if b.write != nil {
		errs = append(errs, b.write.Close())
	}
	return errors.Join(errs...)
}

// Ping reports whether the database answers.
func (b *Box) Ping(ctx context.Context) error {
	var one int
	return b.read.QueryRowContext(ctx, "SELECT 1").Scan(&one)
}

func randomID(n int) string {
	raw := make([]byte, n)
	rand.Read(raw)
	return base64.RawURLEncoding.EncodeToString(raw)
}

// tx is one transaction; its first error sticks.
type tx struct {
	ctx      context.Context
	sql      *sql.Tx
	postgres bool
	err      error
	topics   []string // to wake after the commit
}

// update runs f in one durable transaction, and wakes who waits for its topics.
func (b *Box) update(ctx context.Context, f func(*tx) error) error {
	for try := 0; ; try++ {
		err := b.once(ctx, f)
		var pg *pgconn.PgError
		// A deadlock or a serialisation failure left nothing behind.
		if try < 5 && errors.As(err, &pg) && (pg.Code == "40P01" || pg.Code == "40001") {
			continue
		}
		return err
	}
}

func (b *Box) once(ctx context.Context, f func(*tx) error) error {
	t, err := b.write.BeginTx(ctx, nil)
	if err != nil {
		return err
	}
	x := &tx{ctx: ctx, sql: t, postgres: b.postgres}
	if err := errors.Join(f(x), x.err); err != nil {
		t.Rollback()
		return err
	}
	if err := t.Commit(); err != nil {
		return err
	}
	b.wake(x.topics...)
	return nil
}

func (t *tx) exec(q string, args ...any) (n int64) {
	if t.err != nil {
		return 0
	}
	var r sql.Result
	if r, t.err = t.sql.ExecContext(t.ctx, q, args...); t.err == nil {
		n, _ = r.RowsAffected()
	}
	return n
}

// row scans one row; found is false where there is none.
func (t *tx) row(q string, args []any, dest ...any) (found bool) {
	if t.err != nil {
		return false
	}
	err := t.sql.QueryRowContext(t.ctx, q, args...).Scan(dest...)
	if errors.Is(err, sql.ErrNoRows) {
		return false
	}
	t.err = err
	return err == nil
}

// lock is what a SELECT ends with that locks its row. SQLite has one writer anyway.
func (t *tx) lock() string {
	if t.postgres {
		return " FOR UPDATE"
	}
	return ""
}

// scanDigest reads a digest's bytes.
func scanDigest(raw []byte) (d gateway.Digest, err error) {
	if len(raw) != len(d) {
		return d, fmt.Errorf("a digest of %d bytes", len(raw))
	}
	return gateway.Digest(raw), nil
}

var _ = stdlib.GetDefaultDriver // registers "pgx"

func seconds(t time.Time) int64 { return t.Unix() }
