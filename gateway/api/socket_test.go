package api

import (
	"context"
	"net"
	"os"
	"path/filepath"
	"syscall"
	"testing"
	"time"
)

// A socket at which somebody listens is taken, also while he is too busy to answer: a second
// daemon must not take it away silently.
func TestSocketFree(t *testing.T) {
	dir := t.TempDir()
	path := func(name string) string { return filepath.Join(dir, name) }

	if err := SocketFree(context.Background(), path("nothing")); err != nil {
		t.Errorf("where nothing is: %v", err)
	}

	dead, err := net.ListenUnix("unix", &net.UnixAddr{Name: path("dead"), Net: "unix"})
	if err != nil {
		t.Fatal(err)
	}
	dead.SetUnlinkOnClose(false) // as a process that was killed leaves it
	dead.Close()
	if err := SocketFree(context.Background(), path("dead")); err != nil {
		t.Errorf("where a dead process left it: %v", err)
	}

	// One that accepts nobody, with room for one who waits.
	fd, err := syscall.Socket(syscall.AF_UNIX, syscall.SOCK_STREAM, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer syscall.Close(fd)
	if err := syscall.Bind(fd, &syscall.SockaddrUnix{Name: path("busy")}); err != nil {
		t.Fatal(err)
	}
	if err := syscall.Listen(fd, 0); err != nil {
		t.Fatal(err)
	}
	full := false
	for range 8 {
		c, err := net.DialTimeout("unix", path("busy"), 100*time.Millisecond)
		if full = err != nil; full {
			break
		}
		defer c.Close()
	}
	if !full {
		t.Fatal("whoever waits for the busy one always finds room: this test proves nothing here")
	}
	if err := SocketFree(context.Background(), path("busy")); err == nil {
		t.Error("a socket whose owner is busy was taken for free")
	}
	if _, err := os.Stat(path("busy")); err != nil {
		t.Error(err)
	}
}
