package store

import (
	"crypto/sha256"
	"database/sql"
	"encoding/binary"
	"fmt"

	"github.com/mattn/go-sqlite3"
)

// driver is SQLite with the function row_sum, which the tables' columns "sum" are made by.
const driver = "gardien-sqlite3"

func init() {
	sql.Register(driver, &sqlite3.SQLiteDriver{ConnectHook: func(c *sqlite3.SQLiteConn) error {
		return c.RegisterFunc("row_sum", rowSum, true)
	}})
}

// rowSum gives 8 bytes by which a bit that flipped on the card shows in a row (R4). It is no
// proof against somebody who can write to the card.
func rowSum(values ...any) []byte {
	h := sha256.New()
	for _, v := range values {
		switch v := v.(type) {
		case nil:
			fmt.Fprint(h, "n")
		case int64:
			fmt.Fprintf(h, "i%d;", v)
		case string:
			fmt.Fprintf(h, "t%d:%s", len(v), v)
		case []byte:
			h.Write(binary.AppendUvarint([]byte("b"), uint64(len(v))))
			h.Write(v)
		default:
			fmt.Fprintf(h, "%T%v;", v, v)
		}
	}
	return h.Sum(nil)[:8]
}
