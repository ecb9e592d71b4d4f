package residents_test

import (
	"context"
	"errors"
	"runtime"
	"strings"
	"sync"
	"testing"

	"gardien/gateway"
	"gardien/gateway/residents"
)

// A token is good for its own resident, as long as that is there.
func TestTokens(t *testing.T) {
	r, f, _ := room()
	ctx := t.Context()
	ada, ben := settled(t, r, " Ada "), settled(t, r, "Ben")
	if got := names(t, f); got != " Ada Ben" {
		t.Errorf("residents%s", got)
	}
	if o, good, err := r.Authenticate(ctx, ada.Token); o.ID != ada.ID || !good || err != nil {
		t.Errorf("%+v, %v, %v", o, good, err)
	}
	waits := pair(t, r, gateway.RoleGuest, residents.Ask{Name: "Guest"})
	_, text, _ := strings.Cut(ada.Token.Reveal(), ".")
	for _, id := range []gateway.ResidentID{ada.ID, ben.ID, waits.ID, "", "nobody", gateway.ResidentID(strings.Repeat("a", 100))} {
		for _, bad := range []string{"", text + "x", text[1:], "AAAA"} {
			for _, token := range []string{string(id) + bad, string(id) + "." + bad} {
				if _, good, err := r.Authenticate(ctx, gateway.NewSecret(token)); good || err != nil {
					t.Errorf("%q: %v, %v", token, good, err)
				}
			}
		}
		if id != ada.ID {
			if got := who(t, r, gateway.NewSecret(string(id)+"."+text)); got != "" {
				t.Errorf("Ada's text is good for %q", got)
			}
		}
	}
	if err := r.Remove(ctx, ada.ID, false); err != nil {
		t.Error(err)
	}
	if got := who(t, r, ada.Token); got != "" {
		t.Error("a removed resident's token is good")
	}
	var unknown *residents.UnknownError
	if err := r.Remove(ctx, ada.ID, false); !errors.As(err, &unknown) || len(unknown.Exist) != 1 || unknown.Exist[0] != string(ben.ID) {
		t.Errorf("removed twice: %v", err)
	}
	if err := r.Confirm(ctx, ada.ID); !isUnknown(err) {
		t.Errorf("confirmed after that: %v", err)
	}
	if err := r.Known(ctx, ben.ID); err != nil {
		t.Error(err)
	}
}

// R3: who came back with a backup is confirmed by a word, and is nobody new.
func TestR3_ConfirmWhoCameBack(t *testing.T) {
	r, f, _ := room()
	old := gateway.Resident{ID: "old", Name: "Old", Role: gateway.RoleInstaller, Key: "K", Ver: 3, Unconfirmed: true}
	if err := f.Add(t.Context(), old, mac("token", "old.text")); err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{"Old?", "Old"} {
		if got := who(t, r, gateway.NewSecret("old.text")); got != want {
			t.Errorf("%q, want %q", got, want)
		}
		if err := r.Confirm(t.Context(), "old"); err != nil {
			t.Error(err)
		}
	}
	old.Unconfirmed = false
	if o, _, _, err := f.Find(t.Context(), "old"); err != nil || o != old {
		t.Errorf("%+v, %v", o, err)
	}
}

// Contract §9: the last resident is removed at the gateway only. Who is not confirmed, is a guest or
// an installer, or waits to be confirmed, is none who could remain.
func TestLastResident(t *testing.T) {
	ctx := t.Context()
	r, f, _ := room()
	ada := settled(t, r, "Ada")
	guest := settledAs(t, r, gateway.RoleGuest, residents.Ask{Name: "Guest"})
	installer := settledAs(t, r, gateway.RoleInstaller, residents.Ask{Name: "Installer"})
	if err := f.Add(ctx, gateway.Resident{ID: "old", Name: "Old", Role: gateway.RoleResident, Unconfirmed: true}, nil); err != nil {
		t.Fatal(err)
	}
	waits := pair(t, r, gateway.RoleResident, residents.Ask{Name: "Ben"})
	if err := r.Remove(ctx, ada.ID, true); !errors.Is(err, residents.ErrLast) {
		t.Errorf("the last one: %v", err)
	}
	if got := who(t, r, ada.Token); got != "Ada" {
		t.Errorf("and is gone: %q", got)
	}
	for _, id := range []gateway.ResidentID{guest.ID, installer.ID, "old"} {
		if err := r.Remove(ctx, id, true); err != nil {
			t.Errorf("%s is no last resident: %v", id, err)
		}
	}
	if err := r.Confirm(ctx, waits.ID); err != nil {
		t.Fatal(err)
	}
	if err := r.Remove(ctx, ada.ID, true); err != nil {
		t.Errorf("one of two: %v", err)
	}
	if err := r.Remove(ctx, waits.ID, true); !errors.Is(err, residents.ErrLast) {
		t.Errorf("the last one again: %v", err)
	}
	if err := r.Remove(ctx, waits.ID, false); err != nil {
		t.Errorf("by the console: %v", err)
	}
	if got := names(t, r); got != "" {
		t.Errorf("residents%s", got)
	}
}

// Residents who remove each other at once leave one, beside a newcomer who is dropped.
func TestLastResidentAtOnce(t *testing.T) {
	for range 20 {
		r, f, _ := room()
		list := []residents.Paired{settled(t, r, "Ada"), settled(t, r, "Ben"), settled(t, r, "Cleo"), settled(t, r, "Dan")}
		list = append(list, pair(t, r, gateway.RoleResident, residents.Ask{Name: "Eve"}))
		var all sync.WaitGroup
		for _, p := range list {
			for range 2 {
				all.Go(func() {
					if err := r.Remove(context.Background(), p.ID, true); err != nil && !errors.Is(err, residents.ErrLast) && !isUnknown(err) {
						t.Error(err)
					}
				})
			}
		}
		all.Wait()
		if left := strings.Fields(names(t, r)); len(left) != 1 || names(t, f) != names(t, r) {
			t.Errorf("left: %q", left)
		}
	}
}

// Who is confirmed and removed at once is either, and nothing of it is left half-way: the window
// ends, and there is no second token.
func TestConfirmedAndRemovedAtOnce(t *testing.T) {
	for range 50 {
		r, f, _ := room()
		p := pair(t, r, gateway.RoleGuest, residents.Ask{Name: "Ada"})
		var all sync.WaitGroup
		for range 4 {
			all.Go(func() {
				if err := r.Confirm(context.Background(), p.ID); err != nil && !isUnknown(err) {
					t.Error(err)
				}
			})
			all.Go(func() {
				if err := r.Remove(context.Background(), p.ID, true); err != nil && !isUnknown(err) {
					t.Error(err)
				}
			})
			all.Go(func() {
				if o, good, err := r.Authenticate(context.Background(), p.Token); good && o.ID != p.ID || err != nil {
					t.Error(o, err)
				}
			})
		}
		all.Wait()
		if got := names(t, f); got != "" || who(t, r, p.Token) != "" || names(t, r) != "" { // whoever came first, a removal came after it
			t.Errorf("left:%s, %s", got, names(t, r))
		}
		if _, err := r.Pair(t.Context(), residents.Ask{Secret: wrong, Name: "Ben"}); !errors.Is(err, residents.ErrNoWindow) {
			t.Errorf("the window: %v", err)
		}
	}
}

// slow is a memory that has begun to write down a resident, and takes its time: until somebody else is
// done, or is seen to wait.
type slow struct {
	*residents.Fake
	begun, done chan struct{}
}

func (s slow) Add(ctx context.Context, r gateway.Resident, mac []byte) error {
	close(s.begun)
	for range 10_000 {
		select {
		case <-s.done:
		default:
			runtime.Gosched()
		}
	}
	return s.Fake.Add(ctx, r, mac)
}

// Who is removed while a slow memory confirms it, is gone: the removal waits for that.
func TestRemovedWhileItIsConfirmed(t *testing.T) {
	for range 20 {
		f := slow{&residents.Fake{}, make(chan struct{}), make(chan struct{})}
		r := residents.New(opts(f, &clock{}))
		p := pair(t, r, gateway.RoleGuest, residents.Ask{Name: "Ada"})
		var all sync.WaitGroup
		all.Go(func() {
			if err := r.Confirm(context.Background(), p.ID); err != nil {
				t.Error(err)
			}
		})
		<-f.begun
		if err := r.Remove(t.Context(), p.ID, true); err != nil {
			t.Error(err)
		}
		close(f.done)
		all.Wait()
		if got := names(t, f); got != "" || who(t, r, p.Token) != "" {
			t.Fatalf("removed, and there:%s", got)
		}
	}
}

// D5: a memory that fails loses nothing: what was asked for is done when it is asked for again.
func TestD5_AMemoryThatFails(t *testing.T) {
	ctx := t.Context()
	r, f, _ := room()
	full := errors.New("disk full")
	fails := func(what string, do func() error) {
		t.Helper()
		before, waits := names(t, r), r.Await(ctx, residents.AnyWindow)
		f.Fail = full
		err := do()
		f.Fail = nil
		if after := names(t, r); !errors.Is(err, full) || after != before || waits.Open && r.Await(ctx, residents.AnyWindow) != waits {
			t.Errorf("%s: %v; residents%s, were%s", what, err, after, before)
		}
	}
	ada := settled(t, r, "Ada")
	p := pair(t, r, gateway.RoleResident, residents.Ask{Name: "Ben"})
	fails("confirm who has paired", func() error { return r.Confirm(ctx, p.ID) })
	fails("list", func() error { _, err := r.List(ctx); return err })
	f.Fail = full // nothing of a newcomer is in the memory
	if got := who(t, r, p.Token); got != "Ben?" {
		t.Errorf("a newcomer's token is good for %q", got)
	}
	f.Fail = nil
	fails("authenticate", func() error { _, _, err := r.Authenticate(ctx, ada.Token); return err })
	fails("remove", func() error { return r.Remove(ctx, ada.ID, false) })
	fails("confirm who is there", func() error { return r.Confirm(ctx, ada.ID) })
	if err := r.Confirm(ctx, p.ID); err != nil || who(t, r, p.Token) != "Ben" || who(t, r, ada.Token) != "Ada" {
		t.Errorf("%v; %q, %q", err, who(t, r, p.Token), who(t, r, ada.Token))
	}
	f.Fail = full
	secret := r.OpenWindow(gateway.RoleGuest).Secret
	p, err := r.Pair(ctx, residents.Ask{Secret: secret, Name: "Guest"})
	if err != nil || who(t, r, p.Token) != "Guest?" {
		t.Errorf("pairing needs a memory: %v", err)
	}
	if err := r.Remove(ctx, p.ID, true); err != nil || r.Await(ctx, residents.AnyWindow).Open {
		t.Errorf("a newcomer's removal needs a memory: %v", err)
	}
}
