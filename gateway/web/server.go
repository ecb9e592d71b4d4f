package web

import (
	"context"
	"errors"
	"log/slog"
	"net"
	"net/http"
	"time"
)

// Limits bounds what a client may take (N2). How long it may take to take an answer is the
// handler's: see Patient.
type Limits struct {
	Request time.Duration // until a request is read
	Idle    time.Duration // between two requests
	Headers int           // bytes
	Streams int           // of one HTTP/2 connection; 0: Go's default
	Unread  int           // bytes of bodies of one HTTP/2 connection that nobody has read yet, from 64 KiB; 0: Go's default
}

// NewServer makes a server. A request's headers come within 5 s.
func NewServer(h http.Handler, l Limits, log *slog.Logger, level slog.Level) *http.Server {
	srv := &http.Server{Handler: h, ReadHeaderTimeout: 5 * time.Second, ReadTimeout: l.Request, IdleTimeout: l.Idle,
		MaxHeaderBytes: l.Headers, ErrorLog: slog.NewLogLogger(log.Handler(), level)}
	if l.Streams > 0 || l.Unread > 0 {
		srv.HTTP2 = &http.HTTP2Config{MaxConcurrentStreams: l.Streams, MaxReceiveBufferPerConnection: l.Unread, MaxReceiveBufferPerStream: l.Unread}
	}
	return srv
}

// Serve serves until ctx ends. What is being answered then has so long.
func Serve(ctx context.Context, srv *http.Server, l net.Listener, grace time.Duration) error {
	done := make(chan error, 1)
	go func() { done <- srv.Serve(l) }()
	select {
	case err := <-done:
		srv.Close()
		return err
	case <-ctx.Done():
	}
	late, cancel := context.WithTimeout(context.WithoutCancel(ctx), grace)
	defer cancel()
	err := srv.Shutdown(late)
	if errors.Is(err, context.DeadlineExceeded) {
		err = srv.Close()
	}
	<-done
	return err
}
