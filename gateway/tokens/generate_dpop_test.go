package tokens

import (
	"crypto"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/hmac"
	"crypto/sha256"
	"encoding/asn1"
	"encoding/json"
	"math/big"
	"strings"
	"testing"

	"github.com/go-jose/go-jose/v4"
)

// dpops are proofs of possession of a request (RFC 9449).
func (g *generator) dpops() {
	const nonce = "bm9uY2Ugb2YgMTYgYnl0ZQ"
	header := fields{{"alg", `"ES256"`}, {"typ", `"dpop+jwt"`}, {"jwk", g.jwk(g.holder)}}
	claims := fields{{"htm", `"POST"`}, {"htu", quote("https://gardien-k7q2.local:8443/v1/doors/front/unlock")}, {"jti", `"8YV1eJ0ZqWc"`}, {"nonce", quote(nonce)}, {"iat", "1790000000"}}
	put := func(expect, name, why, text string) {
		g.put("dpop_"+name, vector{expect: expect, why: why, via: "dpop", key: g.holder.kid, nonce: nonce, text: text})
	}
	claim := func(expect, name, why string, edits ...string) {
		put(expect, name, why, sign(g.holder, header.String(), claims.with(edits...).String()))
	}
	head := func(name, why string, edits ...string) {
		put(badProof, name, why, sign(g.holder, header.with(edits...).String(), claims.String()))
	}
	claim(good, "good", "the holder's key over method, URL, jti and nonce")
	claim(good, "good_unknown_claim", "unknown claims are ignored", `exp=1`, `sub={"a":[null]}`)
	claim(good, "good_ath", "ath is ignored: whose token it is, is said elsewhere", `ath="fUHyO2r2Z3DZ53EsNrWBb0xWXoaNy59IiKCAqksmQEo"`)
	claim(good, "good_no_iat", "iat is ignored", "-iat")
	claim(good, "good_iat_string", "whatever it says", `iat="yesterday"`)
	claim(good, "good_escapes", "a JSON string may be spelt with escapes", `htm="\u0050OST"`)
	claim(good, "good_2048_bytes", "a URL of 2,048 bytes", "htu="+quote("https://gardien-k7q2.local/"+strings.Repeat("a", 2021)))
	g.put("dpop_good_no_nonce", vector{expect: good, why: "a first request has no nonce yet: the gateway answers with one", via: "dpop",
		key: g.holder.kid, text: sign(g.holder, header.String(), claims.with("-nonce").String())})
	for _, name := range []string{"htm", "htu", "jti"} {
		claim(badProof, name+"_missing", name+" is missing", "-"+name)
	}
	for _, name := range []string{"htm", "htu", "jti", "nonce"} {
		value := claims.value(name)
		claim(badProof, name+"_null", name+" is null", name+"=null")
		claim(badProof, name+"_number", name+" is a number", name+"=1")
		claim(badProof, name+"_list", name+" is a list", name+"=["+value+"]")
		claim(badProof, name+"_empty", name+" is empty", name+`=""`)
		claim(badProof, name+"_twice", name+" stands twice", "+"+name+"="+value)
		claim(badProof, name+"_case", "a case variant beside "+name, strings.ToUpper(name)+"="+value)
		claim(badProof, name+"_surrogate", "half of a surrogate pair in "+name, name+`="\ud800"`)
	}
	claim(badProof, "htu_2049_bytes", "a URL of 2,049 bytes", "htu="+quote("https://gardien-k7q2.local/"+strings.Repeat("a", 2022)))
	claim(badProof, "iat_twice", "what is ignored has one meaning, too", "+iat=1")
	claim(badProof, "depth_6", "depth 6, the claims object counting as 1", "deep=[[[[[]]]]]")
	put(badProof, "claims_list", "the claims are a list", sign(g.holder, header.String(), "["+claims.String()+"]"))
	head("typ_other", "typ is another", `typ="jwt"`)
	head("typ_case", "typ compares byte for byte", `typ="DPoP+jwt"`)
	head("typ_proof", "typ of another of our documents", `typ="gardien-proof+jwt"`)
	head("typ_missing", "typ is missing", "-typ")
	head("typ_null", "typ is null", "typ=null")
	head("typ_twice", "typ stands twice", `+typ="dpop+jwt"`)
	head("kid", "the header is exactly alg, typ, jwk", "kid="+quote(g.holder.kid))
	head("kid_for_jwk", "a kid in the place of the jwk", "-jwk", "kid="+quote(g.holder.kid))
	head("crit", "the header is exactly alg, typ, jwk", `crit=["b64"]`)
	head("b64", "the header is exactly alg, typ, jwk", "b64=false")
	head("jwk_twice", "jwk stands twice", "+jwk="+g.jwk(g.holderOther))
	head("jwk_case", "a case variant of jwk", "-jwk", "Jwk="+g.jwk(g.holder))
	head("jwk_null", "jwk is null", "jwk=null")
	head("jwk_private", "jwk with its private member", "jwk="+g.extra(g.holder, `"d":`+quote(g.private(g.holder))))
	for _, member := range []string{`"use":"sig"`, `"alg":"ES256"`, `"ext":true`, `"key_ops":["verify"]`, `"kid":` + quote(g.holder.kid)} {
		name, _, _ := strings.Cut(strings.Trim(member, `"`), `"`)
		head("jwk_extra_"+name, "jwk is exactly kty, crv, x, y, though browsers export "+name, "jwk="+g.extra(g.holder, member))
	}
	head("jwk_x_twice", "x stands twice", "jwk="+g.extra(g.holder, `"x":"AAAA"`))
	g.points(head)
	g.dpopKeys(put, header, claims)
	valid := sign(g.holder, header.String(), claims.String())
	parts := strings.Split(valid, ".")
	put(badProof, "newline", "a line end after the proof", valid+"\n")
	put(badProof, "padding", "base64 with padding", valid+"==")
	put(badProof, "second_spelling", "unused bits of the signature's last character are set", secondSpelling(valid))
	put(badProof, "flipped", "claims that were not signed", parts[0]+"."+b64(claims.with(`htm="GET"`).String())+"."+parts[2])
	put(badProof, "other_header", "a header that was not signed", b64(header.with("jwk="+g.jwk(g.holderOther)).String())+"."+parts[1]+"."+parts[2])
	put(badProof, "no_signature", "no signature", parts[0]+"."+parts[1]+".")
	put(badProof, "two_parts", "a JWS has three parts", parts[0]+"."+parts[1])
	put(badProof, "empty", "no proof", "")
	put(badProof, "4097_bytes", "4,097 bytes", padded(g, g.holder, header, claims, 4097))
}

// dpopKeys are proofs by keys and algorithms that are not ES256 with the key of the header.
func (g *generator) dpopKeys(put func(expect, name, why, text string), header, claims fields) {
	c := claims.String()
	with := func(k *SigningKey, edits ...string) string { return sign(k, header.with(edits...).String(), c) }
	put(badProof, "other_key", "the key is in the proof: it verifies by itself, and is not the holder's", with(g.holderOther, "jwk="+g.jwk(g.holderOther)))
	put(badProof, "other_signer", "another key signs under the holder's jwk", with(g.holderOther))
	put(badProof, "ed25519", "a key is on P-256", with(g.holderEd, `alg="EdDSA"`, "jwk="+g.jwk(g.holderEd)))
	put(badProof, "ed25519_four_members", "a key is on P-256, though this one has a y", with(g.holderEd, `alg="EdDSA"`, "jwk="+g.extra(g.holderEd, `"y":""`)))
	put(badProof, "alg_eddsa", "alg EdDSA with a P-256 key", with(g.holder, `alg="EdDSA"`))
	put(badProof, "alg_es384", "alg ES384 with a P-256 key", with(g.holder, `alg="ES384"`))
	put(badProof, "alg_case", "alg compares byte for byte", with(g.holder, `alg="es256"`))
	put(badProof, "alg_missing", "alg is missing", with(g.holder, "-alg"))
	put(badProof, "alg_none", "alg none", b64(header.with(`alg="none"`).String())+"."+b64(c)+".")
	put(badProof, "alg_none_signed", "alg none, and the signature of ES256 all the same", with(g.holder, `alg="none"`))
	mac := func(key []byte, edits ...string) string {
		signed := b64(header.with(edits...).String()) + "." + b64(c)
		m := hmac.New(sha256.New, key)
		m.Write([]byte(signed))
		return signed + "." + strict.EncodeToString(m.Sum(nil))
	}
	put(badProof, "alg_hs256", "alg HS256, with the public key for a secret", mac([]byte(g.jwk(g.holder)), `alg="HS256"`))
	put(badProof, "alg_hs256_oct", "alg HS256, with a secret that it brings", mac([]byte("secret"), `alg="HS256"`, `jwk={"kty":"oct","k":"c2VjcmV0"}`))
	put(badProof, "jwk_crv_p384", "crv says another curve", with(g.holder, "jwk="+strings.Replace(g.jwk(g.holder), "P-256", "P-384", 1)))
	key, err := ecdsa.ParseRawPrivateKey(elliptic.P384(), append(seed("p-384")[:16], seed("holder p-384")...))
	if err != nil {
		g.Fatal(err)
	}
	b, err := json.Marshal(jose.JSONWebKey{Key: &key.PublicKey})
	if err != nil {
		g.Fatal(err)
	}
	for alg, h := range map[string]crypto.Hash{"ES256": crypto.SHA256, "ES384": crypto.SHA384} {
		signed := b64(header.with("alg="+quote(alg), "jwk="+string(b)).String()) + "." + b64(c)
		put(badProof, "p384_"+strings.ToLower(alg), "a key on P-384 with alg "+alg, signed+"."+strict.EncodeToString(joined(g, der(g, key, h, signed), 48)))
	}
	put(badProof, "rsa", "an RSA key", with(g.holder, `alg="RS256"`, `jwk={"kty":"RSA","n":"`+strings.Repeat("u", 342)+`","e":"AQAB"}`))
	holder, err := ecdsa.ParseRawPrivateKey(elliptic.P256(), seed("holder"))
	if err != nil {
		g.Fatal(err)
	}
	signed := b64(header.String()) + "." + b64(c)
	put(badProof, "der", "a signature in DER", signed+"."+strict.EncodeToString(der(g, holder, crypto.SHA256, signed)))
	put(badProof, "zero", "a signature of zeros", b64(header.String())+"."+b64(c)+"."+b64(strings.Repeat("\x00", 64)))
}

// der signs as RFC 6979 says, in DER.
func der(t testing.TB, key *ecdsa.PrivateKey, h crypto.Hash, text string) []byte {
	m := h.New()
	m.Write([]byte(text))
	sig, err := key.Sign(nil, m.Sum(nil), h)
	if err != nil {
		t.Fatal(err)
	}
	return sig
}

// joined is a signature as JWS has it: r and s, each of so many bytes.
func joined(t testing.TB, der []byte, size int) []byte {
	var rs struct{ R, S *big.Int }
	if _, err := asn1.Unmarshal(der, &rs); err != nil {
		t.Fatal(err)
	}
	sig := make([]byte, 2*size)
	rs.R.FillBytes(sig[:size])
	rs.S.FillBytes(sig[size:])
	return sig
}

// value gives a member's raw value.
func (f fields) value(name string) string {
	for _, m := range f {
		if m.name == name {
			return m.raw
		}
	}
	return ""
}
