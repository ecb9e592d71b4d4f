package daemon

import (
	"context"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"gardien/gateway"
	"gardien/gateway/api"
)

// residentsTime is how long residents have to say no here.
const residentsTime = 2 * time.Minute

// knocking is a house, in a bubble, whose residents are asked before the carrier comes in.
func knocking(t *testing.T) *house {
	t.Helper()
	h := build(t).bubbled()
	text := strings.Replace(houseYAML, "bearer: true,", "bearer: true, knock: 2m,", 1)
	if err := os.WriteFile(filepath.Join(h.dir, "g.yaml"), []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	h.start(t)
	return h
}

func (h *house) scan(text string) gateway.Reason {
	return h.access.Present(context.Background(), "front", "scanner", gateway.GrantCredential{Text: gateway.NewSecret(text)}).Reason
}

// told looks whether these events are in the record of the door, and no others. A veto acts before
// it is recorded, so that its own event may stand after what it brought about: it is taken as the
// last here.
func (h *house) told(t *testing.T, types ...gateway.EventType) {
	t.Helper()
	synctest.Wait()
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
	if i := slices.Index(got, gateway.KnockVetoed); i >= 0 {
		got = append(slices.Delete(got, i, i+1), gateway.KnockVetoed)
	}
	if !slices.Equal(got, types) {
		t.Errorf("events at the door: %v, want %v", got, types)
	}
}

// The courier waits, and comes in when nobody says no. The reader does not wait: a resident
// comes in meanwhile, and what the courier types again is not kept.
func TestKnock(t *testing.T) {
	inBubble(t, func(t *testing.T) {
		h := knocking(t)
		jti, text := h.grant(t, 1, "front", "")
		begun := time.Now()
		for range 3 {
			if r := h.scan(text); r != gateway.Knock {
				t.Errorf("%q at once", r)
			}
		}
		if o := h.access.Present(t.Context(), "front", "app", gateway.ResidentCredential{Resident: "r"}); !o.Granted || time.Since(begun) > 0 {
			t.Errorf("a resident: %+v after %v", o, time.Since(begun))
		}
		time.Sleep(residentsTime - time.Second)
		h.told(t, gateway.KnockedEvent, gateway.AccessGranted, gateway.StrikeReleased, gateway.StrikeSecured)
		time.Sleep(time.Second)
		h.told(t, gateway.KnockedEvent, gateway.AccessGranted, gateway.StrikeReleased, gateway.StrikeSecured, gateway.AccessGranted, gateway.StrikeReleased)
		if err := h.backend().Doors.Veto(t.Context(), api.Caller{}, "front"); err == nil {
			t.Error("a veto against nobody")
		}
		if g, _, err := h.find(t.Context(), gateway.GrantID{Issuer: "colis-x.example", JTI: jti}); err != nil || g.Used != 1 {
			t.Errorf("used %d, %v", g.Used, err)
		}
		if r := h.scan(text); r != "" {
			t.Errorf("while it is released: %q", r)
		}
		h.secured(t, "front")
		if r := h.scan(text); r != gateway.UsesSpent {
			t.Errorf("once more: %q", r)
		}
	})
}

// A veto ends the wait at once, spends nothing, and holds for whoever comes next.
func TestVeto(t *testing.T) {
	inBubble(t, func(t *testing.T) {
		h := knocking(t)
		jti, text := h.grant(t, 1, "front", "")
		_, other := h.grant(t, 2, "front", "")
		h.scan(text)
		if err := h.backend().Doors.Veto(t.Context(), api.Caller{}, "front"); err != nil {
			t.Fatal(err)
		}
		h.told(t, gateway.KnockedEvent, gateway.AccessDenied, gateway.KnockVetoed)
		for _, s := range []string{text, other} {
			if r := h.scan(s); r != gateway.Vetoed {
				t.Errorf("then: %q", r)
			}
		}
		if g, found, err := h.find(t.Context(), gateway.GrantID{Issuer: "colis-x.example", JTI: jti}); err != nil || !found || g.Used != 0 {
			t.Errorf("used %d, %v, %v", g.Used, found, err)
		}
		h.told(t, gateway.KnockedEvent, gateway.AccessDenied, gateway.AccessDenied, gateway.AccessDenied, gateway.KnockVetoed)
	})
}

// A courier's knock is not another's; the bell is everybody's, once.
func TestKnockOfTwo(t *testing.T) {
	inBubble(t, func(t *testing.T) {
		h := knocking(t)
		_, one := h.grant(t, 1, "front", "")
		_, two := h.grant(t, 2, "front", "")
		h.scan(one)
		time.Sleep(residentsTime)
		h.told(t, gateway.KnockedEvent, gateway.AccessGranted, gateway.StrikeReleased)
		if r := h.scan(two); r != gateway.Knock {
			t.Errorf("the second rides on the first one's knock: %q", r)
		}
		time.Sleep(residentsTime)
		h.told(t, gateway.KnockedEvent, gateway.AccessGranted, gateway.StrikeReleased, gateway.KnockedEvent, gateway.StrikeSecured, gateway.AccessGranted, gateway.StrikeReleased)
		h.access.Ring("front")
		time.Sleep(residentsTime)
		_, three := h.grant(t, 3, "front", "")
		if r := h.scan(three); r != "" {
			t.Errorf("rang before: %q", r)
		}
		_, four := h.grant(t, 4, "front", "")
		if r := h.scan(four); r != gateway.Knock {
			t.Errorf("the bell was another's: %q", r)
		}
	})
}
