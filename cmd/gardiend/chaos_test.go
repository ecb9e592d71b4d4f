package main

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"flag"
	"math/big"
	mathrand "math/rand/v2"
	"net"
	"net/url"
	"os"
	"path/filepath"
	"sync"
	"syscall"
	"testing"
	"time"

	"gardien/cmd/gardien-demo/cable"
	"gardien/gateway"
	"gardien/gateway/api"
	"gardien/gateway/tokens"
	"gardien/gateway/uplink"
	"gardien/store/mailbox/pgtest"
)

var (
	chaosFor  = flag.Duration("chaos", 15*time.Second, "how long each chaos run makes faults; its promise is for 150s")
	chaosSeed = flag.Uint64("chaos-seed", 1, "seed of the faults")
)

// TestChaos: the real gardiend, gardien-cloud and gardien-issuer watch, on both stores,
// while everything fails that can. At the end no grant differs, and no event is lost or
// doubled. Long form:
//
//	go test ./cmd/gardiend -run TestChaos -v -timeout 30m -args -chaos 150s -chaos-seed 2
func TestChaos(t *testing.T) {
	t.Parallel()
	bin := buildAll(t)
	t.Run("SQLite", func(t *testing.T) {
		t.Parallel()
		newChaos(t, bin, nil).run()
	})
	t.Run("PostgreSQL", func(t *testing.T) {
		t.Parallel()
		newChaos(t, bin, pgtest.Start(t)).run()
	})
}

// chaos is one run.
type chaos struct {
	t    *testing.T
	bin  string
	dir  string
	pg   *pgtest.Server
	rng  *mathrand.Rand
	dsn  string
	addr string // of the cloud, behind the cable
	wire *cable.Cable

	cloud *program
	one   *node
	two   *node // that stays, where the first is killed and reflashed
	watch *program

	key    *tokens.SigningKey
	client *uplink.Client
	pause  sync.Mutex // held: the writer rests
	mu     sync.Mutex
	status map[string]gateway.GrantStatus
	writes int
	backup bool
	faults map[string]int
}

const chaosIssuer gateway.IssuerID = "colis-x.example"

const chaosYAML = `gateway: {name: Chaos, time_zone: Europe/Paris, state_dir: state}
api: {listen: "", socket: s}
clock: {source: system}
doors: [{id: front, strike: {driver: sim}}]
issuers: [{id: colis-x.example, keys: jwks.json, doors: [front], bearer: true, max_validity: off}]
cloud: {url: "https://%s", ca: ca.pem}
`

func newChaos(t *testing.T, bin string, pg *pgtest.Server) *chaos {
	t.Helper()
	c := &chaos{t: t, bin: bin, dir: t.TempDir(), pg: pg, rng: mathrand.New(mathrand.NewPCG(*chaosSeed, 7)),
		status: map[string]gateway.GrantStatus{}, faults: map[string]int{}}
	c.dsn = filepath.Join(c.dir, "mail.db")
	if pg != nil {
		c.dsn = pg.Database(t)
	}
	l, err := net.Listen("tcp", "127.0.0.1:0")
	c.check(err)
	c.addr = l.Addr().String()
	l.Close()
	c.wire, err = cable.New(c.addr)
	c.check(err)
	c.certificate()
	t.Cleanup(func() {
		for _, p := range []*program{c.watch, c.cloud} {
			p.end(syscall.SIGKILL)
		}
		for _, n := range []*node{c.one, c.two} {
			if n != nil {
				n.program.end(syscall.SIGKILL)
				n.client.Close()
			}
		}
		c.wire.Close()
		if t.Failed() {
			for _, name := range []string{"cloud.log", "one.log", "two.log", "watch.log"} {
				b, _ := os.ReadFile(filepath.Join(c.dir, name))
				t.Logf("[%s]\n%s", name, b[max(0, len(b)-4000):])
			}
		}
	})
	return c
}

func (c *chaos) check(err error) {
	c.t.Helper()
	if err != nil {
		c.t.Fatal(err)
	}
}

func (c *chaos) write(name string, b []byte) {
	c.t.Helper()
	c.check(os.MkdirAll(filepath.Dir(filepath.Join(c.dir, name)), 0o700))
	c.check(os.WriteFile(filepath.Join(c.dir, name), b, 0o600))
}

func (c *chaos) certificate() {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	c.check(err)
	cert := &x509.Certificate{SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "test"}, NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().AddDate(1, 0, 0),
		IsCA: true, BasicConstraintsValid: true, KeyUsage: x509.KeyUsageCertSign | x509.KeyUsageDigitalSignature, IPAddresses: []net.IP{net.IPv4(127, 0, 0, 1)}}
	der, err := x509.CreateCertificate(rand.Reader, cert, cert, key.Public(), key)
	c.check(err)
	private, err := x509.MarshalPKCS8PrivateKey(key)
	c.check(err)
	c.write("ca.pem", pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der}))
	c.write("key.pem", pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: private}))
}

func (c *chaos) path(name string) string { return filepath.Join(c.dir, name) }

func (c *chaos) until(what string, within time.Duration, ok func() bool) {
	c.t.Helper()
	for deadline := time.Now().Add(within); !ok(); <-time.After(50 * time.Millisecond) {
		if time.Now().After(deadline) {
			c.t.Fatalf("%s: not within %s", what, within)
		}
	}
}

func (c *chaos) run() {
	c.setUp()
	begun := time.Now()
	stop, done := make(chan struct{}), make(chan struct{})
	go func() { defer close(done); c.writer(stop) }()
	for time.Since(begun) < *chaosFor {
		<-time.After(1500*time.Millisecond + time.Duration(c.rng.Int64N(int64(3*time.Second))))
		c.fault()
	}
	close(stop)
	<-done
	c.wire.Heal()
	healed := time.Now()
	c.level(c.one)
	c.level(c.two)
	after := time.Since(healed)
	c.keep(c.one)
	c.keep(c.two)
	total, lost, doubled := c.compare()
	c.t.Logf("seed %d: %d changes, faults %v, level %s after the last, %d events: %d lost or out of order, %d doubled", *chaosSeed, c.writes, c.faults,
		after.Round(time.Millisecond), total, lost, doubled)
	if lost+doubled > 0 || total < 50 {
		c.t.Errorf("%d events, %d lost or out of order, %d doubled", total, lost, doubled)
	}
}

func (c *chaos) setUp() {
	c.t.Helper()
	c.tool("gardien-issuer", "keygen", "--id", string(chaosIssuer), "--out", c.path("keys"))
	b, err := os.ReadFile(c.path("keys/private.jwk"))
	c.check(err)
	c.key, err = tokens.ParseSigningKey(b)
	c.check(err)
	c.startCloud()
	c.one, c.two = c.newNode("one"), c.newNode("two")
	for _, n := range []*node{c.one, c.two} {
		c.startNode(n)
		var info api.Info
		c.check(n.get("/v1/info", &info))
		code := c.tool("gardien-cloud", "code", "gateway", string(info.ID), "--db", c.dsn)
		c.check(n.client.Do(context.Background(), "POST", "/v1/cloud/enrolment", api.CloudEnrolment{Code: code}, nil))
	}
	code := c.tool("gardien-cloud", "code", "issuer", string(chaosIssuer), "--db", c.dsn)
	c.tool("gardien-issuer", "enrol", "--key", c.path("keys"), "--cloud", "https://"+c.addr, "--ca", c.path("ca.pem"), code)
	c.watch = c.spawn("gardien-issuer", "watch.log", "watch", "--key", c.path("keys"), "--json")
	roots := x509.NewCertPool()
	ca, err := os.ReadFile(c.path("ca.pem"))
	c.check(err)
	roots.AppendCertsFromPEM(ca)
	u, err := url.Parse("https://" + c.addr)
	c.check(err)
	c.client = uplink.NewClient(uplink.ClientOpts{URL: u, TLS: &tls.Config{RootCAs: roots}, Sign: func(now time.Time) (string, error) {
		return tokens.SignAssertion(c.key, string(chaosIssuer), "https://"+c.addr, now)
	}})
	c.t.Cleanup(c.client.Close)
	for _, n := range []*node{c.one, c.two} {
		var d api.Descriptor
		c.check(n.get("/v1/descriptor", &d))
		n.gateway, err = tokens.ParseDescriptor(d.Descriptor)
		c.check(err)
	}
}
