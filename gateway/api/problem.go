package api

import (
	"encoding/json"
	"fmt"
	"net/http"
	"strings"
)

// Problem is an RFC 9457 problem document, and an error.
type Problem struct {
	Type   string `json:"type"`
	Title  string `json:"title"`
	Status int    `json:"status"`
	Detail string `json:"detail,omitempty"`
}

func (p *Problem) Error() string {
	if p.Detail != "" {
		return p.Detail
	}
	return strings.ToLower(p.Title)
}

// Fail makes a problem of type urn:gardien:problem:NAME.
func Fail(status int, name, detail string, args ...any) *Problem {
	return &Problem{"urn:gardien:problem:" + name, http.StatusText(status), status, fmt.Sprintf(detail, args...)}
}

// NotFound says what exists in place of what was asked for.
func NotFound(kind, id string, exist []string) *Problem {
	have := "there are none"
	if len(exist) > 0 {
		have = "there are " + strings.Join(exist, ", ")
	}
	return Fail(http.StatusNotFound, "not-found", "no %s %q: %s", kind, id, have)
}

func (p *Problem) write(w http.ResponseWriter) {
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
