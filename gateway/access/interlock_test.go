package access_test

import (
	"context"
	"slices"
	"sync"
	"testing"
	"time"

	"gardien/gateway"
	"gardien/gateway/access"
	"gardien/gateway/doors"
)

func (h *house) interlocks() {
	h.rules.Interlock = []gateway.DoorID{"front", "side"}
	h.SetRules(h.rules)
}

// Of the doors of an interlock one at a time is released or open, and only where that is proved.
func TestInterlock(t *testing.T) {
	for what, tc := range map[string]struct {
		side gateway.DoorView
		want gateway.Reason
	}{
		"closed and secured":        {gateway.DoorView{Strike: gateway.StrikeIsSecured, Contact: gateway.ContactClosed}, ""},
		"a bolt that is shut":       {gateway.DoorView{Lock: gateway.LockLocked, Contact: gateway.ContactClosed}, ""},
		"released":                  {gateway.DoorView{Strike: gateway.StrikeIsReleased, Contact: gateway.ContactClosed}, gateway.Interlocked},
		"a bolt that is drawn":      {gateway.DoorView{Lock: gateway.LockUnlocked, Contact: gateway.ContactClosed}, gateway.Interlocked},
		"a bolt that runs":          {gateway.DoorView{Contact: gateway.ContactClosed, Entries: []gateway.Entry{{Running: true}}}, gateway.Interlocked},
		"a bolt that tells nothing": {gateway.DoorView{Contact: gateway.ContactClosed}, gateway.Interlocked},
		"a strike found unlocked":   {gateway.DoorView{Strike: gateway.StrikeIsSecured, Lock: gateway.LockUnlocked, Contact: gateway.ContactClosed}, gateway.Interlocked},
		"a strike that is heard":    {gateway.DoorView{Strike: gateway.StrikeIsSecured, Lock: gateway.LockLocked, Contact: gateway.ContactClosed}, ""},
		"open":                      {gateway.DoorView{Strike: gateway.StrikeIsSecured, Contact: gateway.ContactOpen}, gateway.Interlocked},
		"not known":                 {gateway.DoorView{Strike: gateway.StrikeIsSecured, Contact: gateway.ContactUnknown}, gateway.Interlocked},
		"its contact is cut":        {gateway.DoorView{Strike: gateway.StrikeIsSecured, Contact: gateway.ContactFault, Fault: true}, gateway.Interlocked},
		"its strike is stuck":       {gateway.DoorView{Strike: gateway.StrikeIsSecured, Contact: gateway.ContactClosed, Fault: true}, gateway.Interlocked},
		"its strike is silent":      {gateway.DoorView{Strike: gateway.StrikeIsSecured, Contact: gateway.ContactClosed, Blocked: true}, gateway.Interlocked},
	} {
		t.Run(what, func(t *testing.T) {
			live(t, nil, func(h *house) {
				h.interlocks()
				tc.side.ID = "side"
				h.doors.Set(tc.side)
				x, _, err := h.Explain(h.t.Context(), h.known("g0"), "front", h.clock.Read().Wall)
				h.check(err)
				i := slices.IndexFunc(x.Checks, func(c access.Check) bool { return c.Name == "interlock" })
				if i < 0 || x.Checks[i].Reason != tc.want || x.Checks[i].Detail == "" {
					h.t.Errorf("explained as %+v", x.Checks)
				}
				if r := h.scan(h.grant("g1", nil)); r != tc.want {
					h.t.Errorf("a courier: %q, want %q", r, tc.want)
				}
				if n := h.used("g1"); (n == 1) != (tc.want == "") {
					h.t.Errorf("used %d", n)
				}
				h.doors.Pass("front")
				resident := gateway.ResidentCredential{Resident: "ada"}
				opens := func(cred gateway.ResidentCredential) gateway.Reason {
					defer h.doors.Pass("front")
					return h.Present(h.t.Context(), "front", gateway.ReaderApp, cred).Reason
				}
				if r := opens(resident); r != tc.want {
					h.t.Errorf("a resident: %q", r)
				}
				if r := opens(gateway.ResidentCredential{Resident: "gus", Guest: true, Hold: true}); r != tc.want {
					h.t.Errorf("a guest who holds: %q", r)
				}
				before := h.count(gateway.InterlockOverridden)
				resident.Hold = true
				if r := opens(resident); r != "" {
					h.t.Errorf("a resident who holds: %q", r)
				}
				if told := h.count(gateway.InterlockOverridden) - before; told != min(len(tc.want), 1) {
					h.t.Errorf("overriding was told %d times", told)
				}
			})
		})
	}
}

// However many come to both doors at once, both are never released.
func TestInterlockTogether(t *testing.T) {
	live(t, nil, func(h *house) {
		h.interlocks()
		text := h.grant("g1", func(g *gateway.Grant) { hallAndFlat(g); g.Uses = 0 })
		for range 20 {
			var wg sync.WaitGroup
			for _, door := range []gateway.DoorID{"front", "side", "front", "side"} {
				wg.Go(func() {
					h.Present(h.t.Context(), door, gateway.ReaderID(door+"-pad"), gateway.GrantCredential{Text: gateway.NewSecret(text)})
				})
			}
			wg.Wait()
			front, side := h.doors.View("front"), h.doors.View("side")
			if len(front.Entries) > 0 && len(side.Entries) > 0 || len(front.Entries)+len(side.Entries) == 0 {
				h.t.Fatalf("front %+v, side %+v", front, side)
			}
			h.doors.Pass("front")
			h.doors.Pass("side")
		}
	})
}

// known is a grant that is here.
func (h *house) known(jti string) gateway.GrantID {
	h.t.Helper()
	h.takes(h.grant(jti, nil), "accepted")
	return gateway.GrantID{Issuer: colisX, JTI: jti}
}

// slowDoors let somebody in after a while only, as a bolt lock does.
type slowDoors struct {
	*doors.Fake
	mu       sync.Mutex
	together int // most doors being released or released at once
	now      map[gateway.DoorID]bool
}

func (s *slowDoors) Release(ctx context.Context, a gateway.Attempt, retry bool) (time.Duration, error) {
	s.mu.Lock()
	s.now[a.Door] = true
	s.together = max(s.together, len(s.now))
	s.mu.Unlock()
	time.Sleep(3 * time.Second)
	d, err := s.Fake.Release(ctx, a, retry)
	s.mu.Lock()
	delete(s.now, a.Door)
	s.mu.Unlock()
	return d, err
}

// While a bolt is being withdrawn, and its view says still that it is shut, the other door stays so.
func TestInterlockOfSlowLocks(t *testing.T) {
	live(t, nil, func(h *house) {
		h.interlocks()
		slow := &slowDoors{Fake: h.doors, now: map[gateway.DoorID]bool{}}
		h.stop()
		h.startWith(slow)
		text := h.grant("g1", func(g *gateway.Grant) { hallAndFlat(g); g.Uses = 0 })
		for range 5 {
			var wg sync.WaitGroup
			for i, door := range []gateway.DoorID{"front", "side", "front", "side"} {
				wg.Go(func() {
					time.Sleep(time.Duration(i) * 800 * time.Millisecond)
					h.presentsAt(door, text)
				})
			}
			wg.Wait()
			h.doors.Pass("front")
			h.doors.Pass("side")
			time.Sleep(time.Second)
		}
		if slow.together != 1 || len(h.doors.Released()) < 5 {
			h.t.Errorf("%d doors at once, %d entries", slow.together, len(h.doors.Released()))
		}
		h.doors.Fail(gateway.ErrFault) // a release that fails leaves the other door usable
		h.presentsAt("front", text)
		h.doors.Fail(nil)
		if o := h.presentsAt("side", text); !o.Granted {
			h.t.Errorf("after a release that failed: %+v", o)
		}
	})
}
