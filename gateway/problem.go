package gateway

import (
	"fmt"
	"net/http"
	"strings"
)

// Problem is an RFC 9457 problem document, and an error: how every API of ours says no.
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
