package residents_test

import (
	"bytes"
	"context"
	"errors"
	"testing"
	"testing/synctest"
	"time"

	"gardien/gateway"
	"gardien/gateway/residents"
	"gardien/gateway/wallclock"
)

// fixed is a clock that shows one reading.
type fixed struct{ gateway.Reading }

func (f *fixed) Read() gateway.Reading { return f.Reading }

// An answer is given out for 24 hours by its own instant, also where it is still stored; a clock
// that is undecided vouches for this boot only.
func TestP6_OldAnswersAreNotGivenOut(t *testing.T) {
	noon := time.Date(2027, 3, 1, 12, 0, 0, 0, time.UTC)
	sure := func(after, width time.Duration) gateway.Reading {
		now := noon.Add(after)
		return gateway.Reading{Wall: now, Earliest: now.Add(-width), Latest: now.Add(width), State: gateway.ClockHoldover, SinceBoot: 100 * 24 * time.Hour}
	}
	lost := func(after, sinceBoot time.Duration) gateway.Reading {
		return gateway.Reading{Wall: noon.Add(after), Earliest: gateway.MinTime, Latest: gateway.MaxTime, State: gateway.ClockUndecided, SinceBoot: sinceBoot}
	}
	const day = 24 * time.Hour
	for name, tt := range map[string]struct {
		now  gateway.Reading
		want bool
	}{
		"at once":                            {sure(0, 0), true},
		"a little earlier":                   {sure(-time.Second, 0), true},
		"before its end":                     {sure(day-time.Second, 0), true},
		"at its end":                         {sure(day, 0), false},
		"perhaps at its end":                 {sure(day-time.Minute, time.Minute), false},
		"after 30 days":                      {sure(30*day, 0), false},
		"ahead of the clock":                 {sure(-2*time.Minute, 0), false},
		"undecided, in this boot":            {lost(time.Hour, 2*time.Hour), true},
		"undecided, in this boot, a day ago": {lost(day, 2*day), false},
		"undecided, of another boot":         {lost(time.Hour, time.Minute), false},
	} {
		c := &fixed{sure(0, 0)}
		r := residents.New(residents.Opts{Memory: &residents.Fake{}, Clock: c, MAC: mac})
		if err := r.Remember(t.Context(), "key", "body", []byte("answer")); err != nil {
			t.Fatal(err)
		}
		c.Reading = tt.now
		for _, body := range []string{"body", "another"} {
			answer, found, _, err := r.Recall(t.Context(), "key", body)
			if found != tt.want || err != nil || !found && answer != nil {
				t.Errorf("%s, %s: %q, %v, %v, want %v", name, body, answer, found, err, tt.want)
			}
		}
	}
}

// Answers are deleted within an hour of their end, although no other comes: not while the clock is
// undecided, and a memory that fails is a failure of the task.
func TestP6_OldAnswersAreDeleted(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f, c := &residents.Fake{}, wallclock.NewFake()
		r := residents.New(residents.Opts{Memory: f, Clock: c, MAC: mac})
		ctx, cancel := context.WithCancel(t.Context())
		done := make(chan error, 1)
		go func() { done <- r.ForgetAnswers(ctx) }()
		remembers := func(after time.Duration, want int) {
			t.Helper()
			time.Sleep(after)
			synctest.Wait()
			if n := f.Answers(); n != want {
				t.Errorf("%d answers, want %d", n, want)
			}
		}
		if err := r.Remember(ctx, "one", "body", []byte("answer")); err != nil {
			t.Fatal(err)
		}
		remembers(residents.AnswersFor, 1)
		c.Set(gateway.ClockUndecided)
		remembers(time.Hour, 1)
		c.Set(gateway.ClockSynced)
		remembers(time.Hour, 0)
		cancel()
		if err := <-done; err != nil {
			t.Error(err)
		}
		f.Fail = errors.New("disk full")
		if err := r.ForgetAnswers(t.Context()); !errors.Is(err, f.Fail) {
			t.Error(err)
		}
	})
}

// An answer is kept for its key and its body, and nobody reads it in the memory.
func TestAnswers(t *testing.T) {
	r, f, _ := room()
	ctx := t.Context()
	answer := []byte(`{"pin":"471100"}`)
	if _, found, _, err := r.Recall(ctx, "key", "body"); found || err != nil {
		t.Error(found, err)
	}
	if err := r.Remember(ctx, "key", "body", answer); err != nil {
		t.Fatal(err)
	}
	got, found, same, err := r.Recall(ctx, "key", "body")
	if !bytes.Equal(got, answer) || !found || !same || err != nil {
		t.Errorf("%s, %v, %v, %v", got, found, same, err)
	}
	if got, found, same, err := r.Recall(ctx, "key", "another"); got != nil || !found || same || err != nil {
		t.Errorf("another body: %s, %v, %v, %v", got, found, same, err)
	}
	if _, found, _, _ := r.Recall(ctx, "another", "body"); found {
		t.Error("another key")
	}
	if _, sealed, _, _ := f.Answer(ctx, mac("answer key", "key")); bytes.Contains(sealed, []byte("471100")) {
		t.Error("a PIN in clear")
	}
}
