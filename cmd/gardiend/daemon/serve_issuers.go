package daemon

import (
	"context"
	"errors"
	"fmt"
	"time"

	"gardien/configs"
	"gardien/gateway"
	"gardien/gateway/api"
	"gardien/store"
)

// issuerService serves third parties to the API.
type issuerService struct{ g *Gateway }

// List implements api.IssuerService.
func (s issuerService) List(ctx context.Context) ([]api.Issuer, error) {
	cfg := s.g.inForce.Load()
	today := s.g.clock.Read().Wall.In(cfg.Zone()).Format(time.DateOnly)
	list := []api.Issuer{}
	for _, i := range cfg.Issuers {
		id := gateway.IssuerID(i.ID)
		st, err := store.Look(ctx, s.g.store, func(tx *store.Tx) gateway.IssuerState { return tx.Issuers.State(id, today) })
		if err != nil {
			return nil, err
		}
		p := i.Policy()
		out := api.Issuer{ID: id, Name: i.Name, Doors: p.Doors, Paused: st.Paused, Today: st.Today, Policies: policyLines(i), SetAside: orNull(i.SetAside)}
		if !st.HeardAt.IsZero() {
			out.HeardAt = orNull(s.g.stamp(st.HeardAt))
		}
		if !st.ManifestAt.IsZero() {
			out.ManifestAt = orNull(s.g.stamp(st.ManifestAt))
		}
		set, _ := s.g.issuers.Keys(id)
		out.KeyIDs = set.KeyIDs()
		list = append(list, out)
	}
	return list, nil
}

func policyLines(i configs.Issuer) []string {
	lines := []string{}
	add := func(on bool, format string, args ...any) {
		if on {
			lines = append(lines, fmt.Sprintf(format, args...))
		}
	}
	add(i.OneTimeOnly, "one-time grants only")
	add(len(i.Hours) > 0, "hours in %d windows", len(i.Hours))
	add(i.MaxValidity > 0, "valid for at most %s", time.Duration(i.MaxValidity))
	add(i.PerDay > 0, "at most %d entries a day", i.PerDay)
	add(i.OfflineLimit > 0, "stops %s after it was last heard from", time.Duration(i.OfflineLimit))
	add(i.Bearer, "grants may be scanned at a reader")
	add(i.RemoteUnlock, "may unlock from afar")
	add(i.Knock > 0, "residents are asked first, for %s", time.Duration(i.Knock))
	add(i.AllowStaticCredentials, "cards are allowed")
	return lines
}

// Pause implements api.IssuerService.
func (s issuerService) Pause(ctx context.Context, by api.Caller, id gateway.IssuerID, paused bool) error {
	var ids []string
	for _, i := range s.g.inForce.Load().Issuers {
		if gateway.IssuerID(i.ID) == id {
			e := gateway.Event{Type: gateway.IssuerResumed, Issuer: id, Resident: by.Resident}
			if paused {
				e.Type = gateway.IssuerPausedOn
			}
			return s.g.store.Update(ctx, func(tx *store.Tx) error {
				if !tx.Issuers.Pause(id, paused) {
					return tx.Err()
				}
				return tx.Record.Append(e)
			})
		}
		ids = append(ids, i.ID)
	}
	return api.NotFound("issuer", string(id), ids)
}

// PauseAll implements api.IssuerService. The event names no issuer: it is all of them.
func (s issuerService) PauseAll(ctx context.Context, by api.Caller, paused bool) error {
	e := gateway.Event{Type: gateway.IssuerResumed, Resident: by.Resident}
	if paused {
		e.Type = gateway.IssuerPausedOn
	}
	return s.g.store.Update(ctx, func(tx *store.Tx) error {
		quarantined := tx.House.Quarantined()
		if tx.House.Paused() == paused && (paused || !quarantined) {
			return tx.Err()
		}
		if !paused {
			tx.House.SetQuarantine("")
		}
		return errors.Join(tx.House.SetPaused(paused), tx.Record.Append(e))
	})
}
