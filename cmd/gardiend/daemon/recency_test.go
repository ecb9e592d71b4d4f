package daemon

import (
	"bytes"
	"net/http/httptest"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"gardien/gateway"
	"gardien/gateway/access"
	"gardien/gateway/tokens"
	"gardien/store"
)

// state copies the gateway's state folder, or puts a copy back.
func copyState(t *testing.T, from, to string) {
	t.Helper()
	check(t, os.RemoveAll(to))
	check(t, os.CopyFS(to, os.DirFS(from)))
	check(t, filepath.Walk(to, func(path string, fi os.FileInfo, err error) error { // CopyFS opens files to others
		if err == nil && !fi.IsDir() {
			err = os.Chmod(path, 0o600)
		}
		return err
	}))
}

// TestR1_CloudKnowsMore: an older copy of the whole state folder, its witness in it, is put back.
// The cloud has what the gateway once said of its record, and that alone proves it.
func TestR1_CloudKnowsMore(t *testing.T) {
	inWorld(t, func(w *world) {
		t := w.t
		ctx := t.Context()
		courier := w.grant("courier", 1, "2027-03-01T08:00", "2027-03-01T22:00", nil)
		made, err := w.house.access.Home(ctx, access.HomeGrant{Doors: []gateway.DoorID{"front"}, PIN: true, Uses: 1, NotAfter: time.Now().Add(12 * time.Hour)})
		check(t, err)
		guest := made.PIN.Reveal()
		state, older := filepath.Join(w.dir, "state"), filepath.Join(w.dir, "older")
		w.at(1, "09:00")
		w.halt()
		copyState(t, state, older)
		w.startGateway()
		w.at(1, "09:30")
		w.types(courier, "")
		w.types(guest, "")
		w.at(1, "10:00") // the cloud has heard of it

		w.halt()
		copyState(t, older, state)
		w.line.setCut(true)
		w.startGateway()
		about, err := w.house.store.About(ctx)
		check(t, err)
		if about.Quarantine != "" {
			t.Fatalf("nobody could know: %+v", about)
		}

		// What somebody else signed proves nothing, nor does what is older.
		other, err := tokens.LoadIdentity(t.TempDir())
		check(t, err)
		now, err := store.Look(ctx, w.house.store, func(tx *store.Tx) gateway.RecordHead { return tx.House.Head() })
		check(t, err)
		ahead := gateway.RecordHead{Log: now.Log, Epoch: now.Epoch + 1, Seq: now.Seq + 100, Hash: now.Hash}
		foreign, err := other.SignHead(ahead)
		check(t, err)
		same, err := w.house.identity.SignHead(now)
		check(t, err)
		for _, text := range []string{"", "nonsense", foreign, same} {
			check(t, outbox{w.house.Gateway}.Told(ctx, text))
		}
		if about, err = w.house.store.About(ctx); err != nil || about.Quarantine != "" {
			t.Fatalf("a hostile cloud voids grants: %+v, %v", about, err)
		}

		w.read = 0
		w.record()
		w.line.setCut(false)
		time.Sleep(2 * time.Minute)
		synctest.Wait()
		if about, err = w.house.store.About(ctx); err != nil || about.Quarantine != store.RolledBack {
			t.Fatalf("nobody noticed: %+v, %v", about, err)
		}
		if told := w.record(); !slices.Contains(told, string(gateway.DatabaseRolledBack)) {
			t.Errorf("told %q", told)
		}
		w.types(courier, gateway.WrongPIN)
		w.types(guest, gateway.WrongPIN)
		w.restart()
		w.types(guest, gateway.WrongPIN)
		st, err := w.house.backend().Upkeep.Status(ctx, true)
		check(t, err)
		if st.Database != "rolled back" || !st.Paused || len(st.Notes) == 0 {
			t.Errorf("status %q, paused %v, %q", st.Database, st.Paused, st.Notes)
		}
		time.Sleep(5 * time.Minute)
		synctest.Wait()
		if n := len(slices.DeleteFunc(w.record(), func(e string) bool { return e != string(gateway.DatabaseRolledBack) })); n != 0 {
			t.Errorf("a second alarm")
		}
	})
}

// TestR3_UnconfirmedResidents: a backup is restored on a new box, which does not know who was
// removed since. Its residents open nothing until the console, or one of them who is confirmed,
// says that they live here.
func TestR3_UnconfirmedResidents(t *testing.T) {
	old := build(t)
	old.start(t)
	srv := old.served(t)
	tokens := map[string]string{}
	ids := map[string]gateway.ResidentID{}
	for _, name := range []string{"Ada", "Ben"} {
		p := old.pair(t, name)
		tokens[name], ids[name] = p.Token, p.ID
	}
	opens := func(h *house, srv *httptest.Server, name string) int {
		return call(t, srv.Client(), "POST", srv.URL+"/v1/doors/front/attempts", "{}", "Authorization", "Bearer "+tokens[name]).status
	}
	if got := opens(old, srv, "Ada"); got != 200 {
		t.Fatalf("at home: %d", got)
	}
	var backup bytes.Buffer
	check(t, old.store.Backup(t.Context(), &backup))
	old.stop()

	h := build(t)
	check(t, os.CopyFS(filepath.Join(h.dir, "state", "keys"), os.DirFS(filepath.Join(old.dir, "state", "keys"))))
	for _, key := range []string{"signing.jwk", "opening.jwk", "device.key"} {
		check(t, os.Chmod(filepath.Join(h.dir, "state", "keys", key), 0o600))
	}
	h.start(t)
	srv = h.served(t)
	check(t, h.backend().Upkeep.Restore(t.Context(), &backup))
	for _, name := range []string{"Ada", "Ben"} {
		got := call(t, srv.Client(), "GET", srv.URL+"/v1/doors", "", "Authorization", "Bearer "+tokens[name])
		if got.status != 403 || !strings.Contains(got.body, "not-confirmed") || opens(h, srv, name) != 403 {
			t.Errorf("%s, not confirmed: %+v", name, got)
		}
	}
	st, err := h.backend().Upkeep.Status(t.Context(), true)
	check(t, err)
	if !strings.Contains(strings.Join(st.Notes, "\n"), "gardien resident confirm "+string(ids["Ada"])) || !st.Paused {
		t.Errorf("notes %q, paused %v", st.Notes, st.Paused)
	}
	if got := call(t, h.local(), "POST", "http://g/v1/residents/"+string(ids["Ada"])+"/confirm", ""); got.status != 204 {
		t.Fatalf("the console: %+v", got)
	}
	if ada, ben := opens(h, srv, "Ada"), opens(h, srv, "Ben"); ada != 200 || ben != 403 {
		t.Errorf("Ada %d, Ben %d", ada, ben)
	}
	confirm := srv.URL + "/v1/residents/" + string(ids["Ben"]) + "/confirm"
	if got := call(t, srv.Client(), "POST", confirm, "", "Authorization", "Bearer "+tokens["Ben"]); got.status != 403 {
		t.Errorf("Ben confirms himself: %+v", got)
	}
	if got := call(t, srv.Client(), "POST", confirm, "", "Authorization", "Bearer "+tokens["Ada"]); got.status != 204 {
		t.Errorf("Ada confirms Ben: %+v", got)
	}
	if got := opens(h, srv, "Ben"); got != 200 {
		t.Errorf("Ben %d", got)
	}
}
