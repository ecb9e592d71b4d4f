package daemon

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"runtime/debug"
	"strings"
	"time"

	"gardien/configs"
	"gardien/gateway"
	"gardien/gateway/access"
	"gardien/gateway/api"
	"gardien/gateway/uplink"
	"gardien/gateway/wallclock"
	"gardien/store"
)

// Gateway is the API's backend: it turns what the rooms know into the wire's words.

// Version is the program's version: that of its module, or of the commit.
func Version() string {
	info, ok := debug.ReadBuildInfo()
	if !ok {
		return "unknown"
	}
	version := info.Main.Version
	if version == "" || version == "(devel)" {
		version = "devel"
	}
	return version
}

// Info implements api.Backend.
func (g *Gateway) Info() api.Info { return api.Info{ID: g.identity.ID, API: api.Version} }

// Status implements api.Backend.
func (g *Gateway) Status(ctx context.Context) (api.Status, error) {
	about, err := g.store.About(ctx)
	if err != nil {
		return api.Status{}, err
	}
	st := api.Status{ID: g.identity.ID, Name: g.cfg.Gateway.Name, Version: Version(), Started: g.stamp(g.started),
		Seq: g.store.Head(), Log: about.Log, Epoch: about.Epoch, Paused: about.Paused,
		API: api.StatusAPI{Socket: g.cfg.API.Socket}, Clock: g.clockStatus(g.clock.Read()), Cloud: "off", Database: "ok", Notes: []string{}}
	note := func(format string, args ...any) { st.Notes = append(st.Notes, fmt.Sprintf(format, args...)) }
	if g.board.UnderVoltage() {
		note("the board had too little voltage: use a supply of its own for the strike, and a better one for the board")
	}
	if !g.store.Healthy() {
		st.Database = "failing"
		note("the database does not take writes, so nothing opens: check the disk (df, dmesg)")
	}
	if about.SetAside != "" {
		st.Database = "set aside: " + about.SetAside
		note("the database was broken and a new one is in use: restore a backup (gardien restore FILE), or accept it (gardien resume)")
	}
	if about.Paused {
		note("all third parties are paused: gardien resume lets them in again")
	}
	if st.Clock.State == gateway.ClockUndecided {
		note("the clock is undecided, so timed grants of third parties do not open: wait for a sync, or check it and run gardien clock confirm")
	}
	if g.uplink != nil {
		state, why := g.uplink.State()
		st.Cloud = string(state)
		if state != uplink.Connected {
			note("cloud %s: %s; grants that are here still open", state, why)
		}
	}
	for _, d := range g.house {
		noteDoor(g.view(d.ID), note)
	}
	for _, i := range g.inForce.Load().Issuers {
		if i.SetAside != "" {
			note("issuer %s is set aside, and nothing of it is believed: %s; put its key set there, then systemctl restart gardiend", i.ID, i.SetAside)
		}
	}
	st.Tasks = []api.StatusTask{}
	for _, k := range g.beside {
		down, since, why := k.status()
		t := api.StatusTask{Name: k.String(), State: "up", Since: g.stamp(since)}
		if down {
			t.State, t.Error = "down", firstLine(why)
			note("%s does not work since %s, and is tried again: %s", t.Name, t.Since, t.Error)
		}
		st.Tasks = append(st.Tasks, t)
	}
	return st, nil
}

// noteDoor says what somebody should look at.
func noteDoor(v gateway.DoorView, note func(format string, args ...any)) {
	switch {
	case v.Blocked:
		note("door %s cannot be moved: its strike or lock is not there, or does not answer; check its wire and supply", v.ID)
	case len(v.Ailments) > 0:
		note("door %s is unwell (%v), so that third parties are refused: check strike or lock, and contact", v.ID, v.Ailments)
	case v.Fault:
		note("door %s has a fault: check strike and contact", v.ID)
	}
}

// firstLine of an error: a bug's stack is for the log.
func firstLine(err error) string {
	line, _, _ := strings.Cut(err.Error(), "\n")
	return line
}

func (g *Gateway) stamp(t time.Time) string { return t.In(g.cfg.Zone()).Format(time.RFC3339) }

func (g *Gateway) clockStatus(r gateway.Reading) api.StatusClock {
	return api.StatusClock{State: r.State, Now: g.stamp(r.Wall), Earliest: g.stamp(r.Earliest), Latest: g.stamp(r.Latest),
		Source: g.cfg.Clock.Source, Zone: g.cfg.Gateway.TimeZone}
}

// Doors implements api.Backend.
func (g *Gateway) Doors() []api.Door {
	list := []api.Door{}
	for _, d := range g.house {
		list = append(list, doorOf(g.view(d.ID)))
	}
	return list
}

// view is what is known of a door, the board included.
func (g *Gateway) view(id gateway.DoorID) gateway.DoorView {
	return accessDoors{g.house, g.board}.View(id)
}

func doorOf(s gateway.DoorView) api.Door {
	d := api.Door{ID: s.ID, Name: s.Name, Strike: orNull(string(s.Strike)), Contact: orNull(string(s.Contact)), HeldOpen: s.HeldOpen, Fault: s.Fault,
		Blocked: s.Blocked, Health: append([]gateway.Ailment{}, s.Ailments...)}
	// A strike's monitor is no lock; only its trouble shows.
	if s.Strike == "" || s.Lock == gateway.LockJammed || s.Lock == gateway.LockUnknown {
		d.Lock = orNull(string(s.Lock))
	}
	return d
}

func orNull(s string) *string {
	if s == "" {
		return nil
	}
	return &s
}

// Attempt implements api.Backend.
func (g *Gateway) Attempt(ctx context.Context, door gateway.DoorID, reader gateway.ReaderID, c gateway.Credential) (api.Granted, gateway.Reason, error) {
	// A phone that hangs up does not undo what was decided.
	out := g.access.Present(context.WithoutCancel(ctx), door, reader, c)
	return api.Granted{Decision: "granted", Door: door, ReleaseTime: out.ReleaseTime.String(), Attempt: out.Attempt}, out.Reason, nil
}

// Nonce implements api.Backend.
func (g *Gateway) Nonce(addr string) (api.Nonce, error) {
	n, err := g.access.Nonces.New(addr, g.clock.Read().SinceBoot)
	if errors.Is(err, access.ErrTooManyNonces) {
		return api.Nonce{}, api.Fail(http.StatusTooManyRequests, "too-many-requests", "%v: use those you have, or wait", err)
	}
	return api.Nonce{Nonce: n, ExpiresIn: int(access.NonceLife.Seconds())}, err
}

// Grants implements api.Backend.
func (g *Gateway) Grants(ctx context.Context, after gateway.GrantID, limit int) ([]api.Grant, error) {
	var records []gateway.GrantRecord
	err := g.store.Browse(ctx, func(tx *store.Tx) error { records = tx.Grants.List(after, limit); return nil })
	list := []api.Grant{}
	for _, r := range records {
		list = append(list, g.grantOf(r))
	}
	return list, err
}

func (g *Gateway) grantOf(r gateway.GrantRecord) api.Grant {
	out := api.Grant{ID: r.ID.String(), Issuer: r.ID.Issuer, JTI: r.ID.JTI, Ver: r.Version, Status: r.Status, Doors: r.Doors,
		NotBefore: g.stamp(r.NotBefore), NotAfter: g.stamp(r.NotAfter), Schedule: r.Schedule, Sub: orNull(r.Sub)}
	if r.Block {
		out.Status = gateway.GrantRevoked
	}
	if left, limited := r.UsesLeft(); limited {
		out.Uses, out.UsesLeft = &r.Uses, &left
	}
	return out
}

// Grant implements api.Backend.
func (g *Gateway) Grant(ctx context.Context, id gateway.GrantID) (api.Grant, error) {
	r, found, err := g.find(ctx, id)
	if err == nil && !found {
		err = g.noGrant(ctx, id)
	}
	if err != nil {
		return api.Grant{}, err
	}
	return g.grantOf(r), nil
}

func (g *Gateway) find(ctx context.Context, id gateway.GrantID) (r gateway.GrantRecord, found bool, err error) {
	err = g.store.View(ctx, func(tx *store.Tx) error { r, found = tx.Grants.Get(id); return nil })
	return r, found, err
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

// MakeGrant implements api.Backend.
func (g *Gateway) MakeGrant(ctx context.Context, req api.GrantRequest) (api.GrantMade, error) {
	h := access.HomeGrant{Doors: req.Doors, Schedule: req.Schedule, Sub: req.Sub, PIN: req.PIN}
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
	return g.makeHome(ctx, h)
}

func (g *Gateway) makeHome(ctx context.Context, h access.HomeGrant) (api.GrantMade, error) {
	id, pin, err := g.access.Home(ctx, h)
	var refusal *gateway.Refusal
	if errors.As(err, &refusal) {
		return api.GrantMade{}, api.Fail(http.StatusBadRequest, "bad-request", "%s", refusal.Detail)
	}
	if err != nil {
		return api.GrantMade{}, err
	}
	return api.GrantMade{ID: id.String(), PIN: pin.Reveal()}, nil
}

// RevokeGrant implements api.Backend.
func (g *Gateway) RevokeGrant(ctx context.Context, id gateway.GrantID) error {
	found, err := g.access.Revoke(ctx, id)
	if err == nil && !found {
		err = g.noGrant(ctx, id)
	}
	return err
}

// Explain implements api.Backend.
func (g *Gateway) Explain(ctx context.Context, id gateway.GrantID, door gateway.DoorID, at time.Time) (api.Explanation, error) {
	if at.IsZero() {
		at = g.clock.Read().Wall
	}
	x, found, err := g.access.Explain(ctx, id, door, at)
	if err == nil && !found {
		err = g.noGrant(ctx, id)
	}
	if err != nil {
		return api.Explanation{}, err
	}
	out := api.Explanation{Verdict: "granted", Door: x.Door, At: g.stamp(at), Checks: []api.Check{}}
	if x.Verdict != "" {
		out.Verdict, out.Reason = "denied", &x.Verdict
	}
	for _, c := range x.Checks {
		out.Checks = append(out.Checks, api.Check{Check: c.Name, OK: c.OK, Reason: c.Reason, Detail: c.Detail})
	}
	return out, nil
}

// Take implements api.Backend. Commands come by the feed only.
func (g *Gateway) Take(ctx context.Context, item api.MailbagItem) (api.MailbagResult, error) {
	in, err := g.access.TakeItem(context.WithoutCancel(ctx), item.Kind, item.Body)
	if err != nil {
		return api.MailbagResult{}, err
	}
	res := api.MailbagResult{ID: item.ID, Result: in.Result}
	if res.ID == "" && in.ID.JTI != "" {
		res.ID = in.ID.String()
	}
	if in.Refusal != nil {
		res.Reason, res.Detail = in.Refusal.Reason, in.Refusal.Detail
	}
	return res, nil
}

// Events implements api.Backend.
func (g *Gateway) Events(ctx context.Context, after int64, limit int) ([]gateway.Event, error) {
	return g.store.Events(ctx, after, limit)
}

// Watch implements api.Backend.
func (g *Gateway) Watch() (<-chan struct{}, func()) { return g.store.Watch() }

// Verify implements api.Backend.
func (g *Gateway) Verify(ctx context.Context) (api.Verification, error) {
	v, err := g.store.Verify(ctx)
	out := api.Verification{OK: v.OK, Events: v.Events, Problem: v.Problem}
	if v.FirstBad != 0 {
		out.FirstBad = &v.FirstBad
	}
	return out, err
}

// Forget implements api.Backend.
func (g *Gateway) Forget(ctx context.Context, ref string) (int64, error) {
	return g.store.Forget(ctx, ref)
}

// Issuers implements api.Backend.
func (g *Gateway) Issuers(ctx context.Context) ([]api.Issuer, error) {
	cfg := g.inForce.Load()
	today := g.clock.Read().Wall.In(cfg.Zone()).Format(time.DateOnly)
	list := []api.Issuer{}
	for _, i := range cfg.Issuers {
		id := gateway.IssuerID(i.ID)
		st, err := store.Look(ctx, g.store, func(tx *store.Tx) gateway.IssuerState { return tx.Issuers.State(id, today) })
		if err != nil {
			return nil, err
		}
		p := i.Policy()
		out := api.Issuer{ID: id, Name: i.Name, Doors: p.Doors, Paused: st.Paused, Today: st.Today, Policies: policyLines(i), SetAside: orNull(i.SetAside)}
		if !st.HeardAt.IsZero() {
			out.HeardAt = orNull(g.stamp(st.HeardAt))
		}
		if !st.ManifestAt.IsZero() {
			out.ManifestAt = orNull(g.stamp(st.ManifestAt))
		}
		set, _ := g.issuers.Keys(id)
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

// PauseIssuer implements api.Backend.
func (g *Gateway) PauseIssuer(ctx context.Context, id gateway.IssuerID, paused bool) error {
	var ids []string
	for _, i := range g.inForce.Load().Issuers {
		if gateway.IssuerID(i.ID) == id {
			e := gateway.Event{Type: gateway.IssuerResumed, Issuer: id}
			if paused {
				e.Type = gateway.IssuerPausedOn
			}
			return g.store.Update(ctx, func(tx *store.Tx) error {
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

// PauseAll implements api.Backend. The event names no issuer: it is all of them.
func (g *Gateway) PauseAll(ctx context.Context, paused bool) error {
	e := gateway.Event{Type: gateway.IssuerResumed}
	if paused {
		e.Type = gateway.IssuerPausedOn
	}
	return g.store.Update(ctx, func(tx *store.Tx) error {
		if tx.House.Paused() == paused {
			return tx.Err()
		}
		return errors.Join(tx.House.SetPaused(paused), tx.Record.Append(e))
	})
}

// Veto implements api.Backend.
func (g *Gateway) Veto(ctx context.Context, door gateway.DoorID) error {
	if !g.access.Veto(door) {
		return api.Fail(http.StatusConflict, "nobody-knocks", "nobody knocks at door %s", door)
	}
	return g.store.Update(ctx, func(tx *store.Tx) error {
		return tx.Record.Append(gateway.Event{Type: gateway.KnockVetoed, Door: door})
	})
}

// Descriptor implements api.Backend.
func (g *Gateway) Descriptor(context.Context) (api.Descriptor, error) {
	r := rules(g.inForce.Load())
	var issuers []gateway.IssuerID
	for _, i := range g.inForce.Load().Issuers {
		issuers = append(issuers, gateway.IssuerID(i.ID))
	}
	text, err := g.identity.SignDescriptor(r.Doors, issuers, g.cfg.Gateway.TimeZone, g.clock.Read().Wall)
	return api.Descriptor{Descriptor: text}, err
}

// ConfirmClock implements api.Backend.
func (g *Gateway) ConfirmClock(ctx context.Context) (api.StatusClock, error) {
	r, err := g.clock.Confirm(ctx)
	if errors.Is(err, wallclock.ErrAbsurd) {
		return g.clockStatus(r), api.Fail(http.StatusConflict, "clock-absurd", "%v (timedatectl)", err)
	}
	return g.clockStatus(r), err
}

// Backup implements api.Backend.
func (g *Gateway) Backup(ctx context.Context, w io.Writer) error { return g.store.Backup(ctx, w) }

// Restore implements api.Backend.
func (g *Gateway) Restore(ctx context.Context, r io.Reader) error {
	err := g.store.Restore(ctx, r)
	if errors.Is(err, store.ErrNotBackup) {
		return api.Fail(http.StatusBadRequest, "bad-request", "%v", err)
	}
	g.access.Restored()
	if err == nil {
		err = g.issuers.Renew(ctx)
	}
	if err == nil && g.uplink != nil {
		g.uplink.Again()
	}
	return err
}

var _ api.Backend = (*Gateway)(nil)
