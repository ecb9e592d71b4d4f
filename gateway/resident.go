package gateway

import (
	"slices"
	"time"
)

// Role is what a paired device may do here.
type Role string

// The roles.
const (
	RoleResident  Role = "resident"  // all
	RoleGuest     Role = "guest"     // see the doors and what they do, and open them
	RoleInstaller Role = "installer" // see how the gateway and its hardware are
)

// Roles lists them.
func Roles() []Role { return []Role{RoleResident, RoleGuest, RoleInstaller} }

// Valid reports whether it is one of them.
func (r Role) Valid() bool { return slices.Contains(Roles(), r) }

// Resident is a person who lives or works here, known by a paired device.
type Resident struct {
	ID       ResidentID
	Name     string
	PairedAt time.Time
	Role     Role
	// Key is the RFC 7638 thumbprint of the key that signs the device's acts; "": its token is enough.
	Key string
	// Ver rises with each move of the device to another key and token; 0 counts as 1.
	Ver int64
	// Unconfirmed: nobody has said yet that the device is one of this house: it has just paired, or
	// it came back with a backup and may have been removed since (R3).
	Unconfirmed bool
}

// DPoP is what a proof of possession of a request says (RFC 9449 §4.2), its signature verified.
type DPoP struct {
	Key    string // RFC 7638 thumbprint of the key that signed it
	Method string // claim htm
	URL    string // claim htu
	ID     string // claim jti
	Nonce  string // claim nonce; "" where it has none
}
