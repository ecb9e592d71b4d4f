package access

import (
	"context"
	"slices"
	"sync"
	"time"

	"gardien/gateway"
)

// commandsAtOnce is how many commands are carried out at a time at one door; the others are
// lost, as all that waits would be. A door whose lock is slow takes no place from another (F12).
const commandsAtOnce = 4

// slots counts what is under way at each door.
type slots struct {
	mu   sync.Mutex
	each map[gateway.DoorID]int
}

// take takes one of a door's places, if there is one.
func (s *slots) take(door gateway.DoorID) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.each[door] >= commandsAtOnce {
		return false
	}
	if s.each == nil {
		s.each = map[gateway.DoorID]int{}
	}
	s.each[door]++
	return true
}

func (s *slots) give(door gateway.DoorID) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.each[door]--
}

// carryOut carries a command out beside the feed: a slow lock holds no revocation up.
func (c *Controller) carryOut(ctx context.Context, m gateway.Command) {
	door := m.Door
	if !slices.Contains(c.rules.Load().Doors, door) {
		c.denials.add(ctx, c, gateway.Event{Type: gateway.AccessDenied, Reader: gateway.ReaderApp, Issuer: m.Issuer, Grant: m.JTI,
			Attempt: gateway.NewAttemptID(), Reason: gateway.WrongDoor}, c.clock.Read())
		return
	}
	if !c.commands.take(door) {
		c.log.Warn("too many commands at once; one is dropped", "issuer", m.Issuer, "door", door)
		return
	}
	began := c.beside.start(func() {
		defer c.commands.give(door)
		c.Present(context.WithoutCancel(ctx), door, gateway.ReaderApp, gateway.CommandCredential{Command: m})
	})
	if !began {
		c.commands.give(door)
	}
}

// command judges a command: it is good once, for seconds, and only in the process that was
// running when it was issued (F10).
func (a *attempt) command(ctx context.Context, m gateway.Command) (gateway.Reason, error) {
	a.Grant, a.Command, a.dies = gateway.GrantID{Issuer: m.Issuer, JTI: m.JTI}, true, m.NotAfter
	return a.decide(ctx, func(tx Tx) (gateway.Reason, bool) {
		g := gateway.GrantRecord{Grant: gateway.Grant{ID: a.Grant, Version: 1, Status: gateway.GrantActive, Doors: []gateway.DoorID{a.Door},
			IssuedAt: m.IssuedAt, Period: gateway.Period{NotBefore: m.IssuedAt, NotAfter: m.NotAfter}, Uses: 1}}
		// It may be in the name of a grant, which somebody has ended.
		if named, found := tx.Grants.Get(a.Grant); found {
			g.Status, g.Block = named.Status, named.Block
		}
		fresh := tx.Issuers.NoteCommand(m) || a.noted
		if !fresh {
			g.Used = 1
		} else if ahead(m.IssuedAt, a.At) == nil {
			a.c.heard(tx, m.Issuer, m.IssuedAt, a.At)
		}
		// A command has no beginning but iat, which an issuer's clock may put a little ahead,
		// and ours may not be sure to have passed: it is of now all the same.
		if g.NotBefore.After(a.At.Earliest) {
			g.NotBefore = a.At.Earliest
		}
		reason := a.judge(tx, g, func(f *Facts) {
			if f.Command = true; beforeBirth(a.c, m, a.At) {
				f.Intake = &gateway.Refusal{Reason: gateway.Expired, Detail: "it was issued before this process began"}
			}
		})
		if reason != "" {
			a.noted = fresh && a.asking != gateway.ApprovalOff
			return reason, fresh
		}
		a.admit(tx, g)
		return "", false
	})
}

// beforeBirth reports whether a command was issued before this process began.
func beforeBirth(c *Controller, m gateway.Command, at gateway.Reading) bool {
	const second = time.Second // iat has no smaller parts
	return at.SinceBoot-at.Wall.Sub(m.IssuedAt)+second <= c.born
}
