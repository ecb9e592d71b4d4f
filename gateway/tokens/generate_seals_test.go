package tokens

import (
	"bytes"
	"compress/flate"
	"crypto/ecdsa"
	"fmt"
	"strings"
)

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
	ok("_pin_9", "a PIN of nine digits", pin(`"471108154"`))
	ok("_pin_10", "a PIN of ten digits, the most that a reader takes", pin(`"4711081547"`))
	ok("_cnf", "a sealed grant with a holder", seal(g.signed(g.cnf())).text(g))
	ok("_inner_4096", "an inner JWS of 4,096 bytes", seal(padded(g, g.ed, g.header, g.claims, 4096)).text(g))
	parties := seal(plain).with("apu="+quote(b64("Alice")), "apv="+quote(b64("Bob")))
	parties.apu, parties.apv = "Alice", "Bob"
	ok("_apu_apv", "apu and apv enter the key (RFC 7518 §4.6)", parties.text(g))
	ok("_8192_bytes", "a JWE of 8,192 bytes exactly", paddedSeal(g, seal(plain), 8192))
	bad("8193_bytes", "a JWE of 8,193 bytes", paddedSeal(g, seal(plain), 8193))
	bad("inner_4097", "an inner JWS of 4,097 bytes", seal(padded(g, g.ed, g.header, g.claims, 4097)).text(g))
	for name, raw := range map[string]string{"5": `"47110"`, "11": `"47110815471"`, "number": "471108", "null": "null", "empty": `""`,
		"letters": `"47110a"`, "arabic_digits": `"٤٧١١٠٨"`, "sign": `"-47110"`, "space": `" 47110"`} {
		bad("pin_"+name, "a PIN is a string of 6 to 10 ASCII digits", pin(raw))
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
