package store_test

import (
	"context"
	"os"
	"path/filepath"
	"testing"
	"testing/synctest"
	"time"

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
	const want = 2 << 20
	if n := size(); n != want {
		t.Errorf("the WAL has %d bytes at the start, want %d", n, want)
	}
	for range 100 {
		update(t, s, func(tx *store.Tx) error {
			return tx.Record.Append(gateway.Event{Type: gateway.DoorBell, Door: "front"})
		})
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

// TestD8_CheckpointsBySize: the WAL is moved into the file when a MiB of commits is in it, however
// many those are. Where commits come without a pause it is soon empty all the same.
func TestD8_CheckpointsBySize(t *testing.T) {
	ctx := context.Background()
	ring := func(tx *store.Tx) error {
		return tx.Record.Append(gateway.Event{Type: gateway.DoorBell, Door: "front"})
	}
	ticks := 0
	tick := func(tx *store.Tx) error { // a commit without an event
		ticks++
		tx.House.PutClock(store.ClockState{Floor: start.Add(time.Duration(ticks) * time.Second)})
		return tx.Err()
	}
	// atMost commits until the WAL starts anew, and gives how many bytes it held.
	atMost := func(s *store.Store, commits int, write func(*store.Tx) error, each func()) (bytes int) {
		for range commits {
			update(t, s, write)
			each()
			var busy, frames, done int
			if err := s.Conn().QueryRowContext(ctx, "PRAGMA wal_checkpoint(NOOP)").Scan(&busy, &frames, &done); err != nil {
				t.Fatal(err)
			}
			if frames*(1024+24) < bytes {
				break
			}
			bytes = frames * (1024 + 24)
		}
		return bytes
	}
	s := reopen(t, t.TempDir(), nil)
	bytes := atMost(s, 1000, ring, func() {
		if err := s.CheckpointBeside(ctx, store.CheckpointAt); err != nil {
			t.Fatal(err)
		}
	})
	if bytes < 1<<20-(8<<10) || bytes > 1<<20+(8<<10) {
		t.Errorf("a checkpoint at %d bytes of WAL, want it at a MiB", bytes)
	}

	s = reopen(t, t.TempDir(), nil)
	ctx, cancel := context.WithCancel(ctx)
	ended := make(chan error, 1)
	k := s.Keeper(0)
	go func() { ended <- k.Run(ctx) }()
	defer func() { cancel(); <-ended }()
	<-k.Ready()
	for what, write := range map[string]func(*store.Tx) error{"events": ring, "the clock": tick} {
		if bytes := atMost(s, 5000, write, func() {}); bytes > 4<<20 {
			t.Errorf("the WAL holds %d bytes while commits of %s come without a pause", bytes, what)
		}
	}
}

// TestD8_IdleMovesTheLog: a minute after the last commit all is in the file, and the WAL is as
// small as at the start.
func TestD8_IdleMovesTheLog(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		dir := t.TempDir()
		s := reopen(t, dir, nil)
		fill(t, s, 10)
		for s.Head() < 12_000 { // nobody moves it meanwhile
			update(t, s, func(tx *store.Tx) error {
				for range 200 {
					tx.Record.Append(gateway.Event{Type: gateway.DoorBell, Door: "front"})
				}
				return tx.Err()
			})
		}
		wal := filepath.Join(dir, store.FileName+"-wal")
		grown, err := os.Stat(wal)
		if err != nil || grown.Size() <= 2<<20 {
			t.Fatalf("the WAL did not grow: %v, %v", grown, err)
		}
		ctx, cancel := context.WithCancel(t.Context())
		done := make(chan error, 1)
		k := s.Keeper(0)
		go func() { done <- k.Run(ctx) }()
		<-k.Ready()
		time.Sleep(80 * time.Second)
		synctest.Wait()
		if fi, err := os.Stat(wal); err != nil || fi.Size() > 2<<20 {
			t.Errorf("the WAL measures %d bytes (%v)", fi.Size(), err)
		}
		head := s.Head()
		idle := s.Commits()
		time.Sleep(time.Hour)
		if n := s.Commits(); n != idle {
			t.Errorf("%d commits in an idle hour", n-idle)
		}
		cancel()
		<-done
		alone := t.TempDir()
		b, err := os.ReadFile(filepath.Join(dir, store.FileName))
		if err == nil {
			err = os.WriteFile(filepath.Join(alone, store.FileName), b, 0o600)
		}
		if err != nil {
			t.Fatal(err)
		}
		if r := reopen(t, alone, nil); r.Head() != head {
			t.Errorf("the file alone knows %d events of %d", r.Head(), head)
		}
	})
}
