package api_test

import (
	"cmp"
	"context"
	"crypto/tls"
	"log/slog"
	"net"
	"net/http"
	"net/netip"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"

	"gardien/gateway/api"
	"gardien/gateway/api/phone"
	"gardien/gateway/certs"
	"gardien/gateway/wallclock"
	"gardien/gateway/web/webtest"
)

// served is the API of a fake, on its socket and on a network, over TLS.
type served struct {
	fake          *api.Fake
	lan           *api.LAN
	text          *webtest.Conformance
	local, remote *http.Client // whose exchanges are held against the text
	here, there   *http.Client // the same, as they are
	base          string       // of the network
	ca            []byte
}

func serve(t *testing.T) *served {
	t.Helper()
	s := &served{fake: &api.Fake{}}
	log, stop := slog.New(slog.DiscardHandler), make(chan struct{})
	handler := api.New(s.fake.Backend(), api.FakeSim{}, log, stop)
	path := filepath.Join(t.TempDir(), "api.sock")
	socket := api.NewSocket(path, nil, handler, log)
	house, err := certs.Open(certs.Opts{Dir: t.TempDir(), Name: "gardien-aaaa.local", Clock: wallclock.NewFake(), Log: log})
	if err != nil {
		t.Fatal(err)
	}
	secure, plain := listen(t), listen(t)
	s.lan = api.NewLAN(api.LANOpts{Listen: "127.0.0.1:0", Name: "gardien-aaaa.local", Secure: secure, Plain: plain, Handler: handler, Log: log,
		Addresses:   func() []netip.Addr { return []netip.Addr{netip.MustParseAddr("192.0.2.7")} },
		Certificate: func() (func(*tls.ClientHelloInfo) (*tls.Certificate, error), error) { return house.Certificate, nil }})
	ctx, cancel := context.WithCancel(context.Background())
	ended := make(chan error, 2)
	go func() { ended <- socket.Run(ctx) }()
	go func() { ended <- s.lan.Run(ctx) }()
	t.Cleanup(func() {
		close(stop)
		if s.there != nil {
			s.there.CloseIdleConnections()
		}
		cancel()
		for range 2 {
			if err := <-ended; err != nil {
				t.Error(err)
			}
		}
	})
	for _, ready := range []<-chan struct{}{socket.Ready(), s.lan.Ready()} {
		select {
		case <-ready:
		case err := <-ended:
			t.Fatal(err)
		}
	}
	dial := func(ctx context.Context, _, _ string) (net.Conn, error) {
		return new(net.Dialer).DialContext(ctx, "unix", path)
	}
	s.base, s.ca = s.lan.URL(""), house.CA()
	remote, err := phone.Trusting(s.ca, s.lan.Address().String())
	if err != nil {
		t.Fatal(err)
	}
	s.text = webtest.New(t, remote, s.base)
	s.here, s.there = &http.Client{Transport: &http.Transport{DialContext: dial, DisableKeepAlives: true}}, remote
	s.local, s.remote = s.text.Client(s.here), s.text.Client(s.there)
	return s
}

func listen(t *testing.T) net.Listener {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { l.Close() })
	return l
}

// call sends a request over the socket, as a stranger ("stranger:…") or as a device of the fake,
// by its token ("resident:…", "guest:…").
func (s *served) call(t *testing.T, method, path, body string, headers ...string) (status int, answer string, header http.Header) {
	t.Helper()
	who, rest, found := strings.Cut(path, ":/")
	client, url := s.local, "http://g"+path
	if found {
		client, url = s.remote, s.base+"/"+rest
	}
	if token := cmp.Or(map[string]string{"resident": "token", "stranger": "-"}[who], who); found && token != "-" {
		headers = append([]string{"Authorization", "Bearer " + token}, headers...)
	}
	return webtest.Call(t, client, method, url, body, "id: 3", headers...)
}

// each is one request of every route for each of its answers.
var each = []struct {
	method, path, body string
	status             int
	say                string
}{
	{"GET", "stranger:/v1/info", "", 200, "gw-aaaaaaaaaa"},
	{"GET", "stranger:/v1/openapi.json", "", 200, `"3.1.0"`},
	{"GET", "/v1/status", "", 200, `"database":"ok"`},
	{"GET", "/v1/doors", "", 200, `"front"`},
	{"GET", "resident:/v1/doors/front", "", 200, `"secured"`},
	{"GET", "/v1/doors/nosuch", "", 404, "there are front"},
	{"POST", "resident:/v1/doors/front/attempts", "{}", 200, `"granted"`},
	{"POST", "stranger:/v1/doors/front/attempts", `{"grant":"good","proof":"p"}`, 200, `"granted"`},
	{"POST", "stranger:/v1/doors/front/attempts", `{"grant":"bad"}`, 403, `"denied"`},
	{"POST", "stranger:/v1/doors/nosuch/attempts", `{"grant":"bad"}`, 404, "no such door"},
	{"POST", "/v1/doors/nosuch/veto", "", 404, "there are front"},
	{"POST", "resident:/v1/doors/front/veto", "", 204, ""},
	{"POST", "/v1/doors/front/veto", "", 409, "nobody knocks"},
	{"POST", "resident:/v1/readers/pad/lift", "", 204, ""},
	{"POST", "/v1/readers/nosuch/lift", "", 404, "there are pad"},
	{"POST", "stranger:/v1/nonces", "", 201, "bm9uY2U"},
	{"POST", "stranger:/v1/mailbag", `{"items":["good","bad",{"id":"i","kind":"grant","ver":1,"exp":2,"body":"bad","new":[1]},7,null,{"KIND":"grant"}]}`, 200, "rejected"},
	{"POST", "stranger:/v1/mailbag", `{"items":[null,"good"]}`, 200, "accepted"},
	{"POST", "stranger:/v1/mailbag", `{"items":[{"kind":"grant","Body":"good"}]}`, 200, "rejected"},
	{"POST", "stranger:/v1/pairing", `{"secret":"secret","name":"Bo"}`, 201, "token-2"},
	{"POST", "stranger:/v1/pairing", `{"secret":"secret","name":"Bo","key":{"kty":"EC","crv":"P-256","x":"x","y":"y","ext":true},"cookie":true}`, 201, "{\"id\":\"r2\",\"code\":\"123456\"}\n"},
	{"POST", "stranger:/v1/pairing", `{"secret":"guess","name":"Bo"}`, 403, "no window"},
	{"POST", "stranger:/v1/pairing", `{"secret":"secret","name":"r1"}`, 409, "already"},
	{"POST", "/v1/pairing/window", "", 201, "secret for a resident"},
	{"POST", "/v1/pairing/window", `{"role":"guest"}`, 201, "secret for a guest"},
	{"POST", "/v1/pairing/window", `{"role":"owner"}`, 400, "want resident, guest or installer"},
	{"GET", "/v1/pairing/window", "", 200, `"device":null`},
	{"GET", "/v1/pairing/window?wait=1", "", 200, `"code":"123456"`},
	{"GET", "/v1/pairing/window?wait=31", "", 400, "from 0 to 30"},
	{"DELETE", "/v1/pairing/window", "", 204, ""},
	{"GET", "resident:/v1/session", "", 200, `{"resident":"r1","role":"resident","confirmed":true}`},
	{"GET", "newcomer:/v1/session", "", 200, `"confirmed":false`},
	{"DELETE", "last:/v1/session", "", 409, "last"},
	{"DELETE", "guest:/v1/session", "", 204, ""},
	{"POST", "guest:/v1/session/move", "", 201, "720451"},
	{"GET", "stranger:/ca.crt", "", 200, "a certificate"},
	{"GET", "stranger:/ca.mobileconfig", "", 200, "a profile"},

	{"GET", "/v1/grants?limit=1", "", 200, `"next":"home/g1"`},
	{"POST", "resident:/v1/grants", `{"doors":["front"],"not_after":"2090-01-01T00:00:00Z","pin":true}`, 201, "493027"},
	{"POST", "/v1/grants", `{"doors":["front"],"not_after":"2090-01-01T00:00:00Z","pin":true,"resident":"r1"}`, 201, "493027"},
	{"POST", "/v1/grants", `{"doors":["front"],"not_after":"2090-01-01T00:00:00Z","pin":true,"resident":"nosuch"}`, 404, "there are r1"},
	{"POST", "/v1/grants", `{"doors":["nosuch"],"not_after":"2090-01-01T00:00:00Z"}`, 404, "there are front"},
	{"GET", "/v1/grants/home%2Fg1", "", 200, `"home/g1"`},
	{"GET", "/v1/grants/home%2Fnosuch", "", 404, "home/nosuch"},
	{"DELETE", "resident:/v1/grants/home%2Fg1", "", 204, ""},
	{"DELETE", "/v1/grants/home%2Fnosuch", "", 404, "home/nosuch"},
	{"GET", "/v1/grants/home%2Fg1/explanation?door=front&at=2026-11-27T12:00:00Z", "", 200, `"expired"`},
	{"GET", "/v1/grants/home%2Fnosuch/explanation", "", 404, "home/nosuch"},

	{"GET", "resident:/v1/visits", "", 200, `"conflicts":[]}],"next":"2026-11-27T11:00:00Z,front,home/g1"}`},
	{"GET", "/v1/visits?after=2026-11-27T11:00:00Z,front,home/g1", "", 200, `/336h","door":"front"`},
	{"GET", "/v1/visits?from=2027-09-30T22:00:00Z&to=2027-12-01T23:00:00Z&after=2026-11-27T11:00:00Z,front,home/g1", "", 200, `/1489h","door"`},

	{"GET", "/v1/events?after=1&limit=1", "", 200, `"next":2`},
	{"GET", "resident:/v1/events/stream?after=1", "", 200, "id: 3"},
	{"GET", "/v1/events/verification", "", 200, `"ok":true`},
	{"POST", "/v1/events/forget", `{"ref":"parcel-1"}`, 200, `"forgotten":2`},

	{"GET", "resident:/v1/attempts/a1/receipt", "", 200, `{"receipt":"r.e.c"}`},
	{"GET", "/v1/attempts/a2/receipt", "", 404, "no receipt"},

	{"GET", "/v1/issuers", "", 200, "Colis X"},
	{"POST", "resident:/v1/issuers/colis-x.example/pause", "", 204, ""},
	{"POST", "/v1/issuers/nosuch/pause", "", 404, "there are colis-x.example"},
	{"POST", "/v1/issuers/colis-x.example/resume", "", 204, ""},
	{"POST", "/v1/issuers/nosuch/resume", "", 404, "there are colis-x.example"},
	{"POST", "/v1/pause", "", 204, ""},
	{"POST", "resident:/v1/issuers/colis-x.example/pause", `{"until":"2090-01-01T01:00:00.5+01:00"}`, 204, ""},
	{"POST", "/v1/pause", `{"until":"2090-01-01T00:00:00Z"}`, 204, ""},
	{"POST", "/v1/pause", `{"from":"2089-01-01T00:00:00Z","until":"2090-01-01T00:00:00Z","home":true,"keep":["home/g1","g1"]}`, 204, ""},
	{"POST", "/v1/pause", `{"home":true,"keep":["g1","nosuch"]}`, 400, "keep: there is no grant home/nosuch"},
	{"POST", "/v1/resume", "", 204, ""},
	{"GET", "/v1/residents", "", 200, "Ada"},
	{"DELETE", "/v1/residents/nosuch", "", 404, "there are r1"},
	{"DELETE", "resident:/v1/residents/last", "", 409, "last"},
	{"POST", "/v1/residents/r1/duress", `{"doors":["front"]}`, 201, "918273"},
	{"POST", "/v1/residents/nosuch/duress", `{"doors":["front"]}`, 404, "there are r1"},
	{"POST", "/v1/residents/nosuch/confirm", "", 404, "there are r1"},
	{"POST", "/v1/residents/r1/confirm", "", 204, ""},
	{"DELETE", "/v1/residents/r1", "", 204, ""},
	{"GET", "/v1/descriptor", "", 200, "a.b.c"},
	{"POST", "/v1/cloud/enrolment", `{"code":"good"}`, 200, "cloud.example"},
	{"POST", "/v1/cloud/enrolment", `{"code":"nocloud"}`, 409, "no cloud"},
	{"POST", "/v1/cloud/enrolment", `{"code":"away"}`, 502, "does not answer"},
	{"POST", "resident:/v1/clock/confirm", "", 200, `"synced"`},
	{"GET", "/v1/health", "", 200, `{"findings":[{"key":"lock.jammed.front","severity":"now","subject":"front","since":"2026-11-27T12:00:00+01:00","seen_by":null},{"key":"pause",`},
	{"GET", "installer:/v1/health", "", 200, `"seen_by":null}]}`},
	{"POST", "resident:/v1/health/pause/seen", "", 204, ""},
	{"POST", "/v1/health/lock%2Ejammed.front/seen", "", 204, ""},
	{"POST", "/v1/health/lock.jammed.side/seen", "", 404, "there are lock.jammed.front, pause"},
	{"POST", "/v1/health/task.down.full/seen", "", 409, "no more marks"},

	{"GET", "/v1/backup", "", 200, "SQLite"},
	{"POST", "/v1/restore", "SQLite format 3", 204, ""},
	{"POST", "/v1/restore", "what is this", 400, "no backup"},

	{"POST", "stranger:/v1/doors/front/attempts", `{"grant":"ask","proof":"p"}`, 202, `{"attempt":"a1","decision":"pending"}`},
	{"GET", "stranger:/v1/attempts/a1", "", 200, `"decision":"pending"`},
	{"GET", "stranger:/v1/attempts/a1?wait=9", "", 400, "0 to 8"},
	{"GET", "stranger:/v1/attempts/nosuch?wait=1", "", 404, "nosuch"},
	{"POST", "/v1/attempts/nosuch/approve", "", 404, "a1"},
	{"POST", "/v1/attempts/nosuch/deny", "", 404, "a1"},
	{"POST", "/v1/attempts/a1/approve", "", 204, ""},
	{"POST", "/v1/attempts/a1/approve", "", 409, "answered"},
	{"GET", "stranger:/v1/attempts/a1?wait=8", "", 200, `"decision":"granted"`},
	{"POST", "/v1/attempts/a1/deny", "", 409, "answered"},
	{"POST", "/v1/attempts/a2/deny", "", 204, ""},
	{"POST", "/v1/grants", `{"doors":["front"],"not_after":"2090-01-01T00:00:00Z","pin":true,"approval":"maybe"}`, 400, "approval"},
	{"POST", "/v1/grants", `{"doors":["front"],"not_after":"2090-01-01T00:00:00Z","pin":true,"approval":"ask","approval_silence":"what"}`, 400, "approval_silence"},
	{"POST", "/v1/grants", `{"doors":["front"],"not_after":"2090-01-01T00:00:00Z","pin":true,"approval_silence":"deny"}`, 400, "nobody is asked"},
	{"POST", "/v1/grants", `{"doors":["front"],"not_after":"2090-01-01T00:00:00Z","pin":true,"resident":"r1","approval":"ask"}`, 400, "own PIN"},

	{"POST", "/v1/sim/contact", `{"door":"front","state":"open"}`, 204, ""},
	{"POST", "/v1/sim/contact", `{"door":"nosuch","state":"open"}`, 404, "front"},
	{"POST", "/v1/sim/keys", `{"reader":"pad","keys":"1#"}`, 204, ""},
	{"POST", "/v1/sim/keys", `{"reader":"nosuch","keys":"1#"}`, 404, "pad"},
	{"POST", "/v1/sim/scan", `{"reader":"pad","text":"x"}`, 204, ""},
	{"POST", "/v1/sim/scan", `{"reader":"nosuch","text":"x"}`, 404, "pad"},
	{"POST", "/v1/sim/rex", `{"door":"front"}`, 204, ""},
	{"POST", "/v1/sim/rex", `{"door":"nosuch"}`, 404, "front"},
	{"POST", "/v1/sim/fault", `{"door":"front","fault":"stuck"}`, 204, ""},
	{"POST", "/v1/sim/fault", `{"door":"nosuch","fault":"stuck"}`, 404, "front"},
}

// TestConformance: every route gives every answer that the OpenAPI text names, as the text says.
func TestConformance(t *testing.T) {
	s := serve(t)
	for _, tt := range each {
		var headers []string
		if tt.path == "/v1/restore" {
			headers = []string{"Content-Type", "application/vnd.sqlite3"}
		}
		status, answer, _ := s.call(t, tt.method, tt.path, tt.body, headers...)
		if status != tt.status || !strings.Contains(answer, tt.say) {
			t.Errorf("%s %s: %d %s, want %d with %q", tt.method, tt.path, status, answer, tt.status, tt.say)
		}
	}
	s.overload(t)
	acts := s.fake.Acts()
	s.fake.Lax()
	for _, tt := range each { // acts on a disk that takes no writes (D5)
		if tt.status != 204 || tt.path == "/v1/restore" {
			continue
		}
		if status, answer, _ := s.call(t, tt.method, tt.path, tt.body); status != 200 || answer != "{\"durable\":false}\n" {
			t.Errorf("%s %s on a disk that takes no writes: %d %s", tt.method, tt.path, status, answer)
		}
	}
	if _, answer, _ := s.call(t, "POST", "stranger:/v1/mailbag", `{"items":["good"]}`); !strings.HasSuffix(answer, "],\"durable\":false}\n") {
		t.Errorf("a mailbag on a disk that takes no writes: %s", answer)
	}
	for method, path := range map[string]string{"GET": "/v1/backup", "POST": "/v1/restore"} {
		if status, answer, _ := s.call(t, method, path, "SQLite format 3", "Content-Type", "application/vnd.sqlite3"); status != 409 {
			t.Errorf("%s on a disk that takes no writes: %d %s", path, status, answer)
		}
	}
	s.text.Complete()
	want := []string{"veto front by r1", "lift pad by r1", "close window by socket", "remove guest by guest", "grant g2 by r1", "grant g2 by socket", "revoke home/g1 by r1", "pause colis-x.example by r1", "resume colis-x.example by socket",
		"pause all by socket", "pause until 2090-01-01T00:00:00Z colis-x.example by r1", "pause until 2090-01-01T00:00:00Z all by socket",
		"pause from 2089-01-01T00:00:00Z until 2090-01-01T00:00:00Z home but [home/g1] all by socket", "resume all by socket",
		"duress r1 by socket", "confirm r1 by socket", "remove r1 by socket", "confirm clock by r1", "see pause by r1", "see lock.jammed.front by socket", "approve a1 by socket", "deny a2 by socket"}
	if got := acts; !slices.Equal(got, want) {
		t.Errorf("acts %q, want %q", got, want)
	}
}

// overload has so many at once that some are refused.
func (s *served) overload(t *testing.T) {
	t.Helper()
	for path, most := range map[string]int{"/v1/events": 128, "/v1/events/verification": 4, "/v1/events/stream": 64, "/v1/attempts/a1/receipt": 128} {
		release := s.fake.Busy()
		ctx, cancel := context.WithCancel(t.Context())
		refused := make(chan http.Header, most+8)
		var all sync.WaitGroup
		for range most + 1 {
			all.Go(func() {
				q, _ := http.NewRequestWithContext(ctx, "GET", "http://g"+path, nil)
				res, err := s.local.Do(q)
				if err != nil {
					return
				}
				defer res.Body.Close()
				if res.StatusCode == http.StatusTooManyRequests {
					refused <- res.Header
				}
			})
		}
		if header := <-refused; header.Get("Retry-After") == "" {
			t.Errorf("%s: a 429 that does not say when to come back", path)
		}
		release()
		cancel()
		all.Wait()
		if n := len(refused); n > 0 {
			t.Errorf("%s: %d of %d were refused, at most one should be", path, n+1, most+1)
		}
	}
	defer s.fake.Busy()()
	if status, _, _ := s.call(t, "POST", "stranger:/v1/nonces", ""); status != http.StatusTooManyRequests {
		t.Errorf("a nonce too many: %d", status)
	}
}

// fill makes a path of a template: of things that are there.
func fill(path string) string {
	return strings.NewReplacer("{door}", "front", "{reader}", "pad", "{id}", "home%2Fg1", "{key}", "pause").Replace(path)
}

// TestRefusals: every route refuses a stranger, another method, a body that is too large, of
// another type, or of two meanings, each with a problem.
func TestRefusals(t *testing.T) {
	s := serve(t)
	for _, o := range s.text.Operations() {
		path := fill(o.Path)
		refused := func(what string, want int, method, path, body string, headers ...string) {
			t.Helper()
			status, answer, header := s.call(t, method, path, body, headers...)
			if status != want || header.Get("Content-Type") != "application/problem+json" || !strings.Contains(answer, "urn:gardien:problem:") {
				t.Errorf("%s %s, %s: %d %s, want a problem of status %d", method, path, what, status, answer, want)
			}
		}
		if o.Open {
			refused("a made-up token", 401, o.Method, "stranger:"+path, "", "Authorization", "Bearer guess")
		} else {
			refused("a stranger", 401, o.Method, "stranger:"+path, "")
		}
		refused("a scheme of long ago", 401, o.Method, "stranger:"+path, "", "Authorization", "Basic eDp5")
		if strings.Contains(o.Note, "socket only") {
			refused("a resident afar", 401, o.Method, "resident:"+path, "")
		}
		refused("another method", 405, "PATCH", path, "")
		if o.Method == "GET" || path == "/v1/restore" {
			continue
		}
		refused("a body of another type", 415, o.Method, path, "{}", "Content-Type", "text/plain")
		limit := 16 << 10
		if path == "/v1/mailbag" {
			limit = 256 << 10
		}
		refused("a body too large", 413, o.Method, path, `{"x":"`+strings.Repeat("x", limit)+`"}`)
		if !o.Body {
			continue
		}
		for _, body := range []string{"{", "[]", "null", `{"nosuch":1}`, `{} {}`, `{"x":1,"x":1}`, `{"x":"\ud800"}`} {
			refused("the body "+body, 400, o.Method, path, body)
		}
	}
	refused := func(method, path, body string, want int, headers ...string) {
		t.Helper()
		if status, answer, _ := s.call(t, method, path, body, headers...); status != want {
			t.Errorf("%s %s: %d %s, want %d", method, path, status, answer, want)
		}
	}
	refused("GET", "/v1/nothing", "", 404)
	refused("GET", "/v1/events?limit=0", "", 400)
	refused("GET", "/v1/events?after=-1", "", 400)
	refused("GET", "/v1/grants?after=a%20b", "", 400)
	refused("GET", "/v1/grants/home%2Fg1/explanation?at=noon", "", 400)
	refused("POST", "/v1/grants", `{"doors":["front"],"not_after":"2090-01-01T00:00:00Z","resident":"r1"}`, 400)
	refused("POST", "/v1/restore", "{}", 415)
	refused("POST", "/v1/grants", `{"doors":["front"],"not_after":"2090-01-01T00:00:00Z","pin":true,"kind":"guest"}`, 400)
	for _, body := range []string{`{"until":"tomorrow"}`, `{"until":null}`, `{"until":"2019-12-31T00:00:00Z"}`, `{"until":"2101-01-01T00:00:00Z"}`} {
		refused("POST", "/v1/issuers/colis-x.example/pause", body, 400)
		refused("POST", "/v1/pause", body, 400)
	}
	refused("POST", "/v1/issuers/colis-x.example/pause", `{"from":"2089-01-01T00:00:00Z"}`, 400)
	refused("POST", "/v1/issuers/colis-x.example/pause", `{"home":true}`, 400)
	for body, say := range map[string]string{
		`{"from":"2090-01-01T00:00:00Z","until":"2090-01-01T00:00:00Z"}`:   "until must lie after from",
		`{"from":"2090-01-01T00:00:00Z","until":"2090-01-01T00:00:00.9Z"}`: "until must lie after from",
		`{"from":"2101-01-01T00:00:00Z"}`:                                  "from: want an instant from 2020 to 2100",
		`{"keep":["g1"]}`:                                                  "say home",
		`{"home":true,"keep":["colis-x.example/g1"]}`:                      "only grants made at home",
		`{"home":true,"keep":["a b"]}`:                                     "want issuer/jti",
		`{"home":true,"keep":[null]}`:                                      "null",
		`{"home":true,"keep":["g1"` + strings.Repeat(`,"g1"`, 64) + `]}`:   "at most 64",
	} {
		if status, answer, _ := s.call(t, "POST", "/v1/pause", body); status != 400 || !strings.Contains(answer, say) {
			t.Errorf("%s: %d %s, want 400 with %q", body, status, answer, say)
		}
	}
	for query, say := range map[string]string{
		"from=tomorrow": "from: ", "to=2026-12-01": "RFC 3339", "from=2026-12-01T00:00:00+01:00": "%2B",
		"from=2019-12-31T00:00:00Z": "2020 to 2100", "to=2101-01-01T00:00:00Z": "2020 to 2100",
		"from=2026-12-01T00:00:00Z&to=2026-12-01T00:00:00Z": "to must lie after from", "to=2026-11-27T11:00:00Z": "which is now",
		"from=2026-12-01T00:00:00Z&to=2027-02-01T01:00:01Z": "at most 62 days", "to=2090-12-01T00:00:00Z": "at most 62 days",
		"after=2026-11-27": "after: ", "after=x,front,home/g1": "gave as next", "after=2026-11-27T11:00:00Z,Front,home/g1": "gave as next", "after=2026-11-27T11:00:00Z,front,home/": "gave as next",
	} {
		if status, answer, _ := s.call(t, "GET", "/v1/visits?"+query, ""); status != 400 || !strings.Contains(answer, say) {
			t.Errorf("%s: %d %s, want 400 with %q", query, status, answer, say)
		}
	}
	refused("POST", "/v1/events/forget", `{"ref":"broken"}`, 500)
	refused("GET", "stranger:/v1/doors", "", 500, "Authorization", "Bearer broken")
	refused("POST", "stranger:/v1/doors/front/attempts", "{}", 401)
	if acts := s.fake.Acts(); len(acts) > 0 {
		t.Errorf("what was refused was done: %q", acts)
	}
}

// TestGrantsArePresentable: what nothing could present is not made; each way to present a grant
// is enough by itself.
func TestGrantsArePresentable(t *testing.T) {
	s := serve(t)
	const jkt = "NzbLsXh8uDCcd-6MNwXF4W_7noWXFZAfHkxZsRGC9Xs"
	for body, want := range map[string]int{
		``:                                 400,
		`,"pin":false`:                     400,
		`,"pin":true`:                      201,
		`,"card":"26:123:45678"`:           201,
		`,"holder":"` + jkt + `"`:          201,
		`,"holder":"` + jkt[1:] + `"`:      400,
		`,"holder":"` + jkt + `A"`:         400,
		`,"holder":"` + jkt[:42] + `t"`:    400, // a second spelling
		`,"holder":"` + jkt + `\n"`:        400,
		`,"pin":true,"holder":"a phone's"`: 400,
	} {
		status, answer, _ := s.call(t, "POST", "/v1/grants", `{"doors":["front"],"not_after":"2090-01-01T00:00:00Z"`+body+`}`)
		if status != want || want == 400 && !strings.Contains(answer, "holder") {
			t.Errorf("%s: %d %s, want %d", body, status, answer, want)
		}
	}
	if acts := s.fake.Acts(); len(acts) != 3 {
		t.Errorf("made: %q", acts)
	}
}

// TestIdempotency: a retry of a known caller is answered as the first time; a stranger's key is
// ignored (I1).
func TestIdempotency(t *testing.T) {
	s := serve(t)
	const body = `{"doors":["front"],"not_after":"2090-01-01T00:00:00Z","pin":true}`
	for range 3 {
		if status, _, _ := s.call(t, "POST", "resident:/v1/grants", body, "Idempotency-Key", "k1"); status != 201 {
			t.Error(status)
		}
	}
	if acts := s.fake.Acts(); len(acts) != 1 {
		t.Errorf("%q for one key", acts)
	}
	if status, answer, _ := s.call(t, "POST", "resident:/v1/grants", `{"doors":["front"],"not_after":"2091-01-01T00:00:00Z"}`, "Idempotency-Key", "k1"); status != 409 {
		t.Errorf("another body: %d %s", status, answer)
	}
	if status, _, _ := s.call(t, "POST", "/v1/grants", body, "Idempotency-Key", "k1"); status != 201 || len(s.fake.Acts()) != 2 {
		t.Errorf("another caller's key is the same: %d %q", status, s.fake.Acts())
	}
	if status, _, _ := s.call(t, "POST", "/v1/grants", body, "Idempotency-Key", strings.Repeat("k", 65)); status != 400 {
		t.Errorf("a key of 65 characters: %d", status)
	}
	for range 2 {
		s.call(t, "POST", "stranger:/v1/nonces", "", "Idempotency-Key", "k2")
	}
	if n := s.fake.Remembered(); n != 2 {
		t.Errorf("%d answers are remembered, want those of two callers", n)
	}
}
