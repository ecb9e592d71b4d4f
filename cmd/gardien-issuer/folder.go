package main

import (
	"bufio"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"time"

	"gardien/gateway"
	"gardien/gateway/tokens"
)

// folder is an issuer's DIR: private.jwk and opening.jwk (0600), jwks.json for
// gateways, issuer.json, and grants.jsonl, what was issued so far. With a cloud there are
// also cloud.json, gateways/ID.jws (descriptors), manifests/ID (gateways that get
// manifests), sent/ID (sealed items, as they were sent) and watch.json, watch.seen (how far events were
// read).
type folder struct {
	dir string
	id  gateway.IssuerID
	key *tokens.SigningKey
}

// about is issuer.json.
type about struct {
	ID gateway.IssuerID `json:"id"`
}

// opening reads the key that receives events.
func (f *folder) opening() (*tokens.OpeningKey, error) {
	b, err := tokens.ReadPrivate(filepath.Join(f.dir, "opening.jwk"))
	if err != nil {
		return nil, err
	}
	key, err := tokens.ParseOpeningKey(b)
	if err != nil {
		return nil, fmt.Errorf("%s/opening.jwk: %w", f.dir, err)
	}
	return key, nil
}

// replaceFile writes a file whole, or not at all.
func replaceFile(name string, b []byte, mode fs.FileMode) error {
	if err := os.MkdirAll(filepath.Dir(name), 0o700); err != nil {
		return err
	}
	next := fmt.Sprintf("%s.%d.new", name, os.Getpid())
	os.Remove(next)
	if err := tokens.WriteFile(next, b); err != nil {
		return err
	}
	return errors.Join(os.Chmod(next, mode), os.Rename(next, name))
}

// issued is one line of grants.jsonl; it never holds a PIN.
type issued struct {
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

func createFolder(dir string, id gateway.IssuerID) (*folder, error) {
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
			return nil, fmt.Errorf("%s is there already: an issuer's key is made once; choose another --out", name)
		} else if err != nil {
			return nil, err
		}
		if err := os.Chmod(name, f.mode); err != nil {
			return nil, err
		}
	}
	return &folder{dir, id, key}, nil
}

func openFolder(dir string) (*folder, error) {
	if dir == "" {
		return nil, usage("--key DIR: name the folder that keygen made")
	}
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
	return &folder{dir, a.ID, key}, nil
}

// remember appends to grants.jsonl, durably, before the document is handed out.
func (f *folder) remember(i issued) error {
	file, err := os.OpenFile(filepath.Join(f.dir, "grants.jsonl"), os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o600)
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
func (f *folder) each(visit func(issued)) error {
	file, err := os.Open(filepath.Join(f.dir, "grants.jsonl"))
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return err
	}
	defer file.Close()
	lines := bufio.NewScanner(file)
	for n := 1; lines.Scan(); n++ {
		var i issued
		if strings.TrimSpace(lines.Text()) == "" {
			continue
		}
		if err := json.Unmarshal(lines.Bytes(), &i); err != nil {
			return fmt.Errorf("%s/grants.jsonl:%d: not a line of this tool: %w", f.dir, n, err)
		}
		visit(i)
	}
	return lines.Err()
}

// latest finds the newest line of a grant at a gateway.
func (f *folder) latest(gw gateway.GatewayID, jti string) (found issued, ok bool, err error) {
	err = f.each(func(i issued) {
		if i.Gateway == gw && i.JTI == jti && i.Ver >= found.Ver {
			found, ok = i, true
		}
	})
	return found, ok, err
}

// manifest makes up the manifest of a gateway as of now: the active grants that are not
// over.
func (f *folder) manifest(gw gateway.GatewayID, now time.Time, life time.Duration) (gateway.Manifest, error) {
	newest := map[string]issued{}
	err := f.each(func(i issued) {
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
	return gateway.Manifest{Issuer: f.id, Version: now.UnixMilli(), IssuedAt: now.Truncate(time.Second), NextUpdate: now.Truncate(time.Second).Add(life),
		Count: len(lines), Digest: gateway.ManifestDigest(lines)}, err
}

// readDescriptor verifies a gateway's descriptor.
func readDescriptor(name string) (*tokens.Descriptor, error) {
	if name == "" {
		return nil, usage("--gateway FILE: name the gateway's descriptor (\"gardien descriptor\" prints it)")
	}
	b, err := os.ReadFile(name)
	if err != nil {
		return nil, err
	}
	d, err := tokens.ParseDescriptor(strings.TrimSpace(string(b)))
	if err != nil {
		return nil, fmt.Errorf("%s: %w", name, err)
	}
	return d, nil
}
