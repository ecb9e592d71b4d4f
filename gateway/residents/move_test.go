package residents_test

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"testing"
	"time"

	"gardien/gateway"
	"gardien/gateway/residents"
)

func moves(r *residents.Residents, code gateway.Secret, key string) (residents.Paired, error) {
	a := residents.Ask{Secret: code, Name: "another name"}
	if key != "" {
		a.JWK = []byte("key " + key)
	}
	return r.Pair(context.Background(), a)
}

// Contract §9: a code moves a resident's access to another key: the same id, and the old key and
// token are good for nothing.
func TestMove(t *testing.T) {
	r, f, c := room()
	ben := settled(t, r, "Ben")
	ada := settledAs(t, r, gateway.RoleGuest, residents.Ask{Name: "Ada", JWK: []byte("key K"), Cookie: true})
	code := moveCode(t, r, ada.ID)
	if len(code.Reveal()) != 6 {
		t.Errorf("a code of %d characters", len(code.Reveal()))
	}
	c.add(residents.MoveFor - 1)
	if _, err := moves(r, code, ""); !errors.Is(err, residents.ErrNeedsKey) {
		t.Errorf("without a key: %v", err)
	}
	p, err := moves(r, code, "K2")
	if err != nil || p.ID != ada.ID {
		t.Fatalf("%+v, %v", p, err)
	}
	if got := who(t, r, p.Token) + who(t, r, ada.Token); got != "Ada" {
		t.Errorf("the tokens are good for %q", got)
	}
	want := gateway.Resident{ID: ada.ID, Name: "Ada", PairedAt: c.Read().Wall.Add(1 - residents.MoveFor), Role: gateway.RoleGuest, Key: "K2", Ver: 2}
	if o, _, _, err := f.Find(t.Context(), ada.ID); err != nil || o != want {
		t.Errorf("%+v, %v, want %+v", o, err, want)
	}
	if _, err := moves(r, code, "K3"); !errors.Is(err, residents.ErrNoWindow) {
		t.Errorf("a second time: %v", err)
	}
	// The key moved, so that what the old one signs is good for nothing.
	for key, want := range map[string]error{"K": residents.ErrProof, "K2": nil} {
		o, _, err := r.Authenticate(t.Context(), p.Token)
		if err != nil {
			t.Fatal(err)
		}
		if err := r.Prove(o, "POST", url, signed(gateway.DPoP{Key: key, Method: "POST", URL: url, ID: "jti", Nonce: r.Nonce()})); !errors.Is(err, want) {
			t.Errorf("%s: %v", key, err)
		}
	}
	if got := who(t, r, ben.Token); got != "Ben" {
		t.Errorf("somebody else's token: %q", got)
	}
}

// Contract §9: a code is good for five minutes and five tries, until another takes its place, and as
// long as there is its resident.
func TestMovesEnd(t *testing.T) {
	ctx := context.Background()
	guess := func(n int) func(*residents.Residents, *clock, gateway.ResidentID, gateway.Secret) error {
		return func(r *residents.Residents, _ *clock, _ gateway.ResidentID, _ gateway.Secret) error {
			for range n {
				if _, err := moves(r, gateway.NewSecret("12345"), "K"); !errors.Is(err, residents.ErrSecret) { // no code has five digits
					return fmt.Errorf("a guess: %w", err)
				}
			}
			return nil
		}
	}
	for name, tt := range map[string]struct {
		happens func(*residents.Residents, *clock, gateway.ResidentID, gateway.Secret) error
		want    error
		old     string // whom the old token is good for then
	}{
		"four tries": {guess(4), nil, ""},
		"five tries": {guess(5), residents.ErrNoWindow, "Ada"},
		"five minutes": {func(_ *residents.Residents, c *clock, _ gateway.ResidentID, _ gateway.Secret) error {
			c.add(residents.MoveFor)
			return nil
		}, residents.ErrNoWindow, "Ada"},
		"another code": {func(r *residents.Residents, _ *clock, id gateway.ResidentID, code gateway.Secret) error {
			for moveCode(t, r, id).Reveal() == code.Reveal() { // one in a million is the same
			}
			return nil
		}, residents.ErrSecret, "Ada"},
		"the resident is removed": {func(r *residents.Residents, _ *clock, id gateway.ResidentID, _ gateway.Secret) error {
			err := r.Remove(ctx, id, false)
			if _, guess := moves(r, wrong, "K"); !errors.Is(guess, residents.ErrNoWindow) {
				err = fmt.Errorf("a code is waited for: %w", guess)
			}
			return err
		}, residents.ErrNoWindow, ""},
		"the last resident is not": {func(r *residents.Residents, _ *clock, id gateway.ResidentID, _ gateway.Secret) error {
			if err := r.Remove(ctx, id, true); !errors.Is(err, residents.ErrLast) {
				return fmt.Errorf("removed: %w", err)
			}
			return nil
		}, nil, ""},
		"removed behind the room's back": {func(r *residents.Residents, _ *clock, id gateway.ResidentID, _ gateway.Secret) error {
			_, _, err := r.Memory.Remove(ctx, id, false)
			return err
		}, residents.ErrNoWindow, ""},
		"a window opens and closes": {func(r *residents.Residents, _ *clock, _ gateway.ResidentID, _ gateway.Secret) error {
			r.OpenWindow(gateway.RoleGuest)
			r.CloseWindow(residents.AnyWindow)
			return nil
		}, nil, ""},
		"the memory fails": {func(r *residents.Residents, _ *clock, id gateway.ResidentID, code gateway.Secret) error {
			f := r.Memory.(*residents.Fake)
			f.Fail = errors.New("disk full")
			defer func() { f.Fail = nil }()
			if p, err := moves(r, code, "K"); !errors.Is(err, f.Fail) || p != (residents.Paired{}) {
				return fmt.Errorf("moved: %v, %w", p, err)
			}
			return nil
		}, nil, ""},
	} {
		r, _, c := room()
		ada := settled(t, r, "Ada")
		code := moveCode(t, r, ada.ID)
		if err := tt.happens(r, c, ada.ID, code); err != nil {
			t.Errorf("%s: %v", name, err)
		}
		if _, err := moves(r, code, "K"); !errors.Is(err, tt.want) {
			t.Errorf("%s: %v, want %v", name, err, tt.want)
		}
		if got := who(t, r, ada.Token); got != tt.old {
			t.Errorf("%s: the old token is good for %q, want %q", name, got, tt.old)
		}
	}
}

// Two residents move at once, beside an open window: a wrong secret is a try of each of them, and
// the right one of none.
func TestMovesBesideAWindow(t *testing.T) {
	r, f, _ := room()
	ada, ben := settled(t, r, "Ada"), settled(t, r, "Ben")
	codes := map[gateway.ResidentID]gateway.Secret{ada.ID: moveCode(t, r, ada.ID), ben.ID: moveCode(t, r, ben.ID)}
	for codes[ada.ID].Reveal() == codes[ben.ID].Reveal() {
		codes[ben.ID] = moveCode(t, r, ben.ID)
	}
	secret := r.OpenWindow(gateway.RoleGuest).Secret
	for range 4 {
		if _, err := moves(r, wrong, "K"); !errors.Is(err, residents.ErrSecret) {
			t.Error(err)
		}
	}
	for _, p := range []residents.Paired{ada, ben} {
		if moved, err := moves(r, codes[p.ID], "K of "+string(p.ID)); err != nil || moved.ID != p.ID {
			t.Errorf("%v, %v", moved.ID, err)
		}
	}
	for _, p := range []residents.Paired{ada, ben} {
		if o, _, _, err := f.Find(t.Context(), p.ID); err != nil || o.Key != "K of "+string(p.ID) {
			t.Errorf("%+v, %v", o, err)
		}
	}
	if _, err := r.Pair(t.Context(), residents.Ask{Secret: secret, Name: "Guest"}); err != nil {
		t.Errorf("the window: %v", err)
	}
}

// Of many devices that know a code, one moves.
func TestMoveOnce(t *testing.T) {
	for range 20 {
		r, f, _ := room()
		ada := settled(t, r, "Ada")
		code := moveCode(t, r, ada.ID)
		var mu sync.Mutex
		var all sync.WaitGroup
		var good []residents.Paired
		for i := range 16 {
			all.Go(func() {
				p, err := moves(r, code, fmt.Sprint("K", i))
				mu.Lock()
				defer mu.Unlock()
				switch {
				case err == nil:
					good = append(good, p)
				case !errors.Is(err, residents.ErrNoWindow):
					t.Error(err)
				}
			})
		}
		all.Wait()
		if len(good) != 1 || who(t, r, good[0].Token) != "Ada" || who(t, r, ada.Token) != "" {
			t.Errorf("%d moved", len(good))
		}
		if o, _, _, err := f.Find(t.Context(), ada.ID); err != nil || o.Ver != 2 {
			t.Errorf("%+v, %v", o, err)
		}
	}
}

// The answer to a move may be lost on the way: the same code with the same key is answered again, and
// with no other.
func TestMoveWhoseAnswerIsLost(t *testing.T) {
	r, _, c := room()
	ada := settled(t, r, "Ada")
	code := moveCode(t, r, ada.ID)
	ask := func(key string) residents.Ask {
		return residents.Ask{Secret: code, Name: "icon", JWK: []byte("key " + key)}
	}
	lost, err := r.Pair(t.Context(), ask("K"))
	if err != nil {
		t.Fatal(err)
	}
	if _, err := r.Pair(t.Context(), ask("Eve")); err == nil {
		t.Error("another key takes the code, too")
	}
	again, err := r.Pair(t.Context(), ask("K"))
	if err != nil || again.ID != ada.ID {
		t.Fatalf("%+v, %v", again, err)
	}
	if _, good, _ := r.Authenticate(t.Context(), again.Token); !good {
		t.Error("the token of the second answer is not good")
	}
	if _, good, _ := r.Authenticate(t.Context(), lost.Token); good {
		t.Error("the token that was lost is good still")
	}
	c.add(residents.MoveFor)
	if _, err := r.Pair(t.Context(), ask("K")); err == nil {
		t.Error("the code outlives its time")
	}
}

// Ten moves of a device in a day are enough: each is a line on the disk for good.
func TestMovesInADay(t *testing.T) {
	r, _, c := room()
	ada, ben := settled(t, r, "Ada"), settled(t, r, "Ben")
	for range 10 {
		moveCode(t, r, ada.ID)
	}
	if _, err := r.Move(ada.ID); !errors.Is(err, residents.ErrMoves) {
		t.Errorf("the eleventh: %v", err)
	}
	moveCode(t, r, ben.ID)
	c.add(24*time.Hour + 1)
	moveCode(t, r, ada.ID)
}
