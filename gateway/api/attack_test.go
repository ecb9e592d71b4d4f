package api_test

import (
	"bufio"
	"context"
	"crypto/tls"
	"fmt"
	"io"
	"net"
	"net/http"
	"strings"
	"testing"
	"time"

	"gardien/gateway/web/webtest"
)

// raw speaks HTTP/1.1 over TLS, byte by byte, and gives the status lines and bodies that come back.
func (s *served) raw(t *testing.T, text string) string {
	t.Helper()
	conn, err := tls.Dial("tcp", s.lan.Address().String(), &tls.Config{InsecureSkipVerify: true, NextProtos: []string{"http/1.1"}})
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	conn.SetDeadline(time.Now().Add(20 * time.Second))
	if _, err := io.WriteString(conn, text); err != nil {
		t.Fatal(err)
	}
	b, _ := io.ReadAll(conn)
	return string(b)
}

// TestW1_Host: the own name, localhost and this machine's addresses, with any port, are answered;
// whatever else a page could make a browser say is not, whoever asks (DNS rebinding).
func TestW1_Host(t *testing.T) {
	s := serve(t)
	for host, want := range map[string]int{
		"gardien-aaaa.local": 200, "GARDIEN-aaaa.Local": 200, "gardien-aaaa.local.": 200, "gardien-aaaa.local:1": 200, "gardien-aaaa.local:": 400,
		"localhost": 200, "localhost:8443": 200, "127.0.0.1": 200, "127.0.0.1:80": 200, "[::1]:8443": 200, "[::1]": 200, "192.0.2.7:8443": 200,
		"[::ffff:192.0.2.7]": 200,

		"evil.example": 421, "evil.example:8443": 421, "gardien-aaab.local": 421, "gardien-aaaa": 421, "gardien-aaaa.local.evil.example": 421,
		"x.gardien-aaaa.local": 421, "192.0.2.8": 421, "[2001:db8::1]:8443": 421, "localhost.evil.example": 421, "127.0.0.1.nip.io": 421,
		"gardien-aaaa.local:x": 400, "0x7f000001": 421, "2130706433": 421,
	} {
		got := s.raw(t, "GET /v1/doors HTTP/1.1\r\nHost: "+host+"\r\nAuthorization: Bearer token\r\nConnection: close\r\n\r\n")
		if !strings.HasPrefix(got, fmt.Sprintf("HTTP/1.1 %d ", want)) && !(want == 400 && strings.HasPrefix(got, "HTTP/1.1 421 ")) && !(strings.HasSuffix(host, ":") && strings.HasPrefix(got, "HTTP/1.1 200 ")) {
			t.Errorf("Host %q: %.60q, want %d", host, got, want)
		}
		if want != 200 && strings.Contains(got, "Hausflur") {
			t.Errorf("Host %q sees the doors", host)
		}
	}
	for _, request := range []string{
		"GET https://evil.example/v1/doors HTTP/1.1\r\nHost: gardien-aaaa.local\r\nAuthorization: Bearer token\r\nConnection: close\r\n\r\n",
		"GET /v1/doors HTTP/1.0\r\nAuthorization: Bearer token\r\n\r\n",
		"GET /v1/doors HTTP/1.1\r\nHost: gardien-aaaa.local\r\nHost: evil.example\r\nConnection: close\r\n\r\n",
		"GET /v1/doors HTTP/1.1\r\nConnection: close\r\n\r\n",
	} {
		if got := s.raw(t, request); !strings.HasPrefix(got, "HTTP/1.1 4") && !strings.HasPrefix(got, "HTTP/1.0 4") {
			t.Errorf("%q: %.60q", request, got)
		}
	}
	for _, path := range []string{"/", "/v1/info", "/ca.crt", "/nothing"} {
		q, _ := http.NewRequest("GET", s.base+path, nil)
		q.Host = "evil.example"
		res, err := s.there.Do(q)
		if err != nil {
			t.Fatal(err)
		}
		res.Body.Close()
		if res.StatusCode != http.StatusMisdirectedRequest || res.ProtoMajor != 2 {
			t.Errorf("%s by HTTP/%d: %d", path, res.ProtoMajor, res.StatusCode)
		}
	}
}

// TestW2_Origin: a page of another origin calls nothing, whatever its method; the own one and those
// who are no page do.
func TestW2_Origin(t *testing.T) {
	s := serve(t)
	own := s.base
	for origin, want := range map[string]int{
		"": 204, own: 204, strings.ToUpper(own[:8]) + own[8:]: 204,
		"https://evil.example": 403, "null": 403, "http" + own[5:]: 403, "https://gardien-aaaa.local": 403, own + ".evil.example": 403,
		own + "/": 403, own + " ": 403, "https://gardien-aaaa.local:1": 403, "file://": 403, "https://localhost:8443": 403,
	} {
		headers := []string{"Cookie", "__Host-gardien=token", "Origin", origin}
		if origin == "" {
			headers = headers[:2]
		}
		if status, answer, _ := webtest.Call(t, s.there, "POST", s.base+"/v1/pause", "", "", headers...); status != want && !(origin == own+" " && status == 204) {
			t.Errorf("Origin %q: %d %s, want %d", origin, status, answer, want)
		}
	}
	if status, _, _ := webtest.Call(t, s.there, "GET", s.base+"/v1/doors", "", "", "Authorization", "Bearer token", "Origin", "https://evil.example"); status != 403 {
		t.Errorf("a foreign page reads: %d", status)
	}
	// Forms of other pages: no type of content that they can send is taken, and neither is what they send without one.
	before := len(s.fake.Acts())
	for _, kind := range []string{"application/x-www-form-urlencoded", "multipart/form-data; boundary=x", "text/plain", "text/plain; application/json", "application/jsonp"} {
		if status, _, _ := webtest.Call(t, s.there, "POST", s.base+"/v1/pause", `{"home":true}`, "", "Cookie", "__Host-gardien=token", "Content-Type", kind); status != 415 {
			t.Errorf("a form of type %s: %d", kind, status)
		}
	}
	// What changes something is no GET, whatever a header says.
	for _, header := range []string{"X-HTTP-Method-Override", "X-HTTP-Method", "X-Method-Override", "_method"} {
		for _, method := range []string{"GET", "POST"} {
			webtest.Call(t, s.there, method, s.base+"/v1/grants/home%2Fg1?_method=DELETE", "", "", "Cookie", "__Host-gardien=token", header, "DELETE")
		}
	}
	if acts := s.fake.Acts()[before:]; len(acts) > 0 {
		t.Errorf("done: %q", acts)
	}
}

// TestPathTricks: a path has one spelling. Another one is a problem of status 404, and leads nowhere.
func TestPathTricks(t *testing.T) {
	s := serve(t)
	for _, path := range []string{"//v1/doors", "/v1//doors", "/v1/./doors", "/v1/x/../doors", "/v1/doors/", "/v1/doors/front/../../status", "/V1/doors", "/v1/doors%2f", "/v1%2fdoors",
		"/v1/doors/front%2F..%2F..%2Fstatus", "/v1/info/../doors", "/v1/doors;x=1", "/v1/doors/.", "/%76%31//doors", "/v1/info/%2e%2e/doors", "/ca.crt/../v1/doors", "/v1/doors\\", "/v1/doors%00"} {
		got := s.raw(t, "GET "+path+" HTTP/1.1\r\nHost: gardien-aaaa.local\r\nAuthorization: Bearer token\r\nConnection: close\r\n\r\n")
		if !strings.HasPrefix(got, "HTTP/1.1 40") || strings.Contains(got, "secured") || strings.Contains(got, "Location:") {
			t.Errorf("%s: %.200q", path, got)
		}
	}
	if status, _, _ := webtest.Call(t, s.there, "GET", s.base+"/v1/%64oors", "", "", "Authorization", "Bearer token"); status != 200 {
		t.Errorf("a letter that is escaped is the letter (RFC 3986 §6.2.2.2): %d", status)
	}
}

// TestSmuggling: bytes that a proxy could take for one request, and we for two, or the other way
// round, do nothing.
func TestSmuggling(t *testing.T) {
	s := serve(t)
	inner := "POST /v1/pause HTTP/1.1\r\nHost: gardien-aaaa.local\r\nAuthorization: Bearer token\r\nConnection: close\r\n\r\n"
	head := "POST /v1/nonces HTTP/1.1\r\nHost: gardien-aaaa.local\r\nContent-Type: application/json\r\n"
	for name, request := range map[string]string{
		"length and chunks":        head + fmt.Sprintf("Content-Length: %d\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n", len(inner)+5) + inner,
		"two lengths":              head + fmt.Sprintf("Content-Length: 0\r\nContent-Length: %d\r\n\r\n", len(inner)) + inner,
		"a length with a sign":     head + "Content-Length: +0\r\n\r\n" + inner,
		"an unknown coding":        head + "Transfer-Encoding: xchunked\r\n\r\n0\r\n\r\n" + inner,
		"chunked twice":            head + "Transfer-Encoding: chunked, chunked\r\n\r\n0\r\n\r\n" + inner,
		"a space before the colon": head + "Transfer-Encoding : chunked\r\n\r\n0\r\n\r\n" + inner,
		"a folded header":          head + "X: y\r\n Transfer-Encoding: chunked\r\n\r\n0\r\n\r\n" + inner,
		"a chunk of words":         head + "Transfer-Encoding: chunked\r\n\r\nzz\r\n" + inner,
	} {
		if got := s.raw(t, request); strings.Contains(got, "HTTP/1.1 204") {
			t.Errorf("%s: %q", name, got)
		}
	}
	if acts := s.fake.Acts(); len(acts) > 0 {
		t.Errorf("done: %q", acts)
	}
}

// TestW6_TLS: TLS 1.3 only, whichever port.
func TestW6_TLS(t *testing.T) {
	s := serve(t)
	for _, at := range []net.Addr{s.lan.Address(), s.lan.Secure.Addr()} {
		_, err := tls.Dial("tcp", at.String(), &tls.Config{InsecureSkipVerify: true, MaxVersion: tls.VersionTLS12})
		if err == nil || !strings.Contains(err.Error(), "protocol version") {
			t.Errorf("%s by TLS 1.2: %v", at, err)
		}
	}
}

// TestOtherPorts: port 443 leads to the page's own, and serves nothing else. Port 80 is a page in two
// languages, which never links a certificate.
func TestOtherPorts(t *testing.T) {
	s := serve(t)
	at443 := &http.Client{CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
		Transport: &http.Transport{TLSClientConfig: &tls.Config{InsecureSkipVerify: true}, DialContext: func(ctx context.Context, network, _ string) (net.Conn, error) {
			return new(net.Dialer).DialContext(ctx, network, s.lan.Secure.Addr().String())
		}}}
	for _, tt := range []struct {
		method, host, path string
		status             int
		location           string
	}{
		{"GET", "gardien-aaaa.local", "/", 308, s.base + "/"},
		{"GET", "127.0.0.1", "/x/y?z=1", 308, s.base + "/x/y"},
		{"HEAD", "gardien-aaaa.local", "/", 308, s.base + "/"},
		{"GET", "gardien-aaaa.local", "//evil.example/", 308, s.base + "//evil.example/"},
		{"POST", "gardien-aaaa.local", "/v1/pause", 421, ""},
		{"GET", "evil.example", "/", 421, ""},
	} {
		q, _ := http.NewRequest(tt.method, "https://"+tt.host+tt.path, nil)
		q.Header.Set("Authorization", "Bearer token")
		res, err := at443.Do(q)
		if err != nil {
			t.Fatal(err)
		}
		res.Body.Close()
		if res.StatusCode != tt.status || res.Header.Get("Location") != tt.location {
			t.Errorf("443: %s %s%s: %d, %q", tt.method, tt.host, tt.path, res.StatusCode, res.Header.Get("Location"))
		}
	}
	for _, path := range []string{"/", "/ca.crt", "/v1/doors", "/ca.mobileconfig"} {
		status, page, header := webtest.Call(t, http.DefaultClient, "GET", "http://"+s.lan.Plain.Addr().String()+path, "", "")
		if status != 200 || !strings.Contains(page, `href="`+s.base+`/"`) || !strings.Contains(page, "Your phone is about to warn you") || !strings.Contains(page, "Votre téléphone va vous avertir") {
			t.Errorf("80: %s: %d %s", path, status, page)
		}
		if strings.Contains(page, "ca.crt") || strings.Contains(page, "mobileconfig") || !strings.Contains(header.Get("Content-Security-Policy"), "default-src 'none'") {
			t.Errorf("80: %s: %v %s", path, header, page)
		}
	}
	q, _ := http.NewRequest("GET", "http://"+s.lan.Plain.Addr().String()+"/", nil)
	q.Host = "evil.example"
	if res, err := http.DefaultClient.Do(q); err != nil {
		t.Error(err)
	} else {
		page, _ := io.ReadAll(res.Body)
		res.Body.Close()
		if res.StatusCode != 421 || strings.Contains(string(page), "gardien-aaaa") {
			t.Errorf("80, by another's name: %d %s", res.StatusCode, page)
		}
	}
	if status, _, _ := webtest.Call(t, http.DefaultClient, "POST", "http://"+s.lan.Plain.Addr().String()+"/v1/pause", "", ""); status != 405 {
		t.Errorf("80: POST: %d", status)
	}
	if status, page, _ := webtest.Call(t, s.there, "GET", s.base+"/", "", ""); status != 200 || !strings.Contains(page, `href="/ca.crt"`) || !strings.Contains(page, "gardien ca show") {
		t.Errorf("the page: %d %s", status, page)
	}
	if len(s.fake.Acts()) > 0 {
		t.Errorf("done: %q", s.fake.Acts())
	}
}

// TestN2_Headers: 8 KiB of headers are enough for everybody, by either version of HTTP.
func TestN2_Headers(t *testing.T) {
	s := serve(t)
	if got := s.raw(t, "GET /v1/info HTTP/1.1\r\nHost: gardien-aaaa.local\r\nX: "+strings.Repeat("x", 20<<10)+"\r\n\r\n"); !strings.HasPrefix(got, "HTTP/1.1 431") {
		t.Errorf("HTTP/1.1: %.80q", got)
	}
	q, _ := http.NewRequest("GET", s.base+"/v1/info", nil)
	q.Header.Set("X", strings.Repeat("x", 20<<10))
	if res, err := s.there.Do(q); err == nil {
		res.Body.Close()
		if res.StatusCode != http.StatusRequestHeaderFieldsTooLarge {
			t.Errorf("HTTP/2: %d", res.StatusCode)
		}
	}
	if status, _, _ := s.call(t, "GET", "stranger:/v1/info", ""); status != 200 {
		t.Errorf("after it: %d", status)
	}
}

// TestN2_Crowd: one address has 16 connections, and whoever comes then is served: the oldest that has
// not authenticated goes.
func TestN2_Crowd(t *testing.T) {
	s := serve(t)
	stream, err := s.follow(t, "token")
	if err != nil {
		t.Fatal(err)
	}
	var idle []net.Conn
	for range 40 {
		c, err := net.Dial("tcp", s.lan.Address().String())
		if err != nil {
			t.Fatal(err)
		}
		defer c.Close()
		idle = append(idle, c)
	}
	for i, c := range idle[:40-15] { // the stream has the sixteenth place
		c.SetReadDeadline(time.Now().Add(10 * time.Second))
		if _, err := c.Read(make([]byte, 1)); err == nil || strings.Contains(err.Error(), "timeout") {
			t.Errorf("connection %d is still there: %v", i, err)
		}
	}
	s.there.CloseIdleConnections() // its connection was a stranger's, too
	if status, _, _ := s.call(t, "GET", "stranger:/v1/info", ""); status != 200 {
		t.Errorf("beside 40 connections: %d", status)
	}
	if line, err := stream.ReadString('\n'); err != nil {
		t.Errorf("a resident's stream was put out: %q %v", line, err)
	}
}

// follow opens a stream on a connection of its own.
func (s *served) follow(t *testing.T, token string) (*bufio.Reader, error) {
	conn, err := tls.Dial("tcp", s.lan.Address().String(), &tls.Config{InsecureSkipVerify: true, NextProtos: []string{"http/1.1"}})
	if err != nil {
		return nil, err
	}
	t.Cleanup(func() { conn.Close() })
	conn.SetDeadline(time.Now().Add(20 * time.Second))
	fmt.Fprintf(conn, "GET /v1/events/stream HTTP/1.1\r\nHost: gardien-aaaa.local\r\nAuthorization: Bearer %s\r\n\r\n", token)
	r := bufio.NewReader(conn)
	for {
		line, err := r.ReadString('\n')
		if err != nil || strings.HasPrefix(line, "event: ") {
			return r, err
		}
	}
}
