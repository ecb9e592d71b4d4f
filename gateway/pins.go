package gateway

import (
	"fmt"
	"slices"
	"strings"
)

// The lengths of a PIN that a grant may carry. Which of them a door takes, and from whom, its
// PINLengths say.
const (
	MinPIN = 6
	MaxPIN = 10
)

// PINLengths are the lengths of the PINs that a door takes, in digits and rising, by who made
// them. No length is in both: a third party's PIN never meets one of home's (P1).
type PINLengths struct {
	Home       []int
	ThirdParty []int
}

// DefaultPINLengths are those of a door whose configuration names none.
func DefaultPINLengths() PINLengths { return PINLengths{Home: []int{6, 7, 9}, ThirdParty: []int{8}} }

// Of gives the lengths that an issuer's PINs may have.
func (l PINLengths) Of(iss IssuerID) []int {
	if iss == HomeIssuer {
		return l.Home
	}
	return l.ThirdParty
}

// PINCapacity is how many live PINs of n digits a door may have, so that a day's fifty guesses
// hit one of them with a chance of 10⁻⁴ at most: live × 50 / 10^n ≤ 10⁻⁴ (P1).
func PINCapacity(n int) int {
	space := 1
	for range n {
		space *= 10
	}
	return space / 500_000
}

// Digits says lengths for whoever draws a PIN, as in "6, 7 or 9 digits".
func Digits(lengths []int) string {
	var words []string
	for _, n := range lengths {
		words = append(words, fmt.Sprint(n))
	}
	if last := len(words) - 1; last > 0 {
		return strings.Join(words[:last], ", ") + " or " + words[last] + " digits"
	}
	return strings.Join(words, "") + " digits"
}

// CommonPINLengths gives the lengths that are in all of the lists, rising.
func CommonPINLengths(lists ...[]int) (common []int) {
	for n := MinPIN; n <= MaxPIN && len(lists) > 0; n++ {
		if !slices.ContainsFunc(lists, func(l []int) bool { return !slices.Contains(l, n) }) {
			common = append(common, n)
		}
	}
	return common
}
