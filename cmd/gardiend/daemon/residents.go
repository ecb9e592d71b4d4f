package daemon

import (
	"context"
	"encoding/json"
	"errors"
	"net/http"
	"time"

	"gardien/gateway"
	"gardien/gateway/access"
	"gardien/gateway/api"
	"gardien/gateway/residents"
	"gardien/store"
)

// residentMemory is the store as the residents' room sees it.
type residentMemory struct{ store *store.Store }

func (m residentMemory) List(ctx context.Context) ([]gateway.Resident, error) {
	return store.Look(ctx, m.store, func(tx *store.Tx) []gateway.Resident { return tx.Residents.List() })
}

func (m residentMemory) HasToken(ctx context.Context, id gateway.ResidentID, mac []byte) (bool, error) {
	return store.Look(ctx, m.store, func(tx *store.Tx) bool { return tx.Residents.HasToken(id, mac) })
}

func (m residentMemory) Add(ctx context.Context, r gateway.Resident, mac []byte) error {
	return m.store.Update(ctx, func(tx *store.Tx) error {
		return errors.Join(tx.Residents.Put(r, mac), tx.Record.Append(gateway.Event{Type: gateway.ResidentPaired, Resident: r.ID}))
	})
}

func (m residentMemory) Remove(ctx context.Context, id gateway.ResidentID) (found bool, err error) {
	err = m.store.Update(ctx, func(tx *store.Tx) error {
		if found = tx.Residents.Remove(id); !found {
			return tx.Err()
		}
		return tx.Record.Append(gateway.Event{Type: gateway.ResidentRemoved, Resident: id})
	})
	return found, err
}

func (m residentMemory) Answer(ctx context.Context, key []byte) (body, answer []byte, err error) {
	err = m.store.View(ctx, func(tx *store.Tx) error { body, answer = tx.Residents.Answer(key); return nil })
	return body, answer, err
}

func (m residentMemory) PutAnswer(ctx context.Context, key, body, answer []byte, at, expired time.Time) error {
	return m.store.Follow(ctx, func(tx *store.Tx) error { return tx.Residents.PutAnswer(key, body, answer, at, expired) })
}

// asProblem turns the room's errors into the API's words.
func asProblem(err error) error {
	var unknown *residents.UnknownError
	switch {
	case errors.Is(err, residents.ErrName):
		return api.Fail(http.StatusBadRequest, "bad-request", "%v", err)
	case errors.Is(err, residents.ErrNoWindow):
		return api.Fail(http.StatusConflict, "no-pairing", "%v", err)
	case errors.Is(err, residents.ErrSecret):
		return api.Fail(http.StatusForbidden, "wrong-secret", "%v", err)
	case errors.As(err, &unknown):
		return api.NotFound("resident", string(unknown.ID), unknown.Exist)
	}
	return err
}

// OpenPairing implements api.Backend; a window that is open is replaced.
func (g *Gateway) OpenPairing(context.Context) (api.PairingWindow, error) {
	secret := g.residents.OpenWindow()
	return api.PairingWindow{URL: "unix://" + g.cfg.API.Socket, Secret: secret.Reveal(), ExpiresIn: int(residents.WindowFor.Seconds())}, nil
}

// Pair implements api.Backend.
func (g *Gateway) Pair(ctx context.Context, req api.PairingRequest) (api.Paired, error) {
	id, token, err := g.residents.Pair(ctx, gateway.NewSecret(req.Secret), req.Name)
	return api.Paired{ID: id, Token: token.Reveal()}, asProblem(err)
}

// Authenticate implements api.Backend.
func (g *Gateway) Authenticate(ctx context.Context, token gateway.Secret) (gateway.ResidentID, bool, error) {
	return g.residents.Authenticate(ctx, token)
}

// Residents implements api.Backend.
func (g *Gateway) Residents(ctx context.Context) ([]api.Resident, error) {
	list, err := g.residents.Memory.List(ctx)
	out := []api.Resident{}
	for _, r := range list {
		out = append(out, api.Resident{ID: r.ID, Name: r.Name, PairedAt: g.stamp(r.PairedAt)})
	}
	return out, err
}

// RemoveResident implements api.Backend.
func (g *Gateway) RemoveResident(ctx context.Context, id gateway.ResidentID) error {
	return asProblem(g.residents.Remove(ctx, id))
}

// Duress implements api.Backend: an untimed grant made at home whose PIN tells.
func (g *Gateway) Duress(ctx context.Context, id gateway.ResidentID, req api.DuressRequest) (api.GrantMade, error) {
	if err := g.residents.Known(ctx, id); err != nil {
		return api.GrantMade{}, asProblem(err)
	}
	doors := req.Doors
	if len(doors) == 0 {
		doors = rules(g.cfg).Doors
	}
	if len(doors) > 8 {
		return api.GrantMade{}, api.Fail(http.StatusBadRequest, "bad-request", "doors: name 1 to 8 doors")
	}
	return g.makeHome(ctx, access.HomeGrant{Doors: doors, PIN: true, Duress: id})
}

// Recall implements api.Backend.
func (g *Gateway) Recall(ctx context.Context, key, body string) (a api.Answer, found, same bool, err error) {
	b, found, same, err := g.residents.Recall(ctx, key, body)
	if err == nil && same {
		err = json.Unmarshal(b, &a)
	}
	return a, found, same, err
}

// Remember implements api.Backend.
func (g *Gateway) Remember(ctx context.Context, key, body string, a api.Answer) error {
	b, err := json.Marshal(a)
	if err != nil {
		return err
	}
	return g.residents.Remember(ctx, key, body, b)
}
