package certs

import (
	"crypto/ecdsa"
	"crypto/rand"
	"crypto/x509"
	"crypto/x509/pkix"
	"math/big"
	"net"
	"strings"
	"time"

	"gardien/gateway"
)

const (
	day = 24 * time.Hour
	// leafLife is the longest that browsers take, less a day.
	leafLife = 397 * day
	caYears  = 30
)

// lastDay is the last that a certificate of ours is valid on.
var lastDay = time.Date(2099, 12, 31, 23, 59, 59, 0, time.UTC)

// period is when c is valid; a certificate's last second counts.
func period(c *x509.Certificate) gateway.Period {
	return gateway.Period{NotBefore: c.NotBefore, NotAfter: c.NotAfter.Add(time.Second)}
}

// caPeriod is when a CA that is made at r is valid: for 30 years, of this century.
func caPeriod(r gateway.Reading) gateway.Period {
	from := start(r, lastDay.AddDate(-1, 0, 0))
	return gateway.Period{NotBefore: from, NotAfter: earlier(from.AddDate(caYears, 0, 0), lastDay)}
}

// leafPeriod is when a leaf that ca signs at r is valid.
func leafPeriod(ca *x509.Certificate, r gateway.Reading) gateway.Period {
	from := start(r, ca.NotAfter)
	return gateway.Period{NotBefore: from, NotAfter: earlier(from.Add(leafLife-time.Second), ca.NotAfter)}
}

// start is a day before the earliest now, or before last, where now is surely later.
func start(r gateway.Reading, last time.Time) time.Time {
	from := earlier(r.Earliest, last)
	if from.Before(gateway.MinTime) {
		from = gateway.MinTime
	}
	return from.Add(-day).UTC().Truncate(time.Second)
}

func earlier(a, b time.Time) time.Time {
	if a.Before(b) {
		return a
	}
	return b
}

// early reports that p is surely not valid yet, and that next would be sooner.
func early(p, next gateway.Period, r gateway.Reading) bool {
	return r.In(p) == gateway.PlaceBefore && next.NotBefore.Before(p.NotBefore)
}

// due reports whether a new leaf would do better: two thirds of this one's life are surely
// over, or it is surely not valid yet.
func due(leaf, ca *x509.Certificate, r gateway.Reading) bool {
	next := leafPeriod(ca, r)
	if early(period(leaf), next, r) {
		return true
	}
	old := leaf.NotBefore.Add(leaf.NotAfter.Sub(leaf.NotBefore) / 3 * 2)
	return !r.Earliest.Before(old) && next.NotAfter.After(leaf.NotAfter)
}

// newCA makes the CA certificate of key for the one name.
func newCA(key *ecdsa.PrivateKey, name string, r gateway.Reading) (*x509.Certificate, error) {
	p := caPeriod(r)
	t := &x509.Certificate{
		SerialNumber: serial(),
		Subject:      pkix.Name{CommonName: caName(name)},
		NotBefore:    p.NotBefore, NotAfter: p.NotAfter,
		KeyUsage:              x509.KeyUsageCertSign | x509.KeyUsageCRLSign,
		ExtKeyUsage:           []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth},
		BasicConstraintsValid: true, IsCA: true, MaxPathLenZero: true,
		PermittedDNSDomainsCritical: true,
		PermittedDNSDomains:         []string{name},
		ExcludedIPRanges: []*net.IPNet{
			{IP: make(net.IP, net.IPv4len), Mask: make(net.IPMask, net.IPv4len)},
			{IP: make(net.IP, net.IPv6len), Mask: make(net.IPMask, net.IPv6len)},
		},
	}
	return sign(t, t, &key.PublicKey, key)
}

// newLeaf makes the web server's certificate. It bears no IP address: the CA must not vouch
// for one.
func newLeaf(caKey *ecdsa.PrivateKey, ca *x509.Certificate, key *ecdsa.PublicKey, name string, r gateway.Reading) (*x509.Certificate, error) {
	p := leafPeriod(ca, r)
	return sign(&x509.Certificate{
		SerialNumber: serial(),
		Subject:      pkix.Name{CommonName: name},
		DNSNames:     []string{name},
		NotBefore:    p.NotBefore, NotAfter: p.NotAfter,
		KeyUsage:              x509.KeyUsageDigitalSignature,
		ExtKeyUsage:           []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth},
		BasicConstraintsValid: true,
	}, ca, key, caKey)
}

func sign(template, parent *x509.Certificate, key *ecdsa.PublicKey, by *ecdsa.PrivateKey) (*x509.Certificate, error) {
	der, err := x509.CreateCertificate(rand.Reader, template, parent, key, by)
	if err != nil {
		return nil, err
	}
	return x509.ParseCertificate(der)
}

// serial is 128 random bits.
func serial() *big.Int {
	b := make([]byte, 16)
	rand.Read(b)
	return new(big.Int).SetBytes(b)
}

// caName is what a phone lists the CA by.
func caName(name string) string { return "Gardien " + houseName(name) + ": this house only" }

// houseName is "62fg" of "gardien-62fg.local".
func houseName(name string) string {
	label, _, _ := strings.Cut(name, ".")
	return strings.TrimPrefix(label, "gardien-")
}
