package api

import (
	"net/http"
	"strconv"
	"time"

	"gardien/gateway"
	"gardien/gateway/web"
)

// sessions serves those who pair, and those who have.
type sessions struct{ backend Backend }

// pair lets a device in among the residents': it is not confirmed yet.
func (s sessions) pair(r *request) (Answer, error) {
	var req PairingRequest
	if err := r.read(&req); err != nil {
		return Answer{}, err
	}
	p, err := s.backend.Pairing.Pair(r.Context(), req)
	if err != nil {
		return Answer{}, err
	}
	token := p.Token
	if req.Cookie {
		p.Token = ""
	}
	a, err := reply(201, p)
	if req.Cookie {
		a.cookie = sessionCookie(token)
	}
	return a, err
}

func (s sessions) openPairing(r *request) (Answer, error) {
	var req PairingWindowRequest
	if err := r.read(&req); err != nil {
		return Answer{}, err
	}
	if req.Role == "" {
		req.Role = gateway.RoleResident
	}
	if !req.Role.Valid() {
		return Answer{}, web.BadRequest("role: want resident, guest or installer")
	}
	p, err := s.backend.Pairing.Open(r.Context(), req.Role)
	if err != nil {
		return Answer{}, err
	}
	return reply(201, p)
}

func (s sessions) closePairing(r *request) (Answer, error) {
	return Answer{Status: 204}, s.backend.Pairing.Close(r.Context(), r.URL.Query().Get("id"))
}

// maxWait bounds a wait for a device, so that a connection that is gone is noticed.
const maxWait = 30 * time.Second

func (s sessions) awaitPairing(r *request) (Answer, error) {
	wait := time.Duration(0)
	if q := r.URL.Query().Get("wait"); q != "" {
		n, err := strconv.Atoi(q)
		if err != nil || n < 0 || n > int(maxWait/time.Second) {
			return Answer{}, web.BadRequest("wait: want seconds from 0 to %d", int(maxWait/time.Second))
		}
		wait = time.Duration(n) * time.Second
	}
	state, err := s.backend.Pairing.Await(r.Context(), r.URL.Query().Get("id"), wait)
	if err != nil {
		return Answer{}, err
	}
	return reply(200, state)
}

// session says who asks. The console has no session.
func (s sessions) session(r *request) (Answer, error) {
	if r.caller.Resident == "" {
		return Answer{}, web.Unauthorized("the socket needs no session")
	}
	return reply(200, Session{r.caller.Resident, r.caller.device.Role, !r.caller.device.Unconfirmed})
}

// endSession removes the device that asks.
func (s sessions) endSession(r *request) (Answer, error) {
	if r.caller.Resident == "" {
		return Answer{}, web.Unauthorized("the socket needs no session")
	}
	if err := s.backend.Residents.Remove(r.Context(), r.caller, r.caller.Resident); err != nil {
		return Answer{}, err
	}
	return Answer{Status: http.StatusNoContent, cookie: sessionCookie("")}, nil
}

func (s sessions) moveSession(r *request) (Answer, error) {
	if r.caller.Resident == "" {
		return Answer{}, web.Unauthorized("the socket needs no session")
	}
	m, err := s.backend.Pairing.Move(r.Context(), r.caller.Resident)
	if err != nil {
		return Answer{}, err
	}
	return reply(201, m)
}

// certificate serves the house CA, as it is or as an Apple profile.
func (s sessions) certificate(kind string) func(*request) (Answer, error) {
	return func(*request) (Answer, error) {
		der, profile, err := s.backend.Upkeep.CA()
		if err != nil {
			return Answer{}, err
		}
		if kind == profileType {
			der = profile
		}
		return Answer{Status: 200, Type: kind, Body: der}, nil
	}
}

// The media types of the house CA: for Android and others, and for Apple's devices.
const (
	certificateType = "application/x-x509-ca-cert"
	profileType     = "application/x-apple-aspen-config"
)
