package tokens

import (
	"bytes"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/hmac"
	"crypto/sha256"
	"crypto/x509"
	"encoding/asn1"
	"encoding/json"
	"fmt"
	"math/big"
	"strings"
)

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
