package web

import (
	"encoding/json"
	"errors"
	"fmt"
	"math/rand/v2"
	"net/http"
	"strconv"

	"gardien/gateway"
)

// BadRequest is a 400.
func BadRequest(detail string, args ...any) *gateway.Problem {
	return gateway.Fail(http.StatusBadRequest, "bad-request", detail, args...)
}

// Unauthorized is a 401.
func Unauthorized(detail string, args ...any) *gateway.Problem {
	return gateway.Fail(http.StatusUnauthorized, "unauthorized", detail, args...)
}

// TooMany is a 429; WriteProblem says when to come back.
func TooMany(detail string, args ...any) *gateway.Problem {
	return gateway.Fail(http.StatusTooManyRequests, "too-many-requests", detail, args...)
}

// Send writes an answer that nobody may keep.
func Send(w http.ResponseWriter, status int, contentType string, body []byte) {
	w.Header().Set("Content-Type", contentType)
	w.Header().Set("Cache-Control", "no-store")
	w.Header().Set("X-Content-Type-Options", "nosniff")
	w.WriteHeader(status)
	w.Write(body)
}

// Reply writes v as JSON.
func Reply(w http.ResponseWriter, status int, v any) error {
	b, err := json.Marshal(v)
	if err != nil {
		return fmt.Errorf("answer: %w", err)
	}
	Send(w, status, "application/json", append(b, '\n'))
	return nil
}

// WriteProblem writes a problem, with members of its own beside the standard ones; more is nil or
// marshals as an object. 429 and 503 say when to come back, 401 how to authenticate.
func WriteProblem(w http.ResponseWriter, p *gateway.Problem, more any) {
	members := map[string]any{}
	if more != nil {
		b, err := json.Marshal(more)
		if err = errors.Join(err, json.Unmarshal(b, &members)); err != nil {
			panic(err) // numbers and texts of ours
		}
	}
	members["type"], members["title"], members["status"] = p.Type, p.Title, p.Status
	if p.Detail != "" {
		members["detail"] = p.Detail
	}
	b, err := json.Marshal(members)
	if err != nil {
		panic(err)
	}
	switch p.Status {
	case http.StatusTooManyRequests, http.StatusServiceUnavailable:
		if w.Header().Get("Retry-After") == "" { // spread, so that not all come back at once
			w.Header().Set("Retry-After", strconv.Itoa(1+rand.IntN(4)))
		}
	case http.StatusUnauthorized:
		if w.Header().Get("WWW-Authenticate") == "" {
			w.Header().Set("WWW-Authenticate", "Bearer")
		}
	}
	Send(w, p.Status, "application/problem+json", append(b, '\n'))
}
