package gateway

// EventType is what happened, in the words of ONVIF and Matter.
type EventType string

const (
	AccessGranted     EventType = "access_granted"
	AccessDenied      EventType = "access_denied"
	AccessTaken       EventType = "access_taken"
	AccessNotTaken    EventType = "access_not_taken"
	StrikeReleased    EventType = "strike_released"
	StrikeSecured     EventType = "strike_secured"
	LockLockedEvent   EventType = "lock_locked"
	LockUnlockedEvent EventType = "lock_unlocked"
	LockJammedEvent   EventType = "lock_jammed"
	LockUnknownEvent  EventType = "lock_unknown"
	DoorOpened        EventType = "door_opened"
	DoorClosed        EventType = "door_closed"
	DoorHeldOpen      EventType = "door_held_open"
	DoorForcedOpen    EventType = "door_forced_open"
	DoorFault         EventType = "door_fault"
	RequestToExit     EventType = "request_to_exit"
	ReaderLockedOut   EventType = "reader_locked_out"
	ReaderTamper      EventType = "reader_tamper"
	GrantAdded        EventType = "grant_added"
	GrantUpdated      EventType = "grant_updated"
	GrantRevokedOn    EventType = "grant_revoked"
	GrantRejected     EventType = "grant_rejected"
	GrantExpired      EventType = "grant_expired"
	IssuerPausedOn    EventType = "issuer_paused"
	IssuerResumed     EventType = "issuer_resumed"
	CloudConnected    EventType = "cloud_connected"
	CloudLost         EventType = "cloud_disconnected"
	ClockTrusted      EventType = "clock_trusted"
	ClockLost         EventType = "clock_undecided"
	GatewayStarted    EventType = "gateway_started"
	GatewayStopped    EventType = "gateway_stopped"
	Interrupted       EventType = "interrupted"
	ResidentPaired    EventType = "resident_paired"
	ResidentRemoved   EventType = "resident_removed"
	BatteryLow        EventType = "battery_low"
	DeviceOffline     EventType = "device_offline"
	DeviceOnline      EventType = "device_online"

	// Duress: a resident's duress PIN was typed; the door behaves as ever
	// (ONVIF tns1:AccessControl/Duress, Matter ForcedUser).
	Duress EventType = "duress"
	// KnockedEvent: somebody with a grant waits at a door whose residents are asked first.
	KnockedEvent EventType = "knock"
	// DoorBell: the bell push was pressed.
	DoorBell EventType = "door_bell"
	// LockOutLifted: a resident ended the lock-out and the pause of a reader.
	LockOutLifted EventType = "lockout_lifted"
	// KnockVetoed: a resident said no.
	KnockVetoed EventType = "knock_vetoed"
	// ApprovalAsked, ApprovalGiven and ApprovalDenied: somebody waits until a resident approves, and
	// a resident does, or says no.
	ApprovalAsked  EventType = "approval_asked"
	ApprovalGiven  EventType = "approval_given"
	ApprovalDenied EventType = "approval_denied"
	// InterlockOverridden: a resident let somebody in although another door of the interlock is not
	// closed and secured.
	InterlockOverridden EventType = "interlock_overridden"
	// DatabaseSetAside: the database was broken; the record starts anew and third
	// parties are denied until a resident accepts it (D4).
	DatabaseSetAside EventType = "database_set_aside"
	// DatabaseRolledBack: the database is older than what it once acknowledged; limited grants from
	// before are void, and third parties are denied until a resident accepts it (R1).
	DatabaseRolledBack EventType = "database_rolled_back"
	// TaskDown and TaskUp: a part that may fail alone (Device) does not work, or does again.
	TaskDown EventType = "task_down"
	TaskUp   EventType = "task_up"
	// IssuerSetAside: an issuer's keys cannot be read; nothing of it is believed.
	IssuerSetAside EventType = "issuer_set_aside"
	// DatabaseRestored: a backup came back; limited grants from before are void (D7).
	DatabaseRestored EventType = "database_restored"
)

// Event is one line of the record. Seq has no gaps and each Hash covers the one
// before. Members that do not apply are absent. Sub and Resident are personal:
// they enter the hash as salted commitments so that they can be forgotten.
type Event struct {
	Seq      int64      `json:"seq"`
	At       string     `json:"at"` // RFC 3339 with milliseconds, in the gateway's zone
	Clock    ClockState `json:"clock"`
	Boot     string     `json:"boot"`
	Type     EventType  `json:"type"`
	Door     DoorID     `json:"door,omitempty"`
	Reader   ReaderID   `json:"reader,omitempty"`
	Issuer   IssuerID   `json:"issuer,omitempty"`
	Grant    string     `json:"grant,omitempty"` // jti
	Attempt  AttemptID  `json:"attempt,omitempty"`
	Episode  AttemptID  `json:"episode,omitempty"` // the attempt that this belongs to: see Record
	Reason   Reason     `json:"reason,omitempty"`
	Device   string     `json:"device,omitempty"` // what went offline or came back
	Late     bool       `json:"late,omitempty"`   // it is of a time when the disk took no writes, and was written later (D5)
	Count    int        `json:"count,omitempty"`  // how many alike this line stands for, or failures so far
	Sub      string     `json:"sub,omitempty"`
	Resident ResidentID `json:"resident,omitempty"`
	Prev     string     `json:"prev"`
	Hash     string     `json:"hash"`
}

// Of fills an event's subject from an attempt.
func (t EventType) Of(a Attempt) Event {
	return Event{Type: t, Door: a.Door, Reader: a.Reader, Issuer: a.Grant.Issuer, Grant: a.Grant.JTI, Attempt: a.ID, Episode: a.Episode}
}

// TimeFormat is how At is written.
const TimeFormat = "2006-01-02T15:04:05.000Z07:00"
