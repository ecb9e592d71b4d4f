// Package storetest makes stores for tests of rooms that remember.
package storetest

import (
	"log/slog"
	"testing"
	"time"

	"gardien/store"
)

// Open opens the store of a folder, and makes it where there is none.
func Open(t testing.TB, dir string, c store.Clock, zone *time.Location) *store.Store {
	t.Helper()
	s, err := store.Open(store.Opts{Dir: dir, Zone: zone, Log: slog.New(slog.DiscardHandler)})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { s.Close() })
	if err := s.SetClock(c); err != nil {
		t.Fatal(err)
	}
	return s
}
