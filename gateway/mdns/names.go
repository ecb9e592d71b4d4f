package mdns

import (
	"errors"
	"fmt"
	"regexp"
	"strings"
	"unicode"
	"unicode/utf8"
)

// What a service is found by (contract §5; RFC 6763 §4, §9).
const (
	serviceType = "_gardien._tcp"
	serviceName = serviceType + ".local."
	typesName   = "_services._dns-sd._udp.local."
)

// Bounds of what is announced, in bytes. A TXT record that makes a packet larger than a frame of
// Ethernet is not to be relied on.
const (
	maxInstance = 63
	maxString   = 255
	maxTXT      = 400 // with the length byte of each string
)

var label = regexp.MustCompile(`^[A-Za-z0-9]([A-Za-z0-9-]{0,61}[A-Za-z0-9])?$`)

// names is who we are, in the presentation form of RFC 1035 §5.1 as package dns spells it. Names of
// packets are compared with it after they were unpacked.
type names struct {
	host     string // "gardien-62fg.local."
	instance string // `Gardien\ 62fg._gardien._tcp.local.`
	port     uint16
	txt      []string
}

// check refuses what cannot be announced.
func (o Opts) check() (names, error) {
	var errs []error
	wrong := func(format string, args ...any) { errs = append(errs, fmt.Errorf(format, args...)) }
	if !label.MatchString(o.Host) {
		wrong("host %q is not a label of a host name", o.Host)
	}
	if n := len(o.Instance); n < 1 || n > maxInstance || !utf8.ValidString(o.Instance) || strings.ContainsFunc(o.Instance, unicode.IsControl) {
		wrong("instance %q has to be 1 to %d bytes of UTF-8 without control characters", o.Instance, maxInstance)
	}
	if o.Port < 1 || o.Port > 65535 {
		wrong("port %d is none", o.Port)
	}
	switch o.Mode {
	case "", Auto, Avahi, Builtin:
	default:
		wrong("mode %q is not %s, %s or %s", o.Mode, Auto, Avahi, Builtin)
	}
	n := names{host: o.Host + ".local.", instance: escape(o.Instance, inName) + "." + serviceName, port: uint16(o.Port)}
	total := 0
	for _, s := range o.TXT {
		if len(s) < 1 || len(s) > maxString {
			wrong("TXT string %.20q… has %d bytes; it may have 1 to %d", s, len(s), maxString)
		}
		total += 1 + len(s)
		n.txt = append(n.txt, escape(s, inText))
	}
	if total > maxTXT {
		wrong("TXT strings make %d bytes; they may make %d", total, maxTXT)
	}
	if len(n.txt) == 0 {
		n.txt = []string{""} // RFC 6763 §6.1: a TXT record has at least one string
	}
	return n, errors.Join(errs...)
}

// The characters that package dns escapes when it unpacks a label, and a string of a TXT record.
const (
	inName = ` '@;()"\.`
	inText = `"\`
)

// escape puts text into presentation form. Other libraries compare names as strings: a name that
// is not spelt as package dns spells it is never found.
func escape(text, special string) string {
	var b strings.Builder
	for _, c := range []byte(text) {
		switch {
		case strings.IndexByte(special, c) >= 0:
			b.WriteByte('\\')
			b.WriteByte(c)
		case c < ' ' || c > '~':
			fmt.Fprintf(&b, `\%03d`, c)
		default:
			b.WriteByte(c)
		}
	}
	return b.String()
}

// same compares names; upper and lower case are one (RFC 6762 §16).
func same(a, b string) bool { return len(a) == len(b) && strings.EqualFold(a, b) }

// escaped is the instance alone, as zeroconf wants it.
func (n names) escaped() string { return strings.TrimSuffix(n.instance, "."+serviceName) }
