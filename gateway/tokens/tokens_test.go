package tokens

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/go-jose/go-jose/v4"

	"gardien/gateway"
)

// trusting makes the verifier of a gateway that knows one issuer by one set.
func (w *world) trusting(iss gateway.IssuerID, set KeySet) *Verifier {
	return &Verifier{Gateway: w.gateway, Opening: w.opening,
		Trust: func(id gateway.IssuerID) (KeySet, bool) { return set, id == iss }}
}

func someGrant() gateway.Grant {
	nbf := time.Unix(1790000000, 0).UTC()
	return gateway.Grant{ID: gateway.GrantID{Issuer: "colis-x.example", JTI: "parcel-1"}, Version: 1, Status: gateway.GrantActive,
		Doors: []gateway.DoorID{"front"}, IssuedAt: nbf, Period: gateway.Period{NotBefore: nbf, NotAfter: nbf.Add(time.Hour)}}
}

func reasonOf(r *gateway.Refusal) string {
	if r == nil {
		return "good"
	}
	return string(r.Reason)
}

func jwkOf(t testing.TB, k PublicKey, use string) map[string]any {
	t.Helper()
	b, err := json.Marshal(k.jwk(use))
	if err != nil {
		t.Fatal(err)
	}
	var m map[string]any
	if err := json.Unmarshal(b, &m); err != nil {
		t.Fatal(err)
	}
	return m
}

func jwks(t testing.TB, keys ...any) []byte {
	t.Helper()
	b, err := json.Marshal(map[string]any{"keys": keys})
	if err != nil {
		t.Fatal(err)
	}
	return b
}

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

// L5: whoever prints, logs or encodes what holds a secret shows nothing of it.
func TestL5_SecretsNeverPrint(t *testing.T) {
	dir := t.TempDir()
	id, err := LoadIdentity(dir)
	if err != nil {
		t.Fatal(err)
	}
	ed, err := GenerateEd25519()
	if err != nil {
		t.Fatal(err)
	}
	var secrets []string
	for _, k := range []interface{ Marshal() ([]byte, error) }{id.Signing, id.Opening, ed} {
		b, err := k.Marshal()
		if err != nil {
			t.Fatal(err)
		}
		var m map[string]string
		if err := json.Unmarshal(b, &m); err != nil {
			t.Fatal(err)
		}
		raw, err := decode(m["d"])
		if err != nil {
			t.Fatal(err)
		}
		secrets = append(secrets, spellings(raw)...)
	}
	device, err := os.ReadFile(filepath.Join(dir, "device.key"))
	if err != nil {
		t.Fatal(err)
	}
	secrets = append(secrets, spellings(device)...)
	secrets = append(secrets, spellings([]byte("0471108"))...)
	secrets = append(secrets, spellings([]byte("eyJ.the.grant"))...)
	secrets = append(secrets, spellings([]byte("eyJ.the.proof"))...)

	pin := gateway.PIN{Secret: gateway.NewSecret("0471108")}
	grant := someGrant()
	grant.PIN = pin
	cred := gateway.GrantCredential{Text: gateway.NewSecret("eyJ.the.grant"), Proof: gateway.NewSecret("eyJ.the.proof")}
	type nested struct {
		hidden any
		Shown  any
		m      map[string]any
	}
	values := map[string]any{"signing": id.Signing, "signing value": *id.Signing, "ed25519": ed, "opening": id.Opening,
		"opening value": *id.Opening, "identity": id, "identity value": *id, "pin": pin, "secret": pin.Secret,
		"credential": cred, "pin credential": gateway.PINCredential{PIN: pin}, "grant": grant,
		"verifier": &Verifier{Opening: id.Opening}}
	for name, v := range values {
		for _, v := range []any{v, &v, []any{v}, nested{v, v, map[string]any{"k": v}}, &nested{hidden: v}, struct{ hidden any }{v},
			struct{ p gateway.PIN }{pin}, struct{ c gateway.GrantCredential }{cred}, struct{ g gateway.Grant }{grant}} {
			var out bytes.Buffer
			for _, verb := range []string{"%v", "%+v", "%#v", "%s", "%q", "%x", "%X", "%d", "%t"} {
				fmt.Fprintf(&out, verb+"\n", v)
			}
			for _, h := range []slog.Handler{slog.NewJSONHandler(&out, nil), slog.NewTextHandler(&out, nil)} {
				slog.New(h).With("with", v).Info("said", "value", v, slog.Group("group", "value", v))
			}
			b, err := json.Marshal(v)
			out.Write(b)
			fmt.Fprintln(&out, err)
			for _, secret := range secrets {
				if strings.Contains(out.String(), secret) {
					t.Errorf("%s: %s is printed in\n%s", name, secret, out.String())
				}
			}
		}
	}
}

// spellings lists how bytes could come out of a printer.
func spellings(b []byte) []string {
	list := fmt.Sprint(b) // [1 2 3]
	goList := fmt.Sprintf("%#v", b)
	std := strings.TrimRight(jose64(b), "=")
	return []string{string(b), list[1 : len(list)-1], goList[7 : len(goList)-1], strict.EncodeToString(b), std,
		fmt.Sprintf("%x", b), fmt.Sprintf("%X", b), fmt.Sprintf("%q", b)}
}

func jose64(b []byte) string {
	out, _ := json.Marshal(b) // standard base64
	return strings.Trim(string(out), `"`)
}

// randomGrant draws a grant that keeps all rules.
func randomGrant(r *rand.Rand) gateway.Grant {
	text := func(alphabet string, n int) string {
		runes := []rune(alphabet)
		var b strings.Builder
		for range n {
			b.WriteRune(runes[r.IntN(len(runes))])
		}
		return b.String()
	}
	maybe := func() bool { return r.IntN(2) == 0 }
	min, max := gateway.MinTime.Unix(), gateway.MaxTime.Unix()
	nbf := min + r.Int64N(max-min)
	g := gateway.Grant{
		ID: gateway.GrantID{Issuer: gateway.IssuerID(text("abz09.-", 1+r.IntN(64))),
			JTI: text("ABZabz09._-", 1+r.IntN(64))},
		Version: 1 + r.Int64N(maxSafeInteger), Status: gateway.GrantActive,
		IssuedAt: time.Unix(min+r.Int64N(max-min+1), 0).UTC(),
		Period:   gateway.Period{NotBefore: time.Unix(nbf, 0).UTC(), NotAfter: time.Unix(nbf+1+r.Int64N(max-nbf), 0).UTC()},
	}
	for range 1 + r.IntN(8) {
		g.Doors = append(g.Doors, gateway.DoorID(text("abz09-", 1+r.IntN(32))))
	}
	if maybe() {
		g.Status = gateway.GrantRevoked
	}
	if maybe() {
		g.Uses = 1 + r.IntN(1<<31-1)
	}
	if maybe() {
		g.Sub = text("aZ0 é🚪<>&\"\\/\u2028\u202e", r.IntN(65))
	}
	if maybe() {
		g.Holder = strict.EncodeToString([]byte(text("0123456789abcdef", 32)))
	}
	if maybe() {
		g.PIN = gateway.PIN{Secret: gateway.NewSecret(text("0123456789", 6+r.IntN(3)))}
	}
	if maybe() {
		g.Schedule = &gateway.Schedule{}
		for range 1 + r.IntN(gateway.MaxWindows) {
			w := gateway.Window{From: gateway.Clock(r.IntN(1440)), To: gateway.Clock(r.IntN(1441))}
			for _, d := range r.Perm(7)[:1+r.IntN(7)] {
				w.Days = append(w.Days, gateway.Weekday(d))
			}
			g.Schedule.Windows = append(g.Schedule.Windows, w)
		}
		for range r.IntN(10) {
			y, m, d := time.Unix(r.Int64N(max), 0).UTC().Date()
			g.Schedule.Except = append(g.Schedule.Except, gateway.Date{Year: y, Month: m, Day: d})
		}
	}
	return g
}

// A3, §1: whatever SignGrant writes, Grant reads back field by field, bare and sealed.
func TestA3_SignedGrantsArriveWhole(t *testing.T) {
	w := newWorld(t)
	r := rand.New(rand.NewPCG(1, 2))
	signers := []*SigningKey{w.ed, w.ec}
	set := NewKeySet(w.ed.PublicKey, w.ec.PublicKey)
	for i := range 400 {
		g := randomGrant(r)
		text, err := SignGrant(signers[i%2], w.gateway, g)
		if err != nil {
			t.Fatalf("%+v: %v", g, err)
		}
		v := w.trusting(g.ID.Issuer, set)
		if !g.PIN.IsZero() {
			if _, refusal := v.Grant(text); reasonOf(refusal) != unknownCredential {
				t.Fatalf("a PIN outside of an envelope: %s", reasonOf(refusal))
			}
		}
		if !g.PIN.IsZero() || i%3 == 0 {
			if text, err = Seal(text, TypGrant, w.opening.PublicKey); err != nil {
				t.Fatal(err)
			}
		}
		got, refusal := v.Grant(text)
		if refusal != nil {
			t.Fatalf("%+v: %v", g, refusal)
		}
		if d := diff(g, got); d != "" {
			t.Fatal(d)
		}
	}
}

// A3: a grant that no gateway would take is not written.
func TestA3_SignGrantKeepsTheLimit(t *testing.T) {
	w, g := newWorld(t), someGrant()
	g.Schedule = &gateway.Schedule{Windows: []gateway.Window{{Days: []gateway.Weekday{1}, From: 0, To: 60}}}
	for d := range 400 {
		g.Schedule.Except = append(g.Schedule.Except, gateway.Date{Year: 2026 + d/300, Month: time.Month(1 + d/28%12), Day: 1 + d%28})
	}
	if _, err := SignGrant(w.ed, w.gateway, g); err == nil {
		t.Error("more than 4,096 bytes are signed")
	}
}

// A refusal after the signature names the grant; one before it names nothing, for
// nobody is known to have said it.
func TestRefusalNamesTheGrantOnceSigned(t *testing.T) {
	gw, vectors := readContext(t), readVectors(t)
	parcel := gateway.GrantID{Issuer: "colis-x.example", JTI: "parcel-1"}
	for name, want := range map[string]gateway.GrantID{
		"claim_aud_other": parcel, "claim_ver_zero": parcel, "claim_pin_not_sealed": parcel, "claim_before_aud": parcel,
		"sealed_pin_5": parcel, "sealed_wrong_gateway": parcel,
		"claim_jti_of_65": {}, "claim_jti_missing": {}, "header_alg_none": {}, "claim_iss_unknown": {}, "claim_twice": {},
		"header_before_claims": {}, "sealed_tampered_tag": {}, "text_bom": {},
	} {
		v, ok := vectors[name]
		if !ok {
			t.Errorf("no vector %s", name)
		}
		if g, _ := gw.Grant(v.text); g.ID != want || diff(gateway.Grant{ID: want}, g) != "" {
			t.Errorf("%s: names %q, want %q", name, g.ID, want)
		}
	}
}

func TestSealOpens(t *testing.T) {
	w := newWorld(t)
	for _, text := range []string{"", "x", strings.Repeat("x", MaxJWS), "ä\x00\xff"} {
		sealed, err := Seal(text, "gardien-event+jwt", w.opening.PublicKey)
		if err != nil {
			t.Fatal(err)
		}
		if got, r := w.opening.open(sealed, "gardien-event+jwt"); r != nil || got != text {
			t.Errorf("%d bytes come back as %d, %v", len(text), len(got), r)
		}
		if _, r := w.opening.open(sealed, TypGrant); reasonOf(r) != unknownCredential {
			t.Errorf("another cty: %s", reasonOf(r))
		}
		again, err := Seal(text, "gardien-event+jwt", w.opening.PublicKey)
		if err != nil || again == sealed {
			t.Errorf("two envelopes are one, %v", err)
		}
	}
	if _, err := Seal(strings.Repeat("x", 7000), TypGrant, w.opening.PublicKey); err == nil {
		t.Error("more than 8,192 bytes are sealed")
	}
	if _, err := Seal("x", TypGrant, w.ed.PublicKey); err == nil {
		t.Error("sealed to a key that cannot open")
	}
}

// The envelopes of the vectors are made by hand; go-jose must agree that they are good.
func TestVectorEnvelopesAreRealJWEs(t *testing.T) {
	w := newWorld(t)
	for name, v := range readVectors(t) {
		if !strings.HasPrefix(name, "good_sealed") && name != "sealed_alg_a256kw" && name != "sealed_enc_a128gcm" && name != "sealed_zip" {
			continue
		}
		e, err := jose.ParseEncryptedCompact(v.text, []jose.KeyAlgorithm{jose.ECDH_ES, jose.ECDH_ES_A256KW}, []jose.ContentEncryption{jose.A256GCM, jose.A128GCM})
		if err != nil {
			t.Errorf("%s: %v", name, err)
			continue
		}
		if plain, err := e.Decrypt(w.rawOpening); err != nil || strings.Count(string(plain), ".") != 2 {
			t.Errorf("%s: %v", name, err)
		}
	}
}

func TestDescriptorArrivesWhole(t *testing.T) {
	id, err := LoadIdentity(t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	at, keys := time.Unix(1790000000, 0).UTC(), NewKeySet(id.Signing.PublicKey)
	for _, want := range []*Descriptor{
		{id.ID, id.Opening.PublicKey, keys, []gateway.DoorID{"front", "cellar"}, []gateway.IssuerID{"colis-x.example"}, "Europe/Paris", at},
		{id.ID, id.Opening.PublicKey, keys, []gateway.DoorID{"front"}, nil, "Europe/Paris", at},
		{id.ID, id.Opening.PublicKey, keys, nil, nil, "", at},
	} {
		text, err := id.SignDescriptor(want.Doors, want.Issuers, want.Zone, at)
		if err != nil {
			t.Fatal(err)
		}
		got, err := ParseDescriptor(text)
		if err != nil {
			t.Fatal(err)
		}
		if got.Seal.kid != want.Seal.kid {
			t.Errorf("seal to %s, want %s", got.Seal.kid, want.Seal.kid)
		}
		got.Seal = want.Seal
		if d := diff(want, got); d != "" {
			t.Error(d)
		}
	}
	if text, err := id.SignDescriptor(make([]gateway.DoorID, 4096), nil, "", at); err == nil {
		t.Errorf("a descriptor of %d bytes, which nobody reads", len(text))
	}
}

// A7: a proof by SignProof holds for its own nonce, gateway, door and grant alone.
func TestA7_ProofHoldsForOneThing(t *testing.T) {
	w := newWorld(t)
	v := w.trusting("colis-x.example", NewKeySet(w.ed.PublicKey))
	iat := time.Unix(1790000000, 0).UTC()
	text, err := SignProof(w.holder, "the nonce", w.gateway, "front", "the grant", iat)
	if err != nil {
		t.Fatal(err)
	}
	if nonce, r := v.Nonce(text); r != nil || nonce != "the nonce" {
		t.Errorf("nonce %q, %v", nonce, r)
	}
	if got, r := v.Proof(text, "front", "the grant", w.holder.kid); r != nil || !got.Equal(iat) {
		t.Errorf("%v, %v", got, r)
	}
	away := *v
	away.Gateway = "gw-aaaaaaaaaa"
	for name, judge := range map[string]func() (time.Time, *gateway.Refusal){
		"door":      func() (time.Time, *gateway.Refusal) { return v.Proof(text, "cellar", "the grant", w.holder.kid) },
		"grant":     func() (time.Time, *gateway.Refusal) { return v.Proof(text, "front", "a grant", w.holder.kid) },
		"holder":    func() (time.Time, *gateway.Refusal) { return v.Proof(text, "front", "the grant", w.holderOther.kid) },
		"no holder": func() (time.Time, *gateway.Refusal) { return v.Proof(text, "front", "the grant", "") },
		"gateway":   func() (time.Time, *gateway.Refusal) { return away.Proof(text, "front", "the grant", w.holder.kid) },
	} {
		if at, r := judge(); reasonOf(r) != badProof || !at.IsZero() {
			t.Errorf("another %s: %s, %v", name, reasonOf(r), at)
		}
	}
}
