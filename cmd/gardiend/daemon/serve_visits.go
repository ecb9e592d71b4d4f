package daemon

import (
	"context"
	"time"

	"gardien/gateway"
	"gardien/gateway/api"
)

// visitService serves the visits to come to the API.
type visitService struct{ g *Gateway }

// Now implements api.VisitService.
func (s visitService) Now() time.Time { return s.g.clock.Read().Wall }

// List implements api.VisitService.
func (s visitService) List(ctx context.Context, from, to time.Time, after gateway.VisitPlace) (api.Visits, error) {
	list, more, err := s.g.access.Visits(ctx, from, to, after, api.MaxVisits)
	if err != nil {
		return api.Visits{}, err
	}
	page := api.Visits{Visits: make([]api.Visit, len(list))}
	for i, v := range list {
		page.Visits[i] = api.Visit{Grant: v.Grant.String(), Door: v.Door, From: s.g.stamp(v.NotBefore), To: s.g.stamp(v.NotAfter), Conflicts: make([]api.Conflict, len(v.Conflicts))}
		for k, c := range v.Conflicts {
			page.Visits[i].Conflicts[k] = api.Conflict{Key: c.Key, Grant: c.Grant.String()}
		}
	}
	if more {
		next, err := list[len(list)-1].Place().MarshalText()
		if err != nil {
			return api.Visits{}, err
		}
		page.Next = string(next)
	}
	return page, nil
}
