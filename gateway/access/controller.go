package access

import (
	"context"
	"log/slog"
	"sync"
	"sync/atomic"
	"time"

	"gardien/gateway"
)

// Doors is what the decision needs of the doors. Door names are valid.
type Doors interface {
	// View is what is known of a door now. It waits for nothing (F12).
	View(gateway.DoorID) gateway.DoorView
	// Release lets somebody in and gives for how long. retry continues an entry. It waits for
	// this door's latch, for seconds if that is slow.
	Release(ctx context.Context, a gateway.Attempt, retry bool) (time.Duration, error)
	// Show tells whoever stands at the door. It never waits.
	Show(gateway.DoorID, gateway.Signal)
}

// Tokens verifies signed texts.
type Tokens interface {
	Grant(text string) (gateway.Grant, *gateway.Refusal)
	Nonce(proof string) (string, *gateway.Refusal)
	Proof(proof string, door gateway.DoorID, grantText, holder string) (time.Time, *gateway.Refusal)
	// Possession is what a proof says, whosever it is.
	Possession(proof string) (gateway.Possession, *gateway.Refusal)
	Command(text string) (gateway.Command, *gateway.Refusal)
	Manifest(text string) (gateway.Manifest, *gateway.Refusal)
	Keys(text string) (gateway.KeyRing, *gateway.Refusal)
	// Sign writes a home grant, sealed to this gateway.
	Sign(gateway.Grant) (string, error)
}

// Clock says what time it is.
type Clock interface {
	Read() gateway.Reading
	Floor(gateway.Reading) time.Time
}

// Rules is what the configuration says; it can be replaced while doors are in use.
type Rules struct {
	Zone    *time.Location
	Doors   []gateway.DoorID
	Issuers map[gateway.IssuerID]gateway.Issuer
	Unwell  map[gateway.DoorID]bool // doors that let third parties in although they are unwell
	// Interlock is doors of which one at a time is released or open; nil: there is none.
	Interlock []gateway.DoorID

	PINs    map[gateway.DoorID]gateway.PINLengths // absent: the default
	Sharers map[gateway.DoorID]int                // how many third parties are configured for a door
	Readers map[gateway.DoorID][]Reader
}

// Controller decides. Its methods are safe for concurrent use.
type Controller struct {
	Nonces  Nonces
	Asks    Asks
	Entries Entries

	documents
	ledger Ledger
	doors  Doors
	log    *slog.Logger
	ready  chan struct{}

	deciding  atomic.Int32          // attempts that are being judged, or let in
	atDoor    keyed[gateway.DoorID] // one attempt at a door at a time
	throttles throttles
	denials   denials
	sparing   sparing
	knocks    knocks
	interlock interlock
	rotated   func(gateway.IssuerID)
	born      time.Duration // since boot: commands from before are not this process's (F10)
	commands  slots
	repeats   repeats
	beside    crew
	stopping  chan struct{} // closed when Run ends
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
	c := &Controller{documents: documents{tokens: o.Tokens, clock: o.Clock, mac: o.MAC}, ledger: o.Ledger, doors: o.Doors, log: o.Log,
		ready: make(chan struct{}), stopping: make(chan struct{}), rotated: o.Rotated, born: o.Clock.Read().SinceBoot}
	c.Asks.c, c.Entries.c = c, c
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
	Pending     bool          // residents are asked: see Asks.Outcome
}

// Present decides on a credential at a door and, if it is granted, releases it. It
// returns when the verdict is recorded, or, with Knock at a reader or Pending, when the residents
// are asked: then the verdict follows by itself. The door must be one of this gateway's.
func (c *Controller) Present(ctx context.Context, door gateway.DoorID, reader gateway.ReaderID, cred gateway.Credential) Outcome {
	a := &attempt{c: c, Attempt: gateway.Attempt{ID: gateway.NewAttemptID(), Door: door, Reader: reader}}
	o := c.presentOnce(ctx, a, cred)
	if o.Reason == gateway.Knock && c.awaitResidents(ctx, a, cred) {
		return o
	}
	if o.Reason == gateway.NotApproved && a.asking != gateway.ApprovalOff {
		if o = c.Asks.ask(ctx, a, cred); o.Pending {
			return o
		}
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
	c.deciding.Add(1)
	defer c.deciding.Add(-1)
	door := a.Door
	defer func() {
		if a.knocks {
			c.knocks.over(door, a.knocksAs)
		}
	}()
	reason, err := c.decide(ctx, a, cred)
	if err != nil { // the database will not take the denial either: it waits beside
		a.tellSaid(ctx)
		c.log.Error("no decision: the door stays shut", "door", door, "attempt", a.ID, "err", err)
		c.denials.later(a.denial(gateway.Fault), a.At)
		return Outcome{Decision: gateway.Decision{Reason: gateway.Fault, Grant: a.Grant}, Attempt: a.ID}
	}
	if reason == "" && a.repeat != nil {
		c.doors.Show(door, gateway.SignalGranted)
		return Outcome{Decision: gateway.Decision{Granted: true, Grant: a.Grant}, Attempt: a.repeat.attempt, ReleaseTime: a.repeat.releaseTime}
	}
	if reason == "" {
		a.said = nil // it is in the record with the intent
		d, err := c.doors.Release(ctx, a.Attempt, a.retry)
		c.interlock.done(door)
		if err == nil {
			c.repeats.remember(a, d)
			return Outcome{Decision: gateway.Decision{Granted: true, Grant: a.Grant}, Attempt: a.ID, ReleaseTime: d}
		}
		c.log.Error("granted, but the door was not released", "door", door, "attempt", a.ID, "err", err)
		reason, a.recorded, a.At = gateway.Fault, false, c.clock.Read()
	}
	a.tellKnock(ctx)
	if !a.recorded && !a.waits(reason) {
		a.tellSaid(ctx)
		c.denials.add(ctx, c, a.denial(reason), a.At)
	}
	return Outcome{Decision: gateway.Decision{Reason: reason, Grant: a.Grant}, Attempt: a.ID}
}

// decide judges, one attempt at a door at a time. The door's latch may be slow: nobody's decision
// waits for it.
func (c *Controller) decide(ctx context.Context, a *attempt, cred gateway.Credential) (reason gateway.Reason, err error) {
	a.rules = c.rules.Load()
	defer c.atDoor.lock(a.rules.lockOf(a.Door))()
	a.look()
	defer func() {
		if reason == "" && err == nil && a.repeat == nil {
			c.interlock.begin(a.Door) // until the door's view says so
		}
	}()
	switch cred := cred.(type) {
	case gateway.PINCredential:
		reason, err = a.pin(ctx, cred.PIN)
	case gateway.CardCredential:
		reason, err = a.card(ctx, cred.Card)
	case gateway.GrantCredential:
		reason, err = a.grant(ctx, cred)
	case gateway.ResidentCredential:
		reason, err = a.resident(ctx, cred)
	case gateway.CommandCredential:
		reason, err = a.command(ctx, cred.Command)
	default:
		reason = gateway.UnknownCredential
	}
	return reason, err
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
