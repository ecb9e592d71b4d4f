package service

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"gardien/gateway"
	"gardien/gateway/cloud"
	"gardien/gateway/tokens"
	"gardien/store/mailbox"
)

var quiet = slog.New(slog.DiscardHandler)

// bench is a running service, seen as a stranger sees it: over HTTP.
type bench struct {
	t       testing.TB
	url     string
	box     *mailbox.Box
	stop    func()
	gateway *tokens.Identity
	issuer  *tokens.SigningKey
	jwks    []byte
}

const iss gateway.IssuerID = "colis-x.example"

func start(t testing.TB, o Options) *bench {
	t.Helper()
	b := &bench{t: t}
	ctx, cancel := context.WithCancel(context.Background())
	ready, done := make(chan *Running, 1), make(chan error, 1)
	if o.DB == "" {
		o.DB = filepath.Join(t.TempDir(), "mail.db")
	}
	o.Listen, o.Log, o.Ready = "127.0.0.1:0", quiet, func(r *Running) { ready <- r }
	go func() { done <- Run(ctx, o) }()
	select {
	case r := <-ready:
		b.url, b.box = r.URL, r.Box
	case err := <-done:
		t.Fatal(err)
	}
	stopped := false
	b.stop = func() {
		if !stopped {
			stopped = true
			cancel()
			if err := <-done; err != nil {
				t.Errorf("the service ended with %v", err)
			}
		}
	}
	t.Cleanup(b.stop)
	var err error
	if b.gateway, err = tokens.LoadIdentity(t.TempDir()); err == nil {
		if b.issuer, err = tokens.GenerateES256(); err == nil {
			b.jwks, err = tokens.MarshalKeySet(b.issuer.PublicKey, nil)
		}
	}
	if err != nil {
		t.Fatal(err)
	}
	return b
}

func (b *bench) code(kind, id string) string {
	code := gateway.NewJTI()
	if err := b.box.AddCode(context.Background(), kind, id, gateway.NewSecret(code), time.Now().Add(time.Hour)); err != nil {
		b.t.Fatal(err)
	}
	return code
}

func (b *bench) descriptor(issuers ...gateway.IssuerID) string {
	d, err := b.gateway.SignDescriptor([]gateway.DoorID{"front"}, issuers, "Europe/Paris", time.Now())
	if err != nil {
		b.t.Fatal(err)
	}
	return d
}

func (b *bench) token(key *tokens.SigningKey, who string) string {
	text, err := tokens.SignAssertion(key, who, b.url, time.Now())
	if err != nil {
		b.t.Fatal(err)
	}
	return text
}

func (b *bench) asGateway() string { return b.token(b.gateway.Signing, string(b.gateway.ID)) }
func (b *bench) asIssuer() string  { return b.token(b.issuer, string(iss)) }

// call does a request and gives status and body as JSON.
func (b *bench) call(method, path, token string, in any) (int, map[string]any) {
	b.t.Helper()
	status, _, body := b.raw(method, path, token, "application/json", in)
	var m map[string]any
	if len(body) > 0 {
		if err := json.Unmarshal(body, &m); err != nil {
			b.t.Fatalf("%s %s: %d %q", method, path, status, body)
		}
	}
	return status, m
}

func (b *bench) raw(method, path, token, accept string, in any) (int, http.Header, []byte) {
	b.t.Helper()
	var body io.Reader
	if in != nil {
		text, err := json.Marshal(in)
		if err != nil {
			b.t.Fatal(err)
		}
		body = bytes.NewReader(text)
	}
	req, err := http.NewRequest(method, b.url+path, body)
	if err != nil {
		b.t.Fatal(err)
	}
	req.Header.Set("Content-Type", "application/json")
	req.Header.Set("Accept", accept)
	if token != "" {
		req.Header.Set("Authorization", "Bearer "+token)
	}
	res, err := http.DefaultClient.Do(req)
	if err != nil {
		b.t.Fatal(err)
	}
	defer res.Body.Close()
	text, err := io.ReadAll(res.Body)
	if err != nil {
		b.t.Fatal(err)
	}
	return res.StatusCode, res.Header, text
}

// enrol enrols the gateway and the issuer.
func (b *bench) enrol() {
	b.t.Helper()
	status, m := b.call("POST", "/v1/gateways", "", cloud.GatewayEnrolment{Code: b.code("gateway", string(b.gateway.ID)), Descriptor: b.descriptor(iss)})
	if status != 201 || m["id"] != string(b.gateway.ID) {
		b.t.Fatalf("enrolment of the gateway: %d %v", status, m)
	}
	status, m = b.call("POST", "/v1/issuers", "", cloud.IssuerEnrolment{Code: b.code("issuer", string(iss)), Iss: iss, JWKS: b.jwks})
	if status != 201 || m["id"] != string(iss) {
		b.t.Fatalf("enrolment of the issuer: %d %v", status, m)
	}
}

func (b *bench) path(rest string) string { return "/v1/gateways/" + string(b.gateway.ID) + rest }

func itemPath(jti string) string { return "/items/" + gateway.ItemID(iss, jti) }

func write(ver int64, body string) cloud.ItemWrite {
	return cloud.ItemWrite{Kind: "grant", Ver: ver, Exp: gateway.Midnight(time.Now().Unix() + 1), Body: body}
}

// Every call of contract §4, and what it refuses.
func TestContract(t *testing.T) {
	b := start(t, Options{})
	gw := string(b.gateway.ID)
	want := func(what string, status int, m map[string]any, wantStatus int) {
		t.Helper()
		if status != wantStatus {
			t.Errorf("%s: %d %v, want %d", what, status, m, wantStatus)
		}
	}
	s, m := b.call("POST", "/v1/gateways", "", cloud.GatewayEnrolment{Code: "wrong", Descriptor: b.descriptor(iss)})
	want("a wrong code", s, m, 403)
	s, m = b.call("POST", "/v1/gateways", "", cloud.GatewayEnrolment{Code: b.code("gateway", gw), Descriptor: "rubbish"})
	want("no descriptor", s, m, 400)
	b.enrol()
	other, err := tokens.GenerateES256()
	if err != nil {
		t.Fatal(err)
	}
	otherJWKS, err := tokens.MarshalKeySet(other.PublicKey, nil)
	if err != nil {
		t.Fatal(err)
	}
	s, m = b.call("POST", "/v1/issuers", "", cloud.IssuerEnrolment{Code: b.code("issuer", string(iss)), Iss: iss, JWKS: otherJWKS})
	want("another key", s, m, 409)
	for _, id := range []gateway.IssuerID{"home", "UPPER", "", gateway.IssuerID(gw)} {
		s, m = b.call("POST", "/v1/issuers", "", cloud.IssuerEnrolment{Code: "c", Iss: id, JWKS: b.jwks})
		want("issuer "+string(id), s, m, 400)
	}

	// Who speaks.
	for what, token := range map[string]string{"nobody": "", "rubbish": "a.b.c", "another's key": b.token(other, gw), "not enrolled": b.token(other, "unknown.example"),
		"a gateway that is not enrolled": b.token(other, "gw-aaaaaaaaaa")} {
		for _, path := range []string{"/feed?epoch=&after=0", "/snapshot"} {
			status, head, body := b.raw("GET", b.path(path), token, "application/json", nil)
			if status != 401 || head.Get("WWW-Authenticate") == "" || head.Get("Content-Type") != "application/problem+json" {
				t.Errorf("%s: %d %v %s", what, status, head, body)
			}
		}
	}
	elsewhere, err := tokens.SignAssertion(b.gateway.Signing, gw, "https://other.example", time.Now())
	if err != nil {
		t.Fatal(err)
	}
	s, m = b.call("GET", b.path("/snapshot"), elsewhere, nil)
	want("for another cloud", s, m, 401)
	late, err := tokens.SignAssertion(b.gateway.Signing, gw, b.url, time.Now().Add(-10*time.Minute))
	if err != nil {
		t.Fatal(err)
	}
	s, m = b.call("GET", b.path("/snapshot"), late, nil)
	want("an old assertion", s, m, 401)
	s, m = b.call("GET", "/v1/gateways/gw-aaaaaaaaaa/snapshot", b.asGateway(), nil)
	want("another gateway's", s, m, 404)
	s, m = b.call("GET", b.path("/snapshot"), b.asIssuer(), nil)
	want("an issuer's look at a mailbox", s, m, 404)
	s, m = b.call("GET", "/v1/issuers/other.example/feed", b.asIssuer(), nil)
	want("another issuer's feed", s, m, 404)
	s, m = b.call("GET", "/v1/gateways/gw-aaaaaaaaaa", b.asIssuer(), nil)
	want("a gateway that does not listen", s, m, 404)
	s, m = b.call("PUT", "/v1/gateways/gw-aaaaaaaaaa"+itemPath("a"), b.asIssuer(), write(1, "x"))
	want("an item for it", s, m, 404)
	if s, m = b.call("GET", b.path(""), b.asIssuer(), nil); s != 200 || m["id"] != gw || m["descriptor"] == "" {
		t.Errorf("the descriptor: %d %v", s, m)
	}

	// Items.
	if s, m = b.call("PUT", b.path(itemPath("a")), b.asIssuer(), write(2, "sealed")); s != 201 || m["seq"] != 1.0 {
		t.Errorf("new: %d %v", s, m)
	}
	if s, m = b.call("PUT", b.path(itemPath("a")), b.asIssuer(), write(2, "sealed")); s != 200 || m["seq"] != 1.0 {
		t.Errorf("the same: %d %v", s, m)
	}
	for _, w := range []cloud.ItemWrite{write(2, "other"), write(1, "sealed")} {
		if s, m = b.call("PUT", b.path(itemPath("a")), b.asIssuer(), w); s != 409 || m["ver"] != 2.0 {
			t.Errorf("version %d: %d %v", w.Ver, s, m)
		}
	}
	for what, w := range map[string]cloud.ItemWrite{"ver 0": write(0, "x"), "no body": write(1, ""), "no kind": {Ver: 1, Exp: 1900000000, Body: "x"},
		"exp in milliseconds": {Kind: "grant", Ver: 1, Exp: 1900000000000, Body: "x"}, "an old command": {Kind: "command", Ver: 1, Exp: time.Now().Unix() - 1, Body: "x"},
		"a command of an hour": {Kind: "command", Ver: 1, Exp: time.Now().Unix() + 3600, Body: "x"}} {
		s, m = b.call("PUT", b.path(itemPath("b")), b.asIssuer(), w)
		want(what, s, m, 400)
	}
	s, m = b.call("PUT", b.path(itemPath("b")), b.asIssuer(), write(1, strings.Repeat("x", 8193)))
	want("8,193 bytes", s, m, 413)
	s, m = b.call("PUT", b.path(itemPath("b")), b.asIssuer(), write(1, strings.Repeat("x", 8192)))
	want("8,192 bytes", s, m, 201)
	s, m = b.call("PUT", b.path("/items/short"), b.asIssuer(), write(1, "x"))
	want("a short id", s, m, 400)
	s, m = b.call("PUT", b.path(itemPath("horoscope")), b.asIssuer(), cloud.ItemWrite{Kind: "horoscope", Ver: 1, Exp: 1900000000, Body: "x"})
	want("a kind of tomorrow", s, m, 201)

	// Down.
	s, snap := b.call("GET", b.path("/snapshot"), b.asGateway(), nil)
	if s != 200 || snap["head"] != 3.0 || len(snap["items"].([]any)) != 3 {
		t.Fatalf("snapshot: %d %v", s, snap)
	}
	epoch := snap["epoch"].(string)
	for what, query := range map[string]string{"no epoch": "?after=0", "another epoch": "?epoch=x&after=0"} {
		if s, m = b.call("GET", b.path("/feed"+query), b.asGateway(), nil); s != 410 || m["epoch"] != epoch || m["head"] != 3.0 || m["floor"] != 0.0 {
			t.Errorf("%s: %d %v", what, s, m)
		}
	}
	s, m = b.call("GET", b.path("/feed?epoch="+epoch+"&after=x"), b.asGateway(), nil)
	want("after=x", s, m, 400)
	if s, m = b.call("GET", b.path("/feed?epoch="+epoch+"&after=1"), b.asGateway(), nil); s != 200 || len(m["items"].([]any)) != 2 || m["digest"] != snap["digest"] {
		t.Errorf("poll: %d %v", s, m)
	}
	began := time.Now()
	if s, m = b.call("GET", b.path("/feed?epoch="+epoch+"&after=3&wait=1"), b.asGateway(), nil); s != 200 || len(m["items"].([]any)) != 0 || time.Since(began) < 900*time.Millisecond {
		t.Errorf("a poll with nothing to say: %d %v after %s", s, m, time.Since(began))
	}
	if s, m = b.call("GET", b.path("/feed?epoch="+epoch+"&after=99"), b.asGateway(), nil); s != 410 || m["epoch"] == epoch || m["head"] != 99.0 {
		t.Errorf("more than there is: %d %v", s, m)
	}

	// Up.
	up := func(log string, seqs ...int64) gateway.Upload {
		u := gateway.Upload{Log: log, Letters: []gateway.Letter{}}
		for _, n := range seqs {
			u.Letters = append(u.Letters, gateway.Letter{Seq: n, To: iss, Body: fmt.Sprint("letter ", n)})
		}
		return u
	}
	for _, c := range []struct {
		u      gateway.Upload
		status int
		member string
		value  any
	}{{up("l"), 200, "ack", 0.0}, {up("l", 1, 2), 200, "ack", 2.0}, {up("l", 1, 2, 3), 200, "ack", 3.0}, {up("l", 5), 409, "expect", 4.0}, {up("m", 1), 200, "ack", 1.0},
		{up("", 1), 400, "status", 400.0}, {up("l", 0), 400, "status", 400.0}} {
		if s, m = b.call("POST", b.path("/events"), b.asGateway(), c.u); s != c.status || m[c.member] != c.value {
			t.Errorf("%+v: %d %v", c.u, s, m)
		}
	}
	many := up("l")
	for n := range int64(201) {
		many.Letters = append(many.Letters, gateway.Letter{Seq: n + 4, To: iss, Body: "x"})
	}
	s, m = b.call("POST", b.path("/events"), b.asGateway(), many)
	want("201 events", s, m, 400)
	big := up("l")
	for n := range int64(150) {
		big.Letters = append(big.Letters, gateway.Letter{Seq: n + 4, To: iss, Body: strings.Repeat("x", 8192)})
	}
	s, m = b.call("POST", b.path("/events"), b.asGateway(), big)
	want("more than 1 MB", s, m, 413)

	if s, m = b.call("PUT", b.path(""), b.asGateway(), cloud.GatewayUpdate{Descriptor: b.descriptor()}); s != 200 {
		t.Errorf("a new descriptor: %d %v", s, m)
	}
	s, m = b.call("PUT", b.path(itemPath("a")), b.asIssuer(), write(9, "x"))
	want("no longer on the list", s, m, 404)
	if s, m = b.call("GET", "/healthz", "", nil); s != 200 {
		t.Errorf("healthz: %d %v", s, m)
	}
	if s, _, body := b.raw("GET", "/metrics", "", "text/plain", nil); s != 200 || !bytes.Contains(body, []byte("gardien_cloud_requests_total")) || bytes.Contains(body, []byte(gw)) {
		t.Errorf("metrics: %d %.200s", s, body)
	}
	s, m = b.call("GET", "/v1/nosuch", b.asGateway(), nil)
	want("no such route", s, m, 404)
}

// transcript reads a stream's lines until one that ends it, times and ids of a run made equal.
func (b *bench) transcript(path, token string, last *regexp.Regexp, during func()) (lines []string) {
	b.t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), 20*time.Second)
	defer cancel()
	req, err := http.NewRequestWithContext(ctx, "GET", b.url+path, nil)
	if err != nil {
		b.t.Fatal(err)
	}
	req.Header.Set("Authorization", "Bearer "+token)
	res, err := http.DefaultClient.Do(req)
	if err != nil {
		b.t.Fatal(err)
	}
	defer res.Body.Close()
	if res.StatusCode != 200 || res.Header.Get("Content-Type") != "text/event-stream" {
		b.t.Fatalf("%s: %d %v", path, res.StatusCode, res.Header)
	}
	in := bufio.NewScanner(res.Body)
	for first := true; in.Scan(); {
		line := regexp.MustCompile(`\d{4}-\d\d-\d\dT[0-9:]+Z`).ReplaceAllString(in.Text(), "TIME")
		lines = append(lines, line)
		if first && line == "" && during != nil {
			first = false
			during()
		}
		if last.MatchString(line) {
			return lines
		}
	}
	b.t.Fatalf("the stream ended: %v %v", lines, in.Err())
	return nil
}

// The streams, word for word.
func TestTranscripts(t *testing.T) {
	b := start(t, Options{})
	b.enrol()
	gw := string(b.gateway.ID)
	put := func(jti string, ver int64) {
		if s, m := b.call("PUT", b.path(itemPath(jti)), b.asIssuer(), cloud.ItemWrite{Kind: "grant", Ver: ver, Exp: 1900022400, Body: "sealed"}); s != 201 {
			t.Fatal(s, m)
		}
	}
	put("a", 1)
	_, snap := b.call("GET", b.path("/snapshot"), b.asGateway(), nil)
	epoch := snap["epoch"].(string)
	a1 := gateway.Item{ID: gateway.ItemID(iss, "a"), Kind: "grant", Ver: 1, Exp: 1900022400, Body: "sealed"}
	a2 := a1
	a2.Ver = 2
	digest := func(i gateway.Item) string {
		text, err := gateway.DigestOf([]gateway.Item{i}).MarshalText()
		if err != nil {
			t.Fatal(err)
		}
		return string(text)
	}
	got := b.transcript(b.path("/feed?epoch="+epoch+"&after=0"), b.asGateway(), regexp.MustCompile(`"head":2`), func() { put("a", 2) })
	want := []string{
		"id: 1", "event: item", `data: {"seq":1,"id":"` + a1.ID + `","kind":"grant","ver":1,"exp":1900022400,"body":"sealed"}`, "",
		"event: head", `data: {"epoch":"` + epoch + `","head":1,"floor":0,"digest":"` + digest(a1) + `","time":"TIME"}`, "",
		"id: 2", "event: item", `data: {"seq":2,"id":"` + a1.ID + `","kind":"grant","ver":2,"exp":1900022400,"body":"sealed"}`, "",
		"event: head", `data: {"epoch":"` + epoch + `","head":2,"floor":0,"digest":"` + digest(a2) + `","time":"TIME"}`,
	}
	if d := cmp.Diff(want, got); d != "" {
		t.Error(d)
	}
	if s, m := b.call("POST", b.path("/events"), b.asGateway(), gateway.Upload{Log: "l", Letters: []gateway.Letter{{Seq: 1, To: iss, Body: "letter"}}}); s != 200 {
		t.Fatal(s, m)
	}
	got = b.transcript("/v1/issuers/"+string(iss)+"/feed?after=0", b.asIssuer(), regexp.MustCompile(`"head":1`), nil)
	got = slices.DeleteFunc(got, func(s string) bool { return strings.Contains(s, `"online":`) })
	want = []string{"id: 1", "event: event", `data: {"seq":1,"gateway":"` + gw + `","body":"letter"}`, "", "event: presence", "",
		"event: head", `data: {"head":1,"time":"TIME"}`}
	if d := cmp.Diff(want, got); d != "" {
		t.Error(d)
	}
	// Who comes with after=head hears only what is to come; streams hear that the service goes.
	go func() { <-time.After(300 * time.Millisecond); b.stop() }()
	got = b.transcript("/v1/issuers/"+string(iss)+"/feed?after=head", b.asIssuer(), regexp.MustCompile(`retry_ms`), nil)
	if slices.ContainsFunc(got, func(s string) bool { return strings.Contains(s, "letter") }) || !slices.Contains(got, "event: goaway") {
		t.Errorf("%q", got)
	}
}

// The OpenAPI text and the handlers agree: each of its operations is served, each route
// is in it, and each answer of the contract test's kind has the members that it names.
func TestOpenAPI(t *testing.T) {
	b := start(t, Options{})
	b.enrol()
	status, doc := b.call("GET", "/v1/openapi.json", "", nil)
	if status != 200 || doc["openapi"] != "3.1.0" {
		t.Fatal(status, doc)
	}
	source, err := os.ReadFile("../../../gateway/cloud/routes.go")
	if err != nil {
		t.Fatal(err)
	}
	var inCode []string
	for _, m := range regexp.MustCompile(`Method: "(\w+)", Path: "([^"]+)"`).FindAllStringSubmatch(string(source), -1) {
		inCode = append(inCode, m[1]+" "+m[2])
	}
	var inText []string
	schemas := doc["components"].(map[string]any)["schemas"].(map[string]any)
	for path, ops := range doc["paths"].(map[string]any) {
		for method := range ops.(map[string]any) {
			inText = append(inText, strings.ToUpper(method)+" "+path)
			url := strings.NewReplacer("{gw}", string(b.gateway.ID), "{id}", gateway.ItemID(iss, "a"), "{iss}", string(iss)).Replace(path)
			// Without authentication: 401 where it is needed, never 404 or 405.
			if s, _, body := b.raw(strings.ToUpper(method), url, "", "application/json", map[string]any{}); s == 404 || s == 405 {
				t.Errorf("%s %s: %d %s", method, path, s, body)
			}
		}
	}
	slices.Sort(inCode)
	slices.Sort(inText)
	if d := cmp.Diff(inCode, inText); d != "" {
		t.Error(d)
	}
	// Contract §4's calls are all there.
	for _, call := range []string{"POST /v1/gateways", "POST /v1/issuers", "GET /v1/gateways/{gw}/feed", "GET /v1/gateways/{gw}/snapshot", "POST /v1/gateways/{gw}/events",
		"GET /v1/gateways/{gw}", "PUT /v1/gateways/{gw}/items/{id}", "GET /v1/issuers/{iss}/feed", "PUT /v1/gateways/{gw}"} {
		if !slices.Contains(inText, call) {
			t.Errorf("%s is not in the text", call)
		}
	}
	holds := func(schema string, answer map[string]any) {
		t.Helper()
		s, ok := schemas[schema].(map[string]any)
		if !ok {
			t.Fatalf("no schema %s in %v", schema, schemas)
		}
		for _, name := range s["required"].([]any) {
			if _, ok := answer[name.(string)]; !ok {
				t.Errorf("%s: the answer %v has no %s", schema, answer, name)
			}
		}
		for name := range answer {
			if _, ok := s["properties"].(map[string]any)[name]; !ok {
				t.Errorf("%s: %s is in the answer and not in the text", schema, name)
			}
		}
	}
	_, m := b.call("PUT", b.path(itemPath("a")), b.asIssuer(), write(1, "x"))
	holds("Written", m)
	_, m = b.call("GET", b.path("/snapshot"), b.asGateway(), nil)
	holds("FeedSnapshot", m)
	_, m = b.call("GET", b.path("/feed?epoch="+m["epoch"].(string)+"&after=0"), b.asGateway(), nil)
	holds("FeedPage", m)
	_, m = b.call("POST", b.path("/events"), b.asGateway(), gateway.Upload{Log: "l", Letters: []gateway.Letter{}})
	holds("Acknowledged", m)
	_, m = b.call("GET", "/v1/issuers/"+string(iss)+"/gateways", b.asIssuer(), nil)
	holds("Fleet", m)
	_, m = b.call("GET", b.path(""), b.asIssuer(), nil)
	holds("GatewayDescriptor", m)
}

// Limits per principal: too many requests are told to wait, and hold nobody else up.
func TestLimits(t *testing.T) {
	var later atomic.Int64
	begun := time.Now()
	b := start(t, Options{Now: func() time.Time { return begun.Add(time.Duration(later.Load())) }})
	b.enrol()
	token, limited := b.asGateway(), 0
	client := httptest.NewServer(nil).Client()
	for range 700 {
		req, _ := http.NewRequest("GET", b.url+b.path("/snapshot"), nil)
		req.Header.Set("Authorization", "Bearer "+token)
		res, err := client.Do(req)
		if err != nil {
			t.Fatal(err)
		}
		io.Copy(io.Discard, res.Body)
		res.Body.Close()
		if res.StatusCode == 429 {
			limited++
			if res.Header.Get("Retry-After") == "" {
				t.Fatal("no Retry-After")
			}
		}
	}
	if limited != 200 {
		t.Errorf("700 requests in one instant, and %d were refused, want 200", limited)
	}
	if s, m := b.call("GET", b.path(""), b.asIssuer(), nil); s != 200 {
		t.Errorf("somebody else: %d %v", s, m)
	}
	ctx, cancel := context.WithCancel(context.Background())
	defer cancel()
	later.Store(int64(time.Second))
	statuses := map[int]int{}
	_, snap := b.call("GET", b.path("/feed?after=0"), b.asGateway(), nil)
	for range 6 {
		req, _ := http.NewRequestWithContext(ctx, "GET", b.url+b.path("/feed?after=0&epoch="+snap["epoch"].(string)), nil)
		req.Header.Set("Authorization", "Bearer "+token)
		res, err := http.DefaultClient.Do(req)
		if err != nil {
			t.Fatal(err)
		}
		statuses[res.StatusCode]++
	}
	if statuses[200] != 4 || statuses[429] != 2 {
		t.Errorf("feeds of one gateway: %v", statuses)
	}
}

func TestOrigins(t *testing.T) {
	for text, want := range map[string]string{"https://Cloud.Example": "https://cloud.example", "https://cloud.example:443/": "https://cloud.example",
		"http://127.0.0.1:80": "http://127.0.0.1", "https://cloud.example:8443": "https://cloud.example:8443"} {
		o := Options{Origin: text}
		if got, err := o.origins(); err != nil || len(got) != 1 || got[0] != want {
			t.Errorf("%s: %v, %v", text, got, err)
		}
	}
	for _, text := range []string{"cloud.example", "ftp://cloud.example", "https://cloud.example/path", "https://a:b@cloud.example"} {
		o := Options{Origin: text}
		if got, err := o.origins(); err == nil {
			t.Errorf("%s: %v", text, got)
		}
	}
	o := Options{Listen: "0.0.0.0:8420"}
	if _, err := o.tls(); err == nil || !strings.Contains(err.Error(), "without TLS") {
		t.Errorf("plain on every interface: %v", err)
	}
}
