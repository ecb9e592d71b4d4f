package api

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"time"

	"gardien/gateway"
	"gardien/gateway/web"
)

func (s *Server) enrolInCloud(r *request) (Answer, error) {
	var req CloudEnrolment
	if err := r.read(&req); err != nil {
		return Answer{}, err
	}
	st, err := s.backend.Upkeep.EnrolInCloud(r.Context(), req)
	if err != nil {
		return Answer{}, err
	}
	return reply(200, st)
}

func (s *Server) verify(r *request) (Answer, error) {
	v, err := s.backend.Record.Verify(r.Context())
	if err != nil {
		return Answer{}, err
	}
	return reply(200, v)
}

func (s *Server) forget(r *request) (Answer, error) {
	var req ForgetRequest
	if err := r.read(&req); err != nil {
		return Answer{}, err
	}
	if req.Ref == "" {
		return Answer{}, web.BadRequest("ref: name a sub, an issuer/jti or a resident's id")
	}
	n, err := s.backend.Record.Forget(r.Context(), req.Ref)
	if err != nil {
		return Answer{}, err
	}
	return reply(200, Forgotten{n})
}

func (s *Server) issuers(r *request) (Answer, error) {
	list, err := s.backend.Issuers.List(r.Context())
	if err != nil {
		return Answer{}, err
	}
	return reply(200, Issuers{list})
}

// asPause reads the pause that a request is for; nil resumes.
type asPause func(*request) (*gateway.Pause, error)

func (s *Server) pauseIssuer(read asPause) func(*request) (Answer, error) {
	return func(r *request) (Answer, error) {
		p, err := read(r)
		if err != nil {
			return Answer{}, err
		}
		return Answer{Status: 204}, s.backend.Issuers.Pause(r.Context(), r.caller, gateway.IssuerID(r.PathValue("id")), p)
	}
}

func (s *Server) pauseAll(read asPause) func(*request) (Answer, error) {
	return func(r *request) (Answer, error) {
		p, err := read(r)
		if err != nil {
			return Answer{}, err
		}
		return Answer{Status: 204}, s.backend.Issuers.PauseAll(r.Context(), r.caller, p)
	}
}

// ends is what a request to resume is for.
func ends(*request) (*gateway.Pause, error) { return nil, nil }

// issuersPause reads a pause of one third party.
func issuersPause(r *request) (*gateway.Pause, error) {
	var req IssuerPauseRequest
	if err := r.read(&req); err != nil {
		return nil, err
	}
	return pauseOf(PauseRequest{Until: req.Until})
}

// housePause reads a pause of all third parties, or a vacation.
func housePause(r *request) (*gateway.Pause, error) {
	var req PauseRequest
	if err := r.read(&req); err != nil {
		return nil, err
	}
	return pauseOf(req)
}

// pauseOf checks what needs no clock and no memory.
func pauseOf(req PauseRequest) (*gateway.Pause, error) {
	p := &gateway.Pause{Home: req.Home, Keep: req.Keep}
	for _, t := range []struct {
		from *time.Time
		to   *time.Time
		name string
	}{{req.From, &p.From, "from"}, {req.Until, &p.Until, "until"}} {
		if t.from == nil {
			continue
		}
		if t.from.Before(gateway.MinTime) || t.from.After(gateway.MaxTime) {
			return nil, web.BadRequest("%s: want an instant from 2020 to 2100", t.name)
		}
		*t.to = t.from.UTC().Truncate(time.Second)
	}
	switch {
	case req.From != nil && req.Until != nil && !p.From.Before(p.Until):
		return nil, web.BadRequest("until: the pause would end before it begins: until must lie after from")
	case len(p.Keep) > 0 && !p.Home:
		return nil, web.BadRequest("keep: this pause concerns no grant made at home: say home, or leave keep out")
	case len(p.Keep) > gateway.MaxKept:
		return nil, web.BadRequest("keep: at most %d grants", gateway.MaxKept)
	}
	for _, id := range p.Keep {
		if id.Issuer != gateway.HomeIssuer {
			return nil, web.BadRequest("keep: %s is a third party's: only grants made at home can be kept", id)
		}
	}
	slices.SortFunc(p.Keep, func(a, b gateway.GrantID) int { return strings.Compare(a.JTI, b.JTI) })
	p.Keep = slices.Compact(p.Keep)
	return p, nil
}

func (s *Server) residents(r *request) (Answer, error) {
	list, err := s.backend.Residents.List(r.Context(), r.caller)
	if err != nil {
		return Answer{}, err
	}
	return reply(200, Residents{list})
}

func (s *Server) removeResident(r *request) (Answer, error) {
	return Answer{Status: 204}, s.backend.Residents.Remove(r.Context(), r.caller, gateway.ResidentID(r.PathValue("id")))
}

func (s *Server) duress(r *request) (Answer, error) {
	var req DuressRequest
	if err := r.read(&req); err != nil {
		return Answer{}, err
	}
	for _, d := range req.Doors {
		if _, err := s.findDoor(string(d)); err != nil {
			return Answer{}, err
		}
	}
	made, err := s.backend.Residents.Duress(r.Context(), r.caller, gateway.ResidentID(r.PathValue("id")), req)
	if err != nil {
		return Answer{}, err
	}
	return reply(201, made)
}

func (s *Server) descriptor(r *request) (Answer, error) {
	d, err := s.backend.Upkeep.Descriptor(r.Context())
	if err != nil {
		return Answer{}, err
	}
	return reply(200, d)
}

func (s *Server) confirmClock(r *request) (Answer, error) {
	c, err := s.backend.Upkeep.ConfirmClock(r.Context(), r.caller)
	if err != nil {
		return Answer{}, err
	}
	return reply(200, c)
}

// simulate reads the arguments and answers when all is recorded.
func simulate[T any](move func(ctx context.Context, v T) error) func(*request) (Answer, error) {
	return func(r *request) (Answer, error) {
		var v T
		if err := r.read(&v); err != nil {
			return Answer{}, err
		}
		if err := move(r.Context(), v); err != nil {
			return Answer{}, fmt.Errorf("%w", err)
		}
		return Answer{Status: 204}, nil
	}
}
