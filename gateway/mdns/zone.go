package mdns

import (
	"net/netip"
	"slices"

	"github.com/miekg/dns"
)

// Lives of records, in seconds. A gateway that dies without a goodbye is forgotten after lifetime.
const (
	lifetime       = 120
	legacyLifetime = 10 // RFC 6762 §6.7
)

// topBit is, in an answer, "forget what else you know of this name" (RFC 6762 §10.2), and in a
// question, "unicast will do" (§5.4).
const topBit = 1 << 15

// kinds is a set of our records, as they are on one link.
type kinds uint8

const (
	typesPTR   kinds = 1 << iota // our type of service, among all types
	servicePTR                   // our instance, among all of the type
	srv
	txt
	a
	aaaa
	nsec // which types of address there are, for those who ask for the other (RFC 6762 §6.1)
)

var eachKind = []kinds{typesPTR, servicePTR, srv, txt, a, aaaa, nsec}

const (
	announcedKinds = typesPTR | servicePTR | srv | txt | a | aaaa
	ownKinds       = srv | txt | a | aaaa // what nobody else may have: probed for, and defended
	goodbyeKinds   = servicePTR | ownKinds
)

// zone is what the gateway says on one link: its names, and the addresses that it has there.
type zone struct {
	names
	addrs []netip.Addr
}

// records gives the records of a set. The life is in seconds. With flush, records that are
// ours alone carry the bit that makes others forget older ones.
func (z zone) records(set kinds, life uint32, flush bool) (list []dns.RR) {
	header := func(name string, kind uint16, own bool) dns.RR_Header {
		h := dns.RR_Header{Name: name, Rrtype: kind, Class: dns.ClassINET, Ttl: life}
		if own && flush {
			h.Class |= topBit
		}
		return h
	}
	for _, k := range eachKind {
		switch set & k {
		case typesPTR:
			list = append(list, &dns.PTR{Hdr: header(typesName, dns.TypePTR, false), Ptr: serviceName})
		case servicePTR:
			list = append(list, &dns.PTR{Hdr: header(serviceName, dns.TypePTR, false), Ptr: z.instance})
		case srv:
			list = append(list, &dns.SRV{Hdr: header(z.instance, dns.TypeSRV, true), Port: z.port, Target: z.host})
		case txt:
			list = append(list, &dns.TXT{Hdr: header(z.instance, dns.TypeTXT, true), Txt: z.txt})
		case a, aaaa:
			for _, addr := range z.addrs {
				if addr.Is4() && k == a {
					list = append(list, &dns.A{Hdr: header(z.host, dns.TypeA, true), A: addr.AsSlice()})
				} else if !addr.Is4() && k == aaaa {
					list = append(list, &dns.AAAA{Hdr: header(z.host, dns.TypeAAAA, true), AAAA: addr.AsSlice()})
				}
			}
		case nsec:
			list = append(list, &dns.NSEC{Hdr: header(z.host, dns.TypeNSEC, true), NextDomain: z.host, TypeBitMap: z.types()})
		}
	}
	return list
}

// types are the types of address that there are, ascending.
func (z zone) types() (list []uint16) {
	if slices.ContainsFunc(z.addrs, netip.Addr.Is4) {
		list = append(list, dns.TypeA)
	}
	if slices.ContainsFunc(z.addrs, netip.Addr.Is6) {
		list = append(list, dns.TypeAAAA)
	}
	return list
}

// asked tells which records a question asks for.
func (z zone) asked(q dns.Question) kinds {
	if class := q.Qclass &^ topBit; class != dns.ClassINET && class != dns.ClassANY {
		return 0
	}
	is := func(kind uint16, set kinds) kinds {
		if q.Qtype == kind || q.Qtype == dns.TypeANY {
			return set
		}
		return 0
	}
	switch {
	case same(q.Name, typesName):
		return is(dns.TypePTR, typesPTR)
	case same(q.Name, serviceName):
		return is(dns.TypePTR, servicePTR)
	case same(q.Name, z.instance):
		return is(dns.TypeSRV, srv) | is(dns.TypeTXT, txt)
	case same(q.Name, z.host):
		set, have := is(dns.TypeA, a)|is(dns.TypeAAAA, aaaa), z.types()
		if q.Qtype != dns.TypeANY && set != 0 && !slices.Contains(have, q.Qtype) {
			return nsec
		}
		return set
	}
	return 0
}

// beside gives the records that spare whoever asked the next question (RFC 6763 §12).
func beside(answers kinds) (more kinds) {
	if answers&servicePTR != 0 {
		more = srv | txt | a | aaaa
	}
	if answers&(srv|a|aaaa|nsec) != 0 {
		more |= a | aaaa
	}
	return more &^ answers
}

// known takes out of a set what whoever asks already has, for half of its life at least (RFC 6762 §7.1).
func (z zone) known(set kinds, list []dns.RR) kinds {
	has := func(ours dns.RR) bool {
		return slices.ContainsFunc(list, func(r dns.RR) bool {
			return r.Header().Ttl >= lifetime/2 && r.Header().Rrtype == ours.Header().Rrtype && dns.IsDuplicate(ours, r)
		})
	}
	for _, k := range eachKind {
		if set&k != 0 && !slices.ContainsFunc(z.records(k, lifetime, false), func(r dns.RR) bool { return !has(r) }) {
			set &^= k
		}
	}
	return set
}

// verdict is what a query gets.
type verdict struct {
	set     kinds
	unicast bool // to whoever asked, alone
	legacy  bool // as DNS answers: with the question and the number (RFC 6762 §6.7)
	probe   bool // by somebody who is about to take a name
}

// judge says what a query gets. Legacy is one that came from another port than 5353.
func (z zone) judge(m *dns.Msg, legacy bool) verdict {
	v := verdict{unicast: true, legacy: legacy, probe: len(m.Ns) > 0}
	for _, q := range m.Question {
		if set := z.asked(q); set != 0 {
			v.set |= set
			v.unicast = v.unicast && (legacy || q.Qclass&topBit != 0)
		}
	}
	if len(m.Answer) > 0 && v.set != 0 {
		v.set = z.known(v.set, m.Answer)
	}
	return v
}

// foreign reports whether records claim one of our names for somebody else. The addresses of
// this machine are never somebody else's: it may stand on one network twice.
func (z zone) foreign(list []dns.RR, own map[netip.Addr]bool) bool {
	return slices.ContainsFunc(list, func(r dns.RR) bool {
		h := r.Header()
		if h.Ttl == 0 || h.Class&^topBit != dns.ClassINET {
			return false
		}
		switch r := r.(type) {
		case *dns.A:
			addr, _ := netip.AddrFromSlice(r.A)
			return same(h.Name, z.host) && !own[addr.Unmap()]
		case *dns.AAAA:
			addr, _ := netip.AddrFromSlice(r.AAAA)
			return same(h.Name, z.host) && !own[addr]
		case *dns.SRV:
			return same(h.Name, z.instance) && (r.Port != z.port || !same(r.Target, z.host))
		case *dns.TXT:
			return same(h.Name, z.instance) && !slices.Equal(r.Txt, z.txt)
		}
		return false
	})
}
