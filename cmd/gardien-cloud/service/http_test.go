package service

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"gardien/gateway"
	"gardien/gateway/cloud"
	"gardien/gateway/tokens"
)

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
