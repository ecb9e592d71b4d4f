package gateway

import (
	"slices"
	"strings"
)

// Severity is how soon somebody should look at a finding.
type Severity string

// The severities.
const (
	SeverityInfo  Severity = "info"  // good to know: nobody has to do anything
	SeverityToday Severity = "today" // somebody is refused, or will be soon
	SeverityNow   Severity = "now"   // residents are refused, or a door may stand open
)

var severities = []Severity{SeverityNow, SeverityToday, SeverityInfo}

// Compare gives a negative number where s is more urgent than o, and 0 where both are the same.
func (s Severity) Compare(o Severity) int {
	return slices.Index(severities, s) - slices.Index(severities, o)
}

// FindingKind is what somebody should look at. An Ailment of a door is one, too.
type FindingKind string

// The kinds of findings (contract §5). Those with a subject have its id behind a point.
const (
	DoorIsBlocked      FindingKind = "door.blocked"   // of a door: it can be moved for nobody
	DoorFaulty         FindingKind = "door.fault"     // its strike, lock or contact did not do what it was told
	DoorIsHeldOpen     FindingKind = "door.held_open" // it stands open for longer than it should
	BatteryLowOf       FindingKind = "battery"        // its lock's battery is low
	ReaderLockedOutNow FindingKind = "reader.locked_out"
	ReaderPaused       FindingKind = "reader.paused" // third parties' PINs and cards pause there
	TaskIsDown         FindingKind = "task.down"
	NetworkUnserved    FindingKind = "network.unserved" // nobody listens on the home network, and somebody should
	NameCollision      FindingKind = "network.collision"
	IssuerAside        FindingKind = "issuer.set_aside"
	IssuerIsStale      FindingKind = "issuer.stale"
	IssuerIsPaused     FindingKind = "issuer.paused" // it alone
	IssuerStopsSoon    FindingKind = "issuer.stops_soon"
	ResidentUnsure     FindingKind = "resident.unconfirmed"
	ResidentMissing    FindingKind = "resident.missing"
	PINMissed          FindingKind = "pin.missed" // of a grant: it was wiped, because its length is not used any more
	ClockUnsure        FindingKind = "clock.undecided"
	DatabaseReadOnly   FindingKind = "database.read_only"
	DatabaseFailing    FindingKind = "database.failing"
	DatabaseAside      FindingKind = "database.set_aside"
	DatabaseRollback   FindingKind = "database.rolled_back"
	DatabaseRestore    FindingKind = "database.restored"
	CloudMissing       FindingKind = "cloud.disconnected"
	CloudNotEnrolled   FindingKind = "cloud.not_enrolled"
	PauseIsOn          FindingKind = "pause"
)

// Of gives the key of a finding of this kind: the kind, and its subject's id behind a point; "": it
// has none.
func (k FindingKind) Of(subject string) string {
	return strings.TrimSuffix(string(k)+"."+subject, ".")
}
