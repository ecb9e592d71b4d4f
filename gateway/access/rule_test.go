package access

import (
	"slices"
	"testing"
	"time"

	"gardien/gateway"
)

// allowed is a third party's grant that everything speaks for: a Monday at noon.
func allowed() Facts {
	work := gateway.Window{Days: []gateway.Weekday{1, 2, 3, 4, 5}, From: 8 * 60, To: 20 * 60}
	return Facts{
		At:   gateway.Reading{Wall: noon, Earliest: noon, Latest: noon, State: gateway.ClockSynced},
		Zone: time.UTC,
		Door: "front",
		Grant: gateway.GrantRecord{Grant: gateway.Grant{
			ID: gateway.GrantID{Issuer: "colis-x.example", JTI: "p1"}, Version: 1, Status: gateway.GrantActive,
			Doors: []gateway.DoorID{"back", "front"}, IssuedAt: noon.Add(-time.Hour),
			Period: gateway.Period{NotBefore: noon.Add(-time.Hour), NotAfter: noon.Add(time.Hour)},
			Uses:   1, Schedule: &gateway.Schedule{Windows: []gateway.Window{work}},
		}},
		Policy: gateway.Policy{Doors: []gateway.DoorID{"front", "cellar"}, Hours: []gateway.Window{work}, OneTimeOnly: true,
			MaxValidity: 2 * time.Hour, PerDay: 5, OfflineLimit: 72 * time.Hour},
		Issuer: gateway.IssuerState{HeardAt: noon.Add(-time.Hour), ManifestAt: noon.Add(-time.Hour), Today: 4},
		PIN:    &gateway.PINRecord{Door: "front", Length: 8}, Lengths: []int{8},
	}
}

func home(f *Facts) {
	f.Grant.ID.Issuer = gateway.HomeIssuer
	f.Policy = gateway.HomePolicy([]gateway.DoorID{"front"})
}

func lost(f *Facts) {
	f.At = gateway.Reading{Wall: noon, Earliest: noon.AddDate(0, 0, -10), Latest: gateway.MaxTime.Add(-time.Second), State: gateway.ClockUndecided}
}

func width(d time.Duration) func(*Facts) {
	return func(f *Facts) {
		f.At.State, f.At.Earliest, f.At.Latest = gateway.ClockHoldover, f.At.Wall.Add(-d), f.At.Wall.Add(d)
	}
}

func at(t time.Time) func(*Facts) {
	return func(f *Facts) { f.At.Wall, f.At.Earliest, f.At.Latest = t, t, t }
}

// against is each reason alone, in the order of contract §8.
var against = []struct {
	name   string
	change func(*Facts)
	want   gateway.Reason
}{
	{"lower version", func(f *Facts) { f.Outdated = gateway.UnknownCredential }, gateway.UnknownCredential},
	{"revoked", func(f *Facts) { f.Grant.Status = gateway.GrantRevoked }, gateway.Revoked},
	{"another door", func(f *Facts) { f.Grant.Doors = []gateway.DoorID{"back"} }, gateway.WrongDoor},
	{"expired", func(f *Facts) { f.Grant.NotBefore, f.Grant.NotAfter = noon.AddDate(0, 0, -30), noon.AddDate(0, 0, -10) }, gateway.Expired},
	{"clock undecided", lost, gateway.ClockUntrusted},
	{"schedule", func(f *Facts) {
		f.Grant.Schedule.Windows = slices.Clone(f.Grant.Schedule.Windows)
		f.Grant.Schedule.Windows[0].To = 12 * 60
	}, gateway.OutsideSchedule},
	{"policy doors", func(f *Facts) { f.Policy.Doors = []gateway.DoorID{"cellar"} }, gateway.BeyondPolicy},
	{"paused", func(f *Facts) { f.Issuer.Paused = &gateway.Pause{} }, gateway.IssuerPaused},
	{"stale", func(f *Facts) { f.Issuer.ManifestAt = noon.Add(-72*time.Hour - 1) }, gateway.IssuerStale},
	{"door blocked", func(f *Facts) { f.Blocked = true }, gateway.DoorBlocked},
	{"door unwell", func(f *Facts) { f.Unwell = []gateway.Ailment{gateway.ContactFaulty} }, gateway.DoorBlocked},
	{"spent", func(f *Facts) { f.Grant.Used = 1 }, gateway.UsesSpent},
}

func TestJudge(t *testing.T) {
	both := func(a, b func(*Facts)) func(*Facts) { return func(f *Facts) { a(f); b(f) } }
	tests := slices.Concat(against, []struct {
		name   string
		change func(*Facts)
		want   gateway.Reason
	}{
		{"everything speaks for it", func(*Facts) {}, ""},
		{"at home", home, ""},
		{"at home, the door unwell", both(home, func(f *Facts) { f.Unwell = []gateway.Ailment{gateway.LockIsJammed} }), ""},
		{"at home, the door blocked", both(home, func(f *Facts) { f.Blocked = true }), gateway.DoorBlocked},
		{"blocked by a resident", func(f *Facts) { f.Grant.Block = true }, gateway.Revoked},
		{"no status", func(f *Facts) { f.Grant.Status = "" }, gateway.Revoked},
		{"at its end", func(f *Facts) { f.Grant.NotAfter = noon }, gateway.Expired},
		{"at its first instant", func(f *Facts) { f.Grant.NotBefore = noon }, ""},
		{"a nanosecond early", func(f *Facts) { f.Grant.NotBefore = noon.Add(1) }, gateway.NotYetValid},
		{"at its last instant", func(f *Facts) { f.Grant.NotAfter = noon.Add(1) }, ""},
		{"issued a minute ahead", func(f *Facts) { f.Grant.IssuedAt = noon.Add(time.Minute) }, ""},
		{"issued more than a minute ahead", func(f *Facts) { f.Grant.IssuedAt = noon.Add(time.Minute + 1) }, gateway.NotYetValid},
		{"policy hours", func(f *Facts) { f.Policy.Hours = []gateway.Window{{Days: []gateway.Weekday{2}, From: 0, To: 1440}} }, gateway.OutsideSchedule},
		{"no policy hours", func(f *Facts) { f.Policy.Hours = nil }, ""},
		{"no schedule", func(f *Facts) { f.Grant.Schedule = nil }, ""},
		{"excepted", func(f *Facts) { f.Grant.Schedule.Except = []gateway.Date{{Year: 2026, Month: 11, Day: 23}} }, gateway.OutsideSchedule},
		{"in the door's zone", func(f *Facts) { f.Zone = time.FixedZone("", 9*3600) }, gateway.OutsideSchedule},
		{"two uses under one_time_only", func(f *Facts) { f.Grant.Uses = 2 }, gateway.BeyondPolicy},
		{"any uses under one_time_only", func(f *Facts) { f.Grant.Uses = 0 }, gateway.BeyondPolicy},
		{"as long as max_validity", func(f *Facts) { f.Policy.MaxValidity = 2 * time.Hour }, ""},
		{"longer than max_validity", func(f *Facts) { f.Policy.MaxValidity = 2*time.Hour - 1 }, gateway.BeyondPolicy},
		{"per_day reached", func(f *Facts) { f.Issuer.Today = 5 }, gateway.BeyondPolicy},
		{"per_day reached, a retry", func(f *Facts) { f.Issuer.Today = 5; f.Retry = true }, ""},
		{"no per_day", func(f *Facts) { f.Issuer.Today = 500; f.Policy.PerDay = 0 }, ""},
		{"no policy: an issuer that is gone", func(f *Facts) { f.Policy = gateway.Policy{} }, gateway.BeyondPolicy},
		{"no PIN", func(f *Facts) { f.PIN = nil }, ""},
		{"a PIN of another class", func(f *Facts) { f.PIN.Length = 6 }, gateway.BeyondPolicy},
		{"a PIN of the class's other length", func(f *Facts) { f.PIN.Length, f.Lengths = 10, []int{8, 10} }, ""},
		{"a door that takes no PIN", func(f *Facts) { f.Lengths = nil }, gateway.BeyondPolicy},
		{"a PIN refused at intake", func(f *Facts) { f.PINRefuse = "taken" }, gateway.BeyondPolicy},
		{"all are paused", all(&gateway.Pause{}), gateway.IssuerPaused},
		{"all are paused, home's are not", both(home, all(&gateway.Pause{})), ""},
		{"paused until now", func(f *Facts) { f.Issuer.Paused = &gateway.Pause{Until: noon} }, ""},
		{"paused until later", func(f *Facts) { f.Issuer.Paused = &gateway.Pause{Until: noon.Add(1)} }, gateway.IssuerPaused},
		{"all are paused until now", all(&gateway.Pause{Until: noon}), ""},
		{"all are paused from now on", all(&gateway.Pause{From: noon}), gateway.IssuerPaused},
		{"all are paused from later on", all(&gateway.Pause{From: noon.Add(1)}), ""},
		{"vacation, home", both(home, all(vacation)), gateway.IssuerPaused},
		{"vacation, home, a retry", both(both(home, all(vacation)), func(f *Facts) { f.Retry = true }), gateway.IssuerPaused},
		{"vacation, home, a card", both(both(home, all(vacation)), func(f *Facts) { f.Card = true }), gateway.IssuerPaused},
		{"vacation, home, kept", both(both(home, all(vacation)), func(f *Facts) { f.Grant.ID.JTI = "kept" }), ""},
		{"vacation, a third party of a kept name", both(all(vacation), func(f *Facts) { f.Grant.ID.JTI = "kept" }), gateway.IssuerPaused},
		{"vacation, home, not begun", both(home, all(&gateway.Pause{From: noon.Add(1), Home: true})), ""},
		{"vacation, home, over", both(home, all(&gateway.Pause{Until: noon, Home: true})), ""},
		{"vacation, home, perhaps begun", both(both(home, width(time.Second)), all(&gateway.Pause{From: noon, Home: true})), ""},
		{"vacation, a third party, perhaps begun", both(width(time.Second), all(&gateway.Pause{From: noon, Home: true})), gateway.IssuerPaused},
		{"vacation, home, perhaps over", both(both(home, width(time.Second)), all(&gateway.Pause{Until: noon, Home: true})), gateway.IssuerPaused},
		{"a command, paused until later", func(f *Facts) {
			f.Command, f.Policy.RemoteUnlock, f.Issuer.Paused = true, true, &gateway.Pause{Until: noon.Add(1)}
		}, gateway.IssuerPaused},
		{"home's never goes stale", both(home, func(f *Facts) { f.Issuer = gateway.IssuerState{} }), ""},
		{"heard from at the limit", func(f *Facts) { f.Issuer.ManifestAt = noon.Add(-72 * time.Hour) }, ""},
		{"documents do not count after a manifest", func(f *Facts) { f.Issuer.ManifestAt, f.Issuer.HeardAt = noon.Add(-73*time.Hour), noon }, gateway.IssuerStale},
		{"documents count until the first manifest", func(f *Facts) { f.Issuer.ManifestAt = time.Time{} }, ""},
		{"never heard from", func(f *Facts) { f.Issuer = gateway.IssuerState{} }, gateway.IssuerStale},
		{"never stale", func(f *Facts) { f.Issuer, f.Policy.OfflineLimit = gateway.IssuerState{}, 0 }, ""},
		{"spent, a retry", func(f *Facts) { f.Grant.Used = 1; f.Retry = true }, ""},
		{"spoilt by a restored backup", func(f *Facts) { f.Grant.Spoilt = true }, gateway.UsesSpent},
		{"spoilt, a retry", func(f *Facts) { f.Grant.Spoilt, f.Retry = true, true }, gateway.UsesSpent},
		{"a retry after it is over", func(f *Facts) { f.Grant.NotAfter, f.Retry = noon, true }, gateway.Expired},
		{"a retry of a revoked grant", func(f *Facts) { f.Grant.Status, f.Retry = gateway.GrantRevoked, true }, gateway.Revoked},
		{"a retry while paused", func(f *Facts) { f.Issuer.Paused, f.Retry = &gateway.Pause{}, true }, gateway.IssuerPaused},

		// An undecided clock (T5).
		{"undecided, home, timed", both(home, lost), gateway.ClockUntrusted},
		{"undecided, home, untimed", both(both(home, lost), func(f *Facts) {
			f.Grant.Schedule, f.Grant.NotBefore, f.Grant.NotAfter = nil, noon.AddDate(0, -1, 0), gateway.MaxTime
		}), ""},
		{"undecided, untimed, a calendar", both(both(home, lost), func(f *Facts) {
			f.Grant.NotBefore, f.Grant.NotAfter = noon.AddDate(0, -1, 0), gateway.MaxTime
		}), gateway.ClockUntrusted},
		{"undecided, third party, untimed, no limits of time", both(lost, func(f *Facts) {
			f.Grant.Schedule, f.Grant.NotBefore, f.Grant.NotAfter = nil, noon.AddDate(0, -1, 0), gateway.MaxTime
			f.Policy = gateway.Policy{Doors: f.Policy.Doors}
		}), ""},
		{"undecided, surely over", both(lost, func(f *Facts) {
			f.Grant.NotBefore, f.Grant.NotAfter = noon.AddDate(0, -1, 0), noon.AddDate(0, 0, -10)
		}), gateway.Expired},
		{"undecided, policy hours", both(lost, untimed(gateway.Policy{Hours: []gateway.Window{{Days: []gateway.Weekday{1}, To: 1440}}})), gateway.ClockUntrusted},
		{"undecided, per_day", both(lost, untimed(gateway.Policy{PerDay: 1})), gateway.ClockUntrusted},
		{"undecided, offline_limit", both(lost, untimed(gateway.Policy{OfflineLimit: time.Hour})), gateway.ClockUntrusted},

		// Hold-over at the edges: inside, undecided or outside for all of its width.
		{"hold-over, well inside", width(100 * time.Second), ""},
		{"hold-over, may be over", both(func(f *Facts) { f.Grant.NotAfter = noon.Add(100 * time.Second) }, width(100*time.Second)), gateway.ClockUntrusted},
		{"hold-over, just not over", both(func(f *Facts) { f.Grant.NotAfter = noon.Add(100*time.Second + 1) }, width(100*time.Second)), ""},
		{"hold-over, may be early", both(func(f *Facts) { f.Grant.NotBefore = noon.Add(-100*time.Second + 1) }, width(100*time.Second)), gateway.ClockUntrusted},
		{"hold-over, just not early", both(func(f *Facts) { f.Grant.NotBefore = noon.Add(-100 * time.Second) }, width(100*time.Second)), ""},
		{"hold-over, surely over", both(func(f *Facts) { f.Grant.NotAfter = noon.Add(-100 * time.Second) }, width(100*time.Second)), gateway.Expired},
		{"hold-over, surely early", both(func(f *Facts) { f.Grant.NotBefore = noon.Add(100*time.Second + 1) }, width(100*time.Second)), gateway.NotYetValid},
		{"hold-over, at the schedule's end", both(evening(19, 59), width(100*time.Second)), gateway.ClockUntrusted},
		{"hold-over, before the schedule's end", both(evening(19, 58), width(100*time.Second)), ""},
		{"hold-over, after the schedule's end", both(evening(20, 2), width(100*time.Second)), gateway.OutsideSchedule},
		{"hold-over, at the policy's end", both(both(evening(19, 59), func(f *Facts) { f.Grant.Schedule = nil }), width(100*time.Second)), gateway.ClockUntrusted},
		{"hold-over, stale at its latest", both(func(f *Facts) { f.Issuer.ManifestAt = noon.Add(-72 * time.Hour) }, width(time.Second)), gateway.IssuerStale},
	})
	for _, tt := range tests {
		f := allowed()
		tt.change(&f)
		f.Clock, f.Explain = f.At, true
		checks := Judge(f)
		if f.Explain = false; Verdict(Judge(f)) != Verdict(checks) {
			t.Errorf("%s: another verdict where nobody reads the details", tt.name)
		}
		if got := Verdict(checks); got != tt.want {
			t.Errorf("%s: %q, want %q: %+v", tt.name, got, tt.want, checks)
		}
		for _, c := range checks {
			if c.OK != (c.Reason == "") {
				t.Errorf("%s: check %s is %v with reason %q", tt.name, c.Name, c.OK, c.Reason)
			}
		}
	}
}

// vacation has begun, and lasts.
var vacation = &gateway.Pause{From: noon, Until: noon.Add(1), Home: true, Keep: []gateway.GrantID{{Issuer: gateway.HomeIssuer, JTI: "kept"}}}

func all(p *gateway.Pause) func(*Facts) { return func(f *Facts) { f.AllPaused = p } }

// untimed is a grant that no period ends, under a policy.
func untimed(p gateway.Policy) func(*Facts) {
	return func(f *Facts) {
		f.Grant.Schedule, f.Grant.NotBefore, f.Grant.NotAfter = nil, noon.AddDate(0, -1, 0), gateway.MaxTime
		p.Doors = []gateway.DoorID{"front"}
		f.Policy = p
	}
}

// evening is a Monday at the hour, with a grant that lasts all day.
func evening(h, m int) func(*Facts) {
	return func(f *Facts) {
		at(time.Date(2026, 11, 23, h, m, 0, 0, time.UTC))(f)
		f.Grant.NotBefore, f.Grant.NotAfter, f.Policy.MaxValidity = noon.AddDate(0, 0, -1), noon.AddDate(0, 0, 1), 0
	}
}

// TestOrder: when several speak against a grant, the first in the contract's order
// is the reason.
func TestOrder(t *testing.T) {
	for i, a := range against {
		for _, b := range against[i+1:] {
			for _, swapped := range []bool{false, true} {
				f := allowed()
				if swapped {
					b.change(&f)
					a.change(&f)
				} else {
					a.change(&f)
					b.change(&f)
				}
				if got := Verdict(Judge(f)); got != a.want {
					t.Errorf("%s and %s: %q, want %q", a.name, b.name, got, a.want)
				}
			}
		}
	}
	f := allowed()
	for _, a := range against {
		a.change(&f)
	}
	if got := Verdict(Judge(f)); got != gateway.UnknownCredential {
		t.Errorf("all of them: %q", got)
	}
}

// TestVerdictOfNothing: what has no check is not granted by accident.
func TestVerdictOfNothing(t *testing.T) {
	if got := Verdict(Judge(Facts{Zone: time.UTC})); got == "" {
		t.Error("nothing at all is granted")
	}
}
