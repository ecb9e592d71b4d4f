package main

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"maps"
	mathrand "math/rand/v2"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"syscall"
	"time"

	"gardien/gateway"
	"gardien/gateway/api"
	"gardien/gateway/cloud"
	"gardien/gateway/tokens"
	"gardien/gateway/uplink"
	"gardien/store/mailbox"
)

// writer makes some thirty changes a second, near half of them revocations, and now and
// then something that no gateway can read.
func (c *chaos) writer(stop <-chan struct{}) {
	rng := mathrand.New(mathrand.NewPCG(*chaosSeed, 8))
	var open []string
	tick := time.NewTicker(33 * time.Millisecond)
	defer tick.Stop()
	for n := 0; ; n++ {
		select {
		case <-stop:
			return
		case <-tick.C:
		}
		jti, ver, status := fmt.Sprint("g", n), int64(1), gateway.GrantActive
		if len(open) > 0 && rng.IntN(100) < 45 {
			k := rng.IntN(len(open))
			jti, ver, status = open[k], 2, gateway.GrantRevoked
			open = append(open[:k], open[k+1:]...)
		} else {
			open = append(open, jti)
		}
		c.change(n, jti, ver, status, stop)
	}
}

// change makes one change of the issuer's.
func (c *chaos) change(n int, jti string, ver int64, status gateway.GrantStatus, stop <-chan struct{}) {
	c.pause.Lock()
	defer c.pause.Unlock()
	for _, to := range []*node{c.one, c.two} {
		c.changeAt(to, n, jti, ver, status, stop)
	}
}

func (c *chaos) changeAt(to *node, n int, jti string, ver int64, status gateway.GrantStatus, stop <-chan struct{}) {
	now := time.Now().Truncate(time.Second)
	text, err := tokens.SignGrant(c.key, to.gateway.Gateway, gateway.Grant{ID: gateway.GrantID{Issuer: chaosIssuer, JTI: jti}, Version: ver, Status: status,
		Doors: []gateway.DoorID{"front"}, IssuedAt: now, Period: gateway.Period{NotBefore: now, NotAfter: now.Add(24 * time.Hour)}, Uses: 1})
	if err == nil {
		text, err = tokens.Seal(text, tokens.TypGrant, to.gateway.Seal)
	}
	if err != nil {
		c.t.Error(err)
		return
	}
	item := gateway.Item{ID: gateway.ItemID(chaosIssuer, jti), Kind: gateway.ItemGrant, Ver: ver, Exp: gateway.Midnight(now.Add(24 * time.Hour).Unix()), Body: text}
	if n%40 == 39 {
		c.put(to, gateway.Item{ID: gateway.ItemID(chaosIssuer, "x"+jti), Kind: "horoscope", Ver: 1, Exp: item.Exp, Body: "of tomorrow"}, stop)
		c.put(to, gateway.Item{ID: gateway.ItemID(chaosIssuer, "y"+jti), Kind: "grant", Ver: 1, Exp: item.Exp, Body: "rubbish"}, stop)
	}
	c.mu.Lock()
	to.model[jti], c.status[jti] = item, status // whether or not the answer comes: it is written again
	c.mu.Unlock()
	c.put(to, item, stop)
}

// put writes an item until it is acknowledged.
func (c *chaos) put(to *node, i gateway.Item, stop <-chan struct{}) {
	for {
		ctx, cancel := context.WithTimeout(context.Background(), 5*time.Second)
		err := c.client.Do(ctx, "PUT", "/v1/gateways/"+string(to.gateway.Gateway)+"/items/"+i.ID, cloud.ItemWrite{Kind: i.Kind, Ver: i.Ver, Exp: i.Exp, Body: i.Body}, nil)
		cancel()
		var refused *uplink.StatusError
		if err == nil || errors.As(err, &refused) && refused.Status == http.StatusConflict {
			c.mu.Lock()
			c.writes++
			c.mu.Unlock()
			return
		}
		select {
		case <-stop: // level writes it again
			return
		case <-time.After(100 * time.Millisecond):
		}
	}
}

// fault makes one.
func (c *chaos) fault() {
	ms := func(from, to int) time.Duration { return time.Duration(from+c.rng.IntN(to-from)) * time.Millisecond }
	wait := func(d time.Duration) { <-time.After(d) }
	kinds := []string{"refused", "hole", "hole and reset", "dead path", "gateway killed", "service killed", "service stopped", "database stopped", "backup or restore", "compacted", "reflashed"}
	kind := kinds[c.rng.IntN(len(kinds))]
	if kind == "reflashed" && c.faults[kind] > 0 || kind == "database stopped" && c.pg == nil {
		kind = "refused"
	}
	c.faults[kind]++
	switch kind {
	case "refused":
		c.wire.Refuse()
		wait(ms(500, 4000))
		c.wire.Heal()
	case "hole":
		c.wire.Hold()
		wait(ms(500, 6500))
		c.wire.Heal()
	case "hole and reset":
		c.wire.Hold()
		wait(ms(500, 4000))
		c.wire.Refuse()
		c.wire.Heal()
	case "dead path":
		c.wire.Dead()
	case "gateway killed":
		c.one.program.end(syscall.SIGKILL)
		wait(ms(0, 1500))
		c.startNode(c.one)
	case "service killed":
		c.cloud.end(syscall.SIGKILL)
		wait(ms(0, 1500))
		c.startCloud()
	case "service stopped":
		c.cloud.end(syscall.SIGTERM)
		c.startCloud()
	case "database stopped":
		c.pg.Kill()
		wait(ms(0, 1500))
		c.pg.Up(c.t)
	case "backup or restore":
		c.cloud.end(syscall.SIGKILL)
		c.backupOrRestore()
	case "compacted":
		c.compact()
	case "reflashed":
		// What a card takes with it that has not gone up is gone; so nothing may be on its way.
		c.pause.Lock()
		defer c.pause.Unlock()
		c.level(c.one)
		c.one.program.end(syscall.SIGTERM)
		for _, name := range []string{"gardien.db", "gardien.db-wal", "gardien.db-shm"} {
			os.Remove(filepath.Join(c.one.dir, "state", name))
		}
		c.startNode(c.one)
		code := c.tool("gardien-cloud", "code", "gateway", string(c.one.gateway.Gateway), "--db", c.dsn)
		c.check(c.one.client.Do(context.Background(), "POST", "/v1/cloud/enrolment", api.CloudEnrolment{Code: code}, nil))
	}
}

// backupOrRestore, while the service is down: the first makes a backup, the next brings it
// back, as an operator would, and the issuer sends again what is not over.
func (c *chaos) backupOrRestore() {
	c.t.Helper()
	defer func() { c.backup = !c.backup }()
	names := []string{"", "-wal", "-shm"}
	if !c.backup {
		if c.pg != nil {
			c.pg.Copy(c.t, c.dsn, "kept")
		}
		for _, s := range names {
			if b, err := os.ReadFile(c.dsn + s); err == nil {
				c.check(os.WriteFile(c.dsn+".kept"+s, b, 0o600))
			}
		}
		c.startCloud()
		return
	}
	if c.pg != nil {
		c.pg.Replace(c.t, c.dsn, "kept")
	}
	for _, s := range names {
		if c.pg != nil {
			break
		}
		os.Remove(c.dsn + s)
		if b, err := os.ReadFile(c.dsn + ".kept" + s); err == nil {
			c.check(os.WriteFile(c.dsn+s, b, 0o600))
		}
	}
	c.tool("gardien-cloud", "restored", "--db", c.dsn)
	c.startCloud()
	c.resend()
}

// resend is what gardien-issuer resend does.
func (c *chaos) resend() {
	never := make(chan struct{})
	for _, to := range []*node{c.one, c.two} {
		c.mu.Lock()
		all := slices.Collect(maps.Values(to.model))
		c.mu.Unlock()
		for _, i := range all {
			c.put(to, i, never)
		}
	}
}

// compact compacts the gateway's log, past the cursors of those that are away.
func (c *chaos) compact() {
	c.t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
	defer cancel()
	box, err := mailbox.Open(ctx, c.dsn, slog.New(slog.DiscardHandler))
	c.check(err)
	defer box.Close()
	for _, n := range []*node{c.one, c.two} {
		c.check(box.Compact(ctx, n.gateway.Gateway, time.Unix(0, 0)))
	}
}
