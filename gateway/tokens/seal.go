package tokens

import (
	"fmt"
	"strings"

	"github.com/go-jose/go-jose/v4"

	"gardien/gateway"
)

// Seal wraps text for the holder of the key: JWE compact, ECDH-ES, A256GCM, cty the
// inner typ.
func Seal(text, cty string, to PublicKey) (string, error) {
	enc, err := jose.NewEncrypter(jose.A256GCM,
		jose.Recipient{Algorithm: jose.ECDH_ES, Key: to.key, KeyID: to.kid},
		(&jose.EncrypterOptions{}).WithContentType(jose.ContentType(cty)))
	if err != nil {
		return "", fmt.Errorf("seal: %w", err)
	}
	sealed, err := enc.Encrypt([]byte(text))
	if err != nil {
		return "", fmt.Errorf("seal: %w", err)
	}
	out, err := sealed.CompactSerialize()
	if err != nil {
		return "", fmt.Errorf("seal: %w", err)
	}
	if len(out) > MaxJWE {
		return "", fmt.Errorf("seal: %d bytes, more than %d", len(out), MaxJWE)
	}
	return out, nil
}

// isSealed tells a JWE's five parts from a JWS's three.
func isSealed(text string) bool { return strings.Count(text, ".") == 4 }

// open unwraps a sealed text: alg exactly ECDH-ES, enc A256GCM, no zip, no crit, the
// given cty, kid the key's thumbprint.
func (k *OpeningKey) open(text, cty string) (string, *gateway.Refusal) {
	if len(text) > MaxJWE {
		return "", refuse(gateway.UnknownCredential, "longer than %d bytes", MaxJWE)
	}
	var raw [5][]byte
	for i, p := range strings.SplitN(text, ".", len(raw)) {
		b, err := decode(p)
		if err != nil {
			return "", refuse(gateway.UnknownCredential, "part %d is not strict base64url", i+1)
		}
		raw[i] = b
	}
	// Direct agreement has no encrypted key (RFC 7516 §5.2), and A256GCM fixes the
	// other two lengths; go-jose lets both the key and a longer tag pass.
	if len(raw[1]) != 0 || len(raw[2]) != 12 || len(raw[4]) != 16 {
		return "", refuse(gateway.UnknownCredential, "sealed: want no encrypted key, an IV of 12 bytes and a tag of 16")
	}
	header, err := parseObject(raw[0], headerNames...)
	if err != nil {
		return "", refuse(gateway.UnknownCredential, "sealed header: %v", err)
	}
	want := map[string]string{"alg": "ECDH-ES", "enc": "A256GCM", "cty": cty, "kid": k.kid}
	for name, value := range want {
		if s, ok := jsonString(header[name]); !ok || s != value {
			return "", refuse(gateway.UnknownCredential, "sealed header: want %s %q", name, value)
		}
	}
	for _, name := range []string{"zip", "crit"} {
		if _, ok := header[name]; ok {
			return "", refuse(gateway.UnknownCredential, "sealed header: member %q is not allowed", name)
		}
	}
	e, err := jose.ParseEncryptedCompact(text, []jose.KeyAlgorithm{jose.ECDH_ES}, []jose.ContentEncryption{jose.A256GCM})
	if err != nil {
		return "", refuse(gateway.UnknownCredential, "not a JWE")
	}
	plain, err := k.decrypt(e)
	if err != nil {
		return "", refuse(gateway.UnknownCredential, "it does not open with this gateway's key")
	}
	return string(plain), nil
}
