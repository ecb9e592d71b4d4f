package tokens

import (
	"fmt"
	"math/rand/v2"
	"strings"
	"testing"
	"time"

	"github.com/go-jose/go-jose/v4"

	"gardien/gateway"
)

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
		g.PIN = gateway.PIN{Secret: gateway.NewSecret(text("0123456789", 6+r.IntN(5)))}
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
		{id.ID, id.Opening.PublicKey, keys, []gateway.DoorID{"front", "cellar"}, []gateway.IssuerID{"colis-x.example"}, "Europe/Paris", at,
			map[gateway.DoorID][]int{"front": {8}, "cellar": {7, 10}}},
		{id.ID, id.Opening.PublicKey, keys, []gateway.DoorID{"front"}, nil, "Europe/Paris", at, nil},
		{id.ID, id.Opening.PublicKey, keys, nil, nil, "", at, nil},
	} {
		text, err := id.SignDescriptor(*want)
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
	if text, err := id.SignDescriptor(Descriptor{Doors: make([]gateway.DoorID, 4096), At: at}); err == nil {
		t.Errorf("a descriptor of %d bytes, which nobody reads", len(text))
	}
}

// A house of many doors has a descriptor all the same: doors that take the default are not named.
func TestDescriptorOfManyDoors(t *testing.T) {
	id, err := LoadIdentity(t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	d := Descriptor{At: time.Unix(1790000000, 0).UTC(), PINs: map[gateway.DoorID][]int{}}
	for n := range 64 {
		door := gateway.DoorID(fmt.Sprintf("door-with-a-long-name-%02d", n))
		d.Doors = append(d.Doors, door)
		d.PINs[door] = []int{8}
	}
	d.PINs[d.Doors[5]] = []int{10}
	text, err := id.SignDescriptor(d)
	if err != nil {
		t.Fatal(err)
	}
	got, err := ParseDescriptor(text)
	if err != nil {
		t.Fatal(err)
	}
	if diff := diff(map[gateway.DoorID][]int{d.Doors[5]: {10}}, got.PINs); diff != "" {
		t.Error(diff)
	}
	for _, tt := range []struct {
		doors []gateway.DoorID
		want  []int
	}{{d.Doors[:5], []int{8}}, {d.Doors[5:6], []int{10}}, {d.Doors[:6], nil}} {
		if diff := diff(tt.want, got.PINLengths(tt.doors)); diff != "" {
			t.Errorf("%d doors: %s", len(tt.doors), diff)
		}
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
