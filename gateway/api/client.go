package api

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net"
	"net/http"
	"net/url"
	"syscall"

	"gardien/gateway"
	"gardien/gateway/web"
)

// Client speaks to a gateway over its Unix socket. Problems that the gateway answers
// are *Problem.
type Client struct {
	http *http.Client
	path string
}

// NewClient makes a client of the socket at path.
func NewClient(path string) *Client {
	dial := func(ctx context.Context, _, _ string) (net.Conn, error) {
		return new(net.Dialer).DialContext(ctx, "unix", path)
	}
	return &Client{&http.Client{Transport: &http.Transport{DialContext: dial}}, path}
}

// Close closes idle connections.
func (c *Client) Close() { c.http.CloseIdleConnections() }

// Do sends in (nil: no body) as JSON and decodes the answer into out (nil: ignored).
func (c *Client) Do(ctx context.Context, method, path string, in, out any) error {
	var body io.Reader
	if in != nil {
		b, err := json.Marshal(in)
		if err != nil {
			return err
		}
		body = bytes.NewReader(b)
	}
	return c.Send(ctx, method, path, "application/json", body, func(r io.Reader) error {
		if out == nil {
			return nil
		}
		err := json.NewDecoder(io.LimitReader(r, 64<<20)).Decode(out)
		if _, done := out.(*Done); done && errors.Is(err, io.EOF) {
			return nil // 204
		}
		return err
	})
}

// Send sends a body of any type and hands the answer's body to read.
func (c *Client) Send(ctx context.Context, method, path, contentType string, body io.Reader, read func(io.Reader) error) error {
	req, err := http.NewRequestWithContext(ctx, method, "http://gardien"+path, body)
	if err != nil {
		return err
	}
	if body != nil {
		req.Header.Set("Content-Type", contentType)
	}
	res, err := c.http.Do(req)
	if err != nil {
		return c.explain(err)
	}
	defer res.Body.Close()
	if res.StatusCode >= 300 {
		return readProblem(res)
	}
	if read == nil {
		return nil
	}
	return read(res.Body)
}

// DeniedError is an attempt that was denied.
type DeniedError struct{ Denied }

func (e *DeniedError) Error() string { return "denied: " + string(e.Code) }

func readProblem(res *http.Response) error {
	b, err := io.ReadAll(io.LimitReader(res.Body, maxBody))
	if err != nil {
		return err
	}
	var d Denied
	if res.StatusCode == http.StatusForbidden && json.Unmarshal(b, &d) == nil && d.Decision == "denied" {
		return &DeniedError{d}
	}
	p := &Problem{Status: res.StatusCode, Title: res.Status}
	json.Unmarshal(b, p)
	return p
}

// explain says what to do when nobody answers.
func (c *Client) explain(err error) error {
	switch {
	case errors.Is(err, fs.ErrNotExist), errors.Is(err, syscall.ECONNREFUSED):
		return fmt.Errorf("no gateway answers at %s: is gardiend running? (systemctl status gardiend; --socket names another)", c.path)
	case errors.Is(err, fs.ErrPermission):
		return fmt.Errorf("%s is not yours to use: join group gardien (usermod -aG gardien $USER), or use sudo", c.path)
	}
	var ue *url.Error
	if errors.As(err, &ue) {
		err = ue.Err
	}
	return fmt.Errorf("gateway at %s: %w", c.path, err)
}

// Stream calls f with each event after a number, as the record grows, until ctx ends.
func (c *Client) Stream(ctx context.Context, after int64, f func(gateway.Event) error) error {
	return c.Send(ctx, http.MethodGet, fmt.Sprintf("/v1/events/stream?after=%d", after), "", nil, func(r io.Reader) error {
		err := web.ReadEvents(r, func(in web.Event) error {
			var e gateway.Event
			if err := json.Unmarshal(in.Data, &e); err != nil {
				return fmt.Errorf("stream: %w", err)
			}
			return f(e)
		})
		if ctx.Err() != nil {
			return nil
		}
		if errors.Is(err, web.ErrStreamEnded) {
			return errors.New("the stream ended: the gateway stopped")
		}
		return err
	})
}
