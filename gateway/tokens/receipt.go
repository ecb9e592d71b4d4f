package tokens

import (
	"fmt"
	"slices"
	"strings"
	"time"

	"gardien/gateway"
)

// TypReceipt is the typ of a gateway's word on one entry (contract §2).
const TypReceipt = "gardien-receipt+jwt"

// SignReceipt writes a receipt. The same receipt has the same text each time.
func (id *Identity) SignReceipt(r gateway.EntryReceipt) (string, error) {
	r.Gateway = id.ID
	text, err := id.Signing.compact(TypReceipt, r)
	if err == nil && len(text) > MaxJWS {
		err = fmt.Errorf("the receipt makes %d bytes, more than %d", len(text), MaxJWS)
	}
	return text, err
}

var receiptNames = []string{"iss", "grant", "door", "granted", "opened", "closed", "secured", "outcome", "head"}

// ReadReceipt verifies a receipt by the descriptor of the gateway that it is said to be of.
func (d *Descriptor) ReadReceipt(text string) (gateway.EntryReceipt, error) {
	r, err := d.readReceipt(text)
	if err != nil {
		return gateway.EntryReceipt{}, fmt.Errorf("receipt: %w", err)
	}
	return r, nil
}

func (d *Descriptor) readReceipt(text string) (r gateway.EntryReceipt, err error) {
	j, refusal := parseJWS(text)
	if refusal == nil {
		refusal = j.verify(TypReceipt, d.Keys)
	}
	if refusal != nil {
		return r, fmt.Errorf("%s", refusal.Detail)
	}
	payload, err := parseObject(j.payload, receiptNames...)
	if err != nil {
		return r, fmt.Errorf("claims: %w", err)
	}
	c := &claims{object: payload}
	c.text("iss", true, exactly(string(d.Gateway)), "the descriptor's gateway, "+string(d.Gateway))
	r = gateway.EntryReceipt{Gateway: d.Gateway, Door: gateway.DoorID(c.text("door", true, func(s string) bool { return gateway.DoorID(s).Valid() }, "a door id")),
		Granted: c.stamp("granted", true), Opened: c.stamp("opened", false), Closed: c.stamp("closed", false), Secured: c.stamp("secured", false)}
	r.Outcome = gateway.Outcome(c.text("outcome", true, func(s string) bool { return slices.Contains(gateway.Outcomes(), gateway.Outcome(s)) }, "an outcome"))
	c.text("grant", false, func(s string) bool { return r.Grant.UnmarshalText([]byte(s)) == nil && r.Grant.String() == s }, "issuer/jti")
	r.Head = c.receiptHead()
	if c.err == nil && !r.Consistent() {
		c.fail("outcome", "one that fits the instants")
	}
	return r, c.err
}

// stamp reads an instant as events have it: RFC 3339 with milliseconds, in one spelling.
func (c *claims) stamp(name string, required bool) string {
	return c.text(name, required, func(s string) bool {
		t, err := time.Parse(gateway.TimeFormat, s)
		return err == nil && t.Format(gateway.TimeFormat) == s
	}, "RFC 3339 with milliseconds")
}

func (c *claims) receiptHead() (h gateway.ReceiptHead) {
	raw, ok := c.raw("head", true)
	if !ok {
		return h
	}
	members, err := parseObject(raw, "log", "seq", "hash")
	if err != nil {
		c.fail("head", "an object of log, seq and hash")
		return h
	}
	in := &claims{object: members}
	h = gateway.ReceiptHead{Log: in.text("log", true, func(s string) bool { return s != "" && len(s) <= 64 }, "a log's id"),
		Seq: in.int("seq", true, 1, maxSafeInteger), Hash: in.text("hash", true, isHash, "64 hex digits")}
	if c.err == nil && in.err != nil {
		c.err = fmt.Errorf("claim \"head\": %w", in.err)
	}
	return h
}

func isHash(s string) bool { return len(s) == 64 && strings.Trim(s, "0123456789abcdef") == "" }
