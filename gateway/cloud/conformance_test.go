package cloud_test

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"gardien/gateway"
	"gardien/gateway/cloud"
	"gardien/gateway/web/webtest"
)

// served is the service on a fake's mailbox.
type served struct {
	fake   *cloud.Fake
	text   *webtest.Conformance
	client *http.Client
	url    string
}

func serve(t *testing.T) *served {
	t.Helper()
	s := &served{fake: &cloud.Fake{}}
	stop := make(chan struct{})
	service := cloud.New(cloud.Opts{Mailbox: s.fake.Mailbox(), Tokens: cloud.FakeTokens{}, Log: slog.New(slog.DiscardHandler), Stop: stop})
	ctx, cancel := context.WithCancel(context.Background())
	ended := make(chan error, 1)
	go func() { ended <- service.Run(ctx) }()
	srv := httptest.NewServer(service)
	t.Cleanup(func() {
		close(stop)
		srv.Close()
		cancel()
		if err := <-ended; err != nil {
			t.Error(err)
		}
	})
	s.url, s.text = srv.URL, webtest.New(t, srv.Client(), srv.URL)
	s.client = s.text.Client(srv.Client())
	return s
}

const (
	anyone = ""
	gw     = string(cloud.FakeGateway)
	iss    = string(cloud.FakeIssuer)
	other  = string(cloud.FakeOther)
)

func (s *served) call(t *testing.T, who, method, path, body string, headers ...string) (status int, answer string, header http.Header) {
	t.Helper()
	if who != anyone {
		headers = append([]string{"Authorization", "Bearer " + who}, headers...)
	}
	return webtest.Call(t, s.client, method, s.url+path, body, "event: head", headers...)
}

var (
	mailbox = "/v1/gateways/" + gw
	item    = mailbox + "/items/" + gateway.ItemID(cloud.FakeIssuer, "g1")
	written = `{"kind":"grant","ver":%d,"exp":1900000000,"body":"%s"}`
)

// each is one request of every route for each of its answers, in this order.
var each = []struct {
	who, method, path, body string
	status                  int
	say                     string
}{
	{anyone, "GET", "/v1/openapi.json", "", 200, `"3.1.0"`},
	{anyone, "POST", "/v1/gateways", `{"code":"good","descriptor":"` + gw + `"}`, 201, gw},
	{anyone, "POST", "/v1/gateways", `{"code":"guess","descriptor":"` + gw + `"}`, 403, "bad-code"},
	{anyone, "POST", "/v1/gateways", `{"code":"taken","descriptor":"` + gw + `"}`, 409, "other-key"},
	{anyone, "POST", "/v1/gateways", `{"code":"good","descriptor":"rubbish"}`, 400, "not signed"},
	{gw, "PUT", mailbox, `{"descriptor":"` + gw + `","tomorrow":[1]}`, 200, gw},
	{gw, "PUT", mailbox, `{"descriptor":"taken ` + gw + `"}`, 409, "other-key"},
	{gw, "PUT", mailbox, `{"descriptor":"gw-bbbbbbbbbb"}`, 400, "that of gw-bbbbbbbbbb"},
	{iss, "GET", mailbox, "", 200, `"descriptor"`},
	{other, "GET", mailbox, "", 404, "for you"},
	{iss, "PUT", item, fmt.Sprintf(written, 2, "sealed"), 201, `"seq":1`},
	{iss, "PUT", item, fmt.Sprintf(written, 2, "sealed"), 200, `"seq":1`},
	{iss, "PUT", item, fmt.Sprintf(written, 2, "another"), 409, `"ver":2`},
	{iss, "PUT", item, fmt.Sprintf(written, 1, "sealed"), 409, "version-conflict"},
	{other, "PUT", item, fmt.Sprintf(written, 3, "sealed"), 403, "not-owner"},
	{iss, "PUT", strings.Replace(item, gw, "gw-bbbbbbbbbb", 1), fmt.Sprintf(written, 1, "sealed"), 404, "for you"},
	{iss, "PUT", item, fmt.Sprintf(written, 3, strings.Repeat("x", 8193)), 413, "8192"},
	{iss, "PUT", mailbox + "/items/short", fmt.Sprintf(written, 1, "x"), 400, "22 characters"},
	{iss, "PUT", item, `{"kind":"grant","ver":0,"exp":1900000000,"body":"x"}`, 400, "from 1 on"},
	{iss, "PUT", item, `{"kind":"grant","ver":3,"exp":1,"body":"x"}`, 400, "2020 to 2100"},
	{gw, "GET", mailbox + "/feed?epoch=e1&after=0", "", 200, "event: item"},
	{gw, "GET", mailbox + "/feed?epoch=e0&after=0", "", 410, `"epoch":"e1"`},
	{gw, "GET", mailbox + "/feed?epoch=e1&after=x", "", 400, "from 0 on"},
	{gw, "GET", mailbox + "/snapshot", "", 200, "sealed"},
	{gw, "POST", mailbox + "/events", `{"log":"l","events":[{"seq":1,"to":"` + iss + `","body":"b"}]}`, 200, `"ack":1`},
	{gw, "POST", mailbox + "/events", `{"log":"l","events":[{"seq":9,"to":"` + iss + `","body":"b"}]}`, 409, `"expect":2`},
	{gw, "POST", mailbox + "/events", `{"log":"","events":[]}`, 400, "log"},
	{anyone, "POST", "/v1/issuers", `{"code":"good","iss":"` + iss + `","jwks":{"keys":[]}}`, 201, iss},
	{anyone, "POST", "/v1/issuers", `{"code":"guess","iss":"` + iss + `","jwks":{"keys":[]}}`, 403, "bad-code"},
	{anyone, "POST", "/v1/issuers", `{"code":"taken","iss":"` + iss + `","jwks":{"keys":[]}}`, 409, "other-key"},
	{anyone, "POST", "/v1/issuers", `{"code":"good","iss":"home","jwks":{"keys":[]}}`, 400, "issuer's id"},
	{iss, "PUT", "/v1/issuers/" + iss, `{"jwks":{"keys":[]}}`, 200, iss},
	{iss, "PUT", "/v1/issuers/" + iss, `{"jwks":{}}`, 400, "jwks"},
	{iss, "GET", "/v1/issuers/" + iss + "/feed?after=0", "", 200, "event: event"},
	{iss, "GET", "/v1/issuers/" + iss + "/feed?after=head", "", 200, "event: presence"},
	{iss, "GET", "/v1/issuers/" + iss + "/gateways", "", 200, gw},
}

// TestConformance: every route gives every answer that the OpenAPI text names, as the text says.
func TestConformance(t *testing.T) {
	s := serve(t)
	for _, tt := range each {
		status, answer, _ := s.call(t, tt.who, tt.method, tt.path, tt.body)
		if status != tt.status || !strings.Contains(answer, tt.say) {
			t.Errorf("%s %s %s: %d %s, want %d with %q", tt.who, tt.method, tt.path, status, answer, tt.status, tt.say)
		}
	}
	status, answer, _ := s.call(t, gw, "GET", mailbox+"/feed?epoch=e1&after=0&wait=1", "", "Accept", "application/json")
	if status != 200 || !strings.Contains(answer, `"items":[{"seq":1`) {
		t.Errorf("a long poll: %d %s", status, answer)
	}
	s.text.Complete()
}

// TestRefusals: every route refuses a stranger, an assertion that is over, somebody else's
// principal, another method, and a body that is too large, of another type, or of two meanings.
func TestRefusals(t *testing.T) {
	s := serve(t)
	for _, o := range s.text.Operations() {
		path := strings.NewReplacer("{gw}", gw, "{iss}", iss, "{id}", gateway.ItemID(cloud.FakeIssuer, "g1")).Replace(o.Path)
		refused := func(what string, want int, who, method, path, body string, headers ...string) {
			t.Helper()
			status, answer, header := s.call(t, who, method, path, body, headers...)
			if status != want || header.Get("Content-Type") != "application/problem+json" || !strings.Contains(answer, "urn:gardien:problem:") {
				t.Errorf("%s %s, %s: %d %s, want a problem of status %d", method, path, what, status, answer, want)
			}
		}
		me := anyone
		if !o.Open {
			me = gw // whose route is it?
			if status, _, _ := s.call(t, gw, o.Method, path, "{}"); status == 404 {
				me = iss
			}
			stranger := map[string]string{gw: "gw-bbbbbbbbbb", iss: "unknown.example"}[me]
			refused("nobody", 401, anyone, o.Method, path, "{}")
			refused("rubbish", 401, "rubbish", o.Method, path, "{}")
			refused("not enrolled", 401, stranger, o.Method, path, "{}")
			refused("an assertion that is over", 401, "late "+me, o.Method, path, "{}")
			refused("neither gateway nor issuer", 401, "NOBODY", o.Method, path, "{}")
			refused("the other kind of principal", 404, map[string]string{gw: iss, iss: gw}[me], o.Method, path, "{}")
			if strings.Contains(o.Path, "{iss}") {
				refused("another issuer", 404, other, o.Method, path, "{}")
			}
			s.fake.Fail(errors.New("the database is away"))
			refused("a database that is away", 503, me, o.Method, path, "{}")
		}
		refused("another method", 405, me, "PATCH", path, "")
		if !o.Body {
			continue
		}
		refused("a body of another type", 415, me, o.Method, path, "{}", "Content-Type", "text/plain")
		refused("a body too large", 413, me, o.Method, path, `{"x":"`+strings.Repeat("x", gateway.MaxUpload)+`"}`)
		for _, body := range []string{"{", "[]", "null", `{} {}`, `{"x":1,"x":1}`, `{"x":"\ud800"}`, `{}`} {
			refused("the body "+body, 400, me, o.Method, path, body)
		}
	}
	if status, _, _ := s.call(t, anyone, "GET", "/v1/nothing", ""); status != 404 {
		t.Error(status)
	}
	if status, _, _ := s.call(t, anyone, "DELETE", "/healthz", ""); status != 405 {
		t.Error(status)
	}
}

// TestTooMany: a principal has its bounds, and another does not feel them.
func TestTooMany(t *testing.T) {
	s := serve(t)
	var open []*http.Response
	defer func() {
		for _, r := range open {
			r.Body.Close()
		}
	}()
	for n := range 5 {
		q, err := http.NewRequest("GET", s.url+mailbox+"/feed?epoch=e1&after=0", nil)
		if err != nil {
			t.Fatal(err)
		}
		q.Header.Set("Authorization", "Bearer "+gw)
		res, err := s.client.Do(q)
		if err != nil {
			t.Fatal(err)
		}
		open = append(open, res)
		if want := map[bool]int{true: 200, false: 429}[n < 4]; res.StatusCode != want || want == 429 && res.Header.Get("Retry-After") == "" {
			t.Errorf("feed number %d of a gateway: %d, want %d", n+1, res.StatusCode, want)
		}
	}
	if status, _, _ := s.call(t, iss, "GET", "/v1/issuers/"+iss+"/feed?after=0", ""); status != 200 {
		t.Errorf("an issuer's feed beside it: %d", status)
	}
	refused := 0
	for range 800 {
		if status, _, _ := s.call(t, gw, "GET", mailbox+"/snapshot", ""); status == 429 {
			refused++
		}
	}
	if refused == 0 {
		t.Error("800 requests of one gateway at once were taken")
	}
	if status, _, _ := s.call(t, iss, "GET", mailbox, ""); status != 200 {
		t.Errorf("an issuer beside it: %d", status)
	}
}

// TestLongPoll: with nothing to say, a poll is answered when its time is over, and at most after
// 55 s.
func TestLongPoll(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		service := cloud.New(cloud.Opts{Mailbox: (&cloud.Fake{}).Mailbox(), Tokens: cloud.FakeTokens{}, Log: slog.New(slog.DiscardHandler)})
		for wait, want := range map[int]time.Duration{0: 0, 20: 20 * time.Second, 300: 55 * time.Second} {
			q := httptest.NewRequest("GET", fmt.Sprintf("%s/feed?epoch=e1&after=0&wait=%d", mailbox, wait), nil)
			q.Header.Set("Authorization", "Bearer "+gw)
			q.Header.Set("Accept", "application/json")
			begun, w := time.Now(), httptest.NewRecorder()
			service.ServeHTTP(w, q)
			if took := time.Since(begun); w.Code != 200 || took != want || !strings.Contains(w.Body.String(), `"items":[]`) {
				t.Errorf("wait %d: %d %s after %s, want it after %s", wait, w.Code, w.Body, took, want)
			}
		}
	})
}
