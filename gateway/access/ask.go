package access

import (
	"context"
	"errors"
	"sync"
	"time"

	"gardien/gateway"
)

// Ask first (contract §2): how long residents have, how often an issuer may ask them in an hour, and
// how long whoever asked may ask what came of it.
const (
	askFor      = time.Minute
	asksAnHour  = 3
	outcomeKept = 3 * time.Minute
)

// Why a resident's answer does not count.
var (
	ErrNotAsked = errors.New("no attempt of this id waits for an answer")
	ErrAnswered = errors.New("the attempt is answered already, or its time is over")
)

// Asks is the attempts that wait until a resident approves. Nothing of it outlives the process:
// nobody is let in by what was asked before. Times are monotonic.
type Asks struct {
	c *Controller

	mu      sync.Mutex
	each    map[gateway.AttemptID]*ask
	times   map[gateway.GrantID][]time.Time // of the last hour, by who asks
	stopped bool
}

// ask is one attempt.
type ask struct {
	attempt  *attempt
	cred     gateway.Credential
	as       gateway.GrantID // as whom the residents know who asks
	until    time.Time
	told     bool // residents can know of it: the record has it
	answered bool
	timer    *time.Timer
	silence  gateway.Approval
	settled  chan struct{} // closed when there is an outcome
	outcome  Outcome
	ended    time.Time
}

// begin claims a place for an attempt. isNew is false where the same grant asks at the same door
// already; a nil ask says that no more may be asked.
func (s *Asks) begin(a *attempt, cred gateway.Credential) (k *ask, isNew bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	now := time.Now()
	s.forget(now)
	as := a.knownAs(a.Grant)
	for _, k := range s.each {
		if k.as == as && !k.answered {
			if k.attempt.Door == a.Door && !a.Command {
				return k, false
			}
			return nil, false
		}
	}
	who := as
	if who.Issuer != gateway.HomeIssuer {
		who.JTI = ""
	}
	if s.stopped || !a.goesOn && len(s.times[who]) >= asksAnHour {
		return nil, false
	}
	until := now.Add(askFor)
	if !a.dies.IsZero() {
		if dies := now.Add(a.dies.Sub(a.At.Earliest)); dies.Before(until) {
			until = dies
		}
	}
	k = &ask{attempt: a, cred: cred, as: as, until: until, silence: a.asking, settled: make(chan struct{})}
	if s.each == nil {
		s.each, s.times = map[gateway.AttemptID]*ask{}, map[gateway.GrantID][]time.Time{}
	}
	s.each[a.ID] = k
	if !a.goesOn { // whoever is in the hall is not left there for the hour
		s.times[who] = append(s.times[who], now)
	}
	return k, true
}

// forget drops what is over.
func (s *Asks) forget(now time.Time) {
	for id, k := range s.each {
		if !k.ended.IsZero() && now.Sub(k.ended) > outcomeKept {
			delete(s.each, id)
		}
	}
	for who, list := range s.times {
		for len(list) > 0 && now.Sub(list[0]) >= time.Hour {
			list = list[1:]
		}
		if s.times[who] = list; len(list) == 0 {
			delete(s.times, who)
		}
	}
}

// take claims the one answer to an ask.
func (s *Asks) take(id gateway.AttemptID) (*ask, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.forget(time.Now())
	k := s.each[id]
	switch {
	case k == nil || !k.told:
		return nil, ErrNotAsked
	case k.answered || s.stopped:
		return nil, ErrAnswered
	}
	k.answer()
	return k, nil
}

// takeAll claims the answers to all asks at a door; "": at any.
func (s *Asks) takeAll(door gateway.DoorID) (list []*ask) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, k := range s.each {
		if k.told && !k.answered && (door == "" || k.attempt.Door == door) {
			k.answer()
			list = append(list, k)
		}
	}
	return list
}

func (k *ask) answer() {
	k.answered = true
	if k.timer != nil {
		k.timer.Stop()
	}
}

// settle gives an ask its outcome.
func (s *Asks) settle(k *ask, o Outcome) {
	s.mu.Lock()
	defer s.mu.Unlock()
	k.outcome, k.ended, k.cred = o, time.Now(), nil
	close(k.settled)
}

// tell lets residents answer an ask that is in the record. It reports false where the gateway stops.
func (s *Asks) tell(k *ask) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.stopped {
		return false
	}
	k.told = true
	k.timer = time.AfterFunc(time.Until(k.until), func() { s.silent(k) })
	return true
}

// drop takes back an ask of which nobody could be told.
func (s *Asks) drop(id gateway.AttemptID) {
	s.mu.Lock()
	defer s.mu.Unlock()
	delete(s.each, id)
}

// knownAs is as whom the residents know who comes with a grant. Each command has a name of its own,
// so that it is the issuer who comes with them.
func (a *attempt) knownAs(id gateway.GrantID) gateway.GrantID {
	if a.Command {
		id.JTI = ""
	}
	return id
}

// approvalOf is whether residents have to approve before a grant opens.
func approvalOf(g gateway.GrantRecord, p gateway.Policy) gateway.Approval {
	if g.ID.Issuer == gateway.HomeIssuer {
		return g.Approval
	}
	return p.Approval
}

// askFirst has an attempt that would open wait for the residents. Whom they have let in may try
// again; a no since then counts all the same (I7).
func (a *attempt) askFirst(g gateway.GrantRecord, p gateway.Policy) gateway.Reason {
	approval := approvalOf(g, p)
	switch {
	case approval == gateway.ApprovalOff:
		return ""
	case a.c.knocks.refuses(a.Door, a.knownAs(g.ID)):
		return gateway.Vetoed
	case a.retry || a.approved:
		return ""
	}
	a.asking = approval
	return gateway.NotApproved
}

// ask tells the residents of an attempt that would open, and lets it wait. From the moment they are
// told, the attempt is theirs who answers.
func (s *Asks) ask(ctx context.Context, a *attempt, cred gateway.Credential) Outcome {
	denied := Outcome{Decision: gateway.Decision{Reason: gateway.NotApproved, Grant: a.Grant}, Attempt: a.ID}
	pending := denied
	pending.Pending = true
	at, atReader := a.At, a.Reader != gateway.ReaderLAN && a.Reader != gateway.ReaderApp
	told := gateway.ApprovalAsked.Of(a.Attempt)
	told.Sub = a.sub
	k, isNew := s.begin(a, cred)
	if k != nil && !isNew {
		pending.Attempt = k.attempt.ID
		return pending
	}
	if k == nil {
		s.c.denials.add(ctx, s.c, a.denial(gateway.NotApproved), at)
		return denied
	}
	if err := s.c.ledger.Follow(context.WithoutCancel(ctx), func(tx Tx) error { return tx.Record.AppendAt(at, told) }); err != nil {
		s.c.log.Error("residents cannot be asked: the door stays shut", "door", a.Door, "attempt", a.ID, "err", err)
		s.drop(a.ID)
		s.c.denials.later(a.denial(gateway.Fault), at)
		denied.Reason = gateway.Fault
		return denied
	}
	if atReader {
		s.c.doors.Show(a.Door, gateway.SignalWait)
	}
	if !s.tell(k) { // nobody is there to answer
		s.drop(pending.Attempt)
		s.c.denials.add(ctx, s.c, a.denial(gateway.NotApproved), at)
		return denied
	}
	return pending
}

// silent takes the residents' silence for the answer that the policy says.
func (s *Asks) silent(k *ask) {
	s.c.beside.start(func() {
		if _, err := s.take(k.attempt.ID); err != nil {
			return
		}
		if k.silence == gateway.SilenceOpens {
			s.letIn(context.Background(), k)
			return
		}
		s.refuse(context.Background(), k, gateway.NotApproved)
	})
}

// Approve takes a resident's yes ("": whoever is at the console). The first answer counts. It
// returns when the attempt was judged again, as a whole, and the door is released if it is still
// good: see Outcome.
func (s *Asks) Approve(ctx context.Context, id gateway.AttemptID, by gateway.ResidentID) error {
	k, err := s.take(id)
	if err != nil {
		return err
	}
	given := gateway.ApprovalGiven.Of(k.attempt.Attempt)
	given.Resident = by
	k.attempt.said = []gateway.Event{given}
	s.letIn(context.WithoutCancel(ctx), k)
	return nil
}

// Deny takes a resident's no. It keeps the grant out of all doors as a veto does.
func (s *Asks) Deny(ctx context.Context, id gateway.AttemptID, by gateway.ResidentID) error {
	k, err := s.take(id)
	if err != nil {
		return err
	}
	denied := gateway.ApprovalDenied.Of(k.attempt.Attempt)
	denied.Resident = by
	k.attempt.said = []gateway.Event{denied}
	s.c.knocks.deny(k.as, k.attempt.Grant)
	s.refuse(context.WithoutCancel(ctx), k, gateway.Vetoed)
	return nil
}

// letIn judges an attempt again, which residents have approved.
func (s *Asks) letIn(ctx context.Context, k *ask) {
	a := k.attempt
	a.approved, a.again = true, true
	o := s.c.presentOnce(ctx, a, k.cred)
	s.c.conclude(ctx, a, o)
	s.settle(k, o)
}

// refuse ends an attempt that was not approved.
func (s *Asks) refuse(ctx context.Context, k *ask, reason gateway.Reason) {
	a := k.attempt
	a.At = s.c.clock.Read()
	a.tellSaid(ctx)
	s.c.denials.add(ctx, s.c, a.denial(reason), a.At)
	s.c.doors.Show(a.Door, gateway.SignalDenied)
	s.settle(k, Outcome{Decision: gateway.Decision{Reason: reason, Grant: a.Grant}, Attempt: a.ID})
}

// tellSaid records what residents said of an attempt that is refused.
func (a *attempt) tellSaid(ctx context.Context) {
	if len(a.said) == 0 {
		return
	}
	if err := a.c.ledger.Follow(ctx, func(tx Tx) error { return tx.Record.AppendAt(a.At, a.said...) }); err != nil {
		a.c.log.Error("a resident's answer is not in the record", "door", a.Door, "attempt", a.ID, "err", err)
	}
}

// end ends all that waits, when the gateway stops.
func (s *Asks) end(ctx context.Context) {
	s.mu.Lock()
	s.stopped = true
	s.mu.Unlock()
	for _, k := range s.takeAll("") {
		s.refuse(context.WithoutCancel(ctx), k, gateway.NotApproved)
	}
}

// Outcome tells what came of an attempt for which residents were asked. While they are, the outcome is
// Pending, and settled is closed when that ends. found is false where nobody was asked, or too long
// ago.
func (s *Asks) Outcome(id gateway.AttemptID) (door gateway.DoorID, o Outcome, settled <-chan struct{}, found bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.forget(time.Now())
	k := s.each[id]
	if k == nil || !k.told {
		return "", o, nil, false
	}
	o = Outcome{Decision: gateway.Decision{Reason: gateway.NotApproved, Grant: k.as}, Attempt: id, Pending: true}
	if !k.ended.IsZero() {
		o = k.outcome
	}
	return k.attempt.Door, o, k.settled, true
}

// Waiting is who stands at a door while residents may say no, or have to say yes.
type Waiting struct {
	Attempt gateway.AttemptID
	Grant   gateway.GrantID
	Until   time.Time // monotonic
	Asks    bool      // it opens nothing without their yes
}

// AtDoor tells who waits at a door; of several, whose time ends first. nil: nobody does.
func (s *Asks) AtDoor(door gateway.DoorID) (w *Waiting) {
	earlier := func(n Waiting) {
		if w == nil || n.Until.Before(w.Until) {
			w = &n
		}
	}
	s.mu.Lock()
	for id, k := range s.each {
		if k.told && !k.answered && k.attempt.Door == door {
			earlier(Waiting{id, k.as, k.until, true})
		}
	}
	s.mu.Unlock()
	for _, n := range s.c.knocks.waiting(door) {
		earlier(n)
	}
	return w
}
