package service

import (
	"bufio"
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/json"
	"encoding/pem"
	"flag"
	"fmt"
	"io"
	"log/slog"
	"math/big"
	"net"
	"net/http"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"gardien/gateway"
	"gardien/gateway/cloud"
	"gardien/gateway/tokens"
	"gardien/gateway/uplink"
	"gardien/gateway/web"
	"gardien/store/mailbox"
	"gardien/store/mailbox/pgtest"
)

var (
	citySize     = flag.Int("city", 200, "gateways of BenchmarkCity; its promise is for 5000")
	cityCommands = flag.Int("city-commands", 400, "commands of BenchmarkCity; its promise is for 2000, at 200 a second")
)

func writeCertificate(b *testing.B, dir string) *x509.CertPool {
	b.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		b.Fatal(err)
	}
	cert := &x509.Certificate{SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "city"}, NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().AddDate(1, 0, 0),
		IsCA: true, BasicConstraintsValid: true, KeyUsage: x509.KeyUsageCertSign | x509.KeyUsageDigitalSignature, IPAddresses: []net.IP{net.IPv4(127, 0, 0, 1)}}
	der, err := x509.CreateCertificate(rand.Reader, cert, cert, key.Public(), key)
	if err != nil {
		b.Fatal(err)
	}
	private, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		b.Fatal(err)
	}
	text := pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der})
	for name, content := range map[string][]byte{"cert.pem": text, "key.pem": pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: private})} {
		if err := os.WriteFile(filepath.Join(dir, name), content, 0o600); err != nil {
			b.Fatal(err)
		}
	}
	roots := x509.NewCertPool()
	roots.AppendCertsFromPEM(text)
	return roots
}

// progress prints one line now and then.
func progress(format string, args ...any) {
	fmt.Fprintf(os.Stderr, "city %s: %s\n", time.Now().Format(time.TimeOnly), fmt.Sprintf(format, args...))
}

// city is all of it.
type city struct {
	b        *testing.B
	dir      string
	dsn      string
	addr     string
	roots    *x509.CertPool
	bin      string
	cloud    *exec.Cmd
	citizens []*citizen
	seen     sync.Map // id of a command → when its gateway had it
}

// rss of a process in kB, when it has come to rest.
func rss(b *testing.B, pid int) float64 {
	b.Helper()
	least := 0.0
	for range 10 {
		<-time.After(500 * time.Millisecond)
		text, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", pid))
		if err != nil {
			b.Fatal(err)
		}
		for line := range strings.Lines(string(text)) {
			if words := strings.Fields(line); len(words) > 1 && words[0] == "VmRSS:" {
				v, _ := strconv.ParseFloat(words[1], 64)
				if least == 0 || v < least {
					least = v
				}
			}
		}
	}
	return least
}

func spawn(b *testing.B, cmd *exec.Cmd, from io.Reader) (address string) {
	b.Helper()
	cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	lines := bufio.NewReader(from)
	if err := cmd.Start(); err != nil {
		b.Fatal(err)
	}
	for {
		line, err := lines.ReadString('\n')
		if err != nil {
			b.Fatalf("%s ended before it was ready", cmd.Path)
		}
		if _, after, ok := strings.Cut(line, "address="); ok {
			address, _, _ = strings.Cut(strings.TrimSpace(after), " ")
			go io.Copy(io.Discard, lines)
			return address
		}
	}
}

func (c *city) startCloud() {
	c.b.Helper()
	c.cloud = exec.Command(c.bin, "serve", "--db", c.dsn, "--listen", c.addr, "--cert", filepath.Join(c.dir, "cert.pem"), "--key", filepath.Join(c.dir, "key.pem"),
		"--origin", "https://city.example")
	errs, err := c.cloud.StderrPipe()
	if err != nil {
		c.b.Fatal(err)
	}
	c.addr = spawn(c.b, c.cloud, errs)
}

// populate enrols n gateways, with identities of their own, that listen to one issuer.
func (c *city) populate(box *mailbox.Box, n int) {
	c.b.Helper()
	var wg sync.WaitGroup
	c.citizens = make([]*citizen, n)
	next := make(chan int)
	for range 8 {
		wg.Go(func() {
			for i := range next {
				id, err := tokens.LoadIdentity(filepath.Join(c.dir, "gw", strconv.Itoa(i)))
				if err != nil {
					c.b.Error(err)
					return
				}
				d, err := id.SignDescriptor(tokens.Descriptor{Doors: []gateway.DoorID{"front"}, Issuers: []gateway.IssuerID{iss}, Zone: "Europe/Paris", At: time.Now()})
				if err != nil {
					c.b.Error(err)
					return
				}
				code := gateway.NewSecret(gateway.NewJTI())
				reg := gateway.Registration{ID: id.ID, KeyID: id.Signing.KeyID(), Descriptor: d, Issuers: []gateway.IssuerID{iss}}
				ctx := context.Background()
				if err := box.AddCode(ctx, mailbox.KindGateway, string(id.ID), code, time.Now().Add(time.Hour)); err != nil {
					c.b.Error(err)
					return
				}
				if err := box.EnrolGateway(ctx, code, reg, time.Now()); err != nil {
					c.b.Error(err)
					return
				}
				c.citizens[i] = &citizen{id: id, issuer: iss, grown: make(chan struct{}, 1), seen: func(id string) { c.seen.Store(id, time.Now()) }}
			}
		})
	}
	for i := range n {
		next <- i
		if i%1000 == 999 {
			progress("%d gateways enrolled", i+1)
		}
	}
	close(next)
	wg.Wait()
	if c.b.Failed() {
		c.b.FailNow()
	}
}

// BenchmarkCity: 5,000 gateways on one gardien-cloud and PostgreSQL:
//
//	go test ./cmd/gardien-cloud/service -run '^$' -bench City -benchtime 1x -timeout 30m -args -city 5000 -city-commands 2000
//
// Memory per gateway ≤ 1.2 × that of a bare net/http HTTP/2 SSE server, in the same run;
// one command round trip beside the two commits that it needs; all back ≤ 10 s after the
// service was killed and started again.
func BenchmarkCity(b *testing.B) {
	server := pgtest.Start(b)
	c := &city{b: b, dir: b.TempDir(), dsn: server.Database(b), addr: "127.0.0.1:0"}
	c.roots = writeCertificate(b, c.dir)
	c.bin = filepath.Join(c.dir, "gardien-cloud")
	if out, err := exec.Command("go", "build", "-o", c.bin, "gardien/cmd/gardien-cloud").CombinedOutput(); err != nil {
		b.Fatalf("%v\n%s", err, out)
	}
	box, err := mailbox.Open(context.Background(), c.dsn, quiet)
	if err != nil {
		b.Fatal(err)
	}
	defer box.Close()
	c.populate(box, *citySize)
	bare := c.bareMemory()
	c.startCloud()
	defer func() { c.cloud.Process.Kill(); c.cloud.Wait() }()
	before := rss(b, c.cloud.Process.Pid)
	ctx, cancel := context.WithCancel(context.Background())
	var wg sync.WaitGroup
	defer wg.Wait()
	defer cancel()
	begun := time.Now()
	c.connect(ctx, &wg)
	c.all("connected", 1)
	progress("all connected after %s", time.Since(begun).Round(time.Millisecond))
	ours := (rss(b, c.cloud.Process.Pid) - before) / float64(len(c.citizens))
	progress("%.1f kB each: %s", ours, c.memory())
	down, round, commits := c.commands(box)
	progress("the service is killed and started again")
	seen := make([]int64, len(c.citizens))
	c.cloud.Process.Kill()
	c.cloud.Wait()
	for i, z := range c.citizens {
		seen[i] = z.connected.Load()
	}
	restarted := time.Now()
	c.startCloud()
	for i, z := range c.citizens {
		for z.connected.Load() == seen[i] {
			if time.Since(restarted) > time.Minute {
				b.Fatalf("gateway %d is not back after a minute", i)
			}
			<-time.After(5 * time.Millisecond)
		}
	}
	back := time.Since(restarted)
	progress("all back %s after the restart", back.Round(time.Millisecond))
	for b.Loop() {
	}
	q := func(list []time.Duration, at float64) float64 {
		slices.Sort(list)
		return float64(list[int(at*float64(len(list)-1))]) / float64(time.Millisecond)
	}
	b.ReportMetric(ours, "kB/gateway")
	b.ReportMetric(bare, "bare-kB/gateway")
	b.ReportMetric(ours/bare, "memory-ratio(≤1.2)")
	b.ReportMetric(q(down, 0.5), "down-p50-ms")
	b.ReportMetric(q(round, 0.5), "round-p50-ms")
	b.ReportMetric(q(round, 0.99), "round-p99-ms")
	b.ReportMetric(q(commits, 0.5), "two-commits-p50-ms")
	b.ReportMetric(q(commits, 0.99), "two-commits-p99-ms")
	b.ReportMetric(back.Seconds(), "back-s(≤10)")
}

// memory says what the service's memory is made of.
func (c *city) memory() string {
	client := &http.Client{Transport: &http.Transport{TLSClientConfig: &tls.Config{RootCAs: c.roots}, DisableKeepAlives: true}}
	res, err := client.Get("https://" + c.addr + "/metrics")
	if err != nil {
		return err.Error()
	}
	defer res.Body.Close()
	var parts []string
	for lines := bufio.NewScanner(res.Body); lines.Scan(); {
		words := strings.Fields(lines.Text())
		if len(words) != 2 || !slices.Contains([]string{"go_memstats_stack_inuse_bytes", "go_memstats_heap_alloc_bytes", "go_memstats_heap_inuse_bytes",
			"go_memstats_heap_idle_bytes", "go_memstats_heap_released_bytes", "go_goroutines"}, words[0]) {
			continue
		}
		v, _ := strconv.ParseFloat(words[1], 64)
		parts = append(parts, fmt.Sprintf("%s %.1fk/gateway", strings.TrimPrefix(words[0], "go_memstats_"), v/1000/float64(len(c.citizens))))
	}
	return strings.Join(parts, ", ")
}

func (c *city) connect(ctx context.Context, wg *sync.WaitGroup) {
	u := &url.URL{Scheme: "https", Host: c.addr}
	log := slog.New(slog.DiscardHandler)
	for i, z := range c.citizens {
		client := uplink.NewClient(uplink.ClientOpts{URL: u, TLS: &tls.Config{RootCAs: c.roots}, Sign: func(now time.Time) (string, error) {
			return tokens.SignAssertion(z.id.Signing, string(z.id.ID), "https://city.example", now)
		}})
		z.uplink = uplink.New(uplink.Opts{Gateway: z.id.ID, Client: client, Feed: z, Outbox: z, Registration: z, Clock: z, Log: log,
			Notify: func(context.Context, gateway.EventType) {}})
		wg.Go(func() { z.uplink.Run(ctx) })
		if i%50 == 49 {
			<-time.After(50 * time.Millisecond) // a city is not switched on at once
		}
	}
}

func (c *city) all(what string, n int64) {
	c.b.Helper()
	begun, told := time.Now(), time.Now()
	for i, z := range c.citizens {
		for z.connected.Load() < n {
			if time.Since(begun) > 2*time.Minute {
				c.b.Fatalf("gateway %d of %d is not %s", i, len(c.citizens), what)
			}
			if time.Since(told) > 2*time.Second {
				told = time.Now()
				progress("%d of %d %s", i, len(c.citizens), what)
			}
			<-time.After(10 * time.Millisecond)
		}
	}
}

// commands sends commands at 200 a second and times each to its gateway, and there and
// back; and in the same time what two commits cost.
func (c *city) commands(box *mailbox.Box) (down, round, commits []time.Duration) {
	c.b.Helper()
	ctx, cancel := context.WithCancel(context.Background())
	defer cancel()
	key, err := tokens.GenerateES256()
	if err != nil {
		c.b.Fatal(err)
	}
	jwks, err := tokens.MarshalKeySet(key.PublicKey, nil)
	if err != nil {
		c.b.Fatal(err)
	}
	if err := box.UpdateIssuer(ctx, iss, string(jwks)); err != nil {
		c.b.Fatal(err)
	}
	client := uplink.NewClient(uplink.ClientOpts{URL: &url.URL{Scheme: "https", Host: c.addr}, TLS: &tls.Config{RootCAs: c.roots},
		Sign: func(now time.Time) (string, error) {
			return tokens.SignAssertion(key, string(iss), "https://city.example", now)
		}})
	defer client.Close()
	var back sync.Map
	listening := make(chan struct{})
	go func() {
		once := sync.OnceFunc(func() { close(listening) })
		client.Stream(ctx, "/v1/issuers/"+string(iss)+"/feed?after=head", func(e web.Event) error {
			now := time.Now()
			if e.Name == "head" {
				once()
			}
			if e.Name == "event" {
				var d gateway.Delivered
				if err := json.Unmarshal(e.Data, &d); err != nil {
					return err
				}
				back.Store(d.Body, now)
			}
			return nil
		})
	}()
	<-listening
	stop := make(chan struct{})
	var wg sync.WaitGroup
	wg.Go(func() { commits = c.bareCommits(stop) })
	sent := map[string]time.Time{}
	var mu sync.Mutex
	tick := time.NewTicker(5 * time.Millisecond)
	defer tick.Stop()
	var puts sync.WaitGroup
	for n := range *cityCommands {
		<-tick.C
		z := c.citizens[(n*7919)%len(c.citizens)]
		id := gateway.ItemID(iss, fmt.Sprint("command", n))
		puts.Go(func() {
			now := time.Now()
			mu.Lock()
			sent[id] = now
			mu.Unlock()
			err := client.Do(ctx, "PUT", "/v1/gateways/"+string(z.id.ID)+"/items/"+id, cloud.ItemWrite{Kind: gateway.ItemCommand, Ver: 1, Exp: now.Unix() + 30, Body: "sealed"}, nil)
			if err != nil {
				c.b.Error(err)
			}
		})
		if n%400 == 399 {
			progress("%d commands sent", n+1)
		}
	}
	puts.Wait()
	for deadline := time.Now().Add(20 * time.Second); ; <-time.After(20 * time.Millisecond) {
		missing := 0
		for id := range sent {
			if _, ok := back.Load(id); !ok {
				missing++
			}
		}
		if missing == 0 {
			break
		}
		if time.Now().After(deadline) {
			c.b.Fatalf("%d of %d commands are not answered", missing, len(sent))
		}
	}
	close(stop)
	wg.Wait()
	for id, at := range sent {
		there, _ := c.seen.Load(id)
		again, _ := back.Load(id)
		down, round = append(down, there.(time.Time).Sub(at)), append(round, again.(time.Time).Sub(at))
	}
	return down, round, commits
}
