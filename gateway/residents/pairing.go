package residents

import (
	"context"
	"crypto/hmac"
	"crypto/sha256"
	"encoding/binary"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"
	"unicode"
	"unicode/utf8"

	"gardien/gateway"
)

// The numbers of W5 and of contract §5.
const (
	WindowFor = 5 * time.Minute
	failures  = 10
	MoveFor   = 5 * time.Minute
	moveTries = 5
	maxMoves  = 10 // of one device in a day: each is a line on the disk for good
	maxName   = 64 // characters
)

// Why a device does not pair.
var (
	ErrName     = errors.New("name: want 1 to 64 characters, for the list of residents")
	ErrKey      = errors.New("key: want a public JWK on P-256, of which the device keeps the private half")
	ErrNeedsKey = errors.New("key: a cookie, or a device that moves, needs a key that signs its acts")
	ErrNoWindow = errors.New("no pairing window is open: run \"gardien pair\" on the gateway")
	ErrSecret   = errors.New("the secret is not the one that \"gardien pair\" shows")
	ErrMoves    = errors.New("this device has moved too often today")
	ErrFirst    = errors.New("the first resident pairs with \"gardien pair\" on the gateway, not with the button")
)

// window is open for one device. It ends with that device's confirmation, its removal, its time, or
// ten wrong secrets.
type window struct {
	id      string
	secret  gateway.Secret // zero: a button opened it, and none is wanted
	role    gateway.Role
	until   time.Duration // since boot
	wrong   int
	device  *newcomer     // that has paired, and waits to be confirmed
	changed chan struct{} // closed when the device has paired, or when the window ends early
}

// newcomer is a device that has paired and that nobody has confirmed. It is in memory only: what a
// stranger does costs the disk nothing, and a restart forgets it.
type newcomer struct {
	gateway.Resident
	mac  []byte // of its token
	code string
}

// move is a code by which a device's access moves to another key.
type move struct {
	id    gateway.ResidentID
	code  gateway.Secret
	until time.Duration // since boot
	tries int
	taken string // the key that it was good for; "": none yet
}

// Window is one that was opened.
type Window struct {
	ID     string // for whoever waits at it, and closes it
	Secret gateway.Secret
}

// OpenWindow opens a window for one device of a role. One that is open is replaced, and who waits for
// a confirmation there is dropped.
func (r *Residents) OpenWindow(role gateway.Role) Window {
	w := Window{randomText(16), gateway.NewSecret(randomText(16))}
	r.acts.Lock()
	defer r.acts.Unlock()
	r.mu.Lock()
	defer r.mu.Unlock()
	r.replace(&window{id: w.ID, secret: w.Secret, role: role, until: r.Clock.Read().SinceBoot + WindowFor, changed: make(chan struct{})})
	return w
}

// PressButton opens a window that wants no secret, for a resident's device: a resident confirms it.
// A window that is open stays as it is. It is not for the first resident, whom nobody could
// confirm.
func (r *Residents) PressButton(ctx context.Context) error {
	list, err := r.Memory.List(ctx)
	if err != nil {
		return err
	}
	if !slices.ContainsFunc(list, func(o gateway.Resident) bool { return o.Role == gateway.RoleResident && !o.Unconfirmed }) {
		return ErrFirst
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.open() == nil {
		r.replace(&window{id: randomText(16), role: gateway.RoleResident, until: r.Clock.Read().SinceBoot + WindowFor, changed: make(chan struct{})})
	}
	return nil
}

// CloseWindow ends the window with an id, or any ("*"), and drops who waits for a confirmation there.
func (r *Residents) CloseWindow(id string) {
	r.acts.Lock()
	defer r.acts.Unlock()
	r.mu.Lock()
	defer r.mu.Unlock()
	if w := r.open(); w != nil && (id == AnyWindow || w.id == id) {
		r.replace(nil)
	}
}

// AnyWindow stands for the window that is open.
const AnyWindow = "*"

// Code is what the console and the device of who waits to be confirmed show; "": nobody of that id waits.
func (r *Residents) Code(id gateway.ResidentID) string {
	if n := r.newcomer(id); n != nil {
		return n.code
	}
	return ""
}

// replace puts another window in the place of the present one. The caller holds mu.
func (r *Residents) replace(w *window) {
	if old := r.window; old != nil && old.device == nil {
		close(old.changed)
	}
	r.window = w
}

// open gives the window, if its time has not passed. The caller holds mu.
func (r *Residents) open() *window {
	if r.window != nil && r.Clock.Read().SinceBoot >= r.window.until {
		r.replace(nil)
	}
	return r.window
}

// newcomer gives the device with an id that waits to be confirmed; nil: there is none.
func (r *Residents) newcomer(id gateway.ResidentID) *newcomer {
	r.mu.Lock()
	defer r.mu.Unlock()
	if w := r.open(); w != nil && w.device != nil && w.device.ID == id {
		return w.device
	}
	return nil
}

func (r *Residents) closeWindowOf(id gateway.ResidentID) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if w := r.window; w != nil && w.device != nil && w.device.ID == id {
		r.replace(nil)
	}
}

// Waiting is the window as whoever opened it sees it.
type Waiting struct {
	Open             bool          // it takes a device, or waits for a device's confirmation
	Left             time.Duration // of its time
	gateway.Resident               // the device that waits to be confirmed
	Code             string        // of it; "": none has come yet
}

// Await waits until a device has paired at the window with an id, or any ("*"), the window has ended,
// or ctx has.
func (r *Residents) Await(ctx context.Context, id string) Waiting {
	for {
		r.mu.Lock()
		w := r.open()
		if w != nil && id != AnyWindow && w.id != id {
			w = nil // another has taken its place
		}
		var left time.Duration
		var seen Waiting
		if w != nil {
			left = w.until - r.Clock.Read().SinceBoot
			seen = Waiting{Open: true, Left: left}
			if w.device != nil {
				seen.Resident, seen.Code = w.device.Resident, w.device.code
			}
		}
		r.mu.Unlock()
		if w == nil || seen.Code != "" || ctx.Err() != nil {
			return seen
		}
		end := time.NewTimer(left)
		select {
		case <-w.changed:
		case <-end.C:
		case <-ctx.Done():
		}
		end.Stop()
	}
}

// Ask is a device's wish to pair.
type Ask struct {
	Secret gateway.Secret
	Name   string
	JWK    []byte // public; nil: none
	Cookie bool   // the token goes into a cookie, which a key must go with
}

// isHidden reports what a list would not show as it is: control characters, and those that turn the
// direction of writing.
func isHidden(c rune) bool { return unicode.IsControl(c) || unicode.Is(unicode.Bidi_Control, c) }

// Paired is what a device gets.
type Paired struct {
	ID    gateway.ResidentID
	Token gateway.Secret
	Code  string // six digits: whoever confirms compares them with what the device shows
}

// Pair pairs a device that knows the window's secret, which ends the window for others; or moves a
// resident's access to the device that knows the code for it. It gives the token this once.
func (r *Residents) Pair(ctx context.Context, a Ask) (Paired, error) {
	name := strings.TrimSpace(a.Name)
	if name == "" || utf8.RuneCountInString(name) > maxName || !utf8.ValidString(name) || strings.ContainsFunc(name, isHidden) {
		return Paired{}, ErrName
	}
	key := ""
	if a.JWK != nil {
		var err error
		if key, err = r.Key(a.JWK); err != nil {
			return Paired{}, ErrKey
		}
	}
	if a.Cookie && key == "" {
		return Paired{}, ErrNeedsKey
	}
	code := r.code(a.Secret, key)
	p, m, err := r.take(a.Secret, name, key, code)
	if err != nil || m == nil {
		return p, err
	}
	p = Paired{ID: m.id, Token: newToken(m.id), Code: code}
	found, err := r.Memory.Rebind(ctx, m.id, r.MAC("token", p.Token.Reveal()), key)
	if err == nil && !found {
		return Paired{}, ErrNoWindow // it was removed meanwhile
	}
	r.giveBack(m, key, err)
	if err != nil {
		return Paired{}, err
	}
	return p, nil
}

// giveBack makes a code good again that was taken for nothing; and for the key that took it, whose
// answer may have been lost on the way.
func (r *Residents) giveBack(m *move, key string, failed error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if failed == nil {
		m.taken = key
	}
	if r.moves[m.id] == nil {
		r.moves[m.id] = m
	}
}

// take holds a secret against the window and the codes of moves. It gives the device that has
// paired, or the move whose code it is.
func (r *Residents) take(secret gateway.Secret, name, key, code string) (Paired, *move, error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	now := r.Clock.Read()
	w := r.open()
	opened := w != nil && w.device == nil
	if opened && hmac.Equal([]byte(secret.Reveal()), []byte(w.secret.Reveal())) {
		if w.secret.IsZero() && key == "" { // without both, all devices would show one code
			return Paired{}, nil, ErrNeedsKey
		}
		id := gateway.NewResidentID()
		p := Paired{ID: id, Token: newToken(id), Code: code}
		w.device = &newcomer{Resident: gateway.Resident{ID: id, Name: name, PairedAt: now.Wall, Role: w.role, Key: key, Ver: 1, Unconfirmed: true},
			mac: r.MAC("token", p.Token.Reveal()), code: code}
		close(w.changed)
		return p, nil, nil
	}
	for id, m := range r.moves {
		switch {
		case now.SinceBoot >= m.until || m.tries >= moveTries:
			delete(r.moves, id)
		case !hmac.Equal([]byte(secret.Reveal()), []byte(m.code.Reveal())), m.taken != "" && m.taken != key:
		case key == "":
			return Paired{}, nil, ErrNeedsKey
		default:
			delete(r.moves, id)
			return Paired{}, m, nil
		}
	}
	waits := false
	for _, m := range r.moves {
		m.tries++
		waits = waits || m.taken == ""
	}
	if opened {
		if w.wrong++; w.wrong == failures {
			r.replace(nil)
		}
	}
	if !opened && !waits {
		return Paired{}, nil, ErrNoWindow
	}
	return Paired{}, nil, ErrSecret
}

// Move opens the way for a resident's access to another key, as that of an icon on the home screen:
// six digits, good once, for five minutes and five tries. One that is open is replaced.
func (r *Residents) Move(id gateway.ResidentID) (gateway.Secret, error) {
	code := gateway.DrawPIN(6).Secret
	r.mu.Lock()
	defer r.mu.Unlock()
	now := r.Clock.Read().SinceBoot
	if now-r.movesSince > 24*time.Hour {
		r.movesSince, r.moved = now, map[gateway.ResidentID]int{}
	}
	if r.moved[id] >= maxMoves {
		return gateway.Secret{}, ErrMoves
	}
	r.moved[id]++
	r.moves[id] = &move{id: id, code: code, until: now + MoveFor}
	return code, nil
}

func newToken(id gateway.ResidentID) gateway.Secret {
	return gateway.NewSecret(string(id) + "." + randomText(32))
}

// code is what both sides show: the first 8 bytes, big-endian, of SHA-256(secret LF thumbprint LF
// fingerprint), mod 10^6. It guards against mix-ups, not against a man in the middle.
func (r *Residents) code(secret gateway.Secret, key string) string {
	sum := sha256.Sum256([]byte(secret.Reveal() + "\n" + key + "\n" + r.Fingerprint()))
	return fmt.Sprintf("%06d", binary.BigEndian.Uint64(sum[:8])%1_000_000)
}
