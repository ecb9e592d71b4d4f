package api

import (
	"bufio"
	"context"
	"errors"
	"io"
	"log/slog"
	"net"
	"net/http"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"gardien/gateway"
	"gardien/gateway/web"
)

// pipes is a listener in memory, which works in a synctest bubble.
type pipes struct {
	accept chan net.Conn
	done   chan struct{}
	once   sync.Once
}

func (p *pipes) Accept() (net.Conn, error) {
	select {
	case c := <-p.accept:
		return c, nil
	case <-p.done:
		return nil, net.ErrClosed
	}
}
func (p *pipes) Close() error   { p.once.Do(func() { close(p.done) }); return nil }
func (p *pipes) Addr() net.Addr { return &net.UnixAddr{Name: "pipe", Net: "unix"} }

// dial sends a request and gives the connection.
func (p *pipes) dial(request string) net.Conn {
	ours, theirs := net.Pipe()
	p.accept <- theirs
	go io.WriteString(ours, request)
	return ours
}

// slowBackend takes its time, and has a long record.
type slowBackend struct {
	RecordService
	UpkeepService
	takes    time.Duration
	watching int
	mu       sync.Mutex
}

func (b *slowBackend) Verify(context.Context) (Verification, error) {
	time.Sleep(b.takes)
	return Verification{OK: true}, nil
}

func (b *slowBackend) Restore(_ context.Context, r io.Reader) error {
	_, err := io.Copy(io.Discard, r)
	time.Sleep(b.takes)
	return err
}

func (b *slowBackend) Backup(ctx context.Context, w io.Writer) error {
	for range 1000 {
		if _, err := w.Write(make([]byte, 64<<10)); err != nil {
			return err
		}
	}
	return nil
}

func (b *slowBackend) Events(_ context.Context, after int64, limit int) (list []gateway.Event, err error) {
	for i := range limit {
		list = append(list, gateway.Event{Seq: after + int64(i) + 1, Type: gateway.DoorBell})
	}
	return list, nil
}

func (b *slowBackend) Watch() (<-chan struct{}, func()) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.watching++
	return nil, func() { b.mu.Lock(); defer b.mu.Unlock(); b.watching-- }
}

// whole is a backend of which the slow parts are there.
func (b *slowBackend) whole() Backend { return Backend{Record: b, Upkeep: b} }

// serving runs the API in a bubble as the socket does.
func serving(t *testing.T, b *slowBackend, f func(p *pipes)) {
	synctest.Test(t, func(t *testing.T) {
		p := &pipes{accept: make(chan net.Conn), done: make(chan struct{})}
		stop := make(chan struct{})
		log := slog.New(slog.DiscardHandler)
		srv := newHTTPServer(New(b.whole(), nil, log, stop), log)
		srv.ConnContext = func(ctx context.Context, _ net.Conn) context.Context { return withCaller(ctx, Caller{Local: true}) }
		done := make(chan struct{})
		go func() { srv.Serve(p); close(done) }()
		f(p)
		close(stop)
		srv.Close()
		<-done
	})
}

// An answer that took long to make arrives: a restore or a verification of several minutes.
func TestLongWorkIsAnswered(t *testing.T) {
	for _, request := range []string{
		"GET /v1/events/verification HTTP/1.1\r\nHost: gardien\r\n\r\n",
		"POST /v1/restore HTTP/1.1\r\nHost: gardien\r\nContent-Type: application/vnd.sqlite3\r\nContent-Length: 4\r\n\r\nabcd",
	} {
		serving(t, &slowBackend{takes: 10 * time.Minute}, func(p *pipes) {
			c := p.dial(request)
			res, err := http.ReadResponse(bufio.NewReader(c), nil)
			if err != nil || res.StatusCode >= 300 {
				t.Errorf("%s: %+v, %v", strings.SplitN(request, "\r", 2)[0], res, err)
				return
			}
			io.Copy(io.Discard, res.Body)
			c.Close()
		})
	}
}

// A11: a client that does not read loses its connection; a restore that stops coming ends.
func TestA11_ClientsThatStop(t *testing.T) {
	for _, request := range []string{
		"GET /v1/events/stream HTTP/1.1\r\nHost: gardien\r\n\r\n",
		"GET /v1/events?limit=1000 HTTP/1.1\r\nHost: gardien\r\n\r\n",
		"GET /v1/backup HTTP/1.1\r\nHost: gardien\r\n\r\n",
		"POST /v1/restore HTTP/1.1\r\nHost: gardien\r\nContent-Type: application/vnd.sqlite3\r\nContent-Length: 400\r\n\r\nabcd",
	} {
		b := &slowBackend{}
		serving(t, b, func(p *pipes) {
			c := p.dial(request)
			synctest.Wait()
			time.Sleep(3 * web.Within)
			synctest.Wait()
			b.mu.Lock()
			if b.watching > 0 {
				t.Errorf("%s: still watched", strings.SplitN(request, "\r", 2)[0])
			}
			b.mu.Unlock()
			// What it was given is what fitted; then the server has hung up.
			c.SetReadDeadline(time.Now().Add(time.Hour))
			start := time.Now()
			io.Copy(io.Discard, c)
			if time.Since(start) > time.Minute {
				t.Errorf("%s: the connection is open still", strings.SplitN(request, "\r", 2)[0])
			}
			c.Close()
		})
	}
}

// A client that reads slowly, but does, gets all of it.
func TestSlowReaderIsServed(t *testing.T) {
	serving(t, &slowBackend{}, func(p *pipes) {
		c := p.dial("GET /v1/backup HTTP/1.1\r\nHost: gardien\r\nConnection: close\r\n\r\n")
		in := bufio.NewReaderSize(c, 64<<10)
		n := 0
		for buf := make([]byte, 1<<20); ; {
			k, err := in.Read(buf)
			n += k
			if err != nil {
				break
			}
			time.Sleep(time.Second)
		}
		if n < 1000*64<<10 {
			t.Errorf("%d bytes came", n)
		}
		c.Close()
	})
}

// Readers wait for their turn, one at a time, and not without bound.
func TestReadersAreBounded(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		turns := web.NewTurns(3)
		leave, err := turns.Take(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		got := make(chan error, 3)
		ctx, cancel := context.WithCancel(t.Context())
		for range 3 {
			go func() {
				leave, err := turns.Take(ctx)
				if err == nil {
					leave()
				}
				got <- err
			}()
		}
		synctest.Wait()
		var p *Problem
		if err := <-got; !errors.As(err, &p) || p.Status != http.StatusTooManyRequests {
			t.Errorf("one too many: %v", err)
		}
		if len(got) != 0 {
			t.Error("somebody did not wait for the turn")
		}
		leave()
		synctest.Wait()
		if a, b := <-got, <-got; a != nil || b != nil {
			t.Errorf("%v, %v", a, b)
		}
		leave, _ = turns.Take(t.Context())
		go func() { _, err := turns.Take(ctx); got <- err }()
		synctest.Wait()
		cancel()
		if err := <-got; err != context.Canceled {
			t.Errorf("whoever has gone: %v", err)
		}
		leave()
	})
}
