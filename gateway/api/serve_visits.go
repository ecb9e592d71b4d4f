package api

import (
	"context"
	"time"

	"gardien/gateway"
	"gardien/gateway/web"
)

// MaxVisits bounds the visits of one answer.
const MaxVisits = 1000

// What one question about visits may span: 62 days of the calendar, an hour more where the clocks go
// back meanwhile.
const (
	maxVisitDays  = 62
	maxVisitSpan  = maxVisitDays*24*time.Hour + time.Hour
	someVisitDays = 14 * 24 * time.Hour // where nobody says
)

// VisitService is who is expected, and when.
type VisitService interface {
	// Now is the gateway's time: what it is asked for without an instant begins then.
	Now() time.Time
	// List gives the visits of a stretch of time that come after a place, at most MaxVisits.
	List(ctx context.Context, from, to time.Time, after gateway.VisitPlace) (Visits, error)
}

// Visit is a stretch of time in which a grant may open a door, by its period and schedule.
type Visit struct {
	Grant     string         `json:"grant"`
	Door      gateway.DoorID `json:"door"`
	From      string         `json:"from"` // its bounds may lie outside of what was asked for
	To        string         `json:"to"`
	Conflicts []Conflict     `json:"conflicts"`
}

// Conflict is what somebody may want to settle about a visit.
type Conflict struct {
	Key   gateway.ConflictKey `json:"key"`             // overlap, paused, beyond_policy
	Grant string              `json:"grant,omitempty"` // the other one, of an overlap
}

// Visits is a page of visits; Next continues it with ?after=, beside the same from and to.
type Visits struct {
	Visits []Visit `json:"visits"`
	Next   string  `json:"next,omitempty"`
}

func visitRoutes(s *Server) []route {
	return []route{
		{may: residents, Route: web.Route{Method: "GET", Path: "/v1/visits", Summary: "Who may come and when, at most 62 days (from now, and 14 days, where nobody says), with what stands against it",
			Query: []string{"from", "to", "after"}, Responses: map[int]any{200: Visits{}}}, answer: s.inTurn(s.readers, visits(s.backend.Visits))},
	}
}

func visits(service VisitService) func(*request) (Answer, error) {
	return func(r *request) (Answer, error) {
		from, to, err := stretchOf(r, service)
		if err != nil {
			return Answer{}, err
		}
		var after gateway.VisitPlace
		if err := after.UnmarshalText([]byte(r.URL.Query().Get("after"))); err != nil {
			return Answer{}, web.BadRequest("after: %v", err)
		}
		page, err := service.List(r.Context(), from, to, after)
		if err != nil {
			return Answer{}, err
		}
		return reply(200, page)
	}
}

// stretchOf reads from when to when somebody asks.
func stretchOf(r *request, service VisitService) (from, to time.Time, err error) {
	if from, err = instantOf(r, "from"); err != nil {
		return from, to, err
	}
	if to, err = instantOf(r, "to"); err != nil {
		return from, to, err
	}
	if from.IsZero() {
		from = service.Now()
	}
	if to.IsZero() {
		to = from.Add(someVisitDays)
	}
	switch {
	case !from.Before(to):
		err = web.BadRequest("to: the stretch would end before it begins: to must lie after from, which is now if it is left out")
	case to.Sub(from) > maxVisitSpan:
		err = web.BadRequest("to: at most %d days at once: ask for the rest after that", maxVisitDays)
	}
	return from, to, err
}

// instantOf reads an instant of the query; zero: there is none.
func instantOf(r *request, name string) (time.Time, error) {
	q := r.URL.Query().Get(name)
	if q == "" {
		return time.Time{}, nil
	}
	t, err := time.Parse(time.RFC3339, q)
	switch {
	case err != nil:
		return t, web.BadRequest("%s: %q: want RFC 3339, as in 2026-12-01T00:00:00Z; in an address + is written %%2B", name, q)
	case t.Before(gateway.MinTime) || t.After(gateway.MaxTime):
		return t, web.BadRequest("%s: want an instant from 2020 to 2100", name)
	}
	return t, nil
}
