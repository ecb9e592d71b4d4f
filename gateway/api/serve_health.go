package api

import (
	"context"

	"gardien/gateway"
	"gardien/gateway/web"
)

// HealthService is what somebody should look at.
type HealthService interface {
	// Findings lists it, the most urgent first; house says whether to tell of who lives here and when
	// nobody is at home.
	Findings(ctx context.Context, house bool) ([]Finding, error)
	// See marks a finding as seen by the caller; one that is not found now: 404; too many marks: 409.
	See(ctx context.Context, by Caller, key string) error
}

// healths serves it.
type healths struct{ service HealthService }

func (s healths) routes() []route {
	return []route{
		{may: residents | installers, Route: web.Route{Method: "GET", Path: "/v1/health", Summary: "What somebody should look at, the most urgent first",
			Responses: map[int]any{200: Health{}}}, answer: s.findings},
		{may: residents, Route: web.Route{Method: "POST", Path: "/v1/health/{key}/seen", Summary: "Mark a finding as seen, until it ends; key may be percent-encoded",
			Responses: map[int]any{204: nil, 404: gateway.Problem{}, 409: gateway.Problem{}}}, answer: func(r *request) (Answer, error) {
			return Answer{Status: 204}, s.service.See(r.Context(), r.caller, r.PathValue("key"))
		}},
	}
}

func (s healths) findings(r *request) (Answer, error) {
	list, err := s.service.Findings(r.Context(), r.caller.who()&installers == 0)
	if err != nil {
		return Answer{}, err
	}
	return reply(200, Health{list})
}
