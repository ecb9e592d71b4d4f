package access

import (
	"crypto/rand"
	"encoding/base64"
	"errors"
	"math"
	"sync"
	"time"
)

// The numbers of A7 and contract §8.
const (
	NonceLife     = 30 * time.Second
	noncesPerAddr = 64
	noncesInAll   = 4096
)

// ErrTooManyNonces says that an address holds too many.
var ErrTooManyNonces = errors.New("too many live nonces")

// Nonces hands out nonces and takes each back once, by the boot clock. Where there are too many, the
// oldest goes of the address that holds most: whoever asks for many, from however many addresses,
// keeps no courier from getting one.
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
	held := map[string]int{}
	for k, v := range n.live {
		if now-v.born >= NonceLife {
			delete(n.live, k)
		} else {
			held[v.addr]++
		}
	}
	if held[addr] >= noncesPerAddr {
		return "", ErrTooManyNonces
	}
	if len(n.live) >= noncesInAll {
		n.makeRoom(held)
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

// makeRoom takes out one nonce, of those who hold most. The caller holds mu.
func (n *Nonces) makeRoom(held map[string]int) {
	most := 0
	for _, count := range held {
		most = max(most, count)
	}
	out, born := "", time.Duration(math.MaxInt64)
	for k, v := range n.live {
		if held[v.addr] == most && v.born < born {
			out, born = k, v.born
		}
	}
	delete(n.live, out)
}

// spend takes a nonce back and reports whether it was live.
func (n *Nonces) spend(s string, now time.Duration) bool {
	n.mu.Lock()
	defer n.mu.Unlock()
	v, ok := n.live[s]
	delete(n.live, s)
	return ok && now-v.born < NonceLife
}
