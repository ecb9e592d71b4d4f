package wiegand

import (
	"errors"
	"fmt"
	"math/bits"

	"gardien/gateway"
)

// Frame is the bits of one message, the first the most significant of N.
type Frame struct {
	Bits uint64
	N    int
}

// MaxBits is the longest frame that is kept, in bits.
const MaxBits = 37

// Errors of Parse.
var (
	ErrLength = errors.New("no frame has so many bits: want 4, 8, 26, 34 or 37")
	ErrParity = errors.New("the parity is wrong")
	ErrKey    = errors.New("no key has this code")
)

// Parse reads a frame: a key as '0' to '9', '*' or '#'; or else a card.
//
//	 4 bits  the key: 0–9, 10 is *, 11 is #
//	 8 bits  the key's four bits inverted, then the key (Motorola's "8-bit burst")
//	26 bits  even parity over bits 0–12, 8 facility, 16 number, odd parity over bits 13–25 (H10301)
//	34 bits  even parity over bits 0–16, 16 facility, 16 number, odd parity over bits 17–33 (H10306)
//	37 bits  even parity over bits 0–18, 16 facility, 19 number, odd parity over bits 18–36 (H10304)
func Parse(f Frame) (key byte, card gateway.Card, err error) {
	switch f.N {
	case 4:
		key, err = keyOf(f.Bits)
		return key, card, err
	case 8:
		if f.Bits>>4&0xf != ^f.Bits&0xf {
			return 0, card, ErrParity
		}
		key, err = keyOf(f.Bits & 0xf)
		return key, card, err
	case 26:
		return parity(f, 13, 13, 16)
	case 34:
		return parity(f, 17, 17, 16)
	case 37:
		return parity(f, 19, 19, 19)
	}
	return 0, card, fmt.Errorf("%d bits: %w", f.N, ErrLength)
}

func keyOf(v uint64) (byte, error) {
	switch {
	case v <= 9:
		return '0' + byte(v), nil
	case v == 10:
		return '*', nil
	case v == 11:
		return '#', nil
	}
	return 0, ErrKey
}

// parity checks even parity over the first bits and odd over the last, and takes what is
// between the two parity bits: facility, then number.
func parity(f Frame, first, last, number int) (byte, gateway.Card, error) {
	head := f.Bits >> (f.N - first) & (1<<first - 1)
	tail := f.Bits & (1<<last - 1)
	if bits.OnesCount64(head)%2 != 0 || bits.OnesCount64(tail)%2 != 1 {
		return 0, gateway.Card{}, ErrParity
	}
	data := f.Bits >> 1 & (1<<(f.N-2) - 1)
	return 0, gateway.NewCard(f.N, data>>number, data&(1<<number-1)), nil
}
