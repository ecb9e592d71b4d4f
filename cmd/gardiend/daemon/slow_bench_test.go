package daemon

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"gardien/drivers/drivertest"
	"gardien/gateway"
	"gardien/gateway/access"
	"gardien/gateway/api"
)

// slowYAML adds doors beside the front door, whose locks are the benchmark's.
func slowYAML(doors int) string {
	more := ""
	for i := range doors {
		more += fmt.Sprintf("  - {id: slow-%d, lock: {driver: sim}, release_time: 3s}\n", i)
	}
	return strings.Replace(houseYAML, "readers:\n", more+"readers:\n", 1)
}

// besides is a house with doors whose locks behave so, and are kept busy.
func besides(b *testing.B, doors int, m drivertest.Manner) (h *house, stop func()) {
	b.Helper()
	h = build(b)
	if err := os.WriteFile(filepath.Join(h.dir, "g.yaml"), []byte(slowYAML(doors)), 0o600); err != nil {
		b.Fatal(err)
	}
	locks := map[gateway.DoorID]*drivertest.Lock{}
	for i := range doors {
		id := gateway.DoorID(fmt.Sprint("slow-", i))
		locks[id] = drivertest.NewLock()
		h.lockAt(id, locks[id])
	}
	h.start(b)
	ctx, cancel := context.WithCancel(context.Background())
	var busy sync.WaitGroup
	for id, l := range locks {
		l.Behave(m)
		busy.Go(func() {
			for ctx.Err() == nil && m != (drivertest.Manner{}) {
				h.access.Present(context.Background(), id, "app", gateway.ResidentCredential{})
				select { // a door that is blocked refuses at once
				case <-ctx.Done():
				case <-time.After(100 * time.Millisecond):
				}
			}
		})
		for m != (drivertest.Manner{}) && l.Calls() == 0 {
			<-time.After(time.Millisecond)
		}
	}
	return h, func() {
		cancel()
		for _, l := range locks {
			l.Behave(drivertest.Manner{})
		}
		busy.Wait()
	}
}

// BenchmarkF12_BesideSlowLocks: an opening at the front door while other doors' locks take 4 s,
// or never answer: p50 ≤ 1.1 × without. GET /v1/doors (which secure-all waits for) and the
// watchdog's look ≤ 2 ×. The two houses are asked in turn.
func BenchmarkF12_BesideSlowLocks(b *testing.B) {
	for _, c := range []struct {
		name  string
		doors int
		m     drivertest.Manner
	}{{"one-of-4s", 1, drivertest.Manner{Takes: 4 * time.Second}}, {"one-hung", 1, drivertest.Manner{Hangs: true}}, {"four-of-4s", 4, drivertest.Manner{Takes: 4 * time.Second}}} {
		b.Run(c.name, func(b *testing.B) {
			quietHouse, stopQuiet := besides(b, c.doors, drivertest.Manner{})
			busyHouse, stopBusy := besides(b, c.doors, c.m)
			defer stopQuiet()
			defer stopBusy()
			houses := []*house{quietHouse, busyHouse}
			pins := []gateway.PIN{quietHouse.pinGrant(b, "front"), busyHouse.pinGrant(b, "front")}
			var opens, lists, looks [2][]time.Duration
			timed := func(list *[]time.Duration, f func()) {
				begun := time.Now()
				f()
				*list = append(*list, time.Since(begun))
			}
			n := 0
			for b.Loop() {
				n++
				for i := range houses {
					i = (i + n) % 2
					h := houses[i]
					// A reader of its own each time: at one, the second would be a repeat.
					var o access.Outcome
					timed(&opens[i], func() {
						o = h.access.Present(context.Background(), "front", gateway.ReaderID(fmt.Sprint("pad-", n)), gateway.PINCredential{PIN: pins[i]})
					})
					if !o.Granted {
						b.Fatal(o.Reason)
					}
					timed(&lists[i], func() {
						c := api.NewClient(h.cfg.API.Socket) // a connection of its own, as secure-all's
						defer c.Close()
						if err := c.Do(context.Background(), "GET", "/v1/doors", nil, nil); err != nil {
							b.Fatal(err)
						}
					})
					timed(&looks[i], func() {
						if err := h.alive(context.Background()); err != nil {
							b.Fatal(err)
						}
					})
					h.house.Door("front").Sync(context.Background())
				}
			}
			p50 := func(list [2][]time.Duration) float64 { return quantile(list[1], 0.5) / quantile(list[0], 0.5) }
			b.ReportMetric(quantile(opens[1], 0.5), "p50-µs")
			b.ReportMetric(p50(opens), "ratio(≤1.1)")
			b.ReportMetric(p50(lists), "doors-ratio(≤2)")
			b.ReportMetric(p50(looks), "watchdog-ratio(≤2)")
		})
	}
}

// BenchmarkRevocationBesideReaders: a revocation, written at the cloud → refused at the door,
// while 64 readers read the record without pause ≤ 2 × alone. The two are taken in turn.
func BenchmarkRevocationBesideReaders(b *testing.B) {
	h := newHome(b, sqliteSky(b))
	for range 200 { // a record as a house has
		h.note(gateway.Event{Type: gateway.DoorBell, Door: "front"})
	}
	var alone, beside []time.Duration
	n := 0
	for b.Loop() {
		n++
		alone = append(alone, h.revoke(b, fmt.Sprint("alone-", n), func() {}))
		stop := h.readers(b, 64)
		beside = append(beside, h.revoke(b, fmt.Sprint("beside-", n), func() {}))
		stop()
	}
	b.ReportMetric(quantile(alone, 0.5), "alone-µs")
	b.ReportMetric(quantile(beside, 0.5), "p50-µs")
	b.ReportMetric(quantile(beside, 0.5)/quantile(alone, 0.5), "ratio(≤2)")
}

// readers read the record without pause, until stop; all are at it when it returns.
func (h *house) readers(b testing.TB, n int) (stop func()) {
	ctx, cancel := context.WithCancel(context.Background())
	var reading, begun sync.WaitGroup
	for range n {
		begun.Add(1)
		reading.Go(func() {
			c := api.NewClient(h.cfg.API.Socket)
			defer c.Close()
			for first := true; ctx.Err() == nil; first = false {
				c.Send(ctx, "GET", "/v1/events", "", nil, nil) // whoever reads is another machine: its work is not ours
				if first {
					begun.Done()
				}
			}
		})
	}
	begun.Wait()
	return func() { cancel(); reading.Wait() }
}
