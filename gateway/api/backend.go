package api

import (
	"context"
	"io"
	"time"

	"gardien/gateway"
)

// Backend is what the handlers ask the gateway for. Errors that are *Problem reach the
// caller as they are; others become a 500 and a line in the log. Doors, readers and
// grants that do not exist are problems of status 404 that name what exists.
type Backend interface {
	Info() Info
	Status(context.Context) (Status, error)
	Doors() []Door
	Attempt(ctx context.Context, door gateway.DoorID, reader gateway.ReaderID, c gateway.Credential) (Granted, gateway.Reason, error)
	Nonce(addr string) (Nonce, error)

	Grants(ctx context.Context, after gateway.GrantID, limit int) ([]Grant, error)
	Grant(context.Context, gateway.GrantID) (Grant, error)
	MakeGrant(context.Context, GrantRequest) (GrantMade, error)
	RevokeGrant(context.Context, gateway.GrantID) error
	Explain(ctx context.Context, id gateway.GrantID, door gateway.DoorID, at time.Time) (Explanation, error)
	Take(ctx context.Context, item MailbagItem) (MailbagResult, error)

	Events(ctx context.Context, after int64, limit int) ([]gateway.Event, error)
	Watch() (grown <-chan struct{}, stop func())
	Verify(context.Context) (Verification, error)
	Forget(ctx context.Context, ref string) (int64, error)

	// Veto keeps whoever knocks at a door out; nobody knocks: 409.
	Veto(context.Context, gateway.DoorID) error

	Issuers(context.Context) ([]Issuer, error)
	PauseIssuer(ctx context.Context, id gateway.IssuerID, paused bool) error
	PauseAll(ctx context.Context, paused bool) error

	OpenPairing(context.Context) (PairingWindow, error)
	Pair(context.Context, PairingRequest) (Paired, error)
	Residents(context.Context) ([]Resident, error)
	RemoveResident(context.Context, gateway.ResidentID) error
	Duress(context.Context, gateway.ResidentID, DuressRequest) (GrantMade, error)
	Authenticate(ctx context.Context, token gateway.Secret) (gateway.ResidentID, bool, error)

	Descriptor(context.Context) (Descriptor, error)
	EnrolInCloud(context.Context, CloudEnrolment) (CloudStatus, error)
	ConfirmClock(context.Context) (StatusClock, error)
	Backup(context.Context, io.Writer) error
	Restore(context.Context, io.Reader) error

	// Recall and Remember keep answers for the Idempotency-Key; they seal them.
	Recall(ctx context.Context, key, body string) (a Answer, found, same bool, err error)
	Remember(ctx context.Context, key, body string, a Answer) error
}

// Answer is a remembered response.
type Answer struct {
	Status int    `json:"status"`
	Type   string `json:"type"`
	Body   []byte `json:"body"`
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
