package api

import (
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
