package tokens

import (
	"crypto"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/sha256"
	"crypto/x509"
	"encoding/asn1"
	"encoding/base32"
	"encoding/json"
	"errors"
	"fmt"
	"math/big"
	"slices"
	"strings"

	"github.com/go-jose/go-jose/v4"

	"gardien/gateway"
)

// Signature algorithms: JWA's names, and RFC 9864's for Ed25519.
const (
	algES256   = "ES256"
	algEdDSA   = "EdDSA"
	algEd25519 = "Ed25519"
)

// PublicKey verifies; it fixes its algorithm.
type PublicKey struct {
	alg string // algES256 or algEdDSA
	key crypto.PublicKey
	kid string
}

// KeyID is the RFC 7638 thumbprint in base64url.
func (k PublicKey) KeyID() string { return k.kid }

func (k PublicKey) allows(alg string) bool {
	return alg == k.alg || k.alg == algEdDSA && alg == algEd25519
}

func (k PublicKey) verify(message, sig []byte) bool {
	if len(sig) != 64 {
		return false
	}
	switch key := k.key.(type) {
	case ed25519.PublicKey:
		return ed25519.Verify(key, message, sig)
	case *ecdsa.PublicKey:
		sum := sha256.Sum256(message)
		r, s := new(big.Int).SetBytes(sig[:32]), new(big.Int).SetBytes(sig[32:])
		return ecdsa.Verify(key, sum[:], r, s)
	}
	return false
}

func newPublicKey(key crypto.PublicKey) (PublicKey, error) {
	k := PublicKey{key: key}
	switch pub := key.(type) {
	case ed25519.PublicKey:
		k.alg = algEdDSA
	case *ecdsa.PublicKey:
		if pub.Curve != elliptic.P256() {
			return k, errors.New("want a key on P-256 or Ed25519")
		}
		k.alg = algES256
	default:
		return k, errors.New("want a key on P-256 or Ed25519")
	}
	sum, err := (&jose.JSONWebKey{Key: key}).Thumbprint(crypto.SHA256)
	k.kid = strict.EncodeToString(sum)
	return k, err
}

// JWK is the public key alone (RFC 7517), as a DPoP proof and a proof's header have it.
func (k PublicKey) JWK() ([]byte, error) { return json.Marshal(jose.JSONWebKey{Key: k.key}) }

func (k PublicKey) jwk(use string) jose.JSONWebKey {
	return jose.JSONWebKey{Key: k.key, KeyID: k.kid, Use: use}
}

// SigningKey signs. Its secret is out of reach of every printer.
type SigningKey struct {
	PublicKey
	sign  func(message []byte) []byte
	write func() ([]byte, error)
}

// GenerateES256 makes a signing key on P-256.
func GenerateES256() (*SigningKey, error) {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return nil, err
	}
	return newSigningKey(key)
}

// GenerateEd25519 makes a signing key on Ed25519.
func GenerateEd25519() (*SigningKey, error) {
	_, key, err := ed25519.GenerateKey(rand.Reader)
	if err != nil {
		return nil, err
	}
	return newSigningKey(key)
}

func newSigningKey(key crypto.Signer) (*SigningKey, error) {
	pub, err := newPublicKey(key.Public())
	if err != nil {
		return nil, err
	}
	return &SigningKey{
		PublicKey: pub,
		sign: func(message []byte) []byte {
			switch key := key.(type) {
			case *ecdsa.PrivateKey:
				return signES256(key, message)
			case ed25519.PrivateKey:
				return ed25519.Sign(key, message)
			}
			panic("unreachable: newPublicKey admits two kinds")
		},
		write: func() ([]byte, error) {
			return json.Marshal(jose.JSONWebKey{Key: key, KeyID: pub.kid, Algorithm: pub.alg, Use: "sig"})
		},
	}, nil
}

// signES256 signs as RFC 6979 says: the same text has the same signature each time, as with
// Ed25519, so that a receipt is the same whenever it is asked for.
func signES256(key *ecdsa.PrivateKey, message []byte) []byte {
	sum := sha256.Sum256(message)
	der, err := key.Sign(nil, sum[:], crypto.SHA256)
	var pair struct{ R, S *big.Int }
	if err == nil {
		_, err = asn1.Unmarshal(der, &pair)
	}
	if err != nil {
		panic(err) // only a broken key, which is no input
	}
	sig := make([]byte, 64)
	pair.R.FillBytes(sig[:32])
	pair.S.FillBytes(sig[32:])
	return sig
}

// ParseSigningKey reads a private JWK.
func ParseSigningKey(b []byte) (*SigningKey, error) {
	var jwk jose.JSONWebKey
	if err := json.Unmarshal(b, &jwk); err != nil {
		return nil, errors.New("not a JWK")
	}
	signer, ok := jwk.Key.(crypto.Signer)
	if !ok {
		return nil, errors.New("not a private JWK")
	}
	if key, ok := signer.(*ecdsa.PrivateKey); ok && !pair(key) {
		return nil, errors.New("not a private JWK: x, y and d do not belong together")
	}
	return newSigningKey(signer)
}

// Marshal gives the private JWK, for a file of mode 0600.
func (k *SigningKey) Marshal() ([]byte, error) { return k.write() }

// compact signs claims under a header of alg, typ and kid.
func (k *SigningKey) compact(typ string, claims any) (string, error) {
	return k.compactWith(map[string]any{"alg": k.alg, "typ": typ, "kid": k.kid}, claims)
}

func (k *SigningKey) compactWith(header map[string]any, claims any) (string, error) {
	h, err := json.Marshal(header)
	if err != nil {
		return "", err
	}
	c, err := json.Marshal(claims)
	if err != nil {
		return "", err
	}
	signed := strict.EncodeToString(h) + "." + strict.EncodeToString(c)
	return signed + "." + strict.EncodeToString(k.sign([]byte(signed))), nil
}

// KeySet is an issuer's keys: those that sign, by kid, and one that receives.
type KeySet struct {
	verifying map[string]PublicKey
	receiving *jose.JSONWebKey
}

// NewKeySet makes a set of verifying keys.
func NewKeySet(keys ...PublicKey) KeySet {
	s := KeySet{verifying: map[string]PublicKey{}}
	for _, k := range keys {
		s.verifying[k.kid] = k
	}
	return s
}

// KeyIDs lists the verifying keys, sorted.
func (s KeySet) KeyIDs() []string {
	var ids []string
	for kid := range s.verifying {
		ids = append(ids, kid)
	}
	slices.Sort(ids)
	return ids
}

// Receiving gives the key that the issuer's events are sealed to; ok is false where it
// has none.
func (s KeySet) Receiving() (key PublicKey, ok bool) {
	if s.receiving == nil {
		return PublicKey{}, false
	}
	key, err := newPublicKey(s.receiving.Key)
	return key, err == nil
}

// MaxKeys bounds a key set.
const MaxKeys = 16

// ParseKeySet reads an issuer's JWKS (RFC 7517): 1–16 public keys; a kid must be
// the RFC 7638 thumbprint; one P-256 key with use "enc" receives events.
func ParseKeySet(b []byte) (KeySet, error) {
	set := NewKeySet()
	top, err := parseObject(b, "keys")
	if err != nil {
		return set, err
	}
	var list []json.RawMessage
	if json.Unmarshal(top["keys"], &list) != nil || len(list) == 0 || len(list) > MaxKeys {
		return set, fmt.Errorf("want \"keys\": a list of 1 to %d keys", MaxKeys)
	}
	for i, raw := range list {
		if err := set.add(raw); err != nil {
			return set, fmt.Errorf("key %d: %w", i+1, err)
		}
	}
	if len(set.verifying) == 0 {
		return set, errors.New("no key that verifies signatures")
	}
	return set, nil
}

func (s *KeySet) add(raw []byte) error {
	members, err := parseObject(raw, "kty", "crv", "x", "y", "kid", "use", "alg", "d", "k")
	if err != nil {
		return err
	}
	for _, private := range []string{"d", "k", "p", "q", "dp", "dq", "qi", "oth"} {
		if _, ok := members[private]; ok {
			return fmt.Errorf("member %q is private: give the public key only", private)
		}
	}
	var jwk jose.JSONWebKey
	if err := json.Unmarshal(raw, &jwk); err != nil || !strictPoint(members) {
		return errors.New("not a JWK on P-256 or Ed25519")
	}
	pub, err := newPublicKey(jwk.Key)
	if err != nil {
		return err
	}
	if _, ok := members["kid"]; ok && jwk.KeyID != pub.kid {
		return fmt.Errorf("kid is not the key's RFC 7638 thumbprint %s", pub.kid)
	}
	if _, ok := members["use"]; ok && jwk.Use != "sig" && jwk.Use != "enc" {
		return errors.New("want use \"sig\" or \"enc\"")
	}
	if jwk.Use == "enc" {
		if pub.alg != algES256 || s.receiving != nil {
			return errors.New("want at most one key with use \"enc\", on P-256")
		}
		enc := pub.jwk("enc")
		s.receiving = &enc
		return nil
	}
	if _, ok := members["alg"]; ok && !pub.allows(jwk.Algorithm) {
		return fmt.Errorf("alg is not that of the key (%s)", pub.alg)
	}
	if _, twice := s.verifying[pub.kid]; twice {
		return errors.New("the key stands twice")
	}
	s.verifying[pub.kid] = pub
	return nil
}

// strictPoint refuses the second spellings of x and y that go-jose takes.
func strictPoint(jwk object) bool {
	for _, name := range []string{"x", "y"} {
		if raw, ok := jwk[name]; ok {
			s, isString := jsonString(raw)
			if _, err := decode(s); !isString || err != nil {
				return false
			}
		}
	}
	return true
}

// MarshalKeySet writes a JWKS of public keys: one that signs, one that receives if there
// is one, and more that sign, as in a rotation.
func MarshalKeySet(signing PublicKey, receiving *PublicKey, more ...PublicKey) ([]byte, error) {
	set := jose.JSONWebKeySet{Keys: []jose.JSONWebKey{signing.jwk("sig")}}
	for _, k := range more {
		set.Keys = append(set.Keys, k.jwk("sig"))
	}
	if receiving != nil {
		set.Keys = append(set.Keys, receiving.jwk("enc"))
	}
	return json.MarshalIndent(set, "", "  ")
}

// OpeningKey opens what was sealed to it: ECDH-ES on P-256.
type OpeningKey struct {
	PublicKey
	decrypt func(*jose.JSONWebEncryption) ([]byte, error)
	write   func() ([]byte, error)
}

// GenerateOpening makes a key to receive sealed texts with.
func GenerateOpening() (*OpeningKey, error) {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return nil, err
	}
	return newOpeningKey(key)
}

func newOpeningKey(key *ecdsa.PrivateKey) (*OpeningKey, error) {
	pub, err := newPublicKey(key.Public())
	if err != nil {
		return nil, err
	}
	return &OpeningKey{
		PublicKey: pub,
		decrypt:   func(e *jose.JSONWebEncryption) ([]byte, error) { return e.Decrypt(key) },
		write: func() ([]byte, error) {
			return json.Marshal(jose.JSONWebKey{Key: key, KeyID: pub.kid, Algorithm: "ECDH-ES", Use: "enc"})
		},
	}, nil
}

// ParseOpeningKey reads a private JWK on P-256.
func ParseOpeningKey(b []byte) (*OpeningKey, error) {
	var jwk jose.JSONWebKey
	if err := json.Unmarshal(b, &jwk); err != nil {
		return nil, errors.New("not a JWK")
	}
	key, ok := jwk.Key.(*ecdsa.PrivateKey)
	if !ok || !pair(key) {
		return nil, errors.New("not a private JWK on P-256")
	}
	return newOpeningKey(key)
}

// Marshal gives the private JWK, for a file of mode 0600.
func (k *OpeningKey) Marshal() ([]byte, error) { return k.write() }

// GatewayIDOf derives a gateway's id from its signing key.
func GatewayIDOf(key PublicKey) (gateway.GatewayID, error) {
	der, err := x509.MarshalPKIXPublicKey(key.key)
	if err != nil {
		return "", err
	}
	sum := sha256.Sum256(der)
	name := base32.StdEncoding.WithPadding(base32.NoPadding).EncodeToString(sum[:])
	return gateway.GatewayID("gw-" + strings.ToLower(name[:10])), nil
}

// pair reports whether the private half belongs to the public one, which go-jose
// leaves open for elliptic curves.
func pair(key *ecdsa.PrivateKey) bool {
	private, err := key.ECDH()
	if err != nil {
		return false
	}
	public, err := key.PublicKey.ECDH()
	return err == nil && private.PublicKey().Equal(public)
}

// p256 reports whether x, y is a point of the curve, other than infinity.
func p256(key *ecdsa.PublicKey) bool {
	_, err := key.ECDH()
	return err == nil && key.Curve == elliptic.P256()
}
