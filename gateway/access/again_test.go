package access_test

import (
	"testing"
	"time"

	"gardien/gateway"
	"gardien/gateway/access"
	"gardien/gateway/tokens"
	"gardien/store"
)

// lan presents a grant at a door with its holder's proof.
func (h *house) lan(door gateway.DoorID, text string, holder *tokens.SigningKey) access.Outcome {
	h.t.Helper()
	nonce, err := h.Nonces.New("here", h.clock.Read().SinceBoot)
	h.check(err)
	proof, err := tokens.SignProof(holder, nonce, h.id.ID, door, text, time.Now())
	h.check(err)
	return h.Present(h.t.Context(), door, gateway.ReaderLAN, gateway.GrantCredential{Text: gateway.NewSecret(text), Proof: gateway.NewSecret(proof)})
}

func (h *house) command(door gateway.DoorID, jti string) access.Outcome {
	now := time.Now().Truncate(time.Second)
	m := gateway.Command{Issuer: colisX, JTI: jti, Door: door, IssuedAt: now, NotAfter: now.Add(25 * time.Second)}
	return h.Present(h.t.Context(), door, gateway.ReaderApp, gateway.CommandCredential{Command: m})
}

// visit is a courier who knocks at two doors, with a grant that a PIN at the readers and a proof on
// the LAN stand for. The issuer's commands knock, too.
type visit struct {
	*house
	pin    gateway.PIN
	text   string
	holder *tokens.SigningKey
}

func (v *visit) typesAt(door gateway.DoorID) access.Outcome {
	return v.Present(v.t.Context(), door, gateway.ReaderID(door+"-pad"), gateway.PINCredential{PIN: v.pin})
}

// begin has all of them knock.
func (h *house) visit() *visit {
	h.t.Helper()
	v := &visit{house: h, pin: gateway.DrawPIN(8)}
	var err error
	v.holder, err = tokens.GenerateES256()
	h.check(err)
	v.text = h.grant("g1", func(g *gateway.Grant) {
		g.PIN, g.Holder, g.Uses, g.Doors = v.pin, v.holder.KeyID(), 5, []gateway.DoorID{"front", "side"}
	})
	time.Sleep(2 * time.Second) // a command from before this process is over
	for what, o := range map[string]access.Outcome{"a command": h.command("front", "c0"), "the LAN": v.lan("side", v.text, v.holder), "the reader": v.typesAt("front")} {
		if o.Reason != gateway.Knock {
			h.t.Fatalf("%s: %+v", what, o)
		}
	}
	return v
}

// bans are what is to keep the courier out.
var bans = map[string]func(*visit){
	"nothing": func(*visit) {},
	"a veto": func(v *visit) {
		if !v.Veto(v.t.Context(), "front") {
			v.t.Error("nobody knocks")
		}
	},
	"a revocation": func(v *visit) {
		v.takes(v.grant("g1", func(g *gateway.Grant) {
			g.Holder, g.Uses, g.Doors, g.Version, g.Status = v.holder.KeyID(), 5, []gateway.DoorID{"front", "side"}, 2, gateway.GrantRevoked
		}), "accepted")
	},
	"a pause of the issuer": func(v *visit) {
		v.check(v.store.Update(v.t.Context(), func(tx *store.Tx) error { tx.Issuers.Pause(colisX, &gateway.Pause{}); return tx.Err() }))
	},
	"a pause of all": func(v *visit) {
		v.check(v.store.Update(v.t.Context(), func(tx *store.Tx) error { return tx.House.SetPaused(&gateway.Pause{}) }))
	},
	"a resident's block": func(v *visit) {
		found, err := v.Revoke(v.t.Context(), gateway.GrantID{Issuer: colisX, JTI: "g1"}, "ada")
		v.check(err)
		if !found {
			v.t.Error("no such grant")
		}
	},
	"a lock-out": func(v *visit) {
		for range 4 {
			wrong, err := gateway.NewPIN(wrongPIN)
			v.check(err)
			if r := v.types("front", wrong); r != gateway.WrongPIN {
				v.t.Errorf("a wrong PIN: %q", r)
			}
		}
	},
}

// ways are the ways to ask again. before is when the ban comes, counted from the knock: residents
// have a minute to say no.
var ways = map[string]struct {
	before   time.Duration
	atReader bool // at the one that the lock-out is of
	begin    func(*visit)
	ask      func(*visit) access.Outcome
}{
	"a retry at the reader": {time.Minute, true, func(v *visit) { v.doors.Secure("front") }, func(v *visit) access.Outcome { return v.typesAt("front") }},
	"a retry over the LAN":  {time.Minute, false, func(v *visit) { v.doors.Secure("front") }, func(v *visit) access.Outcome { return v.lan("front", v.text, v.holder) }},
	"a repeat":              {time.Minute, true, func(*visit) {}, func(v *visit) access.Outcome { return v.typesAt("front") }},
	"another door, LAN":     {30 * time.Second, false, func(*visit) {}, func(v *visit) access.Outcome { return v.lan("side", v.text, v.holder) }},
	"another door, reader":  {30 * time.Second, false, func(*visit) {}, func(v *visit) access.Outcome { return v.typesAt("side") }},
	"a command":             {30 * time.Second, false, func(*visit) {}, func(v *visit) access.Outcome { return v.command("front", "c1") }},
	"a command of its name": {30 * time.Second, false, func(*visit) {}, func(v *visit) access.Outcome { return v.command("front", "g1") }},
}

// I7: what keeps somebody out holds for every way of asking again. A lock-out is of its reader
// alone (P10), and the end of one grant is not the end of its issuer's commands.
func TestI7_NoOtherWayIn(t *testing.T) {
	policy := func(p *gateway.Policy) { p.Knock, p.RemoteUnlock = time.Minute, true }
	for ban, banned := range bans {
		for way, w := range ways {
			opens := false
			switch ban {
			case "nothing":
				opens = true
			case "a lock-out":
				opens = !w.atReader
			case "a revocation", "a resident's block":
				opens = way == "a command"
			}
			live(t, policy, func(h *house) {
				v := h.visit()
				time.Sleep(w.before + time.Millisecond)
				w.begin(v)
				banned(v)
				time.Sleep(time.Minute - w.before)
				if o := w.ask(v); o.Granted != opens {
					t.Errorf("%s, then %s: %+v", ban, way, o)
				}
			})
		}
	}
}

// I7: whoever comes to a door while a veto counts there is kept out of the others, too, and a wait
// at another door ends with the veto. It is over in three minutes.
func TestI7_VetoedAtOneDoor(t *testing.T) {
	live(t, asked, func(h *house) {
		t := h.t
		both := func(g *gateway.Grant) { g.Doors, g.Uses = []gateway.DoorID{"front", "side"}, 0 }
		late, waits, other := h.grant("late", both), h.grant("waits", both), h.grant("other", both)
		at := func(door gateway.DoorID, text string) gateway.Reason {
			return h.Present(t.Context(), door, gateway.ReaderID(door+"-scanner"), gateway.GrantCredential{Text: gateway.NewSecret(text)}).Reason
		}
		for _, door := range []gateway.DoorID{"front", "side"} {
			if r := at(door, waits); r != gateway.Knock {
				t.Errorf("%s: %q", door, r)
			}
		}
		if !h.Veto(h.t.Context(), "front") {
			t.Error("nobody knocks")
		}
		h.told(gateway.KnockedEvent, gateway.KnockedEvent, gateway.AccessDenied, gateway.AccessDenied)
		time.Sleep(time.Minute)
		if r := at("front", late); r != gateway.Vetoed {
			t.Errorf("who comes to the door later: %q", r)
		}
		for text, want := range map[string]gateway.Reason{late: gateway.Vetoed, waits: gateway.Vetoed, other: gateway.Knock} {
			if r := at("side", text); r != want {
				t.Errorf("at the other door: %q, want %q", r, want)
			}
		}
		if x, _, err := h.Explain(t.Context(), gateway.GrantID{Issuer: colisX, JTI: "late"}, "side", time.Now()); err != nil || x.Verdict != gateway.Vetoed {
			t.Errorf("%+v, %v", x, err)
		}
		time.Sleep(2 * time.Minute)
		for _, door := range []gateway.DoorID{"front", "side"} {
			if r := at(door, late); r != gateway.Knock {
				t.Errorf("three minutes after the veto, %s: %q", door, r)
			}
		}
	})
}

// I7: a command makes no grace. (Measured before: one with the jti of a spent grant gave that two
// more entries.)
func TestI7_CommandMakesNoGrace(t *testing.T) {
	live(t, func(p *gateway.Policy) { p.RemoteUnlock = true }, func(h *house) {
		t := h.t
		text := h.grant("g1", nil)
		time.Sleep(2 * time.Second) // a command from before this process is over
		if r := h.scan(text); r != "" {
			t.Fatal(r)
		}
		h.doors.Pass("front")
		if o := h.command("front", "g1"); !o.Granted {
			t.Fatalf("%+v", o)
		}
		if r := h.scan(text); r != gateway.UsesSpent {
			t.Errorf("while the command's release runs: %q", r)
		}
		h.doors.Secure("front")
		if r := h.scan(text); r != gateway.UsesSpent {
			t.Errorf("then: %q", r)
		}
	})
}
