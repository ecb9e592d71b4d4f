package daemon

import (
	"context"
	"database/sql"
	"encoding/binary"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	_ "github.com/mattn/go-sqlite3"

	"gardien/gateway"
	"gardien/gateway/api"
	"gardien/gateway/mdns/lantest"
	"gardien/store"
	"gardien/store/powercut"
)

// Performance is a ratio to a limit that is measured in the same run: see each
// benchmark's "ratio" and "limit".

// quantile of durations, in microseconds.
func quantile(list []time.Duration, q float64) float64 {
	slices.Sort(list)
	return float64(list[int(q*float64(len(list)-1))]) / float64(time.Microsecond)
}

// bare is a database with the promises of the store and nothing else. Its WAL grows with each
// commit.
type bare struct {
	db   *sql.DB
	stmt *sql.Stmt
	name string
	// With overwrites, its WAL was grown before, as the store's is, and begins anew after 64
	// commits.
	overwrites bool
	commits    int
}

// newBare makes one whose commits write that many pages of the store's size; newBareOf, of
// another size.
func newBare(b *testing.B, dir string, pages int64) *bare { return newBareOf(b, dir, 1024, pages) }

func newBareOf(b *testing.B, dir string, page, pages int64) *bare {
	b.Helper()
	name := filepath.Join(dir, "bare.db")
	db, err := sql.Open("sqlite3", "file:"+name+"?_journal_mode=DELETE&_txlock=immediate")
	if err != nil {
		b.Fatal(err)
	}
	db.SetMaxOpenConns(1)
	content := page - 124 // a page holds one row
	for _, q := range []string{fmt.Sprintf("PRAGMA page_size=%d", page), "VACUUM", "PRAGMA journal_mode=WAL", "PRAGMA synchronous=FULL", "PRAGMA wal_autocheckpoint=0",
		"CREATE TABLE t (id INTEGER PRIMARY KEY, v BLOB)"} {
		if _, err := db.Exec(q); err != nil {
			b.Fatal(err)
		}
	}
	for i := range pages {
		if _, err := db.Exec("INSERT INTO t VALUES (?, zeroblob(?))", i, content); err != nil {
			b.Fatal(err)
		}
	}
	stmt, err := db.Prepare(fmt.Sprintf("UPDATE t SET v = randomblob(%d)", content))
	if err != nil {
		b.Fatal(err)
	}
	b.Cleanup(func() { db.Close() })
	return &bare{db: db, stmt: stmt, name: name}
}

// overwrite grows the WAL and has each commit overwrite what is there.
func (r *bare) overwrite(b *testing.B) *bare {
	for size(b, r.name+"-wal") < 1<<20 {
		r.commit(b)
	}
	r.overwrites = true
	r.restart(b)
	return r
}

// restart has the next commit begin at the WAL's head, and makes that commit.
func (r *bare) restart(b *testing.B) {
	if _, err := r.db.Exec("PRAGMA wal_checkpoint(PASSIVE)"); err != nil {
		b.Fatal(err)
	}
	if _, err := r.stmt.Exec(); err != nil {
		b.Fatal(err)
	}
	r.commits = 0
}

func (r *bare) commit(b *testing.B) time.Duration {
	if r.commits++; r.overwrites && r.commits >= 64 {
		r.restart(b)
	}
	start := time.Now()
	if _, err := r.stmt.Exec(); err != nil {
		b.Fatal(err)
	}
	return time.Since(start)
}

// walFrames gives how many pages are in a database's WAL, from the header of the index beside it
// (https://sqlite.org/walformat.html). The file's own size says nothing: it is grown ahead.
func walFrames(b *testing.B, db string) int64 {
	f, err := os.Open(db + "-shm")
	if err != nil {
		b.Fatal(err)
	}
	defer f.Close()
	var n [4]byte
	if _, err := f.ReadAt(n[:], 16); err != nil {
		b.Fatal(err)
	}
	return int64(binary.NativeEndian.Uint32(n[:]))
}

// settle writes what lies in a WAL to the disk, as the kernel has done by itself, within half a
// minute, when the next courier comes.
func settle(b *testing.B, db string) {
	f, err := os.OpenFile(db+"-wal", os.O_RDWR, 0)
	if err != nil {
		b.Fatal(err)
	}
	if err := errors.Join(f.Sync(), f.Close()); err != nil {
		b.Fatal(err)
	}
}

func size(b *testing.B, name string) int64 {
	fi, err := os.Stat(name)
	if err != nil {
		b.Fatal(err)
	}
	return fi.Size()
}

func median(list []float64) float64 {
	slices.Sort(list)
	return list[len(list)/2]
}

// BenchmarkOpeningOnACard is BenchmarkOpening on a disk whose flush costs 8 ms more, as a
// memory card's does: ≤ 1.05.
func BenchmarkOpeningOnACard(b *testing.B) {
	env, err := powercut.SlowDisk(b.TempDir(), 8*time.Millisecond)
	if errors.Is(err, powercut.ErrNoCompiler) {
		b.Skip("skipped: ", err)
	}
	if err != nil {
		b.Fatal(err)
	}
	cmd := exec.Command(os.Args[0], "-test.run", "NONE", "-test.bench", "^BenchmarkOpening$", "-test.benchtime", fmt.Sprintf("%dx", max(b.N, 100)))
	cmd.Env = append(os.Environ(), env...)
	for b.Loop() {
	}
	out, err := cmd.CombinedOutput()
	if err != nil {
		b.Fatalf("%v\n%s", err, out)
	}
	words := strings.Fields(string(out))
	for i, w := range words {
		if v, err := strconv.ParseFloat(words[max(0, i-1)], 64); err == nil {
			switch w {
			case "ratio(≤1.25)":
				b.ReportMetric(v, "ratio(≤1.05)")
			case "p50-µs", "commit-µs":
				b.ReportMetric(v, w)
			}
		}
	}
}

// pinGrant makes a PIN that opens as often as wanted.
func (h *house) pinGrant(b testing.TB, door gateway.DoorID) gateway.PIN {
	b.Helper()
	end := time.Now().Add(24 * time.Hour)
	made, err := h.backend().Grants.Make(context.Background(), api.Caller{}, api.GrantRequest{Doors: []gateway.DoorID{door}, NotAfter: &end, PIN: true})
	if err != nil {
		b.Fatal(err)
	}
	pin, err := gateway.NewPIN(made.PIN)
	if err != nil {
		b.Fatal(err)
	}
	return pin
}

func (h *house) open(b testing.TB, door gateway.DoorID, pin gateway.PIN) time.Duration {
	start := time.Now()
	out := h.access.Present(context.Background(), door, "pad", gateway.PINCredential{PIN: pin})
	d := time.Since(start)
	if !out.Granted {
		b.Fatalf("denied: %s", out.Reason)
	}
	return d
}

// episode opens, goes in, closes, and waits until the strike is secured and all of it is
// in the record. It gives the time from the credential to the strike.
func (h *house) episode(b *testing.B, pin gateway.PIN) time.Duration {
	d := h.open(b, "side", pin)
	h.passDoor(b)
	return d
}

// passDoor is the courier: the leaf opens and closes.
func (h *house) passDoor(b testing.TB) {
	ctx := context.Background()
	for _, state := range []gateway.ContactState{gateway.ContactOpen, gateway.ContactClosed} {
		if err := (&simulator{h.Gateway}).Contact(ctx, api.SimContact{Door: "side", State: state}); err != nil {
			b.Fatal(err)
		}
	}
	h.secured(b, "side")
}

// secured waits until a door is, and all of it is in the record.
func (h *house) secured(b testing.TB, door gateway.DoorID) {
	grown, stop := h.store.Watch()
	defer stop()
	for h.house.View(door).Strike != gateway.StrikeIsSecured {
		<-grown
	}
	if err := h.house.Door(door).Sync(context.Background()); err != nil && b != nil {
		b.Error(err)
	}
}

// BenchmarkOpening: credential → strike released against one bare WAL+FULL commit of the same
// bytes on the same disk, in turn, now the one first and now the other: the median of the pairs'
// ratios ≤ 1.25. It wants 2,000 pairs (-benchtime 2000x). A second ratio is to a bare commit that
// overwrites its WAL, as the store does: it shows what our own instructions cost.
func BenchmarkOpening(b *testing.B) {
	h := build(b)
	h.start(b)
	pin := h.pinGrant(b, "side")
	db := filepath.Join(h.cfg.Gateway.StateDir, store.FileName)
	h.episode(b, pin)
	// The decision's pages are those in the WAL when it returns, less what follows it: the least
	// of several. A WAL that starts anew in between counts for nothing.
	decision, whole := int64(1<<20), int64(0)
	for n := int64(1); n <= 20; {
		before := walFrames(b, db)
		h.open(b, "side", pin)
		now := walFrames(b, db)
		h.passDoor(b)
		if after := walFrames(b, db); now > before && after > now {
			decision, whole = min(decision, now-before), whole+after-before
			n++
		}
	}
	growing, overwriting := newBare(b, h.dir, decision), newBare(b, b.TempDir(), decision).overwrite(b)
	var opens, commits, bares []time.Duration
	var ratios, ours []float64
	for n := 0; b.Loop(); n++ {
		settle(b, db)
		var open, commit, bare time.Duration
		steps := []func(){func() { commit = growing.commit(b) }, func() { open = h.open(b, "side", pin) }, func() { bare = overwriting.commit(b) }}
		for i := range steps {
			steps[(i+n)%len(steps)]()
		}
		h.passDoor(b)
		opens, commits, bares = append(opens, open), append(commits, commit), append(bares, bare)
		ratios, ours = append(ratios, float64(open)/float64(commit)), append(ours, float64(open)/float64(bare))
	}
	b.ReportMetric(quantile(bares, 0.5), "overwriting-µs")
	b.ReportMetric(median(ours), "ratio-to-overwriting")
	const frame = 1024 + 24
	b.ReportMetric(quantile(opens, 0.5), "p50-µs")
	b.ReportMetric(quantile(commits, 0.5), "commit-µs")
	b.ReportMetric(median(ratios), "ratio(≤1.25)")
	b.ReportMetric(float64(decision), "decision-pages")
	b.ReportMetric(float64(whole*frame)/20, "episode-wal-bytes(≤16384)")
}

// fill adds grants of the carrier by hand.
func fill(b *testing.B, dir string, n int) {
	b.Helper()
	db, err := sql.Open("gardien-sqlite3", "file:"+filepath.Join(dir, store.FileName)+"?_journal_mode=WAL&_synchronous=OFF")
	if err != nil {
		b.Fatal(err)
	}
	defer db.Close()
	now := time.Now().Unix()
	_, err = db.Exec(`WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i+1 FROM n WHERE i < ?)
		INSERT INTO grants (iss, jti, ver, status, doors, iat, nbf, exp, uses, digest)
		SELECT 'colis-x.example', 'fill-' || i, 1, 'active', '["front"]', ?, ?, ?, 1, randomblob(32) FROM n`, n, now, now, now+86400)
	if err == nil {
		_, err = db.Exec("PRAGMA wal_checkpoint(TRUNCATE)")
	}
	if err != nil {
		b.Fatal(err)
	}
}

// BenchmarkOpeningAmongMany: p99 with 1,000,000 grants ≤ 1.3 × that with 1,000. The two
// gateways are asked in turn, so that the disk's moods meet both.
func BenchmarkOpeningAmongMany(b *testing.B) {
	var houses [2]*house
	var pins [2]gateway.PIN
	for i, n := range []int{1000, 1_000_000} {
		h := build(b)
		h.start(b)
		h.stop()
		fill(b, h.cfg.Gateway.StateDir, n)
		h.start(b)
		houses[i], pins[i] = h, h.pinGrant(b, "front")
	}
	var times [2][]time.Duration
	for b.Loop() {
		for i, h := range houses {
			times[i] = append(times[i], h.open(b, "front", pins[i]))
			h.house.Door("front").Sync(context.Background())
		}
	}
	few, many := quantile(times[0], 0.99), quantile(times[1], 0.99)
	b.ReportMetric(few, "p99-1k-µs")
	b.ReportMetric(many, "p99-1M-µs")
	b.ReportMetric(many/few, "ratio(≤1.3)")
}

// BenchmarkStart: start → READY with 10,000 grants and 100,000 events ≤ 2 × opening and
// quick_check of the same file.
func BenchmarkStart(b *testing.B) {
	h := build(b)
	h.start(b)
	e := gateway.Event{Type: gateway.AccessDenied, Door: "front", Reader: "pad", Issuer: "colis-x.example", Grant: "fill-1", Attempt: gateway.NewAttemptID(), Reason: gateway.OutsideSchedule}
	for range 100 {
		err := h.store.Update(context.Background(), func(tx *store.Tx) error {
			for range 1000 {
				tx.Record.Append(e)
			}
			return tx.Err()
		})
		if err != nil {
			b.Fatal(err)
		}
	}
	h.stop()
	fill(b, h.cfg.Gateway.StateDir, 10_000)
	var starts, checks []time.Duration
	for b.Loop() {
		start := time.Now()
		h.start(b)
		starts = append(starts, time.Since(start))
		h.stop()
		start = time.Now()
		db, err := sql.Open("gardien-sqlite3", "file:"+filepath.Join(h.cfg.Gateway.StateDir, store.FileName)+"?_journal_mode=WAL")
		if err != nil {
			b.Fatal(err)
		}
		var verdict string
		if err := db.QueryRow("PRAGMA quick_check").Scan(&verdict); err != nil || verdict != "ok" {
			b.Fatal(verdict, err)
		}
		db.Close()
		checks = append(checks, time.Since(start))
	}
	b.ReportMetric(quantile(starts, 0.5)/1000, "ready-ms")
	b.ReportMetric(quantile(checks, 0.5)/1000, "quick_check-ms")
	b.ReportMetric(quantile(starts, 0.5)/quantile(checks, 0.5), "ratio(≤2)")
}

// BenchmarkIdle: the real gardiend at rest, seen from outside: RSS ≤ 20 MiB, ≤ 1 wake-up a
// second, and no disk write. It watches for half a minute, once.
func BenchmarkIdle(b *testing.B) {
	h := build(b)
	idle(b, h, 20, func(bin string) *exec.Cmd { return exec.Command(bin, "--config", filepath.Join(h.dir, "g.yaml")) })
}

// BenchmarkIdleOnTheNetwork is the same for a gateway that listens on a network and announces itself
// there (.ci/lan/run has networks): ≤ 32 MiB (N4) and ≤ 1 wake-up/s.
func BenchmarkIdleOnTheNetwork(b *testing.B) {
	n := lantest.New(b)
	h := build(b)
	text := strings.Replace(houseYAML, `listen: ""`, `listen: ":8443"`, 1) + "mdns: {mode: builtin}\n"
	if err := os.WriteFile(filepath.Join(h.dir, "g.yaml"), []byte(text), 0o600); err != nil {
		b.Fatal(err)
	}
	idle(b, h, 32, func(bin string) *exec.Cmd {
		return n.Command(lantest.Gateway, bin, "--config", filepath.Join(h.dir, "g.yaml"))
	})
}

// idle watches a gateway that nobody asks for anything.
func idle(b *testing.B, h *house, most int, command func(bin string) *exec.Cmd) {
	bin := filepath.Join(h.dir, "gardiend")
	if out, err := exec.Command("go", "build", "-o", bin, "gardien/cmd/gardiend").CombinedOutput(); err != nil {
		b.Fatalf("%v\n%s", err, out)
	}
	cmd := command(bin)
	if err := cmd.Start(); err != nil {
		b.Fatal(err)
	}
	defer func() { cmd.Process.Kill(); cmd.Wait() }()
	client := api.NewClient(filepath.Join(h.dir, "s"))
	defer client.Close()
	for i := 0; client.Do(context.Background(), "GET", "/v1/info", nil, nil) != nil; i++ {
		if i > 200 {
			b.Fatal("gardiend does not answer")
		}
		<-time.After(50 * time.Millisecond)
	}
	client.Close() // a connection that waits is not idleness
	const watch = 30 * time.Second
	<-time.After(40 * time.Second) // the first sweep after the last commit marks its place in the shared memory
	wake, wrote := switches(b, cmd.Process.Pid), written(b, cmd.Process.Pid)
	<-time.After(watch)
	perSecond := float64(switches(b, cmd.Process.Pid)-wake) / watch.Seconds()
	rss := field(b, fmt.Sprintf("/proc/%d/status", cmd.Process.Pid), "VmRSS:") / 1024
	for b.Loop() {
	}
	b.ReportMetric(rss, fmt.Sprintf("RSS-MiB(≤%d)", most))
	b.ReportMetric(perSecond, "wake-ups/s(≤1)")
	b.ReportMetric(written(b, cmd.Process.Pid)-wrote, "bytes-written(=0)")
}

// field reads a number of a /proc file.
func field(b *testing.B, name, key string) float64 {
	text, err := os.ReadFile(name)
	if err != nil {
		b.Fatal(err)
	}
	for line := range strings.Lines(string(text)) {
		if words := strings.Fields(line); len(words) > 1 && words[0] == key {
			v, err := strconv.ParseFloat(words[1], 64)
			if err != nil {
				b.Fatal(err)
			}
			return v
		}
	}
	b.Fatalf("%s has no %s", name, key)
	return 0
}

func switches(b *testing.B, pid int) (n float64) {
	tasks, err := filepath.Glob(fmt.Sprintf("/proc/%d/task/*/status", pid))
	if err != nil {
		b.Fatal(err)
	}
	for _, t := range tasks {
		n += field(b, t, "voluntary_ctxt_switches:")
	}
	return n
}

func written(b *testing.B, pid int) float64 {
	return field(b, fmt.Sprintf("/proc/%d/io", pid), "write_bytes:")
}
