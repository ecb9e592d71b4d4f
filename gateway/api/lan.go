package api

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"net/netip"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"time"

	"golang.org/x/sync/errgroup"

	"gardien/gateway/web"
)

// LANOpts of a LAN.
type LANOpts struct {
	Listen string // host:port
	Name   string // the one that the certificate has: "gardien-62fg.local"
	// Certificate is the leaf of now. An error keeps the listener away; it is tried again.
	Certificate func() (func(*tls.ClientHelloInfo) (*tls.Certificate, error), error)
	Secure      net.Listener // port 443, which leads to ours; nil: none was handed over
	Plain       net.Listener // port 80, with a page that explains; nil: none was handed over
	Addresses   func() []netip.Addr
	Handler     *Server
	Log         *slog.Logger
}

// LAN serves the API to the home network: HTTPS with TLS 1.3, under the own name and addresses
// only (W1), to a bounded crowd (N2).
type LAN struct {
	LANOpts
	address atomic.Pointer[net.TCPAddr]
	ready   chan struct{}
	once    sync.Once
	// Ports that were handed over are handed over once: they outlive a run that failed.
	secure, plain net.Listener
}

// NewLAN makes the task.
func NewLAN(o LANOpts) *LAN {
	l := &LAN{LANOpts: o, ready: make(chan struct{})}
	l.secure, l.plain = kept(o.Secure), kept(o.Plain)
	return l
}

func (l *LAN) String() string { return "https" }

// Ready is closed when it listens.
func (l *LAN) Ready() <-chan struct{} { return l.ready }

// Address is where it listens; nil: it does not.
func (l *LAN) Address() *net.TCPAddr { return l.address.Load() }

// URL is of a path under the own name.
func (l *LAN) URL(path string) string {
	port := 0
	if a := l.Address(); a != nil {
		port = a.Port
	}
	return fmt.Sprintf("https://%s:%d%s", l.Name, port, path)
}

// The limits of N2.
const (
	maxConns     = 128
	maxConnsEach = 16
	maxH2Streams = 16
	maxUnread    = 64 << 10
	headersEach  = 8 << 10
	requestFor   = 10 * time.Second
	idleFor      = 30 * time.Second
)

// Run serves until ctx ends.
func (l *LAN) Run(ctx context.Context) error {
	leaf, err := l.Certificate()
	if err != nil {
		return fmt.Errorf("certificate: %w", err)
	}
	listener, err := new(net.ListenConfig).Listen(ctx, "tcp", l.Listen)
	if errors.Is(err, syscall.EADDRINUSE) {
		return fmt.Errorf("another program has taken %s: stop it (ss -ltnp shows it), or set api.listen to another port", l.Listen)
	}
	if err != nil {
		return fmt.Errorf("api.listen: %w", err)
	}
	l.address.Store(listener.Addr().(*net.TCPAddr))
	defer l.address.Store(nil)
	l.once.Do(func() { close(l.ready) })
	config := &tls.Config{MinVersion: tls.VersionTLS13, NextProtos: []string{"h2", "http/1.1"}, GetCertificate: leaf}
	crowd := web.NewCrowd(maxConns, maxConnsEach)
	group, ctx := errgroup.WithContext(ctx)
	serve := func(in net.Listener, tlsToo bool, h http.Handler) {
		if in == nil {
			return
		}
		in = crowd.Listen(in)
		if tlsToo {
			in = tls.NewListener(in, config)
		}
		srv := web.NewServer(h, web.Limits{Request: requestFor, Idle: idleFor, Headers: headersEach, Streams: maxH2Streams, Unread: maxUnread}, l.Log, slog.LevelDebug)
		srv.ConnContext = web.Visit
		group.Go(func() error { return web.Serve(ctx, srv, in, 3*time.Second) })
	}
	serve(listener, true, l.site())
	serve(again(l.secure), true, l.leadOn())
	serve(again(l.plain), false, l.explain())
	if err := group.Wait(); err != nil && !errors.Is(err, http.ErrServerClosed) {
		return err
	}
	return nil
}

// site is the API and its page, under the own name and addresses only.
func (l *LAN) site() http.Handler {
	site, page := web.Site{Name: l.Name, Addresses: l.Addresses}, front{name: l.Name, url: l.URL("/")}
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("DPoP-Nonce", l.Handler.backend.Sessions.Nonce())
		if len(r.TransferEncoding) > 0 { // a length beside it is gone: what comes behind may be meant as its body (RFC 9112 §6.1)
			w.Header().Set("Connection", "close")
		}
		if err := site.Check(r); err != nil {
			l.Handler.fail(web.NewPatient(w), r, err)
			return
		}
		if r.URL.Path == "/" {
			page.ServeHTTP(web.NewPatient(w), r)
			return
		}
		l.Handler.ServeHTTP(w, r)
	})
}

// explain is the page on port 80, under the own name and addresses only: a page that points a name of
// its own at this machine learns nothing (W1).
func (l *LAN) explain() http.Handler {
	site, page := web.Site{Name: l.Name, Addresses: l.Addresses}, front{l.Name, l.URL("/"), true}
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		w = web.NewPatient(w)
		if !site.IsOurs(r) {
			web.WriteProblem(w, Fail(http.StatusMisdirectedRequest, "misdirected", "this is no name of this machine"), nil)
			return
		}
		page.ServeHTTP(w, r)
	})
}

// leadOn answers on port 443: keys in a browser belong to one port, so that the page is on ours only.
func (l *LAN) leadOn() http.Handler {
	site := web.Site{Name: l.Name, Addresses: l.Addresses}
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		w = web.NewPatient(w)
		err := site.Check(r)
		if err == nil && r.Method != http.MethodGet && r.Method != http.MethodHead {
			err = Fail(http.StatusMisdirectedRequest, "misdirected", "the API is at %s", l.URL("/"))
		}
		if err != nil {
			l.Handler.fail(w, r, err)
			return
		}
		path := r.URL.EscapedPath()
		if !strings.HasPrefix(path, "/") {
			path = "/"
		}
		http.Redirect(w, r, l.URL(path), http.StatusPermanentRedirect)
	})
}

// kept makes a listener that is handed over one that outlives who serves it.
func kept(l net.Listener) net.Listener {
	if l == nil {
		return nil
	}
	return &handedOver{Listener: l}
}

// handedOver is a listener that another process has made. Its Close ends who waits in Accept, and
// leaves the socket open.
type handedOver struct{ net.Listener }

func (h *handedOver) Close() error {
	if d, ok := h.Listener.(interface{ SetDeadline(time.Time) error }); ok {
		return d.SetDeadline(time.Unix(1, 0))
	}
	return nil
}

// again makes a listener that was closed accept again.
func again(l net.Listener) net.Listener {
	if h, ok := l.(*handedOver); ok && h != nil {
		if d, ok := h.Listener.(interface{ SetDeadline(time.Time) error }); ok {
			d.SetDeadline(time.Time{})
		}
	}
	return l
}
