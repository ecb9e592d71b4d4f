package daemon

import (
	"context"
	"encoding/json"
	"fmt"
	"net/url"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"gardien/gateway"
	"gardien/gateway/api"
	"gardien/store"
)

// asked gives what the API answers at the socket, read.
func asked[T any](t *testing.T, h *house, path string) (v T) {
	t.Helper()
	a := call(t, h.local(), "GET", "http://g"+path, "")
	if a.status != 200 {
		t.Fatalf("%s: %d %s", path, a.status, a.body)
	}
	check(t, json.Unmarshal([]byte(a.body), &v))
	return v
}

func (h *house) sims(t *testing.T, what, body string) {
	t.Helper()
	if a := call(t, h.local(), "POST", "http://g/v1/sim/"+what, body); a.status != 204 {
		t.Fatalf("%s %s: %d %s", what, body, a.status, a.body)
	}
}

// found gives a finding of now, and all keys.
func (h *house) found(t *testing.T, key string) (f api.Finding, keys []string) {
	t.Helper()
	for _, each := range asked[api.Health](t, h, "/v1/health").Findings {
		if keys = append(keys, each.Key); each.Key == key {
			f = each
		}
	}
	return f, keys
}

// Findings are told as data, and marked by whoever has seen them: over a restart, until they end. What is of the
// house is no installer's to see.
func TestHealth(t *testing.T) {
	h := build(t)
	h.start(t)
	ada := h.pair(t, "Ada")
	h.sims(t, "fault", `{"door":"front","fault":"jam"}`)
	check(t, h.store.Update(t.Context(), func(tx *store.Tx) error { return tx.House.SetPaused(&gateway.Pause{}) }))
	const jam = "lock.jammed.front"
	began := h.clock.Read().Wall
	f, keys := h.found(t, jam)
	since, err := time.Parse(time.RFC3339, f.Since)
	if err != nil || since.Before(began.Add(-time.Minute)) || f.Severity != gateway.SeverityNow || *f.Subject != "front" || f.SeenBy != nil || !slices.Equal(keys, []string{jam, "pause"}) {
		t.Errorf("%+v of %q", f, keys)
	}
	if st := asked[api.Status](t, h, "/v1/status"); len(st.Notes) != 2 || !slices.Equal(st.Severities, []gateway.Severity{gateway.SeverityNow, gateway.SeverityInfo}) || !strings.Contains(st.Notes[0], jam[:11]) {
		t.Errorf("%q %q", st.Notes, st.Severities)
	}
	see := func(key, who string) int {
		t.Helper()
		srv := h.served(t)
		return call(t, srv.Client(), "POST", srv.URL+"/v1/health/"+url.PathEscape(key)+"/seen", "", "Authorization", "Bearer "+who).status
	}
	seenBy := func(want string) {
		t.Helper()
		f, keys := h.found(t, jam)
		got := ""
		if f.SeenBy != nil {
			got = *f.SeenBy
		}
		if f.Key == "" || got != want {
			t.Errorf("%q of %q was seen by %q, want %q", f.Key, keys, got, want)
		}
	}
	if n := see("lock.jammed.side", ada.Token); n != 404 {
		t.Errorf("what is not found is marked: %d", n)
	}
	if n := see(jam, ada.Token); n != 204 {
		t.Fatal(n)
	}
	seenBy(string(ada.ID))
	for _, house := range []bool{true, false} {
		list, err := h.backend().Health.Findings(t.Context(), house)
		if err != nil || len(list) == 0 || house != (list[0].SeenBy != nil) || house != (len(list) == 2) {
			t.Errorf("house %v: %+v, %v", house, list, err)
		}
		st, err := h.backend().Upkeep.Status(t.Context(), house)
		if err != nil || house != (len(st.Notes) == 2) || len(st.Notes) != len(st.Severities) {
			t.Errorf("house %v: %q, %v", house, st.Notes, err)
		}
	}

	h.stop()
	h.start(t)
	h.sims(t, "fault", `{"door":"front","fault":"jam"}`)
	seenBy(string(ada.ID))
	h.sims(t, "fault", `{"door":"front","fault":"clear"}`)
	if f, keys := h.found(t, jam); f.Key != "" {
		t.Errorf("%q are found of a door that works again", keys)
	}
	h.sims(t, "fault", `{"door":"front","fault":"jam"}`)
	seenBy("")
	check(t, healthService{h.Gateway}.watchOnce(t.Context()))
	marks, err := store.Look(t.Context(), h.store, func(tx *store.Tx) map[string]string { return tx.House.SeenFindings() })
	if err != nil || len(marks) > 0 {
		t.Errorf("marks of what has ended are kept: %v, %v", marks, err)
	}
	if a := call(t, h.local(), "POST", "http://g/v1/health/"+jam+"/seen", ""); a.status != 204 {
		t.Fatal(a)
	}
	seenBy("console")
	h.sims(t, "fault", `{"door":"front","fault":"clear"}`)
	check(t, healthService{h.Gateway}.watchOnce(t.Context())) // nobody asks, and it is noticed
	h.sims(t, "fault", `{"door":"front","fault":"jam"}`)
	seenBy("")
}

// A door says when it was last known, since when it is so, and who has opened it (contract §5).
func TestDoorMembers(t *testing.T) {
	h := build(t)
	h.start(t)
	side := func() api.Door { return asked[api.Door](t, h, "/v1/doors/side") }
	near := func(what string, text *string) {
		t.Helper()
		if text == nil {
			t.Errorf("%s: null", what)
			return
		}
		at, err := time.Parse(time.RFC3339, *text)
		if d := h.clock.Read().Wall.Sub(at); err != nil || d < -time.Second || d > time.Minute {
			t.Errorf("%s: %s", what, *text)
		}
	}
	d := side()
	near("seen_at", d.SeenAt)
	near("since", &d.Since)
	if d.OpenedBy != nil || d.Battery != nil {
		t.Errorf("%+v", d)
	}
	h.sims(t, "contact", `{"door":"side","state":"open"}`)
	if d := side(); d.OpenedBy == nil || *d.OpenedBy != gateway.OpenedUnseen {
		t.Errorf("opened with a key: %+v", d)
	}
	h.sims(t, "contact", `{"door":"side","state":"fault"}`)
	if d := side(); d.OpenedBy != nil || d.SeenAt == nil || *d.Contact != "fault" {
		t.Errorf("a contact that fails: %+v", d)
	}
}

// A grant says whom it is for, who made it, whether something can present it, and whether residents are asked:
// in a list as by itself.
func TestGrantMembers(t *testing.T) {
	h := build(t)
	h.start(t)
	ada := h.pair(t, "Ada")
	end := time.Now().Add(time.Hour)
	one := 1
	weekly, err := gateway.ParseHours("mon,thu", "09:00-12:30")
	check(t, err)
	front := []gateway.DoorID{"front"}
	want := map[string]string{} // kind, maker, presentable
	for _, tt := range []struct {
		by   api.Caller
		req  api.GrantRequest
		want string
	}{
		{api.Caller{Resident: ada.ID}, api.GrantRequest{PIN: true, Uses: &one}, fmt.Sprint("courier ", ada.ID, " true")},
		{api.Caller{}, api.GrantRequest{PIN: true}, "technician - true"},
		{api.Caller{}, api.GrantRequest{PIN: true, Schedule: weekly, Uses: &one}, "employee - true"},
		{api.Caller{}, api.GrantRequest{PIN: true, Resident: ada.ID}, "family - true"},
		{api.Caller{}, api.GrantRequest{PIN: true, Uses: &one, Kind: gateway.KindFamily}, "family - true"},
		{api.Caller{}, api.GrantRequest{Card: "26:123:45678"}, "technician - false"}, // no reader of this house takes cards
	} {
		tt.req.Doors, tt.req.NotAfter = front, &end
		made, err := h.backend().Grants.Make(t.Context(), tt.by, tt.req)
		check(t, err)
		want[made.ID] = tt.want
	}
	duress, err := h.backend().Residents.Duress(t.Context(), api.Caller{Resident: ada.ID}, ada.ID, api.DuressRequest{})
	check(t, err)
	want[duress.ID] = fmt.Sprint("family ", ada.ID, " true") // as a PIN of one's own
	jti, text := h.grant(t, 1, "front", "")
	_, err = h.access.Take(t.Context(), text)
	check(t, err)
	want["colis-x.example/"+jti] = "courier - true" // its text, at a scanner

	got := map[string]string{}
	for _, g := range asked[api.Grants](t, h, "/v1/grants").Grants {
		maker := "-"
		if g.MadeBy != nil {
			maker = string(*g.MadeBy)
		}
		got[g.ID] = fmt.Sprint(g.Kind, " ", maker, " ", g.Presentable)
		if alone := asked[api.Grant](t, h, "/v1/grants/"+url.PathEscape(g.ID)); cmp.Diff(g, alone) != "" {
			t.Errorf("in the list and alone: %s", cmp.Diff(g, alone))
		}
		if g.Approval != "off" || g.ApprovalSilence != nil {
			t.Errorf("%s: approval %s", g.ID, g.Approval)
		}
	}
	if d := cmp.Diff(want, got); d != "" {
		t.Error(d)
	}
}

// A9: an issuer says when it will be stale: its limit after its last sign of life.
func TestA9_IssuerStopsAt(t *testing.T) {
	h := build(t)
	h.start(t)
	issuer := func() api.Issuer { return asked[api.Issuers](t, h, "/v1/issuers").Issuers[0] }
	if i := issuer(); i.StopsAt != nil || i.Policy.OfflineLimit == nil || *i.Policy.OfflineLimit != "72h" || i.Policy.MaxValidity != nil || len(i.Policy.Doors) != 2 || !i.Policy.Bearer {
		t.Errorf("one of which nothing is here: %+v", i)
	}
	_, text := h.grant(t, 1, "front", "")
	_, err := h.access.Take(t.Context(), text)
	check(t, err)
	i := issuer()
	heard, err := time.Parse(time.RFC3339, *i.HeardAt)
	check(t, err)
	if want := h.stamp(heard.Add(72 * time.Hour)); i.StopsAt == nil || *i.StopsAt != want {
		t.Errorf("%+v, want it to stop at %s", i, want)
	}
}

// When a device last authenticated is in the list of residents: at once, and after a restart.
func TestResidentsSeenAt(t *testing.T) {
	h := build(t)
	h.start(t)
	ada, ben := h.pair(t, "Ada"), h.pair(t, "Ben")
	seen := func(what string, want map[gateway.ResidentID]bool) {
		t.Helper()
		got := map[gateway.ResidentID]bool{}
		for _, r := range asked[api.Residents](t, h, "/v1/residents").Residents {
			got[r.ID] = r.SeenAt != nil
		}
		if d := cmp.Diff(want, got); d != "" {
			t.Errorf("%s: %s", what, d)
		}
	}
	seen("at first", map[gateway.ResidentID]bool{ada.ID: false, ben.ID: false})
	srv := h.served(t)
	if a := call(t, srv.Client(), "GET", srv.URL+"/v1/doors", "", "Authorization", "Bearer "+ada.Token); a.status != 200 {
		t.Fatal(a)
	}
	seen("at once", map[gateway.ResidentID]bool{ada.ID: true, ben.ID: false})
	check(t, healthService{h.Gateway}.watchOnce(context.Background()))
	h.stop()
	h.start(t)
	seen("after a restart", map[gateway.ResidentID]bool{ada.ID: true, ben.ID: false})
}

// BenchmarkGrantsPage: a page of 200 grants with what a list says of each ≤ 2 × the rows alone.
func BenchmarkGrantsPage(b *testing.B) {
	h := build(b)
	h.start(b)
	for range 200 {
		h.pinGrant(b, "front")
	}
	var page, rows []time.Duration
	for b.Loop() {
		start := time.Now()
		list, err := h.backend().Grants.List(context.Background(), gateway.GrantID{}, 1000)
		page = append(page, time.Since(start))
		if err != nil || len(list) != 200 || !list[199].Presentable {
			b.Fatal(len(list), err)
		}
		start = time.Now()
		if err := h.store.Browse(context.Background(), func(tx *store.Tx) error { tx.Grants.List(gateway.GrantID{}, 1000); return tx.Err() }); err != nil {
			b.Fatal(err)
		}
		rows = append(rows, time.Since(start))
	}
	b.ReportMetric(quantile(page, 0.5), "p50-µs")
	b.ReportMetric(quantile(rows, 0.5), "rows-µs")
	b.ReportMetric(quantile(page, 0.5)/quantile(rows, 0.5), "ratio(≤2)")
}

// Marks are bounded: one that has no place is told, and has one as soon as other findings have ended.
func TestTooManyMarks(t *testing.T) {
	h := build(t)
	h.start(t)
	check(t, h.store.Update(t.Context(), func(tx *store.Tx) error {
		for i := range store.MostMarks {
			tx.House.SeeFinding(fmt.Sprint("task.down.", i), store.Console)
		}
		return tx.House.SetPaused(&gateway.Pause{})
	}))
	see := func() answer { return call(t, h.local(), "POST", "http://g/v1/health/pause/seen", "") }
	if a := see(); a.status != 409 || !strings.Contains(a.body, "no more marks are kept") {
		t.Errorf("%+v", a)
	}
	if f, _ := h.found(t, "pause"); f.SeenBy != nil {
		t.Errorf("seen by %q", *f.SeenBy)
	}
	check(t, healthService{h.Gateway}.watchOnce(t.Context()))
	if a := see(); a.status != 204 {
		t.Errorf("%+v", a)
	}
}
