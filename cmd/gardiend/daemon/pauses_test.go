package daemon

import (
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"gardien/gateway"
	"gardien/gateway/access"
	"gardien/gateway/api"
	"gardien/store"
)

// What is asked of pauses is held against the clock and the grants that are there; what changes
// nothing is not told.
func TestPauses(t *testing.T) {
	h := build(t)
	h.start(t)
	made, err := h.access.Home(t.Context(), access.HomeGrant{Doors: []gateway.DoorID{"front"}, PIN: true})
	if err != nil {
		t.Fatal(err)
	}
	const one, all = "/v1/issuers/colis-x.example/pause", "/v1/pause"
	now := h.clock.Read().Wall
	in := func(d time.Duration) string { return `"` + now.Add(d).Format(time.RFC3339) + `"` }
	from := h.store.Head()
	for _, c := range []struct{ path, body, say string }{
		{one, `{"until":` + in(-time.Second) + `}`, "until: it is past already"},
		{all, `{"until":` + in(-time.Second) + `}`, "until: it is past already"},
		{all, `{"from":` + in(-2*time.Hour) + `,"until":` + in(-time.Hour) + `}`, "until: it is past already"},
		{all, `{"home":true,"keep":["` + made.ID.JTI + `","nosuch"]}`, "keep: there is no grant home/nosuch"},
	} {
		if a := call(t, h.local(), "POST", "http://g"+c.path, c.body); a.status != 400 || !strings.Contains(a.body, c.say) {
			t.Errorf("%s: %d %s, want 400 with %q", c.body, a.status, a.body, c.say)
		}
	}
	vacation := `{"from":` + in(-time.Hour) + `,"until":` + in(time.Hour) + `,"home":true,"keep":["` + made.ID.JTI + `"]}`
	for _, c := range []struct{ path, body string }{
		{"/v1/resume", ""}, {"/v1/issuers/colis-x.example/resume", ""}, // there is none: not told
		{one, ""}, {one, "{}"}, {one, `{"until":` + in(time.Hour) + `}`}, {one, `{"until":` + in(time.Hour) + `}`}, {one, `{}`},
		{all, `{}`}, {all, vacation}, {all, vacation}, {all, `{"until":` + in(time.Hour) + `}`}, {all, ""},
		{"/v1/resume", ""}, {"/v1/resume", ""}, {"/v1/issuers/colis-x.example/resume", ""}, {"/v1/issuers/colis-x.example/resume", ""},
	} {
		if a := call(t, h.local(), "POST", "http://g"+c.path, c.body); a.status != 204 {
			t.Errorf("%s %s: %d %s", c.path, c.body, a.status, a.body)
		}
	}
	events, err := h.backend().Record.Events(t.Context(), from, 100)
	if err != nil {
		t.Fatal(err)
	}
	var told []string
	for _, e := range events {
		told = append(told, strings.TrimSpace(string(e.Type)+" "+string(e.Issuer)))
	}
	want := []string{"issuer_paused colis-x.example", "issuer_paused colis-x.example", "issuer_paused colis-x.example",
		"issuer_paused", "issuer_paused", "issuer_paused", "issuer_paused", "issuer_resumed", "issuer_resumed colis-x.example"}
	if diff := cmp.Diff(want, told); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
}

// Status tells the pause that is on or planned: as members for programs, and as a note when it is
// on. What has passed is not told, swept or not.
func TestStatusTellsPauses(t *testing.T) {
	h := build(t)
	h.start(t)
	now := h.clock.Read().Wall.Truncate(time.Second)
	stamp := func(d time.Duration) *string { return orNull(h.stamp(now.Add(d))) }
	keep := []gateway.GrantID{{Issuer: gateway.HomeIssuer, JTI: "a"}}
	for name, c := range map[string]struct {
		p     *gateway.Pause
		until *string
		want  *api.StatusPause
		note  string
	}{
		"none":     {},
		"plain":    {&gateway.Pause{}, nil, &api.StatusPause{Keep: []gateway.GrantID{}}, "all third parties are paused: gardien resume"},
		"an end":   {&gateway.Pause{Until: now.Add(time.Hour)}, stamp(time.Hour), &api.StatusPause{Until: stamp(time.Hour), Keep: []gateway.GrantID{}}, "all third parties are paused, until " + *stamp(time.Hour)},
		"passed":   {&gateway.Pause{Until: now}, nil, nil, ""},
		"planned":  {&gateway.Pause{From: now.Add(time.Hour), Home: true}, nil, &api.StatusPause{From: stamp(time.Hour), Home: true, Keep: []gateway.GrantID{}}, ""},
		"vacation": {&gateway.Pause{From: now, Home: true, Keep: keep}, nil, &api.StatusPause{From: stamp(0), Home: true, Keep: keep}, "vacation: all third parties are paused, and grants made at home, but for 1: gardien resume"},
	} {
		if err := h.store.Update(t.Context(), func(tx *store.Tx) error { return tx.House.SetPaused(c.p) }); err != nil {
			t.Fatal(err)
		}
		st, err := h.backend().Upkeep.Status(t.Context(), true)
		if err != nil {
			t.Fatal(err)
		}
		if diff := cmp.Diff(c.want, st.Pause); diff != "" {
			t.Errorf("%s: (-want +got):\n%s", name, diff)
		}
		if diff := cmp.Diff(c.until, st.PausedUntil); diff != "" {
			t.Errorf("%s: until (-want +got):\n%s", name, diff)
		}
		if got := strings.Join(st.Notes, "\n"); !strings.Contains(got, c.note) || (c.note == "") != !strings.Contains(got, "paused") || st.Paused != (c.note != "") {
			t.Errorf("%s: notes %q, want %q", name, st.Notes, c.note)
		}
	}
}

// What keeps third parties out since something happened to the database is no pause: neither
// another pause nor its end ends it; resume ends both.
func TestNoPauseEndsAQuarantine(t *testing.T) {
	h := build(t)
	h.start(t)
	set := func(f func(*store.Tx)) {
		t.Helper()
		if err := h.store.Update(t.Context(), func(tx *store.Tx) error { f(tx); return tx.Err() }); err != nil {
			t.Fatal(err)
		}
	}
	post := func(path, body string) {
		t.Helper()
		if a := call(t, h.local(), "POST", "http://g"+path, body); a.status != 204 {
			t.Errorf("%s: %d %s", path, a.status, a.body)
		}
	}
	told := func(when string, paused bool, planned bool) {
		t.Helper()
		st, err := h.backend().Upkeep.Status(t.Context(), true)
		if err != nil {
			t.Fatal(err)
		}
		if st.Paused != paused || st.PausedUntil != nil || (st.Pause != nil) != planned {
			t.Errorf("%s: paused %v until %v, %+v", when, st.Paused, st.PausedUntil, st.Pause)
		}
	}
	set(func(tx *store.Tx) { tx.House.SetQuarantine(store.RolledBack) })
	told("at first", true, false)
	post("/v1/pause", `{"until":"2090-01-01T00:00:00Z"}`)
	told("with a pause", true, true)
	set(func(tx *store.Tx) { tx.House.SetPaused(nil) })
	told("after the pause", true, false)
	post("/v1/pause", `{"from":"2089-01-01T00:00:00Z"}`)
	from := h.store.Head()
	post("/v1/resume", "")
	told("after resume", false, false)
	set(func(tx *store.Tx) { tx.House.SetQuarantine(store.RolledBack) })
	post("/v1/resume", "")
	post("/v1/resume", "")
	told("after another", false, false)
	if n := h.store.Head() - from; n != 2 {
		t.Errorf("resume is told %d times, want twice", n)
	}
}
