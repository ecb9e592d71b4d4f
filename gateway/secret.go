package gateway

import (
	"crypto/rand"
	"errors"
	"fmt"
	"log/slog"
	"math/big"
	"strings"
)

// Secret is a text that cannot print itself: not by fmt, slog or encoding/json,
// not even inside an unexported field, where fmt sees a pointer only (L5).
type Secret struct{ text *string }

// NewSecret wraps s.
func NewSecret(s string) Secret { return Secret{&s} }

// Reveal gives the text, to the few who need it.
func (s Secret) Reveal() string {
	if s.text == nil {
		return ""
	}
	return *s.text
}

// IsZero reports whether there is no secret.
func (s Secret) IsZero() bool { return s.Reveal() == "" }

const redacted = "[secret]"

func (Secret) String() string               { return redacted }
func (Secret) GoString() string             { return redacted }
func (Secret) Format(f fmt.State, _ rune)   { fmt.Fprint(f, redacted) }
func (Secret) LogValue() slog.Value         { return slog.StringValue(redacted) }
func (Secret) MarshalText() ([]byte, error) { return nil, errors.New("a secret is not to be written") }
func (Secret) MarshalJSON() ([]byte, error) { return nil, errors.New("a secret is not to be written") }

// PIN is a string of digits; leading zeros count.
type PIN struct{ Secret }

// NewPIN takes what was typed: 1–10 ASCII digits.
func NewPIN(digits string) (PIN, error) {
	if len(digits) == 0 || len(digits) > 10 || strings.Trim(digits, "0123456789") != "" {
		return PIN{}, errors.New("a PIN is 1 to 10 digits")
	}
	return PIN{NewSecret(digits)}, nil
}

// Len is the number of digits.
func (p PIN) Len() int { return len(p.Reveal()) }

// DrawPIN draws a uniform PIN of n digits from crypto/rand (P11).
func DrawPIN(n int) PIN {
	limit := new(big.Int).Exp(big.NewInt(10), big.NewInt(int64(n)), nil)
	v, err := rand.Int(rand.Reader, limit)
	if err != nil {
		panic(err) // crypto/rand does not fail on the systems that we run on
	}
	return PIN{NewSecret(fmt.Sprintf("%0*d", n, v))}
}

// Card is what a card reader reads. It is as good as a PIN that cannot be changed, so it
// prints as little.
type Card struct{ Secret }

// NewCard names a card by the length of its frame in bits, its facility code and its
// number, as in 26:123:45678.
func NewCard(bits int, facility, number uint64) Card {
	return Card{NewSecret(fmt.Sprintf("%d:%d:%d", bits, facility, number))}
}

// ParseCard reads what NewCard writes.
func ParseCard(s string) (Card, error) {
	var bits int
	var facility, number uint64
	if n, err := fmt.Sscanf(s, "%d:%d:%d", &bits, &facility, &number); err == nil && n == 3 && len(s) <= 32 {
		if c := NewCard(bits, facility, number); c.Reveal() == s && (bits == 26 || bits == 34 || bits == 37) {
			return c, nil
		}
	}
	return Card{}, errors.New("a card is written BITS:FACILITY:NUMBER, as in 26:123:45678, with 26, 34 or 37 bits")
}
