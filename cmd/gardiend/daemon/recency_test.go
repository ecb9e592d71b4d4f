package daemon

import (
	"os"
	"path/filepath"
	"slices"
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
		st, err := w.house.backend().Upkeep.Status(ctx)
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
