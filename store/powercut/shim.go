package powercut

import (
	_ "embed"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"time"
)

//go:embed shim/shim.c
var source []byte

// ErrNoCompiler says that there is no gcc to compile the shim with.
var ErrNoCompiler = errors.New("gcc is not installed, and without it no shim can record the I/O: apt-get install gcc")

//go:embed shim/slow.c
var slow []byte

// BuildShim compiles the shim into dir and gives its path, for LD_PRELOAD.
func BuildShim(dir string) (string, error) { return compile(dir, source) }

// SlowDisk compiles into dir what makes a process's flushes take so much longer, and gives the
// environment variables for it.
func SlowDisk(dir string, flush time.Duration) (env []string, err error) {
	lib, err := compile(dir, slow)
	return []string{"LD_PRELOAD=" + lib, fmt.Sprintf("GARDIEN_SYNC_US=%d", flush.Microseconds())}, err
}

func compile(dir string, source []byte) (string, error) {
	gcc, err := exec.LookPath("gcc")
	if err != nil {
		return "", ErrNoCompiler
	}
	text, lib := filepath.Join(dir, "shim.c"), filepath.Join(dir, "shim.so")
	if err := os.WriteFile(text, source, 0o600); err != nil {
		return "", err
	}
	if out, err := exec.Command(gcc, "-O2", "-Wall", "-Wextra", "-shared", "-fPIC", "-o", lib, text).CombinedOutput(); err != nil {
		return "", fmt.Errorf("gcc: %w: %s", err, out)
	}
	return lib, nil
}

// Trace says what the shim does with a process: see shim.c.
type Trace struct {
	Shim  string // as BuildShim gave it
	Dir   string // the folder whose files are traced
	Log   string // the record, outside of Dir
	Fault string // file that tells which call fails, outside of Dir; "": none ever
}

// Env gives the environment variables for the process to be traced.
func (t Trace) Env() []string {
	return []string{"LD_PRELOAD=" + t.Shim, "GARDIEN_TRACE_DIR=" + t.Dir, "GARDIEN_TRACE_LOG=" + t.Log, "GARDIEN_FAULT_FILE=" + t.Fault}
}
