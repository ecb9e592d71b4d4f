package tokens

import (
	"crypto/ecdsa"
	"crypto/sha256"
	"encoding/json"
	"time"

	"github.com/go-jose/go-jose/v4"

	"gardien/gateway"
)

// Proof is a proof of possession, taken apart. Nonce is readable before anything
// is believed, since the first proof that names a nonce spends it.
type Proof struct {
	Nonce string
	jws   *jws
	claim object
}

// ParseProof takes a proof apart; every fault of it is bad_proof.
func ParseProof(text string) (*Proof, *gateway.Refusal) {
	j, r := parseJWS(text)
	if r != nil {
		return nil, refuse(gateway.BadProof, "%s", r.Detail)
	}
	claim, err := parseObject(j.payload, "nonce", "aud", "door", "ath", "iat")
	if err != nil {
		return nil, refuse(gateway.BadProof, "claims: %v", err)
	}
	nonce, ok := jsonString(claim["nonce"])
	if !ok {
		return nil, refuse(gateway.BadProof, "claim \"nonce\": want a string")
	}
	return &Proof{nonce, j, claim}, nil
}

// Verify holds a proof against what it must prove: that the holder's key signed
// this gateway, door and grant text. It gives the proof's iat, which the caller
// holds against the clock.
func (p *Proof) Verify(gw gateway.GatewayID, door gateway.DoorID, grantText, holder string) (time.Time, *gateway.Refusal) {
	said, ath, r := p.says(gw)
	sum := sha256.Sum256([]byte(grantText))
	switch {
	case r != nil:
		return time.Time{}, r
	case said.Holder != holder:
		return time.Time{}, refuse(gateway.BadProof, "the key is not the grant's holder")
	case said.Door != door:
		return time.Time{}, refuse(gateway.BadProof, "claim \"door\": want this door's id")
	case ath != strict.EncodeToString(sum[:]):
		return time.Time{}, refuse(gateway.BadProof, "claim \"ath\": want the SHA-256 of the grant text")
	}
	return said.IssuedAt, nil
}

// says gives what a proof for this gateway says, when the key in its header has signed it. That it is
// somebody's in particular is for the caller to find.
func (p *Proof) says(gw gateway.GatewayID) (said gateway.Possession, ath string, r *gateway.Refusal) {
	key, r := headerKey(p.jws)
	if r != nil {
		return said, "", r
	}
	if !p.jws.is("typ", TypProof) {
		return said, "", refuse(gateway.BadProof, "typ is not %q", TypProof)
	}
	if r := p.jws.checkSignature(key); r != nil {
		return said, "", refuse(gateway.BadProof, "%s", r.Detail)
	}
	c := &claims{object: p.claim}
	c.text("aud", true, exactly(string(gw)), "this gateway's id")
	door := c.text("door", true, func(s string) bool { return gateway.DoorID(s).Valid() }, "a door's id")
	ath = c.text("ath", true, gateway.ValidThumbprint, "a SHA-256 in base64url")
	iat := c.instant("iat")
	if c.err != nil {
		return said, "", refuse(gateway.BadProof, "%v", c.err)
	}
	return gateway.Possession{Holder: key.kid, Door: gateway.DoorID(door), IssuedAt: iat}, ath, nil
}

// headerKey reads the header's jwk: exactly kty, crv, x, y, in a header of exactly alg,
// typ, jwk.
func headerKey(j *jws) (PublicKey, *gateway.Refusal) {
	bad := func(why string) (PublicKey, *gateway.Refusal) {
		return PublicKey{}, refuse(gateway.BadProof, "%s", why)
	}
	if len(j.header) != 3 {
		return bad("the header is not exactly alg, typ, jwk")
	}
	raw, ok := j.header["jwk"]
	if !ok {
		return bad("the header has no jwk")
	}
	members, err := parseObject(raw)
	if err != nil || len(members) != 4 {
		return bad("the jwk is not exactly kty, crv, x, y")
	}
	for _, name := range []string{"kty", "crv", "x", "y"} {
		if _, ok := members[name]; !ok {
			return bad("the jwk is not exactly kty, crv, x, y")
		}
	}
	var jwk jose.JSONWebKey
	if json.Unmarshal(raw, &jwk) != nil || !strictPoint(members) {
		return bad("the jwk is not a key")
	}
	pub, ok := jwk.Key.(*ecdsa.PublicKey)
	if !ok || !p256(pub) {
		return bad("the jwk is not on P-256")
	}
	key, err := newPublicKey(pub)
	if err != nil {
		return bad("the jwk is not on P-256")
	}
	return key, nil
}

// SignProof is what a holder's phone does: it proves possession of the key for one
// nonce, gateway, door and grant text.
func SignProof(key *SigningKey, nonce string, gw gateway.GatewayID, door gateway.DoorID, grantText string, iat time.Time) (string, error) {
	sum := sha256.Sum256([]byte(grantText))
	public, err := key.JWK()
	if err != nil {
		return "", err
	}
	return key.compactWith(
		map[string]any{"alg": key.alg, "typ": TypProof, "jwk": json.RawMessage(public)},
		map[string]any{"nonce": nonce, "aud": gw, "door": door, "ath": strict.EncodeToString(sum[:]), "iat": iat.Unix()})
}

// Nonce reads the nonce that a proof names.
func (v *Verifier) Nonce(proof string) (string, *gateway.Refusal) {
	p, r := ParseProof(proof)
	if r != nil {
		return "", r
	}
	return p.Nonce, nil
}

// Proof holds a proof's text against what it must prove and gives its iat.
func (v *Verifier) Proof(proof string, door gateway.DoorID, grantText, holder string) (time.Time, *gateway.Refusal) {
	p, r := ParseProof(proof)
	if r != nil {
		return time.Time{}, r
	}
	return p.Verify(v.Gateway, door, grantText, holder)
}

// Possession reads what a proof says for this gateway, where the text of the grant is not at hand:
// its ath has the form of one, and is held against nothing.
func (v *Verifier) Possession(proof string) (said gateway.Possession, r *gateway.Refusal) {
	p, r := ParseProof(proof)
	if r == nil {
		said, _, r = p.says(v.Gateway)
	}
	return said, r
}
