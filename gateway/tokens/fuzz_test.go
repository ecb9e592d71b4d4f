package tokens

import (
	"encoding/json"
	"slices"
	"strings"
	"testing"

	"gardien/gateway"
)

// N5: every parser has a fuzz test.

func seedTexts(f *testing.F, via string) {
	f.Helper()
	for _, v := range readVectors(f) {
		if v.via == via {
			f.Add(v.text)
		}
	}
}

// A3: what parses re-encodes to the same bytes, so a text has one spelling only.
func FuzzParseJWS(f *testing.F) {
	for _, via := range []string{"grant", "proof", "descriptor"} {
		seedTexts(f, via)
	}
	f.Fuzz(func(t *testing.T, text string) {
		j, r := parseJWS(text)
		if r != nil {
			if r.Reason != gateway.UnknownCredential {
				t.Errorf("reason %s", r.Reason)
			}
			return
		}
		if j.compact() != text {
			t.Errorf("%q comes back as %q", text, j.compact())
		}
		if parts := strings.Split(text, "."); len(text) > MaxJWS || b64(string(j.payload)) != parts[1] {
			t.Errorf("%q was taken", text)
		}
		for name := range j.header {
			if strings.EqualFold(name, "alg") && name != "alg" {
				t.Errorf("header %q was taken", name)
			}
		}
	})
}

// A2: nothing is accepted but what an issuer's key signed. The fuzzer knows good
// texts, and no key.
func FuzzGrant(f *testing.F) {
	seedTexts(f, "grant")
	gw := readContext(f)
	signed := map[string]bool{}
	for _, v := range readVectors(f) {
		for _, text := range []string{v.text, v.grant} {
			// An envelope can be made anew by anybody; what is inside, cannot.
			if j, r := gw.innermost(text); r == nil && isGood(gw, text) {
				signed[j.compact()] = true
			}
		}
	}
	f.Fuzz(func(t *testing.T, text string) {
		g, r := gw.Grant(text)
		if r == nil {
			if j, r := gw.innermost(text); r != nil || !signed[j.compact()] && !malleated(j.compact(), signed) {
				t.Fatalf("%q was accepted", text)
			}
			if len(g.Doors) == 0 || g.ID.JTI == "" || !g.NotBefore.Before(g.NotAfter) {
				t.Fatalf("%q is no grant: %+v", text, g)
			}
			return
		}
		if d := diff(gateway.Grant{ID: g.ID}, g); d != "" {
			t.Errorf("a refusal with a grant: %s", d)
		}
		switch r.Reason {
		case gateway.UnknownCredential, gateway.BadSignature, gateway.UnknownIssuer, gateway.WrongGateway:
		default:
			t.Errorf("reason %s", r.Reason)
		}
		if g.ID != (gateway.GrantID{}) && (r.Reason == gateway.BadSignature || r.Reason == gateway.UnknownIssuer) {
			t.Errorf("%s names %s", r.Reason, g.ID)
		}
	})
}

func isGood(gw *Verifier, text string) bool { _, r := gw.Grant(text); return r == nil }

func (v *Verifier) innermost(text string) (*jws, *gateway.Refusal) {
	if isSealed(text) {
		inner, r := v.Opening.open(text, TypGrant)
		if r != nil {
			return nil, r
		}
		text = inner
	}
	return parseJWS(text)
}

// malleated reports whether text is a known one but for an ES256 signature: (r, n − s)
// is as good as (r, s). It says nothing new.
func malleated(text string, signed map[string]bool) bool {
	said := text[:strings.LastIndexByte(text, '.')+1]
	for known := range signed {
		if strings.HasPrefix(known, said) {
			return true
		}
	}
	return false
}

func FuzzOpen(f *testing.F) {
	seedTexts(f, "grant")
	w := newWorld(f)
	w2, err := GenerateOpening()
	if err != nil {
		f.Fatal(err)
	}
	f.Fuzz(func(t *testing.T, text string) {
		for _, key := range []*OpeningKey{w.opening, w2} {
			plain, r := key.open(text, TypGrant)
			if r != nil {
				if r.Reason != gateway.UnknownCredential || plain != "" {
					t.Errorf("reason %s, text %q", r.Reason, plain)
				}
				continue
			}
			parts := strings.Split(text, ".")
			if key == w2 || len(text) > MaxJWE || len(parts) != 5 || parts[1] != "" || len(parts[2]) != 16 || len(parts[4]) != 22 {
				t.Errorf("%q opened", text)
			}
			for _, p := range parts {
				if b, err := decode(p); err != nil || strict.EncodeToString(b) != p {
					t.Errorf("%q opened", text)
				}
			}
		}
	})
}

func FuzzParseKeySet(f *testing.F) {
	w := newWorld(f)
	var c vectorContext
	if err := json.Unmarshal(w.context(f), &c); err != nil {
		f.Fatal(err)
	}
	for _, i := range c.Issuers {
		f.Add([]byte(i.JWKS))
	}
	f.Add(jwks(f, jwkOf(f, w.ec.PublicKey, "sig"), jwkOf(f, w.opening.PublicKey, "enc")))
	f.Add(append(append([]byte(`{"keys":[`), c.Holder...), "]}"...))
	f.Add([]byte(`{"keys":[{"kty":"RSA","n":"AQAB","e":"AQAB"},{"kty":"oct","k":""}]}`))
	f.Fuzz(func(t *testing.T, b []byte) {
		set, err := ParseKeySet(b)
		if err != nil {
			return
		}
		if len(set.verifying) == 0 || len(set.verifying) > MaxKeys {
			t.Fatalf("%d keys", len(set.verifying))
		}
		for _, kid := range set.KeyIDs() {
			k := set.verifying[kid]
			var receiving *PublicKey
			if set.receiving != nil {
				r, err := newPublicKey(set.receiving.Key)
				if err != nil || r.alg != algES256 {
					t.Fatalf("receives with %v, %v", set.receiving, err)
				}
				receiving = &r
			}
			text, err := MarshalKeySet(k, receiving)
			if err != nil {
				t.Fatal(err)
			}
			again, err := ParseKeySet(text)
			if err != nil || len(again.verifying) != 1 || again.verifying[kid].kid != k.kid || (again.receiving == nil) != (receiving == nil) {
				t.Fatalf("%s comes back as %v, %v", text, again, err)
			}
		}
		var said struct{ Keys []map[string]any }
		if err := json.Unmarshal(b, &said); err != nil {
			t.Fatal(err)
		}
		for _, k := range said.Keys {
			if k["d"] != nil || k["k"] != nil || k["kid"] != nil && !slices.Contains(set.KeyIDs(), k["kid"].(string)) && k["use"] != "enc" {
				t.Errorf("taken: %v", k)
			}
		}
	})
}

// A7: no proof is good but the holder's own. The fuzzer has no key, or only its own.
func FuzzProof(f *testing.F) {
	seedTexts(f, "proof")
	gw, vectors := readContext(f), readVectors(f)
	v := vectors["proof_good"]
	g, r := gw.Grant(v.grant)
	if r != nil {
		f.Fatal(r)
	}
	said := map[string]bool{}
	for _, v := range vectors {
		if j, r := parseJWS(v.text); r == nil && v.via == "proof" {
			said[j.signed] = true
		}
	}
	f.Fuzz(func(t *testing.T, text string) {
		p, r := ParseProof(text)
		if r != nil {
			if r.Reason != gateway.BadProof {
				t.Errorf("reason %s", r.Reason)
			}
			return
		}
		iat, r := p.Verify(gw.Gateway, gateway.DoorID(v.door), v.grant, g.Holder)
		if r != nil {
			if r.Reason != gateway.BadProof || !iat.IsZero() {
				t.Errorf("reason %s, iat %v", r.Reason, iat)
			}
			return
		}
		if !said[p.jws.signed] {
			t.Errorf("%q was accepted", text)
		}
	})
}

func FuzzParseDescriptor(f *testing.F) {
	seedTexts(f, "descriptor")
	w := newWorld(f)
	f.Fuzz(func(t *testing.T, text string) {
		d, err := ParseDescriptor(text)
		if err != nil {
			if d != nil {
				t.Errorf("an error with a descriptor: %+v", d)
			}
			return
		}
		if d.Gateway == w.gateway {
			if j, r := parseJWS(text); r != nil || !strings.Contains(string(j.payload), w.signing.kid) {
				t.Errorf("%q speaks for %s", text, d.Gateway)
			}
		}
		if _, err := Seal("x", TypGrant, d.Seal); err != nil {
			t.Errorf("nothing can be sealed to %q: %v", text, err)
		}
	})
}

// Schedules also come from the local API, where nobody signed them.
func FuzzParseSchedule(f *testing.F) {
	f.Add([]byte(`{"windows":[{"days":["mon","thu"],"from":"09:00","to":"12:30"}],"except":["2026-12-25"]}`))
	f.Add([]byte(`{"windows":[{"days":["sun"],"from":"00:00","to":"24:00"}]}`))
	f.Fuzz(func(t *testing.T, b []byte) {
		s, err := ParseSchedule(b)
		if err != nil {
			return
		}
		text, err := json.Marshal(s)
		if err != nil {
			t.Fatal(err)
		}
		again, err := ParseSchedule(text)
		if err != nil {
			t.Fatalf("%s: %v", text, err)
		}
		if len(s.Except) == 0 {
			s.Except, again.Except = nil, nil
		}
		if d := diff(s, again); d != "" {
			t.Errorf("%s: %s", b, d)
		}
	})
}

func FuzzParseHolder(f *testing.F) {
	w := newWorld(f)
	for _, k := range []PublicKey{w.holder.PublicKey, w.ed.PublicKey} {
		b, err := json.Marshal(k.jwk("sig"))
		if err != nil {
			f.Fatal(err)
		}
		f.Add(b)
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		jkt, err := ParseHolder(b)
		if raw, bad := decode(jkt); err == nil && (bad != nil || len(raw) != 32) {
			t.Errorf("%s: thumbprint %q", b, jkt)
		}
	})
}
