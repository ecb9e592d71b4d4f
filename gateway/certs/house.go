package certs

import (
	"bytes"
	"crypto/ecdsa"
	"crypto/sha256"
	"crypto/tls"
	"crypto/x509"
	"encoding/hex"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"regexp"
	"slices"
	"strings"
	"sync"

	"gardien/gateway"
)

// Opts of a House.
type Opts struct {
	Dir   string // of the keys; exists, mode 0700
	Name  string // the one DNS name, lower case: "gardien-62fg.local"
	Clock interface{ Read() gateway.Reading }
	Log   *slog.Logger // nil: slog.Default
}

// House is the CA of a house and the certificate of its web server. Its methods are safe for
// concurrent use.
type House struct {
	name           string
	clock          interface{ Read() gateway.Reading }
	log            *slog.Logger
	disk           disk
	caKey, leafKey *ecdsa.PrivateKey
	fingerprint    string

	mu   sync.Mutex // is not held while the disk is waited for
	ca   *x509.Certificate
	leaf *tls.Certificate

	keeping          sync.Mutex // one writer at a time
	keptCA, keptLeaf []byte     // DER of what the disk has
	complained       bool       // the disk's trouble is in the log
}

const (
	caKeyFile   = "house-ca.key"
	caFile      = "house-ca.pem"
	leafKeyFile = "leaf.key"
	leafFile    = "leaf.pem"
)

// remedy ends the errors that only the owner can put right.
const remedy = "bring the file back from a backup, or move house-ca.* and leaf.* away to become a new house, whose CA every phone has to trust anew"

var dnsName = regexp.MustCompile(`^[a-z0-9]([a-z0-9-]*[a-z0-9])?(\.[a-z0-9]([a-z0-9-]*[a-z0-9])?)+$`)

// maxName leaves the CA's own name within 64 characters (RFC 5280, ub-common-name).
const maxName = 40

// Open reads the house's keys and certificates, and makes them once. An error says what is
// missing or spoilt, and what to do.
func Open(o Opts) (*House, error) { return open(o, nil) }

func open(o Opts, fault func(op, name string) error) (*House, error) {
	if len(o.Name) > maxName || !dnsName.MatchString(o.Name) {
		return nil, fmt.Errorf("certs: %q is no lower-case DNS name of at most %d characters", o.Name, maxName)
	}
	h := &House{name: o.Name, clock: o.Clock, log: o.Log, disk: disk{o.Dir, fault}}
	if h.log == nil {
		h.log = slog.Default()
	}
	b, err := h.disk.read(caFile)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		err = h.found()
	case err == nil:
		err = h.load(b)
	}
	if err != nil {
		return nil, fmt.Errorf("certs: %w", err)
	}
	spki, err := x509.MarshalPKIXPublicKey(&h.leafKey.PublicKey)
	if err != nil {
		return nil, fmt.Errorf("certs: %w", err)
	}
	h.fingerprint = fingerprint(spki)
	h.loadLeaf()
	if _, err := h.Certificate(nil); err != nil {
		return nil, err
	}
	return h, nil
}

// found makes the house, or what a power cut has left out.
func (h *House) found() (err error) {
	if h.disk.has(leafFile) {
		return fmt.Errorf("%s is missing in %s beside %s: %s", caFile, h.disk.dir, leafFile, remedy)
	}
	if h.caKey, err = h.disk.obtainKey(caKeyFile); err != nil {
		return err
	}
	if h.leafKey, err = h.disk.obtainKey(leafKeyFile); err != nil {
		return err
	}
	if h.ca, err = newCA(h.caKey, h.name, h.clock.Read()); err != nil {
		return err
	}
	if err := h.disk.write(caFile, encodeCertificate(h.ca.Raw)); err != nil {
		return fmt.Errorf("the house's CA cannot be kept, so it is not made: %w", err)
	}
	h.keptCA = h.ca.Raw
	h.log.Info("certs: a CA was made for this house", "name", h.name, "fingerprint", h.CAFingerprint())
	return nil
}

// load takes the house's CA as stored, and its keys.
func (h *House) load(b []byte) (err error) {
	if h.ca, err = parseCertificate(b); err != nil {
		return fmt.Errorf("%s: %w: %s", h.disk.path(caFile), err, remedy)
	}
	h.keptCA = h.ca.Raw
	if h.caKey, err = h.disk.readKey(caKeyFile); err != nil {
		return explain(err)
	}
	if h.leafKey, err = h.disk.readKey(leafKeyFile); err != nil {
		return explain(err)
	}
	switch {
	case !h.caKey.PublicKey.Equal(h.ca.PublicKey):
		return fmt.Errorf("%s is not the key of %s in %s: %s", caKeyFile, caFile, h.disk.dir, remedy)
	case !h.ca.IsCA || h.ca.CheckSignatureFrom(h.ca) != nil:
		return fmt.Errorf("%s is no CA: %s", h.disk.path(caFile), remedy)
	case !slices.Equal(h.ca.PermittedDNSDomains, []string{h.name}):
		return fmt.Errorf("%s is the CA of %s, and this gateway is %s: %s", h.disk.path(caFile),
			strings.Join(h.ca.PermittedDNSDomains, ", "), h.name, remedy)
	}
	return nil
}

// explain adds what to do about a key that a complete house misses.
func explain(err error) error {
	if errors.Is(err, fs.ErrNotExist) || errors.Is(err, errSpoilt) {
		return fmt.Errorf("%w: %s", err, remedy)
	}
	return err
}

// loadLeaf takes the leaf of the last run, if it is one of these keys.
func (h *House) loadLeaf() {
	b, err := h.disk.read(leafFile)
	if errors.Is(err, fs.ErrNotExist) {
		return
	}
	var leaf *x509.Certificate
	if err == nil {
		leaf, err = parseCertificate(b)
	}
	if err == nil && !h.isLeaf(leaf) {
		err = fmt.Errorf("it is no certificate of these keys for %s", h.name)
	}
	if err != nil {
		h.log.Warn("certs: the stored certificate is of no use: it is issued anew", "file", h.disk.path(leafFile), "err", err)
		return
	}
	h.leaf, h.keptLeaf = h.pair(leaf), leaf.Raw
}

func (h *House) isLeaf(c *x509.Certificate) bool {
	return h.leafKey.PublicKey.Equal(c.PublicKey) && c.CheckSignatureFrom(h.ca) == nil && !c.IsCA &&
		slices.Equal(c.DNSNames, []string{h.name}) && len(c.IPAddresses) == 0 &&
		slices.Equal(c.ExtKeyUsage, []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth})
}

func (h *House) pair(leaf *x509.Certificate) *tls.Certificate {
	return &tls.Certificate{Certificate: [][]byte{leaf.Raw}, PrivateKey: h.leafKey, Leaf: leaf}
}

// Certificate gives the leaf of now, whatever name the client asked for; it is for
// tls.Config.GetCertificate. The handshake that finds it too old waits for the disk, no other does.
func (h *House) Certificate(*tls.ClientHelloInfo) (*tls.Certificate, error) {
	r := h.clock.Read()
	h.mu.Lock()
	renewed, err := h.renew(r)
	leaf := h.leaf
	h.mu.Unlock()
	switch {
	case leaf == nil:
		return nil, fmt.Errorf("certs: %w", err)
	case err != nil:
		h.log.Error("certs: the certificate could not be issued anew: the old one stays", "err", err)
	case renewed:
		h.keep()
	}
	return leaf, nil
}

// renew issues in memory what is due at r, and reports whether anything was.
func (h *House) renew(r gateway.Reading) (renewed bool, err error) {
	ca := h.ca
	if early(period(ca), caPeriod(r), r) {
		if ca, err = newCA(h.caKey, h.name, r); err != nil {
			return false, err
		}
	} else if h.leaf != nil && !due(h.leaf.Leaf, ca, r) {
		return false, nil
	}
	leaf, err := newLeaf(h.caKey, ca, &h.leafKey.PublicKey, h.name, r)
	if err != nil {
		return false, err
	}
	if ca != h.ca {
		h.log.Warn("certs: the house's CA was made while the clock was far ahead, and is made anew: phones have to trust it again",
			"valid_from", h.ca.NotBefore, "fingerprint", fingerprint(ca.Raw))
	}
	h.log.Info("certs: a certificate was issued", "name", h.name, "valid_from", leaf.NotBefore, "valid_until", leaf.NotAfter)
	h.ca, h.leaf = ca, h.pair(leaf)
	return true, nil
}

// keep puts on the disk what it does not have yet. Its failure is told once.
func (h *House) keep() {
	h.keeping.Lock()
	defer h.keeping.Unlock()
	h.mu.Lock()
	ca, leaf := h.ca.Raw, h.leaf.Leaf.Raw
	h.mu.Unlock()
	var err error
	if !bytes.Equal(ca, h.keptCA) {
		if err = h.disk.write(caFile, encodeCertificate(ca)); err == nil {
			h.keptCA = ca
		}
	}
	if err == nil && !bytes.Equal(leaf, h.keptLeaf) {
		if err = h.disk.write(leafFile, encodeCertificate(leaf)); err == nil {
			h.keptLeaf = leaf
		}
	}
	if err != nil && !h.complained {
		h.log.Error("certs: the certificate cannot be kept, and lasts until the next start only", "err", err)
	}
	h.complained = err != nil
}

// Fingerprint is that of the leaf's key: the SHA-256 of its DER SubjectPublicKeyInfo, as 64
// lower-case hexadecimal digits. It never changes.
func (h *House) Fingerprint() string { return h.fingerprint }

// CA is the house's CA certificate in DER.
func (h *House) CA() []byte {
	h.mu.Lock()
	defer h.mu.Unlock()
	return bytes.Clone(h.ca.Raw)
}

// CAFingerprint is the SHA-256 of [House.CA], as 64 lower-case hexadecimal digits: what a
// phone shows before it installs the CA.
func (h *House) CAFingerprint() string { return fingerprint(h.CA()) }

func fingerprint(b []byte) string {
	sum := sha256.Sum256(b)
	return hex.EncodeToString(sum[:])
}
