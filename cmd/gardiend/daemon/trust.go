package daemon

import (
	"context"
	"crypto/sha256"
	"sync"

	"gardien/configs"
	"gardien/gateway"
	"gardien/gateway/tokens"
	"gardien/store"
)

// trust is the key sets in force.
type trust struct {
	mu   sync.RWMutex
	sets map[gateway.IssuerID]tokens.KeySet
}

func (t *trust) keys(id gateway.IssuerID) (tokens.KeySet, bool) {
	t.mu.RLock()
	defer t.mu.RUnlock()
	s, ok := t.sets[id]
	return s, ok
}

// mails reports whether an issuer's events go up to it: it must have a key to read them.
func (t *trust) mails(id gateway.IssuerID) bool {
	if id == "" || id == gateway.HomeIssuer {
		return false
	}
	set, _ := t.keys(id)
	_, ok := set.Receiving()
	return ok
}

func (t *trust) set(sets map[gateway.IssuerID]tokens.KeySet) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.sets = sets
}

// believe puts the key sets of a configuration in force, and in their place those that
// issuers have rotated to since their files came.
func (g *Gateway) believe(ctx context.Context, cfg *configs.Config) error {
	err := g.store.Update(ctx, func(tx *store.Tx) error {
		for _, i := range cfg.Issuers {
			if i.SetAside != "" {
				continue // what it rotated to is kept for when its file is mended
			}
			sum := sha256.Sum256(i.KeySet)
			tx.Issuers.KeyFile(gateway.IssuerID(i.ID), sum[:])
		}
		return tx.Err()
	})
	if err != nil {
		return err
	}
	sets := map[gateway.IssuerID]tokens.KeySet{gateway.HomeIssuer: tokens.NewKeySet(g.identity.Signing.PublicKey)}
	for _, i := range cfg.Issuers {
		id := gateway.IssuerID(i.ID)
		if i.SetAside != "" {
			sets[id] = tokens.KeySet{} // it is configured, and no key is its own
			continue
		}
		jwks, err := store.Look(ctx, g.store, func(tx *store.Tx) []byte { return tx.Issuers.RotatedKeys(id) })
		if err != nil {
			return err
		}
		if jwks == nil {
			jwks = i.KeySet
		}
		set, err := tokens.ParseKeySet(jwks)
		if err != nil { // it was parsed once already
			g.log.Error("an issuer's keys cannot be read; nothing of it is believed", "issuer", id, "err", err)
			continue
		}
		sets[id] = set
	}
	g.trust.set(sets)
	return nil
}

// rotated puts in force what an issuer's document has just replaced, and looks again at what
// was refused before: it may be signed by a new key.
func (g *Gateway) rotated(iss gateway.IssuerID) {
	g.believing.Lock()
	defer g.believing.Unlock()
	if err := g.believe(context.Background(), g.inForce.Load()); err != nil {
		g.log.Error("an issuer's new keys take effect at the next start", "issuer", iss, "err", err)
		return
	}
	set, _ := g.trust.keys(iss)
	g.log.Info("an issuer has new keys", "issuer", iss, "keys", set.KeyIDs())
	g.resync(context.Background())
}
