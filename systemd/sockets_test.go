package systemd

import (
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"os"
	"os/exec"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"
)

// handed is what the daemon, this test binary started by systemd-socket-activate, says on each connection.
type handed struct {
	Role, Error, Environment, Again string
}

// TestMain is the daemon where the environment says so.
func TestMain(m *testing.M) {
	if ports := os.Getenv("GARDIEN_TEST_PORTS"); ports != "" {
		var https, http int
		fmt.Sscan(ports, &https, &http)
		serveHanded(https, http)
	}
	os.Exit(m.Run())
}

func serveHanded(httpsPort, httpPort int) {
	https, http, err := sockets(httpsPort, httpPort)
	var h handed
	if err != nil {
		h.Error = err.Error()
	}
	for _, name := range []string{"LISTEN_PID", "LISTEN_FDS", "LISTEN_FDNAMES"} {
		h.Environment += os.Getenv(name)
	}
	if a, b, err := sockets(httpsPort, httpPort); a != nil || b != nil || err != nil {
		h.Again = fmt.Sprint(a, b, err)
	}
	for role, l := range map[string]net.Listener{"https": https, "http": http} {
		if l == nil {
			continue
		}
		answer := h
		answer.Role = role
		go func() {
			for {
				c, err := l.Accept()
				if err != nil {
					fmt.Fprintln(os.Stderr, err)
					os.Exit(1)
				}
				json.NewEncoder(c).Encode(answer)
				c.Close()
			}
		}()
	}
	time.Sleep(time.Minute) // the test has killed it long before
	os.Exit(1)
}

// freePorts are ports that were free a moment ago.
func freePorts(t *testing.T, n int) (ports []int) {
	t.Helper()
	for range n {
		l, err := net.Listen("tcp", ":0")
		if err != nil {
			t.Fatal(err)
		}
		defer l.Close()
		ports = append(ports, l.Addr().(*net.TCPAddr).Port)
	}
	return ports
}

// activate starts the daemon with sockets as the manager does: at the first connection.
func activate(t *testing.T, https, http int, args ...string) {
	t.Helper()
	tool, err := exec.LookPath("systemd-socket-activate")
	if err != nil {
		t.Skip("systemd-socket-activate is not here")
	}
	args = append(args, "-E", fmt.Sprintf("GARDIEN_TEST_PORTS=%d %d", https, http), os.Args[0])
	cmd := exec.Command(tool, args...) // which becomes the daemon
	var stderr strings.Builder
	cmd.Stderr = &stderr
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		cmd.Process.Kill()
		cmd.Wait()
		if t.Failed() {
			t.Logf("the daemon's words:\n%s", stderr.String())
		}
	})
}

// ask connects, and tries again until the daemon is there or 10 s are over.
func ask(t *testing.T, host string, port int) (h handed) {
	t.Helper()
	address := net.JoinHostPort(host, strconv.Itoa(port))
	for end := time.Now().Add(10 * time.Second); ; {
		c, err := net.DialTimeout("tcp", address, time.Second)
		if err == nil {
			defer c.Close()
			c.SetDeadline(end)
			if err := json.NewDecoder(c).Decode(&h); err != nil {
				t.Fatalf("%s: %v", address, err)
			}
			return h
		}
		if time.Now().After(end) {
			t.Fatal(err)
		}
		time.Sleep(10 * time.Millisecond) // a real peer starts
	}
}

// S2: a daemon without capabilities gets both ports, on IPv4 and IPv6, and knows which is which.
func TestS2_Sockets(t *testing.T) {
	p := freePorts(t, 2)
	activate(t, p[0], p[1], "-l", strconv.Itoa(p[1]), "-l", strconv.Itoa(p[0])) // in the other order, too
	for _, host := range []string{"127.0.0.1", "::1"} {
		if l, err := net.Listen("tcp", net.JoinHostPort(host, "0")); err != nil {
			t.Logf("%s is not here: %v", host, err)
			continue
		} else {
			l.Close()
		}
		for i, role := range []string{"https", "http"} {
			if got, want := ask(t, host, p[i]), (handed{Role: role}); got != want {
				t.Errorf("%s: %+v, want %+v", host, got, want)
			}
		}
	}
}

// A port that was not handed over has no listener, and what is not ours is closed by name.
func TestSocketsThatAreNotOurs(t *testing.T) {
	p := freePorts(t, 3)
	activate(t, p[0], p[1], "-l", strconv.Itoa(p[2]), "-l", strconv.Itoa(p[0]))
	got := ask(t, "127.0.0.1", p[0])
	if got.Role != "https" || !strings.Contains(got.Error, fmt.Sprintf(":%d,", p[2])) || strings.Contains(got.Error, "\n") || got.Environment != "" || got.Again != "" {
		t.Errorf("%+v", got)
	}
	for _, port := range p[1:] {
		if c, err := net.Dial("tcp", fmt.Sprint("127.0.0.1:", port)); !errors.Is(err, syscall.ECONNREFUSED) {
			t.Errorf("port %d is open: %v %v", port, c, err)
		}
	}
}

// A socket that is no listener on TCP is closed by name, and the listeners are good all the same.
func TestSocketsOfOtherKinds(t *testing.T) {
	p, name := freePorts(t, 2), t.TempDir()+"/s"
	activate(t, p[0], p[1], "-l", name, "-l", strconv.Itoa(p[1]), "--fdname=house:gardien-web")
	if got := ask(t, "127.0.0.1", p[1]); got.Role != "http" || !strings.Contains(got.Error, `"house", the unix socket `+name) {
		t.Errorf("%+v", got)
	}
	r, w, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	defer w.Close()
	if _, err := listener(r); err == nil || !strings.Contains(err.Error(), "no listener") || !strings.Contains(err.Error(), r.Name()) {
		t.Errorf("a pipe: %v", err)
	}
	if _, err := r.Stat(); !errors.Is(err, os.ErrClosed) {
		t.Errorf("the pipe is open: %v", err)
	}
}

// Where no manager hands anything over there are no listeners, and no error.
func TestNoSockets(t *testing.T) {
	for _, pid := range []string{"", "1", strconv.Itoa(os.Getpid())} {
		t.Setenv("LISTEN_PID", pid)
		t.Setenv("LISTEN_FDS", map[bool]string{true: "2", false: "0"}[pid == "1"]) // another process's
		if https, http, err := Sockets(); https != nil || http != nil || err != nil {
			t.Errorf("pid %q: %v %v %v", pid, https, http, err)
		}
	}
}
