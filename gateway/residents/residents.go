package residents

import (
	"context"
	"crypto/hmac"
	"crypto/rand"
	"encoding/base64"
	"errors"
	"slices"
	"strings"
	"sync"
	"time"

	"gardien/gateway"
)

// Memory is what is remembered of residents.
type Memory interface {
	// List gives the paired residents, in the order of their pairing.
	List(context.Context) ([]gateway.Resident, error)
	// Find finds a resident and the keyed hash of its token.
	Find(context.Context, gateway.ResidentID) (r gateway.Resident, mac []byte, found bool, err error)
	// Add stores a resident with the keyed hash of its token, and tells the record.
	Add(ctx context.Context, r gateway.Resident, mac []byte) error
	// Rebind gives a resident another token and key, and tells the record; false: there is none.
	Rebind(ctx context.Context, id gateway.ResidentID, mac []byte, key string) (bool, error)
	// Remove removes a resident with what opens as its own, and tells the record. With keep the last
	// confirmed one of the role resident stays. Found is false where there is none.
	Remove(ctx context.Context, id gateway.ResidentID, keep bool) (found, last bool, err error)
	// Confirm confirms a resident, and tells the record; false: there was no need of it.
	Confirm(context.Context, gateway.ResidentID) (bool, error)
	// SeenAt gives when each device last authenticated, as far as it was kept.
	SeenAt(context.Context) (map[gateway.ResidentID]time.Time, error)
	// PutSeenAt keeps that of some devices; a power cut may take it.
	PutSeenAt(context.Context, map[gateway.ResidentID]time.Time) error
	// Answer finds a remembered answer: the keyed hash of the request's body that it was given
	// to, the sealed answer (nil: there is none), and its instant.
	Answer(ctx context.Context, key []byte) (body, answer []byte, at time.Time, err error)
	// PutAnswer remembers an answer of an instant.
	PutAnswer(ctx context.Context, key, body, answer []byte, at time.Time) error
	// DropAnswers forgets those from before an instant.
	DropAnswers(ctx context.Context, before time.Time) error
}

// Clock says what time it is.
type Clock interface{ Read() gateway.Reading }

// Opts of Residents.
type Opts struct {
	Memory Memory
	Clock  Clock
	MAC    func(purpose string, parts ...string) []byte // under the device key
	// Key reads a public JWK on P-256, and gives its RFC 7638 thumbprint.
	Key func(jwk []byte) (string, error)
	// Proof takes a DPoP proof apart, and verifies its signature.
	Proof func(text string) (gateway.DPoP, error)
	// Fingerprint is that of the gateway's TLS key: 64 hex digits, "" where there is none.
	Fingerprint func() string
}

// Residents is who lives here. Its methods are safe for concurrent use.
type Residents struct {
	Opts
	proofs *proofs
	seen   *seen

	acts sync.Mutex // a newcomer is confirmed or dropped by one at a time

	mu     sync.Mutex
	window *window // nil: none is open, and nobody waits for a confirmation
	moves  map[gateway.ResidentID]*move
	// How many codes for moves each device has asked for since then.
	moved      map[gateway.ResidentID]int
	movesSince time.Duration // since boot
}

// New makes a room.
func New(o Opts) *Residents {
	return &Residents{Opts: o, proofs: newProofs(), seen: newSeen(), moves: map[gateway.ResidentID]*move{}, moved: map[gateway.ResidentID]int{}}
}

// Authenticate finds the device whose token this is, be it confirmed or not.
func (r *Residents) Authenticate(ctx context.Context, token gateway.Secret) (gateway.Resident, bool, error) {
	id, _, ok := strings.Cut(token.Reveal(), ".")
	if !ok || len(id) > 64 {
		return gateway.Resident{}, false, nil
	}
	mac := r.MAC("token", token.Reveal())
	if n := r.newcomer(gateway.ResidentID(id)); n != nil {
		return n.Resident, hmac.Equal(n.mac, mac), nil
	}
	found, want, known, err := r.Memory.Find(ctx, gateway.ResidentID(id))
	if err != nil || !known || !hmac.Equal(want, mac) {
		return gateway.Resident{}, false, err
	}
	r.seen.note(found.ID, r.Clock.Read().SinceBoot)
	return found, true, nil
}

// List gives the paired devices, and the one that waits to be confirmed.
func (r *Residents) List(ctx context.Context) ([]gateway.Resident, error) {
	list, err := r.Memory.List(ctx)
	r.mu.Lock()
	defer r.mu.Unlock()
	if w := r.open(); w != nil && w.device != nil && !slices.ContainsFunc(list, func(o gateway.Resident) bool { return o.ID == w.device.ID }) {
		list = append(list, w.device.Resident)
	}
	return list, err
}

// Confirm takes the console's word, or a confirmed resident's, that a device is one of this house:
// one that has just paired, or one that came back with a backup.
func (r *Residents) Confirm(ctx context.Context, id gateway.ResidentID) error {
	r.acts.Lock()
	defer r.acts.Unlock()
	if n := r.newcomer(id); n != nil {
		confirmed := n.Resident
		confirmed.Unconfirmed = false
		if err := r.Memory.Add(ctx, confirmed, n.mac); err != nil {
			return err
		}
		r.closeWindowOf(id)
		return nil
	}
	if err := r.Known(ctx, id); err != nil {
		return err
	}
	_, err := r.Memory.Confirm(ctx, id)
	return err
}

// ErrLast says that the last resident is not removed from afar.
var ErrLast = errors.New("this is the last resident: whoever is at the gateway can remove it (gardien resident remove)")

// Remove removes a device: its token and its own PINs are good for nothing any more. With keep the
// last resident stays: ErrLast.
func (r *Residents) Remove(ctx context.Context, id gateway.ResidentID, keep bool) error {
	r.acts.Lock()
	defer r.acts.Unlock()
	if r.newcomer(id) != nil {
		r.closeWindowOf(id)
		return nil
	}
	found, last, err := r.Memory.Remove(ctx, id, keep)
	switch {
	case err != nil:
		return err
	case last:
		return ErrLast
	case !found:
		return r.Known(ctx, id)
	}
	r.seen.forget(id)
	r.mu.Lock()
	defer r.mu.Unlock()
	delete(r.moves, id)
	return nil
}

// UnknownError says that there is no such resident, and who there is.
type UnknownError struct {
	ID    gateway.ResidentID
	Exist []string
}

func (e *UnknownError) Error() string { return "no resident " + string(e.ID) }

// Known gives an *UnknownError where there is no such resident.
func (r *Residents) Known(ctx context.Context, id gateway.ResidentID) error {
	list, err := r.Memory.List(ctx)
	if err != nil {
		return err
	}
	unknown := &UnknownError{ID: id}
	for _, o := range list {
		if o.ID == id {
			return nil
		}
		unknown.Exist = append(unknown.Exist, string(o.ID))
	}
	return unknown
}

func randomText(n int) string {
	b := make([]byte, n)
	rand.Read(b) // never fails (crypto/rand)
	return base64.RawURLEncoding.EncodeToString(b)
}
