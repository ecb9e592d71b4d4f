package daemon

import (
	"context"
	"errors"
	"net/http"
	"slices"
	"time"

	"gardien/gateway"
	"gardien/gateway/api"
	"gardien/store"
)

// issuerService serves third parties to the API.
type issuerService struct{ g *Gateway }

// List implements api.IssuerService.
func (s issuerService) List(ctx context.Context) ([]api.Issuer, error) {
	cfg := s.g.inForce.Load()
	at := s.g.clock.Read()
	today := at.Wall.In(s.g.zone).Format(time.DateOnly)
	list := []api.Issuer{}
	for _, i := range cfg.Issuers {
		id := gateway.IssuerID(i.ID)
		st, err := store.Look(ctx, s.g.store, func(tx *store.Tx) gateway.IssuerState { return tx.Issuers.State(id, today) })
		if err != nil {
			return nil, err
		}
		p := i.Policy()
		out := api.Issuer{ID: id, Name: i.Name, Doors: p.Doors, Paused: st.Paused.Holds(at), Today: st.Today, Policy: api.PolicyOf(p), SetAside: orNull(i.SetAside)}
		if stops := stopsAt(st, p.OfflineLimit); !stops.IsZero() && !st.Disproved() {
			out.StopsAt = orNull(s.g.stamp(stops))
		}
		if out.Paused {
			out.PausedUntil = s.g.untilOf(st.Paused)
		}
		if st.HeardAt.After(gateway.DisprovedAt) {
			out.HeardAt = orNull(s.g.stamp(st.HeardAt))
		}
		if st.ManifestAt.After(gateway.DisprovedAt) {
			out.ManifestAt = orNull(s.g.stamp(st.ManifestAt))
		}
		set, _ := s.g.issuers.Keys(id)
		out.KeyIDs = set.KeyIDs()
		list = append(list, out)
	}
	return list, nil
}

// Pause implements api.IssuerService.
func (s issuerService) Pause(ctx context.Context, by api.Caller, id gateway.IssuerID, p *gateway.Pause) error {
	var ids []string
	for _, i := range s.g.inForce.Load().Issuers {
		ids = append(ids, i.ID)
	}
	if !slices.Contains(ids, string(id)) {
		return api.NotFound("issuer", string(id), ids)
	}
	if err := s.comes(p); err != nil {
		return err
	}
	return s.g.store.Update(ctx, func(tx *store.Tx) error {
		if !tx.Issuers.Pause(id, p) {
			return tx.Err()
		}
		return tx.Record.Append(pauseEvent(p, id, by))
	})
}

// PauseAll implements api.IssuerService. The event names no issuer: it is all of them.
func (s issuerService) PauseAll(ctx context.Context, by api.Caller, p *gateway.Pause) error {
	if err := s.comes(p); err != nil {
		return err
	}
	return s.g.store.Update(ctx, func(tx *store.Tx) error {
		quarantined := tx.House.Quarantined()
		if tx.House.Paused().Equal(p) && (p != nil || !quarantined) {
			return tx.Err()
		}
		if p == nil {
			tx.House.SetQuarantine("")
			return errors.Join(tx.House.SetPaused(nil), tx.Record.Append(pauseEvent(nil, "", by)))
		}
		for _, id := range p.Keep {
			g, found := tx.Grants.Get(id)
			left, limited := g.UsesLeft()
			switch {
			case tx.Err() != nil:
				return tx.Err()
			case !found:
				return api.Fail(http.StatusBadRequest, "bad-request", "keep: there is no grant %s (gardien grant list)", id)
			case g.Status != gateway.GrantActive || g.Block || g.Stripped || limited && left == 0 || s.g.clock.Read().In(g.Period) == gateway.PlaceOver:
				return api.Fail(http.StatusBadRequest, "bad-request", "keep: grant %s opens nothing any more (gardien grant explain %[1]s)", id)
			}
		}
		return errors.Join(tx.House.SetPaused(p), tx.Record.Append(pauseEvent(p, "", by)))
	})
}

// comes refuses a pause that would be over already.
func (s issuerService) comes(p *gateway.Pause) error {
	if at := s.g.clock.Read(); p.Passed(at) {
		return api.Fail(http.StatusBadRequest, "bad-request", "until: it is past already: here it is %s", s.g.stamp(at.Wall))
	}
	return nil
}

func pauseEvent(p *gateway.Pause, id gateway.IssuerID, by api.Caller) gateway.Event {
	e := gateway.Event{Type: gateway.IssuerResumed, Issuer: id, Resident: by.Resident}
	if p != nil {
		e.Type = gateway.IssuerPausedOn
	}
	return e
}

// untilOf tells when a pause ends; null: when a resident resumes.
func (g *Gateway) untilOf(p *gateway.Pause) *string {
	if p == nil || p.Until.IsZero() {
		return nil
	}
	return orNull(g.stamp(p.Until))
}
