package access

import (
	"context"
	"errors"
	"slices"
	"time"

	"gardien/gateway"
)

// attempt is one credential on its way through.
type attempt struct {
	gateway.Attempt
	c        *Controller
	sub      string
	retry    bool
	recorded bool           // the denial is in the record already
	signed   *gateway.Grant // what is presented, its signature verified
	proven   bool           // the grant's holder has proven possession; a nonce is good once
	goesOn   bool           // the entry began at another door of the grant
	rules    *Rules         // of this look
	engaged  gateway.DoorID // another door of the interlock that is not closed and secured

	// The door at the attempt's instant: one look, before the transaction, decides.
	view   gateway.DoorView
	looked time.Time

	credential []byte  // a keyed hash of what a reader was given
	repeat     *repeat // the door is released for it already

	knocks   bool            // the residents are asked first
	knocksAs gateway.GrantID // as whom they know who knocks
	newKnock bool            // and are to be told
	ripe     time.Time       // when their time is over

	asking   gateway.Approval // the residents have to approve, and what their silence says
	approved bool             // they have, or their silence has
	again    bool             // it was judged before, and waited
	noted    bool             // a command that this attempt itself has noted
	dies     time.Time        // when a command is over
	said     []gateway.Event  // what residents said of it, for the record
}

// look takes the instant of the attempt: the time, and what is known of the door.
func (a *attempt) look() {
	a.At, a.view, a.looked = a.c.clock.Read(), a.c.doors.View(a.Door), time.Now()
	a.repeat, a.retry, a.goesOn, a.asking, a.Episode = nil, false, false, gateway.ApprovalOff, ""
	a.engaged = a.c.interlock.engaged(a.c.doors, a.rules, a.Door)
}

func (a *attempt) denial(reason gateway.Reason) gateway.Event {
	e := gateway.AccessDenied.Of(a.Attempt)
	e.Reason, e.Sub = reason, a.sub
	return e
}

// errDenied and errRepeated roll a transaction back that has nothing to keep.
var (
	errDenied   = errors.New("denied")
	errRepeated = errors.New("granted already")
)

// decide runs f in a durable transaction; a reason that keep does not vouch for
// rolls it back.
func (a *attempt) decide(ctx context.Context, f func(Tx) (reason gateway.Reason, keep bool)) (gateway.Reason, error) {
	var reason gateway.Reason
	err := a.c.ledger.Update(ctx, func(tx Tx) error {
		var keep bool
		reason, keep = f(tx)
		if tx.Err() != nil {
			return tx.Err()
		}
		if reason != "" && !keep {
			return errDenied
		}
		if reason == "" && a.repeat != nil {
			return errRepeated
		}
		if a.waits(reason) { // the verdict comes later
			return nil
		}
		if reason != "" {
			a.recorded = true
			return tx.Record.AppendAt(a.At, append(a.said, a.denial(reason))...)
		}
		return nil
	})
	if errors.Is(err, errDenied) || errors.Is(err, errRepeated) {
		err = nil
	}
	return reason, err
}

// facts gathers what the rule needs besides the grant.
func (c *Controller) facts(tx Tx, g gateway.GrantRecord, v gateway.DoorView, at gateway.Reading) Facts {
	rules := c.rules.Load()
	f := Facts{At: at, Clock: at, Zone: rules.Zone, Continues: g.Entry.Continues(v.ID, at), Unsure: g.Entry.Unsure(v.ID, at), Interlock: rules.others(v.ID), Door: v.ID, Grant: g, Blocked: v.Blocked, Unwell: rules.unwell(v), AllPaused: tx.House.Paused(),
		Lengths: rules.pinLengths(v.ID, g.ID.Issuer)}
	f.Degraded = tx.House.Degraded()
	if g.ID.Issuer == gateway.HomeIssuer {
		f.Policy = gateway.HomePolicy(rules.Doors)
	} else {
		f.Policy = rules.Issuers[g.ID.Issuer].Policy // none: no doors, so denied
		f.Issuer = tx.Issuers.State(g.ID.Issuer, rules.day(at))
		f.At = ownTime(f.Issuer, at)
		f.Quarantined = tx.House.Quarantined()
	}
	return f
}

// ownTime is what time it is for an issuer's own documents: not earlier than it has said itself.
// It matters only where nothing else is known.
func ownTime(st gateway.IssuerState, at gateway.Reading) gateway.Reading {
	if at.State == gateway.ClockUndecided && st.HeardAt.After(at.Earliest) && !st.HeardAt.After(at.Latest) {
		at.Earliest = st.HeardAt
	}
	return at
}

// unwell is why third parties are kept out of a door.
func (r *Rules) unwell(v gateway.DoorView) []gateway.Ailment {
	if r.Unwell[v.ID] {
		return nil
	}
	return v.Ailments
}

func (r *Rules) day(at gateway.Reading) string { return at.Wall.In(r.Zone).Format(time.DateOnly) }

// judge gives what speaks against a grant that a credential stands for: the rule, and the
// residents who are asked first. It is the one way from a credential to a verdict (A1).
func (a *attempt) judge(tx Tx, g gateway.GrantRecord, with func(*Facts)) gateway.Reason {
	f := a.c.facts(tx, g, a.view, a.At)
	f.Retry, f.Engaged = a.retry, a.engaged
	if a.goesOn = f.Continues && !a.retry; a.goesOn {
		a.Episode = g.Entry.Episode
	}
	with(&f)
	reason := Verdict(Judge(f))
	if reason == "" {
		reason = a.knocked(g, f.Policy)
	}
	if reason == "" {
		reason = a.askFirst(g, f.Policy)
	}
	return reason
}

// waits reports whether a reason is no verdict yet: the residents are asked.
func (a *attempt) waits(reason gateway.Reason) bool {
	return reason == gateway.Knock || a.asking != gateway.ApprovalOff
}

// enter spends the grant and writes the intent; the caller's transaction makes both
// durable before the strike moves (D1, A4).
func (a *attempt) enter(tx Tx, g gateway.GrantRecord, events ...gateway.Event) gateway.Reason {
	if !a.retry && !a.goesOn && !tx.Grants.Spend(g.ID) {
		return gateway.UsesSpent
	}
	a.within(tx, g)
	a.admit(tx, g, events...)
	return ""
}

// within notes which entry this is, where the grant is for several doors: the first door begins it,
// and each other one goes on with it once.
func (a *attempt) within(tx Tx, g gateway.GrantRecord) {
	switch {
	case a.retry:
	case a.goesOn: // whatever doors a newer version names
		e := *g.Entry
		e.Doors = append(slices.Clip(e.Doors), a.Door)
		tx.Grants.PutEntry(g.ID, e)
	case len(g.Doors) > 1:
		tx.Grants.PutEntry(g.ID, gateway.GrantEntry{Episode: a.ID, Doors: []gateway.DoorID{a.Door}, Began: a.At.Earliest,
			Boot: a.At.Boot, SinceBoot: a.At.SinceBoot})
	}
}

// admit writes the intent.
func (a *attempt) admit(tx Tx, g gateway.GrantRecord, events ...gateway.Event) {
	if !a.retry && !a.goesOn && g.ID.Issuer != gateway.HomeIssuer {
		tx.Issuers.CountEntry(g.ID.Issuer, a.c.rules.Load().day(a.At))
	}
	tx.House.Floor(a.c.clock.Floor(a.At))
	granted := gateway.AccessGranted.Of(a.Attempt)
	granted.Sub = g.Sub
	tx.Record.AppendAt(a.At, slices.Concat(a.said, []gateway.Event{granted}, events)...)
}

// continues asks the door whether this is a retry of an entry that nobody took.
func (a *attempt) continues() {
	if a.repeat != nil && a.repeat.grant == a.Grant {
		return
	}
	a.repeat, a.retry = nil, false
	if first, ok := a.view.Retry(a.Grant, a.looked); ok {
		a.retry, a.ID, a.Episode = true, first.Attempt, first.Episode
	}
}

// resident lets a resident or a guest in: nothing to judge but the door. As an own PIN does, a
// resident's act ends the runs of failures at the readers of the door (P2).
func (a *attempt) resident(ctx context.Context, cred gateway.ResidentCredential) (gateway.Reason, error) {
	if a.view.Blocked {
		return gateway.DoorBlocked, nil
	}
	if a.engaged != "" && (!cred.Hold || cred.Guest) {
		return gateway.Interlocked, nil
	}
	var ends map[gateway.ReaderID]gateway.Throttle
	if cred.Resident != "" && !cred.Guest {
		var err error
		if ends, err = a.c.troubledAt(ctx, a.Door, a.At); err != nil {
			return "", err
		}
	}
	reason, err := a.decide(ctx, func(tx Tx) (gateway.Reason, bool) {
		granted := gateway.AccessGranted.Of(a.Attempt)
		granted.Resident = cred.Resident
		tx.House.Floor(a.c.clock.Floor(a.At))
		for r, t := range ends {
			tx.House.PutThrottle(r, ended(t))
		}
		if a.engaged != "" {
			e := gateway.InterlockOverridden.Of(a.Attempt)
			e.Resident = cred.Resident
			tx.Record.AppendAt(a.At, e)
		}
		tx.Record.AppendAt(a.At, granted)
		return "", false
	})
	for r, t := range ends {
		if err == nil && reason == "" {
			a.c.throttles.set(r, ended(t))
		}
	}
	return reason, err
}

// grant judges a grant that is presented as a text.
func (a *attempt) grant(ctx context.Context, cred gateway.GrantCredential) (gateway.Reason, error) {
	text := cred.Text.Reveal()
	g, refusal := a.verified(text)
	a.Grant = g.ID
	if refusal != nil {
		return refusal.Reason, nil
	}
	a.sub = g.Sub
	if !a.proven {
		if reason := a.possession(g, text, cred.Proof); reason != "" {
			return reason, nil
		}
		a.proven = true
	}
	a.repeats(a.c.mac("scan", text))
	return a.decide(ctx, func(tx Tx) (gateway.Reason, bool) {
		taken := a.c.take(tx, g, making{}, a.At)
		rec := taken.record
		if taken.outdated == "" {
			a.continues()
		}
		reason := a.judge(tx, rec, func(f *Facts) {
			f.Outdated, f.PINRefuse, f.Intake = taken.outdated, taken.pinRefuse, taken.refusal
		})
		if reason != "" {
			return reason, taken.isNew || taken.noted
		}
		return a.enter(tx, rec), false
	})
}

// verified gives the grant of a text. Its signature is looked at once: whoever waited is judged by what
// the memory has of the grant by then, as a PIN is.
func (a *attempt) verified(text string) (gateway.Grant, *gateway.Refusal) {
	if a.signed != nil {
		return *a.signed, nil
	}
	g, refusal := a.c.tokens.Grant(text)
	if refusal == nil {
		a.signed = &g
	}
	return g, refusal
}

// possession holds channel and proof against the grant (A7).
func (a *attempt) possession(g gateway.Grant, text string, proof gateway.Secret) gateway.Reason {
	if a.Reader != gateway.ReaderLAN {
		if g.Holder != "" || !a.c.rules.Load().Issuers[g.ID.Issuer].Policy.Bearer {
			return gateway.ProofRequired
		}
		return ""
	}
	if g.Holder == "" || proof.IsZero() {
		return gateway.ProofRequired
	}
	nonce, refusal := a.c.tokens.Nonce(proof.Reveal())
	if refusal != nil || !a.c.Nonces.spend(nonce, a.At.SinceBoot) {
		return gateway.BadProof
	}
	iat, refusal := a.c.tokens.Proof(proof.Reveal(), a.Door, text, g.Holder)
	if refusal != nil {
		return gateway.BadProof
	}
	if !fresh(iat, a.At) {
		return gateway.BadProof
	}
	return ""
}
