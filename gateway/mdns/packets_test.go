package mdns

import (
	"encoding/json"
	"fmt"
	"net"
	"net/netip"
	"os"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/miekg/dns"
	"golang.org/x/net/ipv4"

	"gardien/gateway/mdns/lantest"
)

// The test's program as a phone that asks, or as one that floods. Their values are a question, and a flood.
const (
	asAsker = "GARDIEN_MDNS_ASK"
	asFlood = "GARDIEN_MDNS_FLOOD"
)

// question is what is asked, and how it is put.
type question struct {
	Name    string
	Type    uint16
	Old     bool // from another port than 5353
	Unicast bool // with the bit for it
	Wait    time.Duration
}

// answer is one packet that came.
type answer struct {
	From    string
	Hops    int
	Unicast bool
	ID      uint16
	Records []string
	TTLs    []uint32
}

// ask asks the network of a host, and gives all that came until the wait was over, or the first answer to an old question.
func ask(t *testing.T, n *lantest.Net, host string, q question) (list []answer) {
	t.Helper()
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	text, _ := json.Marshal(q)
	cmd := n.Command(host, self)
	cmd.Env = append(os.Environ(), asAsker+"="+string(text))
	out, err := cmd.Output()
	if err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	if err := json.Unmarshal(out, &list); err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	return list
}

// beAsker asks once on eth0.
func beAsker(text string) error {
	var q question
	if err := json.Unmarshal([]byte(text), &q); err != nil {
		return err
	}
	at := &net.UDPAddr{IP: groups[ip4].AsSlice(), Port: port}
	if q.Old {
		at = &net.UDPAddr{IP: net.IPv4zero}
	}
	conn, err := net.ListenUDP("udp4", at)
	if err != nil {
		return err
	}
	p := ipv4.NewPacketConn(conn)
	eth0, err := net.InterfaceByName("eth0")
	if err != nil {
		return err
	}
	if err := p.SetControlMessage(ipv4.FlagInterface|ipv4.FlagTTL|ipv4.FlagDst, true); err != nil {
		return err
	}
	if !q.Old {
		if err := p.JoinGroup(eth0, &net.UDPAddr{IP: groups[ip4].AsSlice()}); err != nil {
			return err
		}
	}
	m := query(q.Type, q.Name)
	m.Id = 4711
	if q.Unicast {
		unicast(m)
	}
	b, err := m.Pack()
	if err != nil {
		return err
	}
	if _, err := p.WriteTo(b, &ipv4.ControlMessage{IfIndex: eth0.Index}, &net.UDPAddr{IP: groups[ip4].AsSlice(), Port: port}); err != nil {
		return err
	}
	if err := conn.SetReadDeadline(time.Now().Add(q.Wait)); err != nil {
		return err
	}
	list := []answer{}
	for buf := make([]byte, maxPacket); ; {
		n, cm, from, err := p.ReadFrom(buf)
		if err != nil {
			break
		}
		var got dns.Msg
		if got.Unpack(buf[:n]) != nil || !got.Response {
			continue
		}
		a := answer{From: from.String(), Hops: cm.TTL, Unicast: !cm.Dst.IsMulticast(), ID: got.Id}
		for _, r := range slices.Concat(got.Answer, got.Extra) {
			a.Records = append(a.Records, strings.Join(strings.Fields(strings.ReplaceAll(r.String(), "CLASS32769", "IN!")), " "))
			a.TTLs = append(a.TTLs, r.Header().Ttl)
		}
		if list = append(list, a); q.Old {
			break
		}
	}
	return json.NewEncoder(os.Stdout).Encode(list)
}

// flood is many questions.
type flood struct {
	Name      string // of the instance or host
	Type      uint16
	Questions int // a packet
	Old       bool
	Unicast   bool
	Rate      int // packets a second
	For       time.Duration
}

// beFlood sends on eth0 as fast as it should, and prints how many packets it sent.
func beFlood(text string) error {
	var f flood
	if err := json.Unmarshal([]byte(text), &f); err != nil {
		return err
	}
	at := &net.UDPAddr{IP: groups[ip4].AsSlice(), Port: port}
	if f.Old {
		at = &net.UDPAddr{IP: net.IPv4zero}
	}
	conn, err := net.ListenUDP("udp4", at)
	if err != nil {
		return err
	}
	p := ipv4.NewPacketConn(conn)
	eth0, err := net.InterfaceByName("eth0")
	if err != nil {
		return err
	}
	m := query(f.Type, slices.Repeat([]string{f.Name}, max(1, f.Questions))...)
	if f.Unicast {
		unicast(m)
	}
	m.Compress = true
	b, err := m.Pack()
	if err != nil {
		return err
	}
	to := &net.UDPAddr{IP: groups[ip4].AsSlice(), Port: port}
	sent := 0
	for begun := time.Now(); time.Since(begun) < f.For; time.Sleep(time.Millisecond) {
		for want := int(time.Since(begun).Seconds() * float64(f.Rate)); sent < want; sent++ {
			_, _ = p.WriteTo(b, &ipv4.ControlMessage{IfIndex: eth0.Index}, to)
		}
	}
	fmt.Println(sent)
	return nil
}

// count reads one of the counters of eth0 of a host, as "tx_bytes".
func count(t *testing.T, n *lantest.Net, host, what string) int {
	t.Helper()
	v, err := strconv.Atoi(strings.TrimSpace(n.Run(host, "cat", "/sys/class/net/eth0/statistics/"+what)))
	if err != nil {
		t.Fatal(err)
	}
	return v
}

// TestN3_Flood: 20,000 questions a second, of each kind, get fewer bytes than they have, take no memory, and keep no
// phone from finding the gateway.
func TestN3_Flood(t *testing.T) {
	n := lantest.New(t)
	n.Plug("other", lantest.Home, "eth0", "10.77.0.3/24")
	other := n.Avahi("other", "other")
	g := startGateway(t, n, lantest.Gateway, opts())
	g.announced(Builtin, "eth0")
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	before := g.look()
	for name, f := range map[string]flood{
		"browse":        {Name: serviceName, Type: dns.TypePTR},
		"unicast":       {Name: serviceName, Type: dns.TypePTR, Unicast: true},
		"old DNS":       {Name: serviceName, Type: dns.TypePTR, Old: true},
		"150 questions": {Name: serviceName, Type: dns.TypePTR, Questions: 150},
		"any address":   {Name: "gardien-62fg.local.", Type: dns.TypeANY, Unicast: true},
	} {
		t.Run(name, func(t *testing.T) {
			f.Rate, f.For = 20_000, 4*time.Second
			text, _ := json.Marshal(f)
			cmd := n.Command(lantest.Phone, self)
			cmd.Env = append(os.Environ(), asFlood+"="+string(text))
			in, out, packets := count(t, n, lantest.Gateway, "rx_bytes"), count(t, n, lantest.Gateway, "tx_bytes"), count(t, n, lantest.Gateway, "tx_packets")
			var found time.Duration
			done := make(chan struct{})
			go func() {
				defer close(done)
				begun := time.Now()
				out, err := other.Command("avahi-browse", "-rpt", serviceType).Output()
				if found = time.Since(begun); err != nil || !strings.Contains(string(out), "=;eth0;IPv4;") {
					t.Errorf("during the flood: %v\n%s", err, out)
				}
			}()
			sent, err := cmd.Output()
			if err != nil {
				t.Fatal(err)
			}
			<-done
			in, out, packets = count(t, n, lantest.Gateway, "rx_bytes")-in, count(t, n, lantest.Gateway, "tx_bytes")-out, count(t, n, lantest.Gateway, "tx_packets")-packets
			t.Logf("%s packets, %d bytes in, %d bytes in %d packets out: %.4f; found by another after %v", strings.TrimSpace(string(sent)), in, out, packets, float64(out)/float64(in), found)
			if s, _ := strconv.Atoi(strings.TrimSpace(string(sent))); s < 20_000 {
				t.Errorf("the flood had %d packets in %v: this measures nothing", s, f.For)
			}
			if float64(out) > 1.5*float64(in) || packets > 100 {
				t.Errorf("%d bytes in %d packets for %d bytes", out, packets, in)
			}
		})
	}
	after := g.look()
	t.Logf("RSS %d kB, %d goroutines before; %d kB, %d goroutines after; %v of processor time for 20 s", before.RSS, before.Goroutines, after.RSS, after.Goroutines, after.CPU-before.CPU)
	most := 16 << 10
	if underRace {
		most *= 4
	}
	if took := after.CPU - before.CPU; took > 4*time.Second && !underRace {
		t.Errorf("%v of processor time for 20 s of flood", took)
	}
	if after.RSS-before.RSS > most || after.Goroutines > before.Goroutines+4 || after.By != Builtin {
		t.Errorf("before: %+v; after: %+v", before, after)
	}
}

// TestOldDNSOnTheWire: "dig -p 5353 @224.0.0.251" is answered to its own port, with its number.
func TestOldDNSOnTheWire(t *testing.T) {
	t.Parallel()
	n := lantest.New(t)
	g := startGateway(t, n, lantest.Gateway, opts())
	g.announced(Builtin, "eth0")
	for name, kind := range map[string]uint16{serviceName: dns.TypePTR, `gardien\ 62FG._gardien._tcp.LOCAL.`: dns.TypeSRV, "GARDIEN-62fg.local.": dns.TypeA} {
		begun := time.Now()
		list := ask(t, n, lantest.Phone, question{Name: name, Type: kind, Old: true, Wait: time.Second})
		if len(list) != 1 || !list[0].Unicast || list[0].ID != 4711 || list[0].Hops != 255 || list[0].From != lantest.GatewayIPv4+":5353" || slices.Max(list[0].TTLs) > legacyLifetime {
			t.Errorf("%s: %+v", name, list)
			continue
		}
		t.Logf("%s after %v: %s", name, time.Since(begun), strings.Join(list[0].Records, "; "))
	}
	lantest.Within(t, 5*time.Second, "past its announcements", func() bool { return time.Since(g.state().Since) > 2*multicastGap+multicastGap/2 })
	list := ask(t, n, lantest.Phone, question{Name: "gardien-62fg.local.", Type: dns.TypeA, Unicast: true, Wait: time.Second})
	if len(list) != 1 || !list[0].Unicast || list[0].ID != 0 || list[0].Hops != 255 || slices.Max(list[0].TTLs) != lifetime {
		t.Errorf("a question that takes unicast: %+v", list)
	}
	list = ask(t, n, lantest.Phone, question{Name: "gardien-62fg.local.", Type: dns.TypeA, Wait: time.Second})
	if len(list) != 1 || list[0].Unicast || list[0].Hops != 255 || netip.MustParseAddrPort(list[0].From).Port() != port {
		t.Errorf("a question to all: %+v", list)
	}
}
