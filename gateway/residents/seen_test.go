package residents_test

import (
	"context"
	"errors"
	"testing"
	"time"

	"gardien/gateway"
	"gardien/gateway/residents"
)

// counting is a memory that counts how often it is told when devices were seen.
type counting struct {
	*residents.Fake
	puts int
}

func (c *counting) PutSeenAt(ctx context.Context, seen map[gateway.ResidentID]time.Time) error {
	c.puts += len(seen)
	return c.Fake.PutSeenAt(ctx, seen)
}

// When a device last authenticated is known at once, and written down once an hour a device at most, however
// often it asks. A restart knows what was written; who is removed was never seen.
func TestSeenAt(t *testing.T) {
	m, c := &counting{Fake: &residents.Fake{}}, &clock{}
	r := residents.New(opts(m, c))
	ada, ben := settled(t, r, "Ada"), settled(t, r, "Ben")
	seen := func(r *residents.Residents, id gateway.ResidentID) time.Time {
		t.Helper()
		list, err := r.SeenAt(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		return list[id]
	}
	keep := func() {
		t.Helper()
		if err := r.KeepSeen(t.Context()); err != nil {
			t.Fatal(err)
		}
	}
	if at := seen(r, ada.ID); !at.IsZero() {
		t.Errorf("a device that has never asked was seen at %v", at)
	}
	keep()
	if who(t, r, gateway.NewSecret(string(ada.ID)+".guess")) != "" || !seen(r, ada.ID).IsZero() {
		t.Error("a guess at a device's token shows as that device")
	}
	began := c.Read().Wall
	for range 120 { // two hours
		who(t, r, ada.Token)
		keep()
		c.add(time.Minute)
	}
	if m.puts != 2 {
		t.Errorf("written %d times in two hours, want twice", m.puts)
	}
	if at, want := seen(r, ada.ID), began.Add(119*time.Minute); !at.Equal(want) {
		t.Errorf("seen at %v, want %v", at, want)
	}
	if at, want := seen(residents.New(opts(m, c)), ada.ID), began.Add(60*time.Minute); !at.Equal(want) {
		t.Errorf("after a restart: seen at %v, want %v", at, want)
	}
	who(t, r, ben.Token)
	m.Fail = errors.New("the disk takes no writes")
	if err := r.KeepSeen(t.Context()); err == nil {
		t.Error("no error of a memory that fails")
	}
	m.Fail = nil
	keep()
	if at := seen(residents.New(opts(m, c)), ben.ID); at.IsZero() {
		t.Error("what could not be written was not tried again")
	}
	if err := r.Remove(t.Context(), ben.ID, false); err != nil {
		t.Fatal(err)
	}
	m.puts = 0
	c.add(2 * time.Hour)
	who(t, r, ada.Token)
	keep()
	if m.puts != 1 { // Ada's alone
		t.Errorf("%d devices are written, one is there", m.puts)
	}
}

// undecided is a clock that nobody believes.
type undecided struct{ *clock }

func (u undecided) Read() gateway.Reading {
	r := u.clock.Read()
	r.State = gateway.ClockUndecided
	return r
}

// T1: while nobody knows what time it is, nothing is written that would be wrong for ever.
func TestSeenAtWithoutTime(t *testing.T) {
	m, c := &counting{Fake: &residents.Fake{}}, &clock{}
	r := residents.New(opts(m, undecided{c}))
	ada := settled(t, r, "Ada")
	who(t, r, ada.Token)
	if err := r.KeepSeen(t.Context()); err != nil || m.puts != 0 {
		t.Errorf("written %d times, %v", m.puts, err)
	}
}
