package residents_test

import (
	"bytes"
	"context"
	"crypto/hmac"
	"crypto/sha256"
	"encoding/json"
	"errors"
	"fmt"
	"sync/atomic"
	"testing"
	"time"

	"gardien/gateway"
	"gardien/gateway/residents"
)

// clock stands until a test moves it on.
type clock struct{ now atomic.Int64 }

func (c *clock) add(d time.Duration) { c.now.Add(int64(d)) }

func (c *clock) since() time.Duration { return time.Duration(c.now.Load()) }

func (c *clock) Read() gateway.Reading {
	now := time.Unix(1_790_000_000, 0).Add(c.since())
	return gateway.Reading{Wall: now, Earliest: now, Latest: now, SinceBoot: c.since(), State: gateway.ClockSynced}
}

func mac(purpose string, parts ...string) []byte {
	m := hmac.New(sha256.New, []byte("a device key"))
	fmt.Fprintf(m, "%q", append([]string{purpose}, parts...))
	return m.Sum(nil)
}

// thumbprint takes "key X" for a public key, of which X is the thumbprint.
func thumbprint(jwk []byte) (string, error) {
	name, ok := bytes.CutPrefix(jwk, []byte("key "))
	if !ok {
		return "", errors.New("not a key")
	}
	return string(name), nil
}

// signed is a proof in these tests: what it says, in JSON.
func signed(d gateway.DPoP) string {
	b, err := json.Marshal(d)
	if err != nil {
		panic(err)
	}
	return string(b)
}

func verified(text string) (d gateway.DPoP, err error) {
	err = json.Unmarshal([]byte(text), &d)
	return d, err
}

const fingerprint = "c0ffee0000000000000000000000000000000000000000000000000000c0ffee"

func opts(m residents.Memory, c residents.Clock) residents.Opts {
	return residents.Opts{Memory: m, Clock: c, MAC: mac, Key: thumbprint, Proof: verified, Fingerprint: func() string { return fingerprint }}
}

func room() (*residents.Residents, *residents.Fake, *clock) {
	f, c := &residents.Fake{}, &clock{}
	return residents.New(opts(f, c)), f, c
}

// pair pairs a device that nobody has confirmed yet.
func pair(t *testing.T, r *residents.Residents, role gateway.Role, a residents.Ask) residents.Paired {
	t.Helper()
	a.Secret = r.OpenWindow(role).Secret
	p, err := r.Pair(t.Context(), a)
	if err != nil {
		t.Fatal(err)
	}
	return p
}

// settled pairs a resident, and confirms it.
func settled(t *testing.T, r *residents.Residents, name string) residents.Paired {
	t.Helper()
	return settledAs(t, r, gateway.RoleResident, residents.Ask{Name: name})
}

func settledAs(t *testing.T, r *residents.Residents, role gateway.Role, a residents.Ask) residents.Paired {
	t.Helper()
	p := pair(t, r, role, a)
	if err := r.Confirm(t.Context(), p.ID); err != nil {
		t.Fatal(err)
	}
	return p
}

// names lists who is there; who is unconfirmed has a question mark.
func names(t *testing.T, m interface {
	List(context.Context) ([]gateway.Resident, error)
}) string {
	t.Helper()
	list, err := m.List(context.Background())
	if err != nil {
		t.Fatal(err)
	}
	var text string
	for _, o := range list {
		text += " " + o.Name
		if o.Unconfirmed {
			text += "?"
		}
	}
	return text
}

// who gives the name that a token stands for; "" where it is good for nothing.
func who(t *testing.T, r *residents.Residents, token gateway.Secret) string {
	t.Helper()
	o, good, err := r.Authenticate(context.Background(), token)
	if err != nil {
		t.Fatal(err)
	}
	switch {
	case !good:
		return ""
	case o.Unconfirmed:
		return o.Name + "?"
	}
	return o.Name
}

func isUnknown(err error) bool {
	var unknown *residents.UnknownError
	return errors.As(err, &unknown)
}

// moveCode opens the way for a move.
func moveCode(t testing.TB, r *residents.Residents, id gateway.ResidentID) gateway.Secret {
	t.Helper()
	code, err := r.Move(id)
	if err != nil {
		t.Fatal(err)
	}
	return code
}
