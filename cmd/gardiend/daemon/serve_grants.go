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

// grantService serves grants to the API.
type grantService struct{ g *Gateway }

// List implements api.GrantService.
func (s grantService) List(ctx context.Context, after gateway.GrantID, limit int) ([]api.Grant, error) {
	var records []gateway.GrantRecord
	var codes []gateway.PINRecord
	err := s.g.store.Browse(ctx, func(tx *store.Tx) error {
		if records = tx.Grants.List(after, limit); len(records) > 0 {
			codes = tx.Codes.Between(records[0].ID, records[len(records)-1].ID)
		}
		return nil
	})
	return s.g.grantsOf(records, codes), err
}

// grantsOf writes grants; codes are their live PINs and cards.
func (g *Gateway) grantsOf(records []gateway.GrantRecord, codes []gateway.PINRecord) []api.Grant {
	list := []api.Grant{}
	facts := g.access.Look(records, codes)
	for i, r := range records {
		out := g.grantOf(r)
		out.Presentable = facts[i].Presentable
		out.Approval, out.ApprovalSilence = api.ApprovalOf(facts[i].Approval)
		list = append(list, out)
	}
	return list
}

func (g *Gateway) grantOf(r gateway.GrantRecord) api.Grant {
	out := api.Grant{ID: r.ID.String(), Issuer: r.ID.Issuer, JTI: r.ID.JTI, Ver: r.Version, Status: r.Status, Doors: r.Doors,
		NotBefore: g.stamp(r.NotBefore), NotAfter: g.stamp(r.NotAfter), Schedule: r.Schedule, Sub: orNull(r.Sub), Kind: r.Whom()}
	if r.Maker != "" {
		out.MadeBy = &r.Maker
	}
	if r.Block {
		out.Status = gateway.GrantRevoked
	}
	if left, limited := r.UsesLeft(); limited {
		out.Uses, out.UsesLeft = &r.Uses, &left
	}
	return out
}

// Get implements api.GrantService.
func (s grantService) Get(ctx context.Context, id gateway.GrantID) (api.Grant, error) {
	var r gateway.GrantRecord
	var codes []gateway.PINRecord
	found := false
	err := s.g.store.View(ctx, func(tx *store.Tx) error {
		r, found = tx.Grants.Get(id)
		codes = tx.Codes.Between(id, id)
		return nil
	})
	if err == nil && !found {
		err = s.g.noGrant(ctx, id)
	}
	if err != nil {
		return api.Grant{}, err
	}
	return s.g.grantsOf([]gateway.GrantRecord{r}, codes)[0], nil
}

// noGrant says what exists, as far as one line can.
func (g *Gateway) noGrant(ctx context.Context, id gateway.GrantID) error {
	records, err := store.Look(ctx, g.store, func(tx *store.Tx) []gateway.GrantRecord { return tx.Grants.List(gateway.GrantID{}, 6) })
	if err != nil {
		return err
	}
	var ids []string
	for _, r := range records {
		ids = append(ids, r.ID.String())
	}
	if len(ids) == 6 {
		ids[5] = "… (gardien grant list)"
	}
	return api.NotFound("grant", id.String(), ids)
}

// Make implements api.GrantService.
func (s grantService) Make(ctx context.Context, by api.Caller, req api.GrantRequest) (api.GrantMade, error) {
	h := access.HomeGrant{Doors: req.Doors, Schedule: req.Schedule, Sub: req.Sub, PIN: req.PIN, Holder: req.Holder, Owner: req.Resident, By: by.Resident, Kind: req.Kind,
		Approval: gateway.Approval(req.ApprovalSilence)}
	if h.Owner != "" {
		if err := s.g.residents.Known(ctx, h.Owner); err != nil {
			return api.GrantMade{}, asProblem(err)
		}
	}
	if req.Uses != nil {
		h.Uses = *req.Uses
	}
	if req.Card != "" {
		card, err := gateway.ParseCard(req.Card)
		if err != nil {
			return api.GrantMade{}, api.Fail(http.StatusBadRequest, "bad-request", "card: %v", err)
		}
		h.Card = card
	}
	for _, t := range []struct {
		from *time.Time
		to   *time.Time
		name string
	}{{req.NotBefore, &h.NotBefore, "not_before"}, {req.NotAfter, &h.NotAfter, "not_after"}} {
		if t.from == nil {
			continue
		}
		if t.from.Before(gateway.MinTime) || t.from.After(gateway.MaxTime) {
			return api.GrantMade{}, api.Fail(http.StatusBadRequest, "bad-request", "%s: want an instant from 2020 to 2100", t.name)
		}
		*t.to = t.from.Truncate(time.Second)
	}
	return s.g.makeHome(ctx, h)
}

func (g *Gateway) makeHome(ctx context.Context, h access.HomeGrant) (api.GrantMade, error) {
	if h.Kind == "" && (h.Owner != "" || h.Duress != "") {
		h.Kind = gateway.KindFamily // a PIN of one's own; a duress PIN looks like any other
	}
	made, err := g.access.Home(ctx, h)
	var refusal *gateway.Refusal
	if errors.As(err, &refusal) {
		return api.GrantMade{}, api.Fail(http.StatusBadRequest, "bad-request", "%s", refusal.Detail)
	}
	if err != nil {
		return api.GrantMade{}, err
	}
	out := api.GrantMade{ID: made.ID.String(), PIN: made.PIN.Reveal()}
	if h.Holder != "" {
		out.Grant = made.Text
	}
	return out, nil
}

// Revoke implements api.GrantService.
func (s grantService) Revoke(ctx context.Context, by api.Caller, id gateway.GrantID) error {
	found, err := s.g.access.Revoke(ctx, id, by.Resident)
	if err == nil && !found {
		err = s.g.noGrant(ctx, id)
	}
	return err
}

// Explain implements api.GrantService.
func (s grantService) Explain(ctx context.Context, id gateway.GrantID, door gateway.DoorID, at time.Time) (api.Explanation, error) {
	if at.IsZero() {
		at = s.g.clock.Read().Wall
	}
	x, found, err := s.g.access.Explain(ctx, id, door, at)
	if err == nil && !found {
		err = s.g.noGrant(ctx, id)
	}
	if err != nil {
		return api.Explanation{}, err
	}
	out := api.Explanation{Verdict: "granted", Door: x.Door, At: s.g.stamp(at), Checks: []api.Check{}}
	if x.Verdict != "" {
		out.Verdict, out.Reason = "denied", &x.Verdict
	}
	for _, c := range x.Checks {
		out.Checks = append(out.Checks, api.Check{Check: c.Name, OK: c.OK, Reason: c.Reason, Detail: c.Detail})
	}
	return out, nil
}
