// Package issuers is whom we believe: the key set and the policy of each issuer that is in
// force, what an issuer has rotated to since its key file came, and who is set aside because
// that file cannot be read.
//
// A key set that came as a document of the issuer's stands in place of its file until the file
// changes. An issuer that is set aside is configured, and nothing of it is believed: no key is
// its own, and no policy allows it anything.
//
// The room does not know how key sets are written: K is what Parse makes of one.
package issuers

import (
	"context"
	"crypto/sha256"
	"log/slog"
	"sync"

	"gardien/gateway"
)

// Configured is one issuer of the configuration.
type Configured struct {
	gateway.Issuer
	KeyFile  []byte // its content
	SetAside string // why it cannot be read; "": it can
}

// Memory is what is remembered of issuers' keys.
type Memory interface {
	// KeyFiles notes which file each issuer has now, by a hash of its content. Where that is
	// another than before, what the issuer rotated to is dropped.
	KeyFiles(context.Context, map[gateway.IssuerID][]byte) error
	// Rotated gives the key set that an issuer rotated to; nil: none.
	Rotated(context.Context, gateway.IssuerID) ([]byte, error)
}

// Opts of Issuers.
type Opts[K any] struct {
	Memory Memory
	Parse  func(jwks []byte) (K, error)
	Home   K // of grants made at home
	Log    *slog.Logger
}

// Issuers is whom we believe. Its methods are safe for concurrent use.
type Issuers[K any] struct {
	Opts[K]

	changing   sync.Mutex // one change at a time: key files, rotations and restores
	configured []Configured

	mu   sync.RWMutex
	sets map[gateway.IssuerID]K
}

// New makes a room that believes in what is made at home.
func New[K any](o Opts[K]) *Issuers[K] {
	return &Issuers[K]{Opts: o, sets: map[gateway.IssuerID]K{gateway.HomeIssuer: o.Home}}
}

// Adopt puts the issuers of a configuration in force, and calls then, if all went well, before
// the next change.
func (i *Issuers[K]) Adopt(ctx context.Context, list []Configured, then func()) error {
	i.changing.Lock()
	defer i.changing.Unlock()
	if err := i.believe(ctx, list); err != nil {
		return err
	}
	i.configured = list
	if then != nil {
		then()
	}
	return nil
}

// Renew looks again at what issuers have rotated to: after a document of theirs, or a restore.
func (i *Issuers[K]) Renew(ctx context.Context) error {
	i.changing.Lock()
	defer i.changing.Unlock()
	return i.believe(ctx, i.configured)
}

func (i *Issuers[K]) believe(ctx context.Context, list []Configured) error {
	files := map[gateway.IssuerID][]byte{}
	for _, c := range list {
		if c.SetAside == "" { // else what it rotated to is kept for when its file is mended
			sum := sha256.Sum256(c.KeyFile)
			files[c.ID] = sum[:]
		}
	}
	if err := i.Memory.KeyFiles(ctx, files); err != nil {
		return err
	}
	sets := map[gateway.IssuerID]K{gateway.HomeIssuer: i.Home}
	for _, c := range list {
		var set K // no key is its own
		if c.SetAside == "" {
			jwks, err := i.Memory.Rotated(ctx, c.ID)
			if err != nil {
				return err
			}
			if jwks == nil {
				jwks = c.KeyFile
			}
			if set, err = i.Parse(jwks); err != nil { // it was parsed once already
				i.Log.Error("an issuer's keys cannot be read; nothing of it is believed", "issuer", c.ID, "err", err)
			}
		}
		sets[c.ID] = set
	}
	i.mu.Lock()
	defer i.mu.Unlock()
	i.sets = sets
	return nil
}

// Keys gives an issuer's key set; false: it is not configured.
func (i *Issuers[K]) Keys(id gateway.IssuerID) (K, bool) {
	i.mu.RLock()
	defer i.mu.RUnlock()
	set, ok := i.sets[id]
	return set, ok
}

// Policies gives what each issuer may do. Who is set aside is not there: nothing.
func Policies(list []Configured) map[gateway.IssuerID]gateway.Issuer {
	policies := map[gateway.IssuerID]gateway.Issuer{}
	for _, c := range list {
		if c.SetAside == "" {
			policies[c.ID] = c.Issuer
		}
	}
	return policies
}
