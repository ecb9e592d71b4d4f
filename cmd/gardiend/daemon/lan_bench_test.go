package daemon

import (
	"bufio"
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/sha256"
	"crypto/tls"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"gardien/gateway"
	"gardien/gateway/api"
	"gardien/gateway/api/phone"
	"gardien/store"
)

// BenchmarkLANUnlock: a resident's phone opens over warm TLS, signed ≤ 1.3 × a bare TLS HTTP/2
// request whose handler verifies one P-256 signature and makes one durable commit.
func BenchmarkLANUnlock(b *testing.B) {
	h := networked(b)
	h.start(b)
	p, _ := h.paired(b, "Ada", gateway.RoleResident)
	do(b, p, "GET", "/v1/doors", "")
	db := filepath.Join(h.cfg.Gateway.StateDir, store.FileName)
	before := walFrames(b, db)
	unlock(b, p)
	pages := max(walFrames(b, db)-before, 1)
	h.passDoor(b)
	disk := newBare(b, b.TempDir(), pages).overwrite(b)
	bare, url := bareServer(b, disk)
	var ours, theirs, decisions []time.Duration
	for n := 0; b.Loop(); n++ {
		steps := []func(){func() { ours = append(ours, unlock(b, p)); h.passDoor(b) }, func() { theirs = append(theirs, ask(b, bare, url)) },
			func() {
				start := time.Now()
				if out := h.access.Present(context.Background(), "side", "app", gateway.ResidentCredential{}); !out.Granted {
					b.Fatal(out.Reason)
				}
				decisions = append(decisions, time.Since(start))
				h.passDoor(b)
			}}
		for i := range steps {
			settle(b, db)
			do(b, p, "GET", "/v1/info", "") // both are warm: somebody has just looked
			ask(b, bare, url+"/look")
			steps[(i+n)%len(steps)]()
		}
	}
	b.ReportMetric(quantile(decisions, 0.5), "decision-p50-µs")
	b.ReportMetric(quantile(ours, 0.5), "p50-µs")
	b.ReportMetric(quantile(theirs, 0.5), "bare-p50-µs")
	b.ReportMetric(float64(pages), "pages")
	b.ReportMetric(quantile(ours, 0.5)/quantile(theirs, 0.5), "ratio(≤1.3)")
}

// unlock opens the side door, and gives the time from the request to the answer.
func unlock(b testing.TB, p *phone.Phone) time.Duration {
	b.Helper()
	return timed(b, p, attempts, http.StatusOK)
}

// timed gives the time from a signed request to its answer. The signature is made before.
func timed(b testing.TB, p *phone.Phone, path string, want int) time.Duration {
	b.Helper()
	q, err := http.NewRequest("POST", p.Base+path, strings.NewReader("{}"))
	if err != nil {
		b.Fatal(err)
	}
	q.Header.Set("Content-Type", "application/json")
	p.Identify(q.Header)
	q.Header.Set("DPoP", must(p.Proof("POST", path)))
	start := time.Now()
	res, err := p.HTTP.Do(q)
	if err != nil {
		b.Fatal(err)
	}
	text, err := io.ReadAll(res.Body)
	d := time.Since(start)
	res.Body.Close()
	if err != nil || res.StatusCode != want {
		b.Fatalf("%d %s %v", res.StatusCode, text, err)
	}
	return d
}

// bareServer is TLS with HTTP/2, one verification and one commit a request.
func bareServer(b *testing.B, disk *bare) (*http.Client, string) {
	key := must(ecdsa.GenerateKey(elliptic.P256(), rand.Reader))
	sum := sha256.Sum256([]byte("a request"))
	sig := must(ecdsa.SignASN1(rand.Reader, key, sum[:]))
	var turn sync.Mutex
	srv := httptest.NewUnstartedServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		io.Copy(io.Discard, r.Body)
		if r.URL.Path == "/look" {
			return
		}
		if !ecdsa.VerifyASN1(&key.PublicKey, sum[:], sig) {
			panic("the signature does not verify")
		}
		turn.Lock()
		disk.commit(b)
		turn.Unlock()
		io.WriteString(w, strings.Repeat("x", 120))
	}))
	srv.EnableHTTP2 = true
	srv.StartTLS()
	b.Cleanup(srv.Close)
	ask(b, srv.Client(), srv.URL)
	return srv.Client(), srv.URL
}

func ask(b *testing.B, c *http.Client, url string) time.Duration {
	start := time.Now()
	res, err := c.Post(url, "application/json", strings.NewReader("{}"))
	if err != nil {
		b.Fatal(err)
	}
	io.Copy(io.Discard, res.Body)
	d := time.Since(start)
	res.Body.Close()
	if res.ProtoMajor != 2 {
		b.Fatal("no HTTP/2")
	}
	return d
}

// slow opens n connections from ever other addresses of this machine, which send a little of a
// request and then nothing; they come again a second after they are put out.
func slow(b testing.TB, address string, n int) (stop func(), live func() int64) {
	ctx, cancel := context.WithCancel(context.Background())
	var all sync.WaitGroup
	var open atomic.Int64
	for i := range n {
		all.Go(func() {
			from := &net.Dialer{LocalAddr: &net.TCPAddr{IP: net.IPv4(127, 0, byte(1+i/16), byte(1+i%250))}}
			for ctx.Err() == nil {
				raw, err := from.DialContext(ctx, "tcp", address)
				if err != nil {
					pause(ctx, 50*time.Millisecond)
					continue
				}
				open.Add(1)
				var conn net.Conn = raw
				if i%2 == 0 { // half of them do not even end their handshake
					t := tls.Client(raw, &tls.Config{InsecureSkipVerify: true, NextProtos: []string{"http/1.1"}})
					if t.HandshakeContext(ctx) == nil {
						io.WriteString(t, "POST /v1/nonces HTTP/1.1\r\nHost: localhost\r\nX-")
					}
					conn = t
				}
				end := context.AfterFunc(ctx, func() { raw.Close() })
				io.Copy(io.Discard, conn)
				end()
				raw.Close()
				open.Add(-1)
				pause(ctx, time.Second)
			}
		})
	}
	return func() { cancel(); all.Wait() }, open.Load
}

func pause(ctx context.Context, d time.Duration) {
	select {
	case <-ctx.Done():
	case <-time.After(d):
	}
}

// BenchmarkN2_Slowloris: beside 500 connections that send a little and wait, a PIN at the keypad is
// as fast as before (p50), and a resident's phone opens within 500 ms, on a connection that it has and
// on a new one.
func BenchmarkN2_Slowloris(b *testing.B) {
	h := networked(b)
	h.start(b)
	p, _ := h.paired(b, "Ada", gateway.RoleResident)
	do(b, p, "GET", "/v1/doors", "") // from here on its connection is known
	pin := h.pinGrant(b, "side")
	var alone, beside, warm, cold []time.Duration
	rounds := max(b.N, 20)
	for b.Loop() {
	}
	for range rounds {
		alone = append(alone, h.open(b, "side", pin))
		h.passDoor(b)
	}
	stop, live := slow(b, h.lan.Address().String(), 500)
	for live() < 64 {
		<-time.After(10 * time.Millisecond)
	}
	<-time.After(time.Second)
	for range rounds {
		beside = append(beside, h.open(b, "side", pin))
		h.passDoor(b)
		warm = append(warm, unlock(b, p))
		h.passDoor(b)
		fresh := p.Elsewhere(phone.Pinning(h.fingerprint(), h.lan.Address().String()))
		cold = append(cold, unlock(b, fresh))
		fresh.HTTP.CloseIdleConnections()
		h.passDoor(b)
	}
	b.ReportMetric(float64(live()), "connections")
	stop()
	b.ReportMetric(quantile(beside, 0.5)/quantile(alone, 0.5), "keypad-p50-ratio(≤1.1)")
	b.ReportMetric(quantile(warm, 1)/1000, "warm-worst-ms(≤500)")
	b.ReportMetric(quantile(cold, 1)/1000, "new-connection-worst-ms(≤500)")
}

// lanEnv names the house of a child process that serves the network.
const lanEnv = "GARDIEN_TEST_LAN"

// serveLAN is the child: a gateway that says where it is, and pairs 20 phones.
func serveLAN(dir string) {
	ready := make(chan *Gateway, 1)
	go func() {
		if err := Run(context.Background(), Options{Config: filepath.Join(dir, "g.yaml"), Log: quiet, wired: ready}); err != nil {
			panic(err)
		}
	}()
	g := <-ready
	b := g.backend()
	var list []string
	for i := range 20 {
		w := must(b.Pairing.Open(context.Background(), gateway.RoleResident))
		p := must(b.Pairing.Pair(context.Background(), api.PairingRequest{Secret: w.Secret, Name: fmt.Sprint("phone ", i)}))
		if err := b.Residents.Confirm(context.Background(), p.ID); err != nil {
			panic(err)
		}
		list = append(list, p.Token)
	}
	json.NewEncoder(os.Stdout).Encode(map[string]string{"address": g.lan.Address().String(), "base": g.lan.URL(""), "fp": g.fingerprint(), "tokens": strings.Join(list, " ")})
	select {}
}

// child runs a gateway in a process of its own, with the memory limit of its unit.
func child(b *testing.B) (pid int, phones []*phone.Phone, address string) {
	h := networked(b)
	cmd := exec.Command(os.Args[0])
	cmd.Env = append(os.Environ(), lanEnv+"="+h.dir, "GOMEMLIMIT=72MiB")
	out, err := cmd.StdoutPipe()
	if err == nil {
		err = cmd.Start()
	}
	if err != nil {
		b.Fatal(err)
	}
	b.Cleanup(func() { cmd.Process.Kill(); cmd.Wait() })
	var at map[string]string
	if err := json.NewDecoder(out).Decode(&at); err != nil {
		b.Fatal(err)
	}
	for i, token := range strings.Fields(at["tokens"]) {
		from := phone.From(phone.Pinning(at["fp"], at["address"]), net.IPv4(127, 0, 9, byte(1+i)), at["address"])
		phones = append(phones, &phone.Phone{Base: at["base"], HTTP: from, Token: token})
	}
	return cmd.Process.Pid, phones, at["address"]
}

// rss is a process's memory in MiB: what it has now ("VmRSS:"), or the most it ever had ("VmHWM:").
func rss(b *testing.B, pid int, key string) float64 {
	return field(b, fmt.Sprintf("/proc/%d/status", pid), key) / 1024
}

// BenchmarkN4_Streams: 20 phones that follow the record cost ≤ 8 MiB.
func BenchmarkN4_Streams(b *testing.B) {
	pid, phones, _ := child(b)
	for b.Loop() {
	}
	do(b, phones[0], "GET", "/v1/doors", "")
	before := rss(b, pid, "VmRSS:")
	for _, each := range phones {
		stream, err := each.Stream(context.Background(), 0)
		if err != nil {
			b.Fatal(err)
		}
		defer stream.Body.Close()
		lines := bufio.NewScanner(stream.Body)
		lines.Scan()
	}
	<-time.After(5 * time.Second) // a beat of each
	b.ReportMetric(rss(b, pid, "VmRSS:")-before, "MiB-more(≤8)")
	b.ReportMetric(before, "MiB-before")
}

// BenchmarkN4_Floods: whatever strangers send, the process stays below 96 MiB, and a resident opens.
func BenchmarkN4_Floods(b *testing.B) {
	pid, phones, address := child(b)
	p := phones[0]
	for b.Loop() {
	}
	do(b, p, "GET", "/v1/doors", "")
	const each = 4 * time.Second
	stranger := func() *http.Client { return phone.From(p.HTTP, net.IPv4(127, 0, 0, 1), address) }
	requests := func(method, path string, body func() io.Reader) func(context.Context) {
		return func(ctx context.Context) {
			var all sync.WaitGroup
			for range 12 { // connections of one address
				c := stranger()
				for range 16 {
					all.Go(func() {
						for ctx.Err() == nil {
							q, _ := http.NewRequestWithContext(ctx, method, p.Base+path, body())
							q.Header.Set("Content-Type", "application/json")
							if res, err := c.Do(q); err == nil {
								io.Copy(io.Discard, res.Body)
								res.Body.Close()
							}
						}
						c.CloseIdleConnections()
					})
				}
			}
			all.Wait()
		}
	}
	text := func(s string) func() io.Reader { return func() io.Reader { return strings.NewReader(s) } }
	junk := `{"items":[` + strings.TrimSuffix(strings.Repeat(`"`+strings.Repeat("A", 250)+`",`, 999), ",") + `]}`
	small := `{"items":[` + strings.TrimSuffix(strings.Repeat(`1,`, 100_000), ",") + `]}`
	grant := `{"grant":"` + strings.Repeat("A", 15_000) + `","proof":"x.y.z"}`
	floods := []struct {
		name string
		run  func(context.Context)
	}{
		{"nonces", requests("POST", "/v1/nonces", text(""))},
		{"mailbags", requests("POST", "/v1/mailbag", text(junk))},
		{"mailbags of nothing", requests("POST", "/v1/mailbag", text(small))},
		{"attempts", requests("POST", attempts, text(grant))},
		{"guessed tokens", requests("GET", "/v1/events", text(""))},
		{"bodies that do not end", requests("POST", "/v1/mailbag", func() io.Reader {
			return io.MultiReader(strings.NewReader(junk[:200_000]), never{})
		})},
		{"slow connections", func(ctx context.Context) {
			stop, _ := slow(b, address, 500)
			<-ctx.Done()
			stop()
		}},
		{"handshakes", func(ctx context.Context) {
			var all sync.WaitGroup
			for range 64 {
				all.Go(func() {
					for ctx.Err() == nil {
						if c, err := (&tls.Dialer{Config: &tls.Config{InsecureSkipVerify: true}}).DialContext(ctx, "tcp", address); err == nil {
							c.Close()
						}
					}
				})
			}
			all.Wait()
		}},
	}
	for _, f := range floods {
		ctx, cancel := context.WithTimeout(context.Background(), each)
		done := make(chan struct{})
		go func() { f.run(ctx); close(done) }()
		<-time.After(each / 2)
		fresh := p.Elsewhere(phone.From(p.HTTP, net.IPv4(127, 0, 9, 1), address))
		start := time.Now()
		a, err := fresh.Do(context.Background(), "POST", "/v1/doors/front/attempts", "{}")
		if err != nil || a.Status != 200 {
			b.Errorf("%s: a resident does not open: %+v, %v", f.name, a, err)
		}
		b.Logf("%s: a resident opens after %v; %.1f MiB, at most %.1f so far", f.name, time.Since(start).Round(time.Millisecond), rss(b, pid, "VmRSS:"), rss(b, pid, "VmHWM:"))
		fresh.HTTP.CloseIdleConnections()
		<-done
		cancel()
	}
	b.ReportMetric(rss(b, pid, "VmHWM:"), "most-MiB(≤96)")
}

// never gives no byte, and no end.
type never struct{}

func (never) Read([]byte) (int, error) { <-time.After(time.Second); return 0, nil }
