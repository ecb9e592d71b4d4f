package tokens

import (
	"bytes"
	"compress/flate"
	"crypto"
	"crypto/aes"
	"crypto/cipher"
	"crypto/ecdh"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/hmac"
	"crypto/sha256"
	"crypto/x509"
	"encoding/asn1"
	"encoding/binary"
	"encoding/json"
	"fmt"
	"math/big"
	"strings"
	"testing"

	"github.com/go-jose/go-jose/v4"

	"gardien/gateway"
)

// The generator writes vectors by means of its own: signatures and envelopes come
// from the standard library here, not from the code under test. Keys are hashes of
// their names and ES256 is that of RFC 6979, so that it writes the same bytes twice.

// world is everybody in the vectors.
type world struct {
	gateway                        gateway.GatewayID
	signing                        *SigningKey // the gateway's
	opening                        *OpeningKey
	ed, ec, other, removed, holder *SigningKey
	holderEd, holderOther          *SigningKey
	rawOpening                     *ecdsa.PrivateKey
}

func seed(name string) []byte {
	sum := sha256.Sum256([]byte("gardien PUBLIC TEST KEY, never trust it: " + name))
	return sum[:]
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

func deterministicES256(t testing.TB, key *ecdsa.PrivateKey, message []byte) []byte {
	sum := sha256.Sum256(message)
	der, err := key.Sign(nil, sum[:], crypto.SHA256)
	if err != nil {
		t.Fatal(err)
	}
	var rs struct{ R, S *big.Int }
	if _, err := asn1.Unmarshal(der, &rs); err != nil {
		t.Fatal(err)
	}
	sig := make([]byte, 64)
	rs.R.FillBytes(sig[:32])
	rs.S.FillBytes(sig[32:])
	return sig
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

// fields is a JSON object as text, so that it can also be a wrong one.
type fields []field

type field struct{ name, raw string }

// with edits: "name=raw" sets or appends, "-name" removes, "+name=raw" appends even a
// name that is there.
func (f fields) with(edits ...string) fields {
	out := append(fields{}, f...)
	for _, edit := range edits {
		name, raw, _ := strings.Cut(strings.TrimLeft(edit, "+-"), "=")
		at := -1
		for i := range out {
			if out[i].name == name {
				at = i
			}
		}
		switch {
		case edit[0] == '-':
			out = append(out[:at:at], out[at+1:]...)
		case edit[0] == '+' || at < 0:
			out = append(out, field{name, raw})
		default:
			out[at].raw = raw
		}
	}
	return out
}

func (f fields) String() string {
	var parts []string
	for _, m := range f {
		parts = append(parts, `"`+m.name+`":`+m.raw)
	}
	return "{" + strings.Join(parts, ",") + "}"
}

func quote(s string) string { return `"` + s + `"` }

func b64(s string) string { return strict.EncodeToString([]byte(s)) }

// sign makes a JWS of any header and payload.
func sign(key *SigningKey, header, payload string) string {
	signed := b64(header) + "." + b64(payload)
	return signed + "." + strict.EncodeToString(key.sign([]byte(signed)))
}

// padded gives the JWS whose text has exactly n bytes, by an unknown claim and header member.
func padded(t testing.TB, key *SigningKey, header, payload fields, n int) string {
	for h := range 4 {
		for p := n/2 - 200; p < n; p++ {
			head := header.with("pad=" + quote(strings.Repeat("x", h))).String()
			body := payload.with("pad=" + quote(strings.Repeat("x", p))).String()
			if strict.EncodedLen(len(head))+strict.EncodedLen(len(body))+strict.EncodedLen(64)+2 == n {
				return sign(key, head, body)
			}
		}
	}
	t.Fatalf("no JWS of %d bytes", n)
	return ""
}

// envelope is a JWE in the making (RFC 7516, 7518 §4.6).
type envelope struct {
	header   fields // without epk
	alg, enc string // what is really done
	to       *ecdsa.PublicKey
	plain    string
	apu, apv string
}

func (w *world) envelope(plain string) envelope {
	return envelope{
		header: fields{{"alg", `"ECDH-ES"`}, {"enc", `"A256GCM"`}, {"cty", `"gardien-grant+jwt"`}, {"kid", quote(w.opening.kid)}},
		alg:    "ECDH-ES", enc: "A256GCM", to: &w.rawOpening.PublicKey, plain: plain,
	}
}

func (e envelope) with(edits ...string) envelope {
	e.header = e.header.with(edits...)
	return e
}

func (e envelope) parts(t testing.TB) []string {
	check := func(err error) {
		if err != nil {
			t.Fatal(err)
		}
	}
	ephemeral, err := ecdh.P256().NewPrivateKey(seed("ephemeral " + e.header.String() + e.plain))
	check(err)
	to, err := e.to.ECDH()
	check(err)
	z, err := ephemeral.ECDH(to)
	check(err)
	point := ephemeral.PublicKey().Bytes()
	epk := fmt.Sprintf(`{"kty":"EC","crv":"P-256","x":%q,"y":%q}`, strict.EncodeToString(point[1:33]), strict.EncodeToString(point[33:]))
	header := e.header
	if !strings.Contains(header.String(), `"epk"`) {
		header = header.with("epk=" + epk)
	}

	size := map[string]int{"A256GCM": 32, "A128GCM": 16}[e.enc]
	cek, wrapped := kdf(z, e.enc, e.apu, e.apv, size), ""
	if e.alg != "ECDH-ES" { // ECDH-ES+A256KW
		kek := kdf(z, e.alg, e.apu, e.apv, 32)
		cek = seed("content")[:size]
		wrapped = string(wrap(t, kek, cek))
	}
	block, err := aes.NewCipher(cek)
	check(err)
	gcm, err := cipher.NewGCM(block)
	check(err)
	head := b64(header.String())
	iv := seed("iv")[:12]
	sealed := gcm.Seal(nil, iv, []byte(e.plain), []byte(head))
	body, tag := sealed[:len(sealed)-16], sealed[len(sealed)-16:]
	return []string{head, b64(wrapped), strict.EncodeToString(iv), strict.EncodeToString(body), strict.EncodeToString(tag)}
}

func (e envelope) text(t testing.TB) string { return strings.Join(e.parts(t), ".") }

// kdf is the Concat KDF of RFC 7518 §4.6.2, one round.
func kdf(z []byte, alg, apu, apv string, size int) []byte {
	h := sha256.New()
	h.Write([]byte{0, 0, 0, 1})
	h.Write(z)
	for _, s := range []string{alg, apu, apv} {
		h.Write(binary.BigEndian.AppendUint32(nil, uint32(len(s))))
		h.Write([]byte(s))
	}
	h.Write(binary.BigEndian.AppendUint32(nil, uint32(size*8)))
	return h.Sum(nil)[:size]
}

// wrap is AES key wrap (RFC 3394).
func wrap(t testing.TB, kek, key []byte) []byte {
	block, err := aes.NewCipher(kek)
	if err != nil {
		t.Fatal(err)
	}
	n := len(key) / 8
	a, r := bytes.Repeat([]byte{0xa6}, 8), bytes.Clone(key)
	for j := range 6 {
		for i := range n {
			b := append(bytes.Clone(a), r[i*8:i*8+8]...)
			block.Encrypt(b, b)
			binary.BigEndian.PutUint64(a, binary.BigEndian.Uint64(b[:8])^uint64(n*j+i+1))
			copy(r[i*8:], b[8:])
		}
	}
	return append(a, r...)
}

// generate makes every vector and context.json.
func generate(t testing.TB) (map[string]vector, []byte) {
	g := &generator{TB: t, world: newWorld(t), vectors: map[string]vector{}}
	g.header = fields{{"alg", `"EdDSA"`}, {"typ", `"gardien-grant+jwt"`}, {"kid", quote(g.ed.kid)}}
	g.claims = fields{{"iss", `"colis-x.example"`}, {"aud", quote(string(g.gateway))}, {"jti", `"parcel-1"`},
		{"iat", "1790000000"}, {"nbf", "1790000000"}, {"exp", "1790086400"}, {"ver", "1"}, {"doors", `["front"]`}}
	g.grants()
	g.wrongClaims()
	g.wrongHeaders()
	g.wrongTexts()
	g.wrongSeals()
	g.proofs()
	g.descriptors()
	return g.vectors, g.context(t)
}

type generator struct {
	testing.TB
	*world
	header, claims fields
	vectors        map[string]vector
}

func (g *generator) put(name string, v vector) {
	if _, twice := g.vectors[name]; twice {
		g.Fatalf("vector %s stands twice", name)
	}
	if v.via == "" {
		v.via = "grant"
	}
	g.vectors[name] = v
}

// claim puts a grant of the first issuer, its claims edited.
func (g *generator) claim(expect, name, why string, edits ...string) {
	g.put(name, vector{expect: expect, why: why, text: g.signed(edits...)})
}

func (g *generator) signed(edits ...string) string {
	return sign(g.ed, g.header.String(), g.claims.with(edits...).String())
}

// head puts a grant with its header edited.
func (g *generator) head(expect, name, why string, edits ...string) {
	g.put(name, vector{expect: expect, why: why, text: sign(g.ed, g.header.with(edits...).String(), g.claims.String())})
}

func (g *generator) text(expect, name, why, text string) {
	g.put(name, vector{expect: expect, why: why, text: text})
}

func (g *generator) at(expect, name, why string, now int64, edits ...string) {
	g.put(name, vector{expect: expect, why: why, now: now, text: g.signed(edits...)})
}

func (g *generator) cnf() string { return `cnf={"jkt":` + quote(g.holder.kid) + `}` }

const (
	good              = "good"
	unknownCredential = string(gateway.UnknownCredential)
	badSignature      = string(gateway.BadSignature)
	unknownIssuer     = string(gateway.UnknownIssuer)
	wrongGateway      = string(gateway.WrongGateway)
	badProof          = string(gateway.BadProof)
	refused           = "refused"
)

func (g *generator) ecHeader() fields {
	return g.header.with(`alg="ES256"`, "kid="+quote(g.ec.kid))
}

func windows(n int) string {
	return strings.TrimSuffix(strings.Repeat(`{"days":["mon"],"from":"09:00","to":"10:00"},`, n), ",")
}

func window(from, to string) string {
	return `schedule={"windows":[{"days":["mon"],"from":"` + from + `","to":"` + to + `"}]}`
}

func (g *generator) grants() {
	c, h := g.claims.String(), g.header.String()
	g.claim(good, "good_eddsa", "the required claims alone, signed by an Ed25519 key, alg EdDSA")
	g.head(good, "good_ed25519_header", "RFC 9864's name of the same algorithm", `alg="Ed25519"`)
	g.text(good, "good_es256", "the issuer's other key, on P-256", sign(g.ec, g.ecHeader().String(), c))
	g.claim(good, "good_aud_list_of_one", "aud may be a list of one", "aud=["+quote(string(g.gateway))+"]")
	g.head(good, "good_unknown_header", "other header members are ignored", `x5t="AAAA"`, `cty="x"`, `hint={"a":[null]}`)
	g.claim(good, "good_unknown_claims", "unknown members are ignored and widen nothing", `role="admin"`, `admin=true`, `policy={"doors":["*"]}`, "nothing=null")
	g.text(good, "good_white_space", "JSON may have white space", sign(g.ed, " "+strings.ReplaceAll(h, ":", " :\t"), strings.ReplaceAll(c, ",", "\r\n , ")+"\n"))
	g.claim(good, "good_depth_5", "depth 5, the claims object counting as 1", `deep=[[[[]]]]`)
	g.text(good, "good_4096_bytes", "4,096 bytes exactly", padded(g, g.ed, g.header, g.claims, 4096))
	g.claim(good, "good_status_active", "the default, spelt out", `status="active"`)
	g.claim(good, "good_escapes", "a JSON string may be spelt with escapes", `jti="\u0070arcel\u002d1"`)
	g.claim(good, "good_status_revoked", "a revocation is a good document: the same grant, a higher ver", `status="revoked"`, "ver=2")
	g.claim(good, "good_eight_doors", "eight doors, one of them of 32 characters", `doors=["a","b","c","d","e","f","g-8","0123456789-abcdefghijklmnopqrstu"]`)
	g.claim(good, "good_jti_of_64", "jti of 64 characters, from the whole alphabet", `jti="A._-z0`+strings.Repeat("9", 58)+`"`)
	g.claim(good, "good_largest_ver", "ver is 2^53 - 1, the largest integer that every JSON reader keeps", "ver=9007199254740991")
	g.claim(good, "good_largest_uses", "uses is 2^31 - 1", "uses=2147483647")
	g.claim(good, "good_sub_of_64", "sub of 64 code points, which are more bytes and more UTF-16 units", `sub="`+strings.Repeat("é", 63)+`🚪"`)
	g.claim(good, "good_earliest_times", "2020-01-01T00:00:00Z is the earliest instant", "iat=1577836800", "nbf=1577836800", "exp=1577836801")
	g.claim(good, "good_latest_times", "2100-12-31T23:59:59Z is the latest instant", "nbf=4133980798", "exp=4133980799")
	g.claim(good, "good_schedule", "a schedule of one window", window("09:00", "12:30"))
	g.claim(good, "good_schedule_past_night", "to before from runs past midnight", window("22:00", "06:00"))
	g.claim(good, "good_schedule_24_hours", "to equal to from is 24 hours", window("09:00", "09:00"))
	g.claim(good, "good_schedule_to_2400", "to may be 24:00", window("00:00", "24:00"))
	g.claim(good, "good_schedule_last_min", "the last minute of a day", window("23:59", "00:00"))
	g.claim(good, "good_schedule_16_windows", "sixteen windows", `schedule={"windows":[`+windows(16)+`]}`)
	g.claim(good, "good_schedule_except", "days that are excepted, one of them a 29 February", `schedule={"windows":[`+windows(1)+`],"except":["2026-12-25","2028-02-29"]}`)
	g.claim(good, "good_cnf", "bound to a holder", g.cnf())
	g.claim(good, "good_every_claim", "every claim but pin", `doors=["front","cellar"]`, "ver=7", "uses=3", `sub="ref 4711"`, `status="active"`, g.cnf(),
		`schedule={"windows":[{"days":["mon","tue","wed","thu","fri","sat","sun"],"from":"08:05","to":"20:00"}],"except":["2026-12-25"]}`)
	g.claim(good, "good_other_issuer", "never used: replaced below")
	g.vectors["good_other_issuer"] = vector{expect: good, via: "grant", why: "the second issuer's key signs for the second issuer",
		text: sign(g.other, g.header.with("kid="+quote(g.other.kid)).String(), g.claims.with(`iss="menage-y.example"`).String())}
	g.text(good, "good_home", "issuer home: the gateway's own signing key", sign(g.signing, g.header.with(`alg="ES256"`, "kid="+quote(g.signing.kid)).String(), g.claims.with(`iss="home"`).String()))

	g.at(good, "good_now_is_nbf", "at nbf it is valid", 1790000000)
	g.at(good, "good_now_before_exp", "the last second", 1790086399)
	g.at(good, "good_iat_60_ahead", "iat may be 60 s ahead of now", 1790000000, "iat=1790000060")
	g.at("expired", "time_exp", "half-open: at exp it is over", 1790086400)
	g.at("expired", "time_long_over", "over for years", 1990086400)
	g.at("not_yet_valid", "time_before_nbf", "nbf has no leeway", 1789999999)
	g.at("not_yet_valid", "time_iat_61_ahead", "iat more than 60 s ahead of now", 1790000000, "iat=1790000061")
}

func (g *generator) wrongClaims() {
	bad := func(name, why string, edits ...string) { g.claim(unknownCredential, "claim_"+name, why, edits...) }
	for _, name := range []string{"iss", "aud", "jti", "iat", "nbf", "exp", "ver", "doors"} {
		bad(name+"_missing", name+" is required", "-"+name)
	}
	for _, name := range []string{"iss", "aud", "jti", "iat", "nbf", "exp", "ver", "doors", "status", "uses", "schedule", "sub", "cnf"} {
		bad(name+"_null", name+" is null, which is not absent", name+"=null")
	}
	bad("iss_number", "iss is not a string", "iss=1")
	bad("iss_list", "iss is not a string", `iss=["colis-x.example"]`)
	g.claim(unknownIssuer, "claim_iss_unknown", "iss is not configured at the gateway", `iss="nobody.example"`)
	g.claim(unknownIssuer, "claim_iss_case", "iss compares byte for byte", `iss="Colis-X.example"`)
	g.claim(unknownIssuer, "claim_iss_empty", "an empty iss is not configured", `iss=""`)
	g.claim(wrongGateway, "claim_aud_other", "addressed to another gateway", `aud="gw-aaaaaaaaaa"`)
	g.claim(wrongGateway, "claim_aud_case", "aud compares byte for byte", "aud="+quote(strings.ToUpper(string(g.gateway))))
	g.claim(wrongGateway, "claim_aud_list_other", "a list of one other gateway", `aud=["gw-aaaaaaaaaa"]`)
	bad("aud_list_of_two", "aud is a list of two, though this gateway is in it", "aud=["+quote(string(g.gateway))+`,"gw-aaaaaaaaaa"]`)
	bad("aud_list_empty", "aud is an empty list", "aud=[]")
	bad("aud_list_number", "aud is a list of a number", "aud=[1]")
	bad("aud_object", "aud is an object", "aud={}")
	bad("before_aud", "two faults: a claim out of range comes before aud", `aud="gw-aaaaaaaaaa"`, "ver=0")
	bad("jti_empty", "jti is empty", `jti=""`)
	bad("jti_of_65", "jti of 65 characters", `jti="`+strings.Repeat("a", 65)+`"`)
	bad("jti_space", "jti outside its alphabet", `jti="parcel 1"`)
	bad("jti_slash", "jti outside its alphabet", `jti="parcel/1"`)
	bad("jti_kelvin", "the Kelvin sign is no letter of jti, though it folds to k", `jti="par`+"\u212a"+`"`)
	bad("jti_dotted_i", "nor is the I with a dot, though its lower case is i", `jti="par`+"\u0130"+`"`)
	bad("jti_number", "jti is a number", "jti=1")
	for _, name := range []string{"iat", "nbf", "exp"} {
		value := map[string]string{"iat": "1790000000", "nbf": "1790000000", "exp": "1790086400"}[name]
		bad(name+"_string", name+" is a string", name+"="+quote(value))
		bad(name+"_float", name+" is written with a fraction", name+"="+value+".0")
		bad(name+"_exponent", name+" is written with an exponent", name+"=179e7")
		bad(name+"_negative", name+" is negative", name+"=-1")
		bad(name+"_before_2020", name+" is before 2020", name+"=1577836799")
		bad(name+"_after_2100", name+" is after 2100", name+"=4133980800")
		bad(name+"_milliseconds", name+" is in milliseconds", name+"="+value+"000")
	}
	bad("exp_is_nbf", "exp equals nbf: an empty period", "exp=1790000000")
	bad("exp_before_nbf", "exp is before nbf", "exp=1789999999")
	bad("exp_leading_zero", "a leading zero is not JSON", "exp=01790086400")
	bad("exp_plus", "a plus sign is not JSON", "exp=+1790086400")
	bad("ver_zero", "ver is 0", "ver=0")
	bad("ver_negative", "ver is negative", "ver=-1")
	bad("ver_string", "ver is a string", `ver="1"`)
	bad("ver_float", "ver is written with a fraction", "ver=1.0")
	bad("ver_exponent", "ver is written with an exponent", "ver=1e0")
	bad("ver_true", "ver is a boolean", "ver=true")
	bad("ver_2_53", "ver is 2^53: readers that use floats would not tell it from the next", "ver=9007199254740992")
	bad("ver_2_64", "ver is 2^64 + 1: it must not wrap to 1", "ver=18446744073709551617")
	bad("doors_empty", "no door", "doors=[]")
	bad("doors_nine", "nine doors", `doors=["a","b","c","d","e","f","g","h","i"]`)
	bad("doors_string", "doors is a string", `doors="front"`)
	bad("doors_number", "a door is a number", "doors=[1]")
	bad("doors_null_within", "a door is null", `doors=["front",null]`)
	bad("doors_upper_case", "a door id in upper case", `doors=["Front"]`)
	bad("doors_of_33", "a door id of 33 characters", `doors=["`+strings.Repeat("a", 33)+`"]`)
	bad("doors_empty_id", "an empty door id", `doors=[""]`)
	bad("doors_star", "there is no door *", `doors=["*"]`)
	bad("status_other", "status is neither active nor revoked", `status="paused"`)
	bad("status_case", "status compares byte for byte", `status="Active"`)
	bad("status_empty", "status is empty", `status=""`)
	bad("status_true", "status is a boolean", "status=true")
	bad("uses_zero", "uses is 0", "uses=0")
	bad("uses_negative", "uses is negative", "uses=-1")
	bad("uses_string", "uses is a string", `uses="1"`)
	bad("uses_float", "uses is written with a fraction", "uses=1.0")
	bad("uses_exponent", "uses is written with an exponent", "uses=1e1")
	bad("sub_of_65", "sub of 65 code points", `sub="`+strings.Repeat("é", 65)+`"`)
	bad("sub_control", "sub with a control character", `sub="a\u0000b"`)
	bad("sub_newline", "sub with a line end", `sub="a\nb"`)
	bad("sub_c1", "sub with a control character of the C1 set", `sub="a\u0085b"`)
	bad("sub_number", "sub is a number", "sub=4711")
	bad("sub_lone_surrogate", "sub with half of a surrogate pair", `sub="\ud800"`)
	bad("cnf_empty", "cnf without jkt: only that method is known", "cnf={}")
	bad("cnf_jwk", "cnf with another method", `cnf={"jwk":{"kty":"EC"}}`)
	bad("cnf_string", "cnf is a string", "cnf="+quote(g.holder.kid))
	bad("cnf_jkt_null", "jkt is null", `cnf={"jkt":null}`)
	bad("cnf_jkt_empty", "jkt is empty", `cnf={"jkt":""}`)
	bad("cnf_jkt_short", "jkt of 31 bytes", `cnf={"jkt":`+quote(b64(strings.Repeat("x", 31)))+`}`)
	bad("cnf_jkt_long", "jkt of 33 bytes", `cnf={"jkt":`+quote(b64(strings.Repeat("x", 33)))+`}`)
	bad("cnf_jkt_padded", "jkt with padding", `cnf={"jkt":`+quote(g.holder.kid+"=")+`}`)
	bad("cnf_jkt_second_spelling", "jkt with a second spelling of its last character", `cnf={"jkt":`+quote(secondSpelling(g.holder.kid))+`}`)
	bad("cnf_jkt_newline", "jkt with a line end", `cnf={"jkt":"`+g.holder.kid+`\n"}`)
	bad("cnf_case", "cnf has a case variant of jkt beside it", `cnf={"jkt":`+quote(g.holder.kid)+`,"JKT":"x"}`)
	bad("pin_not_sealed", "pin outside of a sealed grant", `pin="471108"`)

	bad("schedule_empty", "a schedule without windows", "schedule={}")
	bad("schedule_no_windows", "an empty list of windows", `schedule={"windows":[]}`)
	bad("schedule_windows_null", "windows is null", `schedule={"windows":null}`)
	bad("schedule_windows_object", "windows is an object", `schedule={"windows":`+windows(1)+`}`)
	bad("schedule_17_windows", "seventeen windows", `schedule={"windows":[`+windows(17)+`]}`)
	bad("schedule_list", "a schedule is an object", `schedule=[`+windows(1)+`]`)
	bad("schedule_window_null", "a window is null", `schedule={"windows":[null]}`)
	days := func(name, why, days string) {
		bad("schedule_"+name, why, `schedule={"windows":[{"days":`+days+`,"from":"09:00","to":"10:00"}]}`)
	}
	days("day_unknown", "no such day", `["mon","lundi"]`)
	days("day_upper_case", "days are in lower case", `["Mon"]`)
	days("day_number", "a day is a number", "[1]")
	days("days_empty", "a window on no day", "[]")
	days("days_null", "days is null", "null")
	days("days_string", "days is a string", `"mon"`)
	bad("schedule_days_missing", "days is missing", `schedule={"windows":[{"from":"09:00","to":"10:00"}]}`)
	bad("schedule_from_missing", "from is missing", `schedule={"windows":[{"days":["mon"],"to":"10:00"}]}`)
	bad("schedule_to_missing", "to is missing", `schedule={"windows":[{"days":["mon"],"from":"09:00"}]}`)
	bad("schedule_from_2400", "from is at most 23:59", window("24:00", "06:00"))
	bad("schedule_to_2401", "to is at most 24:00", window("09:00", "24:01"))
	bad("schedule_hour_25", "no such hour", window("25:00", "06:00"))
	bad("schedule_minute_60", "no such minute", window("09:60", "10:00"))
	bad("schedule_one_digit", "times have five characters", window("8:00", "10:00"))
	bad("schedule_seconds", "times have no seconds", window("08:00:00", "10:00"))
	bad("schedule_sign", "times have no sign", window("+8:00", "10:00"))
	bad("schedule_from_number", "from is a number", `schedule={"windows":[{"days":["mon"],"from":540,"to":"10:00"}]}`)
	except := func(name, why, except string) {
		bad("schedule_except_"+name, why, `schedule={"windows":[`+windows(1)+`],"except":`+except+`}`)
	}
	except("30_february", "the calendar has no such day", `["2026-02-30"]`)
	except("29_february", "2026 is no leap year", `["2026-02-29"]`)
	except("instant", "an instant is no day", `["2026-12-25T00:00:00Z"]`)
	except("short", "a day has ten characters", `["2026-2-3"]`)
	except("number", "a day is a string", "[20261225]")
	except("null", "except is null", "null")
	except("string", "except is a list", `"2026-12-25"`)

	bad("twice", "a claim stands twice, with different values", `+ver=2`)
	bad("twice_alike", "a claim stands twice, with the same value", `+ver=1`)
	bad("twice_by_escape", "a claim stands twice, once spelt with an escape", `+\u0076er=1`)
	bad("twice_unknown", "an unknown member stands twice", `+x=1`, `+x=1`)
	bad("twice_within", "a member within an unknown one stands twice", `x={"a":[{"b":1,"b":2}]}`)
	bad("twice_in_schedule", "a member of a window stands twice", `schedule={"windows":[{"days":["mon"],"from":"09:00","to":"10:00","to":"23:00"}]}`)
	bad("case", "a case variant beside a claim", `Exp=1890086400`)
	bad("case_alone", "a case variant instead of an optional claim", `Uses=1`)
	bad("case_unknown", "two unknown members that differ in case alone", `foo=1`, `Foo=1`)
	bad("case_long_s", "the long s folds to s", "i\u017fs="+`"menage-y.example"`)
	bad("case_long_s_escaped", "the long s by an escape", `\u017ftatus="active"`)
	bad("case_schedule", "a case variant in the schedule", `schedule={"windows":[`+windows(1)+`],"Except":[]}`)
	bad("case_window", "a case variant in a window", `schedule={"windows":[{"days":["mon"],"from":"09:00","to":"10:00","To":"23:00"}]}`)
	bad("depth_6", "depth 6, the claims object counting as 1", `deep=[[[[[]]]]]`)
}

// secondSpelling sets unused bits of the last character of 32, 64 … bytes in base64url.
func secondSpelling(s string) string {
	const alphabet = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_"
	last := strings.IndexByte(alphabet, s[len(s)-1])
	return s[:len(s)-1] + alphabet[last+1:last+2]
}

func (g *generator) wrongHeaders() {
	bad := func(name, why string, edits ...string) { g.head(badSignature, "header_"+name, why, edits...) }
	h, c := g.header, g.claims.String()
	none := b64(h.with(`alg="none"`).String()) + "." + b64(c) + "."
	g.text(badSignature, "header_alg_none", "alg none without a signature", none)
	bad("alg_none_signed", "alg none, though the signature is the key's", `alg="none"`)
	mac := func(name, why string, k *SigningKey, secret []byte) {
		signed := b64(h.with(`alg="HS256"`, "kid="+quote(k.kid)).String()) + "." + b64(c)
		m := hmac.New(sha256.New, secret)
		m.Write([]byte(signed))
		g.text(badSignature, "header_"+name, why, signed+"."+strict.EncodeToString(m.Sum(nil)))
	}
	mac("alg_hs256_raw", "HMAC keyed with the 32 bytes of the public key", g.ed, g.ed.key.(ed25519.PublicKey))
	der, err := x509.MarshalPKIXPublicKey(g.ec.key)
	if err != nil {
		g.Fatal(err)
	}
	mac("alg_hs256_der", "HMAC keyed with the public key in DER", g.ec, der)
	jwk, err := json.Marshal(g.ec.jwk("sig"))
	if err != nil {
		g.Fatal(err)
	}
	mac("alg_hs256_jwk", "HMAC keyed with the public JWK", g.ec, jwk)
	bad("alg_other_key", "alg ES256 with the kid of an Ed25519 key", `alg="ES256"`)
	g.text(badSignature, "header_alg_other_key_ec", "alg EdDSA with the kid of a P-256 key, which signed", sign(g.ec, h.with("kid="+quote(g.ec.kid)).String(), c))
	g.text(badSignature, "header_alg_es384", "alg ES384 with a P-256 key", sign(g.ec, g.ecHeader().with(`alg="ES384"`).String(), c))
	bad("alg_case", "alg compares byte for byte", `alg="eddsa"`)
	bad("alg_case_upper", "alg compares byte for byte", `alg="ED25519"`)
	bad("alg_missing", "alg is missing", "-alg")
	bad("alg_number", "alg is a number", "alg=1")
	bad("alg_null", "alg is null", "alg=null")
	bad("typ_missing", "typ is missing", "-typ")
	bad("typ_jwt", "typ is another", `typ="JWT"`)
	bad("typ_proof", "typ of another of our documents", `typ="gardien-proof+jwt"`)
	bad("typ_case", "typ compares byte for byte", `typ="Gardien-Grant+JWT"`)
	bad("typ_application", "typ compares byte for byte, without the prefix that RFC 7515 lets drop", `typ="application/gardien-grant+jwt"`)
	bad("kid_missing", "kid is missing", "-kid")
	bad("kid_null", "kid is null", "kid=null")
	bad("kid_unknown", "kid of no key", "kid="+quote(g.removed.kid))
	bad("kid_other_key", "kid of the issuer's other key", "kid="+quote(g.ec.kid), `alg="ES256"`)
	bad("kid_list", "kid is a list", "kid=["+quote(g.ed.kid)+"]")
	g.text(badSignature, "header_kid_other_issuer", "the second issuer signs in the name of the first", sign(g.other, h.with("kid="+quote(g.other.kid)).String(), c))
	g.text(badSignature, "header_kid_removed", "a key that is not in the set signs", sign(g.removed, h.with("kid="+quote(g.removed.kid)).String(), c))
	g.text(badSignature, "header_kid_borrowed", "another key signs under the issuer's kid", sign(g.other, h.String(), c))
	g.text(badSignature, "header_home_by_issuer", "an issuer signs in the name of home", sign(g.ed, h.String(), g.claims.with(`iss="home"`).String()))
	bad("crit", "crit, though it names a member that is there", `crit=["exp"]`, "exp=1790086400")
	bad("crit_empty", "crit, though it names nothing", "crit=[]")
	bad("crit_b64", "crit with b64 (RFC 7797)", `crit=["b64"]`, "b64=true")
	bad("b64", "b64, though true is the default", "b64=true")
	own, err := json.Marshal(g.ed.jwk("sig"))
	if err != nil {
		g.Fatal(err)
	}
	bad("jwk", "jwk, though it is the issuer's own key", "jwk="+string(own))
	foreign, err := json.Marshal(g.removed.jwk("sig"))
	if err != nil {
		g.Fatal(err)
	}
	g.text(badSignature, "header_jwk_foreign", "the signer brings its own key", sign(g.removed, h.with("jwk="+string(foreign), "kid="+quote(g.removed.kid)).String(), c))
	bad("jku", "jku", `jku="https://colis-x.example/jwks.json"`)
	bad("x5u", "x5u", `x5u="https://colis-x.example/cert.pem"`)
	bad("x5c", "x5c", `x5c=["AAAA"]`)
	bad("jku_null", "jku, though null", "jku=null")
	bad("before_claims", "two faults: the signature comes before the claims", `typ="JWT"`)
	g.vectors["header_before_claims"] = vector{expect: badSignature, via: "grant", why: "two faults: the signature comes before the claims",
		text: sign(g.other, h.String(), g.claims.with("ver=0").String())}

	twice := func(name, why string, edits ...string) {
		g.head(unknownCredential, "header_"+name, why, edits...)
	}
	twice("twice", "alg stands twice", `+alg="EdDSA"`)
	twice("twice_none", "alg stands twice, once as none", `+alg="none"`)
	twice("twice_by_escape", "kid stands twice, once spelt with an escape", `+\u006bid=`+quote(g.ed.kid))
	twice("twice_unknown", "an unknown member stands twice", "+x=1", "+x=2")
	twice("case", "a case variant beside alg", `Alg="none"`)
	twice("case_alone", "a case variant alone of a member that is refused", `CRIT=["exp"]`)
	twice("case_kelvin", "the Kelvin sign folds to k", "\u212aid="+quote(g.other.kid))
	twice("case_kelvin_escaped", "the Kelvin sign by an escape", `j\u212a`+`u="https://x.example"`)
	twice("depth_6", "a header of depth 6", "x=[[[[[]]]]]")
	g.text(unknownCredential, "header_list", "the header is a list", sign(g.ed, "["+h.String()+"]", c))
	g.text(unknownCredential, "header_null", "the header is null", sign(g.ed, "null", c))
	g.text(unknownCredential, "header_empty_part", "the header is empty", sign(g.ed, "", c))
	g.text(badSignature, "header_empty_object", "the header is an object without members", sign(g.ed, "{}", c))
}

func (g *generator) wrongTexts() {
	h, c := g.header.String(), g.claims.String()
	valid := sign(g.ed, h, c)
	parts := strings.Split(valid, ".")
	bad := func(name, why, text string) { g.text(unknownCredential, "text_"+name, why, text) }
	sig := func(name, why string, sig []byte) {
		g.text(badSignature, "signature_"+name, why, parts[0]+"."+parts[1]+"."+strict.EncodeToString(sig))
	}
	raw, err := decode(parts[2])
	if err != nil {
		g.Fatal(err)
	}
	sig("of_63_bytes", "63 bytes", raw[:63])
	sig("of_65_bytes", "65 bytes", append(bytes.Clone(raw), 0))
	sig("of_0_bytes", "no bytes", nil)
	sig("zero", "64 zero bytes", make([]byte, 64))
	flipped := bytes.Clone(raw)
	flipped[0] ^= 1
	sig("flipped", "one bit is turned", flipped)
	// S + L is the same residue; RFC 8032 §5.1.7 refuses it.
	order, _ := new(big.Int).SetString("7237005577332262213973186563042994240857116359379907606001950938285454250989", 10)
	little := bytes.Clone(raw[32:])
	reverse := func(b []byte) {
		for i := range len(b) / 2 {
			b[i], b[len(b)-1-i] = b[len(b)-1-i], b[i]
		}
	}
	reverse(little)
	sum := new(big.Int).Add(new(big.Int).SetBytes(little), order).FillBytes(make([]byte, 32))
	reverse(sum)
	sig("ed25519_s_plus_order", "S is not reduced: RFC 8032 §5.1.7 refuses a second spelling", append(bytes.Clone(raw[:32]), sum...))

	ecSigned := b64(g.ecHeader().String()) + "." + b64(c)
	ecRaw := g.ec.sign([]byte(ecSigned))
	ec := func(name, why string, sig []byte) {
		g.text(badSignature, "signature_"+name, why, ecSigned+"."+strict.EncodeToString(sig))
	}
	r, s := new(big.Int).SetBytes(ecRaw[:32]), new(big.Int).SetBytes(ecRaw[32:])
	der, err := asn1.Marshal(struct{ R, S *big.Int }{r, s})
	if err != nil {
		g.Fatal(err)
	}
	zero := make([]byte, 32)
	n := elliptic.P256().Params().N.FillBytes(make([]byte, 32))
	ec("es256_der", "ES256 in DER, not r and s", der)
	ec("es256_r_zero", "r is 0", append(bytes.Clone(zero), ecRaw[32:]...))
	ec("es256_s_zero", "s is 0", append(bytes.Clone(ecRaw[:32]), zero...))
	ec("es256_zero", "r and s are 0", make([]byte, 64))
	ec("es256_r_n", "r and s are the order of the group", append(bytes.Clone(n), n...))
	ec("es256_of_63_bytes", "63 bytes", ecRaw[:63])
	ec("es256_of_65_bytes", "a zero byte before r", append([]byte{0}, ecRaw...))
	ec("es256_96_bytes", "as long as ES384's", append(append(bytes.Clone(ecRaw[:32]), ecRaw...), zero...)[:96])
	ec("es256_swapped", "s before r", append(bytes.Clone(ecRaw[32:]), ecRaw[:32]...))
	g.text(badSignature, "signature_other_payload", "the signature of other claims", parts[0]+"."+b64(g.claims.with(`doors=["cellar"]`).String())+"."+parts[2])
	g.text(badSignature, "signature_other_header", "the signature of another header", b64(g.header.with("x=1").String())+"."+parts[1]+"."+parts[2])

	bad("second_spelling_signature", "unused bits of the signature's last character are set", parts[0]+"."+parts[1]+"."+secondSpelling(parts[2]))
	spaced := g.claims.String()
	for len(spaced)%3 != 1 {
		spaced += " "
	}
	twisted := b64(h) + "." + secondSpelling(b64(spaced))
	bad("second_spelling_payload", "unused bits of the payload's last character are set, and signed so", twisted+"."+strict.EncodeToString(g.ed.sign([]byte(twisted))))
	spaced = h
	for len(spaced)%3 != 1 {
		spaced += " "
	}
	twisted = secondSpelling(b64(spaced)) + "." + b64(c)
	bad("second_spelling_header", "unused bits of the header's last character are set, and signed so", twisted+"."+strict.EncodeToString(g.ed.sign([]byte(twisted))))
	bad("padding", "base64 with padding", valid+"==")
	bad("newline_within", "a line end within the signature", valid[:len(valid)-10]+"\n"+valid[len(valid)-10:])
	bad("newline_at_end", "a line end after the signature", valid+"\n")
	bad("carriage_return_at_end", "a carriage return and a line end after the signature", valid+"\r\n")
	bad("space_before", "a space before the text", " "+valid)
	bad("space_within", "a space within the payload", parts[0]+"."+parts[1][:8]+" "+parts[1][8:]+"."+parts[2])
	pluses := strings.NewReplacer("-", "+", "_", "/").Replace(parts[2])
	if pluses == parts[2] {
		g.Fatal("the signature has no - or _: take other claims")
	}
	bad("standard_alphabet", "base64's standard alphabet", parts[0]+"."+parts[1]+"."+pluses)
	bad("4097_bytes", "4,097 bytes", padded(g, g.ed, g.header, g.claims, 4097))
	bad("json_flattened", "JWS JSON serialisation, flattened", fmt.Sprintf(`{"payload":%q,"protected":%q,"signature":%q}`, parts[1], parts[0], parts[2]))
	bad("json_general", "JWS JSON serialisation, general", fmt.Sprintf(`{"payload":%q,"signatures":[{"protected":%q,"signature":%q}]}`, parts[1], parts[0], parts[2]))
	bad("two_parts", "two parts", parts[0]+"."+parts[1])
	bad("four_parts", "four parts", valid+"."+parts[2])
	bad("trailing_dot", "a full stop at the end", valid+".")
	bad("detached", "a detached payload", parts[0]+".."+parts[2])
	bad("trailing_object", "a second object after the claims", sign(g.ed, h, c+"{}"))
	bad("trailing_comma", "a comma after the last claim", sign(g.ed, h, strings.TrimSuffix(c, "}")+",}"))
	bad("comment", "JSON has no comments", sign(g.ed, h, c+"/* */"))
	bad("trailing_nul", "a zero byte after the claims", sign(g.ed, h, c+"\x00"))
	bad("bom", "a byte order mark before the claims", sign(g.ed, h, "\ufeff"+c))
	bad("bom_header", "a byte order mark before the header", sign(g.ed, "\ufeff"+h, c))
	bad("bom_text", "a byte order mark before the text", "\ufeff"+valid)
	bad("invalid_utf8", "a byte that is not UTF-8 in a claim", sign(g.ed, h, g.claims.with("sub=\"\xff\"").String()))
	bad("invalid_utf8_unknown", "a byte that is not UTF-8 in an unknown claim", sign(g.ed, h, g.claims.with("x=\"\xc0\xaf\"").String()))
	bad("utf16", "the claims in UTF-16", sign(g.ed, h, strings.Join(strings.Split(c, ""), "\x00")+"\x00"))
	bad("payload_list", "the claims are a list", sign(g.ed, h, "["+c+"]"))
	bad("payload_string", "the claims are a string", sign(g.ed, h, `"claims"`))
	bad("payload_empty", "no claims", sign(g.ed, h, ""))
	bad("empty", "no text", "")
	bad("digits", "digits, as of a PIN", "471108")
	bad("url", "a link, as many QR codes hold", "https://colis-x.example/g/"+parts[1])
}

func (g *generator) wrongSeals() {
	plain := g.signed()
	seal := func(plain string) envelope { return g.envelope(plain) }
	ok := func(name, why, text string) { g.text(good, "good_sealed"+name, why, text) }
	bad := func(name, why, text string) { g.text(unknownCredential, "sealed_"+name, why, text) }
	head := func(name, why string, edits ...string) { bad(name, why, seal(plain).with(edits...).text(g)) }
	pin := func(raw string) string { return seal(g.signed("pin=" + raw)).text(g) }

	ok("", "the same grant in a sealed envelope", seal(plain).text(g))
	ok("_pin_6", "a PIN of six digits; leading zeros count", pin(`"004711"`))
	ok("_pin_8", "a PIN of eight digits", pin(`"00000000"`))
	ok("_cnf", "a sealed grant with a holder", seal(g.signed(g.cnf())).text(g))
	ok("_inner_4096", "an inner JWS of 4,096 bytes", seal(padded(g, g.ed, g.header, g.claims, 4096)).text(g))
	parties := seal(plain).with("apu="+quote(b64("Alice")), "apv="+quote(b64("Bob")))
	parties.apu, parties.apv = "Alice", "Bob"
	ok("_apu_apv", "apu and apv enter the key (RFC 7518 §4.6)", parties.text(g))
	ok("_8192_bytes", "a JWE of 8,192 bytes exactly", paddedSeal(g, seal(plain), 8192))
	bad("8193_bytes", "a JWE of 8,193 bytes", paddedSeal(g, seal(plain), 8193))
	bad("inner_4097", "an inner JWS of 4,097 bytes", seal(padded(g, g.ed, g.header, g.claims, 4097)).text(g))
	for name, raw := range map[string]string{"5": `"47110"`, "9": `"471108154"`, "number": "471108", "null": "null", "empty": `""`,
		"letters": `"47110a"`, "arabic_digits": `"٤٧١١٠٨"`, "sign": `"-47110"`, "space": `" 47110"`} {
		bad("pin_"+name, "a PIN is a string of 6 to 8 ASCII digits", pin(raw))
	}
	g.text(wrongGateway, "sealed_wrong_gateway", "sealed to this gateway, addressed to another", seal(g.signed(`aud="gw-aaaaaaaaaa"`)).text(g))
	g.text(badSignature, "sealed_bad_signature", "the inner JWS is signed by another key", seal(sign(g.other, g.header.String(), g.claims.String())).text(g))
	g.text(badSignature, "sealed_other_typ", "the inner typ is not what cty says", seal(sign(g.ed, g.header.with(`typ="JWT"`).String(), g.claims.String())).text(g))
	g.text(unknownIssuer, "sealed_unknown_issuer", "the inner issuer is not configured", seal(g.signed(`iss="nobody.example"`)).text(g))

	stranger := seal(plain)
	stranger.to = g.holder.key.(*ecdsa.PublicKey)
	bad("wrong_recipient", "sealed to another key, under the kid of this one", stranger.text(g))
	bad("wrong_recipient_kid", "sealed to another key, and says so", stranger.with("kid="+quote(g.holder.kid)).text(g))
	wrapped := seal(plain).with(`alg="ECDH-ES+A256KW"`)
	wrapped.alg = "ECDH-ES+A256KW"
	bad("alg_a256kw", "alg ECDH-ES+A256KW, well made", wrapped.text(g))
	small := seal(plain).with(`enc="A128GCM"`)
	small.enc = "A128GCM"
	bad("enc_a128gcm", "enc A128GCM, well made", small.text(g))
	head("alg_rsa_oaep", "alg RSA-OAEP", `alg="RSA-OAEP"`)
	head("alg_rsa1_5", "alg RSA1_5", `alg="RSA1_5"`)
	head("alg_dir", "alg dir", `alg="dir"`)
	head("alg_pbes2", "a password's algorithm with a cost that would stop the machine", `alg="PBES2-HS256+A128KW"`, "p2c=2147483647", `p2s="AAAAAAAAAAA"`)
	head("alg_missing", "alg is missing", "-alg")
	head("alg_case", "alg compares byte for byte", `alg="ecdh-es"`)
	head("enc_case", "enc compares byte for byte", `enc="a256gcm"`)
	head("enc_cbc", "enc A256CBC-HS512", `enc="A256CBC-HS512"`)
	head("cty_missing", "cty is missing", "-cty")
	head("cty_jwt", "cty is another", `cty="JWT"`)
	head("cty_event", "cty of another of our documents", `cty="gardien-event+jwt"`)
	head("kid_missing", "kid is missing", "-kid")
	head("kid_other", "kid of another key, though it opens with this one", "kid="+quote(g.signing.kid))
	head("kid_null", "kid is null", "kid=null")
	head("crit", "crit", `crit=["exp"]`, "exp=1")
	head("zip_none", "zip, though null", "zip=null")
	head("twice", "enc stands twice", `+enc="A256GCM"`)
	head("case", "a case variant beside enc", `Enc="A256GCM"`)
	head("depth_6", "a header of depth 6", "x=[[[[[]]]]]")
	head("epk_missing", "epk is null", "epk=null")
	head("epk_off_curve", "epk is no point of the curve", `epk={"kty":"EC","crv":"P-256","x":`+quote(b64(strings.Repeat("x", 32)))+`,"y":`+quote(b64(strings.Repeat("y", 32)))+`}`)
	head("epk_zero", "epk is (0, 0)", `epk={"kty":"EC","crv":"P-256","x":`+quote(b64(strings.Repeat("\x00", 32)))+`,"y":`+quote(b64(strings.Repeat("\x00", 32)))+`}`)
	head("epk_okp", "epk is on X25519", `epk={"kty":"OKP","crv":"X25519","x":`+quote(b64(strings.Repeat("x", 32)))+`}`)

	var deflated bytes.Buffer
	w, err := flate.NewWriter(&deflated, flate.NoCompression)
	if err != nil {
		g.Fatal(err)
	}
	if _, err := w.Write([]byte(plain)); err != nil {
		g.Fatal(err)
	}
	if err := w.Close(); err != nil {
		g.Fatal(err)
	}
	bad("zip", "zip DEF, well made", seal(deflated.String()).with(`zip="DEF"`).text(g))

	tampered := func(name, why string, edit func(parts [][]byte)) {
		var raw [][]byte
		for _, p := range seal(plain).parts(g) {
			b, err := decode(p)
			if err != nil {
				g.Fatal(err)
			}
			raw = append(raw, b)
		}
		edit(raw)
		var parts []string
		for _, b := range raw {
			parts = append(parts, strict.EncodeToString(b))
		}
		bad(name, why, strings.Join(parts, "."))
	}
	tampered("tampered_tag", "one bit of the tag is turned", func(p [][]byte) { p[4][15] ^= 1 })
	tampered("tampered_text", "one bit of the sealed text is turned", func(p [][]byte) { p[3][0] ^= 1 })
	tampered("tampered_iv", "one bit of the IV is turned", func(p [][]byte) { p[2][0] ^= 1 })
	tampered("tampered_header", "a space is added to the header", func(p [][]byte) { p[0] = append(p[0], ' ') })
	tampered("encrypted_key", "direct agreement has no encrypted key (RFC 7516 §5.2)", func(p [][]byte) { p[1] = []byte("key") })
	tampered("tag_of_17", "the last byte of the text stands in the tag", func(p [][]byte) {
		last := len(p[3]) - 1
		p[4] = append([]byte{p[3][last]}, p[4]...)
		p[3] = p[3][:last]
	})
	tampered("tag_whole_text", "all of the text stands in the tag", func(p [][]byte) { p[4], p[3] = append(p[3], p[4]...), nil })
	tampered("tag_of_15", "a tag of 15 bytes", func(p [][]byte) { p[4] = p[4][:15] })
	tampered("tag_empty", "no tag", func(p [][]byte) { p[4] = nil })
	tampered("iv_of_11", "an IV of 11 bytes", func(p [][]byte) { p[2] = p[2][:11] })
	tampered("iv_empty", "no IV", func(p [][]byte) { p[2] = nil })
	parts := seal(plain).parts(g)
	bad("second_spelling", "unused bits of the tag's last character are set", strings.Join(parts[:4], ".")+"."+secondSpelling(parts[4]))
	bad("padding", "base64 with padding", strings.Join(parts, ".")+"==")
	bad("newline", "a line end at the end", strings.Join(parts, ".")+"\n")
	bad("six_parts", "six parts", strings.Join(parts, ".")+".")
	bad("json", "JWE JSON serialisation", fmt.Sprintf(`{"protected":%q,"iv":%q,"ciphertext":%q,"tag":%q}`, parts[0], parts[2], parts[3], parts[4]))
	bad("inner_claims", "the claims themselves, without a signature", seal(g.claims.String()).text(g))
	bad("inner_empty", "nothing inside", seal("").text(g))
	bad("inner_newline", "a line end after the inner JWS", seal(plain+"\n").text(g))
	bad("inner_sealed", "an envelope within an envelope", seal(seal(plain).text(g)).text(g))
}

// paddedSeal gives the JWE whose text has exactly n bytes, by an unknown header
// member and spaces around the inner JSON.
func paddedSeal(g *generator, e envelope, n int) string {
	for inner := range 4 {
		e.plain = sign(g.ed, g.header.with("pad="+quote(strings.Repeat("x", inner))).String(), g.claims.String())
		for pad := range n {
			h := e.with("pad=" + quote(strings.Repeat("x", pad)))
			if size := jweSize(h); size == n {
				return h.text(g)
			} else if size > n {
				break
			}
		}
	}
	g.Fatalf("no JWE of %d bytes", n)
	return ""
}

func jweSize(e envelope) int {
	const epk = `,"epk":{"kty":"EC","crv":"P-256","x":"","y":""}`
	return strict.EncodedLen(len(e.header.String())+len(epk)+2*43) + strict.EncodedLen(12) +
		strict.EncodedLen(len(e.plain)) + strict.EncodedLen(16) + 4
}

func (g *generator) proofs() {
	const nonce, now = "bm9uY2Ugb2YgMTYgYnl0ZQ", 1790000000
	grant := g.signed(g.cnf())
	jwk := func(k *SigningKey) string {
		b, err := json.Marshal(jose.JSONWebKey{Key: k.key})
		if err != nil {
			g.Fatal(err)
		}
		return string(b)
	}
	private := func(k *SigningKey) string {
		b, err := k.Marshal()
		if err != nil {
			g.Fatal(err)
		}
		var m map[string]string
		if err := json.Unmarshal(b, &m); err != nil {
			g.Fatal(err)
		}
		return m["d"]
	}
	extra := func(k *SigningKey, member string) string { return strings.TrimSuffix(jwk(k), "}") + "," + member + "}" }
	ath := func(text string) string {
		sum := sha256.Sum256([]byte(text))
		return quote(strict.EncodeToString(sum[:]))
	}
	header := fields{{"alg", `"ES256"`}, {"typ", `"gardien-proof+jwt"`}, {"jwk", jwk(g.holder)}}
	claims := fields{{"nonce", quote(nonce)}, {"aud", quote(string(g.gateway))}, {"door", `"front"`}, {"ath", ath(grant)}, {"iat", fmt.Sprint(now)}}
	put := func(expect, name, why, text string) {
		g.put("proof_"+name, vector{expect: expect, why: why, via: "proof", now: now, nonce: nonce, door: "front", grant: grant, text: text})
	}
	claim := func(name, why string, edits ...string) {
		put(badProof, name, why, sign(g.holder, header.String(), claims.with(edits...).String()))
	}
	head := func(name, why string, edits ...string) {
		put(badProof, name, why, sign(g.holder, header.with(edits...).String(), claims.String()))
	}
	put(good, "good", "the holder's key over gateway, door, nonce and grant", sign(g.holder, header.String(), claims.String()))
	put(good, "good_unknown_claim", "unknown claims are ignored", sign(g.holder, header.String(), claims.with("exp=1").String()))
	put(good, "good_iat_300_behind", "iat 300 s behind now", sign(g.holder, header.String(), claims.with("iat=1789999700").String()))
	put(good, "good_iat_300_ahead", "iat 300 s ahead of now", sign(g.holder, header.String(), claims.with("iat=1790000300").String()))
	sealed := g.envelope(grant).text(g)
	g.put("proof_good_sealed", vector{expect: good, why: "ath is over the text as sent: the envelope", via: "proof", now: now, nonce: nonce,
		door: "front", grant: sealed, text: sign(g.holder, header.String(), claims.with("ath="+ath(sealed)).String())})
	g.put("proof_ath_inner", vector{expect: badProof, why: "ath is over the inner JWS, not the text as sent", via: "proof", now: now, nonce: nonce,
		door: "front", grant: sealed, text: sign(g.holder, header.String(), claims.String())})
	claim("iat_301_behind", "iat 301 s behind now, while the clock is trusted", "iat=1789999699")
	claim("iat_301_ahead", "iat 301 s ahead of now, while the clock is trusted", "iat=1790000301")
	claim("nonce_other", "another nonce", `nonce="AAAAAAAAAAAAAAAAAAAAAA"`)
	claim("nonce_second_spelling", "the nonce compares as text", "nonce="+quote(secondSpelling(nonce)))
	for _, name := range []string{"nonce", "aud", "door", "ath", "iat"} {
		claim(name+"_missing", name+" is missing", "-"+name)
		claim(name+"_null", name+" is null", name+"=null")
	}
	claim("nonce_number", "the nonce is a number", "nonce=1")
	claim("nonce_list", "the nonce is a list", "nonce=["+quote(nonce)+"]")
	claim("iat_string", "iat is a string", `iat="1790000000"`)
	claim("iat_float", "iat is written with a fraction", "iat=1790000000.0")
	claim("aud_other", "for another gateway", `aud="gw-aaaaaaaaaa"`)
	claim("aud_list", "aud of a proof is a string", "aud=["+quote(string(g.gateway))+"]")
	claim("door_other", "for another door", `door="cellar"`)
	claim("ath_other", "for another grant", "ath="+ath(g.signed(g.cnf(), "ver=2")))
	claim("ath_hex", "ath is in base64url", `ath="`+fmt.Sprintf("%x", sha256.Sum256([]byte(grant)))+`"`)
	claim("ath_padded", "ath with padding", `ath=`+strings.TrimSuffix(ath(grant), `"`)+`="`)
	claim("twice", "a claim stands twice", `+door="cellar"`)
	claim("case", "a case variant beside a claim", `Door="cellar"`)
	put(badProof, "other_holder", "another key proves itself", sign(g.holderOther, header.with("jwk="+jwk(g.holderOther)).String(), claims.String()))
	put(badProof, "other_signer", "another key signs under the holder's jwk", sign(g.holderOther, header.String(), claims.String()))
	put(badProof, "ed25519", "a holder's key is on P-256", sign(g.holderEd, header.with(`alg="EdDSA"`, "jwk="+jwk(g.holderEd)).String(), claims.String()))
	head("alg_none", "alg none", `alg="none"`)
	head("alg_eddsa", "alg EdDSA with a P-256 key", `alg="EdDSA"`)
	head("alg_case", "alg compares byte for byte", `alg="es256"`)
	head("typ_other", "typ is another", `typ="dpop+jwt"`)
	head("typ_grant", "typ of another of our documents", `typ="gardien-grant+jwt"`)
	head("typ_missing", "typ is missing", "-typ")
	head("jwk_missing", "jwk is missing", "-jwk", "kid="+quote(g.holder.kid))
	head("kid", "the header is exactly alg, typ, jwk", "kid="+quote(g.holder.kid))
	head("crit", "the header is exactly alg, typ, jwk", `crit=["exp"]`)
	head("jwk_twice", "jwk stands twice", "+jwk="+jwk(g.holderOther))
	head("jwk_private", "jwk with its private member", "jwk="+extra(g.holder, `"d":`+quote(private(g.holder))))
	head("jwk_extra", "jwk is exactly kty, crv, x, y", "jwk="+extra(g.holder, `"use":"sig"`))
	head("jwk_extra_kid", "jwk is exactly kty, crv, x, y, though its kid is right", "jwk="+extra(g.holder, `"kid":`+quote(g.holder.kid)))
	head("jwk_null", "jwk is null", "jwk=null")
	head("jwk_string", "jwk is a string", "jwk="+quote(g.holder.kid))
	head("jwk_p384", "crv says another curve", "jwk="+strings.Replace(jwk(g.holder), "P-256", "P-384", 1))
	var point struct{ X, Y string }
	if err := json.Unmarshal([]byte(jwk(g.holder)), &point); err != nil {
		g.Fatal(err)
	}
	x := func(name, why, x string) {
		head("jwk_x_"+name, why, `jwk={"kty":"EC","crv":"P-256","x":"`+x+`","y":"`+point.Y+`"}`)
	}
	x("second_spelling", "a second spelling of x", secondSpelling(point.X))
	x("newline", "a line end within x", point.X[:9]+`\n`+point.X[9:])
	x("padded", "x with padding", point.X+"=")
	x("swapped", "not a point of the curve", point.Y)
	x("short", "x of 31 bytes", b64(strings.Repeat("x", 31)))
	valid := sign(g.holder, header.String(), claims.String())
	put(badProof, "newline", "a line end after the proof", valid+"\n")
	put(badProof, "padding", "base64 with padding", valid+"==")
	put(badProof, "second_spelling", "unused bits of the signature's last character are set", secondSpelling(valid))
	put(badProof, "flipped", "claims that were not signed", strings.Replace(valid, "."+b64(claims.String())+".", "."+b64(claims.with("iat=1790000001").String())+".", 1))
	put(badProof, "empty", "no proof", "")
	put(badProof, "grant_again", "the grant is no proof of itself", grant)
	put(badProof, "4097_bytes", "4,097 bytes", padded(g, g.holder, fields{}, claims, 4097))
}

func (g *generator) descriptors() {
	jwk := func(k PublicKey, use string) string {
		b, err := json.Marshal(k.jwk(use))
		if err != nil {
			g.Fatal(err)
		}
		return string(b)
	}
	sig, enc := jwk(g.signing.PublicKey, "sig"), jwk(g.opening.PublicKey, "enc")
	keys := func(list ...string) string { return `keys={"keys":[` + strings.Join(list, ",") + `]}` }
	header := fields{{"alg", `"ES256"`}, {"typ", `"gardien-gateway+jwt"`}, {"kid", quote(g.signing.kid)}}
	claims := fields{{"iss", quote(string(g.gateway))}}.with(keys(sig, enc), `doors=["front","cellar"]`, `issuers=["colis-x.example"]`, "iat=1790000000")
	put := func(expect, name, why, text string) {
		g.put("descriptor_"+name, vector{expect: expect, why: why, via: "descriptor", text: text})
	}
	claim := func(expect, name, why string, edits ...string) {
		put(expect, name, why, sign(g.signing, header.String(), claims.with(edits...).String()))
	}
	claim(good, "good", "a gateway speaks of itself")
	claim(good, "good_no_issuers", "no issuer yet", "issuers=[]")
	claim(refused, "iss_other", "iss is not the id of its own signing key", `iss="gw-aaaaaaaaaa"`)
	claim(refused, "iss_missing", "iss is missing", "-iss")
	claim(refused, "keys_missing", "keys is missing", "-keys")
	claim(refused, "keys_null", "keys is null", "keys=null")
	claim(refused, "keys_no_enc", "no key to seal to", keys(sig))
	claim(refused, "keys_no_sig", "no key that signs", keys(enc))
	claim(refused, "keys_two_sig", "two keys that sign: which one is the id of?", keys(sig, jwk(g.ec.PublicKey, "sig"), enc))
	claim(refused, "keys_two_enc", "two keys to seal to", keys(sig, enc, jwk(g.ec.PublicKey, "enc")))
	claim(refused, "keys_other_kid", "a kid that is not the thumbprint", keys(strings.Replace(sig, g.signing.kid, g.ec.kid, 1), enc))
	claim(refused, "keys_private", "a private member", keys(strings.TrimSuffix(sig, "}")+`,"d":"AAAA"}`, enc))
	claim(refused, "keys_enc_ed25519", "the key to seal to is on P-256", keys(sig, jwk(g.ed.PublicKey, "enc")))
	claim(refused, "doors_missing", "doors is missing", "-doors")
	claim(refused, "doors_bad", "a door id in upper case", `doors=["Front"]`)
	claim(refused, "issuers_missing", "issuers is missing", "-issuers")
	claim(refused, "issuers_bad", "an issuer id with a slash", `issuers=["a/b"]`)
	claim(refused, "iat_missing", "iat is missing", "-iat")
	claim(refused, "iat_string", "iat is a string", `iat="1790000000"`)
	claim(refused, "twice", "a member stands twice", `+doors=["flat"]`)
	claim(refused, "case", "a case variant beside a member", `Doors=["flat"]`)
	valid := sign(g.signing, header.String(), claims.String())
	parts := strings.Split(valid, ".")
	put(refused, "tampered", "claims that were not signed", parts[0]+"."+b64(claims.with(`doors=["flat"]`).String())+"."+parts[2])
	put(refused, "foreign_signer", "another key signs under the gateway's kid", sign(g.ec, header.String(), claims.String()))
	put(refused, "foreign_key", "another key brings itself, and the gateway's id", sign(g.ec, header.with("kid="+quote(g.ec.kid)).String(), claims.with(keys(jwk(g.ec.PublicKey, "sig"), enc)).String()))
	put(refused, "signed_by_enc", "the key to seal to does not sign", sign(g.holder, header.with("kid="+quote(g.holder.kid)).String(), claims.with(keys(sig, jwk(g.holder.PublicKey, "enc"))).String()))
	put(refused, "typ_grant", "typ of another of our documents", sign(g.signing, header.with(`typ="gardien-grant+jwt"`).String(), claims.String()))
	put(refused, "alg_none", "alg none", b64(header.with(`alg="none"`).String())+"."+parts[1]+".")
	put(refused, "newline", "a line end after the text", valid+"\n")
}
