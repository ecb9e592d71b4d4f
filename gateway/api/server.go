package api

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"mime"
	"net/http"
	"strings"
	"sync"
	"sync/atomic"

	"gardien/gateway"
)

// Limits (N2).
const (
	maxBody    = 16 << 10
	maxMailbag = 256 << 10
)

// Server is the API's handler.
type Server struct {
	backend Backend
	log     *slog.Logger
	mux     *http.ServeMux
	openapi []byte
	keys    inFlight // idempotency keys that are being answered
	stop    <-chan struct{}

	readers   *turns // of the record and other lists
	verifiers *turns // of all of it
	copiers   *turns // of the database
	streams   atomic.Int32
}

// The most readers at once.
const (
	maxReaders = 128
	maxStreams = 64
)

// New makes the handler; sim may be nil. Streams end when stop is closed.
func New(b Backend, sim Sim, log *slog.Logger, stop <-chan struct{}) *Server {
	s := &Server{backend: b, log: log, mux: http.NewServeMux(), stop: stop,
		readers: newTurns(maxReaders), verifiers: newTurns(4), copiers: newTurns(1)}
	routes := s.routes(sim)
	s.openapi = openAPI(routes)
	for _, rt := range routes {
		s.mux.Handle(rt.method+" "+rt.path, s.wrap(rt))
	}
	s.mux.HandleFunc("/", func(w http.ResponseWriter, r *http.Request) {
		writeProblem(w, Fail(http.StatusNotFound, "not-found", "there is no %s here; the routes are in /v1/openapi.json", r.URL.Path))
	})
	return s
}

func (s *Server) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	w = newPatient(w)
	if _, pattern := s.mux.Handler(r); pattern == "/" || pattern == "" {
		if allow := s.allowed(r); allow != "" {
			w.Header().Set("Allow", allow)
			writeProblem(w, Fail(http.StatusMethodNotAllowed, "method-not-allowed", "%s takes %s", r.URL.Path, allow))
			return
		}
	}
	s.mux.ServeHTTP(w, r)
}

// allowed lists the methods that the path has.
func (s *Server) allowed(r *http.Request) string {
	var list []string
	for _, m := range []string{http.MethodGet, http.MethodPost, http.MethodDelete} {
		try := r.Clone(r.Context())
		try.Method = m
		if _, pattern := s.mux.Handler(try); pattern != "/" && pattern != "" {
			list = append(list, m)
		}
	}
	return strings.Join(list, ", ")
}

// Caller is who asks.
type Caller struct {
	Local    bool // the Unix socket's user: resident and installer
	Resident gateway.ResidentID
}

// known reports a resident or installer.
func (c Caller) known() bool { return c.Local || c.Resident != "" }

// name tells callers apart for their Idempotency-Keys.
func (c Caller) name() string {
	if c.Resident == "" && c.Local {
		return "socket"
	}
	return string(c.Resident)
}

type callerKey struct{}

// withCaller marks what the listener has authenticated.
func withCaller(ctx context.Context, c Caller) context.Context {
	return context.WithValue(ctx, callerKey{}, c)
}

// caller finds out who asks: the listener's word, or a bearer token.
func (s *Server) caller(r *http.Request) (Caller, error) {
	c, _ := r.Context().Value(callerKey{}).(Caller)
	scheme, token, ok := strings.Cut(r.Header.Get("Authorization"), " ")
	if !ok {
		return c, nil
	}
	if !strings.EqualFold(scheme, "Bearer") {
		return c, Fail(http.StatusUnauthorized, "unauthorized", "want Authorization: Bearer and a paired device's token")
	}
	id, found, err := s.backend.Residents.Authenticate(r.Context(), gateway.NewSecret(token))
	if err != nil {
		return c, err
	}
	if !found {
		return c, Fail(http.StatusUnauthorized, "unauthorized", "the token is not that of a paired device")
	}
	c.Resident = id
	return c, nil
}

// request is what a handler sees.
type request struct {
	*http.Request
	caller Caller
	body   []byte
}

// read decodes the body strictly into v.
func (r *request) read(v any) error {
	dec := json.NewDecoder(bytes.NewReader(r.body))
	dec.DisallowUnknownFields()
	if err := dec.Decode(v); err != nil {
		return Fail(http.StatusBadRequest, "bad-request", "the body is not as /v1/openapi.json says: %v", err)
	}
	if _, err := dec.Token(); !errors.Is(err, io.EOF) {
		return Fail(http.StatusBadRequest, "bad-request", "the body goes on after its JSON object")
	}
	return nil
}

// wrap authenticates, bounds, and answers errors.
func (s *Server) wrap(rt route) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if err := s.serve(rt, w, r); err != nil {
			s.fail(w, r, err)
		}
	})
}

func (s *Server) serve(rt route, w http.ResponseWriter, r *http.Request) error {
	c, err := s.caller(r)
	if err != nil {
		return err
	}
	if !rt.open && !c.known() {
		return Fail(http.StatusUnauthorized, "unauthorized", "this needs a paired device's token, or the local socket")
	}
	if rt.local && !c.Local {
		return Fail(http.StatusUnauthorized, "unauthorized", "this needs the local socket: use the tool \"gardien\" on the gateway")
	}
	if rt.stream != nil {
		return rt.stream(w, &request{Request: r, caller: c})
	}
	body, err := readBody(w, r, rt)
	if err != nil {
		return err
	}
	req := &request{r, c, body}
	key := r.Header.Get("Idempotency-Key")
	// Nothing of a stranger is remembered for a day (I1): without a known caller a key is ignored.
	if key == "" || r.Method != http.MethodPost || !c.known() {
		a, err := rt.answer(req)
		if err != nil {
			return err
		}
		write(w, a)
		return nil
	}
	return s.once(rt, w, req, key)
}

func readBody(w http.ResponseWriter, r *http.Request, rt route) ([]byte, error) {
	if r.Method == http.MethodGet {
		return nil, nil
	}
	limit := int64(maxBody)
	if rt.limit > 0 {
		limit = rt.limit
	}
	b, err := io.ReadAll(http.MaxBytesReader(w, r.Body, limit))
	var large *http.MaxBytesError
	if errors.As(err, &large) {
		return nil, Fail(http.StatusRequestEntityTooLarge, "too-large", "the body is larger than %d bytes", limit)
	}
	if err != nil {
		return nil, Fail(http.StatusBadRequest, "bad-request", "the body did not arrive whole")
	}
	if len(b) == 0 {
		return []byte("{}"), nil
	}
	if t, _, err := mime.ParseMediaType(r.Header.Get("Content-Type")); err != nil || t != "application/json" {
		return nil, Fail(http.StatusUnsupportedMediaType, "unsupported-media-type", "want Content-Type: application/json")
	}
	return b, nil
}

// once answers a request with an Idempotency-Key as it was answered the first time.
func (s *Server) once(rt route, w http.ResponseWriter, r *request, key string) error {
	if len(key) > 64 || strings.ContainsFunc(key, func(c rune) bool { return c < ' ' || c > '~' }) {
		return Fail(http.StatusBadRequest, "bad-request", "an Idempotency-Key is 1 to 64 printable ASCII characters")
	}
	scope := strings.Join([]string{r.caller.name(), r.Method, r.URL.Path, key}, "\n")
	defer s.keys.enter(scope)()
	sum := sha256.Sum256(r.body)
	body := hex.EncodeToString(sum[:])
	a, found, same, err := s.backend.Residents.Recall(r.Context(), scope, body)
	if err != nil {
		return err
	}
	if found && !same {
		return Fail(http.StatusConflict, "conflict", "this Idempotency-Key was used with another body")
	}
	if !found {
		if a, err = rt.answer(r); err != nil {
			return err
		}
		if err := s.backend.Residents.Remember(context.WithoutCancel(r.Context()), scope, body, a); err != nil {
			s.log.Warn("a retry of this request would not be recognised", "err", err)
		}
	}
	write(w, a)
	return nil
}

// inFlight lets one request a key through at a time.
type inFlight struct {
	mu   sync.Mutex
	each map[string]*turn
}

type turn struct {
	sync.Mutex
	waiting int
}

// enter waits for the key and gives the way out.
func (f *inFlight) enter(key string) (leave func()) {
	f.mu.Lock()
	t := f.each[key]
	if t == nil {
		if f.each == nil {
			f.each = map[string]*turn{}
		}
		t = &turn{}
		f.each[key] = t
	}
	t.waiting++
	f.mu.Unlock()
	t.Lock()
	return func() {
		t.Unlock()
		f.mu.Lock()
		defer f.mu.Unlock()
		if t.waiting--; t.waiting == 0 {
			delete(f.each, key)
		}
	}
}

func write(w http.ResponseWriter, a Answer) {
	if a.Status == http.StatusNoContent {
		w.WriteHeader(a.Status)
		return
	}
	send(w, a.Status, a.Type, a.Body)
}

func (s *Server) fail(w http.ResponseWriter, r *http.Request, err error) {
	var p *Problem
	if !errors.As(err, &p) {
		if r.Context().Err() != nil {
			return
		}
		s.log.Error("a request failed", "method", r.Method, "path", r.Pattern, "err", err)
		p = Fail(http.StatusInternalServerError, "fault", "the gateway could not do it; its log says why (journalctl -u gardiend)")
	}
	writeProblem(w, p)
}

// reply makes a JSON answer.
func reply(status int, v any) (Answer, error) {
	b, err := json.Marshal(v)
	if err != nil {
		return Answer{}, fmt.Errorf("answer: %w", err)
	}
	return Answer{status, "application/json", append(b, '\n')}, nil
}
