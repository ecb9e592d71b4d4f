package issuers_test

import (
	"errors"
	"log/slog"
	"testing"

	"gardien/gateway"
	"gardien/gateway/issuers"
)

func parse(b []byte) (string, error) {
	if string(b) == "broken" {
		return "", errors.New("not a key set")
	}
	return string(b), nil
}

func room() (*issuers.Issuers[string], *issuers.Fake) {
	f := &issuers.Fake{}
	return issuers.New(issuers.Opts[string]{Memory: f, Parse: parse, Home: "home's", Log: slog.New(slog.DiscardHandler)}), f
}

func configured(id gateway.IssuerID, file, setAside string) issuers.Configured {
	return issuers.Configured{Issuer: gateway.Issuer{ID: id}, KeyFile: []byte(file), SetAside: setAside}
}

// holds compares the key set of each issuer; "-" is one that is not configured.
func holds(t *testing.T, r *issuers.Issuers[string], when string, want map[gateway.IssuerID]string) {
	t.Helper()
	for id, w := range want {
		got, ok := r.Keys(id)
		if !ok {
			got = "-"
		}
		if got != w {
			t.Errorf("%s: %s has %q, want %q", when, id, got, w)
		}
	}
}

// What an issuer rotated to stands until its file is another; who is set aside keeps it for later,
// and has no key meanwhile.
func TestFilesAndRotations(t *testing.T) {
	ctx := t.Context()
	r, f := room()
	holds(t, r, "at first", map[gateway.IssuerID]string{"home": "home's", "a": "-"})
	adopt := func(list ...issuers.Configured) {
		t.Helper()
		told := false
		if err := r.Adopt(ctx, list, func() { told = true }); err != nil || !told {
			t.Fatal(err, told)
		}
	}
	adopt(configured("a", "a1", ""), configured("b", "b1", ""))
	holds(t, r, "files", map[gateway.IssuerID]string{"home": "home's", "a": "a1", "b": "b1"})

	f.Rotate("a", []byte("a2"))
	if err := r.Renew(ctx); err != nil {
		t.Fatal(err)
	}
	holds(t, r, "rotated", map[gateway.IssuerID]string{"a": "a2", "b": "b1"})
	adopt(configured("a", "a1", ""), configured("b", "b1", ""))
	holds(t, r, "read again", map[gateway.IssuerID]string{"a": "a2"})

	adopt(configured("a", "", "it is empty"), configured("b", "b1", ""))
	holds(t, r, "set aside", map[gateway.IssuerID]string{"a": "", "b": "b1"})
	adopt(configured("a", "a1", ""), configured("b", "b1", ""))
	holds(t, r, "mended", map[gateway.IssuerID]string{"a": "a2"})
	adopt(configured("a", "a3", ""))
	holds(t, r, "another file", map[gateway.IssuerID]string{"a": "a3", "b": "-"})
}

// A set that cannot be read is nobody's; a memory that fails changes nothing.
func TestTrouble(t *testing.T) {
	ctx := t.Context()
	r, f := room()
	if err := r.Adopt(ctx, []issuers.Configured{configured("a", "a1", "")}, nil); err != nil {
		t.Fatal(err)
	}
	f.Rotate("a", []byte("broken"))
	if err := r.Renew(ctx); err != nil {
		t.Fatal(err)
	}
	holds(t, r, "broken", map[gateway.IssuerID]string{"a": "", "home": "home's"})
	f.Rotate("a", nil)
	if err := r.Renew(ctx); err != nil {
		t.Fatal(err)
	}
	f.Fail = errors.New("disk full")
	err := r.Adopt(ctx, []issuers.Configured{configured("b", "b1", "")}, func() { t.Error("adopted all the same") })
	if !errors.Is(err, f.Fail) {
		t.Error(err)
	}
	f.Fail = nil
	holds(t, r, "as before", map[gateway.IssuerID]string{"a": "a1", "b": "-"})
	if err := r.Renew(ctx); err != nil {
		t.Fatal(err)
	}
	holds(t, r, "renewed", map[gateway.IssuerID]string{"a": "a1", "b": "-"})
}

func TestPolicies(t *testing.T) {
	p := issuers.Policies([]issuers.Configured{configured("a", "a1", ""), configured("b", "", "it is empty")})
	if _, ok := p["b"]; len(p) != 1 || ok {
		t.Errorf("%v", p)
	}
}
