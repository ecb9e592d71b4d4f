package store_test

import (
	"context"
	"errors"
	"slices"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"gardien/gateway"
	"gardien/store"
)

// A11: no query inside a query. One connection is enough for whoever reads the record: where
// a second was asked for while the first was held, some readers together held all of them.
func TestA11_OneConnectionIsEnough(t *testing.T) {
	s, err := openStore(t.TempDir(), newClock(), false)
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	s.ReadersForTest(1)
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
	defer cancel()
	err = s.Update(ctx, func(tx *store.Tx) error {
		for range 5 {
			tx.Record.Append(gateway.Event{Type: gateway.DoorBell, Door: "front"})
		}
		tx.Grants.Put(oneTime("x.example", "g", "sub"), []byte("d"))
		return tx.Err()
	})
	if err != nil {
		t.Fatal(err)
	}
	for name, read := range map[string]func() error{
		"events": func() error { _, err := s.Events(ctx, 0, 100); return err },
		"verify": func() error { _, err := s.Verify(ctx); return err },
		"unsent": func() error { _, _, _, err := s.Unsent(ctx, 100); return err },
		"about":  func() error { _, err := s.About(ctx); return err },
		"view": func() error {
			return s.View(ctx, func(tx *store.Tx) error {
				id := gateway.GrantID{Issuer: "x.example", JTI: "g"}
				tx.Grants.List(gateway.GrantID{}, 100)
				tx.Grants.Ending(start, 100)
				tx.Grants.DeadCodes(start, gateway.GrantID{}, 10)
				if _, found := tx.Grants.Get(id); !found {
					t.Error("no grant")
				}
				tx.Codes.Of(id, "front")
				tx.Codes.HasCard(id, "front")
				tx.Issuers.State("x.example", "2026-11-23")
				tx.Issuers.ActiveLines("x.example", start, start)
				tx.Issuers.Unmatched()
				tx.Feed.Place()
				tx.Feed.Taken()
				tx.House.Clock()
				tx.Residents.List()
				return tx.Err()
			})
		},
		"a reader that writes": func() error {
			err := s.View(ctx, func(tx *store.Tx) error { tx.Grants.Block(gateway.GrantID{}); return nil })
			err2 := s.Browse(ctx, func(tx *store.Tx) error { tx.House.SetPaused(&gateway.Pause{}); return nil })
			if err == nil || err2 == nil {
				return errors.New("it may")
			}
			return nil
		},
	} {
		if err := read(); err != nil {
			t.Errorf("%s: %v", name, err)
		}
	}
}

// A first event after the front of the chain was cut bears the hash that stands before it.
func TestEventsAfterRetention(t *testing.T) {
	c := newClock()
	s, err := openStore(t.TempDir(), c, false)
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	bell := func(tx *store.Tx) error {
		return tx.Record.Append(gateway.Event{Type: gateway.DoorBell, Door: "front"})
	}
	for range 3 {
		if err := s.Update(t.Context(), bell); err != nil {
			t.Fatal(err)
		}
	}
	before, err := s.Events(t.Context(), 0, 100)
	if err != nil {
		t.Fatal(err)
	}
	c.set(start.Add(1000 * time.Hour))
	if err := s.Update(t.Context(), bell); err != nil {
		t.Fatal(err)
	}
	if n, err := s.Retain(t.Context(), start.Add(time.Hour)); err != nil || n != 3 {
		t.Fatalf("%d, %v", n, err)
	}
	after, err := s.Events(t.Context(), 0, 100)
	if err != nil || len(after) != 1 || after[0].Prev != before[2].Hash {
		t.Errorf("%+v, %v; want prev %s", after, err, before[2].Hash)
	}
}

// Whoever wants to write waits for the writer, and not for ever: an opening that comes a
// minute late is for somebody who has gone.
func TestWriterIsWaitedForWithABound(t *testing.T) {
	s, err := openStore(t.TempDir(), newClock(), false)
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	began, goOn := make(chan struct{}), make(chan struct{})
	done := make(chan error, 1)
	go func() {
		done <- s.Update(context.Background(), func(tx *store.Tx) error { close(began); <-goOn; return nil })
	}()
	<-began
	gone, cancel := context.WithCancel(t.Context())
	cancel()
	if err := s.Update(gone, func(*store.Tx) error { return nil }); !errors.Is(err, context.Canceled) {
		t.Errorf("whoever has gone: %v", err)
	}
	if s.Hung(time.Hour) || !s.Hung(0) || !s.Healthy() || s.Head() != 0 {
		t.Error("who looks at the writer sees something else")
	}
	start := time.Now()
	err = s.Update(t.Context(), func(*store.Tx) error { t.Error("two writers"); return nil })
	t.Logf("given up after %v: %v", time.Since(start), err)
	if err == nil {
		t.Error("no error")
	}
	close(goOn)
	if err := <-done; err != nil {
		t.Error(err)
	}
	if s.Hung(0) {
		t.Error("hung although nobody writes")
	}
}

// dawn is a clock that does not know the time until it is told.
type dawn struct {
	*clock
	known, settled atomic.Bool
}

func (d *dawn) Read() gateway.Reading {
	r := d.clock.Read()
	if !d.known.Load() {
		r.State, r.Earliest, r.Latest = gateway.ClockUndecided, start, gateway.MaxTime
	}
	r.Settled = d.settled.Load()
	return r
}

// L7, I6: a gateway that is switched off every night does not know the time when it starts, and
// keeps to the retention all the same, once time has stood for a day.
func TestI6_RetentionWhenTimeStands(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := &dawn{clock: newClock()}
		s, err := openStore(t.TempDir(), c, false)
		if err != nil {
			t.Fatal(err)
		}
		defer s.Close()
		for range 3 {
			if err := s.Update(t.Context(), func(tx *store.Tx) error {
				return tx.Record.Append(gateway.Event{Type: gateway.DoorBell, Door: "front"})
			}); err != nil {
				t.Fatal(err)
			}
		}
		c.set(start.Add(100 * 24 * time.Hour))
		ctx, cancel := context.WithCancel(t.Context())
		done := make(chan error, 1)
		k := s.Keeper(90 * 24 * time.Hour)
		go func() { done <- k.Run(ctx) }()
		<-k.Ready()
		kept := func(want int, when string) {
			t.Helper()
			synctest.Wait()
			if list, err := s.Events(context.Background(), 0, 100); err != nil || len(list) != want {
				t.Errorf("%s: %d events, want %d, %v", when, len(list), want, err)
			}
		}
		time.Sleep(time.Hour)
		kept(3, "nobody knows the time")
		c.known.Store(true)
		time.Sleep(time.Hour)
		kept(3, "the time is known, and may be wrong")
		c.settled.Store(true)
		time.Sleep(10 * time.Minute)
		kept(1, "time has stood")
		cancel()
		if err := <-done; err != nil && !slices.Contains([]error{context.Canceled}, err) {
			t.Error(err)
		}
	})
}
