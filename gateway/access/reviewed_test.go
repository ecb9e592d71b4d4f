package access_test

import (
	"testing"
	"time"

	"gardien/gateway"
	"gardien/gateway/access"
	"gardien/store"
)

// TestI2_CardsWithoutLeave: an issuer that may use no cards learns of none, and keeps none from
// anybody.
func TestI2_CardsWithoutLeave(t *testing.T) {
	live(t, nil, func(h *house) {
		h.home(access.HomeGrant{Card: gateway.NewCard(26, 123, 7)})
		for n, jti := range map[uint64]string{7: "taken", 8: "free"} {
			h.takes(h.grant(jti, func(g *gateway.Grant) { g.Card = gateway.NewCard(26, 123, n) }), "accepted")
		}
		if r := h.card(7); r != "" {
			h.t.Errorf("the resident's card: %q", r)
		}
		if r := h.card(8); r != gateway.BeyondPolicy {
			h.t.Errorf("the carrier's card: %q", r)
		}
		h.home(access.HomeGrant{Card: gateway.NewCard(26, 123, 8)})
		if r := h.card(8); r != "" {
			h.t.Errorf("a resident enrols that card: %q", r)
		}
	})
}

// TestR3_CodesOfTheUnconfirmed: the own PIN of a resident who is not confirmed opens nothing, and
// ends no run of failures.
func TestR3_CodesOfTheUnconfirmed(t *testing.T) {
	live(t, nil, func(h *house) {
		_, own := h.home(access.HomeGrant{PIN: true, Owner: "ben"})
		_, duress := h.home(access.HomeGrant{PIN: true, Duress: "ben"})
		h.check(h.store.Update(h.t.Context(), func(tx *store.Tx) error {
			return tx.Residents.Put(gateway.Resident{ID: "ben", Name: "Ben", PairedAt: time.Now(), Unconfirmed: true}, []byte("token"))
		}))
		for _, pin := range []gateway.PIN{own, duress} {
			if r := h.types("front", pin); r != gateway.WrongPIN {
				h.t.Errorf("not confirmed: %q", r)
			}
		}
		h.check(h.store.Update(h.t.Context(), func(tx *store.Tx) error { tx.Residents.Confirm("ben"); return tx.Err() }))
		if r := h.types("front", own); r != "" {
			h.t.Errorf("confirmed: %q", r)
		}
	})
}

// TestP3_PauseTellsNothing: while third parties' PINs pause at a reader, it answers a good one and a
// guess in the same way.
func TestP3_PauseTellsNothing(t *testing.T) {
	live(t, nil, func(h *house) {
		pin := h.thirdPIN("g1")
		h.wrong(50)
		time.Sleep(15 * time.Minute)
		guess := gateway.DrawPIN(8)
		for _, p := range []gateway.PIN{pin, guess, pin, guess, guess, pin} {
			if r := h.types("front", p); r != gateway.LockedOut {
				h.t.Errorf("%q", r)
			}
		}
	})
}

// TestI7_VetoHoldsForCommands: whoever was told no at one door finds no other by a command.
func TestI7_VetoHoldsForCommands(t *testing.T) {
	live(t, func(p *gateway.Policy) { p.Knock, p.RemoteUnlock = time.Minute, true }, func(h *house) {
		parcel := h.grant("g1", nil)
		h.takes(parcel, "accepted")
		command := func(jti string) gateway.Reason {
			now := time.Now().Truncate(time.Second)
			return h.Present(h.t.Context(), "side", gateway.ReaderApp, gateway.CommandCredential{Command: gateway.Command{
				Issuer: colisX, JTI: jti, IssuedAt: now, NotAfter: now.Add(20 * time.Second), Door: "side"}}).Reason
		}
		time.Sleep(5 * time.Second)
		if r := command("c0"); r != gateway.Knock { // in time, so that a later one would open
			h.t.Fatalf("the first command: %q", r)
		}
		if r := h.scan(parcel); r != gateway.Knock {
			h.t.Fatalf("at the front: %q", r)
		}
		if !h.Veto(h.t.Context(), "front") {
			h.t.Fatal("nobody knocks")
		}
		time.Sleep(70 * time.Second)
		if r := command("c1"); r != gateway.Vetoed {
			h.t.Errorf("a command at the other door: %q", r)
		}
	})
}

// TestD5_Rule: without a durable record only what needs none opens.
func TestD5_Rule(t *testing.T) {
	for name, c := range map[string]struct {
		grant gateway.Grant
		want  gateway.Reason
	}{
		"a family PIN":     {gateway.Grant{ID: gateway.GrantID{Issuer: gateway.HomeIssuer, JTI: "g"}}, ""},
		"once, of home":    {gateway.Grant{ID: gateway.GrantID{Issuer: gateway.HomeIssuer, JTI: "g"}, Uses: 1}, gateway.Fault},
		"of a third party": {gateway.Grant{ID: gateway.GrantID{Issuer: colisX, JTI: "g"}}, gateway.Fault},
	} {
		now := time.Date(2027, 3, 1, 8, 0, 0, 0, zone)
		c.grant.Status, c.grant.Doors = gateway.GrantActive, []gateway.DoorID{"front"}
		c.grant.Period = gateway.Period{NotBefore: now.Add(-time.Hour), NotAfter: now.Add(time.Hour)}
		at := gateway.Reading{Wall: now, Earliest: now, Latest: now, State: gateway.ClockSynced}
		f := access.Facts{At: at, Clock: at, Zone: zone, Door: "front", Grant: gateway.GrantRecord{Grant: c.grant},
			Policy: gateway.Policy{Doors: []gateway.DoorID{"front"}}, Degraded: true}
		if r := access.Verdict(access.Judge(f)); r != c.want {
			t.Errorf("%s: %q, want %q", name, r, c.want)
		}
	}
}
