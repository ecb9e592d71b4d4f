package tokens

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// A2: the set decides. Old and new key both verify while both are in it, and a key
// that was taken out verifies nothing.
func TestA2_KeyRotation(t *testing.T) {
	w := newWorld(t)
	parse := func(keys ...any) KeySet {
		set, err := ParseKeySet(jwks(t, keys...))
		if err != nil {
			t.Fatal(err)
		}
		return set
	}
	before, after := jwkOf(t, w.ed.PublicKey, "sig"), jwkOf(t, w.ec.PublicKey, "sig")
	for _, step := range []struct {
		name       string
		set        KeySet
		first, new string
	}{
		{"before", parse(before), good, badSignature},
		{"during", parse(before, after), good, good},
		{"after", parse(after), badSignature, good},
	} {
		v := w.trusting("colis-x.example", step.set)
		for key, want := range map[*SigningKey]string{w.ed: step.first, w.ec: step.new} {
			text, err := SignGrant(key, w.gateway, someGrant())
			if err != nil {
				t.Fatal(err)
			}
			if _, r := v.Grant(text); reasonOf(r) != want {
				t.Errorf("%s, %s: got %s, want %s", step.name, key.alg, reasonOf(r), want)
			}
		}
	}
}

// §8: private members, a foreign kid, a second receiving key and doubles are refused.
func TestParseKeySet(t *testing.T) {
	w := newWorld(t)
	with := func(k PublicKey, use string, edits ...any) map[string]any {
		m := jwkOf(t, k, use)
		for i := 0; i < len(edits); i += 2 {
			if edits[i+1] == nil {
				delete(m, edits[i].(string))
			} else {
				m[edits[i].(string)] = edits[i+1]
			}
		}
		return m
	}
	sig, enc := w.ed.PublicKey, w.opening.PublicKey
	x := jwkOf(t, sig, "sig")["x"].(string)
	many := func(n int) (keys []any) {
		for i := range n {
			k, err := GenerateEd25519()
			if err != nil {
				t.Fatal(i, err)
			}
			keys = append(keys, jwkOf(t, k.PublicKey, "sig"))
		}
		return keys
	}
	for _, c := range []struct {
		name string
		ok   bool
		text []byte
	}{
		{"one", true, jwks(t, with(sig, "sig"))},
		{"one on P-256", true, jwks(t, with(w.ec.PublicKey, "sig"))},
		{"with a receiving key", true, jwks(t, with(sig, "sig"), with(enc, "enc"))},
		{"without kid", true, jwks(t, with(sig, "sig", "kid", nil))},
		{"without use", true, jwks(t, with(sig, "sig", "use", nil))},
		{"alg of the key", true, jwks(t, with(sig, "sig", "alg", "EdDSA"))},
		{"alg by its new name", true, jwks(t, with(sig, "sig", "alg", "Ed25519"))},
		{"alg of the receiving key", true, jwks(t, with(sig, "sig"), with(enc, "enc", "alg", "ECDH-ES"))},
		{"unknown member", true, jwks(t, with(sig, "sig", "hint", "2026"))},
		{"sixteen keys", true, jwks(t, many(16)...)},

		{"seventeen keys", false, jwks(t, many(17)...)},
		{"no keys", false, jwks(t)},
		{"no member keys", false, []byte(`{}`)},
		{"a bare key", false, func() []byte { b, _ := json.Marshal(with(sig, "sig")); return b }()},
		{"null", false, []byte(`null`)},
		{"keys null", false, []byte(`{"keys":null}`)},
		{"a key null", false, []byte(`{"keys":[null]}`)},
		{"empty", false, nil},
		{"a case variant of keys", false, append([]byte(`{"Keys":[],`), jwks(t, with(sig, "sig"))[1:]...)},
		{"only a receiving key", false, jwks(t, with(enc, "enc"))},
		{"two receiving keys", false, jwks(t, with(sig, "sig"), with(enc, "enc"), with(w.ec.PublicKey, "enc"))},
		{"a receiving key on Ed25519", false, jwks(t, with(w.ec.PublicKey, "sig"), with(sig, "enc"))},
		{"twice", false, jwks(t, with(sig, "sig"), with(sig, "sig"))},
		{"twice, once without kid", false, jwks(t, with(sig, "sig"), with(sig, "sig", "kid", nil))},
		{"kid is not the thumbprint", false, jwks(t, with(sig, "sig", "kid", w.ec.kid))},
		{"kid is empty", false, jwks(t, with(sig, "sig", "kid", ""))},
		{"kid is a date", false, jwks(t, with(sig, "sig", "kid", "2026-01"))},
		{"kid null", false, bytes.Replace(jwks(t, with(sig, "sig")), []byte(`"`+sig.kid+`"`), []byte("null"), 1)},
		{"private d", false, jwks(t, with(sig, "sig", "d", x))},
		{"private D", false, jwks(t, with(sig, "sig", "D", x))},
		{"symmetric k", false, jwks(t, with(sig, "sig", "k", x))},
		{"oct", false, jwks(t, map[string]any{"kty": "oct", "k": x})},
		{"use of neither kind", false, jwks(t, with(sig, "sig", "use", "Enc"))},
		{"use is empty", false, jwks(t, with(sig, "sig", "use", ""))},
		{"alg of another key", false, jwks(t, with(w.ec.PublicKey, "sig", "alg", "ES384"))},
		{"alg that agrees on keys", false, jwks(t, with(w.ec.PublicKey, "sig", "use", nil, "alg", "ECDH-ES"))},
		{"x with a second spelling", false, jwks(t, with(sig, "sig", "x", secondSpelling(x)))},
		{"x with padding", false, jwks(t, with(sig, "sig", "x", x+"="))},
		{"x with a line end", false, jwks(t, with(sig, "sig", "x", x+"\n"))},
		{"x of 31 bytes", false, jwks(t, with(sig, "sig", "x", b64(strings.Repeat("x", 31)), "kid", nil))},
		{"x missing", false, jwks(t, with(sig, "sig", "x", nil, "kid", nil))},
		{"not on the curve", false, jwks(t, with(w.ec.PublicKey, "sig", "y", jwkOf(t, w.ec.PublicKey, "sig")["x"], "kid", nil))},
		{"another curve", false, jwks(t, with(w.ec.PublicKey, "sig", "crv", "P-384", "kid", nil))},
	} {
		if _, err := ParseKeySet(c.text); (err == nil) != c.ok {
			t.Errorf("%s: %v", c.name, err)
		}
	}
}

// A private key says x, y and d; where they do not belong together nothing is signed.
func TestParsePrivateKeyOfTwoHalves(t *testing.T) {
	w := newWorld(t)
	half := func(k interface{ Marshal() ([]byte, error) }, edits map[string]any) []byte {
		var m map[string]any
		b, err := k.Marshal()
		if err == nil {
			err = json.Unmarshal(b, &m)
		}
		if err != nil {
			t.Fatal(err)
		}
		for name, value := range edits {
			m[name] = value
		}
		b, err = json.Marshal(m)
		if err != nil {
			t.Fatal(err)
		}
		return b
	}
	other := jwkOf(t, w.holder.PublicKey, "sig")
	swap := map[string]any{"x": other["x"], "y": other["y"]}
	zero := map[string]any{"d": b64(strings.Repeat("\x00", 32))}
	for name, edits := range map[string]map[string]any{"another point": swap, "d is 0": zero} {
		if _, err := ParseSigningKey(half(w.ec, edits)); err == nil {
			t.Errorf("signing key: %s is taken", name)
		}
		if _, err := ParseOpeningKey(half(w.opening, edits)); err == nil {
			t.Errorf("opening key: %s is taken", name)
		}
	}
	if _, err := ParseSigningKey(half(w.ec, nil)); err != nil {
		t.Error(err)
	}
	if _, err := ParseOpeningKey(half(w.ed, nil)); err == nil {
		t.Error("an Ed25519 key is taken to open with")
	}
	public, err := json.Marshal(w.ec.jwk("sig"))
	if err != nil {
		t.Fatal(err)
	}
	if _, err := ParseSigningKey(public); err == nil {
		t.Error("a public key is taken to sign with")
	}
}

func TestParseHolder(t *testing.T) {
	w := newWorld(t)
	text := func(m map[string]any) []byte {
		b, err := json.Marshal(m)
		if err != nil {
			t.Fatal(err)
		}
		return b
	}
	public := jwkOf(t, w.holder.PublicKey, "sig")
	if jkt, err := ParseHolder(text(public)); err != nil || jkt != w.holder.kid {
		t.Errorf("got %q, %v, want %q", jkt, err, w.holder.kid)
	}
	private, err := w.holder.Marshal()
	if err != nil {
		t.Fatal(err)
	}
	public["x"] = secondSpelling(public["x"].(string))
	for name, b := range map[string][]byte{"private": private, "second spelling": text(public),
		"Ed25519": text(jwkOf(t, w.ed.PublicKey, "sig")), "null": []byte("null"), "empty": nil} {
		if jkt, err := ParseHolder(b); err == nil {
			t.Errorf("%s: taken as %s", name, jkt)
		}
	}
}

// §8: the id of RFC 8037 A.1's key.
func TestGatewayIDOfRFC8037(t *testing.T) {
	set, err := ParseKeySet([]byte(`{"keys":[{"kty":"OKP","crv":"Ed25519","x":"11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo"}]}`))
	if err != nil {
		t.Fatal(err)
	}
	const thumbprint = "kPrK_qmxVWaYVA9wwBF6Iuo3vVzz7TxHCTwXBygrS4k" // RFC 8037 A.3
	id, err := GatewayIDOf(set.verifying[thumbprint])
	if err != nil || id != "gw-a3r73d62fg" {
		t.Errorf("got %s, %v", id, err)
	}
}

func TestLoadIdentity(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "state", "identity")
	first, err := LoadIdentity(dir)
	if err != nil {
		t.Fatal(err)
	}
	names := []string{"device.key", "opening.jwk", "signing.jwk"}
	entries, err := os.ReadDir(dir)
	if err != nil || len(entries) != len(names) {
		t.Fatalf("%v, %v: want %v alone", entries, err, names)
	}
	for i, e := range entries {
		info, err := e.Info()
		if err != nil || e.Name() != names[i] || info.Mode() != 0o600 {
			t.Errorf("%s: %v, %v", e.Name(), info.Mode(), err)
		}
	}
	if info, err := os.Stat(dir); err != nil || info.Mode().Perm() != 0o700 {
		t.Errorf("%s: %v, %v", dir, info.Mode(), err)
	}
	again, err := LoadIdentity(dir)
	if err != nil {
		t.Fatal(err)
	}
	if again.ID != first.ID || again.Signing.kid != first.Signing.kid || again.Opening.kid != first.Opening.kid ||
		!bytes.Equal(again.MAC("pin", "front", "471108"), first.MAC("pin", "front", "471108")) {
		t.Error("the second load is another gateway")
	}
	other, err := LoadIdentity(t.TempDir())
	if err != nil || other.ID == first.ID || bytes.Equal(other.MAC("pin"), first.MAC("pin")) {
		t.Errorf("two gateways are one: %v", err)
	}
	for _, name := range names {
		t.Run("without "+name, func(t *testing.T) {
			partial := t.TempDir()
			if err := os.CopyFS(partial, os.DirFS(dir)); err != nil {
				t.Fatal(err)
			}
			if err := os.Remove(filepath.Join(partial, name)); err != nil {
				t.Fatal(err)
			}
			if _, err := LoadIdentity(partial); err == nil || !strings.Contains(err.Error(), name) {
				t.Errorf("a part of an identity: %v", err)
			}
			if _, err := os.Stat(filepath.Join(partial, name)); !errors.Is(err, fs.ErrNotExist) {
				t.Errorf("%s was made anew", name)
			}
		})
		t.Run("cut "+name, func(t *testing.T) {
			cut := t.TempDir()
			if err := os.CopyFS(cut, os.DirFS(dir)); err != nil {
				t.Fatal(err)
			}
			if err := os.Truncate(filepath.Join(cut, name), 20); err != nil {
				t.Fatal(err)
			}
			if _, err := LoadIdentity(cut); err == nil || !strings.Contains(err.Error(), name) {
				t.Errorf("a broken identity: %v", err)
			}
		})
	}
}

// P6: parts are told apart, so that no two questions have one answer.
func TestMACTellsPartsApart(t *testing.T) {
	id, err := LoadIdentity(t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	seen := map[string]string{}
	for _, parts := range [][]string{{"pin"}, {"pin", ""}, {"pin", "", ""}, {"pin", "ab", "c"}, {"pin", "a", "bc"}, {"pin", "abc"}, {"pina", "bc"}, {"pin", "2:ab1:c"}, {""}} {
		sum := string(id.MAC(parts[0], parts[1:]...))
		if was, ok := seen[sum]; ok {
			t.Errorf("%q and %s are one", parts, was)
		}
		seen[sum] = fmt.Sprintf("%q", parts)
	}
}

func TestWriteFileReplacesNothing(t *testing.T) {
	name := filepath.Join(t.TempDir(), "key")
	if err := WriteFile(name, []byte("first")); err != nil {
		t.Fatal(err)
	}
	if err := WriteFile(name, []byte("second")); !errors.Is(err, fs.ErrExist) {
		t.Errorf("got %v", err)
	}
	if b, err := os.ReadFile(name); err != nil || string(b) != "first" {
		t.Errorf("%q, %v", b, err)
	}
}
