package api_test

import (
	"context"
	"io"
	"net"
	"net/http"
	"strings"
	"testing"

	"gardien/gateway/api/phone"
	"gardien/gateway/web/webtest"
)

// TestI2_LargeMailbags: bodies of one address that do not end take its places, and no other's; a small
// mailbag needs none, and the socket has its own.
func TestI2_LargeMailbags(t *testing.T) {
	s := serve(t)
	from := func(last byte) *http.Client {
		return phone.From(s.there, net.IPv4(127, 0, 5, last), s.lan.Address().String())
	}
	large := `{"items":["` + strings.Repeat("a", 20<<10) + `"]}`
	slow := func(c *http.Client) (stop func()) {
		r, w := io.Pipe()
		ctx, cancel := context.WithCancel(t.Context())
		q, _ := http.NewRequestWithContext(ctx, "POST", s.base+"/v1/mailbag", r)
		q.Header.Set("Content-Type", "application/json")
		done := make(chan struct{})
		go func() {
			defer close(done)
			if res, err := c.Do(q); err == nil {
				res.Body.Close()
			}
		}()
		io.WriteString(w, large[:18<<10])
		return func() { cancel(); w.CloseWithError(io.ErrUnexpectedEOF); <-done }
	}
	neighbour := from(66)
	for mailbag(t, neighbour, s.base, large) != http.StatusTooManyRequests { // one that came too late is answered
		defer slow(neighbour)()
	}
	if status := mailbag(t, neighbour, s.base, `{"items":["a"]}`); status != 200 {
		t.Errorf("a small one of the same address: %d", status)
	}
	if status := mailbag(t, from(1), s.base, large); status != 200 {
		t.Errorf("a courier at another address: %d", status)
	}
	if status := mailbag(t, s.here, "http://g", large); status != 200 {
		t.Errorf("the socket: %d", status)
	}
}

func mailbag(t *testing.T, c *http.Client, base, body string) int {
	t.Helper()
	status, _, _ := webtest.Call(t, c, "POST", base+"/v1/mailbag", body, "")
	return status
}
