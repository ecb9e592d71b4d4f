package store

import (
	"database/sql"
	"errors"
	"fmt"
	"syscall"

	"github.com/mattn/go-sqlite3"
)

// isBroken reports SQLITE_CORRUPT and SQLITE_NOTADB.
func isBroken(err error) bool {
	var e sqlite3.Error
	return errors.As(err, &e) && (e.Code == sqlite3.ErrCorrupt || e.Code == sqlite3.ErrNotADB)
}

// isBusy reports SQLITE_BUSY: somebody else has locked the database.
func isBusy(err error) bool {
	var e sqlite3.Error
	return errors.As(err, &e) && e.Code == sqlite3.ErrBusy
}

// DiskTrouble reports that the disk, not the database, is at fault: full, read-only,
// failing.
func DiskTrouble(err error) bool {
	var e sqlite3.Error
	if !errors.As(err, &e) {
		return false
	}
	switch e.Code {
	case sqlite3.ErrFull, sqlite3.ErrReadonly, sqlite3.ErrIoErr, sqlite3.ErrCantOpen:
		return true
	}
	return false
}

// diskTrouble is DiskTrouble, of the operating system's own errors, too.
func diskTrouble(err error) bool {
	for _, e := range []error{syscall.ENOSPC, syscall.EROFS, syscall.EIO, syscall.EDQUOT} {
		if errors.Is(err, e) {
			return true
		}
	}
	return DiskTrouble(err)
}

// copyInto overwrites dst's whole content with src's in one transaction of SQLite's
// online backup.
func copyInto(dst, src *sql.Conn) error {
	return dst.Raw(func(d any) error {
		return src.Raw(func(s any) error {
			b, err := d.(*sqlite3.SQLiteConn).Backup("main", s.(*sqlite3.SQLiteConn), "main")
			if err != nil {
				return err
			}
			done, err := b.Step(-1)
			if err == nil && !done {
				err = fmt.Errorf("the copy did not finish")
			}
			return errors.Join(err, b.Finish())
		})
	})
}
