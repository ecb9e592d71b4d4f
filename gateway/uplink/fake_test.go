package uplink

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"net/url"
	"strconv"
	"sync"
	"testing"
	"time"

	"gardien/gateway"
)

// pipes is a network of one server, in memory: it works in a synctest bubble.
type pipes struct {
	mu     sync.Mutex
	accept chan net.Conn
	open   []*pipe
	refuse bool
	dials  int
}

func newPipes() *pipes { return &pipes{accept: make(chan net.Conn)} }

// pipe can go dead: nothing passes, and nobody is told.
type pipe struct {
	net.Conn
	dead chan struct{}
	done chan struct{}
	once sync.Once
}

func (p *pipe) isDead() bool {
	select {
	case <-p.dead:
		return true
	default:
		return false
	}
}

func (p *pipe) Read(b []byte) (int, error) {
	n, err := p.Conn.Read(b)
	if p.isDead() {
		<-p.done
		return 0, net.ErrClosed
	}
	return n, err
}

func (p *pipe) Write(b []byte) (int, error) {
	if p.isDead() {
		return len(b), nil
	}
	return p.Conn.Write(b)
}

func (p *pipe) Close() error {
	p.once.Do(func() { close(p.done) })
	return p.Conn.Close()
}

func (p *pipes) Dial(ctx context.Context, _, _ string) (net.Conn, error) {
	p.mu.Lock()
	p.dials++
	refuse := p.refuse
	p.mu.Unlock()
	if refuse {
		return nil, errors.New("connection refused")
	}
	ours, theirs := net.Pipe()
	c := &pipe{Conn: ours, dead: make(chan struct{}), done: make(chan struct{})}
	select {
	case p.accept <- theirs:
	case <-ctx.Done():
		return nil, ctx.Err()
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	p.open = append(p.open, c)
	return c, nil
}

// kill makes every connection dead.
func (p *pipes) kill() {
	p.mu.Lock()
	defer p.mu.Unlock()
	for _, c := range p.open {
		if !c.isDead() {
			close(c.dead)
		}
	}
}

func (p *pipes) setRefuse(on bool) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.refuse = on
	if on {
		for _, c := range p.open {
			c.Close()
		}
		p.open = nil
	}
}

func (p *pipes) dialled() int {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.dials
}

func (p *pipes) Accept() (net.Conn, error) {
	c, ok := <-p.accept
	if !ok {
		return nil, net.ErrClosed
	}
	return c, nil
}
func (p *pipes) Close() error   { close(p.accept); return nil }
func (p *pipes) Addr() net.Addr { return &net.TCPAddr{IP: net.IPv4(127, 0, 0, 1), Port: 1} }

// memory is a Feed, an Outbox and a Registration in memory.
type memory struct {
	mu        sync.Mutex
	pos       gateway.Position
	items     map[string]gateway.Item
	received  []gateway.FeedItem
	snapshots int
	fail      error // of the next Receive

	log        string
	letters    []gateway.Letter
	told       []string
	sent       int64
	grown      chan struct{}
	registered string
	notified   []gateway.EventType
}

func newMemory() *memory {
	return &memory{items: map[string]gateway.Item{}, log: "log-1", grown: make(chan struct{}, 1), registered: "the descriptor"}
}

func (m *memory) Position(context.Context) (gateway.Position, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.pos, nil
}

func (m *memory) Receive(_ context.Context, i gateway.FeedItem) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	if err := m.fail; err != nil {
		m.fail = nil
		return err
	}
	m.received = append(m.received, i)
	m.pos.Seq = i.Seq
	if i.Kind != gateway.ItemCommand {
		m.items[i.ID] = i.Item
	}
	return nil
}

func (m *memory) ReceiveAll(_ context.Context, s gateway.FeedSnapshot) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.snapshots++
	clear(m.items)
	for _, i := range s.Items {
		m.items[i.ID] = i
	}
	m.pos = gateway.Position{Epoch: s.Epoch, Seq: s.Head}
	return nil
}

func (m *memory) digest() gateway.Digest {
	var all []gateway.Item
	for _, i := range m.items {
		all = append(all, i)
	}
	return gateway.DigestOf(all)
}

func (m *memory) CaughtUp(_ context.Context, h gateway.FeedHead) (bool, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if h.Epoch != m.pos.Epoch || h.Digest != m.digest() {
		return false, nil
	}
	m.pos.Seq = max(m.pos.Seq, h.Head)
	return true, nil
}

func (m *memory) Unsent(_ context.Context, limit int) (string, int64, []gateway.Letter, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	list := m.letters[m.sent:]
	return m.log, m.sent, append([]gateway.Letter{}, list[:min(limit, len(list))]...), nil
}

func (m *memory) Sent(_ context.Context, log string, seq int64) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	if log == m.log {
		m.sent = min(seq, int64(len(m.letters)))
	}
	return nil
}

// Head and Told implement Outbox: the record's head is how many letters there are.
func (m *memory) Head(context.Context) (string, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	return fmt.Sprint("head ", len(m.letters)), nil
}

func (m *memory) Told(_ context.Context, head string) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.told = append(m.told, head)
	return nil
}

func (m *memory) Grown() (<-chan struct{}, func()) { return m.grown, func() {} }

func (m *memory) write(n int) {
	m.mu.Lock()
	defer m.mu.Unlock()
	for range n {
		seq := int64(len(m.letters) + 1)
		m.letters = append(m.letters, gateway.Letter{Seq: seq, To: "x.example", Body: "letter " + strconv.FormatInt(seq, 10)})
	}
	poke(m.grown)
}

func (m *memory) Descriptor() (string, string, error) {
	return "text of the descriptor", "the descriptor", nil
}
func (m *memory) Registered(context.Context) (string, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.registered, nil
}
func (m *memory) Register(_ context.Context, f string) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.registered = f
	return nil
}

func (m *memory) notify(_ context.Context, t gateway.EventType) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.notified = append(m.notified, t)
}

func (m *memory) has(id string) (gateway.Item, bool) {
	m.mu.Lock()
	defer m.mu.Unlock()
	i, ok := m.items[id]
	return i, ok
}

// fixedClock is a gateway's clock.
type fixedClock struct{ gateway.Reading }

func (c fixedClock) Read() gateway.Reading { return c.Reading }

const gw gateway.GatewayID = "gw-aaaaaaaaaa"

// rig is an uplink with a scripted cloud.
type rig struct {
	*memory
	net    *pipes
	uplink *Uplink
	linkUp chan struct{}
	asked  []string // requests, in order
	mu     sync.Mutex
	stop   func()
}

// start runs an uplink against a handler, over plain HTTP or TLS.
func start(t *testing.T, handler http.HandlerFunc, config *tls.Config) *rig {
	t.Helper()
	r := &rig{memory: newMemory(), net: newPipes(), linkUp: make(chan struct{}, 1)}
	logged := http.HandlerFunc(func(w http.ResponseWriter, q *http.Request) {
		r.mu.Lock()
		r.asked = append(r.asked, q.Method+" "+q.URL.RequestURI())
		r.mu.Unlock()
		handler(w, q)
	})
	srv := &http.Server{Handler: logged, ErrorLog: slog.NewLogLogger(slog.DiscardHandler, slog.LevelError)}
	base := &url.URL{Scheme: "http", Host: "cloud.example"}
	var l net.Listener = r.net
	var client *tls.Config
	if config != nil {
		base.Scheme = "https"
		srv.TLSConfig = config.Clone()
		srv.TLSConfig.NextProtos = []string{"h2"}
		l = tls.NewListener(l, srv.TLSConfig)
		client = &tls.Config{InsecureSkipVerify: true}
	}
	go srv.Serve(l)
	r.uplink = New(Opts{Gateway: gw, Feed: r, Outbox: r, Registration: r, Clock: fixedClock{}, Log: slog.New(slog.DiscardHandler), LinkUp: r.linkUp, Notify: r.notify,
		Client: NewClient(ClientOpts{URL: base, TLS: client, Dial: r.net.Dial, Sign: func(now time.Time) (string, error) { return now.UTC().Format(time.RFC3339), nil }})})
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan struct{})
	go func() { defer close(done); r.uplink.Run(ctx) }()
	r.stop = func() {
		cancel()
		<-done
		r.net.setRefuse(true)
		srv.Close()
	}
	return r
}

func (r *rig) requests() []string {
	r.mu.Lock()
	defer r.mu.Unlock()
	return append([]string{}, r.asked...)
}

// answerJSON writes a text as JSON.
func answerJSON(w http.ResponseWriter, status int, text string) {
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(status)
	io.WriteString(w, text)
}
