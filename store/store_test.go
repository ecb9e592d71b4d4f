package store_test

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"testing"

	"gardien/gateway"
	"gardien/store"
)

func newStore(t *testing.T) *store.Store {
	t.Helper()
	return reopen(t, t.TempDir(), nil)
}

// reopen closes s, if there is one, and opens the folder's database.
func reopen(t *testing.T, dir string, s *store.Store) *store.Store {
	t.Helper()
	return reopenWith(t, dir, s, newClock())
}

func reopenWith(t *testing.T, dir string, s *store.Store, c store.Clock) *store.Store {
	t.Helper()
	known := s != nil
	if known {
		if err := s.Close(); err != nil {
			t.Fatal(err)
		}
	}
	s, err := openStore(dir, c, known)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { s.Close() })
	return s
}

func mustExec(t *testing.T, s *store.Store, q string) {
	t.Helper()
	if _, err := s.Conn().ExecContext(context.Background(), q); err != nil {
		t.Fatal(err)
	}
}

func put(t *testing.T, s *store.Store, grants ...gateway.Grant) {
	t.Helper()
	update(t, s, func(tx *store.Tx) error {
		for _, g := range grants {
			tx.Grants.Put(g, []byte("digest"))
		}
		return tx.Err()
	})
}

func spend(t *testing.T, s *store.Store, id gateway.GrantID) (ok bool) {
	t.Helper()
	update(t, s, func(tx *store.Tx) error { ok = tx.Grants.Spend(id); return tx.Err() })
	return ok
}

// TestSettings reads the promises of D2 back, and the modes of the files.
func TestSettings(t *testing.T) {
	dir := t.TempDir()
	s := reopen(t, dir, nil)
	fill(t, s, 1)
	for pragma, want := range map[string]string{"journal_mode": "wal", "synchronous": "2", "foreign_keys": "1", "secure_delete": "1",
		"wal_autocheckpoint": "0", "user_version": "6"} {
		var got string
		if err := s.Conn().QueryRowContext(context.Background(), "PRAGMA "+pragma).Scan(&got); err != nil || got != want {
			t.Errorf("%s is %q, want %q (%v)", pragma, got, want, err)
		}
	}
	for _, suffix := range []string{"", "-wal", "-shm"} {
		fi, err := os.Stat(filepath.Join(dir, store.FileName+suffix))
		if err != nil || fi.Mode().Perm() != 0o600 {
			t.Errorf("%s: %v, %v", suffix, fi.Mode(), err)
		}
	}
	err := s.Follow(context.Background(), func(tx *store.Tx) error { return tx.Record.Append(gateway.Event{Type: gateway.DoorOpened}) })
	if err != nil {
		t.Fatal(err)
	}
	var sync string
	if err := s.Conn().QueryRowContext(context.Background(), "PRAGMA synchronous").Scan(&sync); err != nil || sync != "2" {
		t.Errorf("after Follow synchronous is %q, %v", sync, err)
	}
}

// TestRefusals: what is not as it should be is refused with a remedy, and left alone.
func TestRefusals(t *testing.T) {
	for _, tc := range []struct {
		name   string
		spoil  func(t *testing.T, dir string, s *store.Store) *store.Store
		remedy string
	}{
		{"open to others", func(t *testing.T, dir string, s *store.Store) *store.Store {
			if err := errors.Join(s.Close(), os.Chmod(filepath.Join(dir, store.FileName), 0o644)); err != nil {
				t.Fatal(err)
			}
			return s
		}, "chmod 600"},
		{"another gateway's", func(t *testing.T, dir string, s *store.Store) *store.Store {
			mustExec(t, s, `UPDATE state SET value = CAST('"gw-bbbbbbbbbb"' AS BLOB) WHERE key = 'gateway'`)
			return s
		}, "keys folder"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			dir := t.TempDir()
			s := reopen(t, dir, nil)
			fill(t, s, 3)
			tc.spoil(t, dir, s).Close()
			before := rawFiles(dir)
			if s, err := openStore(dir, newClock(), true); err == nil || !strings.Contains(err.Error(), tc.remedy) {
				t.Errorf("%v, %v", s, err)
			}
			if after := rawFiles(dir); len(after) != len(before) {
				t.Errorf("files: %d before, %d after", len(before), len(after))
			}
		})
	}
}

// TestSpendOnce: 64 presenters of each of 200 one-time grants get one entry each (A4),
// while others read.
func TestSpendOnce(t *testing.T) {
	s := newStore(t)
	var ids []gateway.GrantID
	for i := range 200 {
		g := oneTime("carrier.example", fmt.Sprintf("parcel-%d", i), "")
		put(t, s, g)
		ids = append(ids, g.ID)
	}
	ctx := context.Background()
	var opened [200]atomic.Int32
	var writers, readers sync.WaitGroup
	stop := make(chan struct{})
	for range 3 {
		readers.Go(func() {
			for {
				select {
				case <-stop:
					return
				default:
				}
				v, err := s.Verify(ctx)
				if err != nil || !v.OK {
					t.Errorf("%+v %v", v, err)
					return
				}
				list, err := s.Events(ctx, max(0, s.Head()-5), 10)
				if err != nil {
					t.Error(err)
				}
				for i, e := range list {
					if e.Seq != list[0].Seq+int64(i) {
						t.Errorf("events out of order: %v", list)
					}
				}
			}
		})
	}
	denied := errors.New("denied")
	for p := range 64 {
		writers.Go(func() {
			for k := range ids {
				i := (k + p) % len(ids)
				err := s.Update(ctx, func(tx *store.Tx) error {
					if !tx.Grants.Spend(ids[i]) {
						return denied
					}
					return tx.Record.Append(gateway.Event{Type: gateway.AccessGranted, Door: "front", Issuer: ids[i].Issuer, Grant: ids[i].JTI})
				})
				switch {
				case err == nil:
					opened[i].Add(1)
				case !errors.Is(err, denied) || !s.Healthy():
					t.Error(err)
				}
			}
		})
	}
	writers.Wait()
	close(stop)
	readers.Wait()
	for i := range opened {
		if n := opened[i].Load(); n != 1 {
			t.Errorf("%s opened %d times", ids[i], n)
		}
	}
	if n := s.Head(); n != 200 {
		t.Errorf("%d events", n)
	}
}

// TestUsesOverVersions: a new version does not give back what was spent.
func TestUsesOverVersions(t *testing.T) {
	s := newStore(t)
	g := oneTime("carrier.example", "parcel", "")
	g.Uses = 2
	put(t, s, g)
	if !spend(t, s, g.ID) {
		t.Fatal("the first")
	}
	g.Version = 2
	put(t, s, g)
	if !spend(t, s, g.ID) || spend(t, s, g.ID) {
		t.Error("version 2 has one use left")
	}
	g.Version, g.Uses = 3, 3
	put(t, s, g)
	if !spend(t, s, g.ID) || spend(t, s, g.ID) {
		t.Error("version 3 has one more")
	}
	g.Version, g.Uses = 4, 0
	put(t, s, g)
	for range 3 {
		if !spend(t, s, g.ID) {
			t.Error("version 4 has no limit")
		}
	}
	if spend(t, s, gateway.GrantID{Issuer: "carrier.example", JTI: "unknown"}) {
		t.Error("an unknown grant was spent")
	}
}

// TestRollBack: an error, of either kind, or a panic leaves nothing behind.
func TestRollBack(t *testing.T) {
	ctx := context.Background()
	s := newStore(t)
	fill(t, s, 2)
	g := oneTime("carrier.example", "parcel", "")
	put(t, s, g)
	for name, write := range map[string]func(context.Context, func(*store.Tx) error) error{"Update": s.Update, "Follow": s.Follow} {
		mine := errors.New("mine")
		err := write(ctx, func(tx *store.Tx) error {
			tx.Grants.Spend(g.ID)
			tx.Record.Append(gateway.Event{Type: gateway.DoorOpened})
			return mine
		})
		if !errors.Is(err, mine) {
			t.Errorf("%s: %v", name, err)
		}
		func() {
			defer func() {
				if recover() == nil {
					t.Errorf("%s: no panic", name)
				}
			}()
			write(ctx, func(tx *store.Tx) error { tx.Grants.Spend(g.ID); panic("mine") })
		}()
	}
	if n := s.Head(); n != 2 {
		t.Errorf("head is %d", n)
	}
	if !spend(t, s, g.ID) || spend(t, s, g.ID) {
		t.Error("the use was counted")
	}
	var level int
	if err := s.Conn().QueryRowContext(ctx, "PRAGMA synchronous").Scan(&level); err != nil || level != 2 {
		t.Errorf("synchronous is %d, %v", level, err)
	}
	fill(t, s, 1)
	if v := verify(t, s); !v.OK || v.Events != 3 {
		t.Errorf("%+v", v)
	}
	done, cancel := context.WithCancel(ctx)
	cancel()
	if err := s.Update(done, func(*store.Tx) error { return nil }); !errors.Is(err, context.Canceled) {
		t.Error(err)
	}
}

// TestWatch: each growth wakes, whoever does not listen holds nobody up, and what is
// rolled back wakes nobody.
func TestWatch(t *testing.T) {
	s := newStore(t)
	grown, stop := s.Watch()
	slow, stopSlow := s.Watch()
	defer stopSlow()
	for range 3 {
		fill(t, s, 2)
		<-grown
	}
	s.Update(context.Background(), func(tx *store.Tx) error {
		tx.Record.Append(gateway.Event{Type: gateway.DoorOpened})
		return errors.New("no")
	})
	select {
	case <-grown:
		t.Error("woken by what was rolled back")
	default:
	}
	<-slow
	stop()
	fill(t, s, 1)
	select {
	case <-grown:
		t.Error("woken after stop")
	default:
	}
}

// TestInterrupt: what a crash left open is written once, door by door (D1).
func TestInterrupt(t *testing.T) {
	dir := t.TempDir()
	s := reopen(t, dir, nil)
	enter := func(door gateway.DoorID, secured bool) gateway.AttemptID {
		a := gateway.Attempt{ID: gateway.NewAttemptID(), Door: door, Reader: "keypad"}
		update(t, s, func(tx *store.Tx) error { return tx.Record.Append(gateway.AccessGranted.Of(a)) })
		if secured {
			update(t, s, func(tx *store.Tx) error { return tx.Record.Append(gateway.StrikeSecured.Of(a)) })
		}
		return a.ID
	}
	enter("front", true)
	want := []gateway.AttemptID{enter("back", false), enter("front", false), enter("front", false)}
	s = reopen(t, dir, s)
	if err := interrupted(s, 3); err != nil {
		t.Error(err)
	}
	list := events(t, s)
	for i, e := range list[len(list)-3:] {
		if e.Type != gateway.Interrupted || e.Attempt != want[i] {
			t.Errorf("%+v, want attempt %s", e, want[i])
		}
	}
	if err := interrupted(reopen(t, dir, s), 0); err != nil {
		t.Error(err)
	}
}
