package uplink

import (
	"bytes"
	"context"
	"crypto/tls"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"mime"
	"net"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"sync"
	"time"

	"gardien/gateway"
	"gardien/gateway/web"
)

// Bounds of what a cloud may answer.
const (
	maxAnswer    = 1 << 20
	maxSnapshot  = 32 << 20 // some 20,000 grants; it must fit into a Pi's memory beside all else
	maxPage      = 8 << 20  // of a long poll: 500 items
	answerWithin = 30 * time.Second
	snapshotFor  = 5 * time.Minute
)

// Client speaks to a cloud as one principal: a gateway here, an issuer in its tool.
type Client struct {
	base string
	http *http.Client
	// Sign writes an assertion that bears a time.
	sign func(now time.Time) (string, error)
	now  func() time.Time

	mu     sync.Mutex
	offset time.Duration // that the cloud's clock is ahead of ours, after it refused ours
	token  string
	until  time.Time
}

// ClientOpts of a Client.
type ClientOpts struct {
	URL  *url.URL
	TLS  *tls.Config // nil: Go's defaults
	Sign func(now time.Time) (string, error)
	Now  func() time.Time // nil: time.Now
	Dial func(ctx context.Context, network, address string) (net.Conn, error)
}

// NewClient makes a client. Its connections are kept alive by HTTP/2 PING, and by nothing
// of TCP's.
func NewClient(o ClientOpts) *Client {
	if o.Dial == nil {
		o.Dial = (&net.Dialer{Timeout: 10 * time.Second, KeepAlive: -1}).DialContext
	}
	if o.Now == nil {
		o.Now = time.Now
	}
	t := &http.Transport{
		Proxy: http.ProxyFromEnvironment, DialContext: o.Dial, TLSClientConfig: o.TLS, TLSHandshakeTimeout: 10 * time.Second,
		ForceAttemptHTTP2: true, DisableCompression: true, IdleConnTimeout: 2 * time.Minute, MaxResponseHeaderBytes: 16 << 10,
		HTTP2: &http.HTTP2Config{SendPingTimeout: 10 * time.Second, PingTimeout: 5 * time.Second},
	}
	return &Client{
		base: strings.TrimSuffix(o.URL.String(), "/"), sign: o.Sign, now: o.Now,
		http: &http.Client{Transport: t, CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }},
	}
}

// Close closes idle connections.
func (c *Client) Close() { c.http.CloseIdleConnections() }

// StatusError is an answer that says no.
type StatusError struct {
	Status     int
	Problem    gateway.Problem
	Body       []byte
	RetryAfter time.Duration
}

func (e *StatusError) Error() string {
	if e.Problem.Detail != "" {
		return fmt.Sprintf("the cloud answers %d: %s", e.Status, e.Problem.Detail)
	}
	return fmt.Sprintf("the cloud answers %d %s", e.Status, http.StatusText(e.Status))
}

// ErrNotOurCloud says that somebody else answered: a captive portal, a proxy, a wrong
// address.
var ErrNotOurCloud = errors.New("what answers is not the cloud (a captive portal, a proxy, or a wrong address)")

// Do sends in (nil: no body) as JSON and decodes the answer into out.
func (c *Client) Do(ctx context.Context, method, path string, in, out any) error {
	return c.do(ctx, method, path, in, maxAnswer, answerWithin, func(r io.Reader) error {
		if out == nil {
			return nil
		}
		return json.NewDecoder(r).Decode(out)
	})
}

// do hands an answer of at most so many bytes, which comes within a time, to decode.
func (c *Client) do(ctx context.Context, method, path string, in any, most int64, within time.Duration, decode func(io.Reader) error) error {
	ctx, cancel := context.WithTimeout(ctx, within)
	defer cancel()
	res, err := c.send(ctx, method, path, "application/json", in)
	if err != nil {
		return err
	}
	defer res.Body.Close()
	if err := isType(res, "application/json"); err != nil {
		return err
	}
	if err := decode(&dense{r: io.LimitReader(res.Body, most)}); err != nil {
		var lost net.Error
		if errors.As(err, &lost) || ctx.Err() != nil {
			return fmt.Errorf("the answer did not arrive whole: %w", err)
		}
		return fmt.Errorf("%w: %s %s: an answer that is not JSON, or larger than %d bytes: %v", ErrNotOurCloud, method, path, most, err)
	}
	return nil
}

// dense refuses long runs of white space, which cost encoding/json's decoder the square of
// their length.
type dense struct {
	r   io.Reader
	run int
}

func (d *dense) Read(b []byte) (int, error) {
	n, err := d.r.Read(b)
	for _, c := range b[:n] {
		switch c {
		case ' ', '\t', '\r', '\n':
			if d.run++; d.run > 4096 {
				return 0, errors.New("white space without end")
			}
		default:
			d.run = 0
		}
	}
	return n, err
}

func isType(res *http.Response, want string) error {
	if t, _, err := mime.ParseMediaType(res.Header.Get("Content-Type")); err != nil || t != want || res.Header.Get("Content-Encoding") != "" {
		return fmt.Errorf("%w: %d with Content-Type %q", ErrNotOurCloud, res.StatusCode, res.Header.Get("Content-Type"))
	}
	return nil
}

// send sends a request; one that is refused for the clock goes again with the time that the
// cloud told. The answer is a 2xx.
func (c *Client) send(ctx context.Context, method, path, accept string, in any) (*http.Response, error) {
	var body []byte
	if in != nil {
		var err error
		if body, err = json.Marshal(in); err != nil {
			return nil, err
		}
	}
	for retried := false; ; retried = true {
		res, err := c.once(ctx, method, path, accept, body)
		if err != nil {
			return nil, err
		}
		if res.StatusCode >= 200 && res.StatusCode < 300 {
			return res, nil
		}
		refused := readRefusal(res)
		res.Body.Close()
		if res.StatusCode == http.StatusUnauthorized && !retried && c.adopt(res.Header.Get("Date")) {
			continue
		}
		return nil, refused
	}
}

func (c *Client) once(ctx context.Context, method, path, accept string, body []byte) (*http.Response, error) {
	var r io.Reader
	if body != nil {
		r = bytes.NewReader(body)
	}
	req, err := http.NewRequestWithContext(ctx, method, c.base+path, r)
	if err != nil {
		return nil, err
	}
	req.Header.Set("Accept", accept)
	if body != nil {
		req.Header.Set("Content-Type", "application/json")
	}
	if c.sign != nil {
		token, err := c.assertion()
		if err != nil {
			return nil, err
		}
		req.Header.Set("Authorization", "Bearer "+token)
	}
	res, err := c.http.Do(req)
	if err != nil {
		var ue *url.Error
		if errors.As(err, &ue) {
			err = ue.Err
		}
		return nil, fmt.Errorf("%s: %w", c.base, err)
	}
	return res, nil
}

// assertion gives one that is good for another while: signing costs, and many requests go
// out in a minute.
func (c *Client) assertion() (string, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	now := c.now().Add(c.offset)
	if c.token != "" && now.Before(c.until) && now.After(c.until.Add(-4*time.Minute)) {
		return c.token, nil
	}
	token, err := c.sign(now)
	if err == nil {
		c.token, c.until = token, now.Add(3*time.Minute)
	}
	return token, err
}

// KeyChanged has the next request sign an assertion of its own.
func (c *Client) KeyChanged() {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.token = ""
}

// adopt takes the time that a cloud told for assertions, and for nothing else: they are
// for this cloud only.
func (c *Client) adopt(date string) bool {
	theirs, err := http.ParseTime(date)
	if err != nil || c.sign == nil {
		return false
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	offset := theirs.Sub(c.now())
	if (offset - c.offset).Abs() < 30*time.Second {
		return false
	}
	c.offset, c.token = offset, ""
	return true
}

func readRefusal(res *http.Response) *StatusError {
	e := &StatusError{Status: res.StatusCode}
	e.Body, _ = io.ReadAll(io.LimitReader(res.Body, 64<<10))
	json.Unmarshal(e.Body, &e.Problem)
	if len(e.Problem.Detail) > 500 {
		e.Problem.Detail = e.Problem.Detail[:500] + "…"
	}
	e.RetryAfter = retryAfter(res.Header)
	return e
}

// retryAfter reads Retry-After, as seconds or as a date. What is longer than an hour is an
// hour, however long: an integer may not hold it.
func retryAfter(h http.Header) time.Duration {
	const longest = time.Hour
	text := h.Get("Retry-After")
	if s, err := strconv.ParseFloat(text, 64); err == nil || errors.Is(err, strconv.ErrRange) {
		if s > 0 { // not for NaN
			return time.Duration(min(s, longest.Seconds()) * float64(time.Second))
		}
		return 0
	}
	at, err := http.ParseTime(text)
	if err != nil {
		return 0
	}
	now, err := http.ParseTime(h.Get("Date")) // by the clock that wrote it: ours may be wrong
	if err != nil {
		now = time.Now()
	}
	return min(max(at.Sub(now), 0), longest)
}

// Stream reads server-sent events until ctx ends, the stream does, or f fails.
func (c *Client) Stream(ctx context.Context, path string, f func(web.Event) error) error {
	res, err := c.send(ctx, http.MethodGet, path, "text/event-stream", nil)
	if err != nil {
		return err
	}
	defer res.Body.Close()
	if err := isType(res, "text/event-stream"); err != nil {
		return err
	}
	return web.ReadEvents(res.Body, f)
}
