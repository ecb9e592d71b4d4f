package main

import (
	"context"
	"os"
	"os/exec"
	"path/filepath"
	"syscall"
	"testing"
	"time"

	"gardien/gateway/api"
)

// A11: nobody reads what the daemon writes to standard error, a pipe that is full: requests are
// answered all the same, and SIGTERM ends it. (Measured before: after 351 faults of one door
// its requests hung, and SIGTERM did not end the daemon.)
func TestA11_LogNobodyReads(t *testing.T) {
	exe, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	if err := os.WriteFile(filepath.Join(dir, "g.yaml"), []byte(house), 0o600); err != nil {
		t.Fatal(err)
	}
	r, w, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	defer r.Close()
	cmd := &exec.Cmd{Path: exe, Args: []string{"gardiend", "--config", filepath.Join(dir, "g.yaml")}, Stderr: w} // see TestMain
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	w.Close()
	ended := make(chan error, 1)
	go func() { ended <- cmd.Wait() }()
	defer cmd.Process.Kill()
	c := api.NewClient(filepath.Join(dir, "api.sock"))
	defer c.Close()
	ctx, cancel := context.WithTimeout(t.Context(), 60*time.Second)
	defer cancel()
	for c.Do(ctx, "GET", "/v1/info", nil, nil) != nil {
		select {
		case err := <-ended:
			t.Fatalf("it ended: %v", err)
		case <-time.After(20 * time.Millisecond):
		}
		if ctx.Err() != nil {
			t.Fatal("it does not start")
		}
	}
	if err := c.Do(ctx, "POST", "/v1/sim/fault", api.SimFault{Door: "cellar", Fault: "stuck"}, nil); err != nil {
		t.Fatal(err)
	}
	for i := range 1500 { // each writes a line of some 200 bytes; a pipe holds 64 KiB
		c.Do(ctx, "POST", "/v1/doors/cellar/attempts", struct{}{}, nil)
		if ctx.Err() != nil {
			t.Fatalf("request %d hangs", i)
		}
	}
	if err := c.Do(ctx, "GET", "/v1/status", nil, nil); err != nil {
		t.Error(err)
	}
	if err := cmd.Process.Signal(syscall.SIGTERM); err != nil {
		t.Fatal(err)
	}
	select {
	case err := <-ended:
		if err != nil {
			t.Errorf("SIGTERM: %v", err)
		}
	case <-time.After(10 * time.Second):
		t.Error("SIGTERM does not end it")
	}
}
