package tokens

import (
	"bytes"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/sha256"
	"encoding/base64"
	"encoding/json"
	"math/big"
	"strings"
	"testing"

	"gardien/gateway"
)

const someURL = "https://gardien-k7q2.local:8443/v1/doors/front/unlock"

// W5, contract §9: what a device signs arrives whole, and a jti is never drawn twice.
func TestDPoPArrivesWhole(t *testing.T) {
	key, err := GenerateES256()
	if err != nil {
		t.Fatal(err)
	}
	drawn := map[string]bool{}
	for _, want := range []gateway.DPoP{
		{Method: "POST", URL: someURL, Nonce: "bm9uY2U"},
		{Method: "DELETE", URL: someURL}, // has no nonce yet
		{Method: "PUT", URL: "https://[fe80::1]/v1/%C3%A9?a=\"b\"&c=<d>", Nonce: "ü\n\u2028"},
		{Method: "PATCH", URL: "https://h/" + strings.Repeat("a", maxDPoP-10), Nonce: "n"},
	} {
		for range 2 {
			text, err := SignDPoP(key, want.Method, want.URL, want.Nonce)
			if err != nil {
				t.Fatal(err)
			}
			got, r := ParseDPoP(text)
			if r != nil {
				t.Fatal(r)
			}
			if len(got.ID) < 22 || drawn[got.ID] { // 128 bits
				t.Errorf("jti %q", got.ID)
			}
			drawn[got.ID] = true
			want.Key, want.ID = key.KeyID(), got.ID
			if d := diff(want, got); d != "" {
				t.Error(d)
			}
		}
	}
	ed, err := GenerateEd25519()
	if err != nil {
		t.Fatal(err)
	}
	text, err := SignDPoP(ed, "POST", someURL, "")
	if err != nil {
		t.Fatal(err)
	}
	if d, r := ParseDPoP(text); reasonOf(r) != badProof || d != (gateway.DPoP{}) {
		t.Errorf("by Ed25519: %+v, %v", d, r)
	}
}

// A proof of possession of a grant is none of a request, and none the other way round: what a holder
// or a device signs for one, nobody presents for the other.
func TestDPoPIsNoGrantProof(t *testing.T) {
	for name, v := range readVectors(t) {
		switch {
		case v.via == "proof" && v.expect == good:
			if _, r := ParseDPoP(v.text); reasonOf(r) != badProof {
				t.Errorf("%s: %v", name, r)
			}
		case v.via == "dpop" && v.expect == good && v.nonce != "":
			p, r := ParseProof(v.text)
			if r == nil {
				_, r = p.Verify("gw-a3r73d62fg", "front", "", v.key)
			}
			if reasonOf(r) != badProof {
				t.Errorf("%s: %v", name, r)
			}
		}
	}
}

// A DPoP proof of which one bit, or one character, is another is none.
func TestDPoPOfWhichOneBitIsAnother(t *testing.T) {
	v := readVectors(t)["dpop_good"]
	parts := strings.Split(v.text, ".")
	for i, part := range parts {
		raw, err := decode(part)
		if err != nil {
			t.Fatal(err)
		}
		for bit := i; bit < 8*len(raw); bit += 7 { // each bit of a byte in turn
			raw[bit/8] ^= 1 << (bit % 8)
			changed := append([]string{}, parts...)
			changed[i] = strict.EncodeToString(raw)
			raw[bit/8] ^= 1 << (bit % 8)
			if d, r := ParseDPoP(strings.Join(changed, ".")); reasonOf(r) != badProof || d != (gateway.DPoP{}) {
				t.Errorf("part %d, bit %d: %+v, %v", i, bit, d, r)
			}
		}
	}
	for i := range v.text {
		for _, text := range []string{v.text[:i], v.text[:i] + v.text[i+1:], v.text[:i] + "=" + v.text[i:], v.text[:i] + "\n" + v.text[i:]} {
			if d, r := ParseDPoP(text); reasonOf(r) != badProof || d != (gateway.DPoP{}) {
				t.Errorf("at %d: %+v, %v", i, d, r)
			}
		}
	}
}

// N5: whatever verifies was signed by the key in its header, says what its claims say, and has one
// spelling. Another decoder and another verifier than the parser's say so.
func FuzzDPoP(f *testing.F) {
	seedTexts(f, "dpop")
	seedTexts(f, "proof")
	f.Fuzz(func(t *testing.T, text string) {
		d, r := ParseDPoP(text)
		if r != nil {
			if r.Reason != gateway.BadProof || d != (gateway.DPoP{}) {
				t.Errorf("reason %s, %+v", r.Reason, d)
			}
			return
		}
		parts := strings.Split(text, ".")
		if len(text) > MaxJWS || len(parts) != 3 {
			t.Fatalf("%q was taken", text)
		}
		var raw [3][]byte
		for i, p := range parts {
			var err error
			if raw[i], err = base64.RawURLEncoding.DecodeString(p); err != nil || base64.RawURLEncoding.EncodeToString(raw[i]) != p {
				t.Fatalf("part %d of %q has another spelling", i, text)
			}
		}
		var header struct {
			Alg, Typ string
			JWK      map[string]string
		}
		dec := json.NewDecoder(bytes.NewReader(raw[0]))
		dec.DisallowUnknownFields()
		if err := dec.Decode(&header); err != nil || header.Alg != "ES256" || header.Typ != "dpop+jwt" || len(header.JWK) != 4 {
			t.Fatalf("header %s: %v", raw[0], err)
		}
		if !signedBy(t, header.JWK, parts[0]+"."+parts[1], raw[2]) {
			t.Fatalf("%q was not signed by its key", text)
		}
		thumbprint := sha256.Sum256([]byte(`{"crv":"P-256","kty":"EC","x":"` + header.JWK["x"] + `","y":"` + header.JWK["y"] + `"}`))
		var claims struct{ Htm, Htu, Jti, Nonce string }
		var all map[string]any
		if json.Unmarshal(raw[1], &all) != nil {
			t.Fatalf("claims %s", raw[1])
		}
		claims.Htm, _ = all["htm"].(string)
		claims.Htu, _ = all["htu"].(string)
		claims.Jti, _ = all["jti"].(string)
		claims.Nonce, _ = all["nonce"].(string)
		want := gateway.DPoP{Key: base64.RawURLEncoding.EncodeToString(thumbprint[:]), Method: claims.Htm, URL: claims.Htu, ID: claims.Jti, Nonce: claims.Nonce}
		if d != want || d.Method == "" || d.URL == "" || d.ID == "" {
			t.Fatalf("%+v, want %+v", d, want)
		}
	})
}

// signedBy verifies with the standard library alone.
func signedBy(t *testing.T, jwk map[string]string, text string, sig []byte) bool {
	t.Helper()
	point := []byte{4}
	for _, name := range []string{"x", "y"} {
		b, err := base64.RawURLEncoding.DecodeString(jwk[name])
		if err != nil || len(b) != 32 {
			return false
		}
		point = append(point, b...)
	}
	key, err := ecdsa.ParseUncompressedPublicKey(elliptic.P256(), point)
	if err != nil || jwk["kty"] != "EC" || jwk["crv"] != "P-256" || len(sig) != 64 {
		return false
	}
	sum := sha256.Sum256([]byte(text))
	return ecdsa.Verify(key, sum[:], new(big.Int).SetBytes(sig[:32]), new(big.Int).SetBytes(sig[32:]))
}
