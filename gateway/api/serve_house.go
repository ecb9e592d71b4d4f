package api

import (
	"context"
	"fmt"

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

func (s *Server) pair(r *request) (Answer, error) {
	var req PairingRequest
	if err := r.read(&req); err != nil {
		return Answer{}, err
	}
	p, err := s.backend.Residents.Pair(r.Context(), req)
	if err != nil {
		return Answer{}, err
	}
	return reply(201, p)
}

func (s *Server) openPairing(r *request) (Answer, error) {
	p, err := s.backend.Residents.OpenPairing(r.Context())
	if err != nil {
		return Answer{}, err
	}
	return reply(201, p)
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

func (s *Server) pauseIssuer(paused bool) func(*request) (Answer, error) {
	return func(r *request) (Answer, error) {
		return Answer{Status: 204}, s.backend.Issuers.Pause(r.Context(), r.caller, gateway.IssuerID(r.PathValue("id")), paused)
	}
}

func (s *Server) pauseAll(paused bool) func(*request) (Answer, error) {
	return func(r *request) (Answer, error) {
		return Answer{Status: 204}, s.backend.Issuers.PauseAll(r.Context(), r.caller, paused)
	}
}

func (s *Server) residents(r *request) (Answer, error) {
	list, err := s.backend.Residents.List(r.Context())
	if err != nil {
		return Answer{}, err
	}
	return reply(200, Residents{list})
}

func (s *Server) removeResident(r *request) (Answer, error) {
	return Answer{Status: 204}, s.backend.Residents.Remove(r.Context(), gateway.ResidentID(r.PathValue("id")))
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
