package api_test

import (
	"fmt"
	"maps"
	"net/http"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"gardien/gateway/web/webtest"
)

// rights is who may call each route besides the socket, as people agreed on it (contract §5):
// r(esident), g(uest), i(nstaller), u(nconfirmed), * everybody. Routes of the socket alone have "".
var rights = map[string]string{
	"GET /v1/info":         "*",
	"GET /v1/openapi.json": "*",
	"GET /ca.crt":          "*",
	"GET /ca.mobileconfig": "*",
	"POST /v1/nonces":      "*",
	"POST /v1/mailbag":     "*",
	"POST /v1/pairing":     "*",

	"GET /v1/session":       "rgiu",
	"DELETE /v1/session":    "rgiu",
	"POST /v1/session/move": "rgi",

	"GET /v1/doors":                   "rgi",
	"GET /v1/doors/{door}":            "rgi",
	"POST /v1/doors/{door}/attempts":  "rg", // with {}: a grant is everybody's
	"POST /v1/doors/{door}/veto":      "r",
	"GET /v1/attempts/{id}":           "*",
	"POST /v1/attempts/{id}/approve":  "r",
	"POST /v1/attempts/{id}/deny":     "r",
	"POST /v1/readers/{reader}/lift":  "r",
	"GET /v1/status":                  "ri",
	"GET /v1/events":                  "rg",
	"GET /v1/events/stream":           "rg",
	"GET /v1/events/verification":     "r",
	"POST /v1/events/forget":          "r",
	"GET /v1/attempts/{id}/receipt":   "r", // with a proof: everybody's
	"GET /v1/grants":                  "r",
	"POST /v1/grants":                 "r",
	"GET /v1/grants/{id}":             "r",
	"DELETE /v1/grants/{id}":          "r",
	"GET /v1/grants/{id}/explanation": "r",
	"GET /v1/visits":                  "r",
	"GET /v1/issuers":                 "r",
	"POST /v1/issuers/{id}/pause":     "r",
	"POST /v1/issuers/{id}/resume":    "r",
	"POST /v1/pause":                  "r",
	"POST /v1/resume":                 "r",
	"GET /v1/residents":               "r",
	"DELETE /v1/residents/{id}":       "r",
	"POST /v1/residents/{id}/confirm": "r",
	"POST /v1/residents/{id}/duress":  "r",
	"GET /v1/descriptor":              "r",
	"POST /v1/clock/confirm":          "r",
	"GET /v1/health":                  "ri",
	"POST /v1/health/{key}/seen":      "r",

	"POST /v1/pairing/window":   "",
	"GET /v1/pairing/window":    "",
	"DELETE /v1/pairing/window": "",
	"POST /v1/cloud/enrolment":  "",
	"GET /v1/backup":            "",
	"POST /v1/restore":          "",
	"POST /v1/sim/contact":      "",
	"POST /v1/sim/keys":         "",
	"POST /v1/sim/scan":         "",
	"POST /v1/sim/rex":          "",
	"POST /v1/sim/fault":        "",
}

// TestRights: every route against everybody, with a bearer token and with a cookie: who may is let
// in, and all others are told what they lack. The OpenAPI text says the same.
func TestRights(t *testing.T) {
	s := serve(t)
	var have []string
	for _, o := range s.text.Operations() {
		route := o.Method + " " + o.Path
		have = append(have, route)
		may := rights[route]
		for _, who := range []struct{ letter, token, name string }{
			{"-", "", "a stranger"}, {"u", "newcomer", "one whom nobody confirmed"}, {"i", "installer", "an installer"},
			{"g", "guest", "a guest"}, {"r", "token", "a resident"},
		} {
			want := "in"
			switch {
			case may == "*" || strings.Contains(may, who.letter):
			case who.letter == "-" || may == "":
				want = "401 unauthorized"
			case who.letter == "u":
				want = "403 not-confirmed"
			default:
				want = "403 forbidden"
			}
			for _, by := range []string{"Authorization", "Cookie"} {
				if got := s.admitted(t, o, by, who.token); got != want {
					t.Errorf("%s, %s by %s: %s, want %s", route, who.name, by, got, want)
				}
			}
		}
		if got := s.admitted(t, o, "", "socket"); got != "in" && !strings.HasPrefix(o.Path, "/v1/session") {
			t.Errorf("%s, the socket: %s", route, got)
		}
		if got := letters(o.Roles); may != "*" && !slices.Contains([]string{"POST /v1/doors/{door}/attempts", "GET /v1/attempts/{id}/receipt"}, route) && got != may {
			t.Errorf("%s: the OpenAPI text says %q, want %q", route, got, may)
		}
	}
	if d := cmp.Diff(slices.Sorted(maps.Keys(rights)), slices.Sorted(slices.Values(have))); d != "" {
		t.Errorf("the table of this test has other routes than the API: %s", d)
	}
}

// letters writes roles as the table does.
func letters(roles []string) string {
	text := ""
	for _, r := range roles {
		if r != "console" {
			text += r[:1]
		}
	}
	return text
}

// admitted calls an operation, and tells whether it was let in.
func (s *served) admitted(t *testing.T, o webtest.Operation, by, token string) string {
	t.Helper()
	path, body := fill(o.Path), ""
	if o.Method != "GET" && o.Body {
		body = "{}"
	}
	client, url := s.there, s.base+path
	var headers []string
	switch {
	case token == "socket":
		client, url = s.here, "http://g"+path
	case token != "" && by == "Cookie":
		headers = []string{"Cookie", "__Host-gardien=" + token}
	case token != "":
		headers = []string{"Authorization", "Bearer " + token}
	}
	status, answer, header := webtest.Call(t, client, o.Method, url, body, "id: 3", headers...)
	for _, name := range []string{"unauthorized", "not-confirmed", "forbidden"} {
		if strings.Contains(answer, "urn:gardien:problem:"+name+`"`) {
			if name == "unauthorized" && header.Get("WWW-Authenticate") == "" {
				t.Errorf("%s %s: a 401 that does not say how to authenticate", o.Method, path)
			}
			return fmt.Sprintf("%d %s", status, name)
		}
	}
	return "in"
}

// TestGuestsSeeDoorsOnly: a guest sees what the doors do, and neither who did it nor all else.
func TestGuestsSeeDoorsOnly(t *testing.T) {
	s := serve(t)
	for _, path := range []string{"/v1/events", "/v1/events/stream"} {
		_, answer, _ := webtest.Call(t, s.remote, "GET", s.base+path, "", "door_opened", "Authorization", "Bearer guest")
		if !strings.Contains(answer, "door_opened") || strings.Contains(answer, "door_bell") || strings.Contains(answer, "colis") || strings.Contains(answer, "parcel") {
			t.Errorf("%s: %s", path, answer)
		}
	}
	if _, answer, _ := s.call(t, "GET", "guest:/v1/events?limit=2", ""); answer != `{"events":[],"next":2}`+"\n" {
		t.Errorf("a page of which a guest sees nothing: %s", answer)
	}
}

// TestActsAreProved: acts of a device that has a key carry its proof, by token and by cookie; its
// reading, a device without a key and the socket need none. It is asked before an Idempotency-Key is
// looked up.
func TestActsAreProved(t *testing.T) {
	s := serve(t)
	pause := s.base + "/v1/pause"
	for _, tt := range []struct {
		name, token, method, path, proof string
		status                           int
		challenge                        string
	}{
		{"reads", "bound", "GET", "/v1/grants", "", 200, ""},
		{"no proof", "bound", "POST", "/v1/pause", "", 401, `DPoP error="use_dpop_nonce"`},
		{"its proof", "bound", "POST", "/v1/pause", "proof POST " + pause, 204, ""},
		{"of another method", "bound", "POST", "/v1/pause", "proof GET " + pause, 401, `DPoP error="invalid_dpop_proof"`},
		{"of another route", "bound", "POST", "/v1/resume", "proof POST " + pause, 401, `DPoP error="invalid_dpop_proof"`},
		{"the query is no part of it", "bound", "POST", "/v1/pause?x=1", "proof POST " + pause, 204, ""},
		{"an escaped path", "bound", "DELETE", "/v1/grants/home%2Fg1", "proof DELETE " + s.base + "/v1/grants/home%2Fg1", 204, ""},
		{"no key", "token", "POST", "/v1/pause", "", 204, ""},
		{"opens", "bound", "POST", "/v1/doors/front/attempts", "", 401, `DPoP error="use_dpop_nonce"`},
		{"a grant is judged as that grant", "bound", "POST", "/v1/doors/front/attempts", `grant`, 200, ""},
		{"a mailbag is everybody's", "bound", "POST", "/v1/nonces", "", 201, ""},
	} {
		for _, by := range []string{"Authorization", "Cookie"} {
			headers := []string{by, "Bearer " + tt.token, "Idempotency-Key", "k"}
			if by == "Cookie" {
				headers[1] = "__Host-gardien=" + tt.token
			}
			body := ""
			if tt.proof == "grant" {
				body = `{"grant":"good"}`
			} else if tt.proof != "" {
				headers = append(headers, "DPoP", tt.proof)
			}
			status, answer, header := webtest.Call(t, s.remote, tt.method, s.base+tt.path, body, "", headers...)
			challenge := header.Get("WWW-Authenticate")
			if status != tt.status || challenge != tt.challenge || header.Get("DPoP-Nonce") == "" {
				t.Errorf("%s by %s: %d %s, %q, nonce %q", tt.name, by, status, answer, challenge, header.Get("DPoP-Nonce"))
			}
		}
	}
	if status, _, header := s.call(t, "POST", "/v1/pause", "", "Authorization", "Bearer bound"); status != 204 || header.Get("DPoP-Nonce") != "" {
		t.Errorf("at the socket: %d, nonce %q", status, header.Get("DPoP-Nonce"))
	}
}

// TestCookie: a browser's token is in a cookie that this host alone gets, over HTTPS, and no script
// reads. Routes without authentication ignore it; twice is not once.
func TestCookie(t *testing.T) {
	s := serve(t)
	_, answer, header := s.call(t, "POST", "stranger:/v1/pairing", `{"secret":"secret","name":"Bo","key":{},"cookie":true}`)
	if got := header.Get("Set-Cookie"); got != "__Host-gardien=token-2; Path=/; Max-Age=31536000; HttpOnly; Secure; SameSite=Strict" || strings.Contains(answer, "token-2") {
		t.Errorf("%q %s", got, answer)
	}
	if _, _, header := s.call(t, "POST", "stranger:/v1/pairing", `{"secret":"secret","name":"Bo"}`); header.Get("Set-Cookie") != "" {
		t.Errorf("%v", header)
	}
	if _, _, header := s.call(t, "DELETE", "guest:/v1/session", ""); !strings.Contains(header.Get("Set-Cookie"), "Max-Age=0") {
		t.Errorf("%v", header)
	}
	for path, want := range map[string]int{"stranger:/v1/info": 200, "stranger:/v1/nonces": 201, "stranger:/v1/doors": 401} {
		method := "GET"
		if want == 201 {
			method = "POST"
		}
		if status, _, _ := s.call(t, method, path, "", "Cookie", "__Host-gardien=nonsense"); status != want {
			t.Errorf("%s with a cookie of nobody: %d, want %d", path, status, want)
		}
	}
	if status, _, _ := s.call(t, "GET", "stranger:/v1/doors", "", "Cookie", "__Host-gardien=token; __Host-gardien=guest"); status != http.StatusUnauthorized {
		t.Errorf("two cookies: %d", status)
	}
}
