package mdns

import (
	"bufio"
	"context"
	"encoding/json"
	"fmt"
	"log/slog"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"runtime"
	"slices"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"gardien/gateway/mdns/lantest"
)

// asGateway makes the test's program a gateway: its value is Opts.
const asGateway = "GARDIEN_MDNS_GATEWAY"

func TestMain(m *testing.M) {
	if text := os.Getenv(asGateway); text != "" {
		os.Exit(beGateway(text))
	}
	for key, be := range map[string]func(string) error{asAsker: beAsker, asFlood: beFlood, asLookUp: beLookUp} {
		if text := os.Getenv(key); text != "" {
			if err := be(text); err != nil {
				fmt.Fprintln(os.Stderr, err)
				os.Exit(1)
			}
			os.Exit(0)
		}
	}
	os.Exit(m.Run())
}

// beGateway announces until SIGTERM, and prints a report whenever its state is another one, and at SIGUSR1.
func beGateway(text string) int {
	var o Opts
	if err := json.Unmarshal([]byte(text), &o); err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 2
	}
	o.Log = slog.New(slog.NewTextHandler(os.Stderr, nil))
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGTERM)
	defer stop()
	looks := make(chan os.Signal, 1)
	signal.Notify(looks, syscall.SIGUSR1)
	a := New(o)
	ended := make(chan error, 1)
	go func() { ended <- a.Run(ctx) }()
	last, number := "", 0
	for {
		s, _ := json.Marshal(a.State())
		if string(s) != last {
			b, _ := json.Marshal(report{State: a.State(), Goroutines: runtime.NumGoroutine(), Look: number})
			fmt.Println(string(b))
			last = string(s)
		}
		select {
		case <-looks:
			last = ""
			number++
		case err := <-ended:
			if err != nil {
				fmt.Fprintln(os.Stderr, "ended:", err)
				return 1
			}
			return 0
		case <-time.After(20 * time.Millisecond):
		}
	}
}

type report struct {
	State
	Goroutines int
	Look       int // how often it was looked at
	RSS        int // in kB; from outside
	CPU        time.Duration
}

// gatewayProcess is a gateway in a process of its own.
type gatewayProcess struct {
	t    *testing.T
	cmd  *exec.Cmd
	done chan struct{}
	err  error
	mu   sync.Mutex
	last report
	logs []string
}

// public gives a copy of the test's program that nobody may run.
func public(t *testing.T) string {
	t.Helper()
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	dir, err := os.MkdirTemp("", "gateway")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { os.RemoveAll(dir) })
	path := filepath.Join(dir, "gateway")
	if err := os.Chmod(dir, 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.Link(self, path); err != nil { // another file system
		b, err := os.ReadFile(self)
		if err == nil {
			err = os.WriteFile(path, b, 0o755)
		}
		if err != nil {
			t.Fatal(err)
		}
	}
	return path
}

// startGateway runs an Announcer on a host, as a user without any right.
func startGateway(t *testing.T, n *lantest.Net, host string, o Opts, env ...string) *gatewayProcess {
	t.Helper()
	o.Log = nil
	text, err := json.Marshal(o)
	if err != nil {
		t.Fatal(err)
	}
	g := &gatewayProcess{t: t, cmd: n.Command(host, "setpriv", "--reuid=65534", "--regid=65534", "--clear-groups", "--bounding-set=-all", "--no-new-privs", public(t)), done: make(chan struct{})}
	// Without env there is no bus: the machine's own is not its.
	g.cmd.Env = append(os.Environ(), append([]string{"DBUS_SYSTEM_BUS_ADDRESS=unix:path=/nonexistent", asGateway + "=" + string(text)}, env...)...)
	stdout, err := g.cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	stderr, err := g.cmd.StderrPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := g.cmd.Start(); err != nil {
		t.Fatal(err)
	}
	var readers sync.WaitGroup
	readers.Go(func() {
		for s := bufio.NewScanner(stdout); s.Scan(); {
			var r report
			if json.Unmarshal(s.Bytes(), &r) == nil {
				g.mu.Lock()
				g.last = r
				g.mu.Unlock()
			}
		}
	})
	readers.Go(func() {
		for s := bufio.NewScanner(stderr); s.Scan(); {
			g.mu.Lock()
			g.logs = append(g.logs, s.Text())
			g.mu.Unlock()
		}
	})
	go func() {
		readers.Wait()
		g.err = g.cmd.Wait()
		close(g.done)
	}()
	t.Cleanup(func() {
		g.kill()
		if t.Failed() {
			t.Logf("%s said:\n%s", host, strings.Join(g.log(), "\n"))
		}
		if strings.Contains(strings.Join(g.log(), "\n"), "DATA RACE") {
			t.Errorf("%s: %s", host, strings.Join(g.log(), "\n"))
		}
	})
	lantest.Within(t, 10*time.Second, "started", func() bool { return g.reported() > 0 })
	return g
}

func (g *gatewayProcess) state() State {
	g.mu.Lock()
	defer g.mu.Unlock()
	return g.last.State
}

// reported counts goroutines: 0 before its first report.
func (g *gatewayProcess) reported() int {
	g.mu.Lock()
	defer g.mu.Unlock()
	return g.last.Goroutines
}

func (g *gatewayProcess) log() []string {
	g.mu.Lock()
	defer g.mu.Unlock()
	return slices.Clone(g.logs)
}

// logged counts the lines of the log with a text.
func (g *gatewayProcess) logged(text string) (n int) {
	for _, line := range g.log() {
		if strings.Contains(line, text) {
			n++
		}
	}
	return n
}

// announced waits until it is.
func (g *gatewayProcess) announced(by string, interfaces ...string) time.Duration {
	g.t.Helper()
	return lantest.Within(g.t, 10*time.Second, "announced by "+by+" on "+strings.Join(interfaces, ","), func() bool {
		s := g.state()
		return s.By == by && slices.Equal(s.Interfaces, interfaces)
	})
}

// stop ends it as a service manager does, and wants no complaint.
func (g *gatewayProcess) stop() {
	g.t.Helper()
	_ = g.cmd.Process.Signal(syscall.SIGTERM)
	select {
	case <-g.done:
		if g.err != nil {
			g.t.Errorf("the gateway ended with %v", g.err)
		}
	case <-time.After(10 * time.Second):
		g.t.Error("the gateway does not end")
	}
}

func (g *gatewayProcess) kill() {
	_ = g.cmd.Process.Kill()
	<-g.done
}

// look asks it for a report.
func (g *gatewayProcess) look() report {
	g.t.Helper()
	g.mu.Lock()
	before := g.last.Look
	g.mu.Unlock()
	_ = g.cmd.Process.Signal(syscall.SIGUSR1)
	var r report
	lantest.Within(g.t, 5*time.Second, "a report", func() bool {
		g.mu.Lock()
		defer g.mu.Unlock()
		r = g.last
		return r.Look > before
	})
	b, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", g.cmd.Process.Pid))
	if err != nil {
		g.t.Fatal(err)
	}
	for line := range strings.Lines(string(b)) {
		if v, ok := strings.CutPrefix(line, "VmRSS:"); ok {
			r.RSS, _ = strconv.Atoi(strings.Fields(v)[0])
		}
	}
	if b, err = os.ReadFile(fmt.Sprintf("/proc/%d/stat", g.cmd.Process.Pid)); err != nil {
		g.t.Fatal(err)
	}
	if f := strings.Fields(string(b)); len(f) > 14 { // the name of the test's program has no space
		user, _ := strconv.Atoi(f[13])
		system, _ := strconv.Atoi(f[14])
		r.CPU = time.Duration(user+system) * 10 * time.Millisecond
	}
	return r
}
