package gateway

import "strings"

// MaxScan is the longest text that a scanner may give, in bytes: a sealed grant.
const MaxScan = 8192

// Scanned reads what a scanner gave: up to ten digits are a PIN, all else a grant's text.
// ok is false where there is nothing.
func Scanned(line string) (c Credential, ok bool) {
	line = strings.TrimSpace(line)
	if pin, err := NewPIN(line); err == nil {
		return PINCredential{PIN: pin}, true
	}
	if line == "" {
		return nil, false
	}
	return GrantCredential{Text: NewSecret(line)}, true
}

// ScanLine gathers the characters of one code. One that is too long, or that was damaged on
// its way, is void to its end. The zero value is ready; it is not safe for concurrent use.
type ScanLine struct {
	text []byte
	void bool
}

// Add takes a character; a line's end gives the credential.
func (s *ScanLine) Add(c byte) (Credential, bool) {
	switch {
	case c == '\r' || c == '\n':
		line, void := string(s.text), s.void
		clear(s.text)
		s.text, s.void = s.text[:0], false
		if void {
			return nil, false
		}
		return Scanned(line)
	case len(s.text) >= MaxScan:
		s.void = true
	default:
		s.text = append(s.text, c)
	}
	return nil, false
}

// Spoil makes the line under way void.
func (s *ScanLine) Spoil() { s.void = true }
