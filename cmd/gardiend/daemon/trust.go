package daemon

import (
	"context"
	"slices"

	"gardien/configs"
	"gardien/gateway"
	"gardien/gateway/access"
	"gardien/gateway/issuers"
	"gardien/gateway/tokens"
	"gardien/store"
)

// issuerMemory is the store as the issuers' room sees it.
type issuerMemory struct{ s *store.Store }

func (m issuerMemory) KeyFiles(ctx context.Context, files map[gateway.IssuerID][]byte) error {
	return m.s.Update(ctx, func(tx *store.Tx) error {
		for id, sum := range files {
			tx.Issuers.KeyFile(id, sum)
		}
		return tx.Err()
	})
}

func (m issuerMemory) Rotated(ctx context.Context, id gateway.IssuerID) ([]byte, error) {
	return store.Look(ctx, m.s, func(tx *store.Tx) []byte { return tx.Issuers.RotatedKeys(id) })
}

// wireIssuers believes the issuers that the gateway starts with.
func (g *Gateway) wireIssuers(ctx context.Context) error {
	g.issuers = issuers.New(issuers.Opts[tokens.KeySet]{Memory: issuerMemory{g.store}, Parse: tokens.ParseKeySet,
		Home: tokens.NewKeySet(g.identity.Signing.PublicKey), Log: g.log})
	g.store.SetReporting(g.reports)
	return g.issuers.Adopt(ctx, configured(g.cfg), nil)
}

// reports tells whether an issuer's events go up to it: it must have a key to read them.
func (g *Gateway) reports(id gateway.IssuerID) bool {
	if id == "" || id == gateway.HomeIssuer {
		return false
	}
	set, _ := g.issuers.Keys(id)
	_, ok := set.Receiving()
	return ok
}

// adopt puts a configuration's issuers and their keys in force.
func (g *Gateway) adopt(ctx context.Context, cfg *configs.Config) error {
	return g.issuers.Adopt(ctx, configured(cfg), func() {
		g.access.SetRules(rules(cfg))
		g.inForce.Store(cfg)
	})
}

// rotated puts in force what an issuer's document has just replaced, and looks again at what
// was refused before: it may be signed by a new key.
func (g *Gateway) rotated(iss gateway.IssuerID) {
	if err := g.issuers.Renew(context.Background()); err != nil {
		g.log.Error("an issuer's new keys take effect at the next start", "issuer", iss, "err", err)
		return
	}
	set, _ := g.issuers.Keys(iss)
	g.log.Info("an issuer has new keys", "issuer", iss, "keys", set.KeyIDs())
	g.resync(context.Background())
}

// configured lists the issuers of a configuration.
func configured(cfg *configs.Config) []issuers.Configured {
	var list []issuers.Configured
	for _, i := range cfg.Issuers {
		list = append(list, issuers.Configured{Issuer: gateway.Issuer{ID: gateway.IssuerID(i.ID), Name: i.Name, Policy: i.Policy()},
			KeyFile: i.KeySet, SetAside: i.SetAside})
	}
	return list
}

func rules(cfg *configs.Config) access.Rules {
	r := access.Rules{Zone: cfg.Zone(), Issuers: issuers.Policies(configured(cfg)), Unwell: map[gateway.DoorID]bool{},
		PINs: map[gateway.DoorID]gateway.PINLengths{}, Sharers: map[gateway.DoorID]int{}, Readers: map[gateway.DoorID][]access.Reader{}}
	for _, d := range cfg.Doors {
		id := gateway.DoorID(d.ID)
		r.Doors = append(r.Doors, id)
		r.Unwell[id] = d.Unwell == "allow"
		r.PINs[id] = d.Lengths()
	}
	// Whoever is set aside comes back: its places are kept.
	for _, i := range cfg.Issuers {
		for _, d := range slices.Compact(slices.Sorted(slices.Values(i.Policy().Doors))) {
			r.Sharers[d]++
		}
	}
	for _, d := range cfg.Interlock {
		r.Interlock = append(r.Interlock, gateway.DoorID(d))
	}
	for _, d := range cfg.Readers {
		scans := d.Kind == "scanner" || d.Driver == "serial" || d.Driver == "sim"
		r.Readers[gateway.DoorID(d.Door)] = append(r.Readers[gateway.DoorID(d.Door)],
			access.Reader{ID: gateway.ReaderID(d.ID), Cards: d.Driver == "wiegand", Texts: scans})
	}
	return r
}

// fits reports whether a PIN has a length that its door takes. A door that is not configured
// says nothing.
func fits(cfg *configs.Config) func(gateway.PINRecord) bool {
	lengths := rules(cfg).PINs
	return func(p gateway.PINRecord) bool {
		l, here := lengths[p.Door]
		return !here || slices.Contains(l.Of(p.Grant.Issuer), p.Length)
	}
}
