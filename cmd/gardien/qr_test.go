package main

import (
	"strings"
	"testing"

	"rsc.io/qr"
)

// TestDrawQR: what is drawn is the code, two rows of modules a line, with the margin that a camera needs.
func TestDrawQR(t *testing.T) {
	code, err := qr.Encode("https://gardien-62fg.local:8443/#pair=mtR6PHvqkvjCvjyx7jO_hg&fp="+strings.Repeat("5641ed1c", 8), qr.M)
	if err != nil {
		t.Fatal(err)
	}
	lines := strings.Split(strings.TrimSpace(drawQR(code)), "\n")
	if want := (code.Size + 2*quiet + 1) / 2; len(lines) != want {
		t.Fatalf("%d lines, want %d", len(lines), want)
	}
	for y, line := range lines {
		line = strings.TrimSuffix(strings.TrimPrefix(line, "\x1b[97;40m"), "\x1b[0m")
		cells := []rune(line)
		if len(cells) != code.Size+2*quiet {
			t.Fatalf("line %d has %d modules", y, len(cells))
		}
		for x, c := range cells {
			above, below := strings.ContainsRune(" ▄", c), strings.ContainsRune(" ▀", c) // dark
			for i, dark := range []bool{above, below} {
				if want := code.Black(x-quiet, 2*y+i-quiet); dark != want {
					t.Fatalf("module %d, %d is drawn dark: %v", x-quiet, 2*y+i-quiet, dark)
				}
			}
		}
	}
}
