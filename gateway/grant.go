package gateway

import (
	"slices"
	"time"
)

// GrantStatus is what an issuer says of a grant.
type GrantStatus string

const (
	GrantActive  GrantStatus = "active"
	GrantRevoked GrantStatus = "revoked"
)

// Grant is a permission to enter: an issuer's signed statement, read and verified.
type Grant struct {
	ID       GrantID
	Version  int64 // the highest version of an ID stands, for ever
	Status   GrantStatus
	Doors    []DoorID // 1–8
	IssuedAt time.Time
	Period
	Uses     int // entries; 0: as often as period and schedule allow
	Schedule *Schedule
	Sub      string // opaque reference of the issuer; personal
	Holder   string // RFC 7638 thumbprint of the only key that may present it; "" for a bearer
	PIN      PIN    // from a sealed grant only; never stored in clear
	Card     Card   // as PIN
	// Approval is whether residents are asked before it opens. Of a third party's grant its policy
	// says that alone.
	Approval Approval
}

// Approval is whether residents are asked before a grant opens, and what their silence says.
type Approval string

const (
	ApprovalOff   Approval = ""        // nobody is asked
	SilenceDenies Approval = "deny"    // they are asked: without an answer it opens nothing
	SilenceOpens  Approval = "approve" // they are asked: without an answer it opens
)

// Kind is whom a grant is for, as a resident would say.
type Kind string

const (
	KindCourier    Kind = "courier"
	KindTechnician Kind = "technician"
	KindEmployee   Kind = "employee"
	KindFamily     Kind = "family"
)

// Kinds lists them.
func Kinds() []Kind { return []Kind{KindCourier, KindTechnician, KindEmployee, KindFamily} }

// Valid reports whether it is one of them.
func (k Kind) Valid() bool { return slices.Contains(Kinds(), k) }

// For reports whether the grant names door.
func (g *Grant) For(door DoorID) bool { return slices.Contains(g.Doors, door) }

// Issuer is who signs grants, with the limits that a resident sets for it.
type Issuer struct {
	ID     IssuerID
	Name   string
	Policy Policy
}

// Policy is a resident's limits on one issuer. A valid signature outside of it is denied (A5).
type Policy struct {
	Doors        []DoorID
	Hours        []Window      // in the door's zone; none: always
	OneTimeOnly  bool          // uses must be exactly 1
	MaxValidity  time.Duration // longest NotAfter − NotBefore; 0: no limit
	PerDay       int           // entries from midnight to midnight, all doors together; 0: no limit
	OfflineLimit time.Duration // longest silence of the issuer; 0: never stale
	Bearer       bool          // grants without holder may be presented at a reader
	RemoteUnlock bool          // commands may unlock
	// Knock is how long residents have to say no before a grant opens; 0: they are not asked.
	Knock time.Duration
	// Approval is whether residents are asked, and have to answer; it excludes Knock.
	Approval Approval
	// StaticCredentials allows grants that come with a card's number.
	StaticCredentials bool
}

// HomePolicy has no limits but the grant's own.
func HomePolicy(doors []DoorID) Policy { return Policy{Doors: doors} }
