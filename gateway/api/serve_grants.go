package api

import (
	"net/http"
	"strconv"
	"time"

	"gardien/gateway"
	"gardien/gateway/web"
)

func (s *Server) grants(r *request) (Answer, error) {
	limit, err := limitOf(r)
	if err != nil {
		return Answer{}, err
	}
	var after gateway.GrantID
	if q := r.URL.Query().Get("after"); q != "" {
		if after, err = gateway.ParseGrantID(q); err != nil {
			return Answer{}, web.BadRequest("%v", err)
		}
	}
	list, err := s.backend.Grants.List(r.Context(), after, limit)
	if err != nil {
		return Answer{}, err
	}
	page := Grants{Grants: list}
	if len(list) == limit {
		page.Next = list[len(list)-1].ID
	}
	return reply(200, page)
}

func limitOf(r *request) (int, error) {
	q := r.URL.Query().Get("limit")
	if q == "" {
		return 100, nil
	}
	n, err := strconv.Atoi(q)
	if err != nil || n < 1 || n > 1000 {
		return 0, web.BadRequest("limit: want 1 to 1000")
	}
	return n, nil
}

func (s *Server) makeGrant(r *request) (Answer, error) {
	var req GrantRequest
	if err := r.read(&req); err != nil {
		return Answer{}, err
	}
	switch {
	case len(req.Doors) == 0 || len(req.Doors) > 8:
		return Answer{}, web.BadRequest("doors: name 1 to 8 doors")
	case req.NotAfter == nil && req.Schedule == nil:
		return Answer{}, web.BadRequest("not_after: say when the grant ends, or give a schedule")
	case req.Uses != nil && (*req.Uses < 1 || *req.Uses > 1<<20):
		return Answer{}, web.BadRequest("uses: want a number from 1 on, at most 1048576, or leave it out for as often as wanted")
	case req.Resident != "" && !req.PIN:
		return Answer{}, web.BadRequest("resident: it is for that resident's own PIN, so ask for one (\"pin\": true)")
	case req.Resident != "" && req.Holder != "":
		return Answer{}, web.BadRequest("resident: a resident's own is a PIN; a phone is paired (gardien pair), or gets a grant of its own")
	case req.Kind != "" && !req.Kind.Valid():
		return Answer{}, web.BadRequest("kind: want courier, technician, employee or family, or leave it out")
	case req.Holder != "" && !gateway.ValidThumbprint(req.Holder):
		return Answer{}, web.BadRequest("holder: want the thumbprint of a P-256 key (RFC 7638), 43 characters of base64url")
	}
	if req.Schedule != nil {
		if err := req.Schedule.Validate(); err != nil {
			return Answer{}, web.BadRequest("schedule: %v", err)
		}
	}
	for _, d := range req.Doors {
		if _, err := s.findDoor(string(d)); err != nil {
			return Answer{}, err
		}
	}
	if !req.PIN && req.Card == "" && req.Holder == "" {
		return Answer{}, web.BadRequest("nothing could present the grant: give it pin, card or holder")
	}
	approval, err := req.asks()
	if err != nil {
		return Answer{}, err
	}
	req.ApprovalSilence = string(approval)
	made, err := s.backend.Grants.Make(r.Context(), r.caller, req)
	if err != nil {
		return Answer{}, err
	}
	return reply(201, made)
}

func grantID(r *request) (gateway.GrantID, error) {
	id, err := gateway.ParseGrantID(r.PathValue("id"))
	if err != nil {
		return id, Fail(http.StatusNotFound, "not-found", "%v", err)
	}
	return id, nil
}

func (s *Server) grant(r *request) (Answer, error) {
	id, err := grantID(r)
	if err != nil {
		return Answer{}, err
	}
	g, err := s.backend.Grants.Get(r.Context(), id)
	if err != nil {
		return Answer{}, err
	}
	return reply(200, g)
}

func (s *Server) revoke(r *request) (Answer, error) {
	id, err := grantID(r)
	if err != nil {
		return Answer{}, err
	}
	return Answer{Status: 204}, s.backend.Grants.Revoke(r.Context(), r.caller, id)
}

func (s *Server) explain(r *request) (Answer, error) {
	id, err := grantID(r)
	if err != nil {
		return Answer{}, err
	}
	var at time.Time
	if q := r.URL.Query().Get("at"); q != "" {
		if at, err = time.Parse(time.RFC3339, q); err != nil {
			return Answer{}, web.BadRequest("at: want RFC 3339, as in 2026-11-23T09:41:00+01:00")
		}
	}
	door := r.URL.Query().Get("door")
	if door != "" {
		if _, err := s.findDoor(door); err != nil {
			return Answer{}, err
		}
	}
	x, err := s.backend.Grants.Explain(r.Context(), id, gateway.DoorID(door), at)
	if err != nil {
		return Answer{}, err
	}
	return reply(200, x)
}
