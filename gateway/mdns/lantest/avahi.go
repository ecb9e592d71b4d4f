package lantest

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// Avahi is an avahi-daemon on a host, with a message bus of its own.
type Avahi struct {
	n    *Net
	host string
	dir  string
	name string
	bus  *exec.Cmd
	cmd  *exec.Cmd
}

const busConfig = `<!DOCTYPE busconfig PUBLIC "-//freedesktop//DTD D-BUS Bus Configuration 1.0//EN" "http://www.freedesktop.org/standards/dbus/1.0/busconfig.dtd">
<busconfig><type>system</type><listen>unix:path=%s</listen><auth>EXTERNAL</auth>
<policy context="default"><allow user="*"/><allow own="*"/><allow send_destination="*"/><allow receive_sender="*"/><allow send_type="method_call"/></policy>
</busconfig>`

// Bus gives a host a message bus, without an avahi yet. It skips the test where there is no D-Bus or avahi.
func (n *Net) Bus(host, name string) *Avahi {
	n.t.Helper()
	for _, need := range []string{"dbus-daemon", "avahi-daemon", "avahi-browse"} {
		if _, err := exec.LookPath(need); err != nil {
			n.t.Skipf("skipped: no %s here", need)
		}
	}
	dir, err := os.MkdirTemp("", "lantest") // a short name: it is a socket's
	if err != nil {
		n.t.Fatal(err)
	}
	n.t.Cleanup(func() { os.RemoveAll(dir) })
	n.Host(host)
	a := &Avahi{n: n, host: host, dir: dir, name: name}
	if err := os.Chmod(dir, 0o755); err != nil {
		n.t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(dir, "bus.conf"), fmt.Appendf(nil, busConfig, filepath.Join(dir, "bus")), 0o644); err != nil {
		n.t.Fatal(err)
	}
	a.bus = n.Command(host, "dbus-daemon", "--nofork", "--nosyslog", "--config-file="+filepath.Join(dir, "bus.conf"))
	Start(n.t, a.bus)
	Within(n.t, 5*time.Second, "the message bus", func() bool { _, err := os.Stat(filepath.Join(dir, "bus")); return err == nil })
	return a
}

// Avahi starts an avahi-daemon that calls its host by a name.
func (n *Net) Avahi(host, name string) *Avahi {
	n.t.Helper()
	a := n.Bus(host, name)
	a.Start()
	return a
}

// Env is what makes a program speak with this avahi.
func (a *Avahi) Env() string {
	return "DBUS_SYSTEM_BUS_ADDRESS=unix:path=" + filepath.Join(a.dir, "bus")
}

// Start starts the avahi-daemon and waits until it answers; more are lines of its section [server] or later ones.
func (a *Avahi) Start(more ...string) {
	a.n.t.Helper()
	conf := filepath.Join(a.dir, "avahi.conf")
	text := "[server]\nhost-name=" + a.name + "\nuse-ipv4=yes\nuse-ipv6=yes\nratelimit-interval-usec=1000000\nratelimit-burst=1000\n" +
		strings.Join(more, "\n") + "\n"
	if err := os.WriteFile(conf, []byte(text), 0o644); err != nil {
		a.n.t.Fatal(err)
	}
	// "ip netns exec" gives it mounts of its own, so its files in /run are its own, too.
	run := "mkdir -p /run/avahi-daemon && mount -t tmpfs none /run/avahi-daemon && exec avahi-daemon -f " + conf + " --no-drop-root --no-chroot --no-rlimits"
	a.cmd = a.n.Command(a.host, "sh", "-c", run)
	a.cmd.Env = append(os.Environ(), a.Env())
	Start(a.n.t, a.cmd)
	Within(a.n.t, 10*time.Second, "avahi", func() bool { return a.Command("avahi-resolve", "-n", a.name+".local").Run() == nil })
}

// Stop ends it as a service manager does; Kill as a crash does.
func (a *Avahi) Stop() { a.end(os.Interrupt) }
func (a *Avahi) Kill() { a.end(os.Kill) }

// StopBus ends the message bus, and avahi with it, for good.
func (a *Avahi) StopBus() { end(a.bus, os.Interrupt) }

func (a *Avahi) end(s os.Signal) { end(a.cmd, s) }

func end(cmd *exec.Cmd, s os.Signal) {
	_ = cmd.Process.Signal(s)
	_ = cmd.Wait()
}

// Command prepares one of avahi's programs, or another that speaks with it.
func (a *Avahi) Command(name string, args ...string) *exec.Cmd {
	cmd := a.n.Command(a.host, name, args...)
	cmd.Env = append(os.Environ(), a.Env())
	return cmd
}

// Start starts a program and has it killed and waited for at the end of the test.
func Start(t testing.TB, cmd *exec.Cmd) {
	t.Helper()
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		_ = cmd.Process.Kill()
		_ = cmd.Wait()
	})
}
