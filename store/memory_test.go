package store_test

import (
	"bytes"
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strconv"
	"strings"
	"testing"
	"time"

	"gardien/gateway"
	"gardien/store"
)

// million takes a record of a million events, too: go test ./store -run TestD8_Memory -million
var million = flag.Bool("million", false, "measure the memory of a record of a million events, too")

const (
	mostMemory    = 48 << 10 // KiB, of the whole process
	nothingMemory = 11 << 10 // of them without a store
	killedWAL     = 60 << 20 // bytes of WAL that a kill leaves
	stepEnv       = "GARDIEN_STORE_STEP"
	amountEnv     = "GARDIEN_STORE_AMOUNT"
	backupName    = "backup.db"
)

func init() { children["memory"] = memoryChild }

// memoryChild does one step in a process of its own, and prints its peak of memory in KiB, and how
// many of them are Go's.
func memoryChild(dir string) error {
	if err := memorySteps[os.Getenv(stepEnv)](dir); err != nil {
		return err
	}
	b, err := os.ReadFile("/proc/self/status")
	if err != nil {
		return err
	}
	_, peak, found := strings.Cut(string(b), "VmHWM:")
	if !found {
		return errors.New("no VmHWM")
	}
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	fmt.Println(strings.Fields(peak)[0], m.Sys/1024)
	return nil
}

var memorySteps = map[string]func(dir string) error{
	"nothing": func(string) error { return nil },
	"build":   buildRecord,
	"open":    func(dir string) error { return withStore(dir, func(*store.Store) error { return nil }) },
	"backup": func(dir string) error {
		return withStore(dir, func(s *store.Store) error {
			f, err := os.Create(filepath.Join(filepath.Dir(dir), backupName))
			if err != nil {
				return err
			}
			return errors.Join(s.Backup(context.Background(), struct{ io.Writer }{f}), f.Close())
		})
	},
	"restore":  restoreAndDie,
	"grow WAL": growWAL,
	"set aside": func(dir string) error {
		return withStore(dir, func(s *store.Store) error {
			if s.SetAside() == "" {
				return errors.New("it is believed")
			}
			s.Salvage()
			return nil
		})
	},
}

func withStore(dir string, f func(*store.Store) error) error {
	s, err := openStore(dir, newClock(), true)
	if err != nil {
		return err
	}
	return errors.Join(f(s), s.Close())
}

// restoreAndDie restores, and leaves everything as a kill does: all of the file is in the WAL.
func restoreAndDie(dir string) error {
	s, err := openStore(dir, newClock(), true)
	if err != nil {
		return err
	}
	f, err := os.Open(filepath.Join(filepath.Dir(dir), backupName))
	if err != nil {
		return err
	}
	defer f.Close()
	return s.Restore(context.Background(), f)
}

// appendEvents writes n events in one commit: couriers' visits, each by a grant of its own.
func appendEvents(s *store.Store, n int) error {
	return s.Follow(context.Background(), func(tx *store.Tx) error {
		for range n / 4 {
			jti, attempt := gateway.NewJTI(), gateway.NewAttemptID()
			for _, e := range []gateway.EventType{gateway.GrantAdded, gateway.AccessGranted, gateway.AccessTaken, gateway.StrikeSecured} {
				tx.Record.Append(gateway.Event{Type: e, Door: "front", Reader: "keypad", Issuer: "carrier.example", Grant: jti, Attempt: attempt, Sub: "order-" + jti})
			}
		}
		return tx.Err()
	})
}

func amount() int {
	n, err := strconv.Atoi(os.Getenv(amountEnv))
	if err != nil {
		panic(err)
	}
	return n
}

// buildRecord makes a record of so many events, with nothing in the WAL.
func buildRecord(dir string) error {
	if err := os.Mkdir(dir, 0o700); err != nil {
		return err
	}
	s, err := openStore(dir, newClock(), false)
	if err != nil {
		return err
	}
	const atOnce = 2000
	for left := amount(); left > 0; left -= atOnce {
		if err := appendEvents(s, min(left, atOnce)); err != nil {
			return err
		}
		if err := s.Scrub(context.Background()); err != nil {
			return err
		}
	}
	return s.Close()
}

// growWAL writes until the WAL has its size, and leaves everything as a kill does.
func growWAL(dir string) error {
	s, err := openStore(dir, newClock(), true)
	if err != nil {
		return err
	}
	for {
		if err := appendEvents(s, 20); err != nil {
			return err
		}
		if fi, err := os.Stat(filepath.Join(dir, store.FileName+"-wal")); err != nil || fi.Size() >= killedWAL {
			return err
		}
	}
}

// mib is a file's size; 0 where there is none.
func mib(path string) float64 {
	fi, err := os.Stat(path)
	if err != nil {
		return 0
	}
	return float64(fi.Size()) / (1 << 20)
}

// memory runs a step in a fresh process, and gives its peak.
func memory(t *testing.T, dir, step string, events int) (peak int) {
	t.Helper()
	exe, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	cmd := exec.Command(exe)
	cmd.Env = append(os.Environ(), childEnv+"=memory", "GARDIEN_TRACE_DIR="+dir, stepEnv+"="+step, fmt.Sprintf("%s=%d", amountEnv, events))
	begun := time.Now()
	out, err := cmd.CombinedOutput()
	if err != nil {
		t.Fatalf("%s: %v\n%s", step, err, out)
	}
	var of int
	if _, err := fmt.Sscan(string(out), &peak, &of); err != nil {
		t.Fatalf("%s: %v\n%s", step, err, out)
	}
	t.Logf("%-9s %6.1f MiB, Go has %5.1f of them (%v); now the file has %.1f MiB and the WAL %.1f", step, float64(peak)/1024, float64(of)/1024,
		time.Since(begun).Round(time.Millisecond), mib(filepath.Join(dir, store.FileName)), mib(filepath.Join(dir, store.FileName+"-wal")))
	return peak
}

// TestD8_Memory: neither a start, nor a backup, nor a restore needs memory that grows with the file
// or the WAL. Each is a process of its own, and its peak is that of the whole process.
func TestD8_Memory(t *testing.T) {
	if _, err := os.Stat("/proc/self/status"); err != nil {
		t.Skip("skipped: no /proc tells the peak of memory")
	}
	sizes := []int{100_000}
	if *million {
		sizes = append(sizes, 1_000_000)
	}
	for _, events := range sizes {
		t.Run(fmt.Sprint(events), func(t *testing.T) {
			dir := filepath.Join(t.TempDir(), "state")
			most := memory(t, dir, "nothing", 0) + mostMemory - nothingMemory // the race detector takes its part
			memory(t, dir, "build", events)
			within := func(what, step string) {
				t.Helper()
				if peak := memory(t, dir, step, events); peak > most {
					t.Errorf("%s: a peak of %.1f MiB, want at most %d", what, float64(peak)/1024, most/1024)
				}
			}
			within("a start", "open")
			within("a backup", "backup")
			within("a restore", "restore")
			within("a start after a restore that was killed", "open")
			memory(t, dir, "grow WAL", events)
			within("a start with 60 MB of WAL", "open")
			memory(t, dir, "grow WAL", events)
			spoil(t, filepath.Join(dir, store.FileName))
			within("a start that sets the file aside", "set aside")
		})
	}
}

// spoil overwrites the middle of a database, which no WAL has.
func spoil(t *testing.T, path string) {
	t.Helper()
	f, err := os.OpenFile(path, os.O_RDWR, 0)
	if err != nil {
		t.Fatal(err)
	}
	fi, err := f.Stat()
	if err == nil {
		_, err = f.WriteAt(bytes.Repeat([]byte{0x5a}, 64<<10), fi.Size()/2)
	}
	if errors.Join(err, f.Close()) != nil {
		t.Fatal(err)
	}
}
