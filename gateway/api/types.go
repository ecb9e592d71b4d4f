package api

import (
	"encoding/json"
	"time"

	"gardien/gateway"
)

// Info is all that a stranger learns.
type Info struct {
	ID  gateway.GatewayID `json:"id"`
	API string            `json:"api"` // version of the API: "1"
}

// Version is the API's version.
const Version = "1"

// Status is the gateway's condition.
type Status struct {
	ID      gateway.GatewayID `json:"id"`
	Name    string            `json:"name"`
	Version string            `json:"version"`
	Started string            `json:"started"`
	Seq     int64             `json:"seq"`
	Log     string            `json:"log"`
	Epoch   int               `json:"epoch"`
	Paused  bool              `json:"paused"` // all third parties, now
	// PausedUntil is when that ends; null: when a resident resumes, or not paused.
	PausedUntil *string      `json:"paused_until"`
	Pause       *StatusPause `json:"pause"` // the one that is on or planned, or null
	API         StatusAPI    `json:"api"`
	Clock       StatusClock  `json:"clock"`
	Cloud       string       `json:"cloud"`    // "off", "not enrolled", "connected", "disconnected"
	Database    string       `json:"database"` // "ok", "failing", or where a broken one was set aside
	Tasks       []StatusTask `json:"tasks"`    // the parts that may fail alone
	Notes       []string     `json:"notes"`    // the findings of GET /v1/health in English, with the remedy
	// Severities are those of the notes, one by one.
	Severities []gateway.Severity `json:"severities"`
}

// StatusPause is a pause of all third parties, or a vacation.
type StatusPause struct {
	From  *string           `json:"from"`  // null: at once
	Until *string           `json:"until"` // null: until a resident resumes
	Home  bool              `json:"home"`  // grants made at home are paused, too
	Keep  []gateway.GrantID `json:"keep"`  // but for these
}

// StatusTask is a part that may fail alone.
type StatusTask struct {
	Name  string `json:"name"`
	State string `json:"state"` // "up", or "down": it is tried again
	Since string `json:"since"`
	Error string `json:"error,omitempty"`
}

// StatusAPI is where the gateway listens; empty where it does not.
type StatusAPI struct {
	Address       string `json:"address"`        // host:port
	Name          string `json:"name"`           // the one that its certificate has
	Fingerprint   string `json:"fingerprint"`    // SHA-256 of the TLS key's SubjectPublicKeyInfo, 64 hex digits
	CAFingerprint string `json:"ca_fingerprint"` // SHA-256 of the house CA's certificate, 64 hex digits
	Socket        string `json:"socket"`
}

// StatusClock is what time it is and how sure that is.
type StatusClock struct {
	State    gateway.ClockState `json:"state"`
	Now      string             `json:"now"`
	Earliest string             `json:"earliest"`
	Latest   string             `json:"latest"`
	Source   string             `json:"source"`
	Zone     string             `json:"zone"` // IANA name
}

// Door is a door's state; null where the door has no such part.
type Door struct {
	ID       gateway.DoorID `json:"id"`
	Name     string         `json:"name"`
	Strike   *string        `json:"strike"`  // released, secured
	Contact  *string        `json:"contact"` // open, closed, unknown, fault
	Lock     *string        `json:"lock"`    // locked, unlocked, jammed, unknown
	HeldOpen bool           `json:"held_open"`
	Fault    bool           `json:"fault"`
	Blocked  bool           `json:"blocked"` // its strike or lock is not there, or does not answer
	// Health is why the door is unwell, so that third parties are refused: keys as
	// contact.fault, lock.jammed.
	Health   []gateway.Ailment `json:"health"`
	SeenAt   *string           `json:"seen_at"`   // the last instant at which this was known; null: it never was
	Since    string            `json:"since"`     // since when strike, contact, lock and held_open are so
	Battery  *int              `json:"battery"`   // of the lock, in percent
	OpenedBy *gateway.Opener   `json:"opened_by"` // while it is open: handle, grant, unknown
	Knock    *Knock            `json:"knock"`     // who waits there for the residents; null: nobody
}

// Doors is a list of doors.
type Doors struct {
	Doors []Door `json:"doors"`
}

// AttemptRequest presents a grant with its proof; without both it is a resident's own wish. One of
// them that is there, be it empty, makes it a grant's.
type AttemptRequest struct {
	Grant *string `json:"grant,omitempty"`
	Proof *string `json:"proof,omitempty"`
	// Hold is a resident's: it insists, although another door of the interlock is not closed and secured.
	Hold bool `json:"hold,omitempty"`
}

// Granted answers an attempt.
type Granted struct {
	Decision    string            `json:"decision"` // granted
	Door        gateway.DoorID    `json:"door"`
	ReleaseTime string            `json:"release_time"`
	Attempt     gateway.AttemptID `json:"attempt"`
}

// Denied answers an attempt; all such bodies have one length (A8).
type Denied struct {
	Decision string             `json:"decision"` // denied
	Code     gateway.DenialCode `json:"code"`
}

// Nonce is for one proof.
type Nonce struct {
	Nonce     string `json:"nonce"`
	ExpiresIn int    `json:"expires_in"` // seconds
}

// GrantRequest makes a grant at home. Instants are RFC 3339.
type GrantRequest struct {
	Doors     []gateway.DoorID  `json:"doors"`
	NotBefore *time.Time        `json:"not_before,omitempty"`
	NotAfter  *time.Time        `json:"not_after,omitempty"`
	Uses      *int              `json:"uses,omitempty"` // from 1 on; absent: as often as wanted
	Schedule  *gateway.Schedule `json:"schedule,omitempty"`
	PIN       bool              `json:"pin,omitempty"`
	// Resident makes the PIN that resident's own: it ends a run of wrong ones at a reader.
	Resident gateway.ResidentID `json:"resident,omitempty"`
	// Kind is whom it is for: courier, technician, employee, family; absent: as its hours and uses tell.
	Kind gateway.Kind `json:"kind,omitempty"`
	// Approval "ask" has residents asked before it opens; ApprovalSilence is what their silence says:
	// "deny" (default) or "approve".
	Approval        string `json:"approval,omitempty"`
	ApprovalSilence string `json:"approval_silence,omitempty"`

	Card   string `json:"card,omitempty"`   // BITS:FACILITY:NUMBER of a Wiegand card
	Holder string `json:"holder,omitempty"` // thumbprint of the key (RFC 7638) whose holder presents it
	Sub    string `json:"sub,omitempty"`
}

// GrantMade answers it; the PIN is told this once.
type GrantMade struct {
	ID    string `json:"id"`
	PIN   string `json:"pin,omitempty"`
	Grant string `json:"grant,omitempty"` // with a holder: the text that the phone presents
}

// Grant is what is remembered of a grant; null where there is no limit.
type Grant struct {
	ID        string              `json:"id"`
	Issuer    gateway.IssuerID    `json:"issuer"`
	JTI       string              `json:"jti"`
	Ver       int64               `json:"ver"`
	Status    gateway.GrantStatus `json:"status"`
	Doors     []gateway.DoorID    `json:"doors"`
	NotBefore string              `json:"not_before"`
	NotAfter  string              `json:"not_after"`
	Uses      *int                `json:"uses"`
	UsesLeft  *int                `json:"uses_left"`
	Schedule  *gateway.Schedule   `json:"schedule"`
	Sub       *string             `json:"sub"`
	Kind      gateway.Kind        `json:"kind"`    // as its maker said, else as its hours and uses tell
	MadeBy    *gateway.ResidentID `json:"made_by"` // null: a third party's, the console's, or forgotten
	// Presentable: something can present it now, be it a PIN, a card, its text or its holder's phone.
	Presentable     bool    `json:"presentable"`
	Approval        string  `json:"approval"`         // off, ask: of a third party's as its policy says
	ApprovalSilence *string `json:"approval_silence"` // deny, approve; null where nobody is asked
}

// Grants is a page of grants; Next continues it with ?after=.
type Grants struct {
	Grants []Grant `json:"grants"`
	Next   string  `json:"next,omitempty"`
}

// Explanation is every check of the rule with its answer.
type Explanation struct {
	Verdict string          `json:"verdict"` // granted, denied
	Reason  *gateway.Reason `json:"reason"`  // null when granted
	Door    gateway.DoorID  `json:"door"`
	At      string          `json:"at"`
	Checks  []Check         `json:"checks"`
}

// Check is one of them.
type Check struct {
	Check  string         `json:"check"`
	OK     bool           `json:"ok"`
	Reason gateway.Reason `json:"reason,omitempty"`
	Detail string         `json:"detail,omitempty"`
}

// MailbagItem is a mailbox item (contract §4), or a bare grant given as a string.
type MailbagItem = gateway.Item

// MailbagResults answers a mailbag, in its order.
type MailbagResults struct {
	Results []MailbagResult `json:"results"`
	Durable *bool           `json:"durable,omitempty"` // false: what was taken in acts now, and a power cut would undo it
}

// MailbagResult is what became of one item.
type MailbagResult struct {
	ID     string         `json:"id"`
	Result string         `json:"result"` // accepted, known, rejected
	Reason gateway.Reason `json:"reason,omitempty"`
	Detail string         `json:"detail,omitempty"`
}

// Events is a page of the record; Next continues it with ?after=.
type Events struct {
	Events []gateway.Event `json:"events"`
	Next   int64           `json:"next"`
}

// Verification is the verdict on the record.
type Verification struct {
	OK       bool   `json:"ok"`
	Events   int64  `json:"events"`
	FirstBad *int64 `json:"first_bad"`
	Problem  string `json:"problem,omitempty"`
}

// ForgetRequest names what is to be forgotten: a sub, an iss/jti or a resident's id.
type ForgetRequest struct {
	Ref string `json:"ref"`
}

// Forgotten says how many rows lost something.
type Forgotten struct {
	Forgotten int64 `json:"forgotten"`
}

// Issuer is a third party.
type Issuer struct {
	ID     gateway.IssuerID `json:"id"`
	Name   string           `json:"name"`
	Doors  []gateway.DoorID `json:"doors"`
	Paused bool             `json:"paused"`
	// PausedUntil is when the pause ends; null: when a resident resumes, or not paused.
	PausedUntil *string `json:"paused_until"`
	HeardAt     *string `json:"heard_at"`
	// ManifestAt is what offline_limit counts from once a manifest has come.
	ManifestAt *string  `json:"manifest_at"`
	KeyIDs     []string `json:"key_ids"`
	Today      int      `json:"entries_today"`
	// StopsAt is when it goes stale unless it says something new; null: never, or nothing of it is here.
	StopsAt  *string      `json:"stops_at"`
	Policy   IssuerPolicy `json:"policy"`
	SetAside *string      `json:"set_aside"` // why nothing of it is believed
}

// Issuers is a list of them.
type Issuers struct {
	Issuers []Issuer `json:"issuers"`
}

// IssuerPauseRequest pauses one third party.
type IssuerPauseRequest struct {
	Until *time.Time `json:"until,omitempty"` // absent: until a resident resumes
}

// PauseRequest pauses all third parties; with Home it is a vacation.
type PauseRequest struct {
	From  *time.Time        `json:"from,omitempty"`  // absent: at once
	Until *time.Time        `json:"until,omitempty"` // absent: until a resident resumes
	Home  bool              `json:"home,omitempty"`  // grants made at home are paused, too
	Keep  []gateway.GrantID `json:"keep,omitempty"`  // but for these
}

// PairingWindowRequest opens a window.
type PairingWindowRequest struct {
	Role gateway.Role `json:"role,omitempty"` // of the device that pairs; absent: resident
}

// PairingWindow is open for one device.
type PairingWindow struct {
	ID          string `json:"id"` // for whoever waits at it, and closes it
	URL         string `json:"url"`
	Secret      string `json:"secret"`
	Fingerprint string `json:"fingerprint"`
	ExpiresIn   int    `json:"expires_in"` // seconds
}

// PairingState is a window as whoever opened it sees it.
type PairingState struct {
	Open      bool           `json:"open"`
	ExpiresIn int            `json:"expires_in"` // seconds
	Device    *PairingDevice `json:"device"`     // that waits to be confirmed; null: none has come yet
}

// PairingDevice has paired, and waits to be confirmed.
type PairingDevice struct {
	ID   gateway.ResidentID `json:"id"`
	Name string             `json:"name"`
	Role gateway.Role       `json:"role"`
	Code string             `json:"code"` // six digits: the device shows the same
}

// PairingRequest pairs a device.
type PairingRequest struct {
	// Secret is the window's, or the code of POST /v1/session/move; absent where the button opened it.
	Secret string `json:"secret,omitempty"`
	Name   string `json:"name"`
	// Key is a public JWK on P-256 (RFC 7517): its acts carry a proof of it (RFC 9449).
	Key    json.RawMessage `json:"key,omitempty"`
	Cookie bool            `json:"cookie,omitempty"` // the token comes as a cookie; it needs a key
}

// Paired answers it; the token is told this once.
type Paired struct {
	ID    gateway.ResidentID `json:"id"`
	Code  string             `json:"code"`            // six digits: whoever confirms sees the same
	Token string             `json:"token,omitempty"` // absent where it is in the cookie
}

// Session is who asks.
type Session struct {
	Resident  gateway.ResidentID `json:"resident"`
	Role      gateway.Role       `json:"role"`
	Confirmed bool               `json:"confirmed"`
}

// SessionMove is the way to another key of the same device.
type SessionMove struct {
	Code      string `json:"code"`       // six digits, the secret of POST /v1/pairing
	ExpiresIn int    `json:"expires_in"` // seconds
}

// Resident is a paired device.
type Resident struct {
	ID       gateway.ResidentID `json:"id"`
	Name     string             `json:"name"`
	Role     gateway.Role       `json:"role"`
	PairedAt string             `json:"paired_at"`
	// Confirmed is false for one that has just paired, or that came back with a backup and may have
	// been removed since.
	Confirmed bool    `json:"confirmed"`
	This      bool    `json:"this"`    // it is the one that asks
	SeenAt    *string `json:"seen_at"` // when it last authenticated; null: never since it is known
	// Code is what a device that has just paired shows: compare it before you confirm it.
	Code *string `json:"code"`
}

// Done answers what was done while the disk takes no writes, in place of 204 without a body.
type Done struct {
	Durable bool `json:"durable"` // false: it acts now, and a power cut would undo it
}

// Residents is a list of them.
type Residents struct {
	Residents []Resident `json:"residents"`
}

// DuressRequest asks for a resident's duress PIN.
type DuressRequest struct {
	Doors []gateway.DoorID `json:"doors,omitempty"` // absent: all
}

// Descriptor is the gateway's signed descriptor.
type Descriptor struct {
	Descriptor string `json:"descriptor"`
}

// CloudEnrolment enrols the gateway at the configured cloud.
type CloudEnrolment struct {
	Code string `json:"code"`
}

// CloudStatus says where the gateway is enrolled.
type CloudStatus struct {
	ID    gateway.GatewayID `json:"id"`
	Cloud string            `json:"cloud"`
}

// SimContact moves a simulated leaf.
type SimContact struct {
	Door  gateway.DoorID       `json:"door"`
	State gateway.ContactState `json:"state"` // open, closed; open and close do as well
}

// SimKeys types at a simulated reader.
type SimKeys struct {
	Reader gateway.ReaderID `json:"reader"`
	Keys   string           `json:"keys"`
}

// SimScan presents a text at a simulated reader.
type SimScan struct {
	Reader gateway.ReaderID `json:"reader"`
	Text   string           `json:"text"`
}

// SimREX presses a simulated request to exit.
type SimREX struct {
	Door gateway.DoorID `json:"door"`
}

// SimFault breaks or mends a simulated door.
type SimFault struct {
	Door  gateway.DoorID `json:"door"`
	Fault string         `json:"fault"` // stuck, jam, clear
}
