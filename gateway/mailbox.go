package gateway

import (
	"crypto/sha256"
	"encoding/base64"
	"encoding/json"
	"errors"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"time"
)

// ItemKind says what a mailbox item carries (contract §4). Kinds to come are valid:
// whoever does not know one passes it by.
type ItemKind string

const (
	ItemGrant    ItemKind = "grant"
	ItemCommand  ItemKind = "command"
	ItemManifest ItemKind = "manifest"
	ItemKeys     ItemKind = "keys"
)

// Valid reports whether k is a name that a kind may have.
func (k ItemKind) Valid() bool { return only(string(k), 32, lower, "-_") }

// Item is one versioned document on its way down, sealed to its gateway. The mailbox
// sees its id, size and times, and nothing else.
type Item struct {
	ID   string   `json:"id"` // ItemID of the document's issuer and jti
	Kind ItemKind `json:"kind"`
	Ver  int64    `json:"ver"`
	Exp  int64    `json:"exp"` // NumericDate; of grants the next midnight UTC (Midnight)
	Body string   `json:"body"`
}

// The limits of an item.
const (
	MaxItemBody = 8192    // bytes of a sealed document
	MaxUpload   = 1 << 20 // bytes of one upload of events
	MaxLetters  = 200     // events of one upload
)

// ItemID is base64url of the first 16 bytes of SHA-256(iss + "/" + jti).
func ItemID(iss IssuerID, jti string) string {
	sum := sha256.Sum256([]byte(string(iss) + "/" + jti))
	return base64.RawURLEncoding.EncodeToString(sum[:16])
}

// ValidItemID reports whether s could be one.
func ValidItemID(s string) bool {
	b, err := base64.RawURLEncoding.Strict().DecodeString(s)
	return err == nil && len(b) == 16 && len(s) == 22
}

// Midnight rounds an end up to the next midnight UTC, so that the mailbox does not
// learn the hour; a midnight stays.
func Midnight(exp int64) int64 {
	const day = 24 * 60 * 60
	return (exp + day - 1) / day * day
}

// Digest is the XOR, over a set of items, of SHA-256(id NUL decimal ver NUL body).
// It finds accidents; manifests find whoever withholds.
type Digest [sha256.Size]byte

// Sum is the digest of the item alone.
func (i *Item) Sum() Digest {
	return sha256.Sum256([]byte(i.ID + "\x00" + strconv.FormatInt(i.Ver, 10) + "\x00" + i.Body))
}

// Toggle puts a set into d, or takes it out.
func (d *Digest) Toggle(other Digest) {
	for i := range d {
		d[i] ^= other[i]
	}
}

// DigestOf is the digest of items; commands do not count.
func DigestOf(items []Item) (d Digest) {
	for _, i := range items {
		if i.Kind != ItemCommand {
			d.Toggle(i.Sum())
		}
	}
	return d
}

// MarshalText writes base64url; the empty set is 43 times A.
func (d Digest) MarshalText() ([]byte, error) {
	return base64.RawURLEncoding.AppendEncode(nil, d[:]), nil
}

// UnmarshalText reads it.
func (d *Digest) UnmarshalText(b []byte) error {
	raw, err := base64.RawURLEncoding.Strict().DecodeString(string(b))
	if err != nil || len(raw) != len(d) {
		return errors.New("a digest is 43 characters of base64url")
	}
	copy(d[:], raw)
	return nil
}

// Position is a place in a gateway's feed. Epoch changes when the mailbox's history
// was rewritten; Seq rises with every change.
type Position struct {
	Epoch string `json:"epoch"`
	Seq   int64  `json:"seq"`
}

// FeedHead is where a gateway's feed ends (contract §4).
type FeedHead struct {
	Epoch  string `json:"epoch"`
	Head   int64  `json:"head"`
	Floor  int64  `json:"floor"` // the oldest "after" that is served
	Digest Digest `json:"digest"`
	Time   string `json:"time,omitempty"` // RFC 3339; a hint, not proof
}

// FeedItem is an item with its place in the feed.
type FeedItem struct {
	Seq int64 `json:"seq"`
	Item
}

// FeedPage answers a long poll.
type FeedPage struct {
	FeedHead
	Items []FeedItem `json:"items"`
}

// FeedSnapshot is all that a mailbox holds for a gateway, commands aside.
type FeedSnapshot struct {
	Epoch  string `json:"epoch"`
	Head   int64  `json:"head"`
	Digest Digest `json:"digest"`
	Items  []Item `json:"items"`
}

// Letter is one event on its way up, sealed to its issuer. Seq is dense per log.
type Letter struct {
	Seq  int64    `json:"seq"`
	To   IssuerID `json:"to"`
	Body string   `json:"body"`
}

// Upload is a batch of letters of one log. Head is the gateway's signed word on where its record
// ends (a [RecordHead]); "" where it says nothing.
type Upload struct {
	Log     string   `json:"log"`
	Letters []Letter `json:"events"`
	Head    string   `json:"head,omitempty"`
}

// MaxHead bounds a signed head, in bytes.
const MaxHead = 1024

// Receipt is what a mailbox has of a gateway: the last letter of a log that has come, and the
// newest head.
type Receipt struct {
	Ack  int64  `json:"ack"`
	Head string `json:"head,omitempty"`
}

// RecordHead is where a gateway's record ends: as of its newest durable commit. A database of a
// lower epoch, or without that event, was rolled back (R1).
type RecordHead struct {
	Log   string // the log that goes up
	Epoch int    // of the database: it rises with each that takes another's place
	Seq   int64  // of the newest event
	Hash  string // of that event, 64 hex digits
}

// Delivered is a letter as its issuer gets it; Seq is the place in the issuer's feed.
type Delivered struct {
	Seq     int64     `json:"seq"`
	Gateway GatewayID `json:"gateway"`
	Body    string    `json:"body"`
}

// Presence says whether a gateway's feed is connected, and since when.
type Presence struct {
	Gateway GatewayID `json:"gateway"`
	Online  bool      `json:"online"`
	At      string    `json:"at"` // RFC 3339
}

// Manifest is an issuer's word on how many active grants it has at a gateway, and
// which: proof that nothing was withheld.
type Manifest struct {
	Issuer     IssuerID
	Version    int64
	IssuedAt   time.Time
	NextUpdate time.Time
	Count      int
	Digest     Digest // see ManifestDigest
}

// ManifestLine is one grant in a manifest.
type ManifestLine struct {
	JTI string
	Ver int64
}

// ManifestDigest is SHA-256 over the sorted lines jti SP ver LF.
func ManifestDigest(lines []ManifestLine) Digest {
	texts := make([]string, len(lines))
	for i, l := range lines {
		texts[i] = l.JTI + " " + strconv.FormatInt(l.Ver, 10) + "\n"
	}
	slices.Sort(texts)
	return sha256.Sum256([]byte(strings.Join(texts, "")))
}

// Command asks a gateway to do something at once.
type Command struct {
	Issuer             IssuerID
	JTI                string
	IssuedAt, NotAfter time.Time // at most CommandLife apart
	Door               DoorID
}

// CommandLife is how long a command may be good for (F10).
const CommandLife = 30 * time.Second

// KeyRing is an issuer's next key set.
type KeyRing struct {
	Issuer   IssuerID
	Version  int64
	IssuedAt time.Time
	JWKS     json.RawMessage
}

// ManifestState is what a gateway remembers of an issuer's newest manifest.
type ManifestState struct {
	Manifest
	Matched bool // the gateway has had exactly the grants that it names
}

// What a mailbox refuses. These are answers, not failures.
var (
	ErrNoSuchGateway = errors.New("no such gateway, or it does not listen to this issuer")
	ErrBadCode       = errors.New("the code is unknown, used, over, or for another id")
	ErrOtherKey      = errors.New("the id is enrolled with another key")
	ErrNotOwner      = errors.New("the item is another issuer's")
	ErrMailboxFull   = errors.New("the issuer has as many items at this gateway as it may")
)

// VersionConflict says that an item is there in an equal or higher version.
type VersionConflict struct{ Ver int64 }

func (e *VersionConflict) Error() string {
	return "the item has version " + strconv.FormatInt(e.Ver, 10)
}

// FeedGone says that a feed cannot be continued: take the snapshot.
type FeedGone struct{ FeedHead }

func (e *FeedGone) Error() string {
	return "the feed cannot be continued from there: take the snapshot"
}

// UploadGap says which letter a mailbox wants next.
type UploadGap struct {
	Expect int64
	Head   string // the newest head
}

func (e *UploadGap) Error() string { return "the next letter is " + strconv.FormatInt(e.Expect, 10) }

// Member is one gateway of an issuer's fleet.
type Member struct {
	Gateway    GatewayID `json:"id"`
	Descriptor string    `json:"descriptor"`
	Online     bool      `json:"online"`
	At         string    `json:"at"`          // since when: RFC 3339; "" never
	Head       int64     `json:"head"`        // of its feed
	Position   int64     `json:"position"`    // the change that it is known to have
	PositionAt string    `json:"position_at"` // when that was learnt; "" never
}

// Registration is a gateway as its descriptor tells, verified.
type Registration struct {
	ID         GatewayID
	KeyID      string // thumbprint of its signing key
	Descriptor string
	Issuers    []IssuerID
}

// Sighting is what a feed has seen of a gateway.
type Sighting struct {
	Gateway  GatewayID
	Online   *bool // it came, or went; nil: no news
	Position int64 // the change that it is known to have; 0: no news
	At       time.Time
}

// MailboxSummary counts what a mailbox holds.
type MailboxSummary struct {
	Gateways int64 `json:"gateways"`
	Online   int64 `json:"online"`
	Issuers  int64 `json:"issuers"`
	Items    int64 `json:"items"`
	Letters  int64 `json:"events"`
}

// Origin writes a URL's origin as assertions name it: scheme and host in lower case, no
// default port, no slash.
func Origin(u *url.URL) string {
	host := strings.ToLower(u.Host)
	for scheme, port := range map[string]string{"https": ":443", "http": ":80"} {
		if strings.EqualFold(u.Scheme, scheme) {
			host = strings.TrimSuffix(host, port)
		}
	}
	return strings.ToLower(u.Scheme) + "://" + host
}

// IsOrigin reports whether a URL is of a scheme, a host and a port only, as a cloud's is.
func IsOrigin(u url.URL) bool {
	u.Scheme, u.Host = "", ""
	return strings.TrimPrefix(u.String(), "/") == ""
}
