// Package webtest holds HTTP exchanges against the OpenAPI text of whoever answers them.
package webtest

import (
	"bufio"
	"bytes"
	"context"
	"fmt"
	"io"
	"maps"
	"net/http"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/getkin/kin-openapi/openapi3"
	"github.com/getkin/kin-openapi/openapi3filter"
	"github.com/getkin/kin-openapi/routers"
	"github.com/getkin/kin-openapi/routers/gorillamux"

	"gardien/gateway"
)

// Conformance is a text, and what was seen of it.
type Conformance struct {
	t        testing.TB
	doc      *openapi3.T
	requests routers.Router
	answers  routers.Router // of a text whose objects have no members but those that it names

	mu   sync.Mutex
	seen map[string]bool // "GET /v1/doors 200"
}

// New takes the text that a handler serves at /v1/openapi.json.
func New(t testing.TB, client *http.Client, base string) *Conformance {
	t.Helper()
	res, err := client.Get(base + "/v1/openapi.json")
	if err != nil {
		t.Fatal(err)
	}
	defer res.Body.Close()
	text, err := io.ReadAll(res.Body)
	if err != nil || res.StatusCode != http.StatusOK {
		t.Fatalf("/v1/openapi.json: %d, %v", res.StatusCode, err)
	}
	c := &Conformance{t: t, seen: map[string]bool{}}
	c.doc, c.requests = read(t, text, false)
	_, c.answers = read(t, text, true)
	return c
}

func read(t testing.TB, text []byte, closed bool) (*openapi3.T, routers.Router) {
	t.Helper()
	doc, err := openapi3.NewLoader().LoadFromData(text)
	if err == nil {
		err = doc.Validate(context.Background())
	}
	if err != nil {
		t.Fatalf("the OpenAPI text: %v", err)
	}
	for name, s := range doc.Components.Schemas {
		if closed && name != "Problem" { // RFC 9457 has members beside its own
			s.Value.AdditionalProperties = openapi3.BoolSchema{Has: new(bool)}
		}
	}
	router, err := gorillamux.NewRouter(doc)
	if err != nil {
		t.Fatal(err)
	}
	return doc, router
}

// Client makes each exchange of a client one that is held against the text.
func (c *Conformance) Client(client *http.Client) *http.Client {
	next := client.Transport
	if next == nil {
		next = http.DefaultTransport
	}
	held := *client
	held.Transport = roundTrip(func(q *http.Request) (*http.Response, error) { return c.exchange(next, q) })
	return &held
}

type roundTrip func(*http.Request) (*http.Response, error)

func (f roundTrip) RoundTrip(q *http.Request) (*http.Response, error) { return f(q) }

func (c *Conformance) exchange(next http.RoundTripper, q *http.Request) (*http.Response, error) {
	var sent []byte
	if q.Body != nil {
		var err error
		if sent, err = io.ReadAll(q.Body); err != nil {
			return nil, err
		}
		q.Body = io.NopCloser(bytes.NewReader(sent))
	}
	res, err := next.RoundTrip(q)
	if err != nil {
		return nil, err
	}
	check := q.Clone(context.Background())
	check.Body = io.NopCloser(bytes.NewReader(sent))
	if err := c.hold(check, res); err != nil {
		c.t.Errorf("%s %s, answered with %d: %v", q.Method, q.URL.Path, res.StatusCode, err)
	}
	return res, nil
}

// hold reads the answer's body, unless it is a stream, and puts it back.
func (c *Conformance) hold(q *http.Request, res *http.Response) error {
	route, params, err := c.requests.FindRoute(q)
	kind := res.Header.Get("Content-Type")
	if err != nil {
		if res.StatusCode != http.StatusNotFound && res.StatusCode != http.StatusMethodNotAllowed || kind != "application/problem+json" {
			return fmt.Errorf("the text has no such route, and this is no problem that says so (%s)", kind)
		}
		return nil
	}
	c.mu.Lock()
	c.seen[fmt.Sprintf("%s %s %d", q.Method, route.Path, res.StatusCode)] = true
	c.mu.Unlock()
	declared := route.Operation.Responses.Status(res.StatusCode)
	if declared == nil && res.StatusCode < 400 {
		return fmt.Errorf("the text knows no such answer")
	}
	in := &openapi3filter.RequestValidationInput{Request: q, PathParams: params, Route: route,
		Options: &openapi3filter.Options{AuthenticationFunc: openapi3filter.NoopAuthenticationFunc}}
	if err := openapi3filter.ValidateRequest(context.Background(), in); err != nil && res.StatusCode < 400 && !isRaw(q) {
		return fmt.Errorf("it was taken, and the text refuses it: %w", err)
	}
	if strings.HasPrefix(kind, "text/event-stream") {
		if declared.Value.Content.Get(kind) == nil {
			return fmt.Errorf("the text says nothing of a stream")
		}
		return nil
	}
	body, err := io.ReadAll(res.Body)
	res.Body.Close()
	res.Body = io.NopCloser(bytes.NewReader(body))
	if err != nil {
		return err
	}
	if len(body) > 0 && strings.Contains(kind, "json") {
		if err := gateway.CheckJSON(body, 32); err != nil {
			return err
		}
	}
	if in.Route, in.PathParams, err = c.answers.FindRoute(q); err != nil {
		return err
	}
	out := &openapi3filter.ResponseValidationInput{RequestValidationInput: in, Status: res.StatusCode, Header: res.Header,
		Options: &openapi3filter.Options{IncludeResponseStatus: true}}
	return openapi3filter.ValidateResponse(context.Background(), out.SetBodyBytes(body))
}

// isRaw reports a body that no schema describes, as a copy of the database.
func isRaw(q *http.Request) bool {
	kind := q.Header.Get("Content-Type")
	return kind != "" && !strings.Contains(kind, "json")
}

// Operation is one of the text.
type Operation struct {
	Method, Path string // "/v1/doors/{door}"
	Open         bool   // without authentication
	Body         bool   // takes one
	Answers      []int  // that the text names one by one
	Note         string
	Roles        []string // that the first way to authenticate names
}

// Operations lists them, by path and method.
func (c *Conformance) Operations() (list []Operation) {
	for _, path := range slices.Sorted(maps.Keys(c.doc.Paths.Map())) {
		item := c.doc.Paths.Value(path)
		for _, method := range slices.Sorted(maps.Keys(item.Operations())) {
			op := item.Operations()[method]
			o := Operation{Method: method, Path: path, Open: op.Security == nil, Body: op.RequestBody != nil, Note: op.Description}
			if op.Security != nil && len(*op.Security) > 0 {
				for _, roles := range (*op.Security)[0] {
					o.Roles = roles
				}
			}
			for status := range op.Responses.Map() {
				var n int
				if _, err := fmt.Sscan(status, &n); err == nil {
					o.Answers = append(o.Answers, n)
				}
			}
			slices.Sort(o.Answers)
			list = append(list, o)
		}
	}
	return list
}

// Seen reports whether an operation was answered so.
func (c *Conformance) Seen(o Operation, status int) bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.seen[fmt.Sprintf("%s %s %d", o.Method, o.Path, status)]
}

// Complete fails the test for each answer that the text names and that was never seen.
func (c *Conformance) Complete() {
	c.t.Helper()
	for _, o := range c.Operations() {
		for _, status := range o.Answers {
			if !c.Seen(o, status) {
				c.t.Errorf("%s %s: no test sees its answer %d", o.Method, o.Path, status)
			}
		}
	}
}

// Call sends a request with a JSON body ("": none) and headers, name and value in turn, and reads
// the answer; of a stream it reads until a line contains enough.
func Call(t testing.TB, client *http.Client, method, url, body, enough string, headers ...string) (status int, answer string, header http.Header) {
	t.Helper()
	q, err := http.NewRequest(method, url, strings.NewReader(body))
	if err != nil {
		t.Fatal(err)
	}
	if body != "" {
		q.Header.Set("Content-Type", "application/json")
	}
	for i := 0; i+1 < len(headers); i += 2 {
		q.Header.Set(headers[i], headers[i+1])
	}
	res, err := client.Do(q)
	if err != nil {
		t.Fatal(err)
	}
	defer res.Body.Close()
	if strings.HasPrefix(res.Header.Get("Content-Type"), "text/event-stream") {
		lines := bufio.NewScanner(res.Body)
		for lines.Scan() && !strings.Contains(answer, enough) {
			answer += lines.Text() + "\n"
		}
		return res.StatusCode, answer, res.Header
	}
	read, err := io.ReadAll(res.Body)
	if err != nil {
		t.Fatal(err)
	}
	return res.StatusCode, string(read), res.Header
}
