package carrier

import (
	"bufio"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"sync/atomic"
	"time"

	"gardien/gateway"
	"gardien/gateway/tokens"
)

// Folder is an issuer's DIR: private.jwk and opening.jwk (0600), jwks.json for
// gateways, issuer.json, and grants.jsonl, what was issued so far. With a cloud there are
// also cloud.json, gateways/ID.jws (descriptors), manifests/ID (gateways that get
// manifests), sent/ID (sealed items, as they were sent) and watch.json, watch.seen (how far events were
// read).
type Folder struct {
	Dir string
	ID  gateway.IssuerID

	key atomic.Pointer[tokens.SigningKey]
}

func newFolder(dir string, id gateway.IssuerID, key *tokens.SigningKey) *Folder {
	f := &Folder{Dir: dir, ID: id}
	f.key.Store(key)
	return f
}

// KeyID is the thumbprint of the signing key.
func (f *Folder) KeyID() string { return f.signingKey().KeyID() }

func (f *Folder) signingKey() *tokens.SigningKey { return f.key.Load() }

// about is issuer.json.
type about struct {
	ID gateway.IssuerID `json:"id"`
}

// Opening reads the key that receives events.
func (f *Folder) Opening() (*tokens.OpeningKey, error) {
	b, err := tokens.ReadPrivate(filepath.Join(f.Dir, "opening.jwk"))
	if err != nil {
		return nil, err
	}
	key, err := tokens.ParseOpeningKey(b)
	if err != nil {
		return nil, fmt.Errorf("%s/opening.jwk: %w", f.Dir, err)
	}
	return key, nil
}

// replaceFile writes a file whole, or not at all.
func replaceFile(name string, b []byte, mode fs.FileMode) error {
	if err := os.MkdirAll(filepath.Dir(name), 0o700); err != nil {
		return err
	}
	next, err := os.CreateTemp(filepath.Dir(name), ".new-*")
	if err != nil {
		return err
	}
	defer os.Remove(next.Name()) // not there any more where all went well
	_, err = next.Write(b)
	if err := errors.Join(err, next.Chmod(mode), next.Sync(), next.Close()); err != nil {
		return err
	}
	return os.Rename(next.Name(), name)
}

// Issued is one line of grants.jsonl; it never holds a PIN.
type Issued struct {
	Gateway   gateway.GatewayID   `json:"gateway"`
	JTI       string              `json:"jti"`
	Ver       int64               `json:"ver"`
	Status    gateway.GrantStatus `json:"status"`
	Doors     []gateway.DoorID    `json:"doors"`
	NotBefore int64               `json:"nbf"`
	NotAfter  int64               `json:"exp"`
	Uses      int                 `json:"uses,omitempty"`
	Sub       string              `json:"sub,omitempty"`
}

// Create makes the folder of a new issuer.
func Create(dir string, id gateway.IssuerID) (*Folder, error) {
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return nil, err
	}
	key, err := tokens.GenerateES256()
	if err != nil {
		return nil, err
	}
	opening, err := tokens.GenerateOpening()
	if err != nil {
		return nil, err
	}
	private, e1 := key.Marshal()
	open, e2 := opening.Marshal()
	public, e3 := tokens.MarshalKeySet(key.PublicKey, &opening.PublicKey)
	who, e4 := json.Marshal(about{id})
	if err := errors.Join(e1, e2, e3, e4); err != nil {
		return nil, err
	}
	for _, f := range []struct {
		name    string
		content []byte
		mode    fs.FileMode
	}{{"private.jwk", private, 0o600}, {"opening.jwk", open, 0o600}, {"jwks.json", append(public, '\n'), 0o644}, {"issuer.json", append(who, '\n'), 0o644}} {
		name := filepath.Join(dir, f.name)
		if err := tokens.WriteFile(name, f.content); errors.Is(err, fs.ErrExist) {
			return nil, fmt.Errorf("%s is there already: an issuer's key is made once; choose another folder", name)
		} else if err != nil {
			return nil, err
		}
		if err := os.Chmod(name, f.mode); err != nil {
			return nil, err
		}
	}
	return newFolder(dir, id, key), nil
}

// Open reads a folder that Create made.
func Open(dir string) (*Folder, error) {
	who, err := os.ReadFile(filepath.Join(dir, "issuer.json"))
	if err != nil {
		return nil, fmt.Errorf("%w: make a folder with \"gardien-issuer keygen\"", err)
	}
	var a about
	if err := json.Unmarshal(who, &a); err != nil || !a.ID.Valid() {
		return nil, fmt.Errorf("%s/issuer.json: want {\"id\": …}", dir)
	}
	private, err := tokens.ReadPrivate(filepath.Join(dir, "private.jwk"))
	if err != nil {
		return nil, err
	}
	key, err := tokens.ParseSigningKey(private)
	if err != nil {
		return nil, fmt.Errorf("%s/private.jwk: %w", dir, err)
	}
	return newFolder(dir, a.ID, key), nil
}

// remember appends to grants.jsonl, durably, before the document is handed out.
func (f *Folder) remember(i Issued) error {
	file, err := os.OpenFile(filepath.Join(f.Dir, "grants.jsonl"), os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o600)
	if err != nil {
		return err
	}
	b, err := json.Marshal(i)
	if err == nil {
		_, err = file.Write(append(b, '\n'))
	}
	return errors.Join(err, file.Sync(), file.Close())
}

// each reads grants.jsonl.
func (f *Folder) each(visit func(Issued)) error {
	file, err := os.Open(filepath.Join(f.Dir, "grants.jsonl"))
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return err
	}
	defer file.Close()
	lines := bufio.NewScanner(file)
	for n := 1; lines.Scan(); n++ {
		var i Issued
		if strings.TrimSpace(lines.Text()) == "" {
			continue
		}
		if err := json.Unmarshal(lines.Bytes(), &i); err != nil {
			return fmt.Errorf("%s/grants.jsonl:%d: not a line of this tool: %w", f.Dir, n, err)
		}
		visit(i)
	}
	return lines.Err()
}

// Latest finds the newest line of a grant at a gateway.
func (f *Folder) Latest(gw gateway.GatewayID, jti string) (found Issued, ok bool, err error) {
	err = f.each(func(i Issued) {
		if i.Gateway == gw && i.JTI == jti && i.Ver >= found.Ver {
			found, ok = i, true
		}
	})
	return found, ok, err
}

// manifest makes up the manifest of a gateway as of now: the active grants that are not
// over.
func (f *Folder) manifest(gw gateway.GatewayID, now time.Time, life time.Duration) (gateway.Manifest, error) {
	newest := map[string]Issued{}
	err := f.each(func(i Issued) {
		if i.Gateway == gw && i.Ver >= newest[i.JTI].Ver {
			newest[i.JTI] = i
		}
	})
	var lines []gateway.ManifestLine
	for _, i := range newest {
		if i.Status == gateway.GrantActive && i.NotAfter > now.Unix() {
			lines = append(lines, gateway.ManifestLine{JTI: i.JTI, Ver: i.Ver})
		}
	}
	now = now.Truncate(time.Millisecond)
	return gateway.Manifest{Issuer: f.ID, Version: now.UnixMilli(), IssuedAt: now.Truncate(time.Second), NextUpdate: now.Truncate(time.Second).Add(life),
		Count: len(lines), Digest: gateway.ManifestDigest(lines)}, err
}
