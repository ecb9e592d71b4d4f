package gateway

// Credential is what somebody presents: a [PINCredential], a [GrantCredential],
// a [ResidentCredential], or a [CommandCredential].
type Credential interface{ credential() }

// PINCredential is digits typed at a reader.
type PINCredential struct{ PIN PIN }

// GrantCredential is the text of a grant: at a reader as it was scanned, on the
// LAN with a proof of possession.
type GrantCredential struct {
	Text  Secret // JWS compact, or a sealed grant
	Proof Secret // JWS over gateway, door, nonce and grant; none at a reader
}

// ResidentCredential is a resident whom the API has authenticated; the zero
// value is the local socket's user.
type ResidentCredential struct {
	Resident ResidentID // "": whoever is at the console
	Guest    bool       // the device's role: a guest's act ends no run of failures (P2)
	Hold     bool       // the resident insists, although another door of the interlock is not closed and secured
}

// CommandCredential is an issuer's command to unlock now, verified.
type CommandCredential struct{ Command Command }

func (PINCredential) credential()      {}
func (GrantCredential) credential()    {}
func (ResidentCredential) credential() {}
func (CommandCredential) credential()  {}

// Attempt is one credential at one door, through one reader, at one instant.
type Attempt struct {
	ID      AttemptID
	Door    DoorID
	Reader  ReaderID
	Grant   GrantID // the zero value where no grant was found, or a resident came
	Command bool    // Grant names a command, which is good once: no grant tries again by it
	// Episode is the attempt that the entry began with; "": this one.
	Episode AttemptID
	At      Reading
}

// Decision is yes or no, and why. The zero value is denied. A denial is a result,
// not an error; an error means "could not decide" and ends closed.
type Decision struct {
	Granted bool
	Reason  Reason // why not; "" when granted
	Grant   GrantID
}

// Reason is why a credential was refused, as the events tell it.
type Reason string

const (
	UnknownCredential Reason = "unknown_credential"
	WrongPIN          Reason = "wrong_pin"
	BadSignature      Reason = "bad_signature"
	UnknownIssuer     Reason = "unknown_issuer"
	WrongGateway      Reason = "wrong_gateway"
	WrongDoor         Reason = "wrong_door"
	NotYetValid       Reason = "not_yet_valid"
	Expired           Reason = "expired"
	OutsideSchedule   Reason = "outside_schedule"
	Revoked           Reason = "revoked"
	UsesSpent         Reason = "uses_spent"
	BeyondPolicy      Reason = "beyond_policy"
	IssuerPaused      Reason = "issuer_paused"
	IssuerStale       Reason = "issuer_stale"
	ClockUntrusted    Reason = "clock_untrusted"
	LockedOut         Reason = "locked_out"
	ProofRequired     Reason = "proof_required"
	BadProof          Reason = "bad_proof"
	DoorBlocked       Reason = "door_blocked"
	Fault             Reason = "fault"

	// A policy asks the residents first (contract §2, "Knock").
	Knock  Reason = "knock"  // their time is not over
	Vetoed Reason = "vetoed" // one of them said no
	// NotApproved: residents had to approve, and none did (contract §2, "Ask first").
	NotApproved Reason = "not_approved"

	// Interlocked: another door of the interlock is not closed and secured.
	Interlocked Reason = "interlocked"
)

// DenialCode is all that the person at the door learns (A8).
type DenialCode string

const (
	NotAllowed DenialCode = "not_allowed"
	TryLater   DenialCode = "try_later"
	NotNow     DenialCode = "not_now"
)

// Code folds the exact reason into the coarse one.
func (r Reason) Code() DenialCode {
	switch r {
	case LockedOut, ClockUntrusted, DoorBlocked, Fault, Knock, NotApproved, Interlocked:
		return TryLater
	case NotYetValid, OutsideSchedule:
		return NotNow
	}
	return NotAllowed
}

// Refusal is why a document was not believed or not taken: the reason for the
// record, and a detail for whoever debugs an integration. It never holds what was
// presented.
type Refusal struct {
	Reason Reason
	Detail string
}

func (r *Refusal) Error() string { return string(r.Reason) + ": " + r.Detail }

// CardCredential is a card at a reader.
type CardCredential struct{ Card Card }

func (CardCredential) credential() {}
