package daemon

import (
	"context"
	"time"

	"gardien/gateway"
	"gardien/gateway/access"
	"gardien/gateway/uplink"
	"gardien/store"
)

// condition is what the rooms know of themselves at one instant: what findings are made of.
type condition struct {
	at        gateway.Reading
	started   time.Time
	about     store.Info
	healthy   bool // the last write succeeded
	low       bool // the board had too little voltage
	collision string
	hostName  string
	doors     []doorCondition
	readers   []access.ShutReader
	issuers   []issuerCondition
	cloud     uplink.State // "": none is configured
	cloudWhy  string
	residents []gateway.Resident
	missed    []gateway.GrantID // grants whose PIN was wiped by its length
	tasks     []taskCondition
	lan       string            // the name of the task that listens on the home network
	seen      map[string]string // findings that somebody has seen, and who

	// stamp writes an instant for people.
	stamp func(time.Time) string
}

type doorCondition struct {
	gateway.DoorView
	open bool // to third parties although it is unwell
}

type issuerCondition struct {
	id       gateway.IssuerID
	setAside string
	limit    time.Duration // offline_limit; 0: none
	gateway.IssuerState
}

// taskCondition is a task that may fail alone.
type taskCondition struct {
	name  string
	why   string    // it does not work; "": it does
	since time.Time // it is so
}

// stopsAt is when an issuer goes stale unless it says something new; zero: never, or nothing of it is here.
func stopsAt(st gateway.IssuerState, limit time.Duration) time.Time {
	if last := st.LastSign(); limit > 0 && !last.IsZero() {
		return last.Add(limit)
	}
	return time.Time{}
}

// condition gathers it, by one look at the memory.
func (g *Gateway) condition(ctx context.Context) (c condition, err error) {
	c = condition{at: g.clock.Read(), started: g.started, healthy: g.store.Healthy(), low: g.board.UnderVoltage(), stamp: g.stamp}
	if c.about, err = g.store.About(ctx); err != nil {
		return c, err
	}
	if c.readers, err = g.access.ShutReaders(ctx, c.at); err != nil {
		return c, err
	}
	cfg := g.inForce.Load()
	for _, i := range cfg.Issuers {
		c.issuers = append(c.issuers, issuerCondition{id: gateway.IssuerID(i.ID), setAside: i.SetAside, limit: time.Duration(i.OfflineLimit)})
	}
	today := c.at.Wall.In(g.zone).Format(time.DateOnly)
	err = g.store.View(ctx, func(tx *store.Tx) error {
		c.residents, c.seen, c.missed = tx.Residents.List(), tx.House.SeenFindings(), missed(tx, c.at)
		for i := range c.issuers {
			c.issuers[i].IssuerState = tx.Issuers.State(c.issuers[i].id, today)
		}
		return nil
	})
	for _, d := range g.cfg.Doors {
		c.doors = append(c.doors, doorCondition{g.house.View(gateway.DoorID(d.ID)), d.Unwell == "allow"})
	}
	if g.uplink != nil {
		c.cloud, c.cloudWhy = g.uplink.State()
	}
	for _, k := range g.beside {
		t := taskCondition{name: k.String()}
		down, since, why := k.status()
		if down {
			t.why = firstLine(why)
		}
		t.since = c.ago(since)
		c.tasks = append(c.tasks, t)
	}
	if g.lan != nil {
		c.lan, c.hostName = g.lan.String(), g.lan.Name
	}
	if g.mdns != nil {
		if m := g.mdns.now.Load(); m != nil {
			c.collision = m.State().Collision
		}
	}
	return c, err
}

// missed lists the grants that have lost their PIN by its length, as long as it is missed.
func missed(tx *store.Tx, at gateway.Reading) (list []gateway.GrantID) {
	for _, id := range tx.Codes.Missed() {
		r, found := tx.Grants.Get(id)
		left, limited := r.UsesLeft()
		if found && r.Status == gateway.GrantActive && !r.Block && at.In(r.Period) != gateway.PlaceOver && (!limited || left > 0) {
			list = append(list, id)
		}
	}
	return list
}

// ago turns an instant of the process's clock into one of the gateway's.
func (c condition) ago(t time.Time) time.Time { return c.at.Wall.Add(-time.Since(t)) }
