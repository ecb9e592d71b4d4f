// Package service wires the cloud's mailbox together: it is all of gardien-cloud but its
// command line. The demo and the tests run it, too.
package service

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"net/url"
	"os"
	"runtime/debug"
	"slices"
	"strings"
	"syscall"
	"time"

	"golang.org/x/sync/errgroup"
	"golang.org/x/sys/unix"

	"gardien/gateway"
	"gardien/gateway/cloud"
	"gardien/gateway/tokens"
	"gardien/gateway/web"
	"gardien/store/mailbox"
)

// Options of a run.
type Options struct {
	DB          string // SQLite file or postgres:// URL
	Listen      string // address and port
	Origin      string // how clients name it; "": from Listen
	Certificate string // PEM files; both or none
	Key         string
	Log         *slog.Logger
	Now         func() time.Time                // nil: the system's clock
	Ready       func(*Running)                  // told when it listens; may be nil
	TLS         *tls.Config                     // in place of files, for tests
	Listener    net.Listener                    // in place of Listen, for tests
	Wrap        func(http.Handler) http.Handler // for tests; may be nil
}

// Running is a service that answers.
type Running struct {
	URL string // the first origin
	Box *mailbox.Box
}

// Run serves until ctx ends, then lets streams go and ends.
func Run(ctx context.Context, o Options) error {
	origins, err := o.origins()
	if err != nil {
		return err
	}
	box, err := mailbox.Open(ctx, o.DB, o.Log)
	if err != nil {
		return err
	}
	defer box.Close()
	listener := o.Listener
	if listener == nil {
		if listener, err = Listen(ctx, o.Listen); err != nil {
			return err
		}
	}
	defer listener.Close()
	config, err := o.tls()
	if err != nil {
		return err
	}
	if len(origins) == 0 {
		origins = originsOf(listener.Addr(), config != nil)
	}
	draining := make(chan struct{})
	svc := cloud.New(cloud.Opts{Mailbox: cloud.Mailbox{Registry: box, Feeds: box, Letters: box, Presence: box, Upkeep: box},
		Tokens: plug{origins}, Log: o.Log, Stop: draining, Now: o.Now})
	var handler http.Handler = svc
	if o.Wrap != nil {
		handler = o.Wrap(handler)
	}
	srv := web.NewServer(handler, web.Limits{Request: 30 * time.Second, Idle: 2 * time.Minute, Headers: 16 << 10, Streams: 64}, o.Log, slog.LevelDebug)
	if config != nil {
		srv.TLSConfig = config
		listener = tls.NewListener(listener, config)
	}
	back, stopBack := context.WithCancel(context.WithoutCancel(ctx))
	defer stopBack()
	group, ctx := errgroup.WithContext(ctx)
	group.Go(func() error { return box.Run(back) })
	group.Go(func() error { return svc.Run(back) })
	group.Go(func() error { giveBack(ctx, svc.Streams); return nil })
	group.Go(func() error { <-ctx.Done(); close(draining); return nil })
	group.Go(func() error {
		defer stopBack()
		// Streams have said goaway; what is being answered has this long.
		return web.Serve(ctx, srv, listener, 5*time.Second)
	})
	o.Log.Info("ready", "address", listener.Addr().String(), "origin", origins[0], "database", databaseName(o.DB))
	if o.Ready != nil {
		o.Ready(&Running{origins[0], box})
	}
	return group.Wait()
}

// giveBack gives memory back to the system when many streams have come and no more do: what
// their handshakes needed stands beside what they need, and nothing else would collect it
// for long.
func giveBack(ctx context.Context, streams func() int) {
	const many = 100
	tick := time.NewTicker(time.Second)
	defer tick.Stop()
	last, settled := 0, 0
	for {
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
		}
		n := streams()
		if n == last && n > settled+max(many, settled/10) {
			debug.FreeOSMemory()
			settled = n
		}
		settled, last = min(settled, n), n
	}
}

// databaseName is the DSN without what is secret.
func databaseName(dsn string) string {
	if u, err := url.Parse(dsn); err == nil && u.Scheme != "" {
		return u.Redacted()
	}
	return dsn
}

// Listen listens without TCP's keep-alive, which would only cost bytes: streams are never
// silent for long, and a gateway that acknowledges nothing for 20 s is gone (RFC 5482).
func Listen(ctx context.Context, address string) (net.Listener, error) {
	lc := net.ListenConfig{KeepAlive: -1, Control: func(_, _ string, c syscall.RawConn) error {
		var err error
		e := c.Control(func(fd uintptr) {
			err = unix.SetsockoptInt(int(fd), unix.IPPROTO_TCP, unix.TCP_USER_TIMEOUT, 20_000) // milliseconds
		})
		return errors.Join(e, err)
	}}
	return lc.Listen(ctx, "tcp", address)
}

func (o *Options) tls() (*tls.Config, error) {
	if o.TLS != nil {
		return o.TLS, nil
	}
	if o.Certificate == "" && o.Key == "" {
		host, _, err := net.SplitHostPort(o.Listen)
		if ip := net.ParseIP(host); o.Listener == nil && (err != nil || host != "localhost" && (ip == nil || !ip.IsLoopback())) {
			return nil, fmt.Errorf("--listen %s without TLS: give --cert and --key, or listen on loopback behind a proxy that has them", o.Listen)
		}
		return nil, nil
	}
	cert, err := newCertificates(o.Certificate, o.Key)
	if err != nil {
		return nil, err
	}
	return &tls.Config{MinVersion: tls.VersionTLS13, GetCertificate: cert.get, NextProtos: []string{"h2", "http/1.1"}}, nil
}

func (o *Options) origins() ([]string, error) {
	if o.Origin == "" {
		return nil, nil
	}
	var list []string
	for _, text := range strings.Split(o.Origin, ",") {
		u, err := url.Parse(strings.TrimSpace(text))
		if err != nil || u.Host == "" || u.Scheme != "https" && u.Scheme != "http" || strings.Trim(u.Path, "/") != "" || u.User != nil {
			return nil, fmt.Errorf("--origin %q: want it as in https://cloud.example", text)
		}
		list = append(list, gateway.Origin(u))
	}
	return list, nil
}

// originsOf are the names of a loopback listener.
func originsOf(addr net.Addr, secure bool) (list []string) {
	scheme := "http"
	if secure {
		scheme = "https"
	}
	host, port, _ := net.SplitHostPort(addr.String())
	for _, h := range []string{host, "127.0.0.1", "localhost", "::1"} {
		if origin := gateway.Origin(&url.URL{Scheme: scheme, Host: net.JoinHostPort(h, port)}); !slices.Contains(list, origin) {
			list = append(list, origin)
		}
	}
	return list
}

// certificates reads the files again when they change, as renewals do.
type certificates struct {
	cert, key string
	current   *tls.Certificate
	read      time.Time
	mu        chan struct{} // a lock of one
}

func newCertificates(cert, key string) (*certificates, error) {
	c := &certificates{cert: cert, key: key, mu: make(chan struct{}, 1)}
	_, err := c.get(nil)
	return c, err
}

func (c *certificates) get(*tls.ClientHelloInfo) (*tls.Certificate, error) {
	c.mu <- struct{}{}
	defer func() { <-c.mu }()
	fi, err := os.Stat(c.cert)
	if c.current != nil && (err != nil || !fi.ModTime().After(c.read)) {
		return c.current, nil
	}
	pair, err := tls.LoadX509KeyPair(c.cert, c.key)
	if err != nil {
		if c.current != nil { // half-written: the old one does until the next look
			return c.current, nil
		}
		return nil, fmt.Errorf("--cert and --key: %w", err)
	}
	c.current, c.read = &pair, time.Now()
	return c.current, nil
}

// plug is the tokens room as the cloud sees it.
type plug struct{ origins []string }

type assertion struct {
	*tokens.Assertion
	origins []string
}

func (p plug) Assertion(text string) (cloud.Assertion, error) {
	a, err := tokens.ParseAssertion(text)
	return assertion{a, p.origins}, err
}

func (a assertion) Who() string { return a.Issuer }

func (a assertion) verify(set tokens.KeySet, now time.Time) error {
	return a.Verify(set, func(aud string) bool { return slices.Contains(a.origins, aud) }, now)
}

func (a assertion) ByGateway(descriptor string, now time.Time) error {
	d, err := tokens.ParseDescriptor(descriptor)
	if err != nil {
		return err
	}
	return a.verify(d.Keys, now)
}

func (a assertion) ByIssuer(jwks string, now time.Time) error {
	set, err := tokens.ParseKeySet([]byte(jwks))
	if err != nil {
		return err
	}
	return a.verify(set, now)
}

func (plug) Descriptor(text string) (gateway.Registration, error) {
	d, err := tokens.ParseDescriptor(text)
	if err != nil {
		return gateway.Registration{}, err
	}
	return gateway.Registration{ID: d.Gateway, KeyID: d.Keys.KeyIDs()[0], Descriptor: text, Issuers: d.Issuers}, nil
}

func (plug) KeySet(jwks []byte) (string, error) {
	set, err := tokens.ParseKeySet(jwks)
	return strings.Join(set.KeyIDs(), " "), err
}
