package web

import (
	"context"
	"fmt"
	"net"
	"net/netip"
	"slices"
	"testing"
	"testing/synctest"
	"time"
)

// lobby is a crowd whose connections come from wherever the test says.
type lobby struct {
	*Crowd
	t *testing.T
}

// come brings a connection from an address; nil: it was not let in.
func (l lobby) come(from string) *visit {
	l.t.Helper()
	ours, theirs := net.Pipe()
	l.t.Cleanup(func() { ours.Close(); theirs.Close() })
	v := &visit{Conn: ours, crowd: l.Crowd, addr: netip.MustParseAddr(from)}
	out, ok := l.enter(v)
	if out != nil {
		out.Close()
	}
	if !ok {
		return nil
	}
	return v
}

func (l lobby) has(v *visit) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	return v != nil && slices.Contains(l.present, v)
}

func known(v *visit) *visit { return knownAs(v, v.addr.String()) }

func knownAs(v *visit, device string) *visit {
	Recognise(Visit(context.Background(), v), device)
	return v
}

// TestN2_CrowdMakesRoom: whoever comes is let in as long as a stranger can go: the oldest, of the
// address that has most. Who has authenticated stays.
func TestN2_CrowdMakesRoom(t *testing.T) {
	l := lobby{NewCrowd(8, 4), t}
	ada := known(l.come("10.0.0.1"))
	var many []*visit
	for range 4 {
		many = append(many, l.come("10.0.0.66"))
	}
	fifth := l.come("10.0.0.66")
	if l.has(many[0]) || !l.has(fifth) {
		t.Error("the fifth of an address does not take the place of its first")
	}
	courier := l.come("10.0.0.2")
	others := []*visit{l.come("10.0.0.3"), l.come("10.0.0.4")} // full
	ben := l.come("10.0.0.5")
	if l.has(many[1]) || !l.has(ben) || !l.has(courier) || !l.has(others[0]) {
		t.Error("the one who goes is not of those who have most")
	}
	for _, v := range []*visit{courier, others[0], others[1], ben, fifth, many[2], many[3]} {
		if l.has(v) {
			known(v)
		}
	}
	if l.come("10.0.0.9") != nil {
		t.Error("a stranger takes the place of one who has authenticated")
	}
	ada.Close()
	ada.Close()
	if l.come("10.0.0.9") == nil {
		t.Error("there is room, and nobody comes in")
	}
}

// A neighbour who opens connections from ever new addresses puts out neither a resident's
// connection nor one that a resident's device opens anew.
func TestN2_CrowdAndANeighbour(t *testing.T) {
	l := lobby{NewCrowd(8, 4), t}
	known(l.come("10.0.0.1")).Close() // was here lately
	flood := func(n int) {
		for i := range n {
			l.come(fmt.Sprintf("10.1.%d.%d", i/250, i%250))
		}
	}
	flood(20)
	again := l.come("10.0.0.1")
	flood(1000)
	if !l.has(again) {
		t.Error("the handshake of a resident's phone was put out")
	}
	first := l.come("10.0.0.2") // nobody knows it yet
	flood(6)
	if !l.has(first) {
		t.Error("the newest of seven strangers was put out by six newer ones")
	}
	if n := len(l.present); n != 8 {
		t.Errorf("%d connections", n)
	}
}

// TestI1_TrustedAddresses: so many are remembered, the latest.
func TestI1_TrustedAddresses(t *testing.T) {
	l := lobby{NewCrowd(8, 4), t}
	for i := range 1000 {
		known(l.come(fmt.Sprintf("10.1.%d.%d", i/250, i%250))).Close()
	}
	if n := len(l.trusted); n != maxTrusted || l.trusted[n-1].addr != netip.MustParseAddr("10.1.3.249") {
		t.Errorf("%d, %v", n, l.trusted)
	}
}

// TestN2_CrowdAndAGuest: a guest, or one who was a guest, whose device opens connection after
// connection, from ever new addresses, keeps no resident out: a few of them count, for a minute.
func TestN2_CrowdAndAGuest(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l := lobby{NewCrowd(16, 4), t}
		ada := knownAs(l.come("10.0.0.1"), "ada")
		for i := range 100 {
			if v := l.come(fmt.Sprintf("10.0.1.%d", i)); v != nil {
				knownAs(v, "guest")
			}
		}
		ben := l.come("10.0.0.2")
		if ben == nil || !l.has(ada) {
			t.Fatal("a guest's connections take the place of a resident's")
		}
		knownAs(ben, "ben")
		its := 0
		for _, v := range l.present {
			if v.device == "guest" {
				its++
			}
		}
		if its > maxKnown {
			t.Errorf("%d connections of one device are put out for nobody", its)
		}
		time.Sleep(knownFor)
		for i := range 16 { // all of it is strangers' now
			if l.come(fmt.Sprintf("10.0.2.%d", i)) == nil {
				t.Error("nobody comes in where nobody has authenticated for a minute")
			}
		}
	})
}
