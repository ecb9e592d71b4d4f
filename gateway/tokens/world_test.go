package tokens

import (
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"encoding/json"
	"testing"
	"time"

	"github.com/go-jose/go-jose/v4"

	"gardien/gateway"
)

// world is everybody in the vectors.
type world struct {
	gateway                        gateway.GatewayID
	signing                        *SigningKey // the gateway's
	opening                        *OpeningKey
	ed, ec, other, removed, holder *SigningKey
	holderEd, holderOther          *SigningKey
	rawOpening                     *ecdsa.PrivateKey
}

func newWorld(t testing.TB) *world {
	t.Helper()
	check := func(err error) {
		if err != nil {
			t.Fatal(err)
		}
	}
	p256 := func(name string) *ecdsa.PrivateKey {
		key, err := ecdsa.ParseRawPrivateKey(elliptic.P256(), seed(name))
		check(err)
		return key
	}
	ec := func(name string) *SigningKey {
		key := p256(name)
		k, err := newSigningKey(key)
		check(err)
		k.sign = func(message []byte) []byte { return deterministicES256(t, key, message) }
		return k
	}
	ed := func(name string) *SigningKey {
		k, err := newSigningKey(ed25519.NewKeyFromSeed(seed(name)))
		check(err)
		return k
	}
	w := &world{signing: ec("gateway signing"), ed: ed("issuer ed25519"), ec: ec("issuer p-256"), other: ed("other issuer"),
		removed: ed("removed"), holder: ec("holder"), holderEd: ed("holder ed25519"), holderOther: ec("another holder"),
		rawOpening: p256("gateway opening")}
	var err error
	w.opening, err = newOpeningKey(w.rawOpening)
	check(err)
	w.gateway, err = GatewayIDOf(w.signing.PublicKey)
	check(err)
	return w
}

func (w *world) context(t testing.TB) []byte {
	raw := func(b []byte, err error) json.RawMessage {
		if err != nil {
			t.Fatal(err)
		}
		return b
	}
	jwks := func(keys ...*SigningKey) json.RawMessage {
		var set jose.JSONWebKeySet
		for _, k := range keys {
			set.Keys = append(set.Keys, k.jwk("sig"))
		}
		return raw(json.Marshal(set))
	}
	b, err := json.MarshalIndent(vectorContext{
		Warning: "PUBLIC TEST KEYS. Everybody has them. Whoever trusts one of them outside of tests has no lock on the door.",
		Gateway: vectorGateway{w.gateway, raw(w.signing.Marshal()), raw(w.opening.Marshal())},
		Issuers: []vectorIssuer{{"colis-x.example", jwks(w.ed, w.ec)}, {"menage-y.example", jwks(w.other)}},
		Holder:  raw(w.holder.Marshal()),
	}, "", "  ")
	if err != nil {
		t.Fatal(err)
	}
	return append(b, '\n')
}

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
