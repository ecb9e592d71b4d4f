package api

import (
	"net"
	"net/http"
	"strings"

	"gardien/gateway"
	"gardien/gateway/web"
)

func (s *Server) status(r *request) (Answer, error) {
	st, err := s.backend.Upkeep.Status(r.Context(), r.caller.who()&installers == 0)
	if err != nil {
		return Answer{}, err
	}
	return reply(200, st)
}

func listDoors(doors DoorService, r *request) (Answer, error) {
	list := Doors{doors.List()}
	for i, d := range list.Doors {
		list.Doors[i] = shown(d, r.caller)
	}
	return reply(200, list)
}

func (s *Server) door(r *request) (Answer, error) {
	d, err := s.findDoor(r.PathValue("door"))
	if err != nil {
		return Answer{}, err
	}
	return reply(200, shown(d, r.caller))
}

func (s *Server) veto(r *request) (Answer, error) {
	d, err := s.findDoor(r.PathValue("door"))
	if err != nil {
		return Answer{}, err
	}
	return Answer{Status: 204}, s.backend.Doors.Veto(r.Context(), r.caller, d.ID)
}

// lift ends the lock-out and the pause at a reader.
func lift(doors DoorService) func(*request) (Answer, error) {
	return func(r *request) (Answer, error) {
		return Answer{Status: 204}, doors.Lift(r.Context(), r.caller, gateway.ReaderID(r.PathValue("reader")))
	}
}

func (s *Server) findDoor(id string) (Door, error) {
	var ids []string
	for _, d := range s.backend.Doors.List() {
		if string(d.ID) == id {
			return d, nil
		}
		ids = append(ids, string(d.ID))
	}
	return Door{}, NotFound("door", id, ids)
}

// presentsGrant reports whether an attempt's body has a grant or a proof. What cannot be read
// presents one: its reader says what is wrong with it.
func presentsGrant(body []byte) bool {
	var req AttemptRequest
	return web.Decode(body, &req, web.KnownOnly) != nil || req.Grant != nil || req.Proof != nil
}

// attempt judges a grant as that grant, whoever asks; {} is the resident's own wish.
func (s *Server) attempt(r *request) (Answer, error) {
	var req AttemptRequest
	if err := r.read(&req); err != nil {
		return Answer{}, err
	}
	isGrant := req.Grant != nil || req.Proof != nil
	d, err := s.findDoor(r.PathValue("door"))
	if err != nil && !r.caller.known() {
		err = Fail(http.StatusNotFound, "not-found", "no such door") // which there are is the residents' to know
	}
	if err != nil {
		return Answer{}, err
	}
	reader := gateway.ReaderApp
	var cred gateway.Credential = gateway.ResidentCredential{Resident: r.caller.Resident, Guest: r.caller.who()&guests != 0, Hold: req.Hold}
	if isGrant {
		reader, cred = gateway.ReaderLAN, gateway.GrantCredential{Text: secretOf(req.Grant), Proof: secretOf(req.Proof)}
	}
	v, err := s.backend.Doors.Attempt(r.Context(), d.ID, reader, cred)
	switch {
	case err != nil:
		return Answer{}, err
	case v.Pending != "":
		return reply(http.StatusAccepted, Pending{v.Pending, "pending"})
	case v.Reason == "":
		return reply(http.StatusOK, v.Granted)
	}
	return denied(v.Reason.Code())
}

func secretOf(s *string) gateway.Secret {
	if s == nil {
		return gateway.Secret{}
	}
	return gateway.NewSecret(*s)
}

// denialLength is the one length of every denial's body (A8).
const denialLength = 64

func denied(code gateway.DenialCode) (Answer, error) {
	a, err := reply(403, Denied{"denied", code})
	if err == nil {
		a = padded(a, denialLength)
	}
	return a, err
}

// padded makes an answer's body so long, by spaces at its end.
func padded(a Answer, length int) Answer {
	pad := strings.Repeat(" ", max(length-len(a.Body), 0))
	a.Body = append(a.Body[:len(a.Body)-1], pad+"\n"...)
	return a
}

// shown gives a door as a caller may see it: who waits for the residents is theirs to know.
func shown(d Door, c Caller) Door {
	if c.who()&(residents|console) == 0 {
		d.Knock = nil
	}
	return d
}

// addressOf is a client's; those of the socket have none, and share one.
func addressOf(r *http.Request) string {
	addr, _, err := net.SplitHostPort(r.RemoteAddr)
	if err != nil {
		return r.RemoteAddr
	}
	return addr
}

func (s *Server) nonce(r *request) (Answer, error) {
	n, err := s.backend.Doors.Nonce(addressOf(r.Request))
	if err != nil {
		return Answer{}, err
	}
	return reply(201, n)
}
