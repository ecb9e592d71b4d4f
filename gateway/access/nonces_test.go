package access

import (
	"errors"
	"fmt"
	"testing"
	"time"
)

// TestA7_NonceFlood: an address has 64 live nonces. Whoever asks from a whole /64 at once keeps
// neither a courier from getting one, nor takes the one away that a courier has just got; and no
// more are remembered than there is room for (I1).
func TestA7_NonceFlood(t *testing.T) {
	var n Nonces
	ask := func(addr string, now time.Duration) string {
		t.Helper()
		s, err := n.New(addr, now)
		if err != nil {
			t.Fatalf("%s: %v", addr, err)
		}
		return s
	}
	for i := range noncesPerAddr {
		ask("10.0.0.66", time.Duration(i))
	}
	if _, err := n.New("10.0.0.66", 100); !errors.Is(err, ErrTooManyNonces) {
		t.Errorf("the 65th of an address: %v", err)
	}
	for i := range 100 * noncesPerAddr { // of 100 addresses, as many as each may have
		n.New(fmt.Sprintf("fd00::%x", i%100), time.Duration(1000+i))
	}
	courier := ask("fd00::c0", 10_000)
	for i := range 100 * noncesPerAddr {
		n.New(fmt.Sprintf("fd00::%x", 0x1000+i%100), time.Duration(11_000+i))
	}
	for i := range noncesInAll / 2 { // and of ever new addresses
		ask(fmt.Sprintf("fd00::1:%x", i), time.Duration(20_000+i))
	}
	if len(n.live) > noncesInAll {
		t.Errorf("%d are remembered", len(n.live))
	}
	if !n.spend(courier, 30_000) {
		t.Error("the courier's nonce is gone")
	}
	if n.spend(courier, 30_000) {
		t.Error("a nonce is good twice")
	}
	late := ask("10.0.0.1", 40_000)
	if n.spend(late, 40_000+NonceLife) {
		t.Error("a nonce is good after its life")
	}
}
