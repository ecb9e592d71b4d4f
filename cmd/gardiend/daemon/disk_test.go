package daemon

import (
	"bytes"
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"gardien/gateway/api"
	"gardien/store/powercut"
)

// TestD5_StartWaitsForTheDisk starts the real gardiend on a disk that takes nothing. It
// says so and stays, instead of a crash loop; when the disk heals it becomes ready by itself,
// and its record is whole.
func TestD5_StartWaitsForTheDisk(t *testing.T) {
	built, err := powercut.BuildShim(t.TempDir())
	if errors.Is(err, powercut.ErrNoCompiler) {
		t.Skip("skipped: ", err)
	}
	if err != nil {
		t.Fatal(err)
	}
	h := build(t)
	h.start(t)
	h.stop()
	bin := filepath.Join(h.dir, "gardiend")
	if out, err := exec.Command("go", "build", "-o", bin, "gardien/cmd/gardiend").CombinedOutput(); err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	trace := powercut.Trace{Shim: built, Dir: h.cfg.Gateway.StateDir, Log: filepath.Join(h.dir, "io.log"), Fault: filepath.Join(h.dir, "fault")}
	if err := os.WriteFile(trace.Fault, []byte("any:ENOSPC:1"), 0o600); err != nil {
		t.Fatal(err)
	}
	cmd := exec.Command(bin, "--config", filepath.Join(h.dir, "g.yaml"))
	cmd.Env = append(os.Environ(), trace.Env()...)
	log := &signalled{want: "nothing opens until it does", seen: make(chan struct{})}
	cmd.Stderr = log
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	ended := make(chan error, 1)
	go func() { ended <- cmd.Wait() }()
	defer func() { cmd.Process.Kill(); <-ended }()
	select {
	case <-log.seen:
	case err := <-ended:
		ended <- err
		t.Fatalf("it ended: %v\n%s", err, log)
	case <-time.After(20 * time.Second):
		t.Fatalf("it does not say what it waits for:\n%s", log)
	}
	if err := os.Remove(trace.Fault); err != nil {
		t.Fatal(err)
	}
	client := api.NewClient(h.cfg.API.Socket)
	defer client.Close()
	for deadline := time.Now().Add(20 * time.Second); ; <-time.After(100 * time.Millisecond) {
		var v api.Verification
		if err := client.Do(t.Context(), "GET", "/v1/events/verification", nil, &v); err == nil {
			if !v.OK || v.Events < 3 {
				t.Errorf("the record: %+v", v)
			}
			return
		}
		if time.Now().After(deadline) {
			t.Fatalf("the disk has healed, and it is not ready:\n%s", log)
		}
	}
}

// signalled is a log that tells when a text is in it.
type signalled struct {
	want string
	seen chan struct{}

	mu   sync.Mutex
	text bytes.Buffer
	told bool
}

func (s *signalled) Write(b []byte) (int, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.text.Write(b)
	if !s.told && strings.Contains(s.text.String(), s.want) {
		s.told = true
		close(s.seen)
	}
	return len(b), nil
}

func (s *signalled) String() string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.text.String()
}
