package residents

import (
	"context"
	"crypto/hmac"
	"crypto/rand"
	"encoding/base64"
	"errors"
	"strings"
	"sync"
	"time"
	"unicode"
	"unicode/utf8"

	"gardien/gateway"
)

// The numbers of W5.
const (
	WindowFor = 5 * time.Minute
	failures  = 10
	maxName   = 64 // characters
)

// Memory is what is remembered of residents.
type Memory interface {
	// List gives the paired residents, in the order of their pairing.
	List(context.Context) ([]gateway.Resident, error)
	// HasToken reports whether the resident's token has this keyed hash, and whether the resident
	// is confirmed.
	HasToken(ctx context.Context, id gateway.ResidentID, mac []byte) (has, confirmed bool, err error)
	// Add stores a resident with the keyed hash of its token, and tells the record.
	Add(ctx context.Context, r gateway.Resident, mac []byte) error
	// Remove removes a resident with what opens as its own, and tells the record; false: there
	// is none.
	Remove(context.Context, gateway.ResidentID) (bool, error)
	// Confirm confirms a resident, and tells the record; false: there was no need of it.
	Confirm(context.Context, gateway.ResidentID) (bool, error)
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
}

// Residents is who lives here. Its methods are safe for concurrent use.
type Residents struct {
	Opts

	mu     sync.Mutex
	secret gateway.Secret // of the window; zero: none is open
	until  time.Duration  // since boot
	wrong  int
}

// New makes a room.
func New(o Opts) *Residents { return &Residents{Opts: o} }

// Why a device does not pair.
var (
	ErrName     = errors.New("name: want 1 to 64 characters, for the list of residents")
	ErrNoWindow = errors.New("no pairing window is open: run \"gardien pair\" on the gateway")
	ErrUnsure   = errors.New("this device came back with a backup, and may have been removed since: at the gateway, run \"gardien resident confirm\" with its id")
	ErrSecret   = errors.New("the secret is not the one that \"gardien pair\" shows")
)

// OpenWindow opens a window for one device, and gives its secret. One that is open is replaced.
func (r *Residents) OpenWindow() gateway.Secret {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.secret, r.wrong = gateway.NewSecret(randomText(16)), 0
	r.until = r.Clock.Read().SinceBoot + WindowFor
	return r.secret
}

// Pair pairs a device that knows the window's secret, which ends the window, and gives its
// token, this once.
func (r *Residents) Pair(ctx context.Context, secret gateway.Secret, name string) (gateway.ResidentID, gateway.Secret, error) {
	name = strings.TrimSpace(name)
	if name == "" || utf8.RuneCountInString(name) > maxName || strings.ContainsFunc(name, unicode.IsControl) {
		return "", gateway.Secret{}, ErrName
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	now := r.Clock.Read()
	if r.secret.IsZero() || now.SinceBoot >= r.until || r.wrong >= failures {
		return "", gateway.Secret{}, ErrNoWindow
	}
	if !hmac.Equal([]byte(secret.Reveal()), []byte(r.secret.Reveal())) {
		r.wrong++
		return "", gateway.Secret{}, ErrSecret
	}
	id := gateway.NewResidentID()
	token := string(id) + "." + randomText(32)
	if err := r.Memory.Add(ctx, gateway.Resident{ID: id, Name: name, PairedAt: now.Wall}, r.MAC("token", token)); err != nil {
		return "", gateway.Secret{}, err
	}
	r.secret = gateway.Secret{}
	return id, gateway.NewSecret(token), nil
}

// Authenticate finds the resident whose token this is. One who is not confirmed gets ErrUnsure.
func (r *Residents) Authenticate(ctx context.Context, token gateway.Secret) (gateway.ResidentID, bool, error) {
	id, _, ok := strings.Cut(token.Reveal(), ".")
	if !ok || len(id) > 64 {
		return "", false, nil
	}
	found, confirmed, err := r.Memory.HasToken(ctx, gateway.ResidentID(id), r.MAC("token", token.Reveal()))
	if err == nil && found && !confirmed {
		return "", false, ErrUnsure
	}
	return gateway.ResidentID(id), found, err
}

// Confirm takes the console's word, or a confirmed resident's, that a resident lives here.
func (r *Residents) Confirm(ctx context.Context, id gateway.ResidentID) error {
	if err := r.Known(ctx, id); err != nil {
		return err
	}
	_, err := r.Memory.Confirm(ctx, id)
	return err
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

// Remove removes a resident: its token and its own PINs are good for nothing any more.
func (r *Residents) Remove(ctx context.Context, id gateway.ResidentID) error {
	found, err := r.Memory.Remove(ctx, id)
	if err == nil && !found {
		return r.Known(ctx, id)
	}
	return err
}

func randomText(n int) string {
	b := make([]byte, n)
	rand.Read(b) // never fails (crypto/rand)
	return base64.RawURLEncoding.EncodeToString(b)
}
