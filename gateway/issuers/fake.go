package issuers

import (
	"bytes"
	"context"
	"sync"

	"gardien/gateway"
)

// Fake is a Memory in memory, for tests of whoever uses this room.
type Fake struct {
	mu      sync.Mutex
	files   map[gateway.IssuerID][]byte
	rotated map[gateway.IssuerID][]byte
	Fail    error // of every call
}

var _ Memory = (*Fake)(nil)

// Rotate is a document of an issuer's that replaces its keys.
func (f *Fake) Rotate(id gateway.IssuerID, jwks []byte) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.rotated == nil {
		f.rotated = map[gateway.IssuerID][]byte{}
	}
	f.rotated[id] = jwks
}

// KeyFiles implements Memory.
func (f *Fake) KeyFiles(_ context.Context, files map[gateway.IssuerID][]byte) error {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.Fail != nil {
		return f.Fail
	}
	if f.files == nil {
		f.files = map[gateway.IssuerID][]byte{}
	}
	for id, sum := range files {
		if had := f.files[id]; had != nil && !bytes.Equal(had, sum) {
			delete(f.rotated, id)
		}
		f.files[id] = sum
	}
	return nil
}

// Rotated implements Memory.
func (f *Fake) Rotated(_ context.Context, id gateway.IssuerID) ([]byte, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.rotated[id], f.Fail
}
