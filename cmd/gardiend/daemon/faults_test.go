package daemon

import (
	"bytes"
	"context"
	"database/sql"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
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

// Each command has an id of its own and is good once: it is the issuer who knocks with them.
func TestKnockWithCommands(t *testing.T) {
	inBubble(t, func(t *testing.T) {
		h := build(t).bubbled()
		text := strings.Replace(houseYAML, "bearer: true,", "bearer: true, remote_unlock: true, knock: 2m,", 1)
		if err := os.WriteFile(filepath.Join(h.dir, "g.yaml"), []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		h.start(t)
		time.Sleep(2 * time.Second) // a command from before this process is over
		command := func(jti string) gateway.Reason {
			now := time.Now().Truncate(time.Second)
			m := gateway.Command{Issuer: "colis-x.example", JTI: jti, Door: "front", IssuedAt: now, NotAfter: now.Add(25 * time.Second)}
			return h.access.Present(context.Background(), "front", gateway.ReaderApp, gateway.CommandCredential{Command: m}).Reason
		}
		if r := command("one"); r != gateway.Knock {
			t.Errorf("the first: %q", r)
		}
		if r := command("one"); r != gateway.UsesSpent {
			t.Errorf("the first again: %q", r)
		}
		h.told(t, gateway.KnockedEvent, gateway.AccessDenied, gateway.AccessDenied)
		time.Sleep(residentsTime)
		if r := command("two"); r != "" {
			t.Errorf("after the residents' time: %q", r)
		}
		if err := h.backend().Doors.Veto(t.Context(), api.Caller{}, "front"); err == nil {
			t.Error("a veto against nobody")
		}
	})
}

// A card that is known with a PIN that is drawn: the card is what is wrong, and no PIN helps.
func TestKnownCardWithPIN(t *testing.T) {
	h := build(t)
	h.start(t)
	req := api.GrantRequest{Doors: []gateway.DoorID{"front"}, NotAfter: new(time.Now().Add(time.Hour)), Card: "26:1:2", PIN: true}
	if _, err := h.backend().Grants.Make(t.Context(), api.Caller{}, req); err != nil {
		t.Fatal(err)
	}
	_, err := h.backend().Grants.Make(t.Context(), api.Caller{}, req)
	var p *api.Problem
	if !errors.As(err, &p) || p.Status != 400 || !strings.Contains(p.Detail, "card") {
		t.Errorf("%v", err)
	}
}

// P6: however many grants end in a minute, their PINs are gone with the next sweep.
func TestP6_ManyEndAtOnce(t *testing.T) {
	h := build(t)
	h.start(t)
	const n = 330
	now := time.Now().Truncate(time.Second)
	err := h.store.Update(t.Context(), func(tx *store.Tx) error {
		for i := range n {
			id := gateway.GrantID{Issuer: "colis-x.example", JTI: fmt.Sprint("over-", i)}
			tx.Grants.Put(gateway.Grant{ID: id, Version: 1, Status: gateway.GrantActive, Doors: []gateway.DoorID{"front"}, IssuedAt: now.Add(-time.Hour),
				Period: gateway.Period{NotBefore: now.Add(-time.Hour), NotAfter: now.Add(-time.Minute)}}, []byte("digest"))
			tx.Codes.Put(gateway.PINRecord{Grant: id, Door: "front", Length: 8}, fmt.Append(nil, "mac-", i))
		}
		return tx.Err()
	})
	if err != nil {
		t.Fatal(err)
	}
	if err := h.access.Sweep(t.Context()); err != nil {
		t.Fatal(err)
	}
	if live, err := h.livePINs(t.Context(), "front"); err != nil || live != 0 {
		t.Errorf("%d PINs are live, %v", live, err)
	}
	list, err := h.store.Events(t.Context(), 0, 1000)
	told := 0
	for _, e := range list {
		if e.Type == gateway.GrantExpired {
			told++
		}
	}
	if err != nil || told != n {
		t.Errorf("%d of %d ends are told, %v", told, n, err)
	}
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
