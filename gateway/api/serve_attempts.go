package api

import (
	"context"
	"maps"
	"net/http"
	"strconv"
	"time"

	"gardien/gateway"
	"gardien/gateway/web"
)

// Verdict is what became of an attempt.
type Verdict struct {
	Granted Granted           // where Reason is ""
	Reason  gateway.Reason    // why not; "" grants
	Pending gateway.AttemptID // the residents are asked; "": they are not
}

// AttemptService is the attempts for which residents are asked.
type AttemptService interface {
	// Outcome tells what came of one; while it is pending, settled is closed when that ends. One that
	// nobody asks with is 404.
	Outcome(id gateway.AttemptID) (o AttemptOutcome, settled <-chan struct{}, err error)
	// Approve lets in whoever waits, if the rule still does; one that is answered already is 409.
	Approve(ctx context.Context, by Caller, id gateway.AttemptID) error
	// Deny refuses it.
	Deny(ctx context.Context, by Caller, id gateway.AttemptID) error
}

// Pending answers an attempt for which residents are asked.
type Pending struct {
	Attempt  gateway.AttemptID `json:"attempt"`
	Decision string            `json:"decision"` // pending
}

// AttemptOutcome is what came of an attempt for which residents were asked.
type AttemptOutcome struct {
	Attempt     gateway.AttemptID  `json:"attempt"`
	Decision    string             `json:"decision"`               // pending, granted, denied
	Door        gateway.DoorID     `json:"door,omitempty"`         // granted
	ReleaseTime string             `json:"release_time,omitempty"` // granted
	Code        gateway.DenialCode `json:"code,omitempty"`         // denied
}

// Knock is who stands at a door while residents may say no, or have to say yes.
type Knock struct {
	Attempt gateway.AttemptID `json:"attempt"`
	Grant   string            `json:"grant"` // iss/jti; iss/ where it is an issuer's command
	Issuer  gateway.IssuerID  `json:"issuer"`
	Until   string            `json:"until"` // when the residents' time is over
	Asks    bool              `json:"asks"`  // it opens nothing without a yes; else it opens unless somebody says no
}

// asks reads a request's approval.
func (r *GrantRequest) asks() (gateway.Approval, error) {
	silence := gateway.Approval(r.ApprovalSilence)
	switch {
	case r.Approval != "" && r.Approval != "off" && r.Approval != "ask":
		return "", web.BadRequest(`approval: want "off" or "ask"`)
	case silence != "" && silence != gateway.SilenceDenies && silence != gateway.SilenceOpens:
		return "", web.BadRequest(`approval_silence: want "deny" or "approve"`)
	case r.Approval != "ask" && silence != "":
		return "", web.BadRequest(`approval_silence: nobody is asked, so that nobody is silent: add "approval": "ask"`)
	case r.Approval == "ask" && r.Resident != "":
		return "", web.BadRequest("approval: a resident's own PIN asks nobody")
	case r.Approval == "ask" && silence == "":
		return gateway.SilenceDenies, nil
	}
	return silence, nil
}

// attempts serves them.
type attempts struct {
	service AttemptService
	stop    <-chan struct{}
}

func (s attempts) routes() []route {
	answers := map[int]any{204: nil, 404: gateway.Problem{}, 409: gateway.Problem{}}
	return []route{
		{may: anybody, Route: web.Route{Method: "GET", Path: "/v1/attempts/{id}", Summary: "What came of an attempt for which residents are asked; with wait (seconds, at most 8) as soon as it is known", Query: []string{"wait"},
			Responses: map[int]any{200: AttemptOutcome{}, 404: gateway.Problem{}}}, answer: s.outcome},
		{may: residents, Route: web.Route{Method: "POST", Path: "/v1/attempts/{id}/approve", Summary: "Let in whoever waits, if the rule still does; the first answer counts",
			Responses: answers}, answer: s.act(AttemptService.Approve)},
		{may: residents, Route: web.Route{Method: "POST", Path: "/v1/attempts/{id}/deny", Summary: "Refuse whoever waits, here and at every other door, for three minutes",
			Responses: maps.Clone(answers)}, answer: s.act(AttemptService.Deny)},
	}
}

func (s attempts) act(f func(AttemptService, context.Context, Caller, gateway.AttemptID) error) func(*request) (Answer, error) {
	return func(r *request) (Answer, error) {
		return Answer{Status: http.StatusNoContent}, f(s.service, r.Context(), r.caller, gateway.AttemptID(r.PathValue("id")))
	}
}

// outcomeLength is the one length of all outcomes that are denied (A8).
const outcomeLength = 128

// longestOutcome bounds a wait: a request has 10 s (N2).
const longestOutcome = 8

func (s attempts) outcome(r *request) (Answer, error) {
	wait := 0
	if q := r.URL.Query().Get("wait"); q != "" {
		var err error
		if wait, err = strconv.Atoi(q); err != nil || wait < 0 || wait > longestOutcome {
			return Answer{}, web.BadRequest("wait: want seconds from 0 to %d", longestOutcome)
		}
	}
	id := gateway.AttemptID(r.PathValue("id"))
	o, settled, err := s.service.Outcome(id)
	if err == nil && settled != nil && wait > 0 {
		t := time.NewTimer(time.Duration(wait) * time.Second)
		defer t.Stop()
		select {
		case <-settled:
		case <-t.C:
		case <-r.Context().Done():
		case <-s.stop:
		}
		o, _, err = s.service.Outcome(id)
	}
	if err != nil {
		return Answer{}, err
	}
	a, err := reply(http.StatusOK, o)
	if o.Code != "" && err == nil {
		a = padded(a, outcomeLength)
	}
	return a, err
}
