package daemon

import (
	"context"
	"errors"
	"slices"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"gardien/cmd/gardiend/hardware"
	"gardien/gateway"
)

// flaky is a reader that is away for some tries.
type flaky struct{ fails int }

func (f *flaky) String() string { return "a flaky reader" }

func (f *flaky) Read(ctx context.Context, _ func(context.Context, gateway.Credential)) error {
	if f.fails > 0 {
		f.fails--
		return errors.New("no such device")
	}
	select {
	case <-ctx.Done():
		return nil
	case <-time.After(time.Hour):
		f.fails = 3
		return errors.New("pulled out")
	}
}

// A reader that goes away is told once, and once that it is back; it is tried every few seconds.
func TestReaderComesAndGoes(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var mu sync.Mutex
		var got []gateway.EventType
		note := func(events ...gateway.Event) {
			mu.Lock()
			defer mu.Unlock()
			for _, e := range events {
				if e.Reader != "pad" || e.Door != "front" || e.Device != "a flaky reader" {
					t.Errorf("%+v", e)
				}
				got = append(got, e.Type)
			}
		}
		r := keepUp(newReading(hardware.Reader{ID: "pad", Door: "front", Device: &flaky{fails: 5}}, nil), note, quiet)
		ctx, cancel := context.WithCancel(t.Context())
		done := make(chan struct{})
		go func() { r.run(ctx); close(done) }()
		sees := func(after time.Duration, want ...gateway.EventType) {
			t.Helper()
			time.Sleep(after)
			synctest.Wait()
			mu.Lock()
			defer mu.Unlock()
			if !slices.Equal(got, want) {
				t.Errorf("%v, want %v", got, want)
			}
		}
		sees(4*time.Second, gateway.DeviceOffline)
		if down, _, why := r.status(); !down || why == nil {
			t.Errorf("status: down %v, %v", down, why)
		}
		sees(20*time.Second, gateway.DeviceOffline, gateway.DeviceOnline)
		sees(time.Hour+20*time.Second, gateway.DeviceOffline, gateway.DeviceOnline, gateway.DeviceOffline, gateway.DeviceOnline)
		cancel()
		<-done
	})
}
