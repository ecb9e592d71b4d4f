package web

import (
	"net/http"
	"path"
	"strings"

	"gardien/gateway"
)

// Route is one operation, for the multiplexer and for OpenAPI.
type Route struct {
	Method, Path, Summary string
	Open                  bool     // without authentication
	Roles                 []string // who may call it otherwise; none: whoever is authenticated
	Note                  string
	Headers               []string // of the request, beside Idempotency-Key
	Query                 []string
	Idempotent            bool        // takes an Idempotency-Key
	Request               any         // a value of the body's type; nil: none
	Responses             map[int]any // a value of each answer's type, or Kinds; nil: no content
}

// Kinds is an answer that comes in several types of content: a value of each body's type by media
// type; nil is a text that no schema describes.
type Kinds map[string]any

// EventStream is the media type of server-sent events.
const EventStream = "text/event-stream"

// Mux is a table of routes as a handler. What is in none of them is a problem, too: 404, or 405
// with Allow.
type Mux struct {
	mux http.ServeMux
}

// Handle adds a route.
func (m *Mux) Handle(method, path string, h http.Handler) { m.mux.Handle(method+" "+path, h) }

func (m *Mux) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	if m.has(r) {
		m.mux.ServeHTTP(w, r)
		return
	}
	if allow := m.allowed(r); allow != "" {
		w.Header().Set("Allow", allow)
		WriteProblem(w, gateway.Fail(http.StatusMethodNotAllowed, "method-not-allowed", "%s takes %s", r.URL.Path, allow), nil)
		return
	}
	WriteProblem(w, gateway.Fail(http.StatusNotFound, "not-found", "there is no %s here; the routes are in /v1/openapi.json", r.URL.Path), nil)
}

// has reports whether the path, as it is written, has the method. ServeMux would lead what is not
// clean elsewhere, with an answer that is no problem.
func (m *Mux) has(r *http.Request) bool {
	if p := r.URL.EscapedPath(); p != path.Clean(p) {
		return false
	}
	_, pattern := m.mux.Handler(r)
	return pattern != ""
}

// allowed lists the methods that the path has.
func (m *Mux) allowed(r *http.Request) string {
	var list []string
	for _, method := range []string{http.MethodGet, http.MethodPost, http.MethodPut, http.MethodDelete} {
		try := r.Clone(r.Context())
		if try.Method = method; m.has(try) {
			list = append(list, method)
		}
	}
	return strings.Join(list, ", ")
}
