package tokens

import (
	"fmt"

	"gardien/gateway"
)

// TypHead is the typ of a gateway's word on the end of its own record.
const TypHead = "gardien-head+jwt"

// SignHead writes where the record ends. Whoever keeps it can prove to the gateway that it once
// knew as much (R1).
func (id *Identity) SignHead(h gateway.RecordHead) (string, error) {
	return id.Signing.compact(TypHead, map[string]any{"iss": id.ID, "log": h.Log, "epoch": h.Epoch, "seq": h.Seq, "hash": h.Hash})
}

// ReadHead reads what SignHead of this identity wrote. Nobody else's word proves anything.
func (id *Identity) ReadHead(text string) (h gateway.RecordHead, err error) {
	own := NewKeySet(id.Signing.PublicKey)
	v := Verifier{Gateway: id.ID, Trust: func(iss gateway.IssuerID) (KeySet, bool) { return own, iss == gateway.IssuerID(id.ID) }}
	payload, _, r := v.document(text, TypHead, []string{"iss", "log", "epoch", "seq", "hash"})
	if r != nil {
		return h, fmt.Errorf("a head of the record: %s", r.Detail)
	}
	c := &claims{object: payload}
	h = gateway.RecordHead{Log: c.text("log", true, anyText, "a string"), Epoch: int(c.int("epoch", true, 0, maxSafeInteger)), Seq: c.int("seq", true, 0, maxSafeInteger),
		Hash: c.text("hash", true, isHash, "64 hex digits")}
	if c.err != nil {
		return gateway.RecordHead{}, fmt.Errorf("a head of the record: %w", c.err)
	}
	return h, nil
}
