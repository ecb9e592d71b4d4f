package main

import (
	"bufio"
	"bytes"
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/json"
	"encoding/pem"
	"errors"
	"flag"
	"fmt"
	"io"
	"log/slog"
	"math/big"
	mathrand "math/rand/v2"
	"net"
	"net/http"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"gardien/cmd/gardien-demo/cable"
	"gardien/gateway"
	"gardien/gateway/api"
	"gardien/gateway/cloud"
	"gardien/gateway/tokens"
	"gardien/gateway/uplink"
	"gardien/store/mailbox"
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

// buildAll builds the real programs, gardiend too: here nothing is moved from outside.
func buildAll(t *testing.T) string {
	t.Helper()
	dir := t.TempDir()
	out, err := exec.Command("go", "build", "-o", dir+"/", "gardien/cmd/gardiend", "gardien/cmd/gardien-cloud", "gardien/cmd/gardien-issuer").CombinedOutput()
	if err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	return dir
}

// program is a running process.
type program struct {
	cmd *exec.Cmd
	log *os.File
}

func (c *chaos) spawn(name, log string, args ...string) *program {
	c.t.Helper()
	f, err := os.OpenFile(filepath.Join(c.dir, log), os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o600)
	if err != nil {
		c.t.Fatal(err)
	}
	p := &program{exec.Command(filepath.Join(c.bin, name), args...), f}
	p.cmd.Stdout, p.cmd.Stderr = f, f
	p.cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	if err := p.cmd.Start(); err != nil {
		c.t.Fatal(err)
	}
	return p
}

func (p *program) end(sig syscall.Signal) {
	if p == nil || p.cmd.ProcessState != nil {
		return
	}
	p.cmd.Process.Signal(sig)
	p.cmd.Wait()
	p.log.Close()
}

// node is one gateway process and what it has recorded.
type node struct {
	dir     string
	client  *api.Client
	program *program
	records map[string][]string // events of the issuer by log, in order
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
	two   *node // a second process with the same identity
	watch *program

	key     *tokens.SigningKey
	client  *uplink.Client
	gateway *tokens.Descriptor
	pause   sync.Mutex // held: the writer rests
	mu      sync.Mutex
	model   map[string]gateway.Item // newest acknowledged item by jti
	status  map[string]gateway.GrantStatus
	writes  int
	backup  bool
	faults  map[string]int
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
		model: map[string]gateway.Item{}, status: map[string]gateway.GrantStatus{}, faults: map[string]int{}}
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

// tool runs a program to its end and gives what it printed.
func (c *chaos) tool(name string, args ...string) string {
	c.t.Helper()
	cmd := exec.Command(filepath.Join(c.bin, name), args...)
	var errs bytes.Buffer
	cmd.Stderr = &errs
	out, err := cmd.Output()
	if err != nil {
		c.t.Fatalf("%s %v: %v\n%s", name, args, err, errs.String())
	}
	return strings.TrimSpace(string(out))
}

func (c *chaos) startCloud() {
	c.t.Helper()
	c.cloud = c.spawn("gardien-cloud", "cloud.log", "serve", "--db", c.dsn, "--listen", c.addr, "--cert", c.path("ca.pem"), "--key", c.path("key.pem"),
		"--origin", "https://"+c.wire.Addr()+",https://"+c.addr)
	config := &tls.Config{InsecureSkipVerify: true}
	client := &http.Client{Transport: &http.Transport{TLSClientConfig: config, DisableKeepAlives: true}}
	c.until("the cloud answers", 30*time.Second, func() bool {
		res, err := client.Get("https://" + c.addr + "/healthz")
		if err != nil {
			return false
		}
		res.Body.Close()
		return res.StatusCode == 200
	})
}

func (c *chaos) until(what string, within time.Duration, ok func() bool) {
	c.t.Helper()
	for deadline := time.Now().Add(within); !ok(); <-time.After(50 * time.Millisecond) {
		if time.Now().After(deadline) {
			c.t.Fatalf("%s: not within %s", what, within)
		}
	}
}

func (c *chaos) startNode(n *node) {
	c.t.Helper()
	n.program = c.spawn("gardiend", filepath.Base(n.dir)+".log", "--config", filepath.Join(n.dir, "g.yaml"))
	c.until("gardiend answers", 30*time.Second, func() bool { return n.client.Do(context.Background(), "GET", "/v1/info", nil, nil) == nil })
}

// newNode makes a gateway's folder; keys is the folder of an identity to take over.
func (c *chaos) newNode(name, keys string) *node {
	c.t.Helper()
	n := &node{dir: c.path(name), client: api.NewClient(filepath.Join(c.path(name), "s")), records: map[string][]string{}}
	jwks, err := os.ReadFile(c.path("keys/jwks.json"))
	c.check(err)
	ca, err := os.ReadFile(c.path("ca.pem"))
	c.check(err)
	c.write(name+"/jwks.json", jwks)
	c.write(name+"/ca.pem", ca)
	c.write(name+"/g.yaml", fmt.Appendf(nil, chaosYAML, c.wire.Addr()))
	if keys != "" {
		c.check(os.MkdirAll(filepath.Join(n.dir, "state", "keys"), 0o700))
		for _, k := range []string{"signing.jwk", "opening.jwk", "device.key"} {
			b, err := os.ReadFile(filepath.Join(keys, k))
			c.check(err)
			c.write(name+"/state/keys/"+k, b)
		}
	}
	return n
}

func (n *node) get(path string, v any) error {
	return n.client.Do(context.Background(), "GET", path, nil, v)
}

// keep reads the record of a gateway that is level: what its issuer must get.
func (c *chaos) keep(n *node) {
	c.t.Helper()
	var st api.Status
	c.check(n.get("/v1/status", &st))
	var list []string
	for after := int64(0); ; {
		var page api.Events
		c.check(n.get(fmt.Sprintf("/v1/events?limit=1000&after=%d", after), &page))
		for _, e := range page.Events {
			if e.Issuer == chaosIssuer {
				list = append(list, eventKey(e))
			}
		}
		if after = page.Next; len(page.Events) < 1000 {
			break
		}
	}
	n.records[st.Log] = list
}

func eventKey(e gateway.Event) string {
	return strings.Join([]string{e.At, string(e.Type), e.Grant, string(e.Attempt), string(e.Reason)}, " ")
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
	c.one = c.newNode("one", "")
	c.startNode(c.one)
	var info api.Info
	c.check(c.one.get("/v1/info", &info))
	code := c.tool("gardien-cloud", "code", "gateway", string(info.ID), "--db", c.dsn)
	c.check(c.one.client.Do(context.Background(), "POST", "/v1/cloud/enrolment", api.CloudEnrolment{Code: code}, nil))
	code = c.tool("gardien-cloud", "code", "issuer", string(chaosIssuer), "--db", c.dsn)
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
	var d cloud.GatewayDescriptor
	c.check(c.client.Do(context.Background(), "GET", "/v1/gateways/"+string(info.ID), nil, &d))
	c.gateway, err = tokens.ParseDescriptor(d.Descriptor)
	c.check(err)
	// The second process has the same identity, a record of its own, and is enrolled by it.
	c.two = c.newNode("two", filepath.Join(c.one.dir, "state", "keys"))
	c.startNode(c.two)
	code = c.tool("gardien-cloud", "code", "gateway", string(info.ID), "--db", c.dsn)
	c.check(c.two.client.Do(context.Background(), "POST", "/v1/cloud/enrolment", api.CloudEnrolment{Code: code}, nil))
	// Known keys and a new database pause third parties; here that must not matter.
}

// writer makes some thirty changes a second, near half of them revocations, and now and
// then something that no gateway can read.
func (c *chaos) writer(stop <-chan struct{}) {
	rng := mathrand.New(mathrand.NewPCG(*chaosSeed, 8))
	var open []string
	tick := time.NewTicker(33 * time.Millisecond)
	defer tick.Stop()
	for n := 0; ; n++ {
		select {
		case <-stop:
			return
		case <-tick.C:
		}
		jti, ver, status := fmt.Sprint("g", n), int64(1), gateway.GrantActive
		if len(open) > 0 && rng.IntN(100) < 45 {
			k := rng.IntN(len(open))
			jti, ver, status = open[k], 2, gateway.GrantRevoked
			open = append(open[:k], open[k+1:]...)
		} else {
			open = append(open, jti)
		}
		c.change(n, jti, ver, status, stop)
	}
}

// change makes one change of the issuer's.
func (c *chaos) change(n int, jti string, ver int64, status gateway.GrantStatus, stop <-chan struct{}) {
	c.pause.Lock()
	defer c.pause.Unlock()
	now := time.Now().Truncate(time.Second)
	text, err := tokens.SignGrant(c.key, c.gateway.Gateway, gateway.Grant{ID: gateway.GrantID{Issuer: chaosIssuer, JTI: jti}, Version: ver, Status: status,
		Doors: []gateway.DoorID{"front"}, IssuedAt: now, Period: gateway.Period{NotBefore: now, NotAfter: now.Add(24 * time.Hour)}, Uses: 1})
	if err == nil {
		text, err = tokens.Seal(text, tokens.TypGrant, c.gateway.Seal)
	}
	if err != nil {
		c.t.Error(err)
		return
	}
	item := gateway.Item{ID: gateway.ItemID(chaosIssuer, jti), Kind: gateway.ItemGrant, Ver: ver, Exp: gateway.Midnight(now.Add(24 * time.Hour).Unix()), Body: text}
	if n%40 == 39 {
		c.put(gateway.Item{ID: gateway.ItemID(chaosIssuer, "x"+jti), Kind: "horoscope", Ver: 1, Exp: item.Exp, Body: "of tomorrow"}, stop)
		c.put(gateway.Item{ID: gateway.ItemID(chaosIssuer, "y"+jti), Kind: "grant", Ver: 1, Exp: item.Exp, Body: "rubbish"}, stop)
	}
	c.mu.Lock()
	c.model[jti], c.status[jti] = item, status // whether or not the answer comes: it is written again
	c.mu.Unlock()
	c.put(item, stop)
}

// put writes an item until it is acknowledged.
func (c *chaos) put(i gateway.Item, stop <-chan struct{}) {
	for {
		ctx, cancel := context.WithTimeout(context.Background(), 5*time.Second)
		err := c.client.Do(ctx, "PUT", "/v1/gateways/"+string(c.gateway.Gateway)+"/items/"+i.ID, cloud.ItemWrite{Kind: i.Kind, Ver: i.Ver, Exp: i.Exp, Body: i.Body}, nil)
		cancel()
		var refused *uplink.StatusError
		if err == nil || errors.As(err, &refused) && refused.Status == http.StatusConflict {
			c.mu.Lock()
			c.writes++
			c.mu.Unlock()
			return
		}
		select {
		case <-stop: // level writes it again
			return
		case <-time.After(100 * time.Millisecond):
		}
	}
}

// fault makes one.
func (c *chaos) fault() {
	ms := func(from, to int) time.Duration { return time.Duration(from+c.rng.IntN(to-from)) * time.Millisecond }
	wait := func(d time.Duration) { <-time.After(d) }
	kinds := []string{"refused", "hole", "hole and reset", "dead path", "gateway killed", "service killed", "service stopped", "database stopped", "backup or restore", "compacted", "reflashed"}
	kind := kinds[c.rng.IntN(len(kinds))]
	if kind == "reflashed" && c.faults[kind] > 0 || kind == "database stopped" && c.pg == nil {
		kind = "refused"
	}
	c.faults[kind]++
	switch kind {
	case "refused":
		c.wire.Refuse()
		wait(ms(500, 4000))
		c.wire.Heal()
	case "hole":
		c.wire.Hold()
		wait(ms(500, 6500))
		c.wire.Heal()
	case "hole and reset":
		c.wire.Hold()
		wait(ms(500, 4000))
		c.wire.Refuse()
		c.wire.Heal()
	case "dead path":
		c.wire.Dead()
	case "gateway killed":
		c.one.program.end(syscall.SIGKILL)
		wait(ms(0, 1500))
		c.startNode(c.one)
	case "service killed":
		c.cloud.end(syscall.SIGKILL)
		wait(ms(0, 1500))
		c.startCloud()
	case "service stopped":
		c.cloud.end(syscall.SIGTERM)
		c.startCloud()
	case "database stopped":
		c.pg.Kill()
		wait(ms(0, 1500))
		c.pg.Up(c.t)
	case "backup or restore":
		c.cloud.end(syscall.SIGKILL)
		c.backupOrRestore()
	case "compacted":
		c.compact()
	case "reflashed":
		// What a card takes with it that has not gone up is gone; so nothing may be on its way.
		c.pause.Lock()
		defer c.pause.Unlock()
		c.level(c.one)
		c.one.program.end(syscall.SIGTERM)
		for _, name := range []string{"gardien.db", "gardien.db-wal", "gardien.db-shm"} {
			os.Remove(filepath.Join(c.one.dir, "state", name))
		}
		c.startNode(c.one)
		code := c.tool("gardien-cloud", "code", "gateway", string(c.gateway.Gateway), "--db", c.dsn)
		c.check(c.one.client.Do(context.Background(), "POST", "/v1/cloud/enrolment", api.CloudEnrolment{Code: code}, nil))
	}
}

// backupOrRestore, while the service is down: the first makes a backup, the next brings it
// back, as an operator would, and the issuer sends again what is not over.
func (c *chaos) backupOrRestore() {
	c.t.Helper()
	defer func() { c.backup = !c.backup }()
	names := []string{"", "-wal", "-shm"}
	if !c.backup {
		if c.pg != nil {
			c.pg.Copy(c.t, c.dsn, "kept")
		}
		for _, s := range names {
			if b, err := os.ReadFile(c.dsn + s); err == nil {
				c.check(os.WriteFile(c.dsn+".kept"+s, b, 0o600))
			}
		}
		c.startCloud()
		return
	}
	if c.pg != nil {
		c.pg.Replace(c.t, c.dsn, "kept")
	}
	for _, s := range names {
		if c.pg != nil {
			break
		}
		os.Remove(c.dsn + s)
		if b, err := os.ReadFile(c.dsn + ".kept" + s); err == nil {
			c.check(os.WriteFile(c.dsn+s, b, 0o600))
		}
	}
	c.tool("gardien-cloud", "restored", "--db", c.dsn)
	c.startCloud()
	c.resend()
}

// resend is what gardien-issuer resend does.
func (c *chaos) resend() {
	c.mu.Lock()
	var all []gateway.Item
	for _, i := range c.model {
		all = append(all, i)
	}
	c.mu.Unlock()
	never := make(chan struct{})
	for _, i := range all {
		c.put(i, never)
	}
}

// level waits until a gateway has every grant as the issuer made it, and all its events
// have gone up.
func (c *chaos) level(n *node) {
	c.t.Helper()
	c.resend()
	var differ []string
	ok := func() bool {
		c.mu.Lock()
		defer c.mu.Unlock()
		differ = nil
		have := map[string]api.Grant{}
		for after := ""; ; {
			var page api.Grants
			if n.get("/v1/grants?limit=1000&after="+url.QueryEscape(after), &page) != nil {
				return false
			}
			for _, g := range page.Grants {
				have[g.JTI] = g
			}
			if after = page.Next; after == "" {
				break
			}
		}
		for jti, i := range c.model {
			if g := have[jti]; g.Ver != i.Ver || g.Status != c.status[jti] {
				differ = append(differ, jti)
			}
		}
		return len(differ) == 0
	}
	for deadline := time.Now().Add(90 * time.Second); !ok(); <-time.After(50 * time.Millisecond) {
		if time.Now().After(deadline) {
			var st api.Status
			n.get("/v1/status", &st)
			c.t.Fatalf("%s: %d grants differ 90 s after the last fault: %.5v; %s %v", filepath.Base(n.dir), len(differ), differ, st.Cloud, st.Notes)
		}
	}
	c.until("the watcher has the events of "+filepath.Base(n.dir), 90*time.Second, func() bool {
		c.keep(n)
		var st api.Status
		if n.get("/v1/status", &st) != nil {
			return false
		}
		return len(c.watched()[st.Log]) >= len(n.records[st.Log])
	})
}

// watched reads what the watcher has printed: events by log.
func (c *chaos) watched() map[string][]string {
	c.t.Helper()
	f, err := os.Open(c.path("watch.log"))
	c.check(err)
	defer f.Close()
	got := map[string][]string{}
	lines := bufio.NewReader(f)
	for {
		line, err := lines.ReadString('\n')
		if errors.Is(err, io.EOF) {
			return got
		}
		c.check(err)
		var d struct {
			Log   string        `json:"log"`
			Event gateway.Event `json:"event"`
		}
		if json.Unmarshal([]byte(line), &d) == nil && d.Log != "" {
			got[d.Log] = append(got[d.Log], eventKey(d.Event))
		}
	}
}

// compare holds each log's record against what came to the issuer.
func (c *chaos) compare() (total, lost, doubled int) {
	got := c.watched()
	for _, n := range []*node{c.one, c.two} {
		for log, want := range n.records {
			total += len(want)
			have := got[log]
			for i, e := range want {
				if i >= len(have) || have[i] != e {
					lost += len(want) - i
					c.t.Errorf("log %s of %s: event %d is %q", log, filepath.Base(n.dir), i, e)
					break
				}
			}
			doubled += max(0, len(have)-len(want))
		}
	}
	return total, lost, doubled
}

// compact compacts the gateway's log, past the cursors of those that are away.
func (c *chaos) compact() {
	c.t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
	defer cancel()
	box, err := mailbox.Open(ctx, c.dsn, slog.New(slog.DiscardHandler))
	c.check(err)
	defer box.Close()
	c.check(box.Compact(ctx, c.gateway.Gateway, time.Unix(0, 0)))
}
