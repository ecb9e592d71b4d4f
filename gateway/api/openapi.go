package api

import (
	"net/http"

	"gardien/gateway/web"
)

// openAPI writes the OpenAPI 3.1 text of the routes.
func openAPI(routes []route) []byte {
	var list []web.Route
	for _, rt := range routes {
		o := rt.Route
		o.Idempotent = o.Method == http.MethodPost && rt.stream == nil
		if rt.local {
			o.Note = "On the Unix socket only."
		}
		list = append(list, o)
	}
	return web.OpenAPI("Gardien, local API", Version,
		"On the Unix socket the kernel's peer credentials authenticate; elsewhere a paired device's bearer token. Problems are RFC 9457, of type urn:gardien:problem:NAME.",
		"resident", list)
}
