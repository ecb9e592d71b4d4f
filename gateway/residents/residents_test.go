package residents_test

import (
	"bytes"
	"crypto/hmac"
	"crypto/sha256"
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"gardien/gateway"
	"gardien/gateway/residents"
)

type clock struct{ since time.Duration }

func (c *clock) Read() gateway.Reading {
	now := time.Unix(1_790_000_000, 0).Add(c.since)
	return gateway.Reading{Wall: now, Earliest: now, Latest: now, SinceBoot: c.since, State: gateway.ClockSynced}
}

func mac(purpose string, parts ...string) []byte {
	m := hmac.New(sha256.New, []byte("a device key"))
	fmt.Fprintf(m, "%q", append([]string{purpose}, parts...))
	return m.Sum(nil)
}

func room() (*residents.Residents, *residents.Fake, *clock) {
	f, c := &residents.Fake{}, &clock{}
	return residents.New(residents.Opts{Memory: f, Clock: c, MAC: mac}), f, c
}

// W5: a window is open for five minutes, for one device, and ten wrong secrets end it.
func TestW5_PairingWindow(t *testing.T) {
	ctx := t.Context()
	pair := func(r *residents.Residents, s gateway.Secret) error {
		_, _, err := r.Pair(ctx, s, "Ada's phone")
		return err
	}
	wrong := gateway.NewSecret("wrong")

	r, _, c := room()
	if err := pair(r, wrong); !errors.Is(err, residents.ErrNoWindow) {
		t.Errorf("before a window: %v", err)
	}
	first := r.OpenWindow()
	secret := r.OpenWindow()
	if err := pair(r, first); !errors.Is(err, residents.ErrSecret) {
		t.Errorf("the replaced window's secret: %v", err)
	}
	c.since += residents.WindowFor - 1
	if err := pair(r, secret); err != nil {
		t.Errorf("at the last instant: %v", err)
	}
	if err := pair(r, secret); !errors.Is(err, residents.ErrNoWindow) {
		t.Errorf("a second device: %v", err)
	}

	secret = r.OpenWindow()
	c.since += residents.WindowFor
	if err := pair(r, secret); !errors.Is(err, residents.ErrNoWindow) {
		t.Errorf("after five minutes: %v", err)
	}

	secret = r.OpenWindow()
	for range 10 {
		if err := pair(r, wrong); !errors.Is(err, residents.ErrSecret) {
			t.Errorf("wrong: %v", err)
		}
	}
	if err := pair(r, secret); !errors.Is(err, residents.ErrNoWindow) {
		t.Errorf("after ten failures: %v", err)
	}

	for _, name := range []string{"", "  ", "a\nb", strings.Repeat("é", 65)} {
		if _, _, err := r.Pair(ctx, r.OpenWindow(), name); !errors.Is(err, residents.ErrName) {
			t.Errorf("name %q: %v", name, err)
		}
	}
}

// A window outlives a memory that fails: the device tries again.
func TestPairingWhileTheDiskFails(t *testing.T) {
	r, f, _ := room()
	secret := r.OpenWindow()
	f.Fail = errors.New("disk full")
	if _, _, err := r.Pair(t.Context(), secret, "Ada"); !errors.Is(err, f.Fail) {
		t.Error(err)
	}
	f.Fail = nil
	if _, _, err := r.Pair(t.Context(), secret, "Ada"); err != nil {
		t.Error(err)
	}
}

func TestTokens(t *testing.T) {
	r, f, _ := room()
	ctx := t.Context()
	id, token, err := r.Pair(ctx, r.OpenWindow(), " Ada ")
	if err != nil {
		t.Fatal(err)
	}
	if list, _ := f.List(ctx); len(list) != 1 || list[0].Name != "Ada" || list[0].ID != id {
		t.Errorf("%+v", list)
	}
	other, _, err := r.Pair(ctx, r.OpenWindow(), "Ben")
	if err != nil {
		t.Fatal(err)
	}
	if got, ok, err := r.Authenticate(ctx, token); got != id || !ok || err != nil {
		t.Errorf("%s, %v, %v", got, ok, err)
	}
	_, text, _ := strings.Cut(token.Reveal(), ".")
	for _, bad := range []string{"", "x", string(id), string(id) + ".", string(other) + "." + text, token.Reveal() + "x", strings.Repeat("a", 100) + "." + text} {
		if _, ok, err := r.Authenticate(ctx, gateway.NewSecret(bad)); ok || err != nil {
			t.Errorf("%q: %v, %v", bad, ok, err)
		}
	}
	if err := r.Remove(ctx, id); err != nil {
		t.Error(err)
	}
	if _, ok, _ := r.Authenticate(ctx, token); ok {
		t.Error("a removed resident's token is good")
	}
	var unknown *residents.UnknownError
	if err := r.Remove(ctx, id); !errors.As(err, &unknown) || len(unknown.Exist) != 1 || unknown.Exist[0] != string(other) {
		t.Errorf("removed twice: %v", err)
	}
	if err := r.Known(ctx, other); err != nil {
		t.Error(err)
	}
}

// An answer is kept for its key and its body, and nobody reads it in the memory.
func TestAnswers(t *testing.T) {
	r, f, _ := room()
	ctx := t.Context()
	answer := []byte(`{"pin":"471100"}`)
	if _, found, _, err := r.Recall(ctx, "key", "body"); found || err != nil {
		t.Error(found, err)
	}
	if err := r.Remember(ctx, "key", "body", answer); err != nil {
		t.Fatal(err)
	}
	got, found, same, err := r.Recall(ctx, "key", "body")
	if !bytes.Equal(got, answer) || !found || !same || err != nil {
		t.Errorf("%s, %v, %v, %v", got, found, same, err)
	}
	if got, found, same, err := r.Recall(ctx, "key", "another"); got != nil || !found || same || err != nil {
		t.Errorf("another body: %s, %v, %v, %v", got, found, same, err)
	}
	if _, found, _, _ := r.Recall(ctx, "another", "body"); found {
		t.Error("another key")
	}
	if _, sealed, _, _ := f.Answer(ctx, mac("answer key", "key")); bytes.Contains(sealed, []byte("471100")) {
		t.Error("a PIN in clear")
	}
}
