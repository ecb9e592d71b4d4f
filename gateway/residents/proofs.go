package residents

import (
	"crypto/hmac"
	"crypto/sha256"
	"encoding/base64"
	"encoding/binary"
	"errors"
	"strings"
	"sync"
	"time"

	"gardien/gateway"
)

// The numbers of acts with DPoP (RFC 9449).
const (
	NonceFor = 5 * time.Minute
	maxActs  = 8192 // of one device, in as long
)

// Why an act is not believed.
var (
	ErrNonce = errors.New("sign the request with the nonce of the answer's DPoP-Nonce header (RFC 9449 §8)")
	ErrProof = errors.New("the DPoP proof is not one of this device's key for this request")
	ErrActs  = errors.New("too many acts of this device: come back in five minutes")
)

// proofs knows which nonces are ours, and which proofs were used. Nothing of it is stored: what was
// signed for an older process has a nonce of that process's key.
type proofs struct {
	key gateway.Secret

	mu    sync.Mutex
	since time.Duration // when the newer generation began, since boot
	used  [2]map[[16]byte]struct{}
	acts  [2]map[gateway.ResidentID]int
}

func newProofs() *proofs {
	p := &proofs{key: gateway.NewSecret(randomText(32))}
	p.turn(0)
	p.turn(0)
	return p
}

// Nonce gives the nonce of now. It is an instant of the boot clock and a keyed hash of it: nothing
// is remembered of who asks.
func (r *Residents) Nonce() string {
	b := binary.BigEndian.AppendUint64(nil, uint64(r.Clock.Read().SinceBoot))
	return base64.RawURLEncoding.EncodeToString(append(b, r.proofs.mac(b)...))
}

func (p *proofs) mac(instant []byte) []byte {
	m := hmac.New(sha256.New, []byte(p.key.Reveal()))
	m.Write(instant)
	return m.Sum(nil)[:16]
}

// isFresh reports whether a nonce is ours, and not older than NonceFor.
func (p *proofs) isFresh(nonce string, now time.Duration) bool {
	b, err := base64.RawURLEncoding.DecodeString(nonce)
	if err != nil || len(b) != 24 || !hmac.Equal(b[8:], p.mac(b[:8])) {
		return false
	}
	return now-time.Duration(binary.BigEndian.Uint64(b)) <= NonceFor
}

// Prove holds a DPoP proof against a device's request: its method, and its URL without query.
// ErrNonce says that the device may sign again, with a nonce of now.
func (r *Residents) Prove(device gateway.Resident, method, url, proof string) error {
	if proof == "" {
		return ErrNonce
	}
	d, err := r.Proof(proof)
	if err != nil || d.Key != device.Key || d.Method != method || !sameURL(d.URL, url) {
		return ErrProof
	}
	now := r.Clock.Read().SinceBoot
	if !r.proofs.isFresh(d.Nonce, now) {
		return ErrNonce
	}
	return r.proofs.spend(device.ID, d, now)
}

// sameURL compares scheme and host without case (RFC 3986 §6.2.2.1), and the path as it is.
func sameURL(a, b string) bool {
	cut := func(u string) (origin, path string) {
		i := strings.Index(u, "://")
		if i < 0 {
			return "", u
		}
		if j := strings.IndexByte(u[i+3:], '/'); j >= 0 {
			return u[:i+3+j], u[i+3+j:]
		}
		return u, ""
	}
	ao, ap := cut(a)
	bo, bp := cut(b)
	return strings.EqualFold(ao, bo) && ap == bp
}

// spend takes a proof once. What is remembered lives for one to two times NonceFor: as long as its
// nonce at least.
func (p *proofs) spend(id gateway.ResidentID, d gateway.DPoP, now time.Duration) error {
	sum := sha256.Sum256([]byte(d.Key + "\n" + d.ID))
	jti := [16]byte(sum[:16])
	p.mu.Lock()
	defer p.mu.Unlock()
	if now-p.since > NonceFor {
		p.turn(now)
	}
	for _, used := range p.used {
		if _, is := used[jti]; is {
			return ErrProof
		}
	}
	if p.acts[1][id] >= maxActs {
		return ErrActs
	}
	p.used[1][jti] = struct{}{}
	p.acts[1][id]++
	return nil
}

// turn forgets the older generation and begins a newer one.
func (p *proofs) turn(now time.Duration) {
	p.used[0], p.used[1] = p.used[1], map[[16]byte]struct{}{}
	p.acts[0], p.acts[1] = p.acts[1], map[gateway.ResidentID]int{}
	p.since = now
}
