// Package tokens reads and writes the signed texts that Gardien trusts: grants,
// proofs of possession, gateway descriptors, and what crosses the cloud besides:
// manifests, commands, key sets, events and assertions (JWS compact, RFC 7515, 7519,
// 8725), and the sealed envelope around them (JWE, ECDH-ES on P-256, A256GCM).
//
// Verification is strict, and stricter than JOSE libraries are by themselves
// (A2, A3). The key is chosen from the local trust store by issuer and kid, and
// the algorithm is fixed by that key: Ed25519 signs EdDSA (or its RFC 9864 name
// Ed25519), P-256 signs ES256. The header's word for it must merely agree. JSON is
// read once, by rules that leave one meaning: no duplicate or case-variant
// members, depth ≤ 5, plain integers, strict base64url.
//
// go-jose does JWE and JWK. The JWS signature itself is three base64url parts
// and one call of the standard library; going through a library there would mean
// proving for each of its leniences that we had closed it.
//
// The same texts are published as test vectors in testdata/vectors, one file
// each, for other people's implementations; its README says how to run them.
package tokens

import (
	"fmt"

	"gardien/gateway"
)

// Sizes, in bytes of text.
const (
	MaxJWS = 4096
	MaxJWE = 8192
)

// The typ of each document.
const (
	TypGrant    = "gardien-grant+jwt"
	TypProof    = "gardien-proof+jwt"
	TypGateway  = "gardien-gateway+jwt"
	TypAuth     = "gardien-auth+jwt"
	TypCommand  = "gardien-command+jwt"
	TypManifest = "gardien-manifest+jwt"
	TypKeys     = "gardien-keys+jwt"
	TypEvent    = "gardien-event+jwt"
)

func refuse(reason gateway.Reason, format string, args ...any) *gateway.Refusal {
	return &gateway.Refusal{Reason: reason, Detail: fmt.Sprintf(format, args...)}
}
