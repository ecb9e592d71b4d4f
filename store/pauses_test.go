package store_test

import (
	"bytes"
	"context"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"gardien/gateway"
	"gardien/store"
)

const colis gateway.IssuerID = "colis-x.example"

// pausesOf gives what is kept: of all, and of one.
func pausesOf(t *testing.T, s *store.Store) (list [2]*gateway.Pause) {
	t.Helper()
	err := s.View(context.Background(), func(tx *store.Tx) error {
		list = [2]*gateway.Pause{tx.House.Paused(), tx.Issuers.State(colis, "").Paused}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	return list
}

// A pause is kept as it was set, over a restart, and a change is told as one.
func TestPausesAreKept(t *testing.T) {
	dir, c := t.TempDir(), newClock()
	s := reopenWith(t, dir, nil, c)
	tomorrow := start.Add(24 * time.Hour)
	vacation := &gateway.Pause{From: start, Until: tomorrow, Home: true, Keep: []gateway.GrantID{{Issuer: gateway.HomeIssuer, JTI: "a"}}}
	for i, step := range []struct {
		one     *gateway.Pause
		changed bool
		all     *gateway.Pause
	}{
		{nil, false, nil},
		{&gateway.Pause{}, true, &gateway.Pause{}},
		{&gateway.Pause{}, false, &gateway.Pause{}},
		{&gateway.Pause{Until: tomorrow}, true, vacation},
		{&gateway.Pause{Until: tomorrow}, false, vacation},
		{&gateway.Pause{}, true, &gateway.Pause{Until: tomorrow}},
		{nil, true, nil},
		{nil, false, nil},
	} {
		update(t, s, func(tx *store.Tx) error {
			if got := tx.Issuers.Pause(colis, step.one); got != step.changed {
				t.Errorf("step %d: changed %v", i, got)
			}
			if err := tx.House.SetPaused(step.all); err != nil {
				return err
			}
			if diff := cmp.Diff(step.all, tx.House.Paused()); diff != "" {
				t.Errorf("step %d, in its transaction: (-want +got):\n%s", i, diff)
			}
			return tx.Err()
		})
		s = reopenWith(t, dir, s, c)
		if diff := cmp.Diff([2]*gateway.Pause{step.all, step.one}, pausesOf(t, s)); diff != "" {
			t.Errorf("step %d: (-want +got):\n%s", i, diff)
		}
	}
}

// Those whose pause has an end that has come, and no others, are over.
func TestPausesOver(t *testing.T) {
	s := reopen(t, t.TempDir(), nil)
	over := func(at time.Time) (list []gateway.IssuerID) {
		update(t, s, func(tx *store.Tx) error { list = tx.Issuers.PausesOver(at); return tx.Err() })
		return list
	}
	update(t, s, func(tx *store.Tx) error {
		tx.Issuers.Pause("endless.example", &gateway.Pause{})
		tx.Issuers.Pause("later.example", &gateway.Pause{Until: start.Add(time.Hour)})
		tx.Issuers.Pause("now.example", &gateway.Pause{Until: start})
		tx.Issuers.Pause("resumed.example", &gateway.Pause{Until: start})
		tx.Issuers.Pause("resumed.example", nil)
		tx.Issuers.Heard("never.example", start)
		return tx.Err()
	})
	for at, want := range map[time.Time][]gateway.IssuerID{
		start.Add(-1): nil, start: {"now.example"}, start.Add(time.Hour - 1): {"now.example"}, start.Add(time.Hour): {"later.example", "now.example"},
	} {
		if diff := cmp.Diff(want, over(at)); diff != "" {
			t.Errorf("%v: (-want +got):\n%s", at, diff)
		}
	}
}

// A restore ends no pause (D7): the one that is on stays, in place of the backup's; where there is
// none the backup's comes back.
func TestRestoreEndsNoPause(t *testing.T) {
	tomorrow := start.Add(24 * time.Hour)
	endless, ends := &gateway.Pause{}, &gateway.Pause{Until: tomorrow}
	vacation := &gateway.Pause{From: start, Until: tomorrow, Home: true, Keep: []gateway.GrantID{{Issuer: gateway.HomeIssuer, JTI: "a"}}}
	type pair = [2]*gateway.Pause // of all, of one
	for name, c := range map[string]struct{ saved, live, want pair }{
		"none":             {pair{}, pair{}, pair{}},
		"begun since":      {pair{}, pair{vacation, ends}, pair{vacation, ends}},
		"begun since, all": {pair{}, pair{endless, endless}, pair{endless, endless}},
		"ended since":      {pair{vacation, ends}, pair{}, pair{vacation, ends}},
		"longer since":     {pair{ends, ends}, pair{endless, endless}, pair{endless, endless}},
		"another since":    {pair{endless, endless}, pair{vacation, ends}, pair{vacation, ends}},
	} {
		t.Run(name, func(t *testing.T) {
			dir, clock := t.TempDir(), newClock()
			s := reopenWith(t, dir, nil, clock)
			set := func(p pair) {
				update(t, s, func(tx *store.Tx) error { tx.Issuers.Pause(colis, p[1]); return tx.House.SetPaused(p[0]) })
			}
			set(c.saved)
			saved := backup(t, s)
			set(c.live)
			if err := s.Restore(context.Background(), bytes.NewReader(saved)); err != nil {
				t.Fatal(err)
			}
			for range 2 {
				if diff := cmp.Diff(c.want, pausesOf(t, s)); diff != "" {
					t.Errorf("(-want +got):\n%s", diff)
				}
				s = reopenWith(t, dir, s, clock)
			}
		})
	}
}
