package api

import (
	"net/http"
	"strings"

	"gardien/gateway/web"
)

// openAPI writes the OpenAPI 3.1 text of the routes.
func openAPI(routes []route) []byte {
	var list []web.Route
	for _, rt := range routes {
		o := rt.Route
		o.Idempotent = o.Method == http.MethodPost && rt.stream == nil && !rt.fresh
		o.Open = rt.may&anybody != 0
		o.Roles = rt.may.roles()
		if o.Method != http.MethodGet && (!o.Open || rt.wish != 0) && rt.may != console {
			o.Headers = []string{"DPoP"}
		}
		if rt.may == console {
			o.Note = "On the Unix socket only."
		}
		if rt.wish != 0 && o.Note == "" {
			o.Note = "Without a grant it needs one of the roles " + strings.Join(rt.wish.roles(), ", ") + "."
		}
		list = append(list, o)
	}
	return web.OpenAPI("Gardien, local API", Version,
		"On the Unix socket the kernel's peer credentials authenticate, and every route may be called. Elsewhere a paired device does, by its bearer token or its session's cookie; "+
			"security names the roles that may call a route, and unconfirmed is a device that nobody has confirmed yet. "+
			"Acts (all but GET) of a device that paired with a key carry a DPoP proof (RFC 9449). Problems are RFC 9457, of type urn:gardien:problem:NAME.",
		[]web.Scheme{{Name: "device"}, {Name: "session", Cookie: cookieName}}, list)
}
