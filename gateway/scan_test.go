package gateway_test

import (
	"strings"
	"testing"

	"gardien/gateway"
)

func TestScanLine(t *testing.T) {
	var s gateway.ScanLine
	feed := func(text string) (out []string) {
		for i := range len(text) {
			switch c, ok := s.Add(text[i]); c := c.(type) {
			case gateway.PINCredential:
				out = append(out, "pin "+c.PIN.Reveal())
			case gateway.GrantCredential:
				out = append(out, "grant "+c.Text.Reveal())
			default:
				if ok {
					t.Errorf("%T", c)
				}
			}
		}
		return out
	}
	for in, want := range map[string]string{
		"\r\n\r\n": "", "123456\r\n": "pin 123456", "0123456789\n": "pin 0123456789", "01234567890\n": "grant 01234567890",
		"eyJ.a-b_c.Z\r": "grant eyJ.a-b_c.Z", " 42 \n": "pin 42", "a\nb\n": "grant a,grant b",
		strings.Repeat("x", gateway.MaxScan) + "\n":            "grant " + strings.Repeat("x", gateway.MaxScan),
		strings.Repeat("x", gateway.MaxScan+1) + "\nfine\n":    "grant fine",
		strings.Repeat("7", gateway.MaxScan+5000) + "\n4711\n": "pin 4711",
	} {
		if got := strings.Join(feed(in), ","); got != want {
			t.Errorf("%.40q: %.60q, want %.60q", in, got, want)
		}
	}
	feed("half")
	s.Spoil()
	if got := feed("other half\n12\n"); len(got) != 1 || got[0] != "pin 12" {
		t.Errorf("spoilt: %q", got)
	}
}
