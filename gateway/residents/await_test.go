package residents_test

import (
	"context"
	"testing"
	"testing/synctest"
	"time"

	"gardien/gateway"
	"gardien/gateway/residents"
	"gardien/gateway/wallclock"
)

// W5: whoever opened a window waits until a device has paired or the window has ended, and not a
// moment longer.
func TestW5_Await(t *testing.T) {
	for name, tt := range map[string]struct {
		happens func(t *testing.T, r *residents.Residents, secret gateway.Secret) // a minute after the window opened
		after   time.Duration                                                     // since it opened
		want    string
		open    bool
	}{
		"a device pairs": {func(t *testing.T, r *residents.Residents, secret gateway.Secret) {
			if _, err := r.Pair(t.Context(), residents.Ask{Secret: secret, Name: "Ada"}); err != nil {
				t.Error(err)
			}
		}, time.Minute, "Ada", true},
		"the window is closed": {func(_ *testing.T, r *residents.Residents, _ gateway.Secret) { r.CloseWindow(residents.AnyWindow) }, time.Minute, "", false},
		"nine guesses": {func(t *testing.T, r *residents.Residents, _ gateway.Secret) {
			for range 9 {
				r.Pair(t.Context(), residents.Ask{Secret: wrong, Name: "Ada"})
			}
		}, residents.WindowFor, "", false},
		"ten guesses": {func(t *testing.T, r *residents.Residents, _ gateway.Secret) {
			for range 10 {
				r.Pair(t.Context(), residents.Ask{Secret: wrong, Name: "Ada"})
			}
		}, time.Minute, "", false},
		"nothing": {func(*testing.T, *residents.Residents, gateway.Secret) {}, residents.WindowFor, "", false},
		"a device pairs in the next window": {func(t *testing.T, r *residents.Residents, _ gateway.Secret) {
			if _, err := r.Pair(t.Context(), residents.Ask{Secret: r.OpenWindow(gateway.RoleGuest).Secret, Name: "Ben"}); err != nil {
				t.Error(err)
			}
		}, time.Minute, "Ben", true},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				r := residents.New(opts(&residents.Fake{}, wallclock.NewFake()))
				time.Sleep(time.Hour) // of the bubble: the process has run
				if w := r.Await(t.Context(), residents.AnyWindow); w != (residents.Waiting{}) {
					t.Errorf("no window: %+v", w)
				}
				secret, opened := r.OpenWindow(gateway.RoleResident).Secret, time.Now()
				got := make(chan residents.Waiting)
				for range 2 { // a second one waits, too
					go func() { got <- r.Await(t.Context(), residents.AnyWindow) }()
				}
				time.Sleep(time.Minute)
				synctest.Wait()
				tt.happens(t, r, secret)
				for range 2 {
					w := <-got
					if after := time.Since(opened); after != tt.after || w.Name != tt.want || w.Open != tt.open || (w.Code == "") != (w.Name == "") || (w.ID == "") != (w.Name == "") {
						t.Errorf("after %v: %+v", after, w)
					}
				}
			})
		})
	}
}

// Await ends with whoever asks, and says what is left of the window's time; who comes later is told
// at once.
func TestAwaitOf(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := residents.New(opts(&residents.Fake{}, wallclock.NewFake()))
		secret := r.OpenWindow(gateway.RoleResident).Secret
		ctx, cancel := context.WithTimeout(t.Context(), 2*time.Minute)
		defer cancel()
		if w := r.Await(ctx, residents.AnyWindow); w != (residents.Waiting{Open: true, Left: 3 * time.Minute}) {
			t.Errorf("given up: %+v", w)
		}
		p, err := r.Pair(t.Context(), residents.Ask{Secret: secret, Name: "Ada"})
		if err != nil {
			t.Fatal(err)
		}
		if w := r.Await(t.Context(), residents.AnyWindow); !w.Open || w.Left != 3*time.Minute || w.ID != p.ID || w.Name != "Ada" || w.Code != p.Code {
			t.Errorf("%+v, want %+v", w, p)
		}
		if err := r.Confirm(t.Context(), p.ID); err != nil {
			t.Fatal(err)
		}
		if w := r.Await(t.Context(), residents.AnyWindow); w.Open {
			t.Errorf("confirmed: %+v", w)
		}
	})
}
