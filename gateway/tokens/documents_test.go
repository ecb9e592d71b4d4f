package tokens

import (
	"encoding/json"
	"errors"
	"maps"
	"strings"
	"testing"
	"time"

	"gardien/gateway"
)

const documentIssuer gateway.IssuerID = "colis-x.example"

var mailAt = time.Unix(1790000000, 0).UTC()

// mailWorld is a gateway that trusts one issuer.
func mailWorld(t testing.TB) (*Identity, *Verifier, *SigningKey) {
	t.Helper()
	id, err := LoadIdentity(t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	key, err := GenerateES256()
	if err != nil {
		t.Fatal(err)
	}
	set := NewKeySet(key.PublicKey)
	trust := func(iss gateway.IssuerID) (KeySet, bool) { return set, iss == documentIssuer }
	return id, &Verifier{Gateway: id.ID, Trust: trust, Opening: id.Opening}, key
}

func must[T any](t testing.TB) func(T, error) T {
	return func(v T, err error) T {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
		return v
	}
}

func TestMailArrivesWhole(t *testing.T) {
	id, v, key := mailWorld(t)
	cmd := gateway.Command{Issuer: documentIssuer, JTI: "c1", IssuedAt: mailAt, NotAfter: mailAt.Add(20 * time.Second), Door: "front"}
	man := gateway.Manifest{Issuer: documentIssuer, Version: 7, IssuedAt: mailAt, NextUpdate: mailAt.Add(time.Hour), Count: 1,
		Digest: gateway.ManifestDigest([]gateway.ManifestLine{{JTI: "g", Ver: 1}})}
	jwks := must[[]byte](t)(MarshalKeySet(key.PublicKey, nil))
	ring := gateway.KeyRing{Issuer: documentIssuer, Version: 2, IssuedAt: mailAt, JWKS: json.RawMessage(jwks)}
	for name, text := range map[string]string{
		TypCommand:  must[string](t)(SignCommand(key, id.ID, cmd)),
		TypManifest: must[string](t)(SignManifest(key, id.ID, man)),
		TypKeys:     must[string](t)(SignKeys(key, id.ID, ring)),
	} {
		for _, text := range []string{text, must[string](t)(Seal(text, name, id.Opening.PublicKey))} {
			var want, got any
			var r *gateway.Refusal
			switch name {
			case TypCommand:
				want = cmd
				got, r = v.Command(text)
			case TypManifest:
				want = man
				got, r = v.Manifest(text)
			default:
				var k gateway.KeyRing
				k, r = v.Keys(text)
				// JSON in a JWS is written without white space.
				if again := must[KeySet](t)(ParseKeySet(k.JWKS)); again.KeyIDs()[0] != key.kid {
					t.Error("the key set is another")
				}
				k.JWKS, want = nil, gateway.KeyRing{Issuer: documentIssuer, Version: 2, IssuedAt: mailAt}
				got = k
			}
			if r != nil {
				t.Errorf("%s: %v", name, r)
			} else if d := diff(want, got); d != "" {
				t.Errorf("%s: %s", name, d)
			}
		}
	}
}

// A2, A3, F10: one member wrong, and the document is refused for the right reason.
func TestMailRefusals(t *testing.T) {
	id, v, key := mailWorld(t)
	other := must[*SigningKey](t)(GenerateES256())
	jwks := must[[]byte](t)(MarshalKeySet(key.PublicKey, nil))
	good := map[string]map[string]any{
		TypCommand:  {"iss": documentIssuer, "aud": id.ID, "jti": "c", "iat": mailAt.Unix(), "exp": mailAt.Unix() + 30, "door": "front", "action": "unlock"},
		TypManifest: {"iss": documentIssuer, "aud": id.ID, "jti": "manifest", "ver": 1, "iat": mailAt.Unix(), "next_update": mailAt.Unix() + 60, "count": 0, "digest": gateway.Digest{}},
		TypKeys:     {"iss": documentIssuer, "aud": id.ID, "jti": "keys", "ver": 1, "iat": mailAt.Unix(), "jwks": json.RawMessage(jwks)},
	}
	read := map[string]func(string) *gateway.Refusal{
		TypCommand:  func(s string) *gateway.Refusal { _, r := v.Command(s); return r },
		TypManifest: func(s string) *gateway.Refusal { _, r := v.Manifest(s); return r },
		TypKeys:     func(s string) *gateway.Refusal { _, r := v.Keys(s); return r },
	}
	for typ, claims := range good {
		if r := read[typ](must[string](t)(key.compact(typ, claims))); r != nil {
			t.Fatalf("%s: the good one: %v", typ, r)
		}
		for name := range claims {
			without := maps.Clone(claims)
			delete(without, name)
			null := maps.Clone(claims)
			null[name] = nil
			for _, c := range []map[string]any{without, null} {
				if r := read[typ](must[string](t)(key.compact(typ, c))); r == nil || r.Reason != gateway.UnknownCredential {
					t.Errorf("%s with %s %v: %v", typ, name, c[name], r)
				}
			}
		}
		change := func(reason gateway.Reason, name string, value any) {
			c := maps.Clone(claims)
			c[name] = value
			if r := read[typ](must[string](t)(key.compact(typ, c))); r == nil || r.Reason != reason {
				t.Errorf("%s with %s %v: %v, want %s", typ, name, value, r, reason)
			}
		}
		change(gateway.WrongGateway, "aud", "gw-aaaaaaaaaa")
		change(gateway.UnknownIssuer, "iss", "other.example")
		change(gateway.UnknownCredential, "jti", "a b")
		change(gateway.UnknownCredential, "iat", 1)
		switch typ {
		case TypCommand:
			change(gateway.UnknownCredential, "exp", mailAt.Unix()+31)
			change(gateway.UnknownCredential, "exp", mailAt.Unix())
			change(gateway.UnknownCredential, "action", "lock")
			change(gateway.UnknownCredential, "door", "Front")
		case TypManifest:
			change(gateway.UnknownCredential, "jti", "keys")
			change(gateway.UnknownCredential, "ver", 0)
			change(gateway.UnknownCredential, "count", -1)
			change(gateway.UnknownCredential, "digest", "AAAA")
			change(gateway.UnknownCredential, "next_update", mailAt.Unix())
		case TypKeys:
			change(gateway.UnknownCredential, "jti", "manifest")
			change(gateway.UnknownCredential, "jwks", map[string]any{"keys": []any{}})
			change(gateway.UnknownCredential, "jwks", "{}")
		}
		for what, text := range map[string]string{
			"another's key":           must[string](t)(other.compact(typ, claims)),
			"the typ of a grant":      must[string](t)(key.compact(TypGrant, claims)),
			"another's key, same kid": must[string](t)(other.compactWith(map[string]any{"alg": "ES256", "typ": typ, "kid": key.kid}, claims)),
		} {
			if r := read[typ](text); r == nil || r.Reason != gateway.BadSignature {
				t.Errorf("%s by %s: %v", typ, what, r)
			}
		}
		// What is sealed as one thing is not read as another.
		sealed := must[string](t)(Seal(must[string](t)(key.compact(typ, claims)), TypGrant, id.Opening.PublicKey))
		if r := read[typ](sealed); r == nil || r.Reason != gateway.UnknownCredential {
			t.Errorf("%s sealed as a grant: %v", typ, r)
		}
	}
}

func TestAssertion(t *testing.T) {
	id, _, key := mailWorld(t)
	set := NewKeySet(id.Signing.PublicKey)
	const origin = "https://cloud.example"
	here := func(s string) bool { return s == origin }
	text := must[string](t)(SignAssertion(id.Signing, string(id.ID), origin, mailAt))
	verify := func(text string, set KeySet, now time.Time) error {
		a, err := ParseAssertion(text)
		if err != nil {
			return err
		}
		if a.Issuer != string(id.ID) {
			return errors.New("another issuer: " + a.Issuer)
		}
		return a.Verify(set, here, now)
	}
	for _, after := range []time.Duration{0, -time.Minute, 5 * time.Minute, 6*time.Minute - time.Second} {
		if err := verify(text, set, mailAt.Add(after)); err != nil {
			t.Errorf("after %s: %v", after, err)
		}
	}
	for _, after := range []time.Duration{-61 * time.Second, 6 * time.Minute, time.Hour} {
		if verify(text, set, mailAt.Add(after)) == nil {
			t.Errorf("good after %s", after)
		}
	}
	if verify(text, NewKeySet(key.PublicKey), mailAt) == nil {
		t.Error("another's key is good")
	}
	for what, claims := range map[string]map[string]any{
		"another cloud": {"iss": id.ID, "aud": "https://other.example", "iat": mailAt.Unix(), "exp": mailAt.Unix() + 60, "jti": "a"},
		"too long":      {"iss": id.ID, "aud": origin, "iat": mailAt.Unix(), "exp": mailAt.Unix() + 301, "jti": "a"},
		"no end":        {"iss": id.ID, "aud": origin, "iat": mailAt.Unix(), "jti": "a"},
		"no jti":        {"iss": id.ID, "aud": origin, "iat": mailAt.Unix(), "exp": mailAt.Unix() + 60},
	} {
		if verify(must[string](t)(id.Signing.compact(TypAuth, claims)), set, mailAt) == nil {
			t.Errorf("%s is good", what)
		}
	}
	good := map[string]any{"iss": id.ID, "aud": origin, "iat": mailAt.Unix(), "exp": mailAt.Unix() + 60, "jti": "a"}
	if verify(must[string](t)(id.Signing.compact(TypGateway, good)), set, mailAt) == nil {
		t.Error("a descriptor's typ is good")
	}
}

// L6: an issuer reads its event, without what is others' business; nobody else does.
func TestEventForItsIssuer(t *testing.T) {
	id, _, key := mailWorld(t)
	open := must[*OpeningKey](t)(GenerateOpening())
	set := must[KeySet](t)(ParseKeySet(must[[]byte](t)(MarshalKeySet(key.PublicKey, &open.PublicKey))))
	e := gateway.Event{Seq: 9, At: "2026-11-23T09:41:07.213+01:00", Clock: "synced", Boot: "b", Type: gateway.AccessGranted, Door: "front",
		Issuer: documentIssuer, Grant: "g", Attempt: "a", Sub: "parcel", Resident: "somebody", Device: "x", Prev: "p", Hash: "h"}
	text := must[string](t)(id.SealEvent(documentIssuer, set, "the-log", e, mailAt))
	keys := func(gw gateway.GatewayID) (KeySet, error) {
		if gw != id.ID {
			return KeySet{}, errors.New("no such gateway")
		}
		return NewKeySet(id.Signing.PublicKey), nil
	}
	got := must[*OpenedEvent](t)(OpenEvent(open, documentIssuer, text, keys))
	var members map[string]any
	if err := json.Unmarshal(got.Event, &members); err != nil {
		t.Fatal(err)
	}
	want := map[string]any{"at": e.At, "clock": "synced", "boot": "b", "type": "access_granted", "door": "front", "issuer": string(documentIssuer),
		"grant": "g", "attempt": "a", "sub": "parcel"}
	if d := diff(want, members); d != "" || got.Log != "the-log" || got.Gateway != id.ID {
		t.Errorf("%+v: %s", got, d)
	}
	if _, err := OpenEvent(open, "other.example", text, keys); err == nil {
		t.Error("another issuer reads it")
	}
	if _, err := OpenEvent(open, documentIssuer, text, func(gateway.GatewayID) (KeySet, error) { return NewKeySet(key.PublicKey), nil }); err == nil {
		t.Error("another's signature is good")
	}
	if _, err := OpenEvent(must[*OpeningKey](t)(GenerateOpening()), documentIssuer, text, keys); err == nil {
		t.Error("any key opens it")
	}
	nobody := must[string](t)(id.SealEvent(documentIssuer, NewKeySet(key.PublicKey), "the-log", e, mailAt))
	if _, err := OpenEvent(open, documentIssuer, nobody, keys); err == nil || !strings.Contains(err.Error(), "kid") {
		t.Errorf("an issuer without a key reads it: %v", err)
	}
}

// N5.
func FuzzMail(f *testing.F) {
	id, v, key := mailWorld(f)
	jwks, _ := MarshalKeySet(key.PublicKey, nil)
	for _, text := range []string{
		must[string](f)(SignCommand(key, id.ID, gateway.Command{Issuer: documentIssuer, JTI: "c", IssuedAt: mailAt, NotAfter: mailAt.Add(time.Second), Door: "d"})),
		must[string](f)(SignManifest(key, id.ID, gateway.Manifest{Issuer: documentIssuer, Version: 1, IssuedAt: mailAt, NextUpdate: mailAt.Add(1e9)})),
		must[string](f)(SignKeys(key, id.ID, gateway.KeyRing{Issuer: documentIssuer, Version: 1, IssuedAt: mailAt, JWKS: jwks})),
		must[string](f)(SignAssertion(id.Signing, string(id.ID), "https://c.example", mailAt)),
	} {
		f.Add(text)
	}
	good := map[string]bool{}
	f.Fuzz(func(t *testing.T, text string) {
		_, r1 := v.Command(text)
		_, r2 := v.Manifest(text)
		_, r3 := v.Keys(text)
		n := 0
		for _, r := range []*gateway.Refusal{r1, r2, r3} {
			if r == nil {
				n++
			}
		}
		// The fuzzer has no key: what is good is a seed, and good as one thing only.
		if n > 1 || n == 1 && !good[text] && len(good) >= 3 {
			t.Errorf("%q is good %d times", text, n)
		}
		if n == 1 {
			good[text] = true
		}
		if a, err := ParseAssertion(text); err == nil {
			a.Verify(NewKeySet(key.PublicKey), func(string) bool { return true }, mailAt)
		}
		OpenEvent(id.Opening, documentIssuer, text, func(gateway.GatewayID) (KeySet, error) { return NewKeySet(key.PublicKey), nil })
	})
}
