package gateway

import (
	"crypto/rand"
	"encoding/base64"
	"fmt"
	"strings"
)

// HomeIssuer is the issuer of grants that residents make at home. The gateway's
// own key signs them; no configured issuer may take the name.
const HomeIssuer IssuerID = "home"

type (
	// DoorID names a door of this gateway: [a-z0-9-]{1,32}.
	DoorID string
	// ReaderID names a reader: [a-z0-9-]{1,32}, or ReaderLAN, ReaderApp.
	ReaderID string
	// IssuerID names who signs grants: [a-z0-9.-]{1,64}.
	IssuerID string
	// GatewayID is "gw-" and ten characters of lower-case base32 of the SHA-256 of
	// the gateway's signing key (DER SubjectPublicKeyInfo).
	GatewayID string
	// ResidentID names a paired resident: 22 base64url characters.
	ResidentID string
	// AttemptID names one attempt in all its events: 16 random bytes in base64url.
	AttemptID string
)

// The readers of attempts that do not come from a reader at the door.
const (
	ReaderLAN ReaderID = "lan" // a grant presented over the network
	ReaderApp ReaderID = "app" // a resident's own device or the local tool
)

// GrantID names a grant: jti is unique for its issuer only, so namespaces never touch.
type GrantID struct {
	Issuer IssuerID
	JTI    string // [A-Za-z0-9._-]{1,64}
}

// String gives "iss/jti"; the zero GrantID gives "".
func (id GrantID) String() string {
	if id == (GrantID{}) {
		return ""
	}
	return string(id.Issuer) + "/" + id.JTI
}

// ParseGrantID reads "iss/jti"; a text without a slash is a grant made at home.
func ParseGrantID(s string) (GrantID, error) {
	iss, jti, ok := strings.Cut(s, "/")
	if !ok {
		iss, jti = string(HomeIssuer), s
	}
	id := GrantID{IssuerID(iss), jti}
	if !id.Issuer.Valid() || !ValidJTI(jti) {
		return GrantID{}, fmt.Errorf("grant id %q: want issuer/jti, or the jti of a grant made at home", s)
	}
	return id, nil
}

// MarshalText gives String.
func (id GrantID) MarshalText() ([]byte, error) { return []byte(id.String()), nil }

// UnmarshalText takes what ParseGrantID takes.
func (id *GrantID) UnmarshalText(b []byte) (err error) {
	*id, err = ParseGrantID(string(b))
	return err
}

// Valid reports whether id keeps to its alphabet and length.
func (id DoorID) Valid() bool { return only(string(id), 32, lower, "-") }

// Valid reports whether id keeps to its alphabet and length. The names of the
// channels without a reader are taken.
func (id ReaderID) Valid() bool {
	return only(string(id), 32, lower, "-") && id != ReaderLAN && id != ReaderApp
}

// Valid reports whether id keeps to its alphabet and length; "home" is valid here
// and refused where issuers are configured.
func (id IssuerID) Valid() bool { return only(string(id), 64, lower, ".-") }

// Valid reports whether id has the form of one.
func (id GatewayID) Valid() bool {
	name, ok := strings.CutPrefix(string(id), "gw-")
	return ok && len(name) == 10 && strings.Trim(name, "abcdefghijklmnopqrstuvwxyz234567") == ""
}

// ValidJTI reports whether s is 1–64 of A–Z a–z 0–9 . _ -.
func ValidJTI(s string) bool { return only(s, 64, lower, upper, "._-") }

// ValidThumbprint reports whether s is the thumbprint of a key (RFC 7638): a SHA-256 in base64url,
// which has one spelling only.
func ValidThumbprint(s string) bool {
	b, err := base64.RawURLEncoding.Strict().DecodeString(s)
	return err == nil && len(s) == 43 && len(b) == 32
}

const (
	lower = "abcdefghijklmnopqrstuvwxyz0123456789"
	upper = "ABCDEFGHIJKLMNOPQRSTUVWXYZ"
)

// only reports whether s is 1..limit bytes of the alphabets.
func only(s string, limit int, alphabets ...string) bool {
	return s != "" && len(s) <= limit && strings.Trim(s, strings.Join(alphabets, "")) == ""
}

// NewAttemptID draws a fresh attempt id from crypto/rand.
func NewAttemptID() AttemptID { return AttemptID(randomID()) }

// NewResidentID draws a fresh resident id from crypto/rand.
func NewResidentID() ResidentID { return ResidentID(randomID()) }

// NewJTI draws a fresh grant id of 22 characters from crypto/rand.
func NewJTI() string { return randomID() }

// randomID draws an id that begins with a letter or digit: one in 32 would begin with a
// character that a command line takes for a flag, or a shell's user for a typing error.
func randomID() string {
	for {
		var b [16]byte
		rand.Read(b[:]) // never fails (crypto/rand)
		if id := base64.RawURLEncoding.EncodeToString(b[:]); id[0] != '-' && id[0] != '_' {
			return id
		}
	}
}
