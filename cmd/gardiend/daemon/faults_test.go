package daemon

import (
	"bytes"
	"context"
	"database/sql"
	"errors"
	"fmt"
	"path/filepath"
	"slices"
	"sync"
	"testing"
	"time"

	"gardien/gateway"
	"gardien/gateway/api"
	"gardien/store"
)

// Faults that were found in the running house: each test speaks for its kind.

// A PIN that is typed while a backup is restored finds no memory of its reader, and must not
// end the daemon for it; nor are key sets read while they change.
func TestTypingDuringARestore(t *testing.T) {
	h := build(t)
	h.start(t)
	var backup bytes.Buffer
	if err := h.backend().Upkeep.Backup(t.Context(), &backup); err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	var typing sync.WaitGroup
	for i := range 4 {
		typing.Go(func() {
			for n := 0; ctx.Err() == nil; n++ {
				pin, _ := gateway.NewPIN(fmt.Sprintf("%06d", n))
				h.access.Present(context.Background(), "front", gateway.ReaderID(fmt.Sprint("pad-", i)), gateway.PINCredential{PIN: pin})
				h.rotated("colis-x.example")
			}
		})
	}
	for range 5 {
		if err := h.backend().Upkeep.Restore(t.Context(), bytes.NewReader(backup.Bytes())); err != nil {
			t.Error(err)
		}
	}
	cancel()
	typing.Wait()
	h.open(t, "front", h.pinGrant(t, "front"))
}

// A database that somebody else has locked answers at once as it were, and its trouble is told
// from its beginning.
func TestLockedDatabase(t *testing.T) {
	h := build(t)
	h.start(t)
	pin := h.pinGrant(t, "front")
	other, err := sql.Open("sqlite3", "file:"+filepath.Join(h.cfg.Gateway.StateDir, store.FileName))
	if err != nil {
		t.Fatal(err)
	}
	defer other.Close()
	conn, err := other.Conn(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	if _, err := conn.ExecContext(t.Context(), "BEGIN IMMEDIATE"); err != nil {
		t.Fatal(err)
	}
	start := time.Now()
	out := h.access.Present(t.Context(), "front", "pad", gateway.PINCredential{PIN: pin})
	t.Logf("answered after %v", time.Since(start))
	if out.Reason != gateway.Fault || h.store.Healthy() {
		t.Errorf("%q, healthy %v", out.Reason, h.store.Healthy())
	}
	if _, err := conn.ExecContext(t.Context(), "ROLLBACK"); err != nil {
		t.Fatal(err)
	}
	h.open(t, "front", pin)
	list, err := h.store.Events(t.Context(), 0, 1000)
	if err != nil {
		t.Fatal(err)
	}
	var device []gateway.EventType
	for _, e := range list {
		if e.Device == "database" {
			device = append(device, e.Type)
		}
	}
	if !slices.Equal(device, []gateway.EventType{gateway.DeviceOffline, gateway.DeviceOnline}) {
		t.Errorf("told of the database: %v", device)
	}
}

// A clock of the year 9999, or of any that no grant can name, is not believed, and what is
// recorded under it verifies.
func TestAbsurdClock(t *testing.T) {
	for _, year := range []int{1970, 2106, 9999, 12000} {
		h := build(t)
		h.os = &calendarOS{wall: time.Date(year, 12, 31, 23, 59, 59, 0, time.UTC), boot: time.Hour}
		h.start(t)
		h.note(gateway.Event{Type: gateway.DoorBell, Door: "front"})
		if v, err := h.backend().Record.Verify(t.Context()); err != nil || !v.OK {
			t.Errorf("%d: %+v, %v", year, v, err)
		}
		r := h.clock.Read()
		if r.State != gateway.ClockUndecided || r.Latest.Before(r.Earliest) {
			t.Errorf("%d: %+v", year, r)
		}
		if _, err := h.backend().Upkeep.ConfirmClock(t.Context(), api.Caller{}); year > 2100 {
			var p *api.Problem
			if !errors.As(err, &p) || p.Status != 409 {
				t.Errorf("%d: a resident confirms it: %v", year, err)
			}
		}
		h.stop()
		// The next day all is well, and time goes on from where it was known to be.
		h.os = &calendarOS{wall: time.Date(2026, 12, 1, 12, 0, 0, 0, time.UTC), boot: time.Hour}
		h.start(t)
		if r := h.clock.Read(); r.State != gateway.ClockSynced {
			t.Errorf("after %d: %+v", year, r)
		}
		h.stop()
	}
}
