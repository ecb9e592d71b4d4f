package carrier

import (
	"strings"
	"testing"
	"time"

	"gardien/gateway"
	"gardien/gateway/tokens"
)

// TestP1_PINsOfTheDoor: PINs have the length that the gateway's descriptor names for the grant's
// doors, eight digits where it names none; what the gateway would refuse is not signed.
func TestP1_PINsOfTheDoor(t *testing.T) {
	id, err := tokens.LoadIdentity(t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	folder, err := Create(t.TempDir()+"/keys", "colis-x.example")
	if err != nil {
		t.Fatal(err)
	}
	to := folder.ByHand(&tokens.Descriptor{Gateway: id.ID, Seal: id.Opening.PublicKey, Doors: []gateway.DoorID{"front", "side", "flat", "old"},
		PINs: map[gateway.DoorID][]int{"front": {8}, "side": {10, 7}, "flat": {10, 8}}})
	for _, tt := range []struct {
		doors []gateway.DoorID
		want  int // of the PIN that is drawn; 0: none
	}{
		{[]gateway.DoorID{"front"}, 8},
		{[]gateway.DoorID{"old"}, 8},
		{[]gateway.DoorID{"side"}, 7},
		{[]gateway.DoorID{"flat", "side"}, 10},
		{[]gateway.DoorID{"flat", "old"}, 8},
		{[]gateway.DoorID{"front", "side"}, 0},
	} {
		pin, err := to.DrawPIN(tt.doors)
		if tt.want == 0 {
			if err == nil || !strings.Contains(err.Error(), "front: 8 digits; side: 7 or 10 digits") {
				t.Errorf("%v: %v, want an error that names the lengths", tt.doors, err)
			}
		} else if err != nil || pin.Len() != tt.want {
			t.Errorf("%v: a PIN of %d digits, %v, want %d", tt.doors, pin.Len(), err, tt.want)
		}
		for n := gateway.MinPIN; n <= gateway.MaxPIN; n++ {
			now := time.Now()
			_, err := to.Sign(gateway.Grant{ID: gateway.GrantID{Issuer: folder.ID, JTI: gateway.NewJTI()}, Version: 1, Status: gateway.GrantActive, Doors: tt.doors,
				IssuedAt: now, Period: gateway.Period{NotBefore: now, NotAfter: now.Add(time.Hour)}, PIN: gateway.DrawPIN(n)}, true)
			fits := len(gateway.CommonPINLengths(to.Descriptor.PINLengths(tt.doors), []int{n})) > 0
			if (err == nil) != fits {
				t.Errorf("%v: an explicit PIN of %d digits: %v", tt.doors, n, err)
			}
		}
	}
}
