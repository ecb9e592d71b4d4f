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
	"net/http"
	"strings"
	"sync"

	"gardien/gateway/web"
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
	mux     web.Mux
	openapi []byte
	keys    inFlight // idempotency keys that are being answered
	stop    <-chan struct{}

	readers   *web.Turns // of the record and other lists
	verifiers *web.Turns // of all of it
	copiers   *web.Turns // of the database
	carriers  *places    // those whose large body is in memory, by address
	bags      *shares    // small ones that are worked on, by address
	openBags  *web.Turns // large ones
	counter   *counter   // where all of them are worked on
	streams   *shares    // by device
	browsers  *shares    // those who wait for a turn as readers, by device
	holders   *shares    // those of them who are none of this house, by address
}

// The most readers at once.
const (
	maxReaders = 128
	maxStreams = 64
	// maxHolders of the readers hold a grant, and are no residents: most places are the house's.
	maxHolders = maxReaders / 4
	// maxCarriers bounds the large bodies in memory at once: 4 MiB (I1).
	maxCarriers = 16
	// What one device, or one address, may have of them.
	maxReadersEach  = 8
	maxStreamsEach  = 8
	maxCarriersEach = 2
	// maxBags are two of each address that has a connection.
	maxBags     = 2 * maxConns
	maxBagsEach = 2
)

// New makes the handler; sim may be nil. Streams end when stop is closed.
func New(b Backend, sim Sim, log *slog.Logger, stop <-chan struct{}) *Server {
	s := &Server{backend: b, log: log, stop: stop,
		readers: web.NewTurns(maxReaders), verifiers: web.NewTurns(4), copiers: web.NewTurns(1),
		carriers: newPlaces(maxCarriers, maxCarriersEach), bags: newShares(maxBags, maxBagsEach), openBags: web.NewTurns(maxCarriers), counter: &counter{},
		streams: newShares(maxStreams, maxStreamsEach), browsers: newShares(maxReaders, maxReadersEach), holders: newShares(maxHolders, maxReadersEach)}
	routes := s.routes(sim)
	s.openapi = openAPI(routes)
	for _, rt := range routes {
		if rt.may == 0 {
			panic("api: " + rt.Method + " " + rt.Path + ": say in the table of routes who may call it")
		}
		s.mux.Handle(rt.Method, rt.Path, s.wrap(rt))
	}
	return s
}

func (s *Server) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	s.mux.ServeHTTP(web.NewPatient(w), r)
}

// inTurn answers a request when it is its turn. One device has few turns at once.
func (s *Server) inTurn(t *web.Turns, answer func(*request) (Answer, error)) func(*request) (Answer, error) {
	return func(r *request) (Answer, error) {
		leave, err := take(r.Context(), s.browsers, t, string(r.caller.Resident))
		if err != nil {
			return Answer{}, err
		}
		defer leave()
		return answer(r)
	}
}

// take waits for the turn of one who has a share of those who may wait, and gives the way out.
func take(ctx context.Context, waiting *shares, t *web.Turns, who string) (leave func(), err error) {
	done, err := waiting.enter(who)
	if err != nil {
		return nil, err
	}
	next, err := t.Take(ctx)
	if err != nil {
		done()
		return nil, err
	}
	return func() { next(); done() }, nil
}

// request is what a handler sees.
type request struct {
	*http.Request
	caller Caller
	body   []byte
}

// read decodes the body into v.
func (r *request) read(v any) error { return web.Decode(r.body, v, web.KnownOnly) }

// wrap authenticates, bounds, and answers errors.
func (s *Server) wrap(rt route) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if err := s.serve(rt, w, r); err != nil {
			s.fail(w, r, err)
		}
	})
}

// serve reads the body before it asks who sends it: whoever is removed while a body trickles in is
// nobody when it is there.
func (s *Server) serve(rt route, w http.ResponseWriter, r *http.Request) error {
	if rt.stream != nil {
		c, err := admitted(s, rt.may, r)
		if err != nil {
			return err
		}
		return rt.stream(w, &request{Request: r, caller: c})
	}
	body, mine, err := readBody(s, w, r, rt)
	if err != nil {
		return err
	}
	defer mine.leave()
	may := rt.may
	if rt.wish != 0 && !rt.presents(r, body) {
		may = rt.wish
	}
	c, err := admitted(s, may, r)
	if err == nil && may&anybody == 0 {
		err = s.prove(w, r, c)
	}
	if err != nil {
		return err
	}
	req := &request{r, c, body}
	key := r.Header.Get("Idempotency-Key")
	// Nothing of a stranger is remembered for a day (I1): without a known caller a key is ignored. On
	// a route that is everybody's the socket alone is known: a token's proof was not asked for.
	var a Answer
	if key == "" || r.Method != http.MethodPost || rt.fresh || !c.known() || may&anybody != 0 && !c.Local {
		a, err = answered(s, rt, req)
	} else {
		a, err = s.once(rt, may, req, key)
	}
	if err != nil {
		return err
	}
	mine.answers(len(a.Body), http.NewResponseController(w).SetWriteDeadline)
	write(w, a)
	return nil
}

// admitted finds out who asks, and holds that against who may.
func admitted(s *Server, may who, r *http.Request) (Caller, error) {
	c, err := s.caller(r, may&anybody != 0)
	if err == nil {
		err = admit(c, may)
	}
	if err == nil && may&anybody == 0 && c.Resident != "" {
		web.Recognise(r.Context(), string(c.Resident))
	}
	return c, err
}

// readBody reads a request's body. A large one, beyond what everybody may have in memory, takes one of
// a few places, which the caller gives back.
func readBody(s *Server, w http.ResponseWriter, r *http.Request, rt route) (body []byte, mine *place, err error) {
	if r.Method == http.MethodGet {
		return nil, nil, nil
	}
	if rt.limit <= maxBody {
		body, err = web.ReadBody(w, r, maxBody)
		return body, nil, err
	}
	start, err := io.ReadAll(io.LimitReader(r.Body, maxBody+1))
	if err == nil && len(start) > maxBody {
		if mine, err = s.carriers.enter(r.Context(), carrierOf(r), http.NewResponseController(w).SetReadDeadline); err != nil {
			return nil, nil, err
		}
	}
	r.Body = struct {
		io.Reader
		io.Closer
	}{io.MultiReader(bytes.NewReader(start), r.Body), r.Body}
	body, err = web.ReadBody(w, r, rt.limit)
	if mine != nil {
		if late := mine.whole(); late != nil {
			err = late
		}
	}
	if err != nil {
		mine.leave()
	}
	return body, mine, err
}

// carrierOf is whose share a body counts for: an address, or "" for the console.
func carrierOf(r *http.Request) string {
	if c, _ := r.Context().Value(callerKey{}).(Caller); c.Local {
		return ""
	}
	return addressOf(r)
}

// once answers a request with an Idempotency-Key as it was answered the first time.
func (s *Server) once(rt route, may who, r *request, key string) (a Answer, err error) {
	if len(key) > 64 || strings.ContainsFunc(key, func(c rune) bool { return c < ' ' || c > '~' }) {
		return Answer{}, web.BadRequest("an Idempotency-Key is 1 to 64 printable ASCII characters")
	}
	scope := strings.Join([]string{r.caller.name(), r.Method, r.URL.Path, key}, "\n")
	defer s.keys.enter(scope)()
	if _, err := admitted(s, may, r.Request); err != nil { // it may have waited
		return Answer{}, err
	}
	sum := sha256.Sum256(r.body)
	body := hex.EncodeToString(sum[:])
	a, found, same, err := s.backend.Sessions.Recall(r.Context(), scope, body)
	if err != nil {
		return Answer{}, err
	}
	if found && !same {
		return Answer{}, Fail(http.StatusConflict, "conflict", "this Idempotency-Key was used with another body")
	}
	if !found {
		if a, err = answered(s, rt, r); err != nil {
			return Answer{}, err
		}
		if err := s.backend.Sessions.Remember(context.WithoutCancel(r.Context()), scope, body, a); err != nil {
			s.log.Warn("a retry of this request would not be recognised", "err", err)
		}
	}
	return a, nil
}

// answered answers a request. Where something was done that needs no words, and the disk takes no
// writes, it says that a power cut would undo it (D5).
func answered(s *Server, rt route, r *request) (Answer, error) {
	a, err := rt.answer(r)
	if err == nil && a.Status == http.StatusNoContent && !s.backend.Upkeep.Durable() {
		cookie := a.cookie
		a, err = reply(http.StatusOK, Done{})
		a.cookie = cookie
	}
	return a, err
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
	if a.cookie != nil {
		http.SetCookie(w, a.cookie)
	}
	if a.Status == http.StatusNoContent {
		w.WriteHeader(a.Status)
		return
	}
	web.Send(w, a.Status, a.Type, a.Body)
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
	if p.Status == http.StatusTooManyRequests { // what it is about lasts for a minute
		w.Header().Set("Retry-After", "30")
	}
	web.WriteProblem(w, p, nil)
}

// reply makes a JSON answer.
func reply(status int, v any) (Answer, error) {
	b, err := json.Marshal(v)
	if err != nil {
		return Answer{}, fmt.Errorf("answer: %w", err)
	}
	return Answer{Status: status, Type: "application/json", Body: append(b, '\n')}, nil
}
