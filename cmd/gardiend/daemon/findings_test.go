package daemon

import (
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"gardien/gateway"
	"gardien/gateway/access"
	"gardien/gateway/uplink"
	"gardien/store"
)

// wellAt is a house of which there is nothing to say.
func wellAt(at time.Time) condition {
	percent := 21
	return condition{at: gateway.Reading{Wall: at, Earliest: at, Latest: at, State: gateway.ClockSynced, SinceBoot: time.Hour}, healthy: true, lan: "https",
		doors:     []doorCondition{{DoorView: gateway.DoorView{ID: "front", Battery: &percent}}},
		issuers:   []issuerCondition{{id: "a.example", limit: 72 * time.Hour, IssuerState: gateway.IssuerState{HeardAt: at.Add(-47 * time.Hour)}}, {id: "new.example", limit: 72 * time.Hour}, {id: "ever.example", IssuerState: gateway.IssuerState{HeardAt: at.AddDate(-1, 0, 0)}}},
		cloud:     uplink.Connected,
		residents: []gateway.Resident{{ID: "ada", Name: "Ada", Role: gateway.RoleResident}},
		tasks:     []taskCondition{{name: "socket", since: at}},
		stamp:     func(t time.Time) string { return t.Format(time.RFC3339) }}
}

// Each thing that somebody should look at is a finding of its own, with its urgency and its subject; of a
// house that is well there is none. Z5: a lock's battery at 20 % or less is one. Sentences name the remedy.
func TestFindings(t *testing.T) {
	at := time.Date(2026, 11, 27, 12, 0, 0, 0, time.UTC)
	battery := func(n int) func(*condition) { return func(c *condition) { c.doors[0].Battery = &n } }
	door := func(v gateway.DoorView) func(*condition) {
		return func(c *condition) { v.ID = "front"; c.doors[0].DoorView = v }
	}
	heard := func(ago time.Duration) func(*condition) {
		return func(c *condition) { c.issuers[0].ManifestAt = at.Add(-ago) }
	}
	for name, tt := range map[string]struct {
		change func(*condition)
		want   string // urgencies and keys
		say    string
	}{
		"well":                    {func(*condition) {}, "", ""},
		"read-only":               {func(c *condition) { c.about.Degraded, c.healthy = "EROFS", false }, "now database.read_only", "EROFS"},
		"failing":                 {func(c *condition) { c.healthy = false }, "now database.failing", "df, dmesg"},
		"set aside":               {func(c *condition) { c.about.Quarantine = store.SetAside }, "now database.set_aside", "gardien restore FILE"},
		"rolled back":             {func(c *condition) { c.about.Quarantine = store.RolledBack }, "now database.rolled_back", "gardien resume"},
		"a backup from elsewhere": {func(c *condition) { c.about.Quarantine = store.Restored }, "today database.restored", "gardien resume"},
		"under-voltage":           {func(c *condition) { c.low = true }, "today board.under_voltage", "supply"},
		"a jammed bolt":           {door(gateway.DoorView{Ailments: []gateway.Ailment{gateway.LockIsJammed}, Fault: true}), "now lock.jammed.front", "door front is unwell (lock.jammed), and third parties are refused: its bolt is jammed: push"},
		"two ailments":            {door(gateway.DoorView{Ailments: []gateway.Ailment{gateway.ContactFaulty, gateway.StrikeUnsecured}}), "now strike.not_secured.front, today contact.fault.front", "wire"},
		"a door that lets all in": {func(c *condition) {
			c.doors[0].Ailments, c.doors[0].open = []gateway.Ailment{gateway.ContactUnsure}, true
		}, "today contact.unknown.front", "third parties are let in all the same"},
		"a blocked door":      {door(gateway.DoorView{Blocked: true, Fault: true, Ailments: []gateway.Ailment{gateway.ContactFaulty, gateway.StrikeFaulty}}), "now door.blocked.front, today contact.fault.front", "door front cannot be moved"},
		"a fault of long ago": {door(gateway.DoorView{Fault: true}), "today door.fault.front", "check strike and contact"},
		"held open":           {door(gateway.DoorView{HeldOpen: true, HeldSince: time.Now()}), "now door.held_open.front", "close it"},
		"a battery at 20 %":   {battery(20), "today battery.front", "this week"},
		"a battery at 5 %":    {battery(5), "now battery.front", "5 % left: change the cells now"},
		"a reader that is shut": {func(c *condition) {
			c.readers = []access.ShutReader{{ID: "pad", LockedOut: true, For: 11 * time.Minute, Since: at}}
		}, "now reader.locked_out.pad", "for 11 more minutes, after too many wrong ones: gardien reader lift pad"},
		"a reader after a start on a dead card": {func(c *condition) {
			c.about.Degraded, c.readers = "EROFS", []access.ShutReader{{ID: "pad", LockedOut: true, Degraded: true, For: 20 * time.Second, Since: at}}
		}, "now database.read_only, now reader.locked_out.pad", "whom they let in without a limit (but nobody with a PIN or a card at pad now"},
		"a reader after ten guesses on a dead card": {func(c *condition) {
			c.about.Degraded, c.readers = "EROFS", []access.ShutReader{{ID: "pad", LockedOut: true, Degraded: true}}
		}, "now database.read_only, now reader.locked_out.pad", "a resident's included, after too many wrong ones: gardien reader lift pad"},
		"a reader that pauses":            {func(c *condition) { c.readers = []access.ShutReader{{ID: "pad", Since: at}} }, "today reader.paused.pad", "gardien reader lift pad"},
		"no time":                         {func(c *condition) { c.at.State = gateway.ClockUndecided }, "today clock.undecided", "PINs made at home included"},
		"a part that fails":               {func(c *condition) { c.tasks[0].why = "busy" }, "today task.down.socket", "socket does not work since 2026-11-27T12:00:00Z, and is tried again: busy"},
		"nobody listens":                  {func(c *condition) { c.tasks[0] = taskCondition{"https", "busy", at} }, "today network.unserved", "busy"},
		"another of its name":             {func(c *condition) { c.collision = "192.0.2.1" }, "today network.collision", "192.0.2.1"},
		"an issuer without keys":          {func(c *condition) { c.issuers[0].setAside = "it is empty" }, "today issuer.set_aside.a.example", "systemctl restart gardiend"},
		"an issuer that is silent":        {heard(73 * time.Hour), "today issuer.stale.a.example", "2026-11-24T11:00:00Z"},
		"an issuer that will be":          {heard(55 * time.Hour), "info issuer.stops_soon.a.example", "stop at 2026-11-28T05:00:00Z"},
		"an issuer in its third quarter":  {heard(54*time.Hour - time.Second), "", ""},
		"a short limit, just heard":       {func(c *condition) { heard(0)(c); c.issuers[0].limit = 12 * time.Hour }, "", ""},
		"a short limit":                   {func(c *condition) { heard(9 * time.Hour)(c); c.issuers[0].limit = 12 * time.Hour }, "info issuer.stops_soon.a.example", ""},
		"an issuer that was disproved":    {func(c *condition) { c.issuers[0].HeardAt = gateway.DisprovedAt }, "today issuer.stale.a.example", "last lay in the future"},
		"one issuer's pause":              {func(c *condition) { c.issuers[0].Paused = &gateway.Pause{} }, "info issuer.paused.a.example", "gardien issuer resume a.example"},
		"one issuer's pause that ends":    {func(c *condition) { c.issuers[0].Paused = &gateway.Pause{Until: at.Add(time.Hour)} }, "info issuer.paused.a.example", "until 2026-11-27T13:00:00Z"},
		"one issuer's pause that is over": {func(c *condition) { c.issuers[0].Paused = &gateway.Pause{Until: at} }, "", ""},
		"an issuer from the future":       {heard(-time.Hour), "today issuer.stale.a.example", "last lay in the future"}, // T3
		"a silent issuer, and no time":    {func(c *condition) { heard(73 * time.Hour)(c); c.at.State = gateway.ClockUndecided }, "today clock.undecided", ""},
		"a device from a backup": {func(c *condition) {
			c.residents = append(c.residents, gateway.Resident{ID: "ben", Name: "Ben", Role: gateway.RoleGuest, Unconfirmed: true})
		}, "today resident.unconfirmed.ben", "gardien resident confirm ben"},
		"nobody lives here":         {func(c *condition) { c.residents[0].Role = gateway.RoleInstaller }, "info resident.missing", "gardien pair"},
		"a PIN that is missed":      {func(c *condition) { c.missed = []gateway.GrantID{{Issuer: "home", JTI: "g1"}} }, "today pin.missed.home/g1", "make or send it again"},
		"a pause":                   {func(c *condition) { c.about.Paused = &gateway.Pause{} }, "info pause", "all third parties are paused: gardien resume"},
		"a vacation":                {func(c *condition) { c.about.Paused = &gateway.Pause{Home: true, Until: at.Add(time.Hour)} }, "info pause", "vacation: all third parties are paused, and grants made at home, but for 0, until 2026-11-27T13:00:00Z"},
		"a pause and a quarantine":  {func(c *condition) { c.about.Paused, c.about.Quarantine = &gateway.Pause{}, store.SetAside }, "now database.set_aside", "gardien resume"},
		"a planned pause":           {func(c *condition) { c.about.Paused = &gateway.Pause{From: at.Add(time.Hour)} }, "", ""},
		"no cloud":                  {func(c *condition) { c.cloud = "" }, "", ""},
		"a cloud that is away":      {func(c *condition) { c.cloud, c.cloudWhy = uplink.Disconnected, "no route" }, "info cloud.disconnected", "no route; grants that are here still open"},
		"a cloud that knows us not": {func(c *condition) { c.cloud = uplink.NotEnrolled }, "today cloud.not_enrolled", "cloud not enrolled"},
	} {
		c := wellAt(at)
		tt.change(&c)
		var got, said []string
		for _, f := range c.findings() {
			if f.since.After(at) && !strings.HasPrefix(f.key, "door.") {
				t.Errorf("%s: %s since %v, which is to come", name, f.key, f.since)
			}
			got, said = append(got, string(f.severity)+" "+f.key), append(said, f.text)
			if f.key != gateway.FindingKind(strings.TrimSuffix(f.key, "."+f.subject)).Of(f.subject) {
				t.Errorf("%s: the key %s is not one of its subject %q", name, f.key, f.subject)
			}
		}
		if d := cmp.Diff(tt.want, strings.Join(got, ", ")); d != "" {
			t.Errorf("%s: %s", name, d)
		}
		if !strings.Contains(strings.Join(said, "\n"), tt.say) {
			t.Errorf("%s: %q do not say %q", name, said, tt.say)
		}
	}
}

// Since when a finding is: by what is known of it, else since this process first saw it. A mark ends with its
// finding, and when that comes again nobody has seen it.
func TestWatched(t *testing.T) {
	at := time.Date(2026, 11, 27, 12, 0, 0, 0, time.UTC)
	r := gateway.Reading{Wall: at, SinceBoot: time.Hour}
	w := watched{}
	seen := map[string]string{"a": "ada", "b": "ben", "gone": "ada"}
	look := func(since time.Time, keys ...string) findings {
		var l findings
		for _, k := range keys {
			l = append(l, finding{key: k, since: since})
		}
		w.look(l, seen, r)
		r.Wall, r.SinceBoot = r.Wall.Add(time.Minute), r.SinceBoot+time.Minute
		return l
	}
	look(time.Time{}, "a", "b")
	if w.isStale("a") || w.isStale("gone") {
		t.Error("marks of before the start count no more, a moment after it")
	}
	w.warmUp()
	if !w.isStale("gone") {
		t.Error("a mark of what is not found counts")
	}
	r.Wall = r.Wall.Add(24 * time.Hour) // the clock is set
	if l := look(time.Time{}, "a", "b"); !l[0].since.Equal(at.Add(24 * time.Hour)) {
		t.Errorf("first seen at %v by a clock that was set since", l[0].since)
	}
	began := at.Add(-time.Hour)
	if l := look(began, "b"); !l[0].since.Equal(began) {
		t.Errorf("what is known to have begun at %v: %v", began, l[0].since)
	}
	if l := look(r.Wall.Add(time.Hour), "a", "b"); !l[1].since.Equal(at.Add(24*time.Hour)) || l[0].since.Equal(l[1].since) {
		t.Errorf("what would begin later, and what came again: %v", l)
	}
	if !w.isStale("a") || w.isStale("b") {
		t.Errorf("a came again: stale %v; b went on: stale %v", w.isStale("a"), w.isStale("b"))
	}
	undo := w.settle("a", "b")
	if w.isStale("a") {
		t.Error("somebody has seen it again")
	}
	if undo(); !w.isStale("a") || w.isStale("b") {
		t.Error("what failed was not undone as it was")
	}
}

// Looks overlap: one whose reading is older than another's that was here before ends no finding, so that a mark
// that was made meanwhile still counts.
func TestWatchedOlderLook(t *testing.T) {
	at := time.Date(2026, 11, 27, 12, 0, 0, 0, time.UTC)
	read := func(d time.Duration) gateway.Reading {
		return gateway.Reading{Wall: at.Add(d), SinceBoot: time.Hour + d}
	}
	const key = "door.blocked.front"
	marks := map[string]string{key: "ada"}
	var w watched
	w.warmUp()
	w.look(findings{{key: key}}, nil, read(time.Second))
	w.look(nil, marks, read(0))
	later := findings{{key: key}}
	w.look(later, marks, read(time.Minute))
	if began := at.Add(time.Second); w.isStale(key) || !later[0].since.Equal(began) {
		t.Errorf("stale %v, since %v, want %v", w.isStale(key), later[0].since, began)
	}
	w.look(nil, marks, read(time.Minute))
	if !w.isStale(key) {
		t.Error("it has ended, and its mark counts")
	}
}

// Installers are told of no resident and no pause, be there none or of one issuer (contract §5).
func TestHouseFindings(t *testing.T) {
	c := wellAt(time.Date(2026, 11, 27, 12, 0, 0, 0, time.UTC))
	c.residents, c.about.Paused, c.issuers[0].Paused = nil, &gateway.Pause{}, &gateway.Pause{}
	list := c.findings()
	for _, f := range list {
		if !f.house {
			t.Errorf("installers are told of %s", f.key)
		}
	}
	if len(list) != 3 {
		t.Errorf("%d findings, want 3", len(list))
	}
}
