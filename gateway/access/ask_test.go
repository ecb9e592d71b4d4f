package access_test

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"testing"
	"testing/synctest"
	"time"

	"gardien/gateway"
	"gardien/gateway/access"
)

func mustApprove(p *gateway.Policy) { p.Approval = gateway.SilenceDenies }

// asks presents a grant that has to wait for the residents, and gives its attempt.
func (h *house) asks(text string) gateway.AttemptID {
	h.t.Helper()
	o := h.presents(text)
	if !o.Pending || o.Granted || o.Reason != gateway.NotApproved {
		h.t.Fatalf("%+v, want it to wait", o)
	}
	return o.Attempt
}

func (h *house) presents(text string) access.Outcome {
	return h.Present(h.t.Context(), "front", "scanner", gateway.GrantCredential{Text: gateway.NewSecret(text)})
}

// became holds what came of an attempt against a reason; "" is granted.
func (h *house) became(id gateway.AttemptID, want gateway.Reason) {
	h.t.Helper()
	door, o, settled, found := h.Asks.Outcome(id)
	if !found || door != "front" || o.Pending || o.Granted != (want == "") || o.Reason != want {
		h.t.Errorf("it became %+v (found %v), want %q", o, found, want)
	}
	select {
	case <-settled:
	default:
		h.t.Error("whoever waits for the outcome waits for ever")
	}
}

// An attempt waits, a resident approves, and only then it is spent and let in. The first answer
// counts.
func TestAskFirst(t *testing.T) {
	live(t, mustApprove, func(h *house) {
		id := h.asks(h.grant("g1", nil))
		if got := h.doors.Shown(); !slices.Equal(got, []gateway.Signal{gateway.SignalWait}) {
			h.t.Errorf("shown %v", got)
		}
		if w := h.Asks.AtDoor("front"); w == nil || w.Attempt != id || !w.Asks || time.Until(w.Until) != time.Minute {
			h.t.Errorf("at the door: %+v", w)
		}
		if n, in := h.used("g1"), len(h.doors.Released()); n+in != 0 {
			h.t.Errorf("used %d, let in %d before anybody approved", n, in)
		}
		h.check(h.Asks.Approve(h.t.Context(), id, "ada"))
		h.became(id, "")
		h.told(gateway.ApprovalAsked, gateway.ApprovalGiven, gateway.AccessGranted)
		for _, e := range h.events() {
			if e.Attempt != id || e.Episode != id || (e.Resident == "ada") != (e.Type == gateway.ApprovalGiven) {
				h.t.Errorf("%+v", e)
			}
		}
		for _, answer := range []func(context.Context, gateway.AttemptID, gateway.ResidentID) error{h.Asks.Approve, h.Asks.Deny} {
			if err := answer(h.t.Context(), id, "bob"); !errors.Is(err, access.ErrAnswered) {
				h.t.Errorf("the second answer: %v", err)
			}
			if err := answer(h.t.Context(), gateway.NewAttemptID(), "bob"); !errors.Is(err, access.ErrNotAsked) {
				h.t.Errorf("of nobody: %v", err)
			}
		}
		if n := len(h.doors.Released()); n != 1 || h.used("g1") != 1 || h.Asks.AtDoor("front") != nil {
			h.t.Errorf("let in %d times, used %d", n, h.used("g1"))
		}
		time.Sleep(4 * time.Minute)
		if _, _, _, found := h.Asks.Outcome(id); found {
			h.t.Error("the outcome is kept for ever")
		}
	})
}

// Of many residents who answer at once, one is heard, and the door opens at most once.
func TestAskFirst_FirstAnswerCounts(t *testing.T) {
	live(t, mustApprove, func(h *house) {
		id := h.asks(h.grant("g1", nil))
		results := make(chan error)
		for i := range 20 {
			answer := h.Asks.Approve
			if i%2 == 1 {
				answer = h.Asks.Deny
			}
			go func() { results <- answer(h.t.Context(), id, "ada") }()
		}
		heard := 0
		for range 20 {
			if err := <-results; err == nil {
				heard++
			} else if !errors.Is(err, access.ErrAnswered) {
				h.t.Error(err)
			}
		}
		if n := len(h.doors.Released()); heard != 1 || n > 1 {
			h.t.Errorf("%d answers were heard, %d were let in", heard, n)
		}
	})
}

// A no ends the wait, spends nothing, and keeps the grant out of every door (I7).
func TestI7_DeniedIsVetoed(t *testing.T) {
	live(t, mustApprove, func(h *house) {
		both := func(g *gateway.Grant) { g.Doors = []gateway.DoorID{"front", "side"} }
		text := h.grant("g1", both)
		id := h.asks(text)
		h.check(h.Asks.Deny(h.t.Context(), id, "ada"))
		h.became(id, gateway.Vetoed)
		h.told(gateway.ApprovalAsked, gateway.ApprovalDenied, gateway.AccessDenied)
		for _, door := range []gateway.DoorID{"front", "side"} {
			o := h.Present(h.t.Context(), door, "scanner", gateway.GrantCredential{Text: gateway.NewSecret(text)})
			if o.Pending || o.Reason != gateway.Vetoed {
				h.t.Errorf("then at %s: %+v", door, o)
			}
		}
		if o := h.presents(h.grant("g2", nil)); !o.Pending {
			h.t.Errorf("another grant: %+v", o)
		}
		if h.used("g1") != 0 {
			h.t.Error("it is spent")
		}
	})
}

// Nobody answers: the policy says what that means.
func TestAskFirst_Silence(t *testing.T) {
	for silence, want := range map[gateway.Approval]gateway.Reason{gateway.SilenceDenies: gateway.NotApproved, gateway.SilenceOpens: ""} {
		live(t, func(p *gateway.Policy) { p.Approval = silence }, func(h *house) {
			id := h.asks(h.grant("g1", nil))
			time.Sleep(time.Minute - time.Second)
			synctest.Wait()
			if _, o, _, _ := h.Asks.Outcome(id); !o.Pending {
				h.t.Errorf("before their time is over: %+v", o)
			}
			time.Sleep(time.Second)
			synctest.Wait()
			h.became(id, want)
			if err := h.Asks.Approve(h.t.Context(), id, "ada"); !errors.Is(err, access.ErrAnswered) {
				h.t.Errorf("an approval after that: %v", err)
			}
			if in := len(h.doors.Released()); in != h.used("g1") || (in == 1) != (want == "") {
				h.t.Errorf("%s: let in %d, used %d", silence, in, h.used("g1"))
			}
		})
	}
}

// What has changed while it waited counts: the whole judgement is made again.
func TestAskFirst_JudgedAgain(t *testing.T) {
	for what, tc := range map[string]struct {
		change func(*house)
		want   gateway.Reason
	}{
		"revoked": {func(h *house) {
			h.takes(h.grant("g1", func(g *gateway.Grant) { g.Version, g.Status = 2, gateway.GrantRevoked }), "accepted")
		}, gateway.Revoked},
		"blocked by a resident": {func(h *house) {
			_, err := h.Block(h.t.Context(), gateway.GrantID{Issuer: colisX, JTI: "g1"}, "ada")
			h.check(err)
		}, gateway.Revoked},
		"over":    {func(h *house) { time.Sleep(40 * time.Second) }, gateway.Expired},
		"paused":  {func(h *house) { h.pauseIssuer(&gateway.Pause{}) }, gateway.IssuerPaused},
		"blocked": {func(h *house) { h.doors.Set(gateway.DoorView{ID: "front", Blocked: true}) }, gateway.DoorBlocked},
		"spent elsewhere": {func(h *house) {
			h.rules.Issuers[colisX] = gateway.Issuer{ID: colisX, Policy: gateway.Policy{Doors: []gateway.DoorID{"front", "side"}, Bearer: true}}
			h.SetRules(h.rules)
			if o := h.presents(h.grant("g1", nil)); !o.Granted {
				h.t.Fatalf("%+v", o)
			}
			h.doors.Pass("front")
		}, gateway.UsesSpent},
	} {
		t.Run(what, func(t *testing.T) {
			live(t, mustApprove, func(h *house) {
				text := h.grant("g1", func(g *gateway.Grant) {
					if what == "over" {
						g.NotAfter = g.NotBefore.Add(30 * time.Second)
					}
				})
				id := h.asks(text)
				tc.change(h)
				before := len(h.doors.Released())
				h.check(h.Asks.Approve(h.t.Context(), id, "ada"))
				h.became(id, tc.want)
				if n := len(h.doors.Released()); n != before {
					h.t.Error("it was let in")
				}
				list := h.events()
				if n := len(list); list[n-1].Type != gateway.AccessDenied || list[n-1].Reason != tc.want || !slices.ContainsFunc(list, func(e gateway.Event) bool { return e.Type == gateway.ApprovalGiven }) {
					h.t.Errorf("the record ends with %+v", list[n-1])
				}
			})
		})
	}
}

// A PIN that is revoked while it waits is no wrong PIN: nobody guessed.
func TestAskFirst_PIN(t *testing.T) {
	live(t, nil, func(h *house) {
		id, pin := h.home(access.HomeGrant{PIN: true, Approval: gateway.SilenceDenies})
		types := func() access.Outcome {
			return h.Present(h.t.Context(), "front", "front-pad", gateway.PINCredential{PIN: pin})
		}
		first := types()
		if again := types(); !first.Pending || again.Attempt != first.Attempt || !again.Pending {
			h.t.Errorf("%+v, then %+v", first, again)
		}
		h.check(h.Asks.Approve(h.t.Context(), first.Attempt, ""))
		h.became(first.Attempt, "")
		h.doors.Pass("front")
		second := types()
		found, err := h.Revoke(h.t.Context(), id, "ada")
		if h.check(err); !found {
			h.t.Fatal("no grant")
		}
		h.check(h.Asks.Approve(h.t.Context(), second.Attempt, "ada"))
		h.became(second.Attempt, gateway.Revoked)
		check := func(tx access.Tx) error {
			if th := tx.House.Throttle("front-pad"); th.Failures != 0 {
				h.t.Errorf("%d failures", th.Failures)
			}
			return nil
		}
		h.check(ledger{store: h.store}.View(h.t.Context(), check))
		h.told(gateway.ApprovalAsked, gateway.ApprovalGiven, gateway.AccessGranted, gateway.ApprovalAsked, gateway.GrantRevokedOn, gateway.ApprovalGiven, gateway.AccessDenied)
	})
}

// Residents are asked three times an hour by an issuer, whatever it presents (I2); another issuer's
// and home's asks do not suffer.
func TestI2_FloodOfAsks(t *testing.T) {
	live(t, mustApprove, func(h *house) {
		var ids []gateway.AttemptID
		for i := range 3 {
			ids = append(ids, h.asks(h.grant(fmt.Sprint("g", i), nil)))
		}
		for i := range 100 {
			if o := h.presents(h.grant(fmt.Sprint("more", i), nil)); o.Pending || o.Reason != gateway.NotApproved {
				h.t.Fatalf("number %d: %+v", i, o)
			}
		}
		asked := 0
		for _, e := range h.events() {
			if e.Type == gateway.ApprovalAsked {
				asked++
			}
		}
		if asked != 3 {
			h.t.Errorf("residents were asked %d times", asked)
		}
		home, pin := h.home(access.HomeGrant{PIN: true, Approval: gateway.SilenceDenies})
		if o := h.Present(h.t.Context(), "front", "front-pad", gateway.PINCredential{PIN: pin}); !o.Pending {
			h.t.Errorf("home's %s: %+v", home, o)
		}
		h.check(h.Asks.Approve(h.t.Context(), ids[0], "ada"))
		h.became(ids[0], "")
		time.Sleep(time.Hour)
		h.asks(h.grant("later", nil))
	})
}

// The door's veto denies whoever asks there.
func TestAskFirst_Veto(t *testing.T) {
	live(t, mustApprove, func(h *house) {
		id := h.asks(h.grant("g1", nil))
		if h.Veto(h.t.Context(), "side") {
			h.t.Error("somebody at the side door")
		}
		if !h.Veto(h.t.Context(), "front") {
			h.t.Error("nobody at the front door")
		}
		h.became(id, gateway.Vetoed)
		if err := h.Asks.Approve(h.t.Context(), id, "ada"); !errors.Is(err, access.ErrAnswered) {
			h.t.Errorf("an approval after that: %v", err)
		}
		if o := h.presents(h.grant("g2", nil)); o.Reason != gateway.Vetoed {
			h.t.Errorf("whoever comes next: %+v", o)
		}
	})
}

// A stop ends what waits: nobody is let in by what was asked before, and the record says so.
func TestAskFirst_Restart(t *testing.T) {
	live(t, func(p *gateway.Policy) { p.Approval = gateway.SilenceOpens }, func(h *house) {
		text := h.grant("g1", nil)
		id := h.asks(text)
		old := h.Controller
		h.stop()
		if err := old.Asks.Approve(h.t.Context(), id, "ada"); !errors.Is(err, access.ErrAnswered) {
			h.t.Errorf("an approval at the stop: %v", err)
		}
		h.start()
		time.Sleep(2 * time.Minute)
		synctest.Wait()
		if err := h.Asks.Approve(h.t.Context(), id, "ada"); !errors.Is(err, access.ErrNotAsked) {
			h.t.Errorf("an approval after the restart: %v", err)
		}
		if n := len(h.doors.Released()) + h.used("g1"); n != 0 {
			h.t.Error("it was let in")
		}
		h.told(gateway.ApprovalAsked, gateway.AccessDenied)
		h.asks(text)
	})
}

// A command asks as long as it lives. One that is approved in time is carried out once; one that is
// not is over, and is not asked for again (F10).
func TestF10_CommandsAsk(t *testing.T) {
	live(t, func(p *gateway.Policy) { p.Approval, p.RemoteUnlock = gateway.SilenceOpens, true }, func(h *house) {
		time.Sleep(2 * time.Second) // a command from before this process is over
		command := func(jti string) access.Outcome {
			now := time.Now().Truncate(time.Second)
			m := gateway.Command{Issuer: colisX, JTI: jti, Door: "front", IssuedAt: now, NotAfter: now.Add(25 * time.Second)}
			return h.Present(h.t.Context(), "front", gateway.ReaderApp, gateway.CommandCredential{Command: m})
		}
		one := command("one")
		if again := command("one"); !one.Pending || again.Pending || again.Reason != gateway.UsesSpent {
			h.t.Errorf("%+v, then %+v", one, again)
		}
		time.Sleep(20 * time.Second)
		h.check(h.Asks.Approve(h.t.Context(), one.Attempt, "ada"))
		h.became(one.Attempt, "")
		h.doors.Pass("front")
		two := command("two")
		time.Sleep(26 * time.Second)
		synctest.Wait()
		h.became(two.Attempt, gateway.Expired)
		if n := len(h.doors.Released()); n != 1 {
			h.t.Errorf("let in %d times", n)
		}
	})
}

// A retry of an entry that residents let in asks nobody.
func TestAskFirst_Retry(t *testing.T) {
	live(t, mustApprove, func(h *house) {
		text := h.grant("g1", nil)
		id := h.asks(text)
		h.check(h.Asks.Approve(h.t.Context(), id, "ada"))
		h.doors.Secure("front")
		if o := h.presents(text); !o.Granted || o.Attempt != id {
			h.t.Errorf("the retry: %+v", o)
		}
	})
}

// Nobody answers an ask that is not in the record: neither before it is written, nor where it cannot be.
func TestAskFirst_ToldBeforeAnswered(t *testing.T) {
	for _, fails := range []bool{false, true} {
		live(t, mustApprove, func(h *house) {
			h.follow = func() error {
				if w := h.Asks.AtDoor("front"); w != nil {
					h.t.Errorf("at the door already: %+v", w)
				}
				if h.Veto(h.t.Context(), "front") {
					h.t.Error("vetoed already")
				}
				if fails {
					return errors.New("the disk is full")
				}
				return nil
			}
			o := h.presents(h.grant("g1", nil))
			if fails {
				if o.Pending || o.Reason != gateway.Fault {
					h.t.Errorf("%+v", o)
				}
				if err := h.Asks.Approve(h.t.Context(), o.Attempt, "ada"); !errors.Is(err, access.ErrNotAsked) {
					h.t.Errorf("an approval of what nobody was told: %v", err)
				}
				if len(h.doors.Released()) > 0 {
					h.t.Error("it was let in")
				}
				return
			}
			h.check(h.Asks.Approve(h.t.Context(), o.Attempt, "ada"))
			h.told(gateway.ApprovalAsked, gateway.ApprovalGiven, gateway.AccessGranted)
		})
	}
}

// I7: a no to a command keeps the grant of its name out, too.
func TestI7_DeniedCommand(t *testing.T) {
	live(t, func(p *gateway.Policy) { p.Approval, p.RemoteUnlock = gateway.SilenceOpens, true }, func(h *house) {
		time.Sleep(2 * time.Second) // a command from before this process is over
		text := h.grant("c1", nil)
		h.takes(text, "accepted")
		o := h.command("front", "c1")
		if w := h.Asks.AtDoor("front"); w == nil || w.Grant != (gateway.GrantID{Issuer: colisX}) {
			h.t.Errorf("at the door: %+v", w)
		}
		h.check(h.Asks.Deny(h.t.Context(), o.Attempt, "ada"))
		if g := h.presents(text); g.Pending || g.Reason != gateway.Vetoed {
			h.t.Errorf("then the grant: %+v", g)
		}
		if n := h.command("front", "c2"); n.Reason != gateway.Vetoed {
			h.t.Errorf("then another command: %+v", n)
		}
	})
}

// Whoever was let into the hall asks at the flat, too: that is one of no three asks an hour, and all
// of it is one episode.
func TestAskFirst_HallAndFlat(t *testing.T) {
	live(t, mustApprove, func(h *house) {
		var first gateway.AttemptID
		for i := range 3 {
			text := h.grant(fmt.Sprint("g", i), hallAndFlat)
			for _, door := range []gateway.DoorID{"front", "side"} {
				o := h.presentsAt(door, text)
				if !o.Pending {
					h.t.Fatalf("courier %d at %s: %+v", i, door, o)
				}
				if door == "front" {
					first = o.Attempt
				}
				h.check(h.Asks.Approve(h.t.Context(), o.Attempt, "ada"))
				h.doors.Pass(door)
			}
			list := h.events()
			for _, e := range list[len(list)-3:] {
				if e.Door != "side" || e.Episode != first {
					h.t.Errorf("%+v, want episode %s", e, first)
				}
			}
		}
		if o := h.presents(h.grant("more", nil)); o.Pending {
			h.t.Errorf("a fourth: %+v", o)
		}
	})
}

// The latch fails after the yes: the record has the yes once.
func TestAskFirst_LatchFails(t *testing.T) {
	live(t, mustApprove, func(h *house) {
		id := h.asks(h.grant("g1", nil))
		h.doors.Fail(gateway.ErrFault)
		h.check(h.Asks.Approve(h.t.Context(), id, "ada"))
		h.became(id, gateway.Fault)
		h.told(gateway.ApprovalAsked, gateway.ApprovalGiven, gateway.AccessGranted, gateway.AccessDenied)
	})
}

// Explain tells that residents are asked, and that one of them said no.
func TestExplainApproval(t *testing.T) {
	live(t, mustApprove, func(h *house) {
		explained := func() (verdict gateway.Reason, found bool) {
			x, _, err := h.Explain(h.t.Context(), gateway.GrantID{Issuer: colisX, JTI: "g1"}, "front", h.clock.Read().Wall)
			h.check(err)
			return x.Verdict, slices.ContainsFunc(x.Checks, func(c access.Check) bool { return c.Name == "residents say yes" })
		}
		id := h.asks(h.grant("g1", nil))
		if v, found := explained(); v != "" || !found {
			h.t.Errorf("%q, told %v", v, found)
		}
		h.check(h.Asks.Deny(h.t.Context(), id, "ada"))
		if v, _ := explained(); v != gateway.Vetoed {
			h.t.Errorf("after a no: %q", v)
		}
	})
}
