package daemon

import (
	"cmp"
	"context"
	"encoding/json"
	"fmt"
	"time"

	"gardien/gateway"
	"gardien/gateway/api"
	"gardien/gateway/residents"
	"gardien/gateway/tokens"
)

// pairingService serves the pairing of devices to the API.
type pairingService struct{ g *Gateway }

// Open implements api.PairingService. The URL is what the QR code has: a phone's camera opens the
// page with it, and an app pins the fingerprint. Both stand behind the "#", so that no server sees them.
func (s pairingService) Open(_ context.Context, role gateway.Role) (api.PairingWindow, error) {
	w, fp := s.g.residents.OpenWindow(role), s.g.fingerprint()
	url := "unix://" + s.g.cfg.API.Socket
	if s.g.lan != nil && s.g.lan.Address() != nil {
		url = s.g.lan.URL(fmt.Sprintf("/#pair=%s&fp=%s", w.Secret.Reveal(), fp))
	}
	return api.PairingWindow{ID: w.ID, URL: url, Secret: w.Secret.Reveal(), Fingerprint: fp, ExpiresIn: int(residents.WindowFor.Seconds())}, nil
}

// Close implements api.PairingService.
func (s pairingService) Close(_ context.Context, id string) error {
	s.g.residents.CloseWindow(cmp.Or(id, residents.AnyWindow))
	return nil
}

// Await implements api.PairingService.
func (s pairingService) Await(ctx context.Context, id string, most time.Duration) (api.PairingState, error) {
	ctx, cancel := context.WithTimeout(ctx, most)
	defer cancel()
	w := s.g.residents.Await(ctx, cmp.Or(id, residents.AnyWindow))
	state := api.PairingState{Open: w.Open, ExpiresIn: int(w.Left.Seconds())}
	if w.Code != "" {
		state.Device = &api.PairingDevice{ID: w.ID, Name: w.Name, Role: w.Role, Code: w.Code}
	}
	return state, nil
}

// Pair implements api.PairingService.
func (s pairingService) Pair(ctx context.Context, req api.PairingRequest) (api.Paired, error) {
	p, err := s.g.residents.Pair(ctx, residents.Ask{Secret: gateway.NewSecret(req.Secret), Name: req.Name, JWK: req.Key, Cookie: req.Cookie})
	return api.Paired{ID: p.ID, Code: p.Code, Token: p.Token.Reveal()}, asProblem(err)
}

// Move implements api.PairingService.
func (s pairingService) Move(_ context.Context, id gateway.ResidentID) (api.SessionMove, error) {
	code, err := s.g.residents.Move(id)
	if err != nil {
		return api.SessionMove{}, asProblem(err)
	}
	return api.SessionMove{Code: code.Reveal(), ExpiresIn: int(residents.MoveFor.Seconds())}, nil
}

// sessionService tells the API who asks.
type sessionService struct{ g *Gateway }

// Authenticate implements api.SessionService.
func (s sessionService) Authenticate(ctx context.Context, token gateway.Secret) (gateway.Resident, bool, error) {
	return s.g.residents.Authenticate(ctx, token)
}

// Prove implements api.SessionService.
func (s sessionService) Prove(_ context.Context, device gateway.Resident, method, url, proof string) error {
	return asProblem(s.g.residents.Prove(device, method, url, proof))
}

// Nonce implements api.SessionService.
func (s sessionService) Nonce() string { return s.g.residents.Nonce() }

// Recall implements api.SessionService.
func (s sessionService) Recall(ctx context.Context, key, body string) (a api.Answer, found, same bool, err error) {
	b, found, same, err := s.g.residents.Recall(ctx, key, body)
	if err == nil && same {
		err = json.Unmarshal(b, &a)
	}
	return a, found, same, err
}

// Remember implements api.SessionService.
func (s sessionService) Remember(ctx context.Context, key, body string, a api.Answer) error {
	b, err := json.Marshal(a)
	if err != nil {
		return err
	}
	return s.g.residents.Remember(ctx, key, body, b)
}

// dpop is the tokens room as the residents' room sees it.
func dpop(text string) (gateway.DPoP, error) {
	d, refusal := tokens.ParseDPoP(text)
	if refusal != nil {
		return gateway.DPoP{}, fmt.Errorf("DPoP proof: %s", refusal.Detail)
	}
	return d, nil
}
