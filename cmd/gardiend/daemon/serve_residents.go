package daemon

import (
	"context"
	"encoding/json"
	"net/http"

	"gardien/gateway"
	"gardien/gateway/access"
	"gardien/gateway/api"
	"gardien/gateway/residents"
)

// residentService serves residents to the API.
type residentService struct{ g *Gateway }

// OpenPairing implements api.ResidentService; a window that is open is replaced.
func (s residentService) OpenPairing(context.Context) (api.PairingWindow, error) {
	secret := s.g.residents.OpenWindow()
	return api.PairingWindow{URL: "unix://" + s.g.cfg.API.Socket, Secret: secret.Reveal(), ExpiresIn: int(residents.WindowFor.Seconds())}, nil
}

// Pair implements api.ResidentService.
func (s residentService) Pair(ctx context.Context, req api.PairingRequest) (api.Paired, error) {
	id, token, err := s.g.residents.Pair(ctx, gateway.NewSecret(req.Secret), req.Name)
	return api.Paired{ID: id, Token: token.Reveal()}, asProblem(err)
}

// Authenticate implements api.ResidentService.
func (s residentService) Authenticate(ctx context.Context, token gateway.Secret) (gateway.ResidentID, bool, error) {
	id, found, err := s.g.residents.Authenticate(ctx, token)
	return id, found, asProblem(err)
}

// Confirm implements api.ResidentService.
func (s residentService) Confirm(ctx context.Context, id gateway.ResidentID) error {
	return asProblem(s.g.residents.Confirm(ctx, id))
}

// List implements api.ResidentService.
func (s residentService) List(ctx context.Context) ([]api.Resident, error) {
	list, err := s.g.residents.Memory.List(ctx)
	out := []api.Resident{}
	for _, r := range list {
		out = append(out, api.Resident{ID: r.ID, Name: r.Name, PairedAt: s.g.stamp(r.PairedAt), Confirmed: !r.Unconfirmed})
	}
	return out, err
}

// Remove implements api.ResidentService.
func (s residentService) Remove(ctx context.Context, id gateway.ResidentID) error {
	return asProblem(s.g.residents.Remove(ctx, id))
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

// Recall implements api.ResidentService.
func (s residentService) Recall(ctx context.Context, key, body string) (a api.Answer, found, same bool, err error) {
	b, found, same, err := s.g.residents.Recall(ctx, key, body)
	if err == nil && same {
		err = json.Unmarshal(b, &a)
	}
	return a, found, same, err
}

// Remember implements api.ResidentService.
func (s residentService) Remember(ctx context.Context, key, body string, a api.Answer) error {
	b, err := json.Marshal(a)
	if err != nil {
		return err
	}
	return s.g.residents.Remember(ctx, key, body, b)
}
