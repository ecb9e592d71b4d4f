package uplink

import (
	"bytes"
	"crypto/sha256"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"time"

	"gardien/gateway"
)

// Pins remembers the cloud's key.
type Pins interface {
	Pin() []byte
	// SetPin is told a key that was seen under a trusted clock.
	SetPin([]byte)
}

// TLSConfig verifies a cloud as Go does, but for the clock: see the package comment.
// Roots nil are the system's.
func TLSConfig(host string, roots *x509.CertPool, clock Clock, pins Pins) *tls.Config {
	v := &verifier{host, roots, clock, pins}
	return &tls.Config{
		ServerName: host, MinVersion: tls.VersionTLS13, RootCAs: roots,
		InsecureSkipVerify: true, // verifier does it: with the gateway's own time
		VerifyConnection:   v.verify,
	}
}

type verifier struct {
	host  string
	roots *x509.CertPool
	clock Clock
	pins  Pins
}

func (v *verifier) verify(cs tls.ConnectionState) error {
	if len(cs.PeerCertificates) == 0 {
		return errors.New("the cloud shows no certificate")
	}
	leaf := cs.PeerCertificates[0]
	now := v.clock.Read()
	trusted := now.State != gateway.ClockUndecided
	at := now.Wall
	if !trusted {
		at = couldBe(cs.PeerCertificates, now)
	}
	sum := sha256.Sum256(leaf.RawSubjectPublicKeyInfo)
	err := v.chain(cs.PeerCertificates, at)
	var invalid x509.CertificateInvalidError
	switch {
	case err == nil && trusted:
		if !bytes.Equal(v.pins.Pin(), sum[:]) {
			v.pins.SetPin(sum[:])
		}
		return nil
	case err == nil:
		return nil
	case !trusted && errors.As(err, &invalid) && invalid.Reason == x509.Expired && bytes.Equal(v.pins.Pin(), sum[:]):
		// The date alone is wrong, as a floor from the future makes it, and the key is the cloud's.
		return leaf.VerifyHostname(v.host)
	case errors.As(err, &invalid) && invalid.Reason == x509.Expired:
		return fmt.Errorf("the cloud's certificate is good from %s to %s, and the clock says %s: check which is wrong",
			leaf.NotBefore.Format(time.DateOnly), leaf.NotAfter.Format(time.DateOnly), at.Format(time.DateTime))
	}
	return fmt.Errorf("the cloud's certificate: %w (cloud.ca names another authority)", err)
}

func (v *verifier) chain(certs []*x509.Certificate, at time.Time) error {
	between := x509.NewCertPool()
	for _, c := range certs[1:] {
		between.AddCert(c)
	}
	_, err := certs[0].Verify(x509.VerifyOptions{DNSName: v.host, Roots: v.roots, Intermediates: between, CurrentTime: at})
	return err
}

// couldBe gives the first instant of the clock's interval at which the certificates that
// were shown are good; where there is none, its lower end.
func couldBe(certs []*x509.Certificate, now gateway.Reading) time.Time {
	at := now.Earliest
	for _, c := range certs {
		if c.NotBefore.After(at) {
			at = c.NotBefore
		}
	}
	if at.After(now.Latest) {
		return now.Earliest
	}
	return at
}
