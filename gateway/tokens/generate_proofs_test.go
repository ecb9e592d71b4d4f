package tokens

import (
	"crypto/sha256"
	"encoding/json"
	"fmt"
	"strings"

	"github.com/go-jose/go-jose/v4"
)

func (g *generator) proofs() {
	const nonce, now = "bm9uY2Ugb2YgMTYgYnl0ZQ", 1790000000
	grant := g.signed(g.cnf())
	jwk, private, extra := g.jwk, g.private, g.extra
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
	g.points(head)
	valid := sign(g.holder, header.String(), claims.String())
	put(badProof, "newline", "a line end after the proof", valid+"\n")
	put(badProof, "padding", "base64 with padding", valid+"==")
	put(badProof, "second_spelling", "unused bits of the signature's last character are set", secondSpelling(valid))
	put(badProof, "flipped", "claims that were not signed", strings.Replace(valid, "."+b64(claims.String())+".", "."+b64(claims.with("iat=1790000001").String())+".", 1))
	put(badProof, "empty", "no proof", "")
	put(badProof, "grant_again", "the grant is no proof of itself", grant)
	put(badProof, "4097_bytes", "4,097 bytes", padded(g, g.holder, fields{}, claims, 4097))
}

// jwk is a public key as a proof has it in its header.
func (g *generator) jwk(k *SigningKey) string {
	b, err := json.Marshal(jose.JSONWebKey{Key: k.key})
	if err != nil {
		g.Fatal(err)
	}
	return string(b)
}

// private gives a key's member d.
func (g *generator) private(k *SigningKey) string {
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

func (g *generator) extra(k *SigningKey, member string) string {
	return strings.TrimSuffix(g.jwk(k), "}") + "," + member + "}"
}

// points puts the holder's jwk with an x that is none, or is spelt otherwise.
func (g *generator) points(head func(name, why string, edits ...string)) {
	var point struct{ X, Y string }
	if err := json.Unmarshal([]byte(g.jwk(g.holder)), &point); err != nil {
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
	claim(good, "good_pins", "lengths of PINs; a door that is not named takes 8 digits", `pins={"front":[8,10]}`)
	claim(good, "good_pins_none", "no door is named", "pins={}")
	claim(refused, "pins_null", "pins is null", "pins=null")
	claim(refused, "pins_short", "a PIN of five digits", `pins={"front":[5]}`)
	claim(refused, "pins_long", "a PIN of eleven digits", `pins={"front":[8,11]}`)
	claim(refused, "pins_empty", "a door without a length", `pins={"front":[]}`)
	claim(refused, "pins_string", "a length that is a string", `pins={"front":["8"]}`)
	claim(refused, "pins_door_bad", "a door id in upper case", `pins={"Front":[8]}`)
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
