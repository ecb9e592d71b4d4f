package api

import (
	"context"
	"errors"
	"io"
	"net/http"
	"time"

	"gardien/gateway"
)

// Backend is what the handlers ask the gateway for, by what they speak of. Errors that are
// *Problem reach the caller as they are; others become a 500 and a line in the log. Doors,
// readers, grants, issuers and residents that do not exist are problems of status 404 that
// name what exists. Acts take the Caller, so that their events name the resident who did it.
type Backend struct {
	Doors     DoorService
	Attempts  AttemptService
	Grants    GrantService
	Visits    VisitService
	Record    RecordService
	Issuers   IssuerService
	Residents ResidentService
	Pairing   PairingService
	Sessions  SessionService
	Upkeep    UpkeepService
	Mailbag   MailbagService
	Receipts  ReceiptService
	Health    HealthService
}

// DoorService is the doors and who presents something at them.
type DoorService interface {
	// List is what is known of each door, without waiting for any.
	List() []Door
	// Attempt judges a credential and, if it is good, releases the door.
	Attempt(ctx context.Context, door gateway.DoorID, reader gateway.ReaderID, c gateway.Credential) (Verdict, error)
	// Nonce is a challenge for a proof, for one client address.
	Nonce(addr string) (Nonce, error)
	// Veto keeps whoever knocks at a door out; nobody knocks: 409.
	Veto(ctx context.Context, by Caller, door gateway.DoorID) error
	// Lift ends the lock-out and the pause at a reader.
	Lift(ctx context.Context, by Caller, reader gateway.ReaderID) error
}

// GrantService is the grants in the cache.
type GrantService interface {
	// List gives up to limit grants after one of them, by id.
	List(ctx context.Context, after gateway.GrantID, limit int) ([]Grant, error)
	Get(context.Context, gateway.GrantID) (Grant, error)
	// Make makes a grant at home, and gives its PIN this once. A resident that it names must exist.
	// ApprovalSilence is "" where nobody is asked.
	Make(ctx context.Context, by Caller, req GrantRequest) (GrantMade, error)
	// Revoke ends a grant made at home, and blocks a third party's here.
	Revoke(ctx context.Context, by Caller, id gateway.GrantID) error
	// Explain says what the rule says of a grant at an instant; zero: now.
	Explain(ctx context.Context, id gateway.GrantID, door gateway.DoorID, at time.Time) (Explanation, error)
}

// RecordService is the record.
type RecordService interface {
	// Events gives up to limit events after one of them, by seq.
	Events(ctx context.Context, after int64, limit int) ([]gateway.Event, error)
	// Watch gives a signal that the record has grown.
	Watch() (grown <-chan struct{}, stop func())
	Verify(context.Context) (Verification, error)
	// Forget removes what is personal of a reference, a grant or a resident, and counts.
	Forget(ctx context.Context, ref string) (int64, error)
}

// IssuerService is the third parties.
type IssuerService interface {
	List(context.Context) ([]Issuer, error)
	// Pause pauses one of them, or resumes it (nil); a pause replaces the one before.
	Pause(ctx context.Context, by Caller, id gateway.IssuerID, p *gateway.Pause) error
	// PauseAll pauses all of them, or resumes them (nil), as Pause does.
	PauseAll(ctx context.Context, by Caller, p *gateway.Pause) error
}

// ResidentService is who lives here.
type ResidentService interface {
	// List gives the paired devices, those that wait to be confirmed included.
	List(ctx context.Context, by Caller) ([]Resident, error)
	// Remove removes a device. The last resident stays, unless the console asks: 409.
	Remove(ctx context.Context, by Caller, id gateway.ResidentID) error
	// Confirm takes the caller's word that a device is one of this house.
	Confirm(context.Context, gateway.ResidentID) error
	// Duress makes a PIN for a resident that opens and tells.
	Duress(ctx context.Context, by Caller, id gateway.ResidentID, req DuressRequest) (GrantMade, error)
}

// PairingService lets devices in among the residents'.
type PairingService interface {
	// Open opens a window for one device; one that is open is replaced.
	Open(context.Context, gateway.Role) (PairingWindow, error)
	// Close closes the one with an id, or any ("").
	Close(ctx context.Context, id string) error
	// Await gives the window with an id, or any (""), when a device has paired, when it has ended, or
	// after a time.
	Await(ctx context.Context, id string, most time.Duration) (PairingState, error)
	// Pair pairs a device that knows the secret; its token is given this once.
	Pair(context.Context, PairingRequest) (Paired, error)
	// Move gives a code by which a device's access moves to another key.
	Move(context.Context, gateway.ResidentID) (SessionMove, error)
}

// SessionService is who asks, and what was answered to them.
type SessionService interface {
	// Authenticate finds the device whose token this is, be it confirmed or not.
	Authenticate(ctx context.Context, token gateway.Secret) (gateway.Resident, bool, error)
	// Prove holds a DPoP proof (RFC 9449) against a device's request; url has no query. A proof that
	// has no nonce of ours, or a stale one, is ErrNonce; all other refusals are problems.
	Prove(ctx context.Context, device gateway.Resident, method, url, proof string) error
	// Nonce is the one of now for DPoP proofs.
	Nonce() string
	// Recall and Remember keep answers for the Idempotency-Key; they seal them.
	Recall(ctx context.Context, key, body string) (a Answer, found, same bool, err error)
	Remember(ctx context.Context, key, body string, a Answer) error
}

// ErrNonce says that an act may be signed again, with the nonce of the answer's header.
var ErrNonce = errors.New("use the nonce of DPoP-Nonce")

// UpkeepService is the gateway itself.
type UpkeepService interface {
	Info() Info
	// Status is the gateway's condition; house says whether to tell of who lives here and when nobody
	// is at home.
	Status(ctx context.Context, house bool) (Status, error)
	// Durable reports whether what is done now outlives a power cut: the disk takes writes.
	Durable() bool
	// CA is the certificate of the house CA (DER), and an Apple profile that has it.
	CA() (der, profile []byte, err error)
	// Descriptor is what an issuer needs to write to this gateway.
	Descriptor(context.Context) (Descriptor, error)
	EnrolInCloud(context.Context, CloudEnrolment) (CloudStatus, error)
	// ConfirmClock takes a resident's word that the system's clock is right now.
	ConfirmClock(context.Context, Caller) (StatusClock, error)
	Backup(context.Context, io.Writer) error
	Restore(context.Context, io.Reader) error
}

// Answer is a remembered response.
type Answer struct {
	Status int    `json:"status"`
	Type   string `json:"type"`
	Body   []byte `json:"body"`

	cookie *http.Cookie // nil: none is set
}

// Sim moves simulated devices; a gateway without any has none. Each call returns when
// what follows from it is in the record.
type Sim interface {
	Contact(context.Context, SimContact) error
	Keys(context.Context, SimKeys) error
	Scan(context.Context, SimScan) error
	REX(context.Context, SimREX) error
	Fault(context.Context, SimFault) error
}
