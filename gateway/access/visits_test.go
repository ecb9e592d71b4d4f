package access_test

import (
	"fmt"
	"math/rand/v2"
	"slices"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"

	"gardien/gateway"
	"gardien/gateway/access"
	"gardien/store"
)

// visits lists all of a stretch, page by page.
func (h *house) visits(from, to time.Time, most int) (all []gateway.Visit) {
	h.t.Helper()
	var after gateway.VisitPlace
	for {
		page, more, err := h.Visits(h.t.Context(), from, to, after, most)
		h.check(err)
		if len(page) > most || more && len(page) < most {
			h.t.Fatalf("a page of %d, more: %v, want at most %d", len(page), more, most)
		}
		for _, v := range page {
			if v.Place().Compare(after) <= 0 {
				h.t.Fatalf("%v comes after %v", v.Place(), after)
			}
			after = v.Place()
		}
		if all = append(all, page...); !more {
			return all
		}
	}
}

// has reports whether a visit has a conflict, whatever the other grant.
func has(v gateway.Visit, key gateway.ConflictKey) bool {
	return slices.ContainsFunc(v.Conflicts, func(c gateway.Conflict) bool { return c.Key == key })
}

// chance draws what the visits of a house depend on.
type chance struct {
	*rand.Rand
	from, to time.Time
}

// minute is within the stretch, or up to two days beside it.
func (r chance) minute() time.Time {
	return r.from.Add(-48 * time.Hour).Add(time.Duration(r.Int64N(int64(r.to.Sub(r.from)/time.Minute)+4*1440)) * time.Minute)
}

func (r chance) period() gateway.Period {
	a, b := r.minute(), r.minute()
	if b.Before(a) {
		a, b = b, a
	}
	return gateway.Period{NotBefore: a, NotAfter: b.Add(time.Minute)}
}

// windows are between one and four at night often, when clocks change.
func (r chance) windows() (list []gateway.Window) {
	clock := func() gateway.Clock {
		if r.IntN(2) == 0 {
			return gateway.Clock(60 + 15*r.IntN(14))
		}
		return gateway.Clock(r.IntN(1440))
	}
	for range 1 + r.IntN(3) {
		w := gateway.Window{From: clock(), To: clock()}
		for d := range gateway.Weekday(7) {
			if r.IntN(2) == 0 || d == 0 {
				w.Days = append(w.Days, d)
			}
		}
		list = append(list, w)
	}
	return list
}

func (r chance) schedule() *gateway.Schedule {
	if r.IntN(3) == 0 {
		return nil
	}
	y, m, d := r.minute().Date()
	return &gateway.Schedule{Windows: r.windows(), Except: []gateway.Date{{Year: y, Month: m, Day: d}}}
}

func (r chance) doors() []gateway.DoorID {
	return [][]gateway.DoorID{{"front"}, {"side"}, {"front", "side"}}[r.IntN(3)]
}

func (r chance) policy() gateway.Policy {
	p := gateway.Policy{Doors: r.doors(), Bearer: true, OneTimeOnly: r.IntN(3) == 0}
	if r.IntN(2) == 0 {
		p.Hours = r.windows()
	}
	if r.IntN(2) == 0 {
		p.MaxValidity = time.Duration(r.IntN(20)) * 24 * time.Hour
	}
	return p
}

// pause is none, or one that may be planned or without an end.
func (r chance) pause() *gateway.Pause {
	if r.IntN(3) == 0 {
		return nil
	}
	v := r.period()
	p := &gateway.Pause{From: v.NotBefore, Until: v.NotAfter, Home: r.IntN(2) == 0}
	switch r.IntN(5) {
	case 0:
		p.From = time.Time{}
	case 1:
		p.Until = time.Time{}
	}
	return p
}

// populate has grants, policies and pauses made by chance.
func (h *house) populate(r chance, n int) (ids []gateway.GrantID) {
	h.t.Helper()
	h.rules.Issuers = map[gateway.IssuerID]gateway.Issuer{colisX: {ID: colisX, Policy: r.policy()}, menageY: {ID: menageY, Policy: r.policy()}}
	h.SetRules(h.rules)
	for i := range n {
		p := r.period()
		for !p.NotAfter.After(time.Now()) {
			p = r.period()
		}
		if r.IntN(4) == 0 {
			p = gateway.Period{NotBefore: gateway.MinTime, NotAfter: gateway.MaxTime}
		}
		if i%2 == 0 {
			made, err := h.Home(h.t.Context(), access.HomeGrant{Doors: r.doors(), NotBefore: p.NotBefore, NotAfter: p.NotAfter, Schedule: r.schedule(), Uses: r.IntN(3),
				Card: gateway.NewCard(26, 123, uint64(1+i))})
			h.check(err)
			ids = append(ids, made.ID)
			continue
		}
		id := gateway.GrantID{Issuer: []gateway.IssuerID{colisX, menageY, colisX}[r.IntN(3)], JTI: fmt.Sprint("g", i)}
		h.takes(h.grant(id.JTI, func(g *gateway.Grant) {
			g.ID, g.Period, g.Doors, g.Schedule, g.Uses = id, p, r.doors(), r.schedule(), r.IntN(3)
		}), "accepted")
		ids = append(ids, id)
	}
	p := r.pause()
	if p != nil && p.Home && r.IntN(2) == 0 {
		p.Keep = []gateway.GrantID{ids[0]}
	}
	h.pause(p)
	if p := r.pause(); p != nil {
		h.pauseIssuer(&gateway.Pause{Until: p.Until})
	}
	return ids
}

// ofVisits names the checks that visits stand for.
func ofVisits(checks []access.Check) (comes, paused, beyond bool) {
	comes = true
	for _, c := range checks {
		switch c.Name {
		case "status", "door", "period", "schedule":
			comes = comes && c.OK
		case "issuer not paused":
			paused = !c.OK
		case "policy doors", "policy hours", "policy one_time_only", "policy max_validity":
			beyond = beyond || !c.OK
		}
	}
	return comes, paused, beyond
}

// TestT7_VisitsAgreeWithExplain: over two weeks around both changes of the clocks, minute by minute,
// somebody is expected when Explain would let period and schedule pass, and a visit has a conflict
// just where some minute of it is paused or beyond the policy.
func TestT7_VisitsAgreeWithExplain(t *testing.T) {
	for _, change := range []time.Time{time.Date(2027, 3, 28, 1, 0, 0, 0, time.UTC), time.Date(2027, 10, 31, 1, 0, 0, 0, time.UTC)} {
		t.Run(change.Format(time.DateOnly), func(t *testing.T) {
			live(t, nil, func(h *house) {
				seed := rand.Uint64()
				t.Logf("seed %d", seed)
				r := chance{rand.New(rand.NewPCG(seed, 7)), change.Add(-7 * 24 * time.Hour), change.Add(7 * 24 * time.Hour)}
				h.stop() // who is asleep sweeps nothing
				time.Sleep(time.Until(r.from.Add(3 * 24 * time.Hour)))
				h.start()
				ids := h.populate(r, 8)
				all := h.visits(r.from, r.to, 1+r.IntN(200))
				if len(all) < 8 {
					t.Fatalf("only %d visits: this test shows nothing", len(all))
				}
				for _, id := range ids {
					for _, door := range []gateway.DoorID{"front", "side"} {
						h.holdAgainstExplain(r, id, door, slices.DeleteFunc(slices.Clone(all), func(v gateway.Visit) bool { return v.Grant != id || v.Door != door }))
					}
				}
			})
		})
	}
}

func (h *house) holdAgainstExplain(r chance, id gateway.GrantID, door gateway.DoorID, visits []gateway.Visit) {
	h.t.Helper()
	rule, err := h.Rule(h.t.Context(), id, door)
	h.check(err)
	paused, beyond := make([]bool, len(visits)), make([]bool, len(visits))
	for at := r.from; at.Before(r.to); at = at.Add(time.Minute) {
		checks := rule(at)
		if r.IntN(1000) == 0 {
			x, _, err := h.Explain(h.t.Context(), id, door, at)
			h.check(err)
			for _, c := range checks {
				if i := slices.IndexFunc(x.Checks, func(x access.Check) bool { return x.Name == c.Name }); x.Checks[i].Reason != c.Reason {
					h.t.Fatalf("%s at %s, %v: Explain says %+v, the rule of this test %+v", id, door, at, x.Checks[i], c)
				}
			}
		}
		comes, isPaused, isBeyond := ofVisits(checks)
		i := slices.IndexFunc(visits, func(v gateway.Visit) bool { return !at.Before(v.NotBefore) && at.Before(v.NotAfter) })
		if comes != (i >= 0) {
			h.t.Fatalf("%s at %s, %v: Explain would let it pass: %v, visit: %v", id, door, at.In(zone), comes, i >= 0)
		}
		if i >= 0 {
			paused[i], beyond[i] = paused[i] || isPaused, beyond[i] || isBeyond
		}
	}
	for i, v := range visits {
		if has(v, gateway.ConflictPaused) != paused[i] || has(v, gateway.ConflictBeyondPolicy) != beyond[i] {
			h.t.Fatalf("%+v: want paused %v, beyond_policy %v", v, paused[i], beyond[i])
		}
	}
}

// TestVisitsOverlap: whoever comes while another does is told so, however the answer is cut in
// pages: at least with the visit that begins later.
func TestVisitsOverlap(t *testing.T) {
	for _, n := range []int{12, 40} {
		t.Run(fmt.Sprint(n, " grants"), func(t *testing.T) {
			live(t, nil, func(h *house) {
				seed := rand.Uint64()
				t.Logf("seed %d", seed)
				r := chance{rand.New(rand.NewPCG(seed, 7)), time.Now(), time.Now().Add(14 * 24 * time.Hour)}
				h.populate(r, n)
				h.holdOverlaps(r, 2*n)
			})
		})
	}
}

// holdOverlaps holds all visits, at once and in pages, against what meets what. No more go on at one
// instant than a page has.
func (h *house) holdOverlaps(r chance, page int) {
	h.t.Helper()
	pages, whole := h.visits(r.from, r.to, page), h.visits(r.from, r.to, 1_000_000)
	if len(pages) != len(whole) || len(whole) <= page {
		h.t.Fatalf("%d in pages of %d, %d at once", len(pages), page, len(whole))
	}
	across := 0 // pairs whose first is on a page before
	for i, v := range whole {
		var all []gateway.GrantID
		told, inPages := others(h.t, v), others(h.t, pages[i])
		for k, o := range whole {
			if o.Door != v.Door || o.Grant == v.Grant || !o.NotBefore.Before(v.NotAfter) || !v.NotBefore.Before(o.NotAfter) {
				continue
			}
			if !slices.Contains(all, o.Grant) {
				all = append(all, o.Grant)
			}
			if k/page < i/page {
				across++
			}
			if k < i && len(inPages) < 8 && !slices.Contains(inPages, o.Grant) {
				h.t.Fatalf("in pages of %d, %+v does not name %s, which is there already", page, pages[i], o.Grant)
			}
		}
		if len(told) != min(len(all), 8) || slices.ContainsFunc(told, func(id gateway.GrantID) bool { return !slices.Contains(all, id) }) {
			h.t.Fatalf("%+v: want overlaps with %v", v, all)
		}
	}
	if across == 0 {
		h.t.Error("nothing goes on from one page to the next: this test shows nothing")
	}
}

// others lists whom a visit names, each once.
func others(t *testing.T, v gateway.Visit) (list []gateway.GrantID) {
	t.Helper()
	for _, c := range v.Conflicts {
		if (c.Key == gateway.ConflictOverlap) != (c.Grant != gateway.GrantID{}) || c.Grant == v.Grant || slices.Contains(list, c.Grant) && c.Key == gateway.ConflictOverlap {
			t.Fatalf("%+v", v)
		}
		if c.Key == gateway.ConflictOverlap {
			list = append(list, c.Grant)
		}
	}
	return list
}

// TestVisitsAreThoseToCome: what is over, spent, revoked, blocked or void is no visit, and neither is a
// resident's own way in. An entry that goes on is.
func TestVisitsAreThoseToCome(t *testing.T) {
	live(t, nil, func(h *house) {
		ctx, from, to := h.t.Context(), time.Now(), time.Now().Add(24*time.Hour)
		expect := func(what string, want ...string) {
			t.Helper()
			var got []string
			for _, v := range h.visits(from, to, 1000) {
				got = append(got, v.Grant.String())
			}
			if d := cmp.Diff(want, got); d != "" {
				t.Errorf("%s (-want +got):\n%s", what, d)
			}
		}
		expect("nobody")
		pin, _ := h.home(access.HomeGrant{PIN: true})
		revoked, _ := h.home(access.HomeGrant{PIN: true})
		_, err := h.Revoke(ctx, revoked, "")
		h.check(err)
		h.home(access.HomeGrant{PIN: true, Owner: "ada"})
		h.home(access.HomeGrant{PIN: true, Duress: "ada"})
		spent := h.grant("spent", nil)
		if r := h.scan(spent); r != "" {
			t.Fatal(r)
		}
		h.takes(h.grant("blocked", nil), "accepted")
		_, err = h.Block(ctx, gateway.GrantID{Issuer: colisX, JTI: "blocked"}, "")
		h.check(err)
		h.takes(h.grant("elsewhere", func(g *gateway.Grant) { g.Doors = []gateway.DoorID{"another-house"} }), "accepted")
		h.takes(h.grant("good", nil), "accepted")
		expect("what is good", "colis-x.example/good", pin.String())

		h.takes(h.grant("hall", func(g *gateway.Grant) { g.Doors = []gateway.DoorID{"front", "side"} }), "accepted")
		hall := gateway.GrantID{Issuer: colisX, JTI: "hall"}
		h.check(h.store.Update(ctx, func(tx *store.Tx) error {
			tx.Grants.Spend(hall)
			at := h.clock.Read()
			tx.Grants.PutEntry(hall, gateway.GrantEntry{Episode: "a", Doors: []gateway.DoorID{"front"}, Began: at.Earliest, Boot: at.Boot, SinceBoot: at.SinceBoot})
			return tx.Err()
		}))
		expect("an entry that goes on", "colis-x.example/good", pin.String(), "colis-x.example/hall")
		for _, v := range h.visits(from, to, 1000) {
			if v.Grant == hall && v.Door != "side" {
				t.Errorf("it has opened that door: %+v", v)
			}
		}
		time.Sleep(gateway.EntryLasts)
		expect("it is over", "colis-x.example/good", pin.String())
		h.check(h.store.Update(ctx, func(tx *store.Tx) error { tx.Residents.Remove("ada"); return tx.Err() }))
		expect("a resident's PIN whose resident is gone", "colis-x.example/good", pin.String())
		from = from.Add(time.Hour)
		expect("over by then")
	})
}

// TestVisitsInQuarantine: after something happened to the database all third parties are kept out.
func TestVisitsInQuarantine(t *testing.T) {
	live(t, nil, func(h *house) {
		h.home(access.HomeGrant{PIN: true})
		h.takes(h.grant("g1", nil), "accepted")
		h.check(h.store.Update(h.t.Context(), func(tx *store.Tx) error { tx.House.SetQuarantine(store.SetAside); return tx.Err() }))
		for _, v := range h.visits(time.Now(), time.Now().Add(time.Hour), 10) {
			if has(v, gateway.ConflictPaused) != (v.Grant.Issuer == colisX) {
				t.Errorf("%+v", v)
			}
		}
	})
}

// I2: a page that is full of visits which began before what is asked for hides nobody else's, be it
// that those began earlier still.
func TestI2_LongVisitsHideNobody(t *testing.T) {
	live(t, nil, func(h *house) {
		now := time.Now()
		began := func(jti string, iss gateway.IssuerID, ago time.Duration) {
			h.takes(h.grant(jti, func(g *gateway.Grant) {
				g.ID.Issuer, g.IssuedAt = iss, now.Add(-100*time.Hour)
				g.Period = gateway.Period{NotBefore: now.Add(-ago), NotAfter: now.Add(48 * time.Hour)}
			}), "accepted")
		}
		h.neighbour()
		for i := range 8 {
			began(fmt.Sprint("a", i), colisX, time.Hour)
		}
		began("z", menageY, 2*time.Hour)
		for _, most := range []int{1000, 5, 2} {
			if list := h.visits(now, now.Add(24*time.Hour), most); len(list) != 9 || list[0].Grant.JTI != "z" {
				t.Errorf("pages of %d have %d visits: %v", most, len(list), list)
			}
		}
	})
}

// A11: the calendar gives way to whoever stands at a door, and not without end: a lock that takes long
// keeps nobody from reading.
func TestA11_VisitsGiveWay(t *testing.T) {
	live(t, nil, func(h *house) {
		for i := range 300 {
			h.takes(h.grant(fmt.Sprint("a", i), nil), "accepted")
		}
		h.stop()
		h.startWith(&slowDoors{Fake: h.doors, now: map[gateway.DoorID]bool{}})
		reads := func() time.Duration {
			begun := time.Now()
			h.visits(begun, begun.Add(24*time.Hour), 1000)
			return time.Since(begun)
		}
		if d := reads(); d != 0 {
			t.Errorf("it waits %v for nobody", d)
		}
		done := make(chan gateway.Reason)
		go func() { done <- h.scan(h.grant("a299", nil)) }()
		synctest.Wait()
		if d := reads(); d == 0 || d > 100*time.Millisecond {
			t.Errorf("it waits %v beside a lock that takes 3 s", d)
		}
		if r := <-done; r != "" {
			t.Error(r)
		}
	})
}
