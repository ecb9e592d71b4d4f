package daemon

import (
	"context"
	"errors"
	"net/http"

	"gardien/gateway"
	"gardien/gateway/access"
	"gardien/gateway/api"
)

// residentService serves residents to the API.
type residentService struct{ g *Gateway }

// Confirm implements api.ResidentService.
func (s residentService) Confirm(ctx context.Context, id gateway.ResidentID) error {
	return asProblem(s.g.residents.Confirm(ctx, id))
}

// List implements api.ResidentService.
func (s residentService) List(ctx context.Context, by api.Caller) ([]api.Resident, error) {
	list, err := s.g.residents.List(ctx)
	seen, err2 := s.g.residents.SeenAt(ctx)
	out := []api.Resident{}
	for _, r := range list {
		o := api.Resident{ID: r.ID, Name: r.Name, Role: r.Role, PairedAt: s.g.stamp(r.PairedAt), Confirmed: !r.Unconfirmed, This: r.ID == by.Resident,
			Code: orNull(s.g.residents.Code(r.ID))}
		if at, is := seen[r.ID]; is {
			o.SeenAt = orNull(s.g.stamp(at))
		}
		out = append(out, o)
	}
	return out, errors.Join(err, err2)
}

// Remove implements api.ResidentService.
func (s residentService) Remove(ctx context.Context, by api.Caller, id gateway.ResidentID) error {
	return asProblem(s.g.residents.Remove(ctx, id, !by.Local))
}

// Duress implements api.ResidentService: an untimed grant made at home whose PIN tells.
func (s residentService) Duress(ctx context.Context, by api.Caller, id gateway.ResidentID, req api.DuressRequest) (api.GrantMade, error) {
	if err := s.g.residents.Known(ctx, id); err != nil {
		return api.GrantMade{}, asProblem(err)
	}
	doors := req.Doors
	if len(doors) == 0 {
		doors = rules(s.g.cfg).Doors
	}
	if len(doors) > 8 {
		return api.GrantMade{}, api.Fail(http.StatusBadRequest, "bad-request", "doors: name 1 to 8 doors")
	}
	return s.g.makeHome(ctx, access.HomeGrant{Doors: doors, PIN: true, Duress: id, By: by.Resident})
}
