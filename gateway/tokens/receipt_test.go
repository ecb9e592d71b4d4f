package tokens

import (
	"encoding/json"
	"maps"
	"strings"
	"testing"

	"gardien/gateway"
)

// receiptWorld is a gateway, its descriptor as others have it, and a receipt that it may give.
func receiptWorld(t testing.TB) (*Identity, *Descriptor, gateway.EntryReceipt) {
	t.Helper()
	id := must[*Identity](t)(LoadIdentity(t.TempDir()))
	text := must[string](t)(id.SignDescriptor(Descriptor{Doors: []gateway.DoorID{"front"}, Zone: "Europe/Paris", At: mailAt}))
	return id, must[*Descriptor](t)(ParseDescriptor(text)), gateway.EntryReceipt{Gateway: id.ID, Grant: gateway.GrantID{Issuer: documentIssuer, JTI: "g"}, Door: "front",
		Granted: "2026-11-23T10:41:07.200+01:00", Opened: "2026-11-23T10:41:09.000+01:00", Closed: "2026-11-23T10:41:12.001+01:00", Secured: "2026-11-23T10:41:10.013+01:00",
		Outcome: gateway.Entered, Head: gateway.ReceiptHead{Log: "Zm9vYmFyYmF6cXV4cXV1eA", Seq: 1042, Hash: strings.Repeat("0a", 32)}}
}

// TestReceiptArrivesWhole: what is signed is what is read, and signing it again gives the same text.
func TestReceiptArrivesWhole(t *testing.T) {
	id, d, r := receiptWorld(t)
	for outcome, change := range map[gateway.Outcome]func(*gateway.EntryReceipt){
		gateway.Entered:          func(r *gateway.EntryReceipt) {},
		gateway.NotEntered:       func(r *gateway.EntryReceipt) { r.Opened, r.Closed = "", "" },
		gateway.LeftOpen:         func(r *gateway.EntryReceipt) { r.Closed = "" },
		gateway.EntryInterrupted: func(r *gateway.EntryReceipt) { r.Opened, r.Closed, r.Secured = "", "", "" },
		gateway.Unproved:         func(r *gateway.EntryReceipt) { r.Opened, r.Closed, r.Grant = "", "", gateway.GrantID{} },
	} {
		want := r
		want.Outcome = outcome
		change(&want)
		text := must[string](t)(id.SignReceipt(want))
		got, err := d.ReadReceipt(text)
		if d := diff(want, got); err != nil || d != "" {
			t.Errorf("%s: %v %s", outcome, err, d)
		}
		if again := must[string](t)(id.SignReceipt(want)); again != text {
			t.Errorf("%s: signed twice it is\n%s\n%s", outcome, text, again)
		}
	}
}

// TestReceiptTamperedWith: no bit of a receipt can be another.
func TestReceiptTamperedWith(t *testing.T) {
	id, d, r := receiptWorld(t)
	text := []byte(must[string](t)(id.SignReceipt(r)))
	for i := range text {
		for bit := range 8 {
			text[i] ^= 1 << bit
			if r, err := d.ReadReceipt(string(text)); err == nil || r != (gateway.EntryReceipt{}) {
				t.Errorf("bit %d of byte %d flipped: %+v", bit, i, r)
			}
			text[i] ^= 1 << bit
		}
	}
	if _, err := d.ReadReceipt(string(text)); err != nil {
		t.Error(err)
	}
}

// TestReceiptForged: another's key, another's document and another algorithm are refused, and so are
// claims that are missing, mistyped, or at odds with each other, whoever signs them (A2, A3).
func TestReceiptForged(t *testing.T) {
	id, d, r := receiptWorld(t)
	other, _, _ := receiptWorld(t)
	refused := func(what, text string, err error) {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
		if r, err := d.ReadReceipt(text); err == nil {
			t.Errorf("%s was taken: %+v", what, r)
		}
	}
	sign := func(what string, header map[string]any, claims any) {
		t.Helper()
		h := map[string]any{"alg": id.Signing.alg, "typ": TypReceipt, "kid": id.Signing.kid}
		maps.Copy(h, header)
		text, err := id.Signing.compactWith(h, claims)
		refused(what, text, err)
	}
	text, err := other.SignReceipt(r)
	refused("another gateway's", text, err)
	text, err = other.Signing.compactWith(map[string]any{"alg": id.Signing.alg, "typ": TypReceipt, "kid": id.Signing.kid}, r)
	refused("another key under this one's name", text, err)
	sign("another typ", map[string]any{"typ": TypHead}, r)
	sign("no typ", map[string]any{"typ": nil}, r)
	sign("EdDSA", map[string]any{"alg": "EdDSA"}, r)
	sign("none", map[string]any{"alg": "none"}, r)
	sign("HS256", map[string]any{"alg": "HS256"}, r)
	sign("crit", map[string]any{"crit": []string{"exp"}}, r)
	head := must[string](t)(id.SignHead(gateway.RecordHead{Log: r.Head.Log, Epoch: 1, Seq: 1, Hash: r.Head.Hash}))
	refused("a head of the record", head, nil)

	claims := func() (m map[string]any) {
		json.Unmarshal(must[[]byte](t)(json.Marshal(r)), &m)
		return m
	}
	for _, name := range []string{"iss", "door", "granted", "outcome", "head", "opened", "closed", "secured"} { // an entry has all of them
		m := claims()
		delete(m, name)
		sign("without "+name, nil, m)
		m[name] = 7
		sign("a number as "+name, nil, m)
		m[name] = nil
		sign("null as "+name, nil, m)
	}
	for name, value := range map[string]any{
		"iss": "gw-aaaaaaaaaa", "grant": "g", "door": "Front", "outcome": "vanished",
		"granted": "2026-11-23T10:41:07+01:00", "opened": "2026-11-23T10:41:07.2000+01:00", "closed": "yesterday", "secured": "",
		"head": map[string]any{"log": "l", "seq": 0, "hash": r.Head.Hash},
	} {
		m := claims()
		m[name] = value
		sign(name+" of another form", nil, m)
	}
	for _, name := range []string{"log", "seq", "hash"} {
		m := claims()
		delete(m["head"].(map[string]any), name)
		sign("a head without "+name, nil, m)
	}
	m := claims()
	m["outcome"] = gateway.NotEntered
	sign("nobody came through an open door", nil, m)
	m = claims()
	m["Outcome"] = gateway.Unproved
	sign("a second outcome", nil, m)

	m = claims()
	m["weather"] = "rain" // a later gateway may say more
	text = must[string](t)(id.Signing.compact(TypReceipt, m))
	if got, err := d.ReadReceipt(text); err != nil || got != r {
		t.Errorf("%+v, %v", got, err)
	}
}

// FuzzReadReceipt: nothing is a receipt but what the gateway has signed (N5).
func FuzzReadReceipt(f *testing.F) {
	id, d, r := receiptWorld(f)
	text := must[string](f)(id.SignReceipt(r))
	f.Add(text)
	f.Add(must[string](f)(id.Signing.compact(TypReceipt, map[string]any{"iss": id.ID})))
	f.Add(must[string](f)(id.Signing.compact(TypReceipt, map[string]any{"iss": id.ID, "head": map[string]any{"log": map[string]any{}}})))
	signed := map[string]bool{text: true}
	f.Fuzz(func(t *testing.T, s string) {
		if got, err := d.ReadReceipt(s); err == nil && !malleated(s, signed) || err != nil && got != (gateway.EntryReceipt{}) {
			t.Errorf("%q: %+v, %v", s, got, err)
		}
	})
}

// TestPossession: a proof says by itself whose key has signed it, for which door and when; nothing of
// it may be missing, the hash of the grant's text included (A7).
func TestPossession(t *testing.T) {
	id, v, _ := mailWorld(t)
	phone := must[*SigningKey](t)(GenerateES256())
	proof := must[string](t)(SignProof(phone, "nonce", id.ID, "front", "grant", mailAt))
	want := gateway.Possession{Holder: phone.KeyID(), Door: "front", IssuedAt: mailAt}
	if got, r := v.Possession(proof); r != nil || got != want {
		t.Errorf("%+v, %v", got, r)
	}
	public := must[[]byte](t)(phone.JWK())
	sign := func(header, change map[string]any) string {
		h := map[string]any{"alg": "ES256", "typ": TypProof, "jwk": json.RawMessage(public)}
		c := map[string]any{"nonce": "n", "aud": id.ID, "door": "front", "ath": phone.KeyID(), "iat": mailAt.Unix()}
		maps.Copy(h, header)
		maps.Copy(c, change)
		maps.DeleteFunc(c, func(_ string, v any) bool { return v == nil })
		return must[string](t)(phone.compactWith(h, c))
	}
	if _, r := v.Possession(sign(nil, nil)); r != nil {
		t.Error(r)
	}
	other := must[*SigningKey](t)(GenerateES256())
	for what, text := range map[string]string{
		"another gateway":   sign(nil, map[string]any{"aud": "gw-aaaaaaaaaa"}),
		"no door":           sign(nil, map[string]any{"door": nil}),
		"no hash":           sign(nil, map[string]any{"ath": nil}),
		"a hash of none":    sign(nil, map[string]any{"ath": "x"}),
		"no instant":        sign(nil, map[string]any{"iat": nil}),
		"another typ":       sign(map[string]any{"typ": TypReceipt}, nil),
		"another's key":     sign(map[string]any{"jwk": json.RawMessage(must[[]byte](t)(other.JWK()))}, nil),
		"a key by name":     sign(map[string]any{"kid": phone.KeyID()}, nil),
		"cut":               proof[:len(proof)-1],
		"of no three parts": "x",
	} {
		if got, r := v.Possession(text); r == nil || r.Reason != gateway.BadProof || got != (gateway.Possession{}) {
			t.Errorf("%s: %+v, %v", what, got, r)
		}
	}
}
