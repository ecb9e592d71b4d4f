package api

import (
	"net/http"

	"gardien/gateway/openapi"
)

// openAPI writes the OpenAPI 3.1 text of the routes.
func openAPI(routes []route) []byte {
	var list []openapi.Route
	for _, rt := range routes {
		o := openapi.Route{Method: rt.method, Path: rt.path, Summary: rt.summary, Open: rt.open, Query: rt.query,
			Idempotent: rt.method == http.MethodPost && rt.stream == nil, Request: rt.request, Responses: rt.responses}
		if rt.local {
			o.Note = "On the Unix socket only."
		}
		list = append(list, o)
	}
	return openapi.Text("Gardien, local API", Version,
		"On the Unix socket the kernel's peer credentials authenticate; elsewhere a paired device's bearer token. Problems are RFC 9457, of type urn:gardien:problem:NAME.",
		"resident", list)
}
