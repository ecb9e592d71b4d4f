package access

import (
	"crypto/rand"
	"encoding/base64"
	"errors"
	"sync"
	"time"
)

// The numbers of A7 and contract §8.
const (
	NonceLife     = 30 * time.Second
	noncesPerAddr = 64
	noncesInAll   = 4096
)

// ErrTooManyNonces says that an address, or everybody together, holds too many.
var ErrTooManyNonces = errors.New("too many live nonces")

// Nonces hands out nonces and takes each back once, by the boot clock.
type Nonces struct {
	mu   sync.Mutex
	live map[string]nonce
}

type nonce struct {
	addr string
	born time.Duration
}

// New draws a nonce for an address; now is the time since boot.
func (n *Nonces) New(addr string, now time.Duration) (string, error) {
	n.mu.Lock()
	defer n.mu.Unlock()
	held := 0
	for k, v := range n.live {
		if now-v.born >= NonceLife {
			delete(n.live, k)
		} else if v.addr == addr {
			held++
		}
	}
	if held >= noncesPerAddr || len(n.live) >= noncesInAll {
		return "", ErrTooManyNonces
	}
	var b [16]byte
	rand.Read(b[:])
	s := base64.RawURLEncoding.EncodeToString(b[:])
	if n.live == nil {
		n.live = map[string]nonce{}
	}
	n.live[s] = nonce{addr, now}
	return s, nil
}

// spend takes a nonce back and reports whether it was live.
func (n *Nonces) spend(s string, now time.Duration) bool {
	n.mu.Lock()
	defer n.mu.Unlock()
	v, ok := n.live[s]
	delete(n.live, s)
	return ok && now-v.born < NonceLife
}
