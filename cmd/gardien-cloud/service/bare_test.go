package service

import (
	"context"
	"crypto/tls"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"

	"gardien/gateway/uplink"
	"gardien/gateway/web"
)

const bareEnv = "GARDIEN_BARE_SSE"

func TestMain(m *testing.M) {
	if dir := os.Getenv(bareEnv); dir != "" {
		bareServer(dir)
		return
	}
	os.Exit(m.Run())
}

// bareServer is net/http with TLS, HTTP/2 and one handler that streams: the measure of what
// a stream must cost.
func bareServer(dir string) {
	l, err := Listen(context.Background(), "127.0.0.1:0")
	if err != nil {
		panic(err)
	}
	fmt.Println("address=" + l.Addr().String())
	http.Serve(tls.NewListener(l, mustCertificate(dir)), http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Content-Type", "text/event-stream")
		out := http.NewResponseController(w)
		tick := time.NewTicker(25 * time.Second)
		defer tick.Stop()
		for {
			io.WriteString(w, "event: head\ndata: {\"epoch\":\"e\",\"digest\":\""+strings.Repeat("A", 43)+"\"}\n\n")
			if out.Flush() != nil {
				return
			}
			select {
			case <-r.Context().Done():
				return
			case <-tick.C:
			}
		}
	}))
}

func mustCertificate(dir string) *tls.Config {
	pair, err := tls.LoadX509KeyPair(filepath.Join(dir, "cert.pem"), filepath.Join(dir, "key.pem"))
	if err != nil {
		panic(err)
	}
	return &tls.Config{Certificates: []tls.Certificate{pair}, NextProtos: []string{"h2"}, MinVersion: tls.VersionTLS13}
}

// bareMemory connects as many streams to the bare server and gives kB of each.
func (c *city) bareMemory() float64 {
	c.b.Helper()
	self, err := os.Executable()
	if err != nil {
		c.b.Fatal(err)
	}
	cmd := exec.Command(self)
	cmd.Env = append(os.Environ(), bareEnv+"="+c.dir)
	out, err := cmd.StdoutPipe()
	if err != nil {
		c.b.Fatal(err)
	}
	addr := spawn(c.b, cmd, out)
	defer func() { cmd.Process.Kill(); cmd.Wait() }()
	before := rss(c.b, cmd.Process.Pid)
	ctx, cancel := context.WithCancel(context.Background())
	defer cancel()
	u := &url.URL{Scheme: "https", Host: addr}
	var open atomic.Int64
	gate := make(chan struct{}, 64)
	for range c.citizens {
		gate <- struct{}{}
		go func() {
			client := uplink.NewClient(uplink.ClientOpts{URL: u, TLS: &tls.Config{RootCAs: c.roots}, Sign: func(time.Time) (string, error) { return strings.Repeat("x", 500), nil }})
			first := true
			client.Stream(ctx, "/v1/gateways/gw-aaaaaaaaaa/feed?epoch=&after=0", func(web.Event) error {
				if first {
					first = false
					open.Add(1)
					<-gate
				}
				return nil
			})
		}()
	}
	for open.Load() < int64(len(c.citizens)) {
		<-time.After(20 * time.Millisecond)
	}
	per := (rss(c.b, cmd.Process.Pid) - before) / float64(len(c.citizens))
	progress("a bare server holds %d streams at %.1f kB each", len(c.citizens), per)
	return per
}

// bareCommits times two commits after each other, now and then, while the city works.
func (c *city) bareCommits(stop <-chan struct{}) (list []time.Duration) {
	ctx := context.Background()
	conn, err := pgx.Connect(ctx, c.dsn)
	if err != nil {
		c.b.Error(err)
		return []time.Duration{0}
	}
	defer conn.Close(ctx)
	if _, err := conn.Exec(ctx, "CREATE TABLE bare (id BIGSERIAL PRIMARY KEY, body TEXT)"); err != nil {
		c.b.Error(err)
	}
	for {
		begun := time.Now()
		for range 2 {
			if _, err := conn.Exec(ctx, "INSERT INTO bare (body) VALUES ($1)", strings.Repeat("x", 500)); err != nil {
				c.b.Error(err)
			}
		}
		list = append(list, time.Since(begun))
		select {
		case <-stop:
			return list
		case <-time.After(20 * time.Millisecond):
		}
	}
}
