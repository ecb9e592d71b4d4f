package api_test

import (
	"bytes"
	"context"
	"crypto/tls"
	"io"
	"net"
	"net/http"
	"strings"
	"testing"
	"time"

	"golang.org/x/net/http2"
	"golang.org/x/net/http2/hpack"

	"gardien/gateway/api/phone"
)

// TestI1_MailbagsThatTrickle: all places are taken by bodies that do not end, from eight addresses, over
// either HTTP. A neighbour's large mailbag is taken all the same; who made room for it is told to come
// back later, and a bag that nobody waited for is not put out.
func TestI1_MailbagsThatTrickle(t *testing.T) {
	for _, proto := range []string{"HTTP/2.0", "HTTP/1.1"} {
		t.Run(proto, func(t *testing.T) {
			s := serve(t)
			from := func(last byte) *http.Client {
				c := phone.From(s.there, net.IPv4(127, 0, 5, last), s.lan.Address().String())
				if proto == "HTTP/1.1" {
					tr := c.Transport.(*http.Transport)
					tr.ForceAttemptHTTP2, tr.TLSNextProto = false, map[string]func(string, *tls.Conn) http.RoundTripper{}
					tr.TLSClientConfig.NextProtos = []string{"http/1.1"}
				}
				t.Cleanup(c.CloseIdleConnections)
				return c
			}
			large := `{"items":["` + strings.Repeat("a", 20<<10) + `"]}`
			ctx, cancel := context.WithCancel(t.Context())
			defer cancel()
			out := make(chan *http.Response, 16)
			began := make(chan struct{}, 16)
			for n := range 16 {
				c := from(byte(1 + n/2))
				r, w := io.Pipe()
				q, _ := http.NewRequestWithContext(ctx, "POST", s.base+"/v1/mailbag", r)
				q.Header.Set("Content-Type", "application/json")
				go func() {
					if res, err := c.Do(q); err == nil {
						out <- res
					}
				}()
				go func() { io.WriteString(w, large[:18<<10]); began <- struct{}{} }()
			}
			for range 16 {
				<-began
			}
			neighbour := from(66)
			for range 3 {
				if status := mailbag(t, neighbour, s.base, large); status != 200 {
					t.Errorf("a neighbour: %d", status)
				}
			}
			res := <-out
			res.Body.Close()
			if res.StatusCode != http.StatusTooManyRequests || res.Header.Get("Retry-After") == "" || res.Proto != proto {
				t.Errorf("who made room: %s %s %v", res.Proto, res.Status, res.Header)
			}
		})
	}
}

// TestI2_AnswersThatNobodyTakes: all places are taken by large mailbags whose carriers take nothing of
// their answers. A neighbour's large mailbag is taken all the same.
func TestI2_AnswersThatNobodyTakes(t *testing.T) {
	s := serve(t)
	body := []byte(`{"items":[` + strings.Repeat(`{"id":"`+strings.Repeat("x", 200)+`"},`, 999) + `"a"]}`)
	for n := range 8 {
		takesNothing(t, s, net.IPv4(127, 0, 6, byte(1+n)), body)
	}
	neighbour := phone.From(s.there, net.IPv4(127, 0, 5, 66), s.lan.Address().String())
	t.Cleanup(neighbour.CloseIdleConnections)
	ctx, cancel := context.WithTimeout(t.Context(), 8*time.Second) // less than a client may take for its answer
	defer cancel()
	q, _ := http.NewRequestWithContext(ctx, "POST", s.base+"/v1/mailbag", strings.NewReader(`{"items":["`+strings.Repeat("a", 20<<10)+`"]}`))
	q.Header.Set("Content-Type", "application/json")
	res, err := neighbour.Do(q)
	if err != nil {
		t.Fatal(err)
	}
	if res.Body.Close(); res.StatusCode != 200 {
		t.Errorf("a neighbour: %s", res.Status)
	}
}

// takesNothing sends two mailbags over HTTP/2 and returns when both answers have begun, of which it
// lets nothing come.
func takesNothing(t *testing.T, s *served, from net.IP, body []byte) {
	t.Helper()
	raw, err := (&net.Dialer{LocalAddr: &net.TCPAddr{IP: from}}).Dial("tcp", s.lan.Address().String())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { raw.Close() })
	raw.SetDeadline(time.Now().Add(20 * time.Second))
	c := tls.Client(raw, &tls.Config{InsecureSkipVerify: true, NextProtos: []string{"h2"}})
	io.WriteString(c, http2.ClientPreface)
	f := http2.NewFramer(c, c)
	f.WriteSettings(http2.Setting{ID: http2.SettingInitialWindowSize})
	for stream := uint32(1); stream <= 3; stream += 2 {
		var head bytes.Buffer
		e := hpack.NewEncoder(&head)
		for _, h := range [][2]string{{":method", "POST"}, {":scheme", "https"}, {":authority", "gardien-aaaa.local"}, {":path", "/v1/mailbag"}, {"content-type", "application/json"}} {
			e.WriteField(hpack.HeaderField{Name: h[0], Value: h[1]})
		}
		f.WriteHeaders(http2.HeadersFrameParam{StreamID: stream, BlockFragment: head.Bytes(), EndHeaders: true})
		window, sent := 64<<10-1, 0
		for began := false; !began; {
			for sent < len(body) && window > 0 {
				part := body[sent:min(len(body), sent+min(window, 16<<10))]
				sent, window = sent+len(part), window-len(part)
				f.WriteData(stream, sent == len(body), part)
			}
			got, err := f.ReadFrame()
			if err != nil {
				t.Fatal(err)
			}
			switch got := got.(type) {
			case *http2.WindowUpdateFrame:
				if got.StreamID == stream {
					window += int(got.Increment)
				}
			case *http2.HeadersFrame:
				began = true
			case *http2.RSTStreamFrame:
				t.Fatal(got)
			}
		}
	}
}
