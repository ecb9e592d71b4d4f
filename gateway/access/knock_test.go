package access_test

import (
	"testing"
	"time"

	"gardien/gateway"
)

// residentsTime is how long residents have to say no here.
const residentsTime = 2 * time.Minute

func asked(p *gateway.Policy) { p.Knock = residentsTime }

// The courier waits, and comes in when nobody says no. The reader does not wait: a resident
// comes in meanwhile, and what the courier types again is not kept.
func TestKnock(t *testing.T) {
	live(t, asked, func(h *house) {
		text := h.grant("g1", nil)
		begun := time.Now()
		for range 3 {
			if r := h.scan(text); r != gateway.Knock {
				t.Errorf("%q at once", r)
			}
		}
		if o := h.Present(h.t.Context(), "front", "app", gateway.ResidentCredential{Resident: "r"}); !o.Granted || time.Since(begun) > 0 {
			t.Errorf("a resident: %+v after %v", o, time.Since(begun))
		}
		h.doors.Pass("front")
		time.Sleep(residentsTime - time.Second)
		h.told(gateway.KnockedEvent, gateway.AccessGranted)
		time.Sleep(time.Second)
		h.told(gateway.KnockedEvent, gateway.AccessGranted, gateway.AccessGranted)
		if h.Veto(h.t.Context(), "front") {
			t.Error("a veto against nobody")
		}
		if n := h.used("g1"); n != 1 {
			t.Errorf("used %d", n)
		}
		if r := h.scan(text); r != "" {
			t.Errorf("while it is released: %q", r)
		}
		h.doors.Pass("front")
		if r := h.scan(text); r != gateway.UsesSpent {
			t.Errorf("once more: %q", r)
		}
	})
}

// A veto ends the wait at once, spends nothing, and holds for whoever comes next.
func TestVeto(t *testing.T) {
	live(t, asked, func(h *house) {
		text, other := h.grant("g1", nil), h.grant("g2", nil)
		h.scan(text)
		if !h.Veto(h.t.Context(), "front") {
			t.Error("nobody knocks")
		}
		h.told(gateway.KnockedEvent, gateway.AccessDenied)
		for _, s := range []string{text, other} {
			if r := h.scan(s); r != gateway.Vetoed {
				t.Errorf("then: %q", r)
			}
		}
		if n := h.used("g1"); n != 0 {
			t.Errorf("used %d", n)
		}
		h.told(gateway.KnockedEvent, gateway.AccessDenied, gateway.AccessDenied, gateway.AccessDenied)
	})
}

// A courier's knock is not another's; the bell is everybody's, once.
func TestKnockOfTwo(t *testing.T) {
	live(t, asked, func(h *house) {
		one, two := h.grant("g1", nil), h.grant("g2", nil)
		h.scan(one)
		time.Sleep(residentsTime)
		h.told(gateway.KnockedEvent, gateway.AccessGranted)
		h.doors.Pass("front")
		if r := h.scan(two); r != gateway.Knock {
			t.Errorf("the second rides on the first one's knock: %q", r)
		}
		time.Sleep(residentsTime)
		h.told(gateway.KnockedEvent, gateway.AccessGranted, gateway.KnockedEvent, gateway.AccessGranted)
		h.Ring("front")
		time.Sleep(residentsTime)
		if r := h.scan(h.grant("g3", nil)); r != "" {
			t.Errorf("rang before: %q", r)
		}
		if r := h.scan(h.grant("g4", nil)); r != gateway.Knock {
			t.Errorf("the bell was another's: %q", r)
		}
	})
}

// Each command has an id of its own and is good once: it is the issuer who knocks with them.
func TestKnockWithCommands(t *testing.T) {
	live(t, func(p *gateway.Policy) { p.Knock, p.RemoteUnlock = residentsTime, true }, func(h *house) {
		time.Sleep(2 * time.Second) // a command from before this process is over
		command := func(jti string) gateway.Reason {
			now := time.Now().Truncate(time.Second)
			m := gateway.Command{Issuer: colisX, JTI: jti, Door: "front", IssuedAt: now, NotAfter: now.Add(25 * time.Second)}
			return h.Present(h.t.Context(), "front", gateway.ReaderApp, gateway.CommandCredential{Command: m}).Reason
		}
		if r := command("one"); r != gateway.Knock {
			t.Errorf("the first: %q", r)
		}
		if r := command("one"); r != gateway.UsesSpent {
			t.Errorf("the first again: %q", r)
		}
		h.told(gateway.KnockedEvent, gateway.AccessDenied, gateway.AccessDenied)
		time.Sleep(residentsTime)
		if r := command("two"); r != "" {
			t.Errorf("after the residents' time: %q", r)
		}
		if h.Veto(h.t.Context(), "front") {
			t.Error("a veto against nobody")
		}
	})
}
