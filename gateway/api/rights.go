package api

import (
	"context"
	"errors"
	"net/http"
	"slices"
	"strings"

	"gardien/gateway"
	"gardien/gateway/web"
)

// who is a set of those who may call a route. It is written in the table of routes, once: the
// handler, the OpenAPI text and the tests read it there.
type who uint

const (
	residents  who = 1 << iota
	guests         // see the doors and what they do, and open them
	installers     // see how the gateway and its hardware are
	newcomers      // paired, and not confirmed yet
	console        // the Unix socket; it may call everything
	anybody        // without authentication

	doorUsers = residents | guests
	paired    = residents | guests | installers
)

// roles names them, for the OpenAPI text.
func (w who) roles() (list []string) {
	for _, n := range []struct {
		who  who
		name string
	}{{residents, "resident"}, {guests, "guest"}, {installers, "installer"}, {newcomers, "unconfirmed"}, {console, "console"}} {
		if w&n.who != 0 {
			list = append(list, n.name)
		}
	}
	return list
}

// Caller is who asks.
type Caller struct {
	Local    bool // the Unix socket's user: resident and installer
	Resident gateway.ResidentID
	device   gateway.Resident // of Resident
	token    gateway.Secret
}

// who says what a caller is. Whoever lives here and shows its token at the socket is both.
func (c Caller) who() (w who) {
	if c.Local {
		w |= console
	}
	switch {
	case c.Resident == "":
	case c.device.Unconfirmed:
		w |= newcomers
	case c.device.Role == gateway.RoleResident:
		w |= residents
	case c.device.Role == gateway.RoleGuest:
		w |= guests
	case c.device.Role == gateway.RoleInstaller:
		w |= installers
	}
	return w
}

// known reports a confirmed device or the console.
func (c Caller) known() bool { return c.who()&(paired|console) != 0 }

// name tells callers apart for their Idempotency-Keys.
func (c Caller) name() string {
	if c.Resident == "" && c.Local {
		return "socket"
	}
	return string(c.Resident)
}

type callerKey struct{}

// withCaller marks what the listener has authenticated.
func withCaller(ctx context.Context, c Caller) context.Context {
	return context.WithValue(ctx, callerKey{}, c)
}

// sees gives an event as a caller may see it. A guest sees what the doors do, and not who did it.
func (c Caller) sees(e gateway.Event) (gateway.Event, bool) {
	if c.who()&guests == 0 {
		return e, true
	}
	bare := gateway.Event{Seq: e.Seq, At: e.At, Clock: e.Clock, Boot: e.Boot, Type: e.Type, Door: e.Door}
	return bare, slices.Contains(doorEvents, e.Type)
}

// doorEvents are those of a door's parts.
var doorEvents = []gateway.EventType{gateway.StrikeReleased, gateway.StrikeSecured, gateway.LockLockedEvent, gateway.LockUnlockedEvent, gateway.LockJammedEvent,
	gateway.LockUnknownEvent, gateway.DoorOpened, gateway.DoorClosed, gateway.DoorHeldOpen, gateway.DoorForcedOpen, gateway.DoorFault}

// cookieName is the session's cookie: its prefix binds it to this host, and to HTTPS (RFC 6265bis).
const cookieName = "__Host-gardien"

// sessionCookie carries a token for a year; an empty one ends it.
func sessionCookie(token string) *http.Cookie {
	c := &http.Cookie{Name: cookieName, Value: token, Path: "/", MaxAge: 365 * 24 * 3600, Secure: true, HttpOnly: true, SameSite: http.SameSiteStrictMode}
	if token == "" {
		c.MaxAge = -1
	}
	return c
}

// caller finds out who asks: the listener's word, a bearer token, or, where the route is not
// everybody's, the session's cookie.
func (s *Server) caller(r *http.Request, open bool) (Caller, error) {
	c, _ := r.Context().Value(callerKey{}).(Caller)
	token, err := tokenOf(r, open)
	if token.IsZero() || err != nil {
		return c, err
	}
	device, found, err := s.backend.Sessions.Authenticate(r.Context(), token)
	if err != nil {
		return c, err
	}
	if !found {
		return c, web.Unauthorized("the token is not that of a paired device")
	}
	c.Resident, c.device, c.token = device.ID, device, token
	return c, nil
}

// tokenOf gives the token that a request shows; zero: none.
func tokenOf(r *http.Request, open bool) (none gateway.Secret, err error) {
	if header := r.Header.Values("Authorization"); len(header) > 0 {
		scheme, token, _ := strings.Cut(header[0], " ")
		if len(header) > 1 || !strings.EqualFold(scheme, "Bearer") && !strings.EqualFold(scheme, "DPoP") || token == "" {
			return none, web.Unauthorized("want Authorization: Bearer and a paired device's token")
		}
		return gateway.NewSecret(token), nil
	}
	cookies := r.CookiesNamed(cookieName)
	if open || len(cookies) == 0 {
		return none, nil
	}
	if len(cookies) > 1 {
		return none, web.Unauthorized("the cookie is there twice")
	}
	return gateway.NewSecret(cookies[0].Value), nil
}

// admit holds who asks against who may call a route.
func admit(c Caller, may who) error {
	is := c.who()
	switch {
	case c.Local || may&anybody != 0 || is&may != 0:
		return nil
	case may == console:
		return web.Unauthorized("this needs the local socket: use the tool \"gardien\" on the gateway")
	case is == newcomers:
		return Fail(http.StatusForbidden, "not-confirmed", "nobody has confirmed this device yet: compare the six digits, and confirm it at the gateway (\"gardien resident confirm\" with its id) or on another resident's device")
	case is == 0:
		return web.Unauthorized("this needs a paired device's session or token, or the local socket")
	}
	return Fail(http.StatusForbidden, "forbidden", "this is not for a device of the role %s", c.device.Role)
}

// prove holds an act of a device that has a key against its DPoP proof. Reading needs none, and
// neither does whoever is at the socket.
func (s *Server) prove(w http.ResponseWriter, r *http.Request, c Caller) error {
	if c.Local || c.Resident == "" || c.device.Key == "" || slices.Contains([]string{http.MethodGet, http.MethodHead}, r.Method) {
		return nil
	}
	proofs := r.Header.Values("DPoP")
	if len(proofs) > 1 {
		w.Header().Set("WWW-Authenticate", `DPoP error="invalid_dpop_proof"`)
		return web.Unauthorized("want one DPoP header")
	}
	err := s.backend.Sessions.Prove(r.Context(), c.device, r.Method, "https://"+r.Host+r.URL.EscapedPath(), strings.Join(proofs, ""))
	var p *Problem
	switch {
	case errors.Is(err, ErrNonce):
		w.Header().Set("WWW-Authenticate", `DPoP error="use_dpop_nonce"`)
		return web.Unauthorized("an act of this device carries a DPoP proof (RFC 9449) with the nonce of the header DPoP-Nonce")
	case errors.As(err, &p) && p.Status == http.StatusUnauthorized:
		w.Header().Set("WWW-Authenticate", `DPoP error="invalid_dpop_proof"`)
	}
	return err
}
