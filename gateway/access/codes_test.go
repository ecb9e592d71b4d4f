package access_test

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"gardien/gateway"
	"gardien/gateway/access"
	"gardien/gateway/tokens"
	"gardien/store"
)

// TestCards: they are credentials as PINs are: sealed, kept as a keyed hash, revoked with their grant;
// a third party's only where the resident allows them.
func TestCards(t *testing.T) {
	for _, allowed := range []bool{false, true} {
		live(t, func(p *gateway.Policy) { p.StaticCredentials = allowed }, func(h *house) {
			id, pin := h.home(access.HomeGrant{Card: gateway.NewCard(26, 123, 4567)})
			if !pin.IsZero() {
				t.Error("a PIN that nobody asked for")
			}
			_, err := h.Home(h.t.Context(), access.HomeGrant{Doors: []gateway.DoorID{"front"}, NotAfter: time.Now().Add(time.Hour), Card: gateway.NewCard(26, 123, 4567)})
			if refused(err) != gateway.BeyondPolicy || !strings.Contains(err.Error(), "by another grant already") {
				t.Errorf("the same card twice: %v", err)
			}
			// With a PIN that is drawn the card is what is wrong, and no PIN helps.
			_, err = h.Home(h.t.Context(), access.HomeGrant{Doors: []gateway.DoorID{"front"}, NotAfter: time.Now().Add(time.Hour), Card: gateway.NewCard(26, 123, 4567), PIN: true})
			if refused(err) != gateway.BeyondPolicy || !strings.Contains(err.Error(), "card") {
				t.Errorf("the same card with a PIN: %v", err)
			}
			if r := h.card(4567); r != "" {
				t.Errorf("home's card: %s", r)
			}
			found, err := h.Revoke(h.t.Context(), id, "")
			h.check(err)
			if r := h.card(4567); r == "" || !found {
				t.Error("a revoked card opens")
			}
			open, err := tokens.SignGrant(h.carrier, h.id.ID, gateway.Grant{ID: gateway.GrantID{Issuer: colisX, JTI: "c"}, Version: 1, Status: gateway.GrantActive,
				Doors: []gateway.DoorID{"front"}, IssuedAt: time.Now(), Period: gateway.Period{NotBefore: time.Now(), NotAfter: time.Now().Add(time.Hour)}, Card: gateway.NewCard(26, 123, 99)})
			h.check(err)
			h.takes(open, "rejected") // in the clear
			withCard := func(g *gateway.Grant) { g.Card = gateway.NewCard(26, 123, 99) }
			h.takes(h.grant("c", withCard), "accepted")
			want := gateway.BeyondPolicy
			if allowed {
				want = ""
			}
			if r := h.card(99); r != want {
				t.Errorf("allowed %v: %q", allowed, r)
			}
			for _, name := range []string{store.FileName, store.FileName + "-wal"} {
				b, err := os.ReadFile(filepath.Join(h.dir, name))
				h.check(err)
				if strings.Contains(string(b), "26:123") {
					t.Errorf("a card in clear in %s", name)
				}
			}
		})
	}
}

// TestP6_SpentPINsAreWiped: a sweep leaves nothing of a PIN that is used up. One that may be tried
// again stays for the grace, and goes when somebody has entered.
func TestP6_SpentPINsAreWiped(t *testing.T) {
	live(t, nil, func(h *house) {
		_, pin := h.home(access.HomeGrant{Uses: 1, PIN: true})
		left := func(want int, when string) {
			t.Helper()
			h.check(h.Sweep(h.t.Context()))
			if n := h.livePINs("front"); n != want {
				t.Errorf("%s: %d live PINs, want %d", when, n, want)
			}
		}
		left(1, "unused")
		if r := h.types("front", pin); r != "" {
			t.Fatal(r)
		}
		left(1, "while it is released")
		h.doors.Secure("front")
		left(1, "within the grace")
		h.doors.Pass("front")
		left(0, "after the entry")
	})
}

// TestP1_PINsGrowWithTheirNumber: PINs made at home are long enough by themselves, and each opens.
func TestP1_PINsGrowWithTheirNumber(t *testing.T) {
	live(t, nil, func(h *house) {
		lengths := map[int]int{}
		var pins []gateway.PIN
		for range 24 {
			_, pin := h.home(access.HomeGrant{Uses: 1, PIN: true})
			lengths[pin.Len()]++
			if strings.Trim(pin.Reveal(), "0123456789") != "" {
				t.Errorf("PIN %q", pin.Reveal())
			}
			pins = append(pins, pin)
		}
		if lengths[6] != 2 || lengths[7] != 20 || lengths[9] != 2 {
			t.Errorf("lengths %v, want 2 of six, 20 of seven, 2 of nine", lengths)
		}
		for _, pin := range pins {
			if r := h.types("front", pin); r != "" {
				t.Errorf("a PIN of %d digits: %s", pin.Len(), r)
			}
			h.doors.Pass("front")
		}
	})
}

// P6: however many grants end in a minute, their PINs are gone with the next sweep.
func TestP6_ManyEndAtOnce(t *testing.T) {
	live(t, nil, func(h *house) {
		const n = 330
		now := time.Now().Truncate(time.Second)
		h.check(h.store.Update(h.t.Context(), func(tx *store.Tx) error {
			for i := range n {
				id := gateway.GrantID{Issuer: colisX, JTI: fmt.Sprint("over-", i)}
				tx.Grants.Put(gateway.Grant{ID: id, Version: 1, Status: gateway.GrantActive, Doors: []gateway.DoorID{"front"}, IssuedAt: now.Add(-time.Hour),
					Period: gateway.Period{NotBefore: now.Add(-time.Hour), NotAfter: now.Add(-time.Minute)}}, []byte("digest"))
				tx.Codes.Put(gateway.PINRecord{Grant: id, Door: "front", Length: 8}, fmt.Append(nil, "mac-", i))
			}
			return tx.Err()
		}))
		time.Sleep(time.Minute) // a sweep has come by itself
		if live := h.livePINs("front"); live != 0 {
			t.Errorf("%d PINs are live", live)
		}
		told := 0
		for _, e := range h.events() {
			if e.Type == gateway.GrantExpired {
				told++
			}
		}
		if told != n {
			t.Errorf("%d grants are told as over, want %d", told, n)
		}
	})
}

// TestD6_FloodOfRefusals: of a flood of nonsense the first forty an hour stand durably one
// by one, the rest shares commits or a count, and not one is lost.
func TestD6_FloodOfRefusals(t *testing.T) {
	live(t, nil, func(h *house) {
		const flood = 500
		count := func() (single, counted int) {
			for _, e := range h.events() {
				if e.Type == gateway.AccessDenied && e.Count > 0 {
					counted += e.Count
				} else if e.Type == gateway.AccessDenied {
					single++
				}
			}
			return single, counted
		}
		for range flood {
			h.scan("nonsense")
		}
		if single, _ := count(); single < 40 {
			t.Errorf("%d single refusals at once, want at least 40", single)
		}
		h.stop() // what still waits is written
		if single, counted := count(); single+counted != flood || single < 60 {
			t.Errorf("%d single and %d counted refusals, want %d in all", single, counted, flood)
		}
	})
}

// TestT3_FloorIsKeptWithEachDecision: a power cut right after an entry remembers its time.
func TestT3_FloorIsKeptWithEachDecision(t *testing.T) {
	live(t, nil, func(h *house) {
		_, pin := h.home(access.HomeGrant{Uses: 1, PIN: true})
		time.Sleep(time.Minute)
		if r := h.types("front", pin); r != "" {
			t.Fatal(r)
		}
		saved, err := store.Look(h.t.Context(), h.store, func(tx *store.Tx) store.ClockState { return tx.House.Clock() })
		h.check(err)
		if saved.Floor.Before(time.Now().Add(-time.Millisecond)) {
			t.Errorf("floor %v, want at least %v", saved.Floor, time.Now())
		}
	})
}
