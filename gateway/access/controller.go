package access

import (
	"context"
	"errors"
	"log/slog"
	"sync"
	"sync/atomic"
	"time"

	"gardien/gateway"
)

// Tx is one transaction of the record; the first error of the database sticks.
type Tx interface {
	Grant(gateway.GrantID) (gateway.GrantRecord, bool)
	PutGrant(g gateway.Grant, digest []byte)
	Block(gateway.GrantID)
	Spend(gateway.GrantID) bool
	Ended(gateway.GrantID) bool
	PIN(door gateway.DoorID, mac []byte) (gateway.PINRecord, bool)
	PutPIN(p gateway.PINRecord, mac []byte)
	LivePINs(door gateway.DoorID, except gateway.GrantID) int
	WipePINs(gateway.GrantID)
	Issuer(id gateway.IssuerID, day string) gateway.IssuerState
	CountEntry(id gateway.IssuerID, day string)
	Heard(gateway.IssuerID, time.Time)
	Paused() bool
	Throttle(gateway.ReaderID) gateway.Throttle
	PutThrottle(gateway.ReaderID, gateway.Throttle)
	Floor(time.Time)
	PutMail(i gateway.FeedItem, taken bool)
	ResetMail(gateway.Position)
	Advance(seq int64)
	Refused(gateway.Grant) bool
	ActiveLines(iss gateway.IssuerID, end, issued time.Time) []gateway.ManifestLine
	Manifest(gateway.IssuerID) (gateway.ManifestState, bool)
	PutManifest(gateway.ManifestState)
	PutKeys(gateway.KeyRing) bool
	Once(gateway.Command) bool
	AppendAt(gateway.Reading, ...gateway.Event) error
	Err() error
}

// Ledger is the durable memory.
type Ledger interface {
	// Update is durable when it returns; an error leaves nothing behind.
	Update(context.Context, func(Tx) error) error
	// Follow survives a crash at once, and a power cut from the next Update on.
	Follow(context.Context, func(Tx) error) error
	Ending(ctx context.Context, t time.Time, limit int) ([]gateway.GrantRecord, error)
	SpentPINs(context.Context) ([]gateway.GrantRecord, error)
	Grant(context.Context, gateway.GrantID) (gateway.GrantRecord, bool, error)
	Issuer(ctx context.Context, id gateway.IssuerID, day string) (gateway.IssuerState, error)
	Paused(context.Context) (bool, error)
	PINOf(context.Context, gateway.GrantID, gateway.DoorID) (gateway.PINRecord, bool, error)
	LivePINs(context.Context, gateway.DoorID) (int, error)
	Feed(context.Context) (gateway.Position, gateway.Digest, error)
	TakenMail(context.Context) (map[string]gateway.Digest, error)
	Unmatched(context.Context) ([]gateway.IssuerID, error)
}

// Doors is what the decision needs of the doors. Door names are valid.
type Doors interface {
	// Blocked reports a lock that is jammed or unknown.
	Blocked(gateway.DoorID) bool
	// Retry gives the attempt whose entry the grant may try again; ok is false
	// outside of the retry grace.
	Retry(gateway.DoorID, gateway.GrantID) (gateway.AttemptID, bool)
	// Release lets somebody in and gives for how long. retry continues an entry.
	Release(ctx context.Context, a gateway.Attempt, retry bool) (time.Duration, error)
	// Show tells whoever stands at the door. It never waits.
	Show(gateway.DoorID, gateway.Signal)
}

// Tokens verifies signed texts.
type Tokens interface {
	Grant(text string) (gateway.Grant, *gateway.Refusal)
	Nonce(proof string) (string, *gateway.Refusal)
	Proof(proof string, door gateway.DoorID, grantText, holder string) (time.Time, *gateway.Refusal)
	Command(text string) (gateway.Command, *gateway.Refusal)
	Manifest(text string) (gateway.Manifest, *gateway.Refusal)
	Keys(text string) (gateway.KeyRing, *gateway.Refusal)
	// Sign writes a home grant, sealed to this gateway.
	Sign(gateway.Grant) (string, error)
}

// Clock says what time it is.
type Clock interface {
	Read() gateway.Reading
	Raise(time.Time)
	Floor(gateway.Reading) time.Time
}

// Rules is what the configuration says; it can be replaced while doors are in use.
type Rules struct {
	Zone    *time.Location
	Doors   []gateway.DoorID
	Issuers map[gateway.IssuerID]gateway.Issuer
}

// Controller decides. Its methods are safe for concurrent use.
type Controller struct {
	Nonces Nonces

	ledger Ledger
	doors  Doors
	tokens Tokens
	clock  Clock
	mac    func(purpose string, parts ...string) []byte
	log    *slog.Logger
	rules  atomic.Pointer[Rules]
	ready  chan struct{}

	atDoor    keyed[gateway.DoorID] // one attempt at a door at a time
	throttles throttles
	denials   denials
	knocks    knocks
	rotated   func(gateway.IssuerID)
	born      time.Duration // since boot: commands from before are not this process's (F10)
	commands  chan struct{} // a place for each that is carried out
}

// Opts of a Controller.
type Opts struct {
	Ledger Ledger
	Doors  Doors
	Tokens Tokens
	Clock  Clock
	MAC    func(purpose string, parts ...string) []byte // under the device key
	Log    *slog.Logger
	Rules  Rules
	// Rotated is told after an issuer's key set was replaced by a document; nil: nobody is.
	Rotated func(gateway.IssuerID)
}

// New makes a controller.
func New(o Opts) *Controller {
	c := &Controller{ledger: o.Ledger, doors: o.Doors, tokens: o.Tokens, clock: o.Clock, mac: o.MAC, log: o.Log,
		ready: make(chan struct{}), rotated: o.Rotated, born: o.Clock.Read().SinceBoot, commands: make(chan struct{}, commandsAtOnce)}
	c.denials.wake = make(chan struct{}, 1)
	c.SetRules(o.Rules)
	return c
}

// SetRules replaces the rules.
func (c *Controller) SetRules(r Rules) { c.rules.Store(&r) }

// Outcome is what becomes of an attempt.
type Outcome struct {
	gateway.Decision
	Attempt     gateway.AttemptID
	ReleaseTime time.Duration // when granted
}

// Present decides on a credential at a door and, if it is granted, releases it. It
// returns when the verdict is recorded, or, with Knock at a reader, when the residents are
// asked: then the verdict follows by itself. The door must be one of this gateway's.
func (c *Controller) Present(ctx context.Context, door gateway.DoorID, reader gateway.ReaderID, cred gateway.Credential) Outcome {
	a := &attempt{c: c, Attempt: gateway.Attempt{ID: gateway.NewAttemptID(), Door: door, Reader: reader}}
	o := c.presentOnce(ctx, a, cred)
	if o.Reason == gateway.Knock && c.awaitResidents(ctx, a, cred) {
		return o
	}
	c.conclude(ctx, a, o)
	return o
}

// conclude records and shows what became of an attempt; the door itself shows that it lets
// somebody in.
func (c *Controller) conclude(ctx context.Context, a *attempt, o Outcome) {
	if o.Reason == gateway.Knock && !a.recorded {
		c.denials.add(ctx, c, a.denial(o.Reason), a.At)
	}
	if !o.Granted {
		c.doors.Show(a.Door, gateway.SignalDenied)
	}
}

// presentOnce is one look at a credential, at one instant. A denial with Knock is not
// recorded yet: the attempt may wait.
func (c *Controller) presentOnce(ctx context.Context, a *attempt, cred gateway.Credential) Outcome {
	door := a.Door
	unlock := c.atDoor.lock(door)
	defer unlock()
	a.At = c.clock.Read()
	defer func() {
		if a.knocks {
			c.knocks.over(door, a.Grant)
		}
	}()
	var reason gateway.Reason
	var err error
	switch cred := cred.(type) {
	case gateway.PINCredential:
		reason, err = a.pin(ctx, cred.PIN)
	case gateway.CardCredential:
		reason, err = a.card(ctx, cred.Card)
	case gateway.GrantCredential:
		reason, err = a.grant(ctx, cred)
	case gateway.ResidentCredential:
		reason, err = a.resident(ctx, cred.Resident)
	case gateway.CommandCredential:
		reason, err = a.command(ctx, cred.Command)
	default:
		reason = gateway.UnknownCredential
	}
	if err != nil {
		c.log.Error("no decision: the door stays shut", "door", door, "attempt", a.ID, "err", err)
		reason = gateway.Fault
		a.recorded = false
	}
	if reason == "" {
		d, err := c.doors.Release(ctx, a.Attempt, a.retry)
		if err == nil {
			return Outcome{gateway.Decision{Granted: true, Grant: a.Grant}, a.ID, d}
		}
		c.log.Error("granted, but the door was not released", "door", door, "attempt", a.ID, "err", err)
		reason, a.recorded, a.At = gateway.Fault, false, c.clock.Read()
	}
	a.tellKnock(ctx)
	if !a.recorded && reason != gateway.Knock {
		c.denials.add(ctx, c, a.denial(reason), a.At)
	}
	return Outcome{Decision: gateway.Decision{Reason: reason, Grant: a.Grant}, Attempt: a.ID}
}

// attempt is one credential on its way through.
type attempt struct {
	gateway.Attempt
	c        *Controller
	sub      string
	retry    bool
	recorded bool // the denial is in the record already
	proven   bool // the grant's holder has proven possession; a nonce is good once

	knocks   bool      // the residents are asked first
	newKnock bool      // and are to be told
	ripe     time.Time // when their time is over
}

func (a *attempt) denial(reason gateway.Reason) gateway.Event {
	e := gateway.AccessDenied.Of(a.Attempt)
	e.Reason, e.Sub = reason, a.sub
	return e
}

// errDenied rolls a transaction back that has nothing to keep.
var errDenied = errors.New("denied")

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
		if reason == gateway.Knock { // it may wait: the verdict comes later
			return nil
		}
		if reason != "" {
			a.recorded = true
			return tx.AppendAt(a.At, a.denial(reason))
		}
		return nil
	})
	if errors.Is(err, errDenied) {
		err = nil
	}
	return reason, err
}

// facts gathers what the rule needs besides the grant.
func (c *Controller) facts(tx Tx, g gateway.GrantRecord, door gateway.DoorID, at gateway.Reading) Facts {
	rules := c.rules.Load()
	f := Facts{At: at, Zone: rules.Zone, Door: door, Grant: g, Blocked: c.doors.Blocked(door)}
	if g.ID.Issuer == gateway.HomeIssuer {
		f.Policy = gateway.HomePolicy(rules.Doors)
	} else {
		f.Policy = rules.Issuers[g.ID.Issuer].Policy // none: no doors, so denied
		f.Issuer = tx.Issuer(g.ID.Issuer, rules.day(at))
		f.AllPaused = tx.Paused()
	}
	return f
}

func (r *Rules) day(at gateway.Reading) string { return at.Wall.In(r.Zone).Format(time.DateOnly) }

// enter spends the grant and writes the intent; the caller's transaction makes both
// durable before the strike moves (D1, A4).
func (a *attempt) enter(tx Tx, g gateway.GrantRecord, events ...gateway.Event) gateway.Reason {
	if !a.retry && !tx.Spend(g.ID) {
		return gateway.UsesSpent
	}
	a.admit(tx, g, events...)
	return ""
}

// admit writes the intent.
func (a *attempt) admit(tx Tx, g gateway.GrantRecord, events ...gateway.Event) {
	if !a.retry && g.ID.Issuer != gateway.HomeIssuer {
		tx.CountEntry(g.ID.Issuer, a.c.rules.Load().day(a.At))
	}
	tx.Floor(a.c.clock.Floor(a.At))
	granted := gateway.AccessGranted.Of(a.Attempt)
	granted.Sub = g.Sub
	tx.AppendAt(a.At, append([]gateway.Event{granted}, events...)...)
}

// continues asks the door whether this is a retry of an entry that nobody took.
func (a *attempt) continues() {
	if first, ok := a.c.doors.Retry(a.Door, a.Grant); ok {
		a.retry, a.ID = true, first
	}
}

// resident lets a resident in: nothing to judge but the door.
func (a *attempt) resident(ctx context.Context, who gateway.ResidentID) (gateway.Reason, error) {
	if a.c.doors.Blocked(a.Door) {
		return gateway.DoorBlocked, nil
	}
	return a.decide(ctx, func(tx Tx) (gateway.Reason, bool) {
		granted := gateway.AccessGranted.Of(a.Attempt)
		granted.Resident = who
		tx.Floor(a.c.clock.Floor(a.At))
		tx.AppendAt(a.At, granted)
		return "", false
	})
}

// grant judges a grant that is presented as a text.
func (a *attempt) grant(ctx context.Context, cred gateway.GrantCredential) (gateway.Reason, error) {
	text := cred.Text.Reveal()
	g, refusal := a.c.tokens.Grant(text)
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
	return a.decide(ctx, func(tx Tx) (gateway.Reason, bool) {
		taken := a.c.take(tx, g, a.At)
		rec := taken.record
		if taken.outdated == "" {
			a.continues()
		}
		f := a.c.facts(tx, rec, a.Door, a.At)
		f.Outdated, f.PINRefuse, f.Retry = taken.outdated, taken.pinRefuse, a.retry
		reason := Verdict(Judge(f))
		if reason == "" && taken.refusal != nil {
			reason = taken.refusal.Reason
		}
		if reason == "" {
			reason = a.knocked(rec, f.Policy)
		}
		if reason != "" {
			return reason, taken.isNew
		}
		return a.enter(tx, rec), false
	})
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
	const leeway = 300 * time.Second
	if a.At.State != gateway.ClockUndecided && (iat.Before(a.At.Earliest.Add(-leeway)) || iat.After(a.At.Latest.Add(leeway))) {
		return gateway.BadProof
	}
	return ""
}

// pin judges a PIN: lock-out, then the PIN's grant.
func (a *attempt) pin(ctx context.Context, pin gateway.PIN) (gateway.Reason, error) {
	t, err := a.c.throttles.of(ctx, a.c.ledger, a.Reader, a.At)
	if err != nil {
		return "", err
	}
	if lockedOut(t, a.At) {
		return gateway.LockedOut, nil
	}
	next := t
	reason, err := a.decide(ctx, func(tx Tx) (gateway.Reason, bool) {
		p, live := tx.PIN(a.Door, a.c.pinMAC(a.Door, pin))
		var rec gateway.GrantRecord
		if live {
			rec, live = tx.Grant(p.Grant)
		}
		if live {
			a.Grant, a.sub = rec.ID, rec.Sub
			a.continues()
			live = a.alive(rec)
		}
		if !live {
			a.Grant, a.sub, a.retry = gateway.GrantID{}, "", false
			var locked bool
			if next, locked = failed(t, a.At); locked {
				tx.AppendAt(a.At, gateway.Event{Type: gateway.ReaderLockedOut, Door: a.Door, Reader: a.Reader, Count: len(next.Recent)})
			}
			if len(next.Recent) == alarmFailures && len(t.Recent) < alarmFailures {
				tx.AppendAt(a.At, gateway.Event{Type: gateway.ReaderTamper, Door: a.Door, Reader: a.Reader, Count: len(next.Recent)})
			}
			tx.PutThrottle(a.Reader, next)
			return gateway.WrongPIN, true
		}
		home := rec.ID.Issuer == gateway.HomeIssuer
		if !home && pausedToday(t, a.At, a.c.rules.Load().Zone) {
			return gateway.LockedOut, false
		}
		f := a.c.facts(tx, rec, a.Door, a.At)
		f.PIN, f.Retry = &p, a.retry
		reason := Verdict(Judge(f))
		if reason == "" {
			reason = a.knocked(rec, f.Policy)
		}
		if reason != "" {
			return reason, false
		}
		if next = succeeded(t, home); t.Failures != 0 || !t.PausedAt.IsZero() {
			tx.PutThrottle(a.Reader, next)
		}
		var also []gateway.Event
		if p.Duress != "" {
			duress := gateway.Duress.Of(a.Attempt)
			duress.Resident = p.Duress
			also = append(also, duress)
		}
		return a.enter(tx, rec, also...), false
	})
	if err == nil && (reason == "" || reason == gateway.WrongPIN) {
		a.c.throttles.set(a.Reader, next)
	}
	return reason, err
}

// alive reports whether a PIN's grant may still open: a PIN that is over is as
// unknown as one that never was.
func (a *attempt) alive(g gateway.GrantRecord) bool {
	left, limited := g.UsesLeft()
	return g.Status == gateway.GrantActive && !g.Block && a.At.In(g.Period) != gateway.PlaceOver && !(limited && left == 0 && !a.retry)
}

// card judges a card: it is its grant, whoever holds it. One that nobody knows is no guess at
// a PIN, and locks nothing out.
func (a *attempt) card(ctx context.Context, card gateway.Card) (gateway.Reason, error) {
	return a.decide(ctx, func(tx Tx) (gateway.Reason, bool) {
		p, live := tx.PIN(a.Door, a.c.cardMAC(a.Door, card))
		var rec gateway.GrantRecord
		if live {
			rec, live = tx.Grant(p.Grant)
		}
		if !live {
			return gateway.UnknownCredential, false
		}
		a.Grant, a.sub = rec.ID, rec.Sub
		a.continues()
		f := a.c.facts(tx, rec, a.Door, a.At)
		f.Card, f.Retry = true, a.retry
		reason := Verdict(Judge(f))
		if reason == "" {
			reason = a.knocked(rec, f.Policy)
		}
		if reason != "" {
			return reason, false
		}
		return a.enter(tx, rec), false
	})
}

func (c *Controller) cardMAC(door gateway.DoorID, card gateway.Card) []byte {
	return c.mac("card", string(door), card.Reveal())
}

func (c *Controller) pinMAC(door gateway.DoorID, pin gateway.PIN) []byte {
	return c.mac("pin", string(door), pin.Reveal())
}

// keyed is one mutex per key.
type keyed[K comparable] struct {
	mu   sync.Mutex
	each map[K]*sync.Mutex
}

func (k *keyed[K]) lock(key K) (unlock func()) {
	k.mu.Lock()
	if k.each == nil {
		k.each = map[K]*sync.Mutex{}
	}
	m := k.each[key]
	if m == nil {
		m = &sync.Mutex{}
		k.each[key] = m
	}
	k.mu.Unlock()
	m.Lock()
	return m.Unlock
}

// throttles caches what the database knows of readers, so that a locked-out reader
// costs no I/O.
type throttles struct {
	mu   sync.Mutex
	each map[gateway.ReaderID]gateway.Throttle
}

func (t *throttles) of(ctx context.Context, l Ledger, r gateway.ReaderID, now gateway.Reading) (gateway.Throttle, error) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if th, ok := t.each[r]; ok {
		return th, nil
	}
	var th gateway.Throttle
	if err := l.Follow(ctx, func(tx Tx) error { th = resume(tx.Throttle(r), now); return tx.Err() }); err != nil {
		return th, err
	}
	if t.each == nil {
		t.each = map[gateway.ReaderID]gateway.Throttle{}
	}
	t.each[r] = th
	return th, nil
}

func (t *throttles) set(r gateway.ReaderID, th gateway.Throttle) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.each[r] = th
}

// forget empties the cache, after a restore.
func (t *throttles) forget() {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.each = nil
}
