package daemon

import (
	"context"
	"crypto/aes"
	"crypto/cipher"
	"crypto/hmac"
	"crypto/rand"
	"encoding/base64"
	"encoding/json"
	"errors"
	"net/http"
	"strings"
	"sync"
	"time"
	"unicode"
	"unicode/utf8"

	"gardien/gateway"
	"gardien/gateway/access"
	"gardien/gateway/api"
	"gardien/store"
)

// The numbers of W5.
const (
	pairingFor      = 5 * time.Minute
	pairingFailures = 10
)

// pairing is a window in which one device may pair.
type pairing struct {
	mu       sync.Mutex
	secret   gateway.Secret
	until    time.Duration // since boot
	failures int
}

func randomText(n int) string {
	b := make([]byte, n)
	rand.Read(b)
	return base64.RawURLEncoding.EncodeToString(b)
}

// OpenPairing implements api.Backend; a window that is open is replaced.
func (g *Gateway) OpenPairing(context.Context) (api.PairingWindow, error) {
	g.pairing.mu.Lock()
	defer g.pairing.mu.Unlock()
	g.pairing.secret, g.pairing.failures = gateway.NewSecret(randomText(16)), 0
	g.pairing.until = g.clock.Read().SinceBoot + pairingFor
	return api.PairingWindow{URL: "unix://" + g.cfg.API.Socket, Secret: g.pairing.secret.Reveal(), ExpiresIn: int(pairingFor.Seconds())}, nil
}

// Pair implements api.Backend.
func (g *Gateway) Pair(ctx context.Context, req api.PairingRequest) (api.Paired, error) {
	name := strings.TrimSpace(req.Name)
	if name == "" || utf8.RuneCountInString(name) > 64 || strings.ContainsFunc(name, unicode.IsControl) {
		return api.Paired{}, api.Fail(http.StatusBadRequest, "bad-request", "name: want 1 to 64 characters, for the list of residents")
	}
	g.pairing.mu.Lock()
	defer g.pairing.mu.Unlock()
	p := &g.pairing
	if p.secret.IsZero() || g.clock.Read().SinceBoot >= p.until || p.failures >= pairingFailures {
		return api.Paired{}, api.Fail(http.StatusConflict, "no-pairing", "no pairing window is open: run \"gardien pair\" on the gateway")
	}
	if !hmac.Equal([]byte(req.Secret), []byte(p.secret.Reveal())) {
		p.failures++
		return api.Paired{}, api.Fail(http.StatusForbidden, "wrong-secret", "the secret is not the one that \"gardien pair\" shows")
	}
	id := gateway.NewResidentID()
	token := string(id) + "." + randomText(32)
	resident := gateway.Resident{ID: id, Name: name, PairedAt: g.clock.Read().Wall}
	err := g.store.Update(ctx, func(tx *store.Tx) error {
		return errors.Join(tx.Residents.Put(resident, g.identity.MAC("token", token)),
			tx.Record.Append(gateway.Event{Type: gateway.ResidentPaired, Resident: id}))
	})
	if err != nil {
		return api.Paired{}, err
	}
	p.secret = gateway.Secret{}
	return api.Paired{ID: id, Token: token}, nil
}

// Authenticate implements api.Backend.
func (g *Gateway) Authenticate(ctx context.Context, token gateway.Secret) (gateway.ResidentID, bool, error) {
	id, _, ok := strings.Cut(token.Reveal(), ".")
	if !ok || len(id) > 64 {
		return "", false, nil
	}
	mac := g.identity.MAC("token", token.Reveal())
	found, err := store.Look(ctx, g.store, func(tx *store.Tx) bool { return tx.Residents.HasToken(gateway.ResidentID(id), mac) })
	return gateway.ResidentID(id), found, err
}

// Residents implements api.Backend.
func (g *Gateway) Residents(ctx context.Context) ([]api.Resident, error) {
	list, err := g.residents(ctx)
	out := []api.Resident{}
	for _, r := range list {
		out = append(out, api.Resident{ID: r.ID, Name: r.Name, PairedAt: g.stamp(r.PairedAt)})
	}
	return out, err
}

func (g *Gateway) residents(ctx context.Context) ([]gateway.Resident, error) {
	return store.Look(ctx, g.store, func(tx *store.Tx) []gateway.Resident { return tx.Residents.List() })
}

// RemoveResident implements api.Backend.
func (g *Gateway) RemoveResident(ctx context.Context, id gateway.ResidentID) error {
	found := false
	err := g.store.Update(ctx, func(tx *store.Tx) error {
		if found = tx.Residents.Remove(id); !found {
			return tx.Err()
		}
		return tx.Record.Append(gateway.Event{Type: gateway.ResidentRemoved, Resident: id})
	})
	if err == nil && !found {
		return g.noResident(ctx, id)
	}
	return err
}

func (g *Gateway) noResident(ctx context.Context, id gateway.ResidentID) error {
	list, err := g.residents(ctx)
	if err != nil {
		return err
	}
	var ids []string
	for _, r := range list {
		ids = append(ids, string(r.ID))
	}
	return api.NotFound("resident", string(id), ids)
}

// Duress implements api.Backend: an untimed grant made at home whose PIN tells.
func (g *Gateway) Duress(ctx context.Context, id gateway.ResidentID, req api.DuressRequest) (api.GrantMade, error) {
	list, err := g.residents(ctx)
	if err != nil {
		return api.GrantMade{}, err
	}
	known := false
	for _, r := range list {
		known = known || r.ID == id
	}
	if !known {
		return api.GrantMade{}, g.noResident(ctx, id)
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

// sealer encrypts remembered answers, which may hold a PIN, under the device key.
func (g *Gateway) sealer() (cipher.AEAD, error) {
	block, err := aes.NewCipher(g.identity.MAC("answers"))
	if err != nil {
		return nil, err
	}
	return cipher.NewGCMWithRandomNonce(block)
}

const answersFor = 24 * time.Hour

// Recall implements api.Backend.
func (g *Gateway) Recall(ctx context.Context, key, body string) (a api.Answer, found, same bool, err error) {
	mac := g.identity.MAC("answer key", key)
	var wantBody, sealed []byte
	err = g.store.View(ctx, func(tx *store.Tx) error { wantBody, sealed = tx.Residents.Answer(mac); return nil })
	if err != nil || sealed == nil {
		return a, false, false, err
	}
	if !hmac.Equal(wantBody, g.identity.MAC("answer body", body)) {
		return a, true, false, nil
	}
	aead, err := g.sealer()
	if err != nil {
		return a, true, true, err
	}
	plain, err := aead.Open(nil, nil, sealed, []byte(key))
	if err == nil {
		err = json.Unmarshal(plain, &a)
	}
	return a, true, true, err
}

// Remember implements api.Backend.
func (g *Gateway) Remember(ctx context.Context, key, body string, a api.Answer) error {
	plain, err := json.Marshal(a)
	if err != nil {
		return err
	}
	aead, err := g.sealer()
	if err != nil {
		return err
	}
	sealed := aead.Seal(nil, nil, plain, []byte(key))
	now := g.clock.Read().Wall
	return g.store.Follow(ctx, func(tx *store.Tx) error {
		return tx.Residents.PutAnswer(g.identity.MAC("answer key", key), g.identity.MAC("answer body", body), sealed, now, now.Add(-answersFor))
	})
}
