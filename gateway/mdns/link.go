package mdns

import (
	"net/netip"
	"slices"
	"time"

	"github.com/miekg/dns"
)

const (
	probes        = 3 // RFC 6762 §8.1
	probeGap      = 250 * time.Millisecond
	announcements = 2 // §8.3, as far apart as multicastGap
	multicastGap  = time.Second
	// Whoever has our name is asked again and again, ever more rarely. A twin that is not heard
	// of any more is gone: each of its own tries would have been heard twice.
	minRetry = time.Second
	maxRetry = 30 * time.Second
	twinLife = 75 * time.Second
	// Answers to one asker alone, a second; beyond, all get one multicast answer.
	unicastRate = 10
)

// family is the protocol below UDP.
type family uint8

const (
	ip4 family = iota
	ip6
)

var families = []family{ip4, ip6}

// packet is what has to be sent on a link.
type packet struct {
	family family
	to     netip.AddrPort // the zero value: the group
	data   []byte
}

// phase is how far a link is.
type phase uint8

const (
	probing   phase = iota // asks whether somebody has our names
	announced              // answers
	contested              // somebody has them: silent, until the next try
)

// link speaks on one network (RFC 6762 §8, §9, §6). It does no I/O and owns no timer: what comes is told
// to it with the time, and it gives back what has to be sent. Its owner calls tick at wake.
type link struct {
	iface
	zone   zone
	own    map[netip.Addr]bool // all addresses of this machine
	jitter func(most time.Duration) time.Duration

	phase phase
	sent  int       // probes or announcements in this phase
	due   time.Time // of the next; zero: none
	tries int       // that ended in a contest, in a row
	out   [2]outbox // by family

	unicasts bucket

	twin netip.Addr // who else has our name; the zero value: nobody
	seen time.Time  // the twin
}

// outbox holds multicast answers back, so that no record goes out twice within a second (§6, N3). One
// packet a second and family does it: most records are in each packet anyhow.
type outbox struct {
	last    time.Time
	waiting kinds
	gone    []dns.RR // records that are no more, with a life of 0
}

// bucket lets a number of things through in a second, and no more than that at once.
type bucket struct {
	rate    float64
	used    float64
	counted time.Time
}

func (b *bucket) take(now time.Time) bool {
	b.used = max(0, b.used-now.Sub(b.counted).Seconds()*b.rate)
	b.counted = now
	if b.used+1 > b.rate {
		return false
	}
	b.used++
	return true
}

// newLink starts to probe, after a short while: after a power cut all machines start at once.
func newLink(z zone, i iface, own map[netip.Addr]bool, now time.Time, jitter func(time.Duration) time.Duration) *link {
	l := &link{iface: i, own: own, jitter: jitter, due: now.Add(jitter(probeGap)), unicasts: bucket{rate: unicastRate}}
	l.zone = z
	l.zone.addrs = i.addrs()
	return l
}

// wake is when tick has something to do; zero: never.
func (l *link) wake() time.Time {
	at := l.due
	for _, f := range families {
		if o := &l.out[f]; o.waiting != 0 || len(o.gone) > 0 {
			at = earlier(at, o.last.Add(multicastGap))
		}
	}
	if l.twin.IsValid() {
		at = earlier(at, l.seen.Add(twinLife))
	}
	return at
}

// earlier gives the earlier of two times, of which the zero value is never.
func earlier(a, b time.Time) time.Time {
	if a.IsZero() || !b.IsZero() && b.Before(a) {
		return b
	}
	return a
}

// tick does what is due.
func (l *link) tick(now time.Time) (out []packet) {
	if l.twin.IsValid() && !now.Before(l.seen.Add(twinLife)) {
		l.twin, l.tries = netip.Addr{}, 0
	}
	if !l.due.IsZero() && !now.Before(l.due) {
		if l.phase == contested {
			l.phase, l.sent = probing, 0
		}
		if l.phase == probing && l.sent == probes {
			l.phase, l.sent = announced, 0
		}
		l.sent++
		switch {
		case l.phase == probing:
			out = l.toGroup(l.probe())
			l.due = now.Add(probeGap)
		case l.sent < announcements:
			l.announce(announcedKinds)
			l.due = now.Add(multicastGap)
		default:
			l.announce(announcedKinds)
			l.due = time.Time{}
		}
	}
	for _, f := range families {
		o := &l.out[f]
		if o.waiting == 0 && len(o.gone) == 0 || now.Before(o.last.Add(multicastGap)) {
			continue
		}
		m := l.zone.message(o.waiting, lifetime, true)
		m.Answer = append(m.Answer, o.gone...)
		out = append(out, pack(f, netip.AddrPort{}, m)...)
		*o = outbox{last: now}
	}
	return out
}

// announce has records sent without a question.
func (l *link) announce(set kinds) {
	for _, f := range families {
		if l.speaks(f) {
			l.out[f].waiting |= set
		}
	}
}

// change takes the addresses that the link has now. They are announced, without a probe; the name
// is ours already (§8.4).
func (l *link) change(i iface, own map[netip.Addr]bool, now time.Time) {
	gone := l.zone
	gone.addrs = slices.DeleteFunc(slices.Clone(gone.addrs), func(a netip.Addr) bool { return slices.Contains(i.addrs(), a) })
	l.iface, l.own, l.zone.addrs = i, own, i.addrs()
	for _, f := range families {
		if !l.speaks(f) {
			l.out[f].waiting, l.out[f].gone = 0, nil
		} else if l.phase == announced {
			l.out[f].gone = gone.records(a|aaaa, 0, false)
		}
	}
	if l.phase == announced { // and all in a second
		l.announce(a | aaaa)
		l.sent, l.due = announcements-1, now.Add(multicastGap)
	}
}

// receive takes a packet, and gives back what is to be sent now. This machine's own packets come, too.
func (l *link) receive(now time.Time, f family, from netip.AddrPort, m *dns.Msg) []packet {
	if m.Response {
		if l.zone.foreign(m.Answer, l.own) || l.zone.foreign(m.Extra, l.own) {
			l.contest(now, from.Addr())
		}
		return nil
	}
	if l.zone.foreign(m.Ns, l.own) { // it is about to take our name (§8.2)
		l.note(now, from.Addr())
		if l.phase == probing {
			l.contest(now, from.Addr())
		}
	}
	if l.phase != announced {
		return nil
	}
	v := l.zone.judge(m, from.Port() != port)
	if v.set == 0 {
		return nil
	}
	late := now.Before(l.out[f].last.Add(multicastGap))
	if (v.unicast || v.probe && late) && l.near(from.Addr()) && l.unicasts.take(now) {
		return pack(f, from, l.zone.reply(v, m))
	}
	if v.legacy {
		return nil
	}
	l.out[f].waiting |= v.set
	return l.tick(now)
}

// contest gives way to whoever has our name: it may have had it first, and we do not rename.
func (l *link) contest(now time.Time, by netip.Addr) {
	l.note(now, by)
	if l.phase == contested {
		return
	}
	if l.phase == announced {
		l.phase, l.sent, l.due = probing, 0, now.Add(l.jitter(probeGap)) // §9
	} else {
		wait := min(minRetry<<min(l.tries, 5), maxRetry)
		l.tries++
		l.phase, l.due = contested, now.Add(wait/2+l.jitter(wait/2))
	}
	for _, f := range families {
		l.out[f].waiting, l.out[f].gone = 0, nil
	}
}

// note remembers who else has our name; of its addresses, the one that people know.
func (l *link) note(now time.Time, by netip.Addr) {
	if l.seen = now; !l.twin.IsValid() || by.Is4() {
		l.twin = by
	}
}

// goodbye tells that the service is gone (§10.1).
func (l *link) goodbye() []packet {
	if l.phase != announced {
		return nil
	}
	return l.toGroup(l.zone.message(goodbyeKinds, 0, true))
}

// probe asks whether somebody has what we are about to take.
func (l *link) probe() *dns.Msg {
	m := &dns.Msg{Compress: true}
	for _, name := range []string{l.zone.instance, l.zone.host} {
		m.Question = append(m.Question, dns.Question{Name: name, Qtype: dns.TypeANY, Qclass: dns.ClassINET})
	}
	m.Ns = l.zone.records(ownKinds, lifetime, false)
	return m
}

func (l *link) toGroup(m *dns.Msg) (out []packet) {
	for _, f := range families {
		if l.speaks(f) {
			out = append(out, pack(f, netip.AddrPort{}, m)...)
		}
	}
	return out
}

// message is an answer for everybody.
func (z zone) message(set kinds, life uint32, flush bool) *dns.Msg {
	m := &dns.Msg{Compress: true}
	m.Response, m.Authoritative = true, true
	m.Answer = z.records(set, life, flush)
	if life > 0 {
		m.Extra = z.records(beside(set), life, flush)
	}
	return m
}

// reply is an answer for one asker. DNS as of old knows no lives of minutes, no bit in the class
// and no packet over 512 bytes.
func (z zone) reply(v verdict, query *dns.Msg) *dns.Msg {
	if !v.legacy {
		return z.message(v.set, lifetime, true)
	}
	m := z.message(v.set, legacyLifetime, false)
	m.Id, m.Question = query.Id, query.Question[:1]
	if m.Len() > dns.MinMsgSize {
		m.Extra = nil
	}
	return m
}

// pack makes a packet, or none of what cannot be packed.
func pack(f family, to netip.AddrPort, m *dns.Msg) []packet {
	data, err := m.Pack()
	if err != nil {
		return nil
	}
	return []packet{{family: f, to: to, data: data}}
}

// The bounds of what is read (RFC 6762 §17; the second is our own).
const (
	maxPacket  = 9000
	maxEntries = 512
)

// parse reads a packet of a stranger.
func parse(b []byte) (*dns.Msg, bool) {
	const header = 12
	if len(b) < header || len(b) > maxPacket {
		return nil, false
	}
	entries := 0
	for i := 4; i < header; i += 2 {
		entries += int(b[i])<<8 | int(b[i+1])
	}
	m := new(dns.Msg)
	if entries > maxEntries || m.Unpack(b) != nil || m.Opcode != dns.OpcodeQuery || m.Rcode != dns.RcodeSuccess {
		return nil, false
	}
	return m, true
}
