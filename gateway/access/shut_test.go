package access_test

import (
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"gardien/gateway"
	"gardien/gateway/access"
	"gardien/store"
)

// P2, P3: which readers are shut is told as long as they are, with how long and since when: before and after a
// restart, and whoever only looks changes nothing.
func TestShutReaders(t *testing.T) {
	live(t, nil, func(h *house) {
		shut := func() []access.ShutReader {
			t.Helper()
			list, err := h.ShutReaders(h.t.Context(), h.clock.Read())
			h.check(err)
			return list
		}
		if list := shut(); list != nil {
			t.Errorf("%+v at first", list)
		}
		h.wrong(4)
		locked := time.Now()
		time.Sleep(10 * time.Second)
		since := cmp.Comparer(func(a, b time.Time) bool { return a.Equal(b) })
		want := []access.ShutReader{{ID: "front-pad", Door: "front", LockedOut: true, For: 20 * time.Second, Since: locked}}
		if d := cmp.Diff(want, shut(), since); d != "" {
			t.Error(d)
		}
		time.Sleep(20 * time.Second)
		if list := shut(); list != nil {
			t.Errorf("%+v after its time", list)
		}
		h.wrong(46) // of 50 a day
		paused := time.Now()
		time.Sleep(15 * time.Minute)
		want = []access.ShutReader{{ID: "front-pad", Door: "front", Since: paused}}
		if d := cmp.Diff(want, shut(), since); d != "" {
			t.Error(d)
		}
		h.stop()
		h.start()
		if d := cmp.Diff(want, shut(), since); d != "" {
			t.Errorf("after a restart: %s", d)
		}
		_, err := h.Lift(h.t.Context(), "front-pad", "")
		h.check(err)
		if list := shut(); list != nil {
			t.Errorf("%+v after a lift", list)
		}
	})
}

// TestPresentableLists: what a list says of its grants is what their explanations say, at one door at least.
func TestPresentableLists(t *testing.T) {
	policy := func(p *gateway.Policy) {
		p.Doors, p.Bearer, p.Approval = []gateway.DoorID{"front"}, false, gateway.SilenceOpens
	}
	live(t, policy, func(h *house) {
		h.rules.Doors = []gateway.DoorID{"front", "side"}
		h.rules.Readers = map[gateway.DoorID][]access.Reader{"front": {{ID: "front-pad"}}}
		h.SetRules(h.rules)
		holder := h.carrier.PublicKey.KeyID()
		third := func(jti string, change func(*gateway.Grant)) gateway.GrantID {
			h.takes(h.grant(jti, change), "accepted")
			return gateway.GrantID{Issuer: colisX, JTI: jti}
		}
		want := map[gateway.GrantID]bool{
			third("bare", nil): false,
			third("pin", with(gateway.DrawPIN(8), "front", "side")):      true,
			third("phone", func(g *gateway.Grant) { g.Holder = holder }): true,
			third("elsewhere", with(gateway.DrawPIN(8), "side")):         false,
			third("gone", with(gateway.DrawPIN(8), "front")):             false,
		}
		_, err := h.Block(h.t.Context(), gateway.GrantID{Issuer: colisX, JTI: "gone"}, "")
		h.check(err)
		for _, made := range []struct {
			access.HomeGrant
			want bool
		}{{access.HomeGrant{PIN: true, Approval: gateway.SilenceDenies}, true}, {access.HomeGrant{PIN: true, Doors: []gateway.DoorID{"side"}}, false},
			{access.HomeGrant{PIN: true, Doors: []gateway.DoorID{"side", "front"}}, true}, {access.HomeGrant{Card: gateway.NewCard(26, 123, 4567)}, false}, {access.HomeGrant{Holder: holder}, true}} {
			id, _ := h.home(made.HomeGrant)
			want[id] = made.want
		}
		var list []gateway.GrantRecord
		var codes []gateway.PINRecord
		h.check(h.store.View(h.t.Context(), func(tx *store.Tx) error {
			list = tx.Grants.List(gateway.GrantID{}, 100)
			codes = tx.Codes.Between(list[0].ID, list[len(list)-1].ID)
			return tx.Err()
		}))
		got := map[gateway.GrantID]bool{}
		for i, facts := range h.Look(list, codes) {
			can := facts.Presentable
			got[list[i].ID] = can
			explained := false
			for _, d := range list[i].Doors {
				x, _, err := h.Explain(h.t.Context(), list[i].ID, d, time.Now())
				h.check(err)
				explained = explained || x.Checks[len(x.Checks)-1].OK
			}
			if can != explained {
				t.Errorf("%s: the list says %v, its explanations %v", list[i].ID, can, explained)
			}
			asked := gateway.SilenceOpens
			if list[i].ID.Issuer == gateway.HomeIssuer {
				asked = list[i].Grant.Approval
			}
			if a := facts.Approval; a != asked {
				t.Errorf("%s: approval %q, want %q", list[i].ID, a, asked)
			}
		}
		if d := cmp.Diff(want, got); d != "" {
			t.Error(d)
		}
	})
}
