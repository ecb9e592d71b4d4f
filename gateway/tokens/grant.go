package tokens

import (
	"encoding/json"
	"errors"
	"fmt"
	"math"
	"strings"
	"unicode"
	"unicode/utf8"

	"gardien/gateway"
)

// Trust finds an issuer's keys; ok is false where the issuer is not configured.
type Trust func(gateway.IssuerID) (set KeySet, ok bool)

// Verifier verifies what is addressed to one gateway.
type Verifier struct {
	Gateway gateway.GatewayID
	Trust   Trust
	Opening *OpeningKey
}

// Grant verifies a grant, sealed or not: parse, iss, signature, claims, aud, in this
// order; the first failure is the refusal. Whether it is valid now, and within
// policy, is not its question. With a refusal after the signature was found
// good the grant's ID is returned too, for the record.
func (v *Verifier) Grant(text string) (gateway.Grant, *gateway.Refusal) {
	payload, sealed, r := v.document(text, TypGrant, grantNames)
	if r != nil {
		return gateway.Grant{}, r
	}
	g, aud, err := readGrant(payload, sealed)
	if err != nil {
		if g.ID.JTI == "" {
			g.ID = gateway.GrantID{}
		}
		return gateway.Grant{ID: g.ID}, refuse(gateway.UnknownCredential, "%v", err)
	}
	if aud != string(v.Gateway) {
		return gateway.Grant{ID: g.ID}, refuse(gateway.WrongGateway, "aud is not %s", v.Gateway)
	}
	return g, nil
}

// document opens a text if it is sealed, and verifies that an issuer of this gateway
// signed it as a document of that type. The claims are still to be read.
func (v *Verifier) document(text, typ string, names []string) (payload object, sealed bool, r *gateway.Refusal) {
	if sealed = isSealed(text); sealed {
		if text, r = v.Opening.open(text, typ); r != nil {
			return nil, sealed, r
		}
	}
	j, r := parseJWS(text)
	if r != nil {
		return nil, sealed, r
	}
	payload, err := parseObject(j.payload, names...)
	if err != nil {
		return nil, sealed, refuse(gateway.UnknownCredential, "claims: %v", err)
	}
	iss, r := unverifiedIssuer(payload)
	if r != nil {
		return nil, sealed, r
	}
	set, ok := v.Trust(iss)
	if !ok {
		return nil, sealed, refuse(gateway.UnknownIssuer, "the issuer is not configured at this gateway")
	}
	return payload, sealed, j.verify(typ, set)
}

var grantNames = []string{"iss", "aud", "jti", "iat", "nbf", "exp", "ver", "status", "doors", "uses", "schedule", "sub", "cnf", "pin", "card"}

const maxSafeInteger = 1<<53 - 1

// readGrant holds the claims against contract §1 and §8; unknown members are ignored (A6).
func readGrant(payload object, sealed bool) (gateway.Grant, string, error) {
	c := &claims{object: payload}
	g := gateway.Grant{
		ID: gateway.GrantID{
			Issuer: gateway.IssuerID(c.text("iss", true, func(string) bool { return true }, "a string")),
			JTI:    c.text("jti", true, gateway.ValidJTI, "1–64 of A–Z a–z 0–9 . _ -"),
		},
		IssuedAt: c.instant("iat"),
		Period:   gateway.Period{NotBefore: c.instant("nbf"), NotAfter: c.instant("exp")},
		Version:  c.int("ver", true, 1, maxSafeInteger),
		Status:   gateway.GrantActive,
		Uses:     int(c.int("uses", false, 1, math.MaxInt32)),
		Sub:      c.text("sub", false, validSub, "at most 64 characters without control characters"),
	}
	if _, ok := payload["status"]; ok {
		g.Status = gateway.GrantStatus(c.text("status", true, validStatus, `"active" or "revoked"`))
	}
	for _, d := range c.texts("doors", 1, 8, func(s string) bool { return gateway.DoorID(s).Valid() }, "a list of 1–8 door ids") {
		g.Doors = append(g.Doors, gateway.DoorID(d))
	}
	if c.err == nil && !g.NotBefore.Before(g.NotAfter) {
		c.fail("exp", "it later than nbf")
	}
	g.Schedule = c.schedule()
	g.Holder = c.holder()
	if _, ok := payload["pin"]; ok {
		digits := c.text("pin", true, validPIN, "6–10 digits")
		if !sealed {
			c.fail("pin", "it only inside a sealed grant")
		}
		g.PIN = gateway.PIN{Secret: gateway.NewSecret(digits)}
	}
	if _, ok := payload["card"]; ok {
		text := c.text("card", true, validCard, "BITS:FACILITY:NUMBER")
		if !sealed {
			c.fail("card", "it only inside a sealed grant")
		}
		g.Card = gateway.Card{Secret: gateway.NewSecret(text)}
	}
	// A claim of home's alone: what a third party's grant needs is its policy's to say (A6).
	if _, ok := payload["approval"]; ok && g.ID.Issuer == gateway.HomeIssuer {
		g.Approval = gateway.Approval(c.text("approval", true, validApproval, `"deny" or "approve"`))
	}
	return g, c.audience(), c.err
}

func validCard(s string) bool { _, err := gateway.ParseCard(s); return err == nil }

func validSub(s string) bool {
	return utf8.RuneCountInString(s) <= 64 && !strings.ContainsFunc(s, unicode.IsControl)
}

func validStatus(s string) bool {
	return s == string(gateway.GrantActive) || s == string(gateway.GrantRevoked)
}

func validApproval(s string) bool {
	return s == string(gateway.SilenceDenies) || s == string(gateway.SilenceOpens)
}

func validPIN(s string) bool {
	return len(s) >= gateway.MinPIN && len(s) <= gateway.MaxPIN && strings.Trim(s, "0123456789") == ""
}

// audience takes a string, or a list of one.
func (c *claims) audience() string {
	v, ok := c.raw("aud", true)
	if !ok {
		return ""
	}
	if v[0] == '[' {
		one := c.texts("aud", 1, 1, func(string) bool { return true }, "a string, or a list of one")
		if len(one) == 1 {
			return one[0]
		}
		return ""
	}
	return c.text("aud", true, func(string) bool { return true }, "a string, or a list of one")
}

func (c *claims) schedule() *gateway.Schedule {
	v, ok := c.raw("schedule", false)
	if !ok || c.err != nil {
		return nil
	}
	s, err := ParseSchedule(v)
	if err != nil {
		c.fail("schedule", err.Error())
		return nil
	}
	return s
}

// ParseSchedule reads the schedule claim: {"windows":[{"days","from","to"}],"except":[…]}.
func ParseSchedule(b []byte) (*gateway.Schedule, error) {
	o, err := parseObject(b, "windows", "except")
	if err != nil {
		return nil, err
	}
	c := &claims{object: o}
	s := &gateway.Schedule{}
	raw, _ := c.raw("windows", true)
	var windows []json.RawMessage
	if c.err != nil || json.Unmarshal(raw, &windows) != nil || len(windows) > gateway.MaxWindows {
		return nil, fmt.Errorf("a list of 1–%d windows", gateway.MaxWindows)
	}
	for _, raw := range windows {
		w, err := readWindow(raw)
		if err != nil {
			return nil, err
		}
		s.Windows = append(s.Windows, w)
	}
	if _, ok := o["except"]; ok {
		for _, text := range c.texts("except", 0, MaxJWS, func(string) bool { return true }, "a list of dates") {
			var d gateway.Date
			if err := d.UnmarshalText([]byte(text)); err != nil {
				return nil, err
			}
			s.Except = append(s.Except, d)
		}
	}
	if c.err != nil {
		return nil, c.err
	}
	return s, s.Validate()
}

func readWindow(raw json.RawMessage) (gateway.Window, error) {
	var w gateway.Window
	o, err := parseObject(raw, "days", "from", "to")
	if err != nil {
		return w, err
	}
	c := &claims{object: o}
	any := func(string) bool { return true }
	for _, name := range c.texts("days", 1, 7, any, "a list of 1–7 days") {
		var d gateway.Weekday
		if err := d.UnmarshalText([]byte(name)); err != nil {
			return w, err
		}
		w.Days = append(w.Days, d)
	}
	from, to := c.text("from", true, any, "HH:MM"), c.text("to", true, any, "HH:MM")
	err = errors.Join(c.err, w.From.UnmarshalText([]byte(from)), w.To.UnmarshalText([]byte(to)))
	return w, err
}

// holder reads cnf (RFC 7800): only the jkt method is known.
func (c *claims) holder() string {
	v, ok := c.raw("cnf", false)
	if !ok || c.err != nil {
		return ""
	}
	o, err := parseObject(v, "jkt")
	if err != nil {
		c.fail("cnf", `{"jkt":"…"}`)
		return ""
	}
	jkt, ok := jsonString(o["jkt"])
	if !ok || !gateway.ValidThumbprint(jkt) {
		c.fail("cnf", `{"jkt":"…"}, a SHA-256 thumbprint in base64url`)
		return ""
	}
	return jkt
}

// SignGrant writes a grant as a JWS addressed to one gateway. The PIN, if any, is
// in the text: seal it.
func SignGrant(key *SigningKey, aud gateway.GatewayID, g gateway.Grant) (string, error) {
	claims := map[string]any{
		"iss": g.ID.Issuer, "aud": aud, "jti": g.ID.JTI, "ver": g.Version, "doors": g.Doors,
		"iat": g.IssuedAt.Unix(), "nbf": g.NotBefore.Unix(), "exp": g.NotAfter.Unix(),
	}
	if g.Status == gateway.GrantRevoked {
		claims["status"] = g.Status
	}
	if g.Uses > 0 {
		claims["uses"] = g.Uses
	}
	if g.Schedule != nil {
		claims["schedule"] = g.Schedule
	}
	if g.Sub != "" {
		claims["sub"] = g.Sub
	}
	if g.Holder != "" {
		claims["cnf"] = map[string]string{"jkt": g.Holder}
	}
	if g.Approval != gateway.ApprovalOff {
		claims["approval"] = g.Approval
	}
	if !g.PIN.IsZero() {
		claims["pin"] = g.PIN.Reveal()
	}
	if !g.Card.IsZero() {
		claims["card"] = g.Card.Reveal()
	}
	text, err := key.compact(TypGrant, claims)
	if err == nil && len(text) > MaxJWS {
		err = fmt.Errorf("the grant has %d bytes, more than %d: use fewer windows or exceptions", len(text), MaxJWS)
	}
	return text, err
}
