package serial

import (
	"context"
	"fmt"
	"os"
	"strings"
	"testing"
	"time"
	"unsafe"

	"golang.org/x/sys/unix"

	"gardien/drivers/drivertest"
	"gardien/gateway"
)

// pty gives a serial line's far end, and the path of ours.
func pty(t *testing.T) (*os.File, string) {
	t.Helper()
	far, err := os.OpenFile("/dev/ptmx", os.O_RDWR|unix.O_NOCTTY, 0)
	if err != nil {
		t.Skip("no pseudo-terminals here: ", err)
	}
	t.Cleanup(func() { far.Close() })
	n, err := unix.IoctlGetInt(int(far.Fd()), unix.TIOCGPTN)
	unlock := 0
	if _, _, e := unix.Syscall(unix.SYS_IOCTL, far.Fd(), unix.TIOCSPTLCK, uintptr(unsafe.Pointer(&unlock))); err != nil || e != 0 {
		t.Skip("no pseudo-terminals here: ", err, e)
	}
	path := fmt.Sprintf("/dev/pts/%d", n)
	if _, err := os.Stat(path); err != nil {
		t.Skip("no pseudo-terminals here: ", err)
	}
	return far, path
}

func TestReader(t *testing.T) {
	drivertest.TestReader(t, drivertest.Options{RealTime: true}, func(t *testing.T) (gateway.Reader, func()) {
		far, path := pty(t)
		return New(Opts{Name: "gate", Device: path, Baud: 9600}), func() {
			time.Sleep(50 * time.Millisecond) // until it is opened and raw
			far.WriteString("4711\r\n")
		}
	})
}

func TestScan(t *testing.T) {
	far, path := pty(t)
	r := New(Opts{Name: "gate", Device: path, Baud: 9600})
	got := make(chan string, 4)
	done := make(chan error, 1)
	go func() {
		done <- r.Read(t.Context(), func(_ context.Context, c gateway.Credential) {
			switch c := c.(type) {
			case gateway.PINCredential:
				got <- "pin " + c.PIN.Reveal()
			case gateway.GrantCredential:
				got <- "grant " + c.Text.Reveal()
			}
		})
	}()
	time.Sleep(50 * time.Millisecond)
	long := strings.Repeat("eyJ.x-_9", 500)
	for _, part := range []string{"0421", "99\r", "\n" + long[:100], long[100:] + "\n", "\x11\x13half"} {
		far.WriteString(part)
		time.Sleep(5 * time.Millisecond)
	}
	for _, want := range []string{"pin 042199", "grant " + long} {
		if s := <-got; s != want {
			t.Errorf("%.60q, want %.60q", s, want)
		}
	}
	far.Close()
	select {
	case err := <-done:
		if err == nil || !strings.Contains(err.Error(), "gate scanner at "+path) {
			t.Errorf("pulled out: %v", err)
		}
	case <-time.After(5 * time.Second):
		t.Error("pulled out, and Read goes on")
	}
	if err := New(Opts{Name: "gate", Device: "/dev/none", Baud: 9600}).Read(t.Context(), nil); err == nil || !strings.Contains(err.Error(), "/dev/none") {
		t.Errorf("not there: %v", err)
	}
}
