package systemd

import (
	"context"
	"errors"
	"net"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// manager listens as the service manager does.
func manager(t *testing.T) *net.UnixConn {
	t.Helper()
	name := filepath.Join(t.TempDir(), "n")
	l, err := net.ListenUnixgram("unixgram", &net.UnixAddr{Name: name, Net: "unixgram"})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { l.Close() })
	t.Setenv("NOTIFY_SOCKET", name)
	return l
}

func read(t *testing.T, l *net.UnixConn) string {
	t.Helper()
	l.SetReadDeadline(time.Now().Add(5 * time.Second))
	buf := make([]byte, 4096)
	n, err := l.Read(buf)
	if err != nil {
		t.Fatal(err)
	}
	return string(buf[:n])
}

func TestReady(t *testing.T) {
	l := manager(t)
	if err := Ready("two doors"); err != nil {
		t.Fatal(err)
	}
	if got := read(t, l); got != "READY=1\nSTATUS=two doors" {
		t.Errorf("got %q", got)
	}
	if err := Status("waiting", 30*time.Second); err != nil {
		t.Fatal(err)
	}
	if got := read(t, l); !strings.Contains(got, "EXTEND_TIMEOUT_USEC=30000000") {
		t.Errorf("got %q", got)
	}
}

func TestNobodyListens(t *testing.T) {
	t.Setenv("NOTIFY_SOCKET", "")
	if err := Ready("x"); err != nil {
		t.Errorf("without a manager: %v", err)
	}
	if err := Watchdog(t.Context(), nil); err != nil {
		t.Errorf("without a watchdog: %v", err)
	}
}

// TestS6_WatchdogStarves shows that the watchdog is fed only while the check answers.
func TestS6_WatchdogStarves(t *testing.T) {
	l := manager(t)
	t.Setenv("WATCHDOG_USEC", "40000")
	ctx, cancel := context.WithCancel(t.Context())
	checks := 0
	done := make(chan error, 1)
	go func() {
		done <- Watchdog(ctx, func(context.Context) error {
			if checks++; checks > 1 {
				if checks == 4 {
					cancel()
				}
				return errors.New("a door does not answer")
			}
			return nil
		})
	}()
	if got := read(t, l); got != "WATCHDOG=1" {
		t.Errorf("got %q", got)
	}
	if err := <-done; err != nil {
		t.Fatal(err)
	}
	l.SetReadDeadline(time.Now().Add(50 * time.Millisecond)) // what was sent is here already
	if n, err := l.Read(make([]byte, 64)); err == nil {
		t.Errorf("fed %d bytes while the check failed", n)
	}
}
