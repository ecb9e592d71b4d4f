package api

import (
	"encoding/json"
	"net/http"
	"strings"

	"gardien/gateway"
)

// Problem is how the API says no.
type Problem = gateway.Problem

// Fail makes a problem of type urn:gardien:problem:NAME.
func Fail(status int, name, detail string, args ...any) *Problem {
	return gateway.Fail(status, name, detail, args...)
}

// NotFound says what exists in place of what was asked for.
func NotFound(kind, id string, exist []string) *Problem {
	have := "there are none"
	if len(exist) > 0 {
		have = "there are " + strings.Join(exist, ", ")
	}
	return Fail(http.StatusNotFound, "not-found", "no %s %q: %s", kind, id, have)
}

func writeProblem(w http.ResponseWriter, p *Problem) {
	if p.Status == http.StatusTooManyRequests && w.Header().Get("Retry-After") == "" {
		w.Header().Set("Retry-After", "30")
	}
	b, err := json.Marshal(p)
	if err != nil {
		panic(err) // strings and a number
	}
	send(w, p.Status, "application/problem+json", append(b, '\n'))
}

func send(w http.ResponseWriter, status int, contentType string, body []byte) {
	w.Header().Set("Content-Type", contentType)
	w.Header().Set("Cache-Control", "no-store")
	w.Header().Set("X-Content-Type-Options", "nosniff")
	w.WriteHeader(status)
	w.Write(body)
}
