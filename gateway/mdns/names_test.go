package mdns

import (
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/miekg/dns"
)

func opts() Opts {
	return Opts{Host: "gardien-62fg", Instance: "Gardien 62fg", Port: 8443, TXT: []string{"txtvers=1", "id=gw-a3r73d62fg", "api=1", "fp=0123456789abcdef"}, Mode: Builtin}
}

func checked(t testing.TB, o Opts) names {
	t.Helper()
	n, err := o.check()
	if err != nil {
		t.Fatal(err)
	}
	return n
}

// TestNamesAreEscaped: a name that is not in presentation form is never found by libraries that
// compare names as strings. What we write is what package dns reads off the wire.
func TestNamesAreEscaped(t *testing.T) {
	for instance, want := range map[string]string{
		"Gardien 62fg":           `Gardien\ 62fg`,
		"Gate 2.0":               `Gate\ 2\.0`,
		"Entrée":                 `Entr\195\169e`,
		`a\b"c(d)e;f@g'h`:        `a\\b\"c\(d\)e\;f\@g\'h`,
		"plain-1":                "plain-1",
		"$%&/=?#":                "$%&/=?#",
		strings.Repeat("é", 31):  strings.Repeat(`\195\169`, 31),
		strings.Repeat("x.", 31): strings.Repeat(`x\.`, 31),
	} {
		o := opts()
		o.Instance = instance
		n := checked(t, o)
		if n.escaped() != want {
			t.Errorf("%q is escaped as %s, want %s", instance, n.escaped(), want)
		}
		wire := make([]byte, 300)
		end, err := dns.PackDomainName(n.instance, wire, 0, nil, false)
		if err != nil {
			t.Errorf("%q: %v", instance, err)
			continue
		}
		if wire[0] != byte(len(instance)) || string(wire[1:1+len(instance)]) != instance {
			t.Errorf("%q is %q on the wire", instance, wire[:end])
		}
		if back, _, err := dns.UnpackDomainName(wire[:end], 0); err != nil || back != n.instance {
			t.Errorf("%q comes back as %s, %v; want %s", instance, back, err, n.instance)
		}
	}
}

// TestTextIsEscaped: a TXT record comes back as it was compared with.
func TestTextIsEscaped(t *testing.T) {
	o := opts()
	o.TXT = []string{`k=a\b"c`, "k=é", "k= .;"}
	n := checked(t, o)
	wire := make([]byte, 300)
	end, err := dns.PackRR(&dns.TXT{Hdr: dns.RR_Header{Name: ".", Rrtype: dns.TypeTXT, Class: 1}, Txt: n.txt}, wire, 0, nil, false)
	if err != nil {
		t.Fatal(err)
	}
	back, _, err := dns.UnpackRR(wire[:end], 0)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(n.txt, back.(*dns.TXT).Txt); diff != "" {
		t.Error(diff)
	}
	if !strings.Contains(string(wire[:end]), `k=a\b"c`) {
		t.Errorf("on the wire: %q", wire[:end])
	}
}

func TestWhatCannotBeAnnouncedIsRefused(t *testing.T) {
	for name, change := range map[string]func(*Opts){
		"no host":                func(o *Opts) { o.Host = "" },
		"a dot in the host":      func(o *Opts) { o.Host = "gardien.local" },
		"a hyphen at its end":    func(o *Opts) { o.Host = "gardien-" },
		"64 bytes of host":       func(o *Opts) { o.Host = strings.Repeat("g", 64) },
		"an accent in the host":  func(o *Opts) { o.Host = "entrée" },
		"no instance":            func(o *Opts) { o.Instance = "" },
		"64 bytes of instance":   func(o *Opts) { o.Instance = strings.Repeat("é", 32) },
		"no UTF-8":               func(o *Opts) { o.Instance = "\xff" },
		"a control character":    func(o *Opts) { o.Instance = "a\nb" },
		"no port":                func(o *Opts) { o.Port = 0 },
		"a port too high":        func(o *Opts) { o.Port = 65536 },
		"an empty string":        func(o *Opts) { o.TXT = append(o.TXT, "") },
		"256 bytes in a string":  func(o *Opts) { o.TXT = []string{strings.Repeat("x", 256)} },
		"401 bytes in a record":  func(o *Opts) { o.TXT = []string{strings.Repeat("x", 199), strings.Repeat("y", 200)} },
		"a mode that is unknown": func(o *Opts) { o.Mode = "off" },
	} {
		o := opts()
		change(&o)
		if _, err := o.check(); err == nil {
			t.Errorf("%s is not refused", name)
		}
	}
	for name, change := range map[string]func(*Opts){
		"63 bytes of instance":  func(o *Opts) { o.Instance = strings.Repeat("é", 31) + "x" },
		"400 bytes in a record": func(o *Opts) { o.TXT = []string{strings.Repeat("x", 199), strings.Repeat("y", 199)} },
		"255 bytes in a string": func(o *Opts) { o.TXT = []string{strings.Repeat("x", 255)} },
		"no text":               func(o *Opts) { o.TXT = nil },
		"63 bytes of host":      func(o *Opts) { o.Host = strings.Repeat("g", 63) },
		"no mode":               func(o *Opts) { o.Mode = "" },
	} {
		o := opts()
		change(&o)
		if _, err := o.check(); err != nil {
			t.Errorf("%s: %v", name, err)
		}
	}
}
