package mdns

import (
	"net/netip"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/miekg/dns"
)

// TestN3_OneMulticastASecond: whoever asks in between is answered as soon as the second is over. A flood
// of questions gets one packet a second.
func TestN3_OneMulticastASecond(t *testing.T) {
	r := announcedRig(t, "10.77.0.1/24")
	address, texts := query(dns.TypeA, r.zone.host), query(dns.TypeTXT, r.zone.instance)
	if said := r.hear(phone, address); len(said) != 1 {
		t.Fatalf("the first question gets %q", said)
	}
	if said := r.sleep(400 * time.Millisecond); said != nil {
		t.Fatalf("too early: %q", said)
	}
	if said := append(r.hear(phone, texts), r.hear(phone, address)...); said != nil {
		t.Fatalf("too early: %q", said)
	}
	if diff := cmp.Diff([]string{"600ms 4 all TXT! A!=10.77.0.1"}, r.sleep(5*time.Second)); diff != "" {
		t.Error(diff)
	}
	packets := 0
	for range 20_000 {
		packets += len(r.hear(phone, address)) + len(r.sleep(time.Second/20_000))
	}
	if packets < 1 || packets > 2 {
		t.Errorf("%d packets in one second of 20,000 questions", packets)
	}
}

// TestN3_FamiliesAreApart: an answer by IPv4 is none to who asks by IPv6.
func TestN3_FamiliesAreApart(t *testing.T) {
	r := announcedRig(t, "10.77.0.1/24", "fd77::1/64")
	q := query(dns.TypeTXT, r.zone.instance)
	if diff := cmp.Diff([]string{"4 all TXT!", "6 all TXT!"}, append(r.hear(phone, q), r.hear(phone6, q)...)); diff != "" {
		t.Error(diff)
	}
}

// TestN3_UnicastIsBounded: beyond ten a second, who asks for unicast shares the multicast answer, and DNS as of old gets none.
func TestN3_UnicastIsBounded(t *testing.T) {
	for _, from := range []netip.AddrPort{phone, dig} {
		r := announcedRig(t, "10.77.0.1/24")
		r.sleep(time.Minute)
		q := unicast(query(dns.TypePTR, serviceName))
		in, out, one, all := 0, 0, 0, 0
		for range 20_000 {
			b, _ := q.Pack()
			in += len(b)
			for _, said := range append(r.hear(from, q), r.sleep(time.Second/20_000)...) {
				if strings.Contains(said, "4 one") {
					one++
				} else {
					all++
				}
			}
		}
		out = (one + all) * 300
		if one < unicastRate || one > 2*unicastRate || all > 2 || from == dig && all > 0 {
			t.Errorf("%v: 20,000 questions get %d unicast and %d multicast answers", from, one, all)
		}
		t.Logf("%v: %d bytes in, about %d out: %.4f", from, in, out, float64(out)/float64(in))
	}
}

// TestN3_OneQuestionIsNotManyAnswers: 150 questions in a packet get one packet.
func TestN3_OneQuestionIsNotManyAnswers(t *testing.T) {
	r := announcedRig(t, "10.77.0.1/24")
	q := query(dns.TypePTR, slices.Repeat([]string{serviceName, typesName, "_GARDIEN._tcp.local."}, 50)...)
	b, err := q.Pack()
	if err != nil {
		t.Fatal(err)
	}
	m, ok := parse(b)
	if !ok {
		t.Fatal("not parsed")
	}
	out := r.receive(r.now, ip4, phone, m)
	if len(out) != 1 || len(out[0].data) > len(b) {
		t.Errorf("%d packets, of %d bytes for %d", len(out), len(out[0].data), len(b))
	}
}

// TestCollision: who has our name keeps it; we try again, more and more rarely, and are back when it is gone.
func TestCollision(t *testing.T) {
	r := probingRig(t, "10.77.0.1/24")
	twin := netip.MustParseAddrPort("10.77.0.7:5353")
	answer := func() *dns.Msg {
		m := r.zone.message(a, lifetime, true)
		m.Answer[0].(*dns.A).A = twin.Addr().AsSlice()
		return m
	}
	var tries []time.Duration
	for r.now.Before(dawn.Add(2 * time.Minute)) {
		if r.sleep(100*time.Millisecond) == nil {
			continue
		}
		tries = append(tries, r.now.Sub(dawn))
		r.hear(twin, answer())
		if r.phase != contested || r.twin != twin.Addr() {
			t.Fatalf("phase %d, twin %v", r.phase, r.twin)
		}
		if said := r.hear(phone, query(dns.TypeA, r.zone.host)); said != nil {
			t.Fatalf("it answers for a name that is another's: %q", said)
		}
	}
	if len(tries) < 5 || len(tries) > 14 {
		t.Errorf("%d tries in two minutes: %v", len(tries), tries)
	}
	r.sleep(maxRetry)
	if r.phase != announced || !r.twin.IsValid() {
		t.Errorf("phase %d, twin %v: a free name is taken", r.phase, r.twin)
	}
	r.sleep(twinLife)
	if r.twin.IsValid() || r.tries != 0 {
		t.Errorf("the twin was not heard of since long")
	}
}

// TestWhoHasTheNameDefendsIt: a probe of another is answered in time, though the second is not over, and noted.
func TestWhoHasTheNameDefendsIt(t *testing.T) {
	r := announcedRig(t, "10.77.0.1/24")
	twin := netip.MustParseAddrPort("10.77.0.7:5353")
	other := probingRig(t, "10.77.0.7/24")
	for range 2 {
		said := r.hear(twin, other.probe())
		if len(said) != 1 || !strings.Contains(said[0], "SRV! TXT! A!=10.77.0.1") {
			t.Errorf("a probe gets %q", said)
		}
	}
	if r.phase != announced || r.twin != twin.Addr() {
		t.Errorf("phase %d, twin %v", r.phase, r.twin)
	}
}

// TestTwoAtOnce: both give way to each other, and each tries again at its own time.
func TestTwoAtOnce(t *testing.T) {
	one, two := probingRig(t, "10.77.0.1/24"), probingRig(t, "10.77.0.7/24")
	one.sleep(0)
	two.sleep(0)
	one.hear(netip.MustParseAddrPort("10.77.0.7:5353"), two.probe())
	two.hear(netip.MustParseAddrPort("10.77.0.1:5353"), one.probe())
	if one.phase != contested || two.phase != contested {
		t.Errorf("phases %d, %d", one.phase, two.phase)
	}
}

// TestForeign is which records claim our names for somebody else.
func TestForeign(t *testing.T) {
	z := zone{names: checked(t, opts())}
	own := map[netip.Addr]bool{netip.MustParseAddr("10.77.0.1"): true, netip.MustParseAddr("fe80::1"): true}
	const host, instance = "gardien-62fg.local.", `Gardien\ 62fg._gardien._tcp.local.`
	for record, want := range map[string]bool{
		host + " 120 IN A 10.77.0.1":                                                          false,
		host + " 120 IN A 10.77.0.7":                                                          true,
		"GARDIEN-62FG.local. 120 IN A 10.77.0.7":                                              true,
		host + " 120 CLASS32769 A \\# 4 0a4d0007":                                             true,
		host + " 0 IN A 10.77.0.7":                                                            false, // it says goodbye
		host + " 120 CH A 10.77.0.7":                                                          false,
		host + " 120 IN AAAA fe80::1":                                                         false,
		host + " 120 IN AAAA fe80::7":                                                         true,
		"gardien-62fh.local. 120 IN A 10.77.0.7":                                              false,
		instance + " 120 IN SRV 0 0 8443 " + host:                                             false,
		instance + " 120 IN SRV 0 0 8443 GARDIEN-62fg.local.":                                 false,
		instance + " 120 IN SRV 0 0 8444 " + host:                                             true,
		instance + " 120 IN SRV 0 0 8443 other.local.":                                        true,
		instance + ` 120 IN TXT "txtvers=1" "id=gw-a3r73d62fg" "api=1" "fp=0123456789abcdef"`: false,
		instance + ` 120 IN TXT "txtvers=1" "id=gw-zzzzzz62fg" "api=1" "fp=0123456789abcdef"`: true,
		serviceName + " 120 IN PTR " + instance:                                               false, // who says so means us
		host + " 120 IN MX 1 " + host:                                                         false,
	} {
		r, err := dns.NewRR(record)
		if err != nil {
			t.Fatal(err)
		}
		if u, ok := r.(*dns.RFC3597); ok { // as it comes off the wire
			b := make([]byte, 100)
			n, err := dns.PackRR(u, b, 0, nil, false)
			if err != nil {
				t.Fatal(err)
			}
			if r, _, err = dns.UnpackRR(b[:n], 0); err != nil {
				t.Fatal(err)
			}
		}
		if got := z.foreign([]dns.RR{r}, own); got != want {
			t.Errorf("%s: %v", record, got)
		}
	}
}

// TestTwoNetworksBecomeOne: who hears another answer for its name probes again (RFC 6762 §9).
func TestTwoNetworksBecomeOne(t *testing.T) {
	r := announcedRig(t, "10.77.0.1/24")
	m := r.zone.message(ownKinds, lifetime, true)
	m.Answer[1].(*dns.TXT).Txt = []string{"txtvers=1", "id=gw-zzzzzzzzzz"}
	r.hear(phone, query(dns.TypeA, r.zone.host))
	r.sleep(400 * time.Millisecond)
	r.hear(phone, query(dns.TypeA, r.zone.host)) // this would be answered at the end of the second
	r.hear(netip.MustParseAddrPort("10.77.0.7:5353"), m)
	if r.phase != probing || r.goodbye() != nil {
		t.Errorf("phase %d", r.phase)
	}
	if said := r.sleep(5 * time.Second); len(said) != 5 || strings.Count(strings.Join(said[:3], ""), "probe") != 3 || r.phase != announced {
		t.Errorf("phase %d after %q", r.phase, said)
	}
}

// TestNoCollisionWithOurselves: our own packets come back, from any interface of this machine, and through repeaters.
func TestNoCollisionWithOurselves(t *testing.T) {
	wifi := netip.MustParseAddr("10.77.0.2")
	for name, r := range map[string]*rig{"probing": probingRig(t, "10.77.0.1/24"), "announced": announcedRig(t, "10.77.0.1/24")} {
		r.own[wifi] = true
		r.sleep(0)
		before := r.phase
		overWiFi := zone{names: r.zone.names, addrs: []netip.Addr{wifi}}
		for _, from := range []string{"10.77.0.1:5353", "10.77.0.2:5353", "10.77.0.254:5353"} {
			r.hear(netip.MustParseAddrPort(from), overWiFi.message(announcedKinds, lifetime, true))
			r.hear(netip.MustParseAddrPort(from), (&link{zone: overWiFi}).probe())
		}
		r.hear(phone, overWiFi.message(goodbyeKinds, 0, true))
		if r.phase != before || r.twin.IsValid() {
			t.Errorf("%s: phase %d, twin %v", name, r.phase, r.twin)
		}
	}
}

// FuzzReceive: whatever comes (N5), one packet is the answer at most, and it fits into a frame.
func FuzzReceive(f *testing.F) {
	z := zone{names: checked(f, opts()), addrs: []netip.Addr{netip.MustParseAddr("10.77.0.1")}}
	for _, m := range []*dns.Msg{query(dns.TypePTR, serviceName), unicast(query(dns.TypeANY, z.host, z.instance)), z.message(announcedKinds, lifetime, true), (&link{zone: z}).probe()} {
		b, err := m.Pack()
		if err != nil {
			f.Fatal(err)
		}
		f.Add(b, true, uint16(5353))
		f.Add(b, false, uint16(999))
	}
	f.Fuzz(func(t *testing.T, b []byte, before bool, from uint16) {
		r := announcedRig(t, "10.77.0.1/24", "fd77::1/64")
		if before {
			r = probingRig(t, "10.77.0.1/24")
		}
		m, ok := parse(b)
		if !ok {
			return
		}
		out := r.receive(r.now, ip4, netip.AddrPortFrom(phone.Addr(), from), m)
		if len(out) > 1 {
			t.Errorf("%d packets for one", len(out))
		}
		for _, p := range out {
			if len(p.data) > 1472 {
				t.Errorf("%d bytes", len(p.data))
			}
			text(t, p) // it can be read
		}
		r.sleep(3 * time.Minute) // and it comes to rest, or goes on trying
	})
}
