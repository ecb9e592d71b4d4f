package daemon

import (
	"context"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"gardien/gateway"
)

// knocking is a house whose residents are asked before the carrier comes in.
func knocking(t *testing.T) *house {
	t.Helper()
	h := build(t)
	text := strings.Replace(houseYAML, "bearer: true,", "bearer: true, knock: 400ms,", 1)
	if err := os.WriteFile(filepath.Join(h.dir, "g.yaml"), []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	h.start(t)
	return h
}

func (h *house) scan(text string) (o gateway.Reason, took time.Duration) {
	begun := time.Now()
	return h.access.Present(context.Background(), "front", "scanner", gateway.GrantCredential{Text: gateway.NewSecret(text)}).Reason, time.Since(begun)
}

func (h *house) told(t *testing.T, types ...gateway.EventType) {
	t.Helper()
	list, err := h.store.Events(t.Context(), 0, 1000)
	if err != nil {
		t.Fatal(err)
	}
	var got []gateway.EventType
	for _, e := range list {
		if e.Door == "front" && e.Type != gateway.GrantAdded {
			got = append(got, e.Type)
		}
	}
	if !slices.Equal(got, types) {
		t.Errorf("events at the door: %v, want %v", got, types)
	}
}

// The courier waits, and comes in when nobody says no; a resident does not wait.
func TestKnock(t *testing.T) {
	h := knocking(t)
	_, text := h.grant(t, 1, "front", "")
	reason, took := h.scan(text)
	if reason != "" || took < 400*time.Millisecond {
		t.Errorf("%q after %v", reason, took)
	}
	h.house.Door("front").Sync(t.Context())
	if o := h.access.Present(t.Context(), "front", "app", gateway.ResidentCredential{Resident: "r"}); !o.Granted {
		t.Errorf("a resident: %+v", o)
	}
	if err := h.Veto(t.Context(), "front"); err == nil {
		t.Error("a veto against nobody")
	}
	h.house.Door("front").Sync(t.Context())
	h.told(t, gateway.KnockedEvent, gateway.AccessGranted, gateway.StrikeReleased, gateway.AccessGranted, gateway.StrikeReleased)
}

// A veto stops the release at once, spends nothing, and holds while the knock does.
func TestVeto(t *testing.T) {
	h := knocking(t)
	jti, text := h.grant(t, 1, "front", "")
	verdict := make(chan gateway.Reason, 1)
	go func() { r, _ := h.scan(text); verdict <- r }()
	for h.Veto(t.Context(), "front") != nil { // until the courier knocks
		time.Sleep(time.Millisecond)
	}
	if r := <-verdict; r != gateway.Vetoed {
		t.Errorf("%q", r)
	}
	if r, took := h.scan(text); r != gateway.Vetoed || took > 300*time.Millisecond {
		t.Errorf("again: %q after %v", r, took)
	}
	g, found, err := h.store.Grant(t.Context(), gateway.GrantID{Issuer: "colis-x.example", JTI: jti})
	if err != nil || !found || g.Used != 0 {
		t.Errorf("used %d, %v, %v", g.Used, found, err)
	}
	h.told(t, gateway.KnockedEvent, gateway.KnockVetoed, gateway.AccessDenied, gateway.AccessDenied)
}

// Who rings the bell first has waited already; who comes over the network is told to try again.
func TestKnockByBellAndPhone(t *testing.T) {
	h := knocking(t)
	h.access.Ring("front")
	time.Sleep(400 * time.Millisecond)
	_, text := h.grant(t, 1, "front", "")
	if r, took := h.scan(text); r != "" || took > 300*time.Millisecond {
		t.Errorf("rang before: %q after %v", r, took)
	}
	_, text = h.grant(t, 2, "side", "")
	if r := h.access.Present(t.Context(), "side", "side-pad", gateway.GrantCredential{Text: gateway.NewSecret(text)}).Reason; r != "" {
		t.Errorf("another door: %q", r)
	}
	if gateway.Knock.Code() != gateway.TryLater || gateway.Vetoed.Code() != gateway.NotAllowed {
		t.Error("what the phone is told")
	}
}
