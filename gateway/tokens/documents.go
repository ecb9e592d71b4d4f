package tokens

import (
	"encoding/json"
	"fmt"
	"math"
	"time"

	"gardien/gateway"
)

// What crosses the cloud beside grants (contract §4). The jti of a manifest and of a key
// set are fixed, so that each issuer has one of each at a gateway.
const (
	JTIManifest = "manifest"
	JTIKeys     = "keys"
)

var feedNames = []string{"iss", "aud", "jti", "iat", "exp", "ver", "door", "action", "next_update", "count", "digest", "jwks"}

func anyText(string) bool { return true }

func exactly(want string) func(string) bool { return func(s string) bool { return s == want } }

// feedDocument verifies a document other than a grant and hands its claims to read.
func (v *Verifier) feedDocument(text, typ string, read func(*claims)) *gateway.Refusal {
	payload, _, r := v.document(text, typ, feedNames)
	if r != nil {
		return r
	}
	c := &claims{object: payload}
	read(c)
	aud := c.audience()
	if c.err != nil {
		return refuse(gateway.UnknownCredential, "%v", c.err)
	}
	if aud != string(v.Gateway) {
		return refuse(gateway.WrongGateway, "aud is not %s", v.Gateway)
	}
	return nil
}

func (c *claims) issuer() gateway.IssuerID {
	return gateway.IssuerID(c.text("iss", true, anyText, "a string"))
}

// Command verifies a command: action unlock, exp at most 30 s after iat. Whether it is
// good now is not its question.
func (v *Verifier) Command(text string) (m gateway.Command, r *gateway.Refusal) {
	r = v.feedDocument(text, TypCommand, func(c *claims) {
		m = gateway.Command{Issuer: c.issuer(), JTI: c.text("jti", true, gateway.ValidJTI, "1–64 of A–Z a–z 0–9 . _ -"),
			IssuedAt: c.instant("iat"), NotAfter: c.instant("exp"),
			Door: gateway.DoorID(c.text("door", true, func(s string) bool { return gateway.DoorID(s).Valid() }, "a door id"))}
		c.text("action", true, exactly("unlock"), `"unlock"`)
		if life := m.NotAfter.Sub(m.IssuedAt); c.err == nil && (life <= 0 || life > gateway.CommandLife) {
			c.fail("exp", "it later than iat, by at most 30 s")
		}
	})
	return m, r
}

// Manifest verifies a manifest.
func (v *Verifier) Manifest(text string) (m gateway.Manifest, r *gateway.Refusal) {
	r = v.feedDocument(text, TypManifest, func(c *claims) {
		m = gateway.Manifest{Issuer: c.issuer(), Version: c.int("ver", true, 1, maxSafeInteger), IssuedAt: c.instant("iat"),
			NextUpdate: c.instant("next_update"), Count: int(c.int("count", true, 0, math.MaxInt32))}
		c.text("jti", true, exactly(JTIManifest), `"manifest"`)
		c.text("digest", true, func(s string) bool { return m.Digest.UnmarshalText([]byte(s)) == nil }, "a SHA-256 in base64url")
		if c.err == nil && !m.NextUpdate.After(m.IssuedAt) {
			c.fail("next_update", "it later than iat")
		}
	})
	return m, r
}

// Keys verifies an issuer's next key set, which a key of its present one has signed.
func (v *Verifier) Keys(text string) (k gateway.KeyRing, r *gateway.Refusal) {
	r = v.feedDocument(text, TypKeys, func(c *claims) {
		k = gateway.KeyRing{Issuer: c.issuer(), Version: c.int("ver", true, 1, maxSafeInteger), IssuedAt: c.instant("iat")}
		c.text("jti", true, exactly(JTIKeys), `"keys"`)
		raw, _ := c.raw("jwks", true)
		if c.err != nil {
			return
		}
		if _, err := ParseKeySet(raw); err != nil {
			c.err = fmt.Errorf("claim \"jwks\": %w", err)
		}
		k.JWKS = raw
	})
	return k, r
}

// SignCommand writes a command.
func SignCommand(key *SigningKey, aud gateway.GatewayID, m gateway.Command) (string, error) {
	return key.compact(TypCommand, map[string]any{"iss": m.Issuer, "aud": aud, "jti": m.JTI, "iat": m.IssuedAt.Unix(),
		"exp": m.NotAfter.Unix(), "door": m.Door, "action": "unlock"})
}

// SignManifest writes a manifest.
func SignManifest(key *SigningKey, aud gateway.GatewayID, m gateway.Manifest) (string, error) {
	return key.compact(TypManifest, map[string]any{"iss": m.Issuer, "aud": aud, "jti": JTIManifest, "ver": m.Version,
		"iat": m.IssuedAt.Unix(), "next_update": m.NextUpdate.Unix(), "count": m.Count, "digest": m.Digest})
}

// SignKeys writes an issuer's next key set.
func SignKeys(key *SigningKey, aud gateway.GatewayID, k gateway.KeyRing) (string, error) {
	text, err := key.compact(TypKeys, map[string]any{"iss": k.Issuer, "aud": aud, "jti": JTIKeys, "ver": k.Version,
		"iat": k.IssuedAt.Unix(), "jwks": k.JWKS})
	if err == nil && len(text) > MaxJWS {
		err = fmt.Errorf("the key set makes %d bytes, more than %d: keep fewer keys", len(text), MaxJWS)
	}
	return text, err
}

// AssertionLife is how long an assertion is good for.
const AssertionLife = 5 * time.Minute

// assertionLeeway is how far the clocks of client and cloud may be apart.
const assertionLeeway = time.Minute

// SignAssertion writes what a gateway or an issuer shows a cloud: who it is, for that
// cloud only, for five minutes.
func SignAssertion(key *SigningKey, iss, origin string, now time.Time) (string, error) {
	return key.compact(TypAuth, map[string]any{"iss": iss, "aud": origin, "iat": now.Unix(),
		"exp": now.Add(AssertionLife).Unix(), "jti": gateway.NewJTI()})
}

// Assertion is one taken apart and not yet believed.
type Assertion struct {
	Issuer string // who it says it is, to look its keys up by
	jws    *jws
	claim  object
}

// ParseAssertion takes an assertion apart.
func ParseAssertion(text string) (*Assertion, error) {
	j, r := parseJWS(text)
	if r != nil {
		return nil, fmt.Errorf("assertion: %s", r.Detail)
	}
	claim, err := parseObject(j.payload, "iss", "aud", "iat", "exp", "jti")
	if err != nil {
		return nil, fmt.Errorf("assertion: %w", err)
	}
	iss, r := unverifiedIssuer(claim)
	if r != nil {
		return nil, fmt.Errorf("assertion: %s", r.Detail)
	}
	return &Assertion{string(iss), j, claim}, nil
}

// Verify holds an assertion against the keys of who it says it is, and the origins that
// the cloud answers to.
func (a *Assertion) Verify(set KeySet, origin func(string) bool, now time.Time) error {
	if r := a.jws.verify(TypAuth, set); r != nil {
		return fmt.Errorf("assertion: %s", r.Detail)
	}
	c := &claims{object: a.claim}
	aud, iat, exp := c.audience(), c.instant("iat"), c.instant("exp")
	c.text("jti", true, func(s string) bool { return s != "" && len(s) <= 64 }, "1–64 characters")
	switch {
	case c.err != nil:
		return fmt.Errorf("assertion: %w", c.err)
	case !origin(aud):
		return fmt.Errorf("assertion: aud %q is not this cloud's origin", aud)
	case !exp.After(iat) || exp.Sub(iat) > AssertionLife:
		return fmt.Errorf("assertion: exp must lie after iat, by at most %s", AssertionLife)
	case iat.After(now.Add(assertionLeeway)):
		return fmt.Errorf("assertion: iat is %s ahead: set the clock", iat.Sub(now).Round(time.Second))
	case !now.Before(exp.Add(assertionLeeway)):
		return fmt.Errorf("assertion: it ended %s ago: set the clock, or sign a new one", now.Sub(exp).Round(time.Second))
	}
	return nil
}

// OpenedEvent is an event as its issuer reads it.
type OpenedEvent struct {
	Gateway gateway.GatewayID `json:"gateway"`
	Log     string            `json:"log"`
	Event   json.RawMessage   `json:"event"` // contract §3 without seq, prev and hash
}

// SealEvent signs an event of one of an issuer's grants and seals it to the issuer.
// Without a key that receives it is sealed to nobody: the numbering stays dense, and
// nobody reads it.
func (id *Identity) SealEvent(to gateway.IssuerID, set KeySet, log string, e gateway.Event, now time.Time) (string, error) {
	b, err := json.Marshal(e)
	if err != nil {
		return "", err
	}
	var members map[string]json.RawMessage
	if err := json.Unmarshal(b, &members); err != nil {
		return "", err
	}
	for _, others := range []string{"seq", "prev", "hash", "resident", "device"} {
		delete(members, others)
	}
	text, err := id.Signing.compact(TypEvent, map[string]any{"iss": id.ID, "aud": to, "iat": now.Unix(), "log": log, "event": members})
	if err != nil {
		return "", err
	}
	key, ok := set.Receiving()
	if !ok {
		nobody, err := GenerateOpening()
		if err != nil {
			return "", err
		}
		key = nobody.PublicKey
	}
	return Seal(text, TypEvent, key)
}

// OpenEvent opens an event that a gateway has sealed to the issuer; keys finds the
// gateway's signing key.
func OpenEvent(key *OpeningKey, iss gateway.IssuerID, text string, keys func(gateway.GatewayID) (KeySet, error)) (*OpenedEvent, error) {
	inner, r := key.open(text, TypEvent)
	if r != nil {
		return nil, fmt.Errorf("event: %s", r.Detail)
	}
	j, r := parseJWS(inner)
	if r != nil {
		return nil, fmt.Errorf("event: %s", r.Detail)
	}
	payload, err := parseObject(j.payload, "iss", "aud", "iat", "log", "event")
	if err != nil {
		return nil, fmt.Errorf("event: %w", err)
	}
	c := &claims{object: payload}
	gw := gateway.GatewayID(c.text("iss", true, anyText, "a gateway's id"))
	c.text("aud", true, exactly(string(iss)), "this issuer's id")
	c.instant("iat")
	log := c.text("log", true, func(s string) bool { return s != "" && len(s) <= 64 }, "a log's id")
	raw, _ := c.raw("event", true)
	if c.err != nil {
		return nil, fmt.Errorf("event: %w", c.err)
	}
	set, err := keys(gw)
	if err != nil {
		return nil, fmt.Errorf("event of %s: %w", gw, err)
	}
	if r := j.verify(TypEvent, set); r != nil {
		return nil, fmt.Errorf("event of %s: %s", gw, r.Detail)
	}
	return &OpenedEvent{gw, log, raw}, nil
}
