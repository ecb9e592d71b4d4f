package tokens

import (
	"crypto/ecdsa"
	"crypto/hmac"
	"crypto/rand"
	"crypto/sha256"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"time"

	"github.com/go-jose/go-jose/v4"

	"gardien/gateway"
)

// Identity is a gateway's keys: one signs, one opens sealed texts, and one keyed
// hash hides PINs and the like in the database (P6).
type Identity struct {
	ID      gateway.GatewayID
	Signing *SigningKey
	Opening *OpeningKey
	// MAC is HMAC-SHA-256 under the device key, which never leaves this closure.
	MAC func(purpose string, parts ...string) []byte
}

// LoadIdentity reads the keys in dir, and makes those of a new gateway: signing.jwk,
// opening.jwk, device.key, each 0600 and durable before it returns. Some but not
// all of them present is an error: a gateway does not change its identity silently.
func LoadIdentity(dir string) (*Identity, error) {
	names := []string{"signing.jwk", "opening.jwk", "device.key"}
	makers := []func() ([]byte, error){
		func() ([]byte, error) { k, err := GenerateES256(); return marshal(k, err) },
		func() ([]byte, error) { k, err := GenerateOpening(); return marshal(k, err) },
		func() ([]byte, error) { b := make([]byte, 32); rand.Read(b); return b, nil },
	}
	var content [3][]byte
	var missing []string
	for i, name := range names {
		b, err := ReadPrivate(filepath.Join(dir, name))
		switch {
		case errors.Is(err, fs.ErrNotExist):
			missing = append(missing, name)
		case err != nil:
			return nil, fmt.Errorf("identity: %w", err)
		}
		content[i] = b
	}
	if len(missing) != 0 && len(missing) != len(names) {
		return nil, fmt.Errorf("identity: %v missing in %s while others are there: bring the files back from a backup, "+
			"or move all of them away to become a new gateway", missing, dir)
	}
	if len(missing) == len(names) {
		if err := os.MkdirAll(dir, 0o700); err != nil {
			return nil, fmt.Errorf("identity: %w", err)
		}
		for i, name := range names {
			b, err := makers[i]()
			if err == nil {
				err = WriteFile(filepath.Join(dir, name), b)
			}
			if err != nil {
				return nil, fmt.Errorf("identity: %w", err)
			}
			content[i] = b
		}
	}
	signing, err := ParseSigningKey(content[0])
	if err != nil {
		return nil, fmt.Errorf("identity: %s: %w", names[0], err)
	}
	opening, err := ParseOpeningKey(content[1])
	if err != nil {
		return nil, fmt.Errorf("identity: %s: %w", names[1], err)
	}
	if len(content[2]) != 32 {
		return nil, fmt.Errorf("identity: %s: want 32 bytes", names[2])
	}
	return newIdentity(signing, opening, content[2])
}

// ReadPrivate reads a file that holds a key, and refuses one that others than its owner may
// read: whoever has read it has it.
func ReadPrivate(name string) ([]byte, error) {
	fi, err := os.Stat(name)
	if err != nil {
		return nil, err
	}
	if fi.Mode().Perm()&0o077 != 0 {
		return nil, fmt.Errorf("%s has mode %04o, and may have been read by others: chmod 600 it, and make a new one if you are not sure who reads on this machine",
			name, fi.Mode().Perm())
	}
	return os.ReadFile(name)
}

func newIdentity(signing *SigningKey, opening *OpeningKey, device []byte) (*Identity, error) {
	id, err := GatewayIDOf(signing.PublicKey)
	return &Identity{ID: id, Signing: signing, Opening: opening,
		MAC: func(purpose string, parts ...string) []byte {
			m := hmac.New(sha256.New, device)
			// A length before each part: no two lists of parts are one text.
			for _, p := range append([]string{purpose}, parts...) {
				fmt.Fprintf(m, "%d:%s", len(p), p)
			}
			return m.Sum(nil)
		}}, err
}

func marshal(k interface{ Marshal() ([]byte, error) }, err error) ([]byte, error) {
	if err != nil {
		return nil, err
	}
	return k.Marshal()
}

// WriteFile writes a file of mode 0600 that is there whole after a power cut, or
// not at all. It replaces nothing: an existing file is an error.
func WriteFile(name string, b []byte) error {
	if _, err := os.Lstat(name); err == nil {
		return fmt.Errorf("%s: %w", name, fs.ErrExist)
	}
	f, err := os.CreateTemp(filepath.Dir(name), ".new-*") // mode 0600
	if err != nil {
		return err
	}
	defer os.Remove(f.Name())
	_, err = f.Write(b)
	if err = errors.Join(err, f.Sync(), f.Close()); err != nil {
		return err
	}
	if err := os.Rename(f.Name(), name); err != nil {
		return err
	}
	dir, err := os.Open(filepath.Dir(name))
	if err != nil {
		return err
	}
	defer dir.Close()
	return dir.Sync()
}

// Descriptor is what a gateway says of itself to issuers and clouds.
type Descriptor struct {
	Gateway gateway.GatewayID
	Seal    PublicKey // seal grants to it
	Keys    KeySet    // its one signing key
	Doors   []gateway.DoorID
	Issuers []gateway.IssuerID
	Zone    string // IANA name of the zone of its schedules; "" where it names none
	At      time.Time
	PINs    map[gateway.DoorID][]int // lengths of a third party's PINs, where they are not the default
}

// PINLengths gives the lengths that a third party's PIN may have at all of the doors, rising.
func (d *Descriptor) PINLengths(doors []gateway.DoorID) []int {
	var lists [][]int
	for _, door := range doors {
		lengths, named := d.PINs[door]
		if !named {
			lengths = gateway.DefaultPINLengths().ThirdParty
		}
		lists = append(lists, lengths)
	}
	return gateway.CommonPINLengths(lists...)
}

// SignDescriptor writes the descriptor (contract §4): its doors, PINs, issuers, zone and instant.
// The zone makes an issuer's local times the door's. Where all of it is too long, doors that take
// PINs of the default lengths are left out of the PINs: it means the same.
func (id *Identity) SignDescriptor(d Descriptor) (string, error) {
	claims := map[string]any{
		"iss":   id.ID,
		"keys":  jose.JSONWebKeySet{Keys: []jose.JSONWebKey{id.Signing.jwk("sig"), id.Opening.jwk("enc")}},
		"doors": append([]gateway.DoorID{}, d.Doors...), "issuers": append([]gateway.IssuerID{}, d.Issuers...), "iat": d.At.Unix(), "zone": d.Zone,
	}
	if d.PINs != nil {
		claims["pins"] = d.PINs
	}
	text, err := id.Signing.compact(TypGateway, claims)
	if err == nil && len(text) > MaxJWS && d.PINs != nil {
		claims["pins"] = unusual(d.PINs)
		text, err = id.Signing.compact(TypGateway, claims)
	}
	if err == nil && len(text) > MaxJWS {
		err = fmt.Errorf("the descriptor has %d bytes, more than %d: name fewer doors or issuers", len(text), MaxJWS)
	}
	return text, err
}

// unusual are the doors that take PINs of other lengths than the default.
func unusual(pins map[gateway.DoorID][]int) map[gateway.DoorID][]int {
	few := maps.Clone(pins)
	maps.DeleteFunc(few, func(_ gateway.DoorID, l []int) bool { return slices.Equal(l, gateway.DefaultPINLengths().ThirdParty) })
	return few
}

// ParseDescriptor verifies a descriptor: its own signing key must have signed it,
// and its id must be that key's.
func ParseDescriptor(text string) (*Descriptor, error) {
	j, r := parseJWS(text)
	if r != nil {
		return nil, fmt.Errorf("descriptor: %s", r.Detail)
	}
	payload, err := parseObject(j.payload, "iss", "keys", "doors", "issuers", "iat", "pins")
	if err != nil {
		return nil, fmt.Errorf("descriptor: %w", err)
	}
	c := &claims{object: payload}
	raw, _ := c.raw("keys", true)
	if c.err != nil {
		return nil, fmt.Errorf("descriptor: %w", c.err)
	}
	set, err := ParseKeySet(raw)
	if err != nil {
		return nil, fmt.Errorf("descriptor: keys: %w", err)
	}
	if r := j.verify(TypGateway, set); r != nil {
		return nil, fmt.Errorf("descriptor: %s", r.Detail)
	}
	if len(set.verifying) != 1 || set.receiving == nil {
		return nil, errors.New("descriptor: keys: want one signing key and one with use \"enc\"")
	}
	seal, err := newPublicKey(set.receiving.Key)
	if err != nil {
		return nil, fmt.Errorf("descriptor: keys: %w", err)
	}
	id, err := GatewayIDOf(set.verifying[set.KeyIDs()[0]])
	if err != nil {
		return nil, fmt.Errorf("descriptor: %w", err)
	}
	c.text("iss", true, func(s string) bool { return s == string(id) }, "the id of its own signing key, "+string(id))
	d := &Descriptor{Gateway: id, Seal: seal, Keys: set, At: c.instant("iat")}
	d.Zone = c.text("zone", false, func(string) bool { return true }, "the name of a time zone")
	for _, s := range c.texts("doors", 0, 256, func(s string) bool { return gateway.DoorID(s).Valid() }, "door ids") {
		d.Doors = append(d.Doors, gateway.DoorID(s))
	}
	for _, s := range c.texts("issuers", 0, 256, func(s string) bool { return gateway.IssuerID(s).Valid() }, "issuer ids") {
		d.Issuers = append(d.Issuers, gateway.IssuerID(s))
	}
	d.PINs = c.pins()
	if c.err != nil {
		return nil, fmt.Errorf("descriptor: %w", c.err)
	}
	return d, nil
}

// pins reads the lengths of PINs at doors: {"front":[8]}.
func (c *claims) pins() map[gateway.DoorID][]int {
	v, ok := c.raw("pins", false)
	if !ok || c.err != nil {
		return nil
	}
	const want = `{"<door>":[8]}, with lengths from 6 to 10`
	members, err := parseObject(v)
	if err != nil || len(members) > 256 {
		c.fail("pins", want)
		return nil
	}
	pins := map[gateway.DoorID][]int{}
	for door, raw := range members {
		var lengths []int
		if !gateway.DoorID(door).Valid() || json.Unmarshal(raw, &lengths) != nil || len(lengths) == 0 ||
			slices.ContainsFunc(lengths, func(n int) bool { return n < gateway.MinPIN || n > gateway.MaxPIN }) {
			c.fail("pins", want)
			return nil
		}
		pins[gateway.DoorID(door)] = lengths
	}
	return pins
}

// ParseHolder reads a holder's public JWK on P-256 and gives its thumbprint, for cnf.
func ParseHolder(b []byte) (string, error) {
	var jwk jose.JSONWebKey
	members, err := parseObject(b, "kty", "crv", "x", "y")
	if err != nil || json.Unmarshal(b, &jwk) != nil || !strictPoint(members) {
		return "", errors.New("holder: not a JWK")
	}
	pub, ok := jwk.Key.(*ecdsa.PublicKey)
	if !ok || !p256(pub) {
		return "", errors.New("holder: want a public JWK on P-256")
	}
	key, err := newPublicKey(pub)
	return key.kid, err
}
