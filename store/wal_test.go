package store_test

import (
	"context"
	"os"
	"path/filepath"
	"testing"

	"gardien/gateway"
	"gardien/store"
)

// TestD1_CommitsOverwrite: no commit waits for the file system to find room. The WAL has its
// size from the start, keeps it over a hundred visits, and has it again after it was emptied.
func TestD1_CommitsOverwrite(t *testing.T) {
	dir := t.TempDir()
	s := reopen(t, dir, nil)
	size := func() int64 {
		fi, err := os.Stat(filepath.Join(dir, store.FileName+"-wal"))
		if err != nil {
			t.Fatal(err)
		}
		return fi.Size()
	}
	const want = 1 << 20
	if n := size(); n != want {
		t.Errorf("the WAL has %d bytes at the start, want %d", n, want)
	}
	for range 100 {
		update(t, s, func(tx *store.Tx) error { return tx.Record.Append(gateway.Event{Type: gateway.DoorBell, Door: "front"}) })
	}
	if n := size(); n != want {
		t.Errorf("the WAL has %d bytes after 100 commits, want %d", n, want)
	}
	if err := s.Scrub(context.Background()); err != nil {
		t.Fatal(err)
	}
	if n := size(); n != want {
		t.Errorf("the WAL has %d bytes after it was emptied, want %d", n, want)
	}
}
