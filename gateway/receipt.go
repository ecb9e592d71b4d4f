package gateway

import "time"

// EntryReceipt is what a gateway says in writing of one entry that is over (contract §2). It is derived
// from the record and from nothing else, so that it is the same whenever it is asked for. Its JSON
// is the claims of the signed text. Instants are written as in Event.At; "": not proved.
type EntryReceipt struct {
	Gateway GatewayID   `json:"iss"`
	Grant   GrantID     `json:"grant,omitzero"` // the zero value: a resident's own entry
	Door    DoorID      `json:"door"`
	Granted string      `json:"granted"`
	Opened  string      `json:"opened,omitempty"`
	Closed  string      `json:"closed,omitempty"`
	Secured string      `json:"secured,omitempty"`
	Outcome Outcome     `json:"outcome"`
	Head    ReceiptHead `json:"head"`
}

// ReceiptHead names the event that ended the entry: whoever has the record finds it there.
type ReceiptHead struct {
	Log  string `json:"log"`
	Seq  int64  `json:"seq"`
	Hash string `json:"hash"`
}

// Outcome is how an entry ended.
type Outcome string

const (
	Entered          Outcome = "entered"     // the leaf was opened and closed again, and the door secured
	NotEntered       Outcome = "not_entered" // the door was secured, and its contact proves that nobody came
	LeftOpen         Outcome = "left_open"   // the door was secured, and the leaf open for longer than it may
	EntryInterrupted Outcome = "interrupted" // a crash or a power cut ended it
	Unproved         Outcome = "unproved"    // nothing proves how it ended
)

// Outcomes lists them.
func Outcomes() []Outcome {
	return []Outcome{Entered, NotEntered, LeftOpen, EntryInterrupted, Unproved}
}

// Consistent reports whether a receipt has the instants that its outcome claims, and none that it
// denies.
func (r *EntryReceipt) Consistent() bool {
	switch r.Outcome {
	case Entered:
		return r.Opened != "" && r.Closed != "" && r.Secured != ""
	case NotEntered:
		return r.Opened == "" && r.Closed == "" && r.Secured != ""
	case LeftOpen:
		return r.Opened != "" && r.Secured != ""
	case EntryInterrupted, Unproved:
		return r.Opened != "" || r.Closed == ""
	}
	return false
}

// ReceiptSpan is how many events after its beginning an entry has to be over. One that is not is
// unproved: a door without an alarm may stand open for days.
const ReceiptSpan = 500

// ReceiptOf reads how the entry of an attempt ended from the record: from its access_granted on, in
// order, without a gap, at most ReceiptSpan events more. It is false as long as the entry goes on.
// Whether somebody may still try again where nobody came is not in the record: the door says that
// (DoorView.GoesOn). Gateway and Head.Log are the caller's to fill in.
func ReceiptOf(events []Event, attempt AttemptID) (EntryReceipt, bool) {
	if len(events) == 0 || events[0].Type != AccessGranted || events[0].Attempt != attempt {
		return EntryReceipt{}, false
	}
	first := events[0]
	s := entryStory{attempt: attempt, r: EntryReceipt{Door: first.Door, Granted: first.At}}
	if first.Grant != "" {
		s.r.Grant = GrantID{first.Issuer, first.Grant}
	}
	for i, e := range events[1:] {
		if e.Door == first.Door || e.Type == GatewayStarted {
			s.hear(e, events[i+2:])
		}
		if e.Seq-first.Seq >= ReceiptSpan {
			s.end(Unproved, e)
			break
		}
	}
	return s.r, s.r.Outcome != ""
}

// leafStory is one opening of the leaf.
type leafStory struct {
	by             AttemptID // "": the leaf does not know
	opened, closed string
	held           bool // open for longer than it may
	lost           bool // nobody can say what became of it
}

// entryStory is an entry as far as it has been told.
type entryStory struct {
	attempt  AttemptID
	r        EntryReceipt
	released bool       // the door, for this attempt
	newest   *leafStory // opening since the attempt was granted
	own      *leafStory // the one that is the attempt's
	leaving  bool       // somebody asked to leave between the release and the opening
}

// end keeps the first outcome, and the event that brought it.
func (s *entryStory) end(o Outcome, e Event) {
	if s.r.Outcome == "" {
		s.r.Outcome, s.r.Head = o, ReceiptHead{Seq: e.Seq, Hash: e.Hash}
	}
}

// hear takes the next event of the door, or of all of the gateway; next are those behind it.
func (s *entryStory) hear(e Event, next []Event) {
	if e.Type == AccessGranted && e.Attempt == s.attempt && s.own == nil { // nobody came, and it is tried again
		s.r.Outcome, s.r.Head, s.r.Secured, s.released, s.newest, s.leaving = "", ReceiptHead{}, "", false, nil, false
	}
	if s.r.Outcome != "" {
		return
	}
	if e.Attempt == s.attempt {
		s.hearOwn(e)
	}
	s.hearLeaf(e)
	switch e.Type {
	case RequestToExit:
		s.leaving = s.leaving || s.released && s.own == nil
	case StrikeSecured, LockLockedEvent:
		s.secure(e, next)
	case GatewayStarted:
		if s.r.Secured == "" { // one that was not noted as interrupted
			s.end(EntryInterrupted, e)
		}
	}
	s.conclude(e)
}

// hearOwn takes an event of the attempt itself.
func (s *entryStory) hearOwn(e Event) {
	switch e.Type {
	case Interrupted:
		s.end(EntryInterrupted, e)
	case AccessDenied:
		if e.Reason == Fault {
			s.end(Unproved, e)
		}
	case StrikeReleased, LockUnlockedEvent:
		s.released = true
	case AccessTaken:
		switch {
		case s.own != nil: // by the door_opened before it
		case s.newest != nil && s.newest.by == "": // while a slow lock was still on its way
			s.own = s.newest
		default:
			s.newest = &leafStory{by: s.attempt, opened: e.At}
			s.own = s.newest
		}
	}
}

// hearLeaf takes what the leaf does. Nothing but a contact tells that it was closed: where one
// fails, or nobody listened, that stays unknown for good.
func (s *entryStory) hearLeaf(e Event) {
	if e.Type == DoorOpened {
		if s.newest != nil && s.newest.closed == "" { // it was closed unseen
			s.newest.lost = true
		}
		s.newest = &leafStory{by: e.Attempt, opened: e.At}
		if e.Attempt == s.attempt && s.own == nil {
			s.own = s.newest
		}
		return
	}
	l := s.newest
	if l == nil || l.closed != "" || l.lost {
		return
	}
	switch {
	case e.Type == DoorClosed:
		l.closed = e.At
	case e.Type == DoorHeldOpen:
		l.held = true
	case e.Type == DoorFault && e.Device != "", e.Type == GatewayStarted:
		l.lost = true
	}
}

// secure takes the door's being secured. Who came and who did not is known by then: the record has
// it at once behind that event.
func (s *entryStory) secure(e Event, next []Event) {
	if !s.released || s.r.Secured != "" {
		return // of a release before
	}
	s.r.Secured = e.At
	if s.own != nil {
		return
	}
	if s.newest != nil { // another was let in meanwhile: who of them opened the leaf, it does not say
		s.end(Unproved, e)
		return
	}
	for _, n := range next {
		switch {
		case n.Type != AccessNotTaken:
			s.end(Unproved, e)
			return
		case n.Attempt == s.attempt:
			s.end(NotEntered, n)
			return
		}
	}
	s.end(Unproved, e)
}

// conclude ends an entry whose leaf was opened, when the door is secured.
func (s *entryStory) conclude(e Event) {
	if s.own == nil {
		return
	}
	s.r.Opened, s.r.Closed = s.own.opened, s.own.closed
	switch {
	case s.r.Secured == "":
	case s.own.held:
		s.end(LeftOpen, e)
	case s.own.lost, s.own.closed != "" && s.leaving: // it may have been whoever left
		s.end(Unproved, e)
	case s.own.closed != "":
		s.end(Entered, e)
	}
}

// Possession is what a proof of possession says by itself: whose key has signed it, for which door,
// and when.
type Possession struct {
	Holder   string // thumbprint of the key
	Door     DoorID
	IssuedAt time.Time
}
