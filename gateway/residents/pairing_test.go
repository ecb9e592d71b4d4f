package residents_test

import (
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"math/big"
	"strings"
	"sync"
	"testing"

	"github.com/google/go-cmp/cmp"

	"gardien/gateway"
	"gardien/gateway/residents"
)

var wrong = gateway.NewSecret("wrong")

// W5: a window is open for five minutes, for one device, and ten wrong secrets end it.
func TestW5_PairingWindow(t *testing.T) {
	try := func(r *residents.Residents, s gateway.Secret) error {
		_, err := r.Pair(t.Context(), residents.Ask{Secret: s, Name: "Ada's phone"})
		return err
	}
	want := func(what string, got, want error) {
		t.Helper()
		if !errors.Is(got, want) {
			t.Errorf("%s: %v, want %v", what, got, want)
		}
	}
	r, _, c := room()
	want("before a window", try(r, wrong), residents.ErrNoWindow)
	want("no secret before a window", try(r, gateway.Secret{}), residents.ErrNoWindow)
	first := r.OpenWindow(gateway.RoleResident).Secret
	secret := r.OpenWindow(gateway.RoleResident).Secret
	if n := len(secret.Reveal()); n != 22 || first.Reveal() == secret.Reveal() {
		t.Errorf("a secret of %d characters, want 22 that are new: 128 bit", n)
	}
	want("the replaced window's secret", try(r, first), residents.ErrSecret)
	want("no secret", try(r, gateway.Secret{}), residents.ErrSecret)
	c.add(residents.WindowFor - 1)
	want("at the last instant", try(r, secret), nil)
	want("a second device", try(r, secret), residents.ErrNoWindow)
	r.CloseWindow(residents.AnyWindow)
	want("after it was closed", try(r, secret), residents.ErrNoWindow)

	secret = r.OpenWindow(gateway.RoleResident).Secret
	c.add(residents.WindowFor)
	want("after five minutes", try(r, secret), residents.ErrNoWindow)

	secret = r.OpenWindow(gateway.RoleResident).Secret
	for range 9 {
		want("wrong", try(r, wrong), residents.ErrSecret)
	}
	want("after nine failures", try(r, secret), nil)

	secret = r.OpenWindow(gateway.RoleResident).Secret
	for range 10 {
		want("wrong", try(r, wrong), residents.ErrSecret)
	}
	want("after ten failures", try(r, secret), residents.ErrNoWindow)
	want("the next window", try(r, r.OpenWindow(gateway.RoleResident).Secret), nil)
}

// W5: what cannot pair is refused before its secret is held against anything: it tells nothing of a
// window, and takes none of its tries.
func TestW5_WhatCannotPair(t *testing.T) {
	r, _, _ := room()
	secret := r.OpenWindow(gateway.RoleResident).Secret
	for range 4 {
		for _, s := range []gateway.Secret{secret, wrong} {
			for _, name := range []string{"", "  ", "a\nb", "a\x00", "\xff", strings.Repeat("é", 65)} {
				if _, err := r.Pair(t.Context(), residents.Ask{Secret: s, Name: name}); !errors.Is(err, residents.ErrName) {
					t.Errorf("name %q: %v", name, err)
				}
			}
			if _, err := r.Pair(t.Context(), residents.Ask{Secret: s, Name: "Ada", JWK: []byte("no key")}); !errors.Is(err, residents.ErrKey) {
				t.Errorf("not a key: %v", err)
			}
			if _, err := r.Pair(t.Context(), residents.Ask{Secret: s, Name: "Ada", JWK: []byte{}}); !errors.Is(err, residents.ErrKey) {
				t.Errorf("an empty key: %v", err)
			}
			if _, err := r.Pair(t.Context(), residents.Ask{Secret: s, Name: "Ada", Cookie: true}); !errors.Is(err, residents.ErrNeedsKey) {
				t.Errorf("a cookie without a key: %v", err)
			}
		}
	}
	p, err := r.Pair(t.Context(), residents.Ask{Secret: secret, Name: strings.Repeat("é", 64), JWK: []byte("key K"), Cookie: true})
	if err != nil {
		t.Fatal(err)
	}
	if o, good, err := r.Authenticate(t.Context(), p.Token); !good || err != nil || o.Key != "K" {
		t.Errorf("%+v, %v, %v", o, good, err)
	}
}

// W5: of many phones that come at once, one pairs; of many that guess at once, ten are told that
// they are wrong.
func TestW5_AtOnce(t *testing.T) {
	const phones = 32
	rush := func(r *residents.Residents, s gateway.Secret) map[error]int {
		var mu sync.Mutex
		var all sync.WaitGroup
		got := map[error]int{}
		for i := range phones {
			all.Go(func() {
				_, err := r.Pair(t.Context(), residents.Ask{Secret: s, Name: fmt.Sprint("phone ", i)})
				mu.Lock()
				defer mu.Unlock()
				got[err]++
			})
		}
		all.Wait()
		return got
	}
	for range 20 {
		r, _, _ := room()
		if diff := cmp.Diff(map[error]int{nil: 1, residents.ErrNoWindow: phones - 1}, rush(r, r.OpenWindow(gateway.RoleResident).Secret), sameErrors); diff != "" {
			t.Errorf("the secret (-want +got):\n%s", diff)
		}
		secret := r.OpenWindow(gateway.RoleResident).Secret
		if diff := cmp.Diff(map[error]int{residents.ErrSecret: 10, residents.ErrNoWindow: phones - 10}, rush(r, wrong), sameErrors); diff != "" {
			t.Errorf("guesses (-want +got):\n%s", diff)
		}
		if _, err := r.Pair(t.Context(), residents.Ask{Secret: secret, Name: "Ada"}); !errors.Is(err, residents.ErrNoWindow) {
			t.Errorf("after the guesses: %v", err)
		}
	}
}

var sameErrors = cmp.Comparer(func(a, b error) bool { return a == b })

// W5, contract §9: a device that has paired waits in memory only, with a token that says so. What
// confirms it writes it down; what ends its window leaves nothing of it.
func TestW5_NewcomerIsInMemoryOnly(t *testing.T) {
	ctx := context.Background()
	for name, end := range map[string]func(*residents.Residents, *clock, gateway.ResidentID) error{
		"removed": func(r *residents.Residents, _ *clock, id gateway.ResidentID) error { return r.Remove(ctx, id, false) },
		"removed, but for the last": func(r *residents.Residents, _ *clock, id gateway.ResidentID) error {
			return r.Remove(ctx, id, true)
		},
		"the window is closed": func(r *residents.Residents, _ *clock, _ gateway.ResidentID) error {
			r.CloseWindow(residents.AnyWindow)
			return nil
		},
		"another window opens": func(r *residents.Residents, _ *clock, _ gateway.ResidentID) error {
			r.OpenWindow(gateway.RoleGuest)
			return nil
		},
		"its time is over": func(_ *residents.Residents, c *clock, _ gateway.ResidentID) error { c.add(1); return nil },
	} {
		r, f, c := room()
		secret := r.OpenWindow(gateway.RoleResident).Secret
		c.add(residents.WindowFor - 1) // of the window, not of the device
		p, err := r.Pair(ctx, residents.Ask{Secret: secret, Name: " Ada "})
		if err != nil {
			t.Fatal(err)
		}
		if got := who(t, r, p.Token) + names(t, f) + names(t, r); got != "Ada? Ada?" {
			t.Errorf("%s: who waits is %q", name, got)
		}
		if _, text, _ := strings.Cut(p.Token.Reveal(), "."); who(t, r, gateway.NewSecret(string(p.ID)+"."+text+"x")) != "" {
			t.Errorf("%s: another token is good", name)
		}
		if err := end(r, c, p.ID); err != nil {
			t.Errorf("%s: %v", name, err)
		}
		if got := who(t, r, p.Token) + names(t, f) + names(t, r); got != "" {
			t.Errorf("%s: %q is left", name, got)
		}
		if err := r.Confirm(ctx, p.ID); !isUnknown(err) {
			t.Errorf("%s: confirmed all the same: %v", name, err)
		}
		if err := r.Remove(ctx, p.ID, false); !isUnknown(err) {
			t.Errorf("%s: removed twice: %v", name, err)
		}
	}

	r, f, c := room()
	p := pair(t, r, gateway.RoleGuest, residents.Ask{Name: "Ada", JWK: []byte("key K")})
	if err := r.Confirm(ctx, p.ID); err != nil {
		t.Fatal(err)
	}
	want := []gateway.Resident{{ID: p.ID, Name: "Ada", PairedAt: c.Read().Wall, Role: gateway.RoleGuest, Key: "K", Ver: 1}}
	for name, m := range map[string]interface {
		List(context.Context) ([]gateway.Resident, error)
	}{"memory": f, "room": r} {
		if list, err := m.List(ctx); err != nil || cmp.Diff(want, list) != "" {
			t.Errorf("confirmed, %s: %v\n%s", name, err, cmp.Diff(want, list))
		}
	}
	if err := r.Confirm(ctx, p.ID); err != nil {
		t.Errorf("confirmed twice: %v", err)
	}
	c.add(residents.WindowFor)
	if got := who(t, r, p.Token) + names(t, f); got != "Ada Ada" {
		t.Errorf("after its window: %q", got)
	}
}

// A restart forgets who waits: another process has no window, and its list no newcomer.
func TestNewcomersEndWithTheProcess(t *testing.T) {
	r, f, c := room()
	p := pair(t, r, gateway.RoleResident, residents.Ask{Name: "Ada"})
	again := residents.New(opts(f, c))
	if got := who(t, again, p.Token) + names(t, again); got != "" {
		t.Errorf("%q", got)
	}
}

// A device has the role of its window, whoever asks: the window before, or after, gives none.
func TestRoleOfTheWindow(t *testing.T) {
	for _, role := range gateway.Roles() {
		r, f, _ := room()
		settled(t, r, "Home")
		r.OpenWindow(gateway.RoleResident)
		p := pair(t, r, role, residents.Ask{Name: "device"})
		if o, good, err := r.Authenticate(t.Context(), p.Token); !good || err != nil || o.Role != role || !o.Unconfirmed {
			t.Errorf("%s waits as %+v, %v, %v", role, o, good, err)
		}
		if err := r.Confirm(t.Context(), p.ID); err != nil {
			t.Fatal(err)
		}
		if o, _, found, err := f.Find(t.Context(), p.ID); !found || err != nil || o.Role != role || o.Unconfirmed {
			t.Errorf("%s is %+v, %v, %v", role, o, found, err)
		}
	}
}

// Contract §9: a button opens a window that wants no secret, for a resident's device, and never for
// the first resident.
func TestButton(t *testing.T) {
	ctx := t.Context()
	r, f, c := room()
	press := func(want error) {
		t.Helper()
		if err := r.PressButton(ctx); !errors.Is(err, want) {
			t.Errorf("pressed: %v, want %v", err, want)
		}
	}
	pairs := func(s gateway.Secret, want error) residents.Paired {
		t.Helper()
		p, err := r.Pair(ctx, residents.Ask{Secret: s, Name: "Ben", JWK: []byte("key B")})
		if !errors.Is(err, want) {
			t.Errorf("paired: %v, want %v", err, want)
		}
		return p
	}
	press(residents.ErrFirst)
	pairs(gateway.Secret{}, residents.ErrNoWindow)
	// Neither a guest nor whoever came back with a backup is a resident who could confirm.
	settledAs(t, r, gateway.RoleGuest, residents.Ask{Name: "Guest"})
	settledAs(t, r, gateway.RoleInstaller, residents.Ask{Name: "Installer"})
	if err := f.Add(ctx, gateway.Resident{ID: "old", Name: "Old", Role: gateway.RoleResident, Unconfirmed: true}, nil); err != nil {
		t.Fatal(err)
	}
	press(residents.ErrFirst)
	pair(t, r, gateway.RoleResident, residents.Ask{Name: "Ada"})
	press(residents.ErrFirst)
	if w := r.Await(ctx, residents.AnyWindow); w.Name != "Ada" {
		t.Errorf("the button dropped who waits: %+v", w)
	}
	settled(t, r, "Ada")

	press(nil)
	pairs(wrong, residents.ErrSecret)
	if _, err := r.Pair(ctx, residents.Ask{Name: "Eve"}); !errors.Is(err, residents.ErrNeedsKey) {
		t.Errorf("without a secret and a key all devices would show one code: %v", err)
	}
	p := pairs(gateway.Secret{}, nil)
	if o, good, err := r.Authenticate(ctx, p.Token); !good || err != nil || o.Role != gateway.RoleResident || !o.Unconfirmed {
		t.Errorf("by the button: %+v, %v, %v", o, good, err)
	}
	press(nil) // and it stays as it is
	if got := who(t, r, p.Token); got != "Ben?" {
		t.Errorf("pressed again: %q", got)
	}
	r.CloseWindow(residents.AnyWindow)

	// A window that is open stays as it is, and wants its secret still.
	secret := r.OpenWindow(gateway.RoleGuest).Secret
	press(nil)
	pairs(gateway.Secret{}, residents.ErrSecret)
	pairs(secret, nil)
	r.CloseWindow(residents.AnyWindow)

	// Ten failures end one, and the button opens another.
	r.OpenWindow(gateway.RoleResident)
	for range 10 {
		pairs(wrong, residents.ErrSecret)
	}
	press(nil)
	pairs(gateway.Secret{}, nil)
	c.add(residents.WindowFor)
	if got := names(t, r); strings.Contains(got, "Ben") {
		t.Errorf("after five minutes: %q", got)
	}
	pairs(gateway.Secret{}, residents.ErrNoWindow)

	f.Fail = errors.New("disk full")
	press(f.Fail)
}

// Contract §9: both sides show six digits of SHA-256(secret LF thumbprint LF fingerprint).
func TestPairingCode(t *testing.T) {
	for _, a := range []residents.Ask{{Name: "Ada"}, {Name: "Ada", JWK: []byte("key K")}} {
		r, _, _ := room()
		a.Secret = r.OpenWindow(gateway.RoleResident).Secret
		p, err := r.Pair(t.Context(), a)
		if err != nil {
			t.Fatal(err)
		}
		want := codeByHand(a.Secret.Reveal(), strings.TrimPrefix(string(a.JWK), "key "))
		if w := r.Await(t.Context(), residents.AnyWindow); p.Code != want || w.Code != want || w.ID != p.ID || w.Name != "Ada" {
			t.Errorf("the device shows %s, the console %+v, want %s", p.Code, w, want)
		}
	}
	// Six digits, also where the first is 0.
	o := opts(&residents.Fake{}, &clock{})
	leading := ""
	o.Fingerprint = func() string { return leading }
	zero := residents.New(o)
	secret := zero.OpenWindow(gateway.RoleResident).Secret
	for n := 0; leading == "" || codeOf(secret.Reveal(), "", leading)[0] != '0'; n++ {
		leading = fmt.Sprintf("%064x", n)
	}
	if p, err := zero.Pair(t.Context(), residents.Ask{Secret: secret, Name: "Ada"}); err != nil || p.Code != codeOf(secret.Reveal(), "", leading) {
		t.Errorf("a first digit of 0: %s, %v", p.Code, err)
	}
	// The move's code, too.
	r, _, _ := room()
	ada := settled(t, r, "Ada")
	secret = moveCode(t, r, ada.ID)
	p, err := r.Pair(t.Context(), residents.Ask{Secret: secret, Name: "Ada", JWK: []byte("key K")})
	if want := codeByHand(secret.Reveal(), "K"); err != nil || p.Code != want {
		t.Errorf("%s, %v, want %s", p.Code, err, want)
	}
}

func codeByHand(secret, key string) string { return codeOf(secret, key, fingerprint) }

// codeOf goes another way than the room: the first 16 hex digits, as a number of any length.
func codeOf(secret, key, fp string) string {
	first, _ := new(big.Int).SetString(fmt.Sprintf("%x", sha256.Sum256([]byte(secret+"\n"+key+"\n"+fp)))[:16], 16)
	return fmt.Sprintf("%06s", first.Mod(first, big.NewInt(1_000_000)))
}

// Known answers, computed by another program (Python's hashlib).
func TestPairingCodeByHand(t *testing.T) {
	for _, tt := range []struct{ secret, key, want string }{
		{"", "", "700392"}, {"AAAAAAAAAAAAAAAAAAAAAA", "", "447271"}, {"007042", "K", "841334"}, {"secret7", "", "014526"},
		{"AAAAAAAAAAAAAAAAAAAAAA", "NzbLsXh8uDCcd-6MNwXF4W_7noWXFZAfHkxZsRGC9Xs", "765722"},
	} {
		if got := codeByHand(tt.secret, tt.key); got != tt.want {
			t.Errorf("%+v: %s", tt, got)
		}
	}
}

// L5: why a device does not pair tells nothing of what it brought.
func TestL5_WhyNotTellsNoSecret(t *testing.T) {
	r, f, _ := room()
	secret, ada := r.OpenWindow(gateway.RoleResident).Secret, gateway.NewResidentID()
	code := moveCode(t, r, ada)
	try := func(a residents.Ask) string {
		p, err := r.Pair(context.Background(), a)
		return fmt.Sprintf("%v %+v %#v %v", err, err, err, p)
	}
	said := try(residents.Ask{Secret: code, Name: "Ada"}) + try(residents.Ask{Secret: gateway.NewSecret("x" + secret.Reveal()), Name: "Ada"}) +
		try(residents.Ask{Secret: secret, Name: "Ada", JWK: []byte("no key")})
	f.Fail = errors.New("disk full")
	said += try(residents.Ask{Secret: code, Name: "Ada", JWK: []byte("key K")})
	for _, s := range []gateway.Secret{secret, code} {
		if strings.Contains(said, s.Reveal()) {
			t.Errorf("%q tells %q", said, s.Reveal())
		}
	}
}
