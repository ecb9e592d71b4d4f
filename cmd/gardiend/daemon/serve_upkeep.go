package daemon

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"runtime/debug"
	"strings"

	"gardien/gateway"
	"gardien/gateway/api"
	"gardien/gateway/uplink"
	"gardien/gateway/wallclock"
	"gardien/store"
)

// upkeepService serves the gateway itself to the API.
type upkeepService struct{ g *Gateway }

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

// Info implements api.UpkeepService.
func (s upkeepService) Info() api.Info { return api.Info{ID: s.g.identity.ID, API: api.Version} }

// CA implements api.UpkeepService.
func (s upkeepService) CA() (der, profile []byte, err error) {
	h, err := s.g.openCerts()
	if err != nil {
		return nil, nil, api.Fail(http.StatusInternalServerError, "fault", "%v", err)
	}
	return h.CA(), h.MobileConfig(), nil
}

// Durable implements api.UpkeepService.
func (s upkeepService) Durable() bool { return s.g.store.Durable() }

// Status implements api.UpkeepService.
func (s upkeepService) Status(ctx context.Context, house bool) (api.Status, error) {
	about, err := s.g.store.About(ctx)
	if err != nil {
		return api.Status{}, err
	}
	at := s.g.clock.Read()
	st := api.Status{ID: s.g.identity.ID, Name: s.g.cfg.Gateway.Name, Version: Version(), Started: s.g.stamp(s.g.started),
		Seq: s.g.store.Head(), Log: about.Log, Epoch: about.Epoch,
		Clock: s.g.clockStatus(at), Cloud: "off", Database: "ok", Notes: []string{}}
	note := func(format string, args ...any) { st.Notes = append(st.Notes, fmt.Sprintf(format, args...)) }
	s.g.statusOfLAN(&st, note)
	if s.g.board.UnderVoltage() {
		note("the board had too little voltage: use a supply of its own for the strike, and a better one for the board")
	}
	if about.Degraded != "" {
		st.Database = "read-only"
		note("the disk takes no writes, so that only residents come in, and whom they let in without a limit; what happens is kept in memory until it does, and a power cut takes that away: replace the card, or make room on it (df, dmesg): %s", about.Degraded)
	} else if !s.g.store.Healthy() {
		st.Database = "failing"
		note("the database does not take writes, so nothing opens: check the disk (df, dmesg)")
	}
	if about.SetAside != "" {
		st.Database = "set aside: " + about.SetAside
	}
	switch about.Quarantine {
	case store.SetAside:
		note("the database was broken and a new one is in use: restore a backup (gardien restore FILE), or accept it (gardien resume)")
	case store.RolledBack:
		st.Database = "rolled back"
		note("the database is older than what it once acknowledged, so that what happened last is lost: check the card, and who may have written to it; third parties are kept out, and grants for one entry from before are void; accept it with gardien resume, and ask for new grants")
	case store.Restored:
		note("a backup was restored that is not of the database that was in use: what was revoked since is not known; let third parties in again with gardien resume")
	}
	if house {
		s.g.tellPause(&st, about, at, note)
	}
	if st.Clock.State == gateway.ClockUndecided {
		note("the clock is undecided, so timed grants of third parties do not open: wait for a sync, or check it and run gardien clock confirm")
	}
	if s.g.uplink != nil {
		state, why := s.g.uplink.State()
		st.Cloud = string(state)
		if state != uplink.Connected {
			note("cloud %s: %s; grants that are here still open", state, why)
		}
	}
	if house {
		if err := errors.Join(s.noteResidents(ctx, note), s.g.noteMissed(ctx, note)); err != nil {
			return api.Status{}, err
		}
	}
	for _, d := range s.g.house {
		noteDoor(s.g.view(d.ID), note)
	}
	for _, i := range s.g.inForce.Load().Issuers {
		if i.SetAside != "" {
			note("issuer %s is set aside, and nothing of it is believed: %s; put its key set there, then systemctl restart gardiend", i.ID, i.SetAside)
		}
	}
	st.Tasks = []api.StatusTask{}
	for _, k := range s.g.beside {
		down, since, why := k.status()
		t := api.StatusTask{Name: k.String(), State: "up", Since: s.g.stamp(since)}
		if down {
			t.State, t.Error = "down", firstLine(why)
			note("%s does not work since %s, and is tried again: %s", t.Name, t.Since, t.Error)
		}
		st.Tasks = append(st.Tasks, t)
	}
	return st, nil
}

// noteResidents names those who wait for the console's word.
func (s upkeepService) noteResidents(ctx context.Context, note func(format string, args ...any)) error {
	list, err := s.g.residents.Memory.List(ctx)
	for _, r := range list {
		if r.Unconfirmed {
			note("the device of %s (%s) came back with a backup and may have been removed since, so that it opens nothing: gardien resident confirm %[2]s, or remove it", r.Name, r.ID)
		}
	}
	return err
}

// tellPause tells the pause that is on or planned. Only one that is on is noted. Its end does not
// end a quarantine, and the word that ends both is told there.
func (g *Gateway) tellPause(st *api.Status, about store.Info, at gateway.Reading, note func(format string, args ...any)) {
	p, quarantined := about.Paused, about.Quarantine != ""
	st.Paused = p.Holds(at) || quarantined
	if p == nil || p.Passed(at) {
		return
	}
	st.Pause = &api.StatusPause{Until: g.untilOf(p), Home: p.Home, Keep: append([]gateway.GrantID{}, p.Keep...)}
	if !p.From.IsZero() {
		st.Pause.From = orNull(g.stamp(p.From))
	}
	if !p.Holds(at) || quarantined {
		return
	}
	who := "all third parties are paused"
	if p.Denies(gateway.GrantID{Issuer: gateway.HomeIssuer}, at) {
		who = fmt.Sprintf("vacation: all third parties are paused, and grants made at home, but for %d", len(p.Keep))
	}
	if st.PausedUntil = g.untilOf(p); st.PausedUntil != nil {
		note("%s, until %s: gardien resume ends it before", who, *st.PausedUntil)
	} else {
		note("%s: gardien resume lets them in again", who)
	}
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

// noteMissed names the grants that have lost their PIN by its length, as long as it is missed.
func (g *Gateway) noteMissed(ctx context.Context, note func(format string, args ...any)) error {
	now := g.clock.Read()
	return g.store.View(ctx, func(tx *store.Tx) error {
		for _, id := range tx.Codes.Missed() {
			r, found := tx.Grants.Get(id)
			left, limited := r.UsesLeft()
			if !found || r.Status != gateway.GrantActive || r.Block || now.In(r.Period) == gateway.PlaceOver || limited && left == 0 {
				continue
			}
			note("the PIN of grant %s had a length that is not used any more and was wiped: make or send it again", id)
		}
		return nil
	})
}

// firstLine of an error: a bug's stack is for the log.
func firstLine(err error) string {
	line, _, _ := strings.Cut(err.Error(), "\n")
	return line
}

func (g *Gateway) clockStatus(r gateway.Reading) api.StatusClock {
	return api.StatusClock{State: r.State, Now: g.stamp(r.Wall), Earliest: g.stamp(r.Earliest), Latest: g.stamp(r.Latest),
		Source: g.cfg.Clock.Source, Zone: g.cfg.Gateway.TimeZone}
}

// Descriptor implements api.UpkeepService.
func (s upkeepService) Descriptor(context.Context) (api.Descriptor, error) {
	text, err := s.g.descriptor()
	return api.Descriptor{Descriptor: text}, err
}

// ConfirmClock implements api.UpkeepService.
func (s upkeepService) ConfirmClock(ctx context.Context, by api.Caller) (api.StatusClock, error) {
	r, err := s.g.clock.Confirm(ctx, by.Resident)
	if errors.Is(err, wallclock.ErrAbsurd) {
		return s.g.clockStatus(r), api.Fail(http.StatusConflict, "clock-absurd", "%v (timedatectl)", err)
	}
	return s.g.clockStatus(r), err
}

var errReadOnly = api.Fail(http.StatusConflict, "read-only", "the disk takes no writes, so that there is no backup and no restore now: check df, dmesg, and the card")

// Backup implements api.UpkeepService.
func (s upkeepService) Backup(ctx context.Context, w io.Writer) error {
	if !s.Durable() {
		return errReadOnly
	}
	return s.g.store.Backup(ctx, w)
}

// Restore implements api.UpkeepService.
func (s upkeepService) Restore(ctx context.Context, r io.Reader) error {
	if !s.Durable() {
		return errReadOnly
	}
	err := s.g.store.Restore(ctx, r)
	if errors.Is(err, store.ErrNotBackup) {
		return api.Fail(http.StatusBadRequest, "bad-request", "%v", err)
	}
	s.g.access.Restored()
	if err == nil {
		err = s.g.store.Update(ctx, func(tx *store.Tx) error { s.g.wipeOdd(tx); return tx.Err() })
	}
	if err == nil {
		err = s.g.issuers.Renew(ctx)
	}
	if err == nil && s.g.uplink != nil {
		s.g.uplink.Again()
	}
	return err
}

// EnrolInCloud implements api.UpkeepService.
func (s upkeepService) EnrolInCloud(ctx context.Context, req api.CloudEnrolment) (api.CloudStatus, error) {
	if s.g.uplink == nil {
		return api.CloudStatus{}, api.Fail(http.StatusConflict, "no-cloud", "no cloud is configured: set cloud.url in gardien.yaml and restart gardiend")
	}
	if req.Code == "" || len(req.Code) > 128 {
		return api.CloudStatus{}, api.Fail(http.StatusBadRequest, "bad-request", "code: want the one-time code of the cloud's operator")
	}
	err := s.g.uplink.Enrol(ctx, gateway.NewSecret(req.Code))
	var refused *uplink.StatusError
	switch {
	case errors.As(err, &refused):
		return api.CloudStatus{}, api.Fail(http.StatusConflict, "not-enrolled", "%v", refused)
	case err != nil:
		return api.CloudStatus{}, api.Fail(http.StatusBadGateway, "cloud-unreachable", "%v", err)
	}
	return api.CloudStatus{ID: s.g.identity.ID, Cloud: s.g.cfg.Cloud.URL}, nil
}
