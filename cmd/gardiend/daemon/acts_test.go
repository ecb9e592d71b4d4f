package daemon

import (
	"context"
	"encoding/json"
	"slices"
	"testing"

	"gardien/gateway"
	"gardien/gateway/api"
)

// Acts of residents name who did it (contract §3); what is done at the console names nobody.
// Forgetting a resident takes the name away.
func TestActsNameTheResident(t *testing.T) {
	h := build(t)
	h.start(t)
	b := h.backend()
	ada := h.pair(t, "Ada")
	if _, text := h.grant(t, 1, "front", ""); text != "" {
		if in, err := h.access.Take(t.Context(), text); err != nil || in.Result != "accepted" {
			t.Fatal(in, err)
		}
	}
	srv := h.served(t)
	for _, c := range []struct {
		base   string
		header []string
		by     gateway.ResidentID
	}{{srv.URL, []string{"Authorization", "Bearer " + ada.Token}, ada.ID}, {"http://g", nil, ""}} {
		client := srv.Client()
		if c.by == "" {
			client = h.local()
		}
		do := func(method, path, body string) string {
			t.Helper()
			a := call(t, client, method, c.base+path, body, c.header...)
			if a.status >= 300 {
				t.Fatalf("%s %s: %d %s", method, path, a.status, a.body)
			}
			return a.body
		}
		from := h.store.Head()
		var made api.GrantMade
		if err := json.Unmarshal([]byte(do("POST", "/v1/grants", `{"doors":["front"],"not_after":"2090-01-01T00:00:00Z","pin":true}`)), &made); err != nil {
			t.Fatal(err)
		}
		do("DELETE", "/v1/grants/"+made.ID[len("home/"):], "")
		do("DELETE", "/v1/grants/colis-x.example%2Fg1", "")
		do("POST", "/v1/issuers/colis-x.example/pause", "")
		do("POST", "/v1/issuers/colis-x.example/resume", "")
		do("POST", "/v1/pause", "")
		do("POST", "/v1/resume", "")
		h.access.Ring("front")
		do("POST", "/v1/doors/front/veto", "")
		do("POST", "/v1/readers/pad/lift", "")
		grown, stop := h.store.Watch()
		do("POST", "/v1/clock/confirm", "")
		var events []gateway.Event
		told := func() bool {
			var err error
			if events, err = b.Record.Events(context.Background(), from, 100); err != nil {
				t.Fatal(err)
			}
			return slices.ContainsFunc(events, func(e gateway.Event) bool { return e.Type == gateway.ClockTrusted })
		}
		for !told() {
			<-grown
		}
		stop()
		acts := 0
		for _, e := range events {
			switch e.Type {
			case gateway.GrantAdded, gateway.GrantRevokedOn, gateway.IssuerPausedOn, gateway.IssuerResumed, gateway.KnockVetoed, gateway.LockOutLifted, gateway.ClockTrusted:
				acts++
				if e.Resident != c.by {
					t.Errorf("%s of %s/%s names %q, want %q", e.Type, e.Issuer, e.Grant, e.Resident, c.by)
				}
			}
		}
		want := 10
		if c.by == "" {
			want-- // the carrier's grant was blocked already
		}
		if acts != want {
			t.Errorf("%d acts of %q are in the record, want %d", acts, c.by, want)
		}
	}
	if _, err := b.Record.Forget(t.Context(), string(ada.ID)); err != nil {
		t.Fatal(err)
	}
	events, err := b.Record.Events(t.Context(), 0, 1000)
	if err != nil {
		t.Fatal(err)
	}
	for _, e := range events {
		if e.Resident == ada.ID {
			t.Errorf("%s still names a resident who was forgotten", e.Type)
		}
	}
	if v, err := b.Record.Verify(t.Context()); err != nil || !v.OK {
		t.Errorf("the record does not verify: %+v, %v", v, err)
	}
}
