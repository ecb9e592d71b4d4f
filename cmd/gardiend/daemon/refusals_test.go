package daemon

import (
	"context"
	"strings"
	"testing"
	"time"

	"gardien/gateway"
	"gardien/gateway/access"
	"gardien/store"
)

func homeGrant(door gateway.DoorID) access.HomeGrant {
	return access.HomeGrant{Doors: []gateway.DoorID{door}, NotAfter: time.Now().Add(time.Hour), Uses: 1, PIN: true}
}

// TestD6_FloodOfRefusals: of a flood of nonsense the first forty an hour stand durably one
// by one, the rest shares commits or a count, and not one is lost.
func TestD6_FloodOfRefusals(t *testing.T) {
	h := build(t)
	h.start(t)
	const flood = 500
	for range flood {
		h.access.Present(context.Background(), "front", "scanner", gateway.GrantCredential{Text: gateway.NewSecret("nonsense")})
	}
	if single, _ := h.denials(t); single < 40 {
		t.Errorf("%d single refusals at once, want at least 40", single)
	}
	h.stop() // what still waits is written
	h.start(t)
	if single, counted := h.denials(t); single+counted != flood || single < 60 {
		t.Errorf("%d single and %d counted refusals, want %d in all", single, counted, flood)
	}
}

func (h *house) denials(t *testing.T) (single, counted int) {
	t.Helper()
	list, err := h.store.Events(context.Background(), 0, 1000)
	if err != nil {
		t.Fatal(err)
	}
	for _, e := range list {
		if e.Type == gateway.AccessDenied && e.Count > 0 {
			counted += e.Count
		} else if e.Type == gateway.AccessDenied {
			single++
		}
	}
	return single, counted
}

// TestP6_SpentPINsAreWiped: a sweep leaves nothing of a PIN that is used up, and the
// PIN was never in the file in clear.
func TestP6_SpentPINsAreWiped(t *testing.T) {
	h := build(t)
	h.start(t)
	ctx := context.Background()
	made, err := h.makeHome(ctx, homeGrant("front"))
	if err != nil {
		t.Fatal(err)
	}
	pin, err := gateway.NewPIN(made.PIN)
	if err != nil {
		t.Fatal(err)
	}
	if n, err := h.livePINs(ctx, "front"); err != nil || n != 1 {
		t.Fatalf("%d live PINs, %v", n, err)
	}
	h.open(t, "front", pin)
	if err := h.access.Sweep(ctx); err != nil {
		t.Fatal(err)
	}
	if n, err := h.livePINs(ctx, "front"); err != nil || n != 0 {
		t.Errorf("%d live PINs after the sweep, %v", n, err)
	}
	// At a door with a contact the PIN may be tried again, so it stays for the grace, and
	// goes when somebody has entered.
	made, err = h.makeHome(ctx, homeGrant("side"))
	if err != nil {
		t.Fatal(err)
	}
	if pin, err = gateway.NewPIN(made.PIN); err != nil {
		t.Fatal(err)
	}
	h.open(t, "side", pin)
	if err := h.access.Sweep(ctx); err != nil {
		t.Fatal(err)
	}
	if n, err := h.livePINs(ctx, "side"); err != nil || n != 1 {
		t.Errorf("%d live PINs within the grace, %v", n, err)
	}
	h.passDoor(t)
	if err := h.access.Sweep(ctx); err != nil {
		t.Fatal(err)
	}
	if n, err := h.livePINs(ctx, "side"); err != nil || n != 0 {
		t.Errorf("%d live PINs after the entry, %v", n, err)
	}
}

// TestP1_PINsGrowWithTheirNumber: the tools make PINs long enough by themselves, and each
// opens.
func TestP1_PINsGrowWithTheirNumber(t *testing.T) {
	h := build(t)
	h.start(t)
	ctx := context.Background()
	lengths := map[int]int{}
	for range 24 {
		made, err := h.makeHome(ctx, homeGrant("front"))
		if err != nil {
			t.Fatal(err)
		}
		lengths[len(made.PIN)]++
		if strings.Trim(made.PIN, "0123456789") != "" {
			t.Errorf("PIN %q", made.PIN)
		}
		pin, err := gateway.NewPIN(made.PIN)
		if err != nil {
			t.Fatal(err)
		}
		defer h.open(t, "front", pin)
	}
	if lengths[6] != 2 || lengths[7] != 18 || lengths[8] != 4 {
		t.Errorf("lengths %v, want 2 of six, 18 of seven, 4 of eight", lengths)
	}
}

// TestT3_FloorIsKeptWithEachDecision: a power cut right after an entry remembers its time.
func TestT3_FloorIsKeptWithEachDecision(t *testing.T) {
	h := build(t)
	h.start(t)
	before := h.clock.Read().Earliest
	h.open(t, "front", h.pinGrant(t, "front"))
	saved, err := store.Look(context.Background(), h.store, func(tx *store.Tx) store.ClockState { return tx.House.Clock() })
	if err != nil || saved.Floor.Before(before.Add(-1e6)) {
		t.Errorf("floor %v, want at least %v (%v)", saved.Floor, before, err)
	}
}
