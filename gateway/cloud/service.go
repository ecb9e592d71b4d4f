package cloud

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"runtime/debug"
	"strconv"
	"strings"
	"time"

	"gardien/gateway"
	"gardien/gateway/web"
)

// Mailbox is the database, by what it keeps. Its refusals are those of package gateway
// (gateway.ErrNoSuchGateway and the others); other errors pass.
type Mailbox struct {
	Registry Registry
	Feeds    Feeds
	Letters  Letters
	Presence Presence
	Upkeep   Upkeep
}

// Registry is who is enrolled, and what they registered.
type Registry interface {
	// EnrolGateway and EnrolIssuer spend a one-time code; the same key may ask again.
	EnrolGateway(ctx context.Context, code gateway.Secret, r gateway.Registration, now time.Time) error
	EnrolIssuer(ctx context.Context, code gateway.Secret, iss gateway.IssuerID, keyID, jwks string, now time.Time) error
	UpdateGateway(context.Context, gateway.Registration) error
	UpdateIssuer(ctx context.Context, iss gateway.IssuerID, jwks string) error
	GatewayDescriptor(context.Context, gateway.GatewayID) (descriptor string, found bool, err error)
	IssuerKeys(context.Context, gateway.IssuerID) (jwks string, found bool, err error)
	// Listens reports whether a gateway lists an issuer.
	Listens(context.Context, gateway.GatewayID, gateway.IssuerID) (bool, error)
}

// Feeds is what goes down to gateways.
type Feeds interface {
	// Put writes an item; isNew is false where it was there already, word for word.
	Put(ctx context.Context, gw gateway.GatewayID, iss gateway.IssuerID, i gateway.Item, now time.Time) (seq int64, isNew bool, err error)
	// Feed gives up to limit changes after a position; done says that nothing is left.
	Feed(ctx context.Context, gw gateway.GatewayID, p gateway.Position, limit int, now time.Time) (page gateway.FeedPage, done bool, err error)
	Snapshot(context.Context, gateway.GatewayID) (gateway.FeedSnapshot, error)
	WatchGateway(gateway.GatewayID) (grown <-chan struct{}, stop func())
}

// Letters is what goes up to issuers.
type Letters interface {
	// Upload takes letters of a gateway's log, and tells what has come.
	Upload(ctx context.Context, gw gateway.GatewayID, u gateway.Upload, now time.Time) (gateway.Receipt, error)
	Letters(ctx context.Context, iss gateway.IssuerID, after int64, limit int) (list []gateway.Delivered, head int64, err error)
	WatchIssuer(gateway.IssuerID) (grown <-chan struct{}, stop func())
}

// Presence is which gateways are there.
type Presence interface {
	Observe(context.Context, []gateway.Sighting) error
	// Fleet is an issuer's gateways that changed since an instant; zero: all.
	Fleet(ctx context.Context, iss gateway.IssuerID, since, now time.Time) ([]gateway.Member, error)
}

// Upkeep is the database itself.
type Upkeep interface {
	Summary(ctx context.Context, now time.Time) (gateway.MailboxSummary, error)
	Ping(context.Context) error
}

// Assertion is who somebody says that they are.
type Assertion interface {
	Who() string
	// ByGateway and ByIssuer hold it against the registered descriptor or key set.
	ByGateway(descriptor string, now time.Time) error
	ByIssuer(jwks string, now time.Time) error
}

// Tokens verifies signed texts.
type Tokens interface {
	Assertion(text string) (Assertion, error)
	Descriptor(text string) (gateway.Registration, error)
	// KeySet checks a JWKS and gives a text that tells one set from another.
	KeySet(jwks []byte) (keyID string, err error)
}

// Limits of the service; each principal has its own.
const (
	maxBody        = 64 << 10
	feedBatch      = 500
	heartbeat      = 25 * time.Second
	breath         = heartbeat / 3 // a stream is never silent for longer: a client with a PING of 10 s need not ask
	longestPoll    = 55 * time.Second
	streamsEach    = 4
	issuerStreams  = 16
	writeTimeout   = 30 * time.Second
	answerTimeout  = 5 * time.Minute  // a snapshot over a thin line
	databaseFor    = 30 * time.Second // a stream outlives a database that is away
	gatewayPerSec  = 50
	gatewayBurst   = 500
	issuerPerSec   = 2000
	issuerBurst    = 10000
	strangerPerSec = 200 // codes are too long to guess; this bounds the work of those who have no key
	strangerBurst  = 2000
)

// Opts of a Service.
type Opts struct {
	Mailbox Mailbox
	Tokens  Tokens
	Log     *slog.Logger
	Stop    <-chan struct{}  // closed: streams say goaway and end
	Now     func() time.Time // nil: time.Now
}

// Service is the handler.
type Service struct {
	Opts
	mux      web.Mux
	openapi  []byte
	limits   limits
	presence presence
	metrics  *metrics
}

// New makes the service; Run must run beside it.
func New(o Opts) *Service {
	s := &Service{Opts: o, metrics: newMetrics(o.Mailbox.Upkeep)}
	if s.Now == nil {
		s.Now = time.Now
	}
	s.limits.now = s.Now
	s.presence.init()
	routes := s.routes()
	var texts []web.Route
	for _, rt := range routes {
		s.mux.Handle(rt.Method, rt.Path, s.wrap(rt))
		texts = append(texts, rt.Route)
	}
	s.openapi = web.OpenAPI("Gardien, the cloud's mailbox", "1",
		"Gateways and issuers authenticate with an assertion: a JWS of typ gardien-auth+jwt, for this cloud's origin, signed by the key that they enrolled. "+
			"Problems are RFC 9457, of type urn:gardien:problem:NAME; members such as ver, expect or head stand beside theirs.", []web.Scheme{{Name: "assertion"}}, texts)
	s.mux.Handle("GET", "/healthz", http.HandlerFunc(s.health))
	s.mux.Handle("GET", "/metrics", http.HandlerFunc(s.metrics.serve))
	return s
}

// Streams is how many streams are open.
func (s *Service) Streams() int { return s.limits.streams() }

func (s *Service) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	// The client may take long, as over a thin line, and not for ever. Streams have their own.
	http.NewResponseController(w).SetWriteDeadline(time.Now().Add(answerTimeout))
	s.mux.ServeHTTP(w, r)
}

// health says whether the database answers.
func (s *Service) health(w http.ResponseWriter, r *http.Request) {
	ctx, cancel := context.WithTimeout(r.Context(), 3*time.Second)
	defer cancel()
	if err := s.Mailbox.Upkeep.Ping(ctx); err != nil {
		web.WriteProblem(w, gateway.Fail(http.StatusServiceUnavailable, "unavailable", "the database does not answer"), nil)
		return
	}
	web.Reply(w, http.StatusOK, map[string]bool{"ok": true})
}

// request is what a handler sees: the principal that the route asks for is set.
type request struct {
	*http.Request
	w       http.ResponseWriter
	gateway gateway.GatewayID
	issuer  gateway.IssuerID
	now     time.Time
}

// who may call a route.
type who int

const (
	anybody  who = iota
	aGateway     // the one in the path
	anIssuer     // the one in the path, if the path names one
)

type route struct {
	web.Route
	who    who
	handle func(*request) error
}

func (s *Service) wrap(rt route) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		counted := &counting{ResponseWriter: w}
		err := s.serve(rt, counted, r)
		if err != nil {
			s.fail(counted, r, err)
		}
		s.metrics.requests.WithLabelValues(rt.Method+" "+rt.Path, strconv.Itoa(counted.status)).Inc()
	})
}

// counting remembers the status for the metrics.
type counting struct {
	http.ResponseWriter
	status int
}

func (c *counting) WriteHeader(status int) {
	if c.status == 0 {
		c.status = status
	}
	c.ResponseWriter.WriteHeader(status)
}

func (c *counting) Write(b []byte) (int, error) {
	if c.status == 0 {
		c.status = http.StatusOK
	}
	return c.ResponseWriter.Write(b)
}

func (c *counting) Unwrap() http.ResponseWriter { return c.ResponseWriter }

func (s *Service) serve(rt route, w http.ResponseWriter, r *http.Request) error {
	req := &request{Request: r, w: w, now: s.Now()}
	if rt.who == anybody {
		if !s.limits.allow("a/"+address(r), strangerPerSec, strangerBurst) {
			return tooMany()
		}
		return rt.handle(req)
	}
	if err := aside(func() error { return s.authenticated(rt, req) }); err != nil {
		return err
	}
	return rt.handle(req)
}

// aside runs f on a stack of its own. Signatures and database calls need deep ones, and a
// stream would keep what it once needed for as long as it lives: some 30 kB for each gateway.
func aside(f func() error) error {
	done := make(chan error, 1)
	go func() {
		defer func() {
			if p := recover(); p != nil { // net/http would catch it on its own stack
				done <- fmt.Errorf("panic: %v\n%s", p, debug.Stack())
			}
		}()
		done <- f()
	}()
	return <-done
}

func address(r *http.Request) string {
	host, _, err := net.SplitHostPort(r.RemoteAddr)
	if err != nil {
		return r.RemoteAddr
	}
	return host
}

func tooMany() error {
	return web.TooMany("more requests than one principal may make: wait as Retry-After says")
}

// authenticated finds out who asks and holds it against the route.
func (s *Service) authenticated(rt route, r *request) error {
	scheme, text, ok := strings.Cut(r.Header.Get("Authorization"), " ")
	if !ok || !strings.EqualFold(scheme, "Bearer") {
		return web.Unauthorized("want Authorization: Bearer and an assertion (typ gardien-auth+jwt)")
	}
	a, err := s.Tokens.Assertion(text)
	if err != nil {
		return web.Unauthorized("%v", err)
	}
	if gw := gateway.GatewayID(a.Who()); gw.Valid() {
		return s.asGateway(rt, r, a, gw)
	}
	return s.asIssuer(rt, r, a, gateway.IssuerID(a.Who()))
}

func (s *Service) asGateway(rt route, r *request, a Assertion, gw gateway.GatewayID) error {
	descriptor, found, err := s.Mailbox.Registry.GatewayDescriptor(r.Context(), gw)
	if err != nil {
		return err
	}
	if !found {
		return web.Unauthorized("gateway %s is not enrolled here: gardien enrol CODE", gw)
	}
	if err := a.ByGateway(descriptor, r.now); err != nil {
		return web.Unauthorized("%v", err)
	}
	if !s.limits.allow("g/"+string(gw), gatewayPerSec, gatewayBurst) {
		return tooMany()
	}
	if rt.who != aGateway || r.PathValue("gw") != string(gw) {
		return notListed()
	}
	r.gateway = gw
	return nil
}

// notListed tells nobody which gateways there are.
func notListed() error {
	return gateway.Fail(http.StatusNotFound, "not-found", "there is no such thing here for you")
}

func (s *Service) asIssuer(rt route, r *request, a Assertion, iss gateway.IssuerID) error {
	if !iss.Valid() {
		return web.Unauthorized("iss is neither a gateway's id nor an issuer's")
	}
	keys, found, err := s.Mailbox.Registry.IssuerKeys(r.Context(), iss)
	if err != nil {
		return err
	}
	if !found {
		return web.Unauthorized("issuer %s is not enrolled here: gardien-issuer enrol", iss)
	}
	if err := a.ByIssuer(keys, r.now); err != nil {
		return web.Unauthorized("%v", err)
	}
	if !s.limits.allow("i/"+string(iss), issuerPerSec, issuerBurst) {
		return tooMany()
	}
	if named := r.PathValue("iss"); rt.who != anIssuer || named != "" && named != string(iss) {
		return notListed()
	}
	r.issuer = iss
	return nil
}

// read decodes a body of at most limit bytes; members that are not known are somebody's
// future.
func (r *request) read(limit int64, v any) error {
	b, err := web.ReadBody(r.w, r.Request, limit)
	if err != nil {
		return err
	}
	return web.Decode(b, v, web.OthersPass)
}

// fail turns what went wrong into an answer.
func (s *Service) fail(w http.ResponseWriter, r *http.Request, err error) {
	var p *gateway.Problem
	var conflict *gateway.VersionConflict
	var gone *gateway.FeedGone
	var gap *gateway.UploadGap
	switch {
	case errors.As(err, &p):
		web.WriteProblem(w, p, nil)
	case errors.As(err, &conflict):
		web.WriteProblem(w, gateway.Fail(http.StatusConflict, "version-conflict", "%v", err), storedVersion{conflict.Ver})
	case errors.As(err, &gone):
		web.WriteProblem(w, gateway.Fail(http.StatusGone, "feed-gone", "%v", err), gonePosition{gone.Epoch, gone.Head, gone.Floor})
	case errors.As(err, &gap):
		web.WriteProblem(w, gateway.Fail(http.StatusConflict, "upload-gap", "%v", err), expected{gap.Expect, gap.Head})
	case errors.Is(err, gateway.ErrNoSuchGateway):
		s.fail(w, r, notListed())
	case errors.Is(err, gateway.ErrBadCode):
		web.WriteProblem(w, gateway.Fail(http.StatusForbidden, "bad-code", "%v: ask the cloud's operator for a new one", err), nil)
	case errors.Is(err, gateway.ErrOtherKey):
		web.WriteProblem(w, gateway.Fail(http.StatusConflict, "other-key", "%v", err), nil)
	case errors.Is(err, gateway.ErrNotOwner):
		web.WriteProblem(w, gateway.Fail(http.StatusForbidden, "not-owner", "%v", err), nil)
	case errors.Is(err, gateway.ErrMailboxFull):
		web.WriteProblem(w, gateway.Fail(http.StatusTooManyRequests, "mailbox-full", "%v: those that are over go a day later", err), nil)
	case r.Context().Err() != nil: // nobody listens any more
	default:
		s.Log.Error("a request failed", "method", r.Method, "route", r.Pattern, "err", err)
		web.WriteProblem(w, gateway.Fail(http.StatusServiceUnavailable, "unavailable", "the mailbox could not do it now: try again"), nil)
	}
}

// The members that some problems have beside the standard ones.
type (
	gonePosition struct { // 410
		Epoch string `json:"epoch"`
		Head  int64  `json:"head"`
		Floor int64  `json:"floor"`
	}
	storedVersion struct { // 409 to an item
		Ver int64 `json:"ver"`
	}
	expected struct { // 409 to letters
		Expect int64  `json:"expect"`
		Head   string `json:"head,omitempty"`
	}
)

// The same problems as OpenAPI has them.
type (
	feedGone struct {
		gateway.Problem
		gonePosition
	}
	versionConflict struct {
		gateway.Problem
		storedVersion
	}
	uploadGap struct {
		gateway.Problem
		expected
	}
)
