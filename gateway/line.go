package gateway

import (
	"fmt"
	"strconv"
	"strings"
)

// Line names one GPIO line. It is written as the header's signal (GPIO17), as the
// header's position (P1_11), or as chip:line, where chip is the kernel's name or label
// of the chip (gpiochip0, pinctrl-rp1) and line its number there.
type Line struct {
	Header int    // BCM number on a Raspberry Pi's header; -1 where Chip is set
	Chip   string // "" for the header
	Number int    // on Chip
}

// HeaderPins is how many GPIO signals a Raspberry Pi's header has: GPIO0 to GPIO27.
const HeaderPins = 28

// header gives the signal at each position of the 40-pin header (J8); -1 is power or ground.
var header = [41]int{-1,
	-1, -1, 2, -1, 3, -1, 4, 14, -1, 15,
	17, 18, 27, -1, 22, 23, -1, 24, 10, -1,
	9, 25, 11, 8, -1, 7, 0, 1, 5, -1,
	6, 12, 13, -1, 19, 16, 26, 20, -1, 21}

// ParseLine reads one of the three spellings.
func ParseLine(s string) (Line, error) {
	if n, ok := strings.CutPrefix(s, "GPIO"); ok {
		if v, ok := decimal(n); ok && v < HeaderPins {
			return Line{Header: v}, nil
		}
		return Line{}, fmt.Errorf("%q is not a line of the header: it has GPIO0 to GPIO%d", s, HeaderPins-1)
	}
	if n, ok := strings.CutPrefix(s, "P1_"); ok {
		v, ok := decimal(n)
		switch {
		case !ok || v == 0 || v >= len(header):
			return Line{}, fmt.Errorf("%q is not a position of the header: it has P1_1 to P1_40", s)
		case header[v] < 0:
			return Line{}, fmt.Errorf("%q is power or ground: take a position with a GPIO signal", s)
		}
		return Line{Header: header[v]}, nil
	}
	if i := strings.LastIndexByte(s, ':'); i > 0 && len(s) <= 64 {
		chip := s[:i]
		if v, ok := decimal(s[i+1:]); ok && IsHeaderChip(chip) && v < HeaderPins {
			return Line{Header: v}, nil // another name of the same line
		} else if ok && strings.Trim(chip, "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789._-") == "" {
			return Line{Header: -1, Chip: chip, Number: v}, nil
		}
	}
	return Line{}, fmt.Errorf("%q is not a GPIO line: write it as in GPIO17, P1_11 or gpiochip0:17", s)
}

// decimal reads a number of at most three digits, without zeros in front.
func decimal(s string) (int, bool) {
	v, err := strconv.Atoi(s)
	return v, err == nil && v >= 0 && v < 1000 && s == strconv.Itoa(v)
}

// IsHeaderChip reports whether a chip of this label has the header of a Raspberry Pi: its
// line n is GPIOn (BCM2835 to BCM2837, BCM2711, and the RP1 of the Raspberry Pi 5).
func IsHeaderChip(label string) bool {
	return label == "pinctrl-bcm2835" || label == "pinctrl-bcm2711" || label == "pinctrl-rp1"
}

func (p Line) String() string {
	if p.Chip != "" {
		return p.Chip + ":" + strconv.Itoa(p.Number)
	}
	return "GPIO" + strconv.Itoa(p.Header)
}

// HighAtReset tells which level the line's pull resistor gives it from power-on until
// something drives it: GPIO0 to GPIO8 are pulled up, GPIO9 to GPIO27 down (BCM2835 ARM
// Peripherals, table 6-31; the same on BCM2711, BCM2712's RP1 and BCM2837). known is
// false off the header.
func (p Line) HighAtReset() (high, known bool) { return p.Header <= 8, p.Chip == "" }
