package daemon

import (
	"context"
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"testing"

	"gardien/gateway"
	"gardien/store/powercut"
)

// costEnv names the house of a child process under the shim, costPIN the PIN to type, and
// costLog the shim's log.
const (
	costEnv = "GARDIEN_TEST_COST"
	costPIN = "GARDIEN_TEST_COST_PIN"
	costLog = "GARDIEN_TEST_COST_LOG"
)

const costEntries = 60

// countCost is the child: entries from the credential to the secured strike, with a mark
// in the log before each, after its release, and after its end.
func countCost(dir string) {
	ready := make(chan *Gateway, 1)
	go Run(context.Background(), Options{Config: filepath.Join(dir, "g.yaml"), Log: quiet, wired: ready})
	h := &house{Gateway: <-ready, dir: dir}
	marks, err := powercut.OpenAckWriter(os.Getenv(costLog))
	pin, e2 := gateway.NewPIN(os.Getenv(costPIN))
	if err = errors.Join(err, e2); err != nil {
		panic(err)
	}
	for range costEntries {
		err = errors.Join(err, marks.Ack("present"))
		if out := h.access.Present(context.Background(), "side", "side-pad", gateway.PINCredential{PIN: pin}); !out.Granted {
			panic(out.Reason)
		}
		err = errors.Join(err, marks.Ack("released"))
		h.passDoor(nil)
		err = errors.Join(err, marks.Ack("over"))
	}
	if err != nil {
		panic(err)
	}
	os.Exit(0)
}

// TestD6_CostOfAnOpening counts what an entry costs the disk: exactly one fsync before the
// release, at most one after it, at most 18 KiB in all.
func TestD6_CostOfAnOpening(t *testing.T) {
	lib := filepath.Join(t.TempDir(), "shim.so")
	built, err := powercut.BuildShim(filepath.Dir(lib))
	if errors.Is(err, powercut.ErrNoCompiler) {
		t.Skip("skipped: ", err)
	}
	if err != nil {
		t.Fatal(err)
	}
	h := build(t)
	h.start(t)
	pin := h.pinGrant(t, "side")
	h.stop()
	trace := powercut.Trace{Shim: built, Dir: h.cfg.Gateway.StateDir, Log: filepath.Join(h.dir, "io.log"), Fault: filepath.Join(h.dir, "fault")}
	cmd := exec.Command(os.Args[0])
	cmd.Env = append(append(os.Environ(), trace.Env()...), costEnv+"="+h.dir, costPIN+"="+pin.Reveal(), costLog+"="+trace.Log)
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	ops, err := powercut.ReadFile(trace.Log)
	if err != nil {
		t.Fatal(err)
	}
	phase, entries, written := "", 0, 0
	syncs := map[string]int{}
	for _, op := range ops {
		switch {
		case op.Kind == powercut.Ack:
			phase = string(op.Data)
			if phase == "over" {
				entries++
				if syncs["present"] != 1 || syncs["released"] > 1 {
					t.Errorf("entry %d: %d fsyncs before the release, %d after it", entries, syncs["present"], syncs["released"])
				}
				clear(syncs)
			}
		case phase == "" || phase == "over":
		case op.Kind == powercut.Sync:
			syncs[phase]++
		case op.Kind == powercut.Write:
			written += len(op.Data)
		}
	}
	if entries != costEntries {
		t.Fatalf("%d entries in the log", entries)
	}
	each := written / entries
	t.Logf("%d entries: 1 fsync before the release, at most 1 after it, %d bytes each", entries, each)
	if each > 18<<10 {
		t.Errorf("%d bytes an entry, more than 18 KiB", each)
	}
}
