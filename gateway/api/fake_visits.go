package api

import (
	"context"
	"fmt"
	"time"

	"gardien/gateway"
)

type fakeVisits struct{ *Fake }

func (fakeVisits) Now() time.Time {
	t, err := time.Parse(time.RFC3339, fakeTime)
	if err != nil {
		panic(err)
	}
	return t
}

// List knows two visits, a page each; the second one begins when the first does, and is named after
// the stretch that was asked for.
func (fakeVisits) List(_ context.Context, from, to time.Time, after gateway.VisitPlace) (Visits, error) {
	v := Visit{Grant: "home/g1", Door: "front", From: fakeTime, To: fakeTime, Conflicts: []Conflict{}}
	if after == (gateway.VisitPlace{}) {
		return Visits{[]Visit{v}, "2026-11-27T11:00:00Z,front,home/g1"}, nil
	}
	v.Grant, v.Conflicts = fmt.Sprintf("colis-x.example/%.0fh", to.Sub(from).Hours()), []Conflict{{gateway.ConflictOverlap, "home/g1"}, {Key: gateway.ConflictPaused}}
	return Visits{Visits: []Visit{v}}, nil
}
