package doors

import (
	"context"
	"testing"

	"gardien/gateway"
)

// BenchmarkRelease is a door's own part of an opening: from the decision to the strike.
func BenchmarkRelease(b *testing.B) {
	s := settings()
	s.RetryGrace = 0
	d, err := New(s, Hardware{Strike: &fakeStrike{}, Contact: newFakeContact()}, bubbleClock{}, &fakeJournal{}, quiet)
	if err != nil {
		b.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- d.Run(ctx) }()
	<-d.Ready()
	for b.Loop() {
		if _, err := d.Release(ctx, gateway.Attempt{ID: "a"}, false); err != nil {
			b.Fatal(err)
		}
	}
	cancel()
	<-done
}
