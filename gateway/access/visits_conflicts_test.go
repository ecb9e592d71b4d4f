package access_test

import (
	"testing"
	"time"

	"gardien/gateway"
	"gardien/gateway/access"
)

// TestVisitsConflicts: what stands against a visit from 10 to 11 o'clock: of a carrier who may come
// twice, and of somebody whom the house has asked.
func TestVisitsConflicts(t *testing.T) {
	type policy = gateway.Policy
	front := []gateway.DoorID{"front"}
	hours := func(from, to gateway.Clock) []gateway.Window {
		return []gateway.Window{{Days: []gateway.Weekday{1}, From: from * 60, To: to * 60}}
	}
	paused, beyond := []gateway.ConflictKey{gateway.ConflictPaused}, []gateway.ConflictKey{gateway.ConflictBeyondPolicy}
	live(t, nil, func(h *house) {
		ten := time.Now().Add(2 * time.Hour) // the bubble begins on a Monday at 8
		at := func(minutes int) time.Time { return ten.Add(time.Duration(minutes) * time.Minute) }
		span := gateway.Period{NotBefore: ten, NotAfter: at(60)}
		made, err := h.Home(h.t.Context(), access.HomeGrant{Doors: front, NotBefore: ten, NotAfter: at(60), PIN: true})
		h.check(err)
		h.takes(h.grant("twice", func(g *gateway.Grant) { g.Period, g.Uses = span, 2 }), "accepted")
		twice := gateway.GrantID{Issuer: colisX, JTI: "twice"}
		for _, tt := range []struct {
			name        string
			policy      policy
			all, issuer *gateway.Pause
			home, third []gateway.ConflictKey
			until       int // what is asked for ends so many minutes after 10; 0: in a day
		}{
			{name: "nothing", policy: policy{Doors: front}},
			{name: "a pause that begins meanwhile", policy: policy{Doors: front}, all: &gateway.Pause{From: at(59), Until: at(90)}, third: paused},
			{name: "one that ends meanwhile", policy: policy{Doors: front}, all: &gateway.Pause{From: at(-90), Until: at(1)}, third: paused},
			{name: "one that ends when it begins", policy: policy{Doors: front}, all: &gateway.Pause{Until: ten}},
			{name: "one that begins when it ends", policy: policy{Doors: front}, all: &gateway.Pause{From: at(60)}},
			{name: "one that begins after what was asked for", policy: policy{Doors: front}, all: &gateway.Pause{From: at(30)}, until: 30},
			{name: "a vacation", policy: policy{Doors: front}, all: &gateway.Pause{From: at(30), Home: true}, home: paused, third: paused},
			{name: "a vacation that keeps it", policy: policy{Doors: front}, all: &gateway.Pause{Home: true, Keep: []gateway.GrantID{made.ID}}, third: paused},
			{name: "its issuer's", policy: policy{Doors: front}, issuer: &gateway.Pause{}, third: paused},
			{name: "its issuer's, over by then", policy: policy{Doors: front}, issuer: &gateway.Pause{Until: ten}},
			{name: "another door", policy: policy{Doors: []gateway.DoorID{"side"}}, third: beyond},
			{name: "too often", policy: policy{Doors: front, OneTimeOnly: true}, third: beyond},
			{name: "too long", policy: policy{Doors: front, MaxValidity: 59 * time.Minute}, third: beyond},
			{name: "just as long", policy: policy{Doors: front, MaxValidity: time.Hour}},
			{name: "hours that end too early", policy: policy{Doors: front, Hours: hours(8, 10)}, third: beyond},
			{name: "hours that fit", policy: policy{Doors: front, Hours: hours(10, 11)}},
			{name: "paused and beyond", policy: policy{Doors: front, OneTimeOnly: true}, issuer: &gateway.Pause{},
				third: []gateway.ConflictKey{gateway.ConflictPaused, gateway.ConflictBeyondPolicy}},
		} {
			h.rules.Issuers = map[gateway.IssuerID]gateway.Issuer{colisX: {ID: colisX, Policy: tt.policy}}
			h.SetRules(h.rules)
			h.pause(tt.all)
			h.pauseIssuer(nil)
			if tt.issuer != nil {
				h.pauseIssuer(tt.issuer)
			}
			end := at(24 * 60)
			if tt.until > 0 {
				end = at(tt.until)
			}
			want := map[gateway.GrantID][]gateway.ConflictKey{made.ID: tt.home, twice: tt.third}
			all := h.visits(time.Now(), end, 10)
			if len(all) != 2 {
				t.Fatalf("%s: %+v", tt.name, all)
			}
			for _, v := range all {
				for _, key := range []gateway.ConflictKey{gateway.ConflictPaused, gateway.ConflictBeyondPolicy} {
					wanted := false
					for _, k := range want[v.Grant] {
						wanted = wanted || k == key
					}
					if has(v, key) != wanted {
						t.Errorf("%s: %s: %s is %v", tt.name, v.Grant, key, !wanted)
					}
				}
			}
		}
	})
}
