package certs

import (
	"bytes"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"encoding/pem"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// complete is a house's folder, and another's of the same name.
func complete(t *testing.T) (dir string, other map[string][]byte) {
	t.Helper()
	dir = t.TempDir()
	mustOpen(t, opts(dir, at(synced(moved))))
	elsewhere := t.TempDir()
	mustOpen(t, opts(elsewhere, at(synced(moved))))
	return dir, files(t, elsewhere)
}

// W6: a house that was complete is never another one in silence.
func TestW6_WhatIsMissingIsAnError(t *testing.T) {
	spoil := map[string]func(path string, other []byte) error{
		"missing": func(p string, _ []byte) error { return os.Remove(p) },
		"empty":   func(p string, _ []byte) error { return os.WriteFile(p, nil, 0o600) },
		"garbage": func(p string, _ []byte) error { return os.WriteFile(p, []byte("x"), 0o600) },
		"another": func(p string, other []byte) error { return os.WriteFile(p, other, 0o600) },
	}
	for how, f := range spoil {
		for _, name := range []string{caFile, caKeyFile, leafKeyFile} {
			dir, other := complete(t)
			if err := f(filepath.Join(dir, name), other[name]); err != nil {
				t.Fatal(err)
			}
			before := files(t, dir)
			h, err := Open(opts(dir, at(synced(moved))))
			if how == "another" && name == leafKeyFile { // nothing ties it to the CA: who swaps it wants another fp
				if err != nil || h.Fingerprint() != fingerprint(leafOf(t, h).RawSubjectPublicKeyInfo) {
					t.Errorf("another leaf.key: %v", err)
				}
				continue
			}
			if err == nil || !strings.Contains(err.Error(), name) || !strings.Contains(err.Error(), "bring the file back") {
				t.Errorf("%s is %s: %v", name, how, err)
			}
			for n, b := range before {
				if !bytes.Equal(b, files(t, dir)[n]) {
					t.Errorf("%s is %s: %s was changed", name, how, n)
				}
			}
		}
		dir, other := complete(t)
		if err := f(filepath.Join(dir, leafFile), other[leafFile]); err != nil {
			t.Fatal(err)
		}
		h := mustOpen(t, opts(dir, at(synced(moved))))
		checkNow(t, h, synced(moved))
		if !leafOf(t, mustOpen(t, opts(dir, at(synced(moved))))).Equal(leafOf(t, h)) {
			t.Errorf("%s is %s: the new one is not kept", leafFile, how)
		}
	}
}

// A leaf that these keys have not issued for this name is not served.
func TestStoredLeafMustBeOurs(t *testing.T) {
	for name, change := range map[string]func(*x509.Certificate){
		"another name": named("gardien-aaaa.local"), "an address too": addressed("10.0.0.1"),
		"a CA": func(c *x509.Certificate) { c.IsCA, c.KeyUsage = true, x509.KeyUsageCertSign },
	} {
		dir := t.TempDir()
		h := mustOpen(t, opts(dir, at(synced(moved))))
		template := *leafOf(t, h)
		template.SerialNumber, template.RawSubject = serial(), nil
		change(&template)
		bad, err := sign(&template, caOf(t, h), &h.leafKey.PublicKey, h.caKey)
		if err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(filepath.Join(dir, leafFile), encodeCertificate(bad.Raw), 0o600); err != nil {
			t.Fatal(err)
		}
		if leafOf(t, mustOpen(t, opts(dir, at(synced(moved))))).Equal(bad) {
			t.Errorf("%s: it is served", name)
		}
	}
}

// W6: keys that others may have read are refused, in a house that was complete and in one that was not.
func TestW6_KeysAreTheOwnersAlone(t *testing.T) {
	for _, whole := range []bool{true, false} {
		for _, name := range []string{caKeyFile, leafKeyFile} {
			for _, mode := range []os.FileMode{0o644, 0o640, 0o604, 0o620} {
				dir, _ := complete(t)
				if !whole {
					os.Remove(filepath.Join(dir, caFile))
					os.Remove(filepath.Join(dir, leafFile))
				}
				if err := os.Chmod(filepath.Join(dir, name), mode); err != nil {
					t.Fatal(err)
				}
				if _, err := Open(opts(dir, at(synced(moved)))); err == nil || !strings.Contains(err.Error(), name) || !strings.Contains(err.Error(), "chmod 600") {
					t.Errorf("%s with mode %o: %v", name, mode, err)
				}
			}
		}
	}
}

// seeds are files that are right, and nearly so.
func seeds(f *testing.F) map[string][]byte {
	dir := f.TempDir()
	mustOpen(f, opts(dir, at(synced(moved))))
	m := map[string][]byte{}
	for _, name := range []string{caFile, caKeyFile, leafFile, leafKeyFile} {
		b, err := os.ReadFile(filepath.Join(dir, name))
		if err != nil {
			f.Fatal(err)
		}
		m[name] = b
	}
	p384, _ := ecdsa.GenerateKey(elliptic.P384(), rand.Reader)
	m["p384"], _ = encodeKey(p384)
	m["twice"] = append(bytes.Clone(m[leafKeyFile]), m[leafKeyFile]...)
	m["before"] = append([]byte("hello\n"), m[leafKeyFile]...)
	m["header"] = bytes.Replace(m[leafKeyFile], []byte("KEY-----\n"), []byte("KEY-----\nA: b\n\n"), 1)
	m["sec1"] = pem.EncodeToMemory(&pem.Block{Type: "EC PRIVATE KEY", Bytes: []byte{0x30}})
	for name, b := range m {
		_, keyErr := parseKey(b)
		_, certErr := parseCertificate(b)
		if (keyErr == nil) != (name == caKeyFile || name == leafKeyFile) || (certErr == nil) != (name == caFile || name == leafFile) {
			f.Fatalf("%s: as a key %v, as a certificate %v", name, keyErr, certErr)
		}
	}
	return m
}

// N5: whatever is taken for a key is one on P-256, and is the same once it was written again; no
// error repeats what is in the file (L5).
func FuzzParseKey(f *testing.F) {
	for _, b := range seeds(f) {
		f.Add(b)
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		key, err := parseKey(b)
		if err != nil {
			if len(err.Error()) > 100 {
				t.Errorf("a long error: %v", err)
			}
			return
		}
		again, err := encodeKey(key)
		if err != nil {
			t.Fatal(err)
		}
		if other, err := parseKey(again); err != nil || !other.Equal(key) || key.Curve != elliptic.P256() {
			t.Errorf("it is not the same once written: %v", err)
		}
	})
}

// N5: whatever is taken for a certificate is the same once it was written again.
func FuzzParseCertificate(f *testing.F) {
	for _, b := range seeds(f) {
		f.Add(b)
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		c, err := parseCertificate(b)
		if err != nil {
			return
		}
		if again, err := parseCertificate(encodeCertificate(c.Raw)); err != nil || !again.Equal(c) {
			t.Errorf("it is not the same once written: %v", err)
		}
	})
}
