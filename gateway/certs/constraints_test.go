package certs

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"errors"
	"net"
	"testing"
	"time"
)

// rogue is a leaf that whoever has stolen the CA's key makes.
func rogue(t testing.TB, h *House, change func(*x509.Certificate)) (*x509.Certificate, *ecdsa.PrivateKey) {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	template := *leafOf(t, h)
	template.RawSubject, template.SerialNumber, template.Extensions = nil, serial(), nil
	change(&template)
	c, err := sign(&template, caOf(t, h), &key.PublicKey, h.caKey)
	if err != nil {
		t.Fatal(err)
	}
	return c, key
}

func addressed(ip string) func(*x509.Certificate) {
	return func(c *x509.Certificate) { c.IPAddresses = append(c.IPAddresses, net.ParseIP(ip)) }
}

func only(ip string) func(*x509.Certificate) {
	return func(c *x509.Certificate) { c.DNSNames = nil; addressed(ip)(c) }
}

func named(names ...string) func(*x509.Certificate) {
	return func(c *x509.Certificate) { c.DNSNames = names }
}

// W6: the CA vouches for one DNS name and nothing else, whoever has its key.
func TestW6_CAIsForThisHouseOnly(t *testing.T) {
	h := mustOpen(t, opts(t.TempDir(), at(synced(moved))))
	verify := func(c *x509.Certificate, name string, use x509.ExtKeyUsage) error {
		pool := x509.NewCertPool()
		pool.AddCert(caOf(t, h))
		_, err := c.Verify(x509.VerifyOptions{Roots: pool, DNSName: name, CurrentTime: moved.Add(time.Hour), KeyUsages: []x509.ExtKeyUsage{use}})
		return err
	}
	web := x509.ExtKeyUsageServerAuth
	if err := verify(leafOf(t, h), ownName, web); err != nil {
		t.Fatalf("the own name: %v", err)
	}
	for _, c := range []struct {
		name, ask string
		change    func(*x509.Certificate)
		reason    x509.InvalidReason
	}{
		{"another house", "gardien-aaaa.local", named("gardien-aaaa.local"), x509.CANotAuthorizedForThisName},
		{"a bank", "bank.example", named("bank.example"), x509.CANotAuthorizedForThisName},
		{"a wildcard", ownName, named("*.local"), x509.CANotAuthorizedForThisName},
		{"own name and a bank's", ownName, named(ownName, "bank.example"), x509.CANotAuthorizedForThisName},
		{"IPv4", "192.168.1.2", only("192.168.1.2"), x509.CANotAuthorizedForThisName},
		{"IPv6", "fd00::1", only("fd00::1"), x509.CANotAuthorizedForThisName},
		{"own name and IPv4", ownName, addressed("192.168.1.2"), x509.CANotAuthorizedForThisName},
		{"own name and IPv6", ownName, addressed("2001:db8::1"), x509.CANotAuthorizedForThisName},
	} {
		leaf, _ := rogue(t, h, c.change)
		var invalid x509.CertificateInvalidError
		if err := verify(leaf, c.ask, web); !errors.As(err, &invalid) || invalid.Reason != c.reason {
			t.Errorf("%s: %v", c.name, err)
		}
	}
	client, _ := rogue(t, h, func(c *x509.Certificate) { c.ExtKeyUsage = []x509.ExtKeyUsage{x509.ExtKeyUsageEmailProtection} })
	if err := verify(client, ownName, x509.ExtKeyUsageEmailProtection); err == nil {
		t.Error("it vouches for mail")
	}
	if err := verify(leafOf(t, h), "192.168.1.2", web); err == nil {
		t.Error("the leaf is good for an address")
	}
}

// W6: the CA makes no other CA.
func TestW6_NoOtherCA(t *testing.T) {
	h := mustOpen(t, opts(t.TempDir(), at(synced(moved))))
	middle, key := rogue(t, h, func(c *x509.Certificate) {
		c.Subject.CommonName, c.DNSNames, c.IsCA, c.KeyUsage = "middle", nil, true, x509.KeyUsageCertSign
	})
	template := *leafOf(t, h)
	template.RawSubject, template.SerialNumber = nil, serial()
	leaf, err := sign(&template, middle, &h.leafKey.PublicKey, key)
	if err != nil {
		t.Fatal(err)
	}
	roots, between := x509.NewCertPool(), x509.NewCertPool()
	roots.AddCert(caOf(t, h))
	between.AddCert(middle)
	_, err = leaf.Verify(x509.VerifyOptions{Roots: roots, Intermediates: between, DNSName: ownName, CurrentTime: moved})
	var invalid x509.CertificateInvalidError
	if !errors.As(err, &invalid) || invalid.Reason != x509.TooManyIntermediates {
		t.Errorf("a leaf of another CA: %v", err)
	}
}

// W6: what stands in the certificates.
func TestW6_Shape(t *testing.T) {
	h := mustOpen(t, opts(t.TempDir(), at(synced(moved))))
	ca, leaf := caOf(t, h), leafOf(t, h)
	if !ca.IsCA || !ca.MaxPathLenZero || ca.MaxPathLen != 0 || ca.KeyUsage != x509.KeyUsageCertSign|x509.KeyUsageCRLSign {
		t.Errorf("CA %v, pathlen %d, usage %b", ca.IsCA, ca.MaxPathLen, ca.KeyUsage)
	}
	if !ca.PermittedDNSDomainsCritical || len(ca.PermittedDNSDomains) != 1 || ca.PermittedDNSDomains[0] != ownName {
		t.Errorf("name constraints: critical %v, %v", ca.PermittedDNSDomainsCritical, ca.PermittedDNSDomains)
	}
	if len(ca.ExcludedIPRanges) != 2 || ca.ExcludedIPRanges[0].String() != "0.0.0.0/0" || ca.ExcludedIPRanges[1].String() != "::/0" {
		t.Errorf("excluded addresses %v", ca.ExcludedIPRanges)
	}
	if leaf.IsCA || leaf.KeyUsage != x509.KeyUsageDigitalSignature || len(leaf.ExtKeyUsage) != 1 || leaf.ExtKeyUsage[0] != x509.ExtKeyUsageServerAuth {
		t.Errorf("leaf: CA %v, usage %b, %v", leaf.IsCA, leaf.KeyUsage, leaf.ExtKeyUsage)
	}
	if len(leaf.DNSNames) != 1 || leaf.DNSNames[0] != ownName || leaf.IPAddresses != nil || leaf.URIs != nil || leaf.EmailAddresses != nil {
		t.Errorf("leaf: %v %v", leaf.DNSNames, leaf.IPAddresses)
	}
	if ca.PublicKey.(*ecdsa.PublicKey).Curve != elliptic.P256() || leaf.PublicKey.(*ecdsa.PublicKey).Curve != elliptic.P256() || ca.PublicKey.(*ecdsa.PublicKey).Equal(leaf.PublicKey) {
		t.Error("want two keys on P-256")
	}
	if n := ca.SerialNumber.BitLen(); n < 96 || n > 128 {
		t.Errorf("the serial number has %d bits", n)
	}
}
