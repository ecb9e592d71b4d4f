package access_test

import (
	"context"
	"testing"
	"time"

	"gardien/gateway"
	"gardien/gateway/access"
	"gardien/gateway/tokens"
	"gardien/store"
)

// TestA7_HoldsForOneEntry: whoever has the key of the grant that an attempt was let in by may prove
// so, for its door, by a nonce that is good once, and now. What is made up asks the memory nothing
// (I1).
func TestA7_HoldsForOneEntry(t *testing.T) {
	live(t, nil, func(h *house) {
		holder, err := tokens.GenerateES256()
		h.check(err)
		other, err := tokens.GenerateES256()
		h.check(err)
		text := h.grant("g", func(g *gateway.Grant) { g.Holder = holder.KeyID() })
		out := h.lan("front", text, holder)
		if out.Reason != "" {
			t.Fatal(out.Reason)
		}
		sign := func(key *tokens.SigningKey, door gateway.DoorID, nonce string, at time.Time) gateway.Secret {
			t.Helper()
			p, err := tokens.SignProof(key, nonce, h.id.ID, door, "not at hand", at)
			h.check(err)
			return gateway.NewSecret(p)
		}
		nonce := func() string {
			t.Helper()
			n, err := h.Nonces.New("10.0.0.1", h.clock.Read().SinceBoot)
			h.check(err)
			return n
		}
		holds := func(a gateway.AttemptID, proof gateway.Secret) bool {
			t.Helper()
			ok, err := h.Entries.Holds(h.t.Context(), a, proof)
			h.check(err)
			return ok
		}
		if holds(out.Attempt, sign(holder, "front", nonce(), time.Now())) {
			t.Error("while the release runs there is no entry to speak of")
		}
		h.doors.Secure("front")
		h.check(h.store.Update(h.t.Context(), func(tx *store.Tx) error {
			return tx.Record.Append(gateway.StrikeSecured.Of(gateway.Attempt{ID: out.Attempt, Door: "front"}))
		}))
		good := sign(holder, "front", nonce(), time.Now())
		if !holds(out.Attempt, good) {
			t.Error("the holder")
		}
		for what, is := range map[string]bool{
			"the same proof again":         holds(out.Attempt, good),
			"another's key":                holds(out.Attempt, sign(other, "front", nonce(), time.Now())),
			"another door":                 holds(out.Attempt, sign(holder, "side", nonce(), time.Now())),
			"another attempt":              holds(gateway.NewAttemptID(), sign(holder, "front", nonce(), time.Now())),
			"a nonce of nobody":            holds(out.Attempt, sign(holder, "front", "AAAAAAAAAAAAAAAAAAAAAA", time.Now())),
			"a proof of six minutes ago":   holds(out.Attempt, sign(holder, "front", nonce(), time.Now().Add(-6*time.Minute))),
			"a proof of six minutes hence": holds(out.Attempt, sign(holder, "front", nonce(), time.Now().Add(6*time.Minute))),
			"no proof":                     holds(out.Attempt, gateway.NewSecret("x.y.z")),
			"none at all":                  holds(out.Attempt, gateway.Secret{}),
		} {
			if is {
				t.Errorf("%s is taken", what)
			}
		}
		gone, cancel := context.WithCancel(h.t.Context()) // whoever asks the memory for one who has gone gets an error
		cancel()
		if _, err := h.Entries.Holds(gone, out.Attempt, sign(holder, "front", nonce(), time.Now())); err == nil {
			t.Error("a good proof asks nobody")
		}
		for _, made := range []gateway.Secret{good, gateway.NewSecret("x.y.z"), sign(holder, "front", nonce(), time.Now().Add(-6*time.Minute)),
			gateway.NewSecret(sign(holder, "front", nonce(), time.Now()).Reveal() + "A")} {
			if _, err := h.Entries.Holds(gone, out.Attempt, made); err != nil {
				t.Errorf("a bad proof asks the memory: %v", err)
			}
		}
	})
}

// TestGoesOn: an entry is not over while the door is released for it, nor while it may be tried again.
func TestGoesOn(t *testing.T) {
	live(t, nil, func(h *house) {
		_, pin := h.home(access.HomeGrant{PIN: true, Uses: 1})
		out := h.Present(h.t.Context(), "front", "front-pad", gateway.PINCredential{PIN: pin})
		is := func(want bool, when string) {
			t.Helper()
			if got := h.Entries.GoesOn(out.Attempt, "front"); got != want {
				t.Errorf("%s: %v", when, got)
			}
		}
		is(true, "released")
		if h.Entries.GoesOn(gateway.NewAttemptID(), "front") || h.Entries.GoesOn(out.Attempt, "side") || h.Entries.GoesOn(out.Attempt, "nosuch") {
			t.Error("another's")
		}
		h.doors.Secure("front")
		is(true, "nobody came, and may try again")
		time.Sleep(3 * time.Minute)
		is(true, "at the last instant")
		time.Sleep(time.Nanosecond)
		is(false, "after that")
	})
}
