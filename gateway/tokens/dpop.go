package tokens

import (
	"crypto/rand"
	"encoding/json"

	"gardien/gateway"
)

// TypDPoP is the type of a proof of possession of a request (RFC 9449 §4.2).
const TypDPoP = "dpop+jwt"

// maxDPoP bounds each text in it; a URL is the longest.
const maxDPoP = 2048

// ParseDPoP takes a DPoP proof apart and verifies its signature by the key in its header. The
// header is exactly alg (ES256), typ and jwk, and the jwk exactly kty, crv, x and y. Who may sign,
// and what, is the caller's to compare. iat is ignored: a gateway may not know what time it is, and
// the nonce says that the proof is fresh.
func ParseDPoP(text string) (gateway.DPoP, *gateway.Refusal) {
	none := gateway.DPoP{}
	j, r := parseJWS(text)
	if r != nil {
		return none, refuse(gateway.BadProof, "%s", r.Detail)
	}
	payload, err := parseObject(j.payload, "htm", "htu", "jti", "nonce", "iat", "ath")
	if err != nil {
		return none, refuse(gateway.BadProof, "claims: %v", err)
	}
	key, r := headerKey(j)
	if r != nil {
		return none, r
	}
	if !j.is("typ", TypDPoP) {
		return none, refuse(gateway.BadProof, "typ is not %q", TypDPoP)
	}
	if r := j.checkSignature(key); r != nil {
		return none, refuse(gateway.BadProof, "%s", r.Detail)
	}
	c := &claims{object: payload}
	some := func(s string) bool { return s != "" && len(s) <= maxDPoP }
	d := gateway.DPoP{Key: key.kid,
		Method: c.text("htm", true, some, "a method"), URL: c.text("htu", true, some, "a URL"), ID: c.text("jti", true, some, "a text"),
		Nonce: c.text("nonce", false, some, "a text")}
	if c.err != nil {
		return none, refuse(gateway.BadProof, "%v", c.err)
	}
	return d, nil
}

// SignDPoP is what a resident's device does: it proves possession of its key for one request.
// The jti is drawn.
func SignDPoP(key *SigningKey, method, url, nonce string) (string, error) {
	public, err := key.JWK()
	if err != nil {
		return "", err
	}
	c := map[string]any{"htm": method, "htu": url, "jti": rand.Text(), "iat": 0}
	if nonce != "" {
		c["nonce"] = nonce
	}
	return key.compactWith(map[string]any{"alg": key.alg, "typ": TypDPoP, "jwk": json.RawMessage(public)}, c)
}
