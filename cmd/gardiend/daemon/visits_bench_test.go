package daemon

import (
	"context"
	"crypto/sha256"
	"database/sql"
	"fmt"
	"path/filepath"
	"sync"
	"syscall"
	"testing"
	"time"

	"gardien/gateway"
	"gardien/store"
)

// fillVisits adds grants of the carrier by hand: with a schedule of two windows a day, or with a
// period of two hours somewhere in the next 62 days.
func fillVisits(b testing.TB, dir string, n int, scheduled bool) {
	b.Helper()
	db, err := sql.Open("gardien-sqlite3", "file:"+filepath.Join(dir, store.FileName)+"?_journal_mode=WAL&_synchronous=OFF")
	if err != nil {
		b.Fatal(err)
	}
	defer db.Close()
	now := time.Now().Unix()
	var schedule any
	length := 2 * 60 * 60
	if scheduled {
		length = 90 * 24 * 60 * 60
		schedule = `{"windows":[{"days":["mon","tue","wed","thu","fri"],"from":"09:00","to":"12:30"},{"days":["mon","tue","wed","thu","fri","sat"],"from":"14:00","to":"18:00"}],"except":["2027-12-25"]}`
	}
	_, err = db.Exec(`WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i+1 FROM n WHERE i < ?1)
		INSERT INTO grants (iss, jti, ver, status, doors, iat, nbf, exp, uses, schedule, digest)
		SELECT 'colis-x.example', 'visit-' || i, 1, 'active', '["front","side"]', ?2, ?2 + i * 60, ?2 + i * 60 + ?3, 1, ?4, randomblob(32) FROM n`, n, now, length, schedule)
	if err == nil {
		_, err = db.Exec("PRAGMA wal_checkpoint(TRUNCATE)")
	}
	if err != nil {
		b.Fatal(err)
	}
}

// BenchmarkVisits: the first 1,000 visits of 62 days, by 1,000 grants for two doors: ≤ 50 ms of a
// processor, on a machine that does nothing else. The ratio is to the list of the same 1,000 grants,
// which has no limit of its own: it shows what visits cost beside the reading.
func BenchmarkVisits(b *testing.B) {
	for _, c := range []struct {
		name      string
		scheduled bool
		past      int
	}{{"hours", true, 0}, {"once", false, 0}, {"once-and-a-past", false, 20_000}} {
		b.Run(c.name, func(b *testing.B) {
			h := build(b)
			h.start(b)
			h.stop()
			fillVisits(b, h.cfg.Gateway.StateDir, 1000, c.scheduled)
			h.start(b)
			if c.past > 0 {
				h.stop()
				fillPast(b, h.cfg.Gateway.StateDir, c.past)
				h.start(b)
			}
			from := time.Now()
			var page, list []time.Duration
			var spent time.Duration
			for b.Loop() {
				begun, before := time.Now(), processor(b)
				rows, _, err := h.access.Visits(context.Background(), from, from.Add(62*24*time.Hour), gateway.VisitPlace{}, 1000)
				if err != nil || len(rows) < 1000 {
					b.Fatal(len(rows), err)
				}
				spent += processor(b) - before
				page = append(page, time.Since(begun))
				begun = time.Now()
				if _, err := h.backend().Grants.List(context.Background(), gateway.GrantID{Issuer: "colis-x.example", JTI: "v"}, 1000); err != nil {
					b.Fatal(err)
				}
				list = append(list, time.Since(begun))
			}
			b.ReportMetric(quantile(page, 0.5)/1000, "ms")
			b.ReportMetric(float64(spent.Microseconds())/1000/float64(len(page)), "processor-ms(≤50)")
			b.ReportMetric(quantile(page, 0.5)/quantile(list, 0.5), "ratio-to-list")
		})
	}
}

// processor is what this process has had of the processors.
func processor(b *testing.B) time.Duration {
	var u syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &u); err != nil {
		b.Fatal(err)
	}
	return time.Duration(u.Utime.Nano() + u.Stime.Nano())
}

// fillPast adds grants whose retention has passed.
func fillPast(b *testing.B, dir string, n int) {
	b.Helper()
	db, err := sql.Open("gardien-sqlite3", "file:"+filepath.Join(dir, store.FileName)+"?_journal_mode=WAL&_synchronous=OFF")
	if err != nil {
		b.Fatal(err)
	}
	defer db.Close()
	_, err = db.Exec(`WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i+1 FROM n WHERE i < ?1)
		INSERT INTO grants (iss, jti, ver, status, doors, iat, nbf, exp, uses, ended, stripped, digest)
		SELECT 'colis-x.example', 'past-' || i, 1, 'active', '["front"]', ?2, ?2, ?2 + i, 1, 1, 1, randomblob(32) FROM n`, n, time.Now().Unix()-200*24*60*60)
	if err != nil {
		b.Fatal(err)
	}
}

// BenchmarkVisits_Decision: an opening while somebody asks for visits without pause ≤ 1.1 × alone
// (A11), where a processor is free for whoever asks. Beside it stands the same with somebody who
// lists grants. They are taken in turn, on one gateway with 1,000 grants.
func BenchmarkVisits_Decision(b *testing.B) {
	h := build(b)
	h.start(b)
	h.stop()
	fillVisits(b, h.cfg.Gateway.StateDir, 1000, true)
	h.start(b)
	pin := h.pinGrant(b, "front")
	n := 0
	open := func() time.Duration { // a reader of its own each time: at one, the second would be a repeat
		n++
		begun := time.Now()
		o := h.access.Present(context.Background(), "front", gateway.ReaderID(fmt.Sprint("pad-", n)), gateway.PINCredential{PIN: pin})
		d := time.Since(begun)
		if !o.Granted {
			b.Fatal(o.Reason)
		}
		h.house.Door("front").Sync(context.Background())
		return d
	}
	ctx := context.Background()
	asks := [4]func() error{
		nil,
		func() error { // visits
			_, _, err := h.access.Visits(ctx, time.Now(), time.Now().Add(62*24*time.Hour), gateway.VisitPlace{}, 1000)
			return err
		},
		func() error { // grants
			_, err := h.backend().Grants.List(ctx, gateway.GrantID{}, 1000)
			return err
		},
		func() error { // somebody who computes and touches nothing of ours: what two processors of one core cost
			for begun := time.Now(); time.Since(begun) < 30*time.Millisecond; {
				sha256.Sum256(nil)
			}
			return nil
		},
	}
	var times [4][]time.Duration
	for round := 0; b.Loop(); round++ {
		for i := range asks {
			i = (i + round) % len(asks)
			stop := unceasing(b, asks[i])
			for range 20 {
				times[i] = append(times[i], open())
			}
			stop()
		}
	}
	b.ReportMetric(quantile(times[0], 0.5), "alone-µs")
	b.ReportMetric(quantile(times[1], 0.5), "p50-µs")
	b.ReportMetric(quantile(times[1], 0.5)/quantile(times[0], 0.5), "ratio(≤1.1)")
	b.ReportMetric(quantile(times[2], 0.5)/quantile(times[0], 0.5), "ratio-beside-lists")
	b.ReportMetric(quantile(times[3], 0.5)/quantile(times[0], 0.5), "ratio-beside-a-busy-processor")
}

// unceasing has one ask without pause, as the API lets one in at a time, until stop; nil asks nothing.
func unceasing(b *testing.B, ask func() error) (stop func()) {
	if ask == nil {
		return func() {}
	}
	ctx, cancel := context.WithCancel(context.Background())
	var asking sync.WaitGroup
	begun := make(chan struct{})
	asking.Go(func() {
		for first := true; ctx.Err() == nil; first = false {
			if err := ask(); err != nil {
				b.Error(err)
			}
			if first {
				close(begun)
			}
		}
	})
	<-begun
	return func() { cancel(); asking.Wait() }
}
