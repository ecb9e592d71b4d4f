package tokens

import (
	"encoding/base64"
	"errors"
	"strings"

	"gardien/gateway"
)

// jws is a compact serialisation, taken apart and not yet believed.
type jws struct {
	header    object
	payload   []byte
	signature []byte
	signed    string // what the signature covers
}

var strict = base64.RawURLEncoding.Strict()

// decode refuses what Go's decoder skips: line ends, and a second spelling of the
// last character.
func decode(s string) ([]byte, error) {
	if strings.ContainsAny(s, "\r\n") {
		return nil, errors.New("not base64url")
	}
	return strict.DecodeString(s)
}

var headerNames = []string{"alg", "typ", "kid", "crit", "b64", "jku", "jwk", "x5u", "x5c", "cty", "zip", "enc", "epk"}

// parseJWS takes text apart; whatever it takes, compact gives back byte for byte.
func parseJWS(text string) (*jws, *gateway.Refusal) {
	if len(text) > MaxJWS {
		return nil, refuse(gateway.UnknownCredential, "longer than %d bytes", MaxJWS)
	}
	parts := strings.Split(text, ".")
	if len(parts) != 3 {
		return nil, refuse(gateway.UnknownCredential, "not a JWS of three parts")
	}
	var raw [3][]byte
	for i, p := range parts {
		b, err := decode(p)
		if err != nil {
			return nil, refuse(gateway.UnknownCredential, "part %d is not strict base64url", i+1)
		}
		raw[i] = b
	}
	header, err := parseObject(raw[0], headerNames...)
	if err != nil {
		return nil, refuse(gateway.UnknownCredential, "header: %v", err)
	}
	return &jws{header, raw[1], raw[2], text[:len(parts[0])+1+len(parts[1])]}, nil
}

func (j *jws) compact() string { return j.signed + "." + strict.EncodeToString(j.signature) }

// is reports whether the header member is exactly that string.
func (j *jws) is(name, want string) bool {
	s, ok := jsonString(j.header[name])
	return ok && s == want
}

// check holds header and signature against a key that the caller chose (A2).
func (j *jws) check(typ string, key PublicKey) *gateway.Refusal {
	for _, name := range []string{"crit", "b64", "jku", "jwk", "x5u", "x5c"} {
		if _, ok := j.header[name]; ok {
			return refuse(gateway.BadSignature, "header member %q is not allowed", name)
		}
	}
	if !j.is("typ", typ) {
		return refuse(gateway.BadSignature, "typ is not %q", typ)
	}
	return j.checkSignature(key)
}

// checkSignature compares the header's alg with the key's, and the signature.
func (j *jws) checkSignature(key PublicKey) *gateway.Refusal {
	alg, ok := jsonString(j.header["alg"])
	if !ok || !key.allows(alg) {
		return refuse(gateway.BadSignature, "alg is not that of the key (%s)", key.alg)
	}
	if !key.verify([]byte(j.signed), j.signature) {
		return refuse(gateway.BadSignature, "the signature does not match")
	}
	return nil
}

// verify finds the key in set by the header's kid and checks against it.
func (j *jws) verify(typ string, set KeySet) *gateway.Refusal {
	kid, ok := jsonString(j.header["kid"])
	key, known := set.verifying[kid]
	if !ok || !known {
		return refuse(gateway.BadSignature, "kid names no key of the issuer")
	}
	return j.check(typ, key)
}

// issuer reads iss before anything is believed, only to choose the keys.
func unverifiedIssuer(payload object) (gateway.IssuerID, *gateway.Refusal) {
	iss, ok := jsonString(payload["iss"])
	if !ok {
		return "", refuse(gateway.UnknownCredential, "claim \"iss\": want a string")
	}
	return gateway.IssuerID(iss), nil
}
