package uplink

import (
	"bytes"
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/sha256"
	"crypto/tls"
	"crypto/x509"
	"math/big"
	"net"
	"net/http"
	"net/url"
	"testing"
	"testing/synctest"
	"time"

	"gardien/gateway"
)

// authority signs certificates for cloud.example.
type authority struct {
	key  *ecdsa.PrivateKey
	cert *x509.Certificate
}

func newAuthority(t testing.TB) *authority {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	tmpl := &x509.Certificate{SerialNumber: big.NewInt(1), NotBefore: time.Unix(0, 0), NotAfter: time.Date(2090, 1, 1, 0, 0, 0, 0, time.UTC),
		IsCA: true, BasicConstraintsValid: true, KeyUsage: x509.KeyUsageCertSign}
	der, err := x509.CreateCertificate(rand.Reader, tmpl, tmpl, key.Public(), key)
	if err != nil {
		t.Fatal(err)
	}
	cert, err := x509.ParseCertificate(der)
	if err != nil {
		t.Fatal(err)
	}
	return &authority{key, cert}
}

func (a *authority) roots() *x509.CertPool {
	p := x509.NewCertPool()
	p.AddCert(a.cert)
	return p
}

// sign makes a certificate for cloud.example; key nil draws one.
func (a *authority) sign(t testing.TB, key *ecdsa.PrivateKey, from, to time.Time) tls.Certificate {
	t.Helper()
	var err error
	if key == nil {
		if key, err = ecdsa.GenerateKey(elliptic.P256(), rand.Reader); err != nil {
			t.Fatal(err)
		}
	}
	tmpl := &x509.Certificate{SerialNumber: big.NewInt(2), NotBefore: from, NotAfter: to, DNSNames: []string{"cloud.example"},
		KeyUsage: x509.KeyUsageDigitalSignature, ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth}}
	der, err := x509.CreateCertificate(rand.Reader, tmpl, a.cert, key.Public(), a.key)
	if err != nil {
		t.Fatal(err)
	}
	return tls.Certificate{Certificate: [][]byte{der}, PrivateKey: key}
}

// A path that is dead without a reset is noticed within 16 s, by HTTP/2 PING.
func TestDeadPath(t *testing.T) {
	a := newAuthority(t)
	cert := a.sign(t, nil, time.Unix(0, 0), time.Date(2090, 1, 1, 0, 0, 0, 0, time.UTC))
	for _, quiet := range []time.Duration{0, 3 * time.Second, 9 * time.Second, 24 * time.Second, time.Minute} {
		synctest.Test(t, func(t *testing.T) {
			c := newFakeCloud()
			r := start(t, c.ServeHTTP, &tls.Config{Certificates: []tls.Certificate{cert}})
			defer r.stop()
			c.put(itemOf("a", 1))
			level(t, r, c, "at first")
			time.Sleep(quiet)
			was := r.net.dialled()
			r.net.kill()
			begun := time.Now()
			c.put(itemOf("b", 1))
			for r.net.dialled() == was && time.Since(begun) < time.Minute {
				time.Sleep(100 * time.Millisecond)
			}
			noticed := time.Since(begun)
			if noticed > 16*time.Second {
				t.Errorf("noticed after %s", noticed)
			}
			time.Sleep(2 * time.Second)
			level(t, r, c, "over a new path")
			t.Logf("dead path noticed after %s", noticed)
		})
	}
}

// memoryPins remembers a pin.
type memoryPins struct{ pin []byte }

func (p *memoryPins) Pin() []byte     { return p.pin }
func (p *memoryPins) SetPin(b []byte) { p.pin = b }

// H3: a clock that is wrong locks nobody out, and lets nobody in whom a right one would not.
func TestCertificatesAndTheClock(t *testing.T) {
	at := func(s string) time.Time {
		v, err := time.Parse(time.DateOnly, s)
		if err != nil {
			t.Fatal(err)
		}
		return v
	}
	a, stranger := newAuthority(t), newAuthority(t)
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	der, err := x509.MarshalPKIXPublicKey(key.Public())
	if err != nil {
		t.Fatal(err)
	}
	pin := sha256.Sum256(der)
	synced := func(s string) gateway.Reading {
		return gateway.Reading{State: gateway.ClockSynced, Wall: at(s), Earliest: at(s), Latest: at(s)}
	}
	lost := func(floor string) gateway.Reading {
		return gateway.Reading{State: gateway.ClockUndecided, Wall: at(floor), Earliest: at(floor), Latest: gateway.MaxTime}
	}
	for _, c := range []struct {
		name     string
		by       *authority
		from, to string
		now      gateway.Reading
		pin      []byte
		ok       bool
	}{
		{"in its time", a, "2026-11-01", "2027-02-01", synced("2026-11-24"), nil, true},
		{"over", a, "2026-01-01", "2026-04-01", synced("2026-11-24"), pin[:], false},
		{"not yet", a, "2027-01-01", "2027-04-01", synced("2026-11-24"), pin[:], false},
		{"a floor of long ago, no pin", a, "2026-11-01", "2027-02-01", lost("2026-01-01"), nil, true},
		{"a floor of long ago, another pin", a, "2026-11-01", "2027-02-01", lost("2026-01-01"), []byte("another"), true},
		{"surely over, no pin", a, "2026-01-01", "2026-04-01", lost("2026-11-01"), nil, false},
		{"a floor from the future, and the key is known", a, "2026-11-01", "2027-02-01", lost("2040-01-01"), pin[:], true},
		{"a floor from the future, and the key is not", a, "2026-11-01", "2027-02-01", lost("2040-01-01"), []byte("another"), false},
		{"a stranger's authority", stranger, "2026-11-01", "2027-02-01", synced("2026-11-24"), pin[:], false},
		{"a stranger's authority, without a clock", stranger, "2026-11-01", "2027-02-01", lost("2026-01-01"), pin[:], false},
	} {
		t.Run(c.name, func(t *testing.T) {
			cert := c.by.sign(t, key, at(c.from), at(c.to))
			pins := &memoryPins{c.pin}
			config := TLSConfig("cloud.example", a.roots(), fixedClock{c.now}, pins)
			client, server := net.Pipe()
			go tls.Server(server, &tls.Config{Certificates: []tls.Certificate{cert}}).Handshake()
			err := tls.Client(client, config).Handshake()
			client.Close()
			if (err == nil) != c.ok {
				t.Errorf("%v", err)
			}
			trusted := c.now.State != gateway.ClockUndecided
			if c.ok && trusted && !bytes.Equal(pins.pin, pin[:]) || !trusted && !bytes.Equal(pins.pin, c.pin) {
				t.Error("the pin is not that of a key seen under a trusted clock")
			}
			if config := TLSConfig("other.example", a.roots(), fixedClock{c.now}, pins); c.ok {
				client, server := net.Pipe()
				go tls.Server(server, &tls.Config{Certificates: []tls.Certificate{cert}}).Handshake()
				if err := tls.Client(client, config).Handshake(); err == nil {
					t.Error("another host's name is good")
				}
				client.Close()
			}
		})
	}
}

// The client sends no assertion to where a redirect leads.
func TestNoRedirects(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		n := newPipes()
		var asked []string
		srv := &http.Server{Handler: http.HandlerFunc(func(w http.ResponseWriter, q *http.Request) {
			asked = append(asked, q.Host+q.URL.Path)
			http.Redirect(w, q, "http://other.example/steal", http.StatusTemporaryRedirect)
		})}
		go srv.Serve(n)
		c := NewClient(ClientOpts{URL: &url.URL{Scheme: "http", Host: "cloud.example"}, Dial: n.Dial, Sign: func(time.Time) (string, error) { return "secret", nil }})
		if err := c.Do(context.Background(), "GET", "/v1/x", nil, nil); err == nil {
			t.Error("a redirect is an answer")
		}
		if len(asked) != 1 || asked[0] != "cloud.example/v1/x" {
			t.Errorf("asked %v", asked)
		}
		c.Close()
		srv.Close()
	})
}
