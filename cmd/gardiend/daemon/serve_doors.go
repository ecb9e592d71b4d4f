package daemon

import (
	"context"
	"errors"
	"net/http"
	"time"

	"gardien/gateway"
	"gardien/gateway/access"
	"gardien/gateway/api"
	"gardien/store"
)

// doorService serves doors to the API.
type doorService struct{ g *Gateway }

// List implements api.DoorService.
func (s doorService) List() []api.Door {
	list, at := []api.Door{}, s.g.clock.Read()
	for _, d := range s.g.house {
		door := s.g.doorOf(s.g.view(d.ID), at)
		door.Knock = s.g.knockAt(d.ID)
		list = append(list, door)
	}
	return list
}

// view is what is known of a door, the board included.
func (g *Gateway) view(id gateway.DoorID) gateway.DoorView {
	return accessDoors{g.house, g.board}.View(id)
}

// doorOf writes what is known of a door at a reading. A view's instants are of the process's clock: one
// that is set later moves none of them.
func (g *Gateway) doorOf(s gateway.DoorView, at gateway.Reading) api.Door {
	ago := func(t time.Time) string { return g.stamp(at.Wall.Add(-time.Since(t))) }
	d := api.Door{ID: s.ID, Name: s.Name, Strike: orNull(string(s.Strike)), Contact: orNull(string(s.Contact)), HeldOpen: s.HeldOpen, Fault: s.Fault,
		Blocked: s.Blocked, Health: append([]gateway.Ailment{}, s.Ailments...), Since: ago(s.Since), Battery: s.Battery}
	if !s.SeenAt.IsZero() {
		d.SeenAt = orNull(ago(s.SeenAt))
	}
	if s.OpenedBy != "" {
		d.OpenedBy = &s.OpenedBy
	}
	// A strike's monitor is no lock; only its trouble shows.
	if s.Strike == "" || s.Lock == gateway.LockJammed || s.Lock == gateway.LockUnknown {
		d.Lock = orNull(string(s.Lock))
	}
	return d
}

// Attempt implements api.DoorService.
func (s doorService) Attempt(ctx context.Context, door gateway.DoorID, reader gateway.ReaderID, c gateway.Credential) (api.Verdict, error) {
	// A phone that hangs up does not undo what was decided.
	out := s.g.access.Present(context.WithoutCancel(ctx), door, reader, c)
	v := api.Verdict{Reason: out.Reason, Granted: api.Granted{Decision: "granted", Door: door, ReleaseTime: out.ReleaseTime.String(), Attempt: out.Attempt}}
	if out.Pending {
		v.Pending = out.Attempt
	}
	return v, nil
}

// Nonce implements api.DoorService.
func (s doorService) Nonce(addr string) (api.Nonce, error) {
	n, err := s.g.access.Nonces.New(addr, s.g.clock.Read().SinceBoot)
	if errors.Is(err, access.ErrTooManyNonces) {
		return api.Nonce{}, api.Fail(http.StatusTooManyRequests, "too-many-requests", "%v: use those you have, or wait", err)
	}
	return api.Nonce{Nonce: n, ExpiresIn: int(access.NonceLife.Seconds())}, err
}

// Veto implements api.DoorService.
func (s doorService) Veto(ctx context.Context, by api.Caller, door gateway.DoorID) error {
	if !s.g.access.Veto(ctx, door) {
		return api.Fail(http.StatusConflict, "nobody-knocks", "nobody knocks at door %s", door)
	}
	return s.g.store.Update(ctx, func(tx *store.Tx) error {
		return tx.Record.Append(gateway.Event{Type: gateway.KnockVetoed, Door: door, Resident: by.Resident})
	})
}

// Lift implements api.DoorService.
func (s doorService) Lift(ctx context.Context, by api.Caller, reader gateway.ReaderID) error {
	found, err := s.g.access.Lift(context.WithoutCancel(ctx), reader, by.Resident)
	if err == nil && !found {
		var ids []string
		for _, r := range s.g.cfg.Readers {
			ids = append(ids, r.ID)
		}
		err = api.NotFound("reader", string(reader), ids)
	}
	return err
}
