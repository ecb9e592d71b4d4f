package certs

import (
	"bytes"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"encoding/pem"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
)

// errSpoilt says that a file is there, and is not what it should be.
var errSpoilt = errors.New("is spoilt")

// disk is the folder of the keys.
type disk struct {
	dir   string
	fault func(op, name string) error // of tests: is called before each step of a write
}

func (d disk) path(name string) string { return filepath.Join(d.dir, name) }

func (d disk) read(name string) ([]byte, error) { return os.ReadFile(d.path(name)) }

// has reports whether the file is there; one that cannot be looked at is.
func (d disk) has(name string) bool {
	_, err := os.Lstat(d.path(name))
	return !errors.Is(err, fs.ErrNotExist)
}

// readKey refuses a key that others than its owner may read: whoever has read it has it.
func (d disk) readKey(name string) (*ecdsa.PrivateKey, error) {
	fi, err := os.Stat(d.path(name))
	if err != nil {
		return nil, err
	}
	if fi.Mode().Perm()&0o077 != 0 {
		return nil, fmt.Errorf("%s has mode %04o, and may have been read by others: chmod 600 it, "+
			"and move house-ca.* and leaf.* away to make new ones if you are not sure who reads on this machine",
			d.path(name), fi.Mode().Perm())
	}
	b, err := d.read(name)
	if err != nil {
		return nil, err
	}
	key, err := parseKey(b)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", d.path(name), err)
	}
	return key, nil
}

// obtainKey reads a key of a house that nobody has seen yet, or makes it.
func (d disk) obtainKey(name string) (*ecdsa.PrivateKey, error) {
	key, err := d.readKey(name)
	if !errors.Is(err, fs.ErrNotExist) && !errors.Is(err, errSpoilt) {
		return key, err
	}
	if key, err = ecdsa.GenerateKey(elliptic.P256(), rand.Reader); err != nil {
		return nil, err
	}
	b, err := encodeKey(key)
	if err != nil {
		return nil, err
	}
	if err := d.write(name, b); err != nil {
		return nil, fmt.Errorf("the house's keys cannot be kept, so they are not made: %w", err)
	}
	return key, nil
}

// write replaces a file by one of mode 0600 that is there whole after a power cut, or not at
// all: then the old one is. What it has left half done goes with the next write.
func (d disk) write(name string, b []byte) error {
	temp := d.path(name + ".new")
	os.Remove(temp)
	err := d.writeTo(temp, name, b)
	if err == nil {
		err = d.rename(temp, name)
	}
	if err != nil {
		os.Remove(temp)
		return fmt.Errorf("%s: %w", d.path(name), err)
	}
	return nil
}

func (d disk) writeTo(temp, name string, b []byte) error {
	if err := d.before("create", name); err != nil {
		return err
	}
	f, err := os.OpenFile(temp, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o600)
	if err != nil {
		return err
	}
	defer f.Close()
	if err := d.before("write", name); err != nil {
		return err
	}
	if _, err := f.Write(b); err != nil {
		return err
	}
	if err := d.before("sync", name); err != nil {
		return err
	}
	return f.Sync()
}

func (d disk) rename(temp, name string) error {
	if err := d.before("rename", name); err != nil {
		return err
	}
	if err := os.Rename(temp, d.path(name)); err != nil {
		return err
	}
	if err := d.before("syncdir", name); err != nil {
		return err
	}
	dir, err := os.Open(d.dir)
	if err != nil {
		return err
	}
	defer dir.Close()
	return dir.Sync()
}

func (d disk) before(op, name string) error {
	if d.fault == nil {
		return nil
	}
	return d.fault(op, name)
}

const (
	keyType         = "PRIVATE KEY"
	certificateType = "CERTIFICATE"
)

// parsePEM takes exactly one block of the type, without headers, and nothing around it.
func parsePEM(b []byte, typ string) ([]byte, error) {
	block, rest := pem.Decode(b)
	if block == nil || block.Type != typ || len(block.Headers) != 0 || len(bytes.TrimSpace(rest)) != 0 || !bytes.HasPrefix(b, []byte("-----BEGIN ")) {
		return nil, fmt.Errorf("%w: want one PEM block %q and nothing else", errSpoilt, typ)
	}
	return block.Bytes, nil
}

// parseKey reads a P-256 key in PKCS#8 (RFC 5958).
func parseKey(b []byte) (*ecdsa.PrivateKey, error) {
	der, err := parsePEM(b, keyType)
	if err != nil {
		return nil, err
	}
	parsed, err := x509.ParsePKCS8PrivateKey(der)
	if err != nil {
		return nil, fmt.Errorf("%w: no PKCS#8 key", errSpoilt) // what the parser says might hold bits of the key
	}
	key, ok := parsed.(*ecdsa.PrivateKey)
	if !ok || key.Curve != elliptic.P256() {
		return nil, fmt.Errorf("%w: want a key on P-256", errSpoilt)
	}
	return key, nil
}

func encodeKey(key *ecdsa.PrivateKey) ([]byte, error) {
	der, err := x509.MarshalPKCS8PrivateKey(key)
	return pem.EncodeToMemory(&pem.Block{Type: keyType, Bytes: der}), err
}

func parseCertificate(b []byte) (*x509.Certificate, error) {
	der, err := parsePEM(b, certificateType)
	if err != nil {
		return nil, err
	}
	c, err := x509.ParseCertificate(der)
	if err != nil {
		return nil, fmt.Errorf("%w: %w", errSpoilt, err)
	}
	return c, nil
}

func encodeCertificate(der []byte) []byte {
	return pem.EncodeToMemory(&pem.Block{Type: certificateType, Bytes: der})
}
