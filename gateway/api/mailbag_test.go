package api_test

import (
	"context"
	"crypto/tls"
	"io"
	"net"
	"net/http"
	"strings"
	"testing"

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
