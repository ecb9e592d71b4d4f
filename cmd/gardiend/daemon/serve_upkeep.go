package daemon

import (
	"context"
	"errors"
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
	c, list, err := healthService(s).findings(ctx)
	if err != nil {
		return api.Status{}, err
	}
	st := api.Status{ID: s.g.identity.ID, Name: s.g.cfg.Gateway.Name, Version: Version(), Started: s.g.stamp(s.g.started),
		Seq: s.g.store.Head(), Log: c.about.Log, Epoch: c.about.Epoch, API: s.g.statusOfLAN(),
		Clock: s.g.clockStatus(c.at), Cloud: "off", Database: c.database(), Tasks: []api.StatusTask{}, Notes: []string{}, Severities: []gateway.Severity{}}
	if c.cloud != "" {
		st.Cloud = string(c.cloud)
	}
	if house {
		s.tellPause(&st, c)
	}
	for _, f := range list {
		if !f.house || house {
			st.Notes, st.Severities = append(st.Notes, f.text), append(st.Severities, f.severity)
		}
	}
	for _, t := range c.tasks {
		o := api.StatusTask{Name: t.name, State: "up", Since: s.g.stamp(t.since), Error: t.why}
		if t.why != "" {
			o.State = "down"
		}
		st.Tasks = append(st.Tasks, o)
	}
	return st, nil
}

// database is how the database is, in a word.
func (c condition) database() string {
	switch {
	case c.about.Quarantine == store.RolledBack:
		return "rolled back"
	case c.about.SetAside != "":
		return "set aside: " + c.about.SetAside
	case c.about.Degraded != "":
		return "read-only"
	case !c.healthy:
		return "failing"
	}
	return "ok"
}

// tellPause tells the pause that is on or planned.
func (s upkeepService) tellPause(st *api.Status, c condition) {
	p, quarantined := c.about.Paused, c.about.Quarantine != ""
	st.Paused = p.Holds(c.at) || quarantined
	if p == nil || p.Passed(c.at) {
		return
	}
	st.Pause = &api.StatusPause{Until: s.g.untilOf(p), Home: p.Home, Keep: append([]gateway.GrantID{}, p.Keep...)}
	if !p.From.IsZero() {
		st.Pause.From = orNull(s.g.stamp(p.From))
	}
	if p.Holds(c.at) && !quarantined {
		st.PausedUntil = s.g.untilOf(p)
	}
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
