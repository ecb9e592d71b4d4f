package store_test

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"log/slog"
	"os"
	"os/exec"
	"path/filepath"
	"runtime/debug"
	"sync"
	"testing"
	"time"

	"gardien/gateway"
	"gardien/store"
	"gardien/store/powercut"
)

// childEnv makes the test binary a program under the shim: see children.
const childEnv = "GARDIEN_STORE_CHILD"

// allCutsFlag walks every cut: go test ./store -run TestPowerCut -all-cuts
const allCutsFlag = "all-cuts"

var allCuts = flag.Bool(allCutsFlag, false, "try a power cut at every I/O call, not at a sample of them")

// children are the programs that run under the shim, by name.
var children = map[string]func(dir string) error{
	"openings": openingsChild,
	"faults":   faultsChild,
	"retry":    retryChild,
}

func TestMain(m *testing.M) {
	if name := os.Getenv(childEnv); name != "" {
		if err := children[name](os.Getenv("GARDIEN_TRACE_DIR")); err != nil {
			fmt.Fprintln(os.Stderr, err)
			os.Exit(1)
		}
		os.Exit(0)
	}
	flag.Parse()
	debug.SetGCPercent(400) // walking a run makes a lot of garbage
	os.Exit(m.Run())
}

// buildShim compiles once for all tests.
var buildShim = sync.OnceValues(func() (lib []byte, err error) {
	dir, err := os.MkdirTemp("", "gardien-shim-")
	if err != nil {
		return nil, err
	}
	defer os.RemoveAll(dir)
	path, err := powercut.BuildShim(dir)
	if err != nil {
		return nil, err
	}
	return os.ReadFile(path)
})

// trace prepares a traced run in a fresh folder.
func trace(t *testing.T) powercut.Trace {
	t.Helper()
	lib, err := buildShim()
	if errors.Is(err, powercut.ErrNoCompiler) {
		t.Skip("skipped: ", err)
	}
	if err != nil {
		t.Fatal(err)
	}
	top := ramDir(t)
	tr := powercut.Trace{Shim: filepath.Join(top, "shim.so"), Dir: filepath.Join(top, "state"), Log: filepath.Join(top, "log"), Fault: filepath.Join(top, "fault")}
	if err := errors.Join(os.WriteFile(tr.Shim, lib, 0o700), os.Mkdir(tr.Dir, 0o700)); err != nil {
		t.Fatal(err)
	}
	return tr
}

// runChildOutput runs one of children under the shim and gives what it printed.
func runChildOutput(t *testing.T, tr powercut.Trace, name string, env ...string) string {
	t.Helper()
	exe, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	cmd := exec.Command(exe)
	cmd.Env = append(append(os.Environ(), tr.Env()...), append(env, childEnv+"="+name)...)
	out, err := cmd.CombinedOutput()
	if err != nil {
		t.Fatalf("%s: %v\n%s", name, err, out)
	}
	return string(out)
}

// runChild is runChildOutput, and gives the record of the child's I/O.
func runChild(t *testing.T, tr powercut.Trace, name string, env ...string) []powercut.Op {
	t.Helper()
	runChildOutput(t, tr, name, env...)
	ops, err := powercut.ReadFile(tr.Log)
	if err != nil {
		t.Fatal(err)
	}
	for _, op := range ops {
		if op.Kind == powercut.Sync {
			return ops
		}
	}
	t.Skip("skipped: nothing was recorded; a static test binary (CGO_ENABLED, -ldflags) loads no shim")
	return nil
}

// ramDir is a new folder in memory, if the system has that.
func ramDir(t *testing.T) string {
	t.Helper()
	base := "/dev/shm"
	if _, err := os.Stat(base); err != nil {
		base = ""
	}
	dir, err := os.MkdirTemp(base, "gardien-store-")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { os.RemoveAll(dir) })
	return dir
}

// clock goes on by a second with every reading.
type clock struct {
	mu   sync.Mutex
	wall time.Time
}

// start is the first reading of every clock here.
var start = time.Date(2026, 11, 23, 9, 0, 0, 0, time.UTC)

func newClock() *clock { return &clock{wall: start} }

func (c *clock) Read() gateway.Reading {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.wall = c.wall.Add(time.Second)
	return gateway.Reading{Wall: c.wall, Earliest: c.wall, Latest: c.wall, State: gateway.ClockSynced, Boot: "boot-1", SinceBoot: c.wall.Sub(start)}
}

func (c *clock) set(t time.Time) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.wall = t
}

var paris = func() *time.Location {
	l, err := time.LoadLocation("Europe/Paris")
	if err != nil {
		panic(err)
	}
	return l
}()

const gatewayID gateway.GatewayID = "gw-a3r73d62fg"

var quiet = slog.New(slog.NewTextHandler(io.Discard, nil))

// openStore opens a store as the daemon does.
func openStore(dir string, c store.Clock, known bool) (*store.Store, error) {
	s, err := store.Open(store.Opts{Dir: dir, Zone: paris, Log: quiet, Known: known})
	if err != nil {
		return nil, err
	}
	if err := errors.Join(s.Belong(gatewayID), s.SetClock(c)); err != nil {
		s.Close()
		return nil, err
	}
	return s, nil
}

// oneTime is a grant for one entry.
func oneTime(iss gateway.IssuerID, jti, sub string) gateway.Grant {
	return gateway.Grant{ID: gateway.GrantID{Issuer: iss, JTI: jti}, Version: 1, Status: gateway.GrantActive, Doors: []gateway.DoorID{"front"},
		IssuedAt: start, Period: gateway.Period{NotBefore: start, NotAfter: start.Add(48 * time.Hour)}, Uses: 1, Sub: sub}
}

// Shorthands for one question.

func getGrant(s *store.Store, id gateway.GrantID) (g gateway.GrantRecord, found bool, err error) {
	err = s.View(context.Background(), func(tx *store.Tx) error { g, found = tx.Grants.Get(id); return nil })
	return g, found, err
}

func place(s *store.Store) (p gateway.Position, d gateway.Digest, err error) {
	err = s.View(context.Background(), func(tx *store.Tx) error { p, d = tx.Feed.Place(); return nil })
	return p, d, err
}

func rotatedKeys(s *store.Store, iss gateway.IssuerID) ([]byte, error) {
	return store.Look(context.Background(), s, func(tx *store.Tx) []byte { return tx.Issuers.RotatedKeys(iss) })
}

func savedClock(s *store.Store) (store.ClockState, error) {
	return store.Look(context.Background(), s, func(tx *store.Tx) store.ClockState { return tx.House.Clock() })
}
