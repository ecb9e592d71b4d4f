package mdns

import (
	"fmt"
	"net/netip"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/miekg/dns"
)

var (
	phone  = netip.MustParseAddrPort("10.77.0.9:5353")
	phone6 = netip.MustParseAddrPort("[fe80::9]:5353")
	dig    = netip.MustParseAddrPort("10.77.0.9:40000")
	dawn   = time.Date(2030, 1, 1, 6, 0, 0, 0, time.UTC)
)

func eth0(prefixes ...string) iface {
	i := iface{index: 2, name: "eth0"}
	for _, p := range prefixes {
		i.prefixes = append(i.prefixes, netip.MustParsePrefix(p))
	}
	return i
}

func owned(i iface) map[netip.Addr]bool {
	own := map[netip.Addr]bool{}
	for _, a := range i.addrs() {
		own[a] = true
	}
	return own
}

// rig is a link with a clock of its own.
type rig struct {
	*link
	t   testing.TB
	now time.Time
}

func none(time.Duration) time.Duration { return 0 }

func probingRig(t testing.TB, prefixes ...string) *rig {
	i := eth0(prefixes...)
	return &rig{link: newLink(zone{names: checked(t, opts())}, i, owned(i), dawn, none), t: t, now: dawn}
}

// announcedRig is past its announcements, and may multicast.
func announcedRig(t testing.TB, prefixes ...string) *rig {
	r := probingRig(t, prefixes...)
	r.sleep(10 * time.Second)
	if r.phase != announced {
		t.Fatalf("phase %d", r.phase)
	}
	return r
}

// sleep lets time pass, and gives what was sent, with the time since.
func (r *rig) sleep(d time.Duration) (said []string) {
	end := r.now.Add(d)
	begun := r.now
	for at := r.wake(); !at.IsZero() && !at.After(end); at = r.wake() {
		if at.After(r.now) {
			r.now = at
		}
		for _, p := range r.tick(r.now) {
			said = append(said, fmt.Sprintf("%v %s", r.now.Sub(begun), text(r.t, p)))
		}
	}
	r.now = end
	return said
}

func (r *rig) hear(from netip.AddrPort, m *dns.Msg) (said []string) {
	f := ip6
	if from.Addr().Is4() {
		f = ip4
	}
	b, err := m.Pack()
	if err != nil {
		r.t.Fatal(err)
	}
	parsed, ok := parse(b)
	if !ok {
		r.t.Fatal("the query is not parsed")
	}
	for _, p := range r.receive(r.now, f, from, parsed) {
		said = append(said, text(r.t, p))
	}
	return said
}

// text writes a packet as "IPv4 all: SRV! …", with ! for the bit that flushes, and + before what is beside the answer.
func text(t testing.TB, p packet) string {
	m := new(dns.Msg)
	if err := m.Unpack(p.data); err != nil {
		t.Fatalf("a packet of ours cannot be read: %v", err)
	}
	var b strings.Builder
	b.WriteString([]string{"4", "6"}[p.family])
	if p.to.IsValid() {
		b.WriteString(" one")
	} else {
		b.WriteString(" all")
	}
	if !m.Response {
		b.WriteString(" probe")
	}
	one := func(sign string, r dns.RR) {
		h := r.Header()
		fmt.Fprintf(&b, " %s%s", sign, dns.TypeToString[h.Rrtype])
		if h.Class&topBit != 0 {
			b.WriteString("!")
		}
		switch r := r.(type) {
		case *dns.A:
			fmt.Fprintf(&b, "=%s", r.A)
		case *dns.AAAA:
			fmt.Fprintf(&b, "=%s", r.AAAA)
		}
		if h.Ttl != lifetime {
			fmt.Fprintf(&b, "/%d", h.Ttl)
		}
	}
	for _, r := range m.Answer {
		one("", r)
	}
	for _, r := range m.Ns {
		one("?", r)
	}
	for _, r := range m.Extra {
		one("+", r)
	}
	return b.String()
}

func query(kind uint16, names ...string) *dns.Msg {
	m := new(dns.Msg)
	for _, n := range names {
		m.Question = append(m.Question, dns.Question{Name: n, Qtype: kind, Qclass: dns.ClassINET})
	}
	return m
}

func unicast(m *dns.Msg) *dns.Msg {
	for i := range m.Question {
		m.Question[i].Qclass |= topBit
	}
	return m
}

// TestAnswers is what each question gets (RFC 6762 §6, RFC 6763 §12).
func TestAnswers(t *testing.T) {
	const host, instance = "gardien-62fg.local.", `Gardien\ 62fg._gardien._tcp.local.`
	both := []string{"10.77.0.1/24", "fd77::1/64"}
	known := query(dns.TypePTR, serviceName)
	known.Answer = []dns.RR{&dns.PTR{Hdr: dns.RR_Header{Name: serviceName, Rrtype: dns.TypePTR, Class: 1, Ttl: 61}, Ptr: instance}}
	old := query(dns.TypePTR, serviceName)
	old.Answer = []dns.RR{&dns.PTR{Hdr: dns.RR_Header{Name: serviceName, Rrtype: dns.TypePTR, Class: 1, Ttl: 59}, Ptr: instance}}
	for _, c := range []struct {
		name     string
		prefixes []string
		from     netip.AddrPort
		query    *dns.Msg
		want     string // "": nothing
	}{
		{"browse", both, phone, query(dns.TypePTR, serviceName), "4 all PTR +SRV! +TXT! +A!=10.77.0.1 +AAAA!=fd77::1"},
		{"browse by IPv6", both, phone6, query(dns.TypePTR, serviceName), "6 all PTR +SRV! +TXT! +A!=10.77.0.1 +AAAA!=fd77::1"},
		{"browse in capitals", both, phone, query(dns.TypePTR, "_GARDIEN._TCP.LOCAL."), "4 all PTR +SRV! +TXT! +A!=10.77.0.1 +AAAA!=fd77::1"},
		{"unicast", both, phone, unicast(query(dns.TypePTR, serviceName)), "4 one PTR +SRV! +TXT! +A!=10.77.0.1 +AAAA!=fd77::1"},
		{"types", both, phone, query(dns.TypePTR, typesName), "4 all PTR"},
		{"SRV", both, phone, query(dns.TypeSRV, instance), "4 all SRV! +A!=10.77.0.1 +AAAA!=fd77::1"},
		{"TXT", both, phone, query(dns.TypeTXT, instance), "4 all TXT!"},
		{"instance", both, phone, query(dns.TypeANY, instance), "4 all SRV! TXT! +A!=10.77.0.1 +AAAA!=fd77::1"},
		{"instance in capitals", both, phone, query(dns.TypeSRV, `GARDIEN\ 62FG._Gardien._tcp.Local.`), "4 all SRV! +A!=10.77.0.1 +AAAA!=fd77::1"},
		{"address", both, phone, query(dns.TypeA, host), "4 all A!=10.77.0.1 +AAAA!=fd77::1"},
		{"address in capitals", both, phone, query(dns.TypeA, "GARDIEN-62fg.LOCAL."), "4 all A!=10.77.0.1 +AAAA!=fd77::1"},
		{"any address", both, phone, query(dns.TypeANY, host), "4 all A!=10.77.0.1 AAAA!=fd77::1"},
		{"no IPv6 address", both[:1], phone, query(dns.TypeAAAA, host), "4 all NSEC! +A!=10.77.0.1"},
		{"no IPv4 address", both[1:], phone6, query(dns.TypeA, host), "6 all NSEC! +AAAA!=fd77::1"},
		{"other type", both, phone, query(dns.TypeMX, host), ""},
		{"other host", both, phone, query(dns.TypeA, "gardien-62fh.local."), ""},
		{"other service", both, phone, query(dns.TypePTR, "_http._tcp.local."), ""},
		{"two questions", both, phone, query(dns.TypeANY, host, instance), "4 all SRV! TXT! A!=10.77.0.1 AAAA!=fd77::1"},
		{"150 questions", both, phone, query(dns.TypeTXT, slices.Repeat([]string{instance}, 150)...), "4 all TXT!"},
		{"known", both, phone, known, ""},
		{"known for long", both, phone, old, "4 all PTR +SRV! +TXT! +A!=10.77.0.1 +AAAA!=fd77::1"},
		{"DNS as of old", both, dig, query(dns.TypeA, host), "4 one A=10.77.0.1/10 +AAAA=fd77::1/10"},
		{"browse as of old", both, dig, query(dns.TypePTR, serviceName), "4 one PTR/10 +SRV/10 +TXT/10 +A=10.77.0.1/10 +AAAA=fd77::1/10"},
		{"as of old, from elsewhere", both, netip.MustParseAddrPort("192.0.2.1:999"), query(dns.TypeA, host), ""},
		{"unicast from elsewhere", both, netip.MustParseAddrPort("192.0.2.1:5353"), unicast(query(dns.TypeTXT, instance)), "4 all TXT!"},
	} {
		r := announcedRig(t, c.prefixes...)
		if diff := cmp.Diff(c.want, strings.Join(r.hear(c.from, c.query), "; ")); diff != "" {
			t.Errorf("%s: %s", c.name, diff)
		}
	}
}

// TestOldDNS: an answer to another port than 5353 repeats the number and the question (RFC 6762 §6.7).
func TestOldDNS(t *testing.T) {
	r := announcedRig(t, "10.77.0.1/24")
	q := query(dns.TypeA, "gardien-62fg.local.")
	q.Id = 4711
	parsed := *q
	out := r.receive(r.now, ip4, dig, &parsed)
	if len(out) != 1 {
		t.Fatal(out)
	}
	m := new(dns.Msg)
	if err := m.Unpack(out[0].data); err != nil || m.Id != 4711 || len(m.Question) != 1 || m.Question[0] != q.Question[0] {
		t.Errorf("%v %v", m, err)
	}
	multicast := r.receive(r.now, ip4, phone, &parsed)
	if err := m.Unpack(multicast[0].data); err != nil || m.Id != 0 || len(m.Question) != 0 {
		t.Errorf("a multicast answer has a number or a question (RFC 6762 §18.1, §6): %v", m)
	}
}

// TestProbeAnnounceGoodbye is the life of a link (RFC 6762 §8, §10.1).
func TestProbeAnnounceGoodbye(t *testing.T) {
	r := probingRig(t, "10.77.0.1/24")
	if said := r.goodbye(); said != nil {
		t.Error("a goodbye before anything was announced")
	}
	probe, all := " 4 all probe ?SRV ?TXT ?A=10.77.0.1", " 4 all PTR PTR SRV! TXT! A!=10.77.0.1"
	want := []string{"0s" + probe, "250ms" + probe, "500ms" + probe, "750ms" + all, "1.75s" + all}
	if diff := cmp.Diff(want, r.sleep(time.Minute)); diff != "" {
		t.Error(diff)
	}
	if diff := cmp.Diff("4 all PTR/0 SRV!/0 TXT!/0 A!=10.77.0.1/0", text(t, r.goodbye()[0])); diff != "" {
		t.Error(diff)
	}
	if at := r.wake(); !at.IsZero() {
		t.Errorf("an idle link wants to wake at %v", at)
	}
}

// TestNewAddress: it is announced at once, and all a second later, without a probe; what was there is taken back.
func TestNewAddress(t *testing.T) {
	r := announcedRig(t, "10.77.0.1/24", "fd77::1/64")
	i := eth0("10.77.0.5/24")
	r.change(i, owned(i), r.now)
	want := []string{"0s 4 all A!=10.77.0.5 A=10.77.0.1/0 AAAA=fd77::1/0", "1s 4 all PTR PTR SRV! TXT! A!=10.77.0.5"}
	if diff := cmp.Diff(want, r.sleep(time.Minute)); diff != "" {
		t.Error(diff)
	}
}
