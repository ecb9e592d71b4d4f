package daemon

import (
	"context"
	"errors"
	"net/http"
	"time"

	"gardien/gateway"
	"gardien/gateway/access"
	"gardien/gateway/api"
)

// attemptService serves to the API the attempts for which residents are asked.
type attemptService struct{ g *Gateway }

// Outcome implements api.AttemptService.
func (s attemptService) Outcome(id gateway.AttemptID) (api.AttemptOutcome, <-chan struct{}, error) {
	door, out, settled, found := s.g.access.Asks.Outcome(id)
	o := api.AttemptOutcome{Attempt: id, Decision: "pending"}
	switch {
	case !found:
		return o, nil, answerProblem(access.ErrNotAsked)
	case out.Pending:
		return o, settled, nil
	case out.Granted:
		o.Decision, o.Door, o.ReleaseTime = "granted", door, out.ReleaseTime.String()
	default:
		o.Decision, o.Code = "denied", out.Reason.Code()
	}
	return o, nil, nil
}

// Approve implements api.AttemptService.
func (s attemptService) Approve(ctx context.Context, by api.Caller, id gateway.AttemptID) error {
	return answerProblem(s.g.access.Asks.Approve(ctx, id, by.Resident))
}

// Deny implements api.AttemptService.
func (s attemptService) Deny(ctx context.Context, by api.Caller, id gateway.AttemptID) error {
	return answerProblem(s.g.access.Asks.Deny(ctx, id, by.Resident))
}

// answerProblem tells why an answer does not count.
func answerProblem(err error) error {
	switch {
	case errors.Is(err, access.ErrNotAsked):
		return api.Fail(http.StatusNotFound, "not-found", "%v", err)
	case errors.Is(err, access.ErrAnswered):
		return api.Fail(http.StatusConflict, "answered", "%v", err)
	}
	return err
}

// knockAt tells who waits for the residents at a door; nil: nobody does.
func (g *Gateway) knockAt(door gateway.DoorID) *api.Knock {
	w := g.access.Asks.AtDoor(door)
	if w == nil {
		return nil
	}
	until := g.clock.Read().Wall.Add(time.Until(w.Until))
	return &api.Knock{Attempt: w.Attempt, Grant: string(w.Grant.Issuer) + "/" + w.Grant.JTI, Issuer: w.Grant.Issuer, Until: g.stamp(until), Asks: w.Asks}
}
