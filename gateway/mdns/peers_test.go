package mdns

import (
	"bufio"
	"os/exec"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"gardien/gateway/mdns/lantest"
)

// seen is a browser on a phone, with what it said and when.
type seen struct {
	mu    sync.Mutex
	lines []string
	at    []time.Time
}

// followLines starts a program and notes its lines.
func followLines(t *testing.T, cmd *exec.Cmd) *seen {
	t.Helper()
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	lantest.Start(t, cmd)
	s := &seen{}
	go func() {
		for sc := bufio.NewScanner(out); sc.Scan(); {
			s.mu.Lock()
			s.lines, s.at = append(s.lines, sc.Text()), append(s.at, time.Now())
			s.mu.Unlock()
		}
	}()
	return s
}

// has reports whether a line that came after begins so and has all of the parts.
func (s *seen) has(after time.Time, begins string, parts ...string) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	for i, line := range s.lines {
		if s.at[i].After(after) && strings.HasPrefix(line, begins) && !slices.ContainsFunc(parts, func(p string) bool { return !strings.Contains(line, p) }) {
			return true
		}
	}
	return false
}

// when tells how long after a time the first such line came.
func (s *seen) when(after time.Time, begins string) time.Duration {
	s.mu.Lock()
	defer s.mu.Unlock()
	for i, line := range s.lines {
		if s.at[i].After(after) && strings.HasPrefix(line, begins) {
			return s.at[i].Sub(after)
		}
	}
	return -1
}

func (s *seen) text() string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return strings.Join(s.lines, "\n")
}

// avahiBrowse browses until the test ends: "=;…" is a service that was found and resolved, "-;…" one that is gone.
func avahiBrowse(t *testing.T, a *lantest.Avahi) *seen {
	s := followLines(t, a.Command("stdbuf", "-oL", "avahi-browse", "-rpk", serviceType))
	t.Cleanup(func() {
		if t.Failed() {
			t.Logf("avahi-browse said:\n%s", s.text())
		}
	})
	return s
}

// resolves asks an avahi for the gateway's address now.
func resolves(a *lantest.Avahi, family string) string {
	out, _ := a.Command("avahi-resolve", family, "-n", "gardien-62fg.local").Output()
	_, addr, _ := strings.Cut(strings.TrimSpace(string(out)), "\t")
	return addr
}

const soon = 2 * time.Second

// TestN3_FoundByAvahi: a phone that looks for a gateway finds one that starts, with its own name, texts
// and addresses, and sees it go.
func TestN3_FoundByAvahi(t *testing.T) {
	n := lantest.New(t)
	phone := n.Avahi(lantest.Phone, "phone")
	browser := avahiBrowse(t, phone)
	begun := time.Now()
	g := startGateway(t, n, lantest.Gateway, opts())
	found := lantest.Within(t, soon, "found", func() bool {
		return browser.has(begun, "=;eth0;IPv4;Gardien\\03262fg;", "gardien-62fg.local", "8443", `"txtvers=1"`, `"id=gw-a3r73d62fg"`)
	})
	t.Logf("a browsing phone finds a gateway %v after it was started", found)
	g.announced(Builtin, "eth0")
	for family, want := range map[string]string{"-4": lantest.GatewayIPv4, "-6": lantest.GatewayIPv6} {
		if got := resolves(phone, family); got != want {
			t.Errorf("resolves to %q, want %q", got, want)
		}
	}
	begun = time.Now()
	late, err := phone.Command("avahi-browse", "-rpt", serviceType).Output()
	if err != nil || !strings.Contains(string(late), "=;eth0;IPv4;") {
		t.Errorf("%v\n%s", err, late)
	}
	t.Logf("one that looks later: %v", time.Since(begun))
	begun = time.Now()
	g.stop()
	lantest.Within(t, soon, "withdrawn", func() bool { return browser.has(begun, "-;eth0;IPv4;") })
	t.Logf("a stop is seen after %v", browser.when(begun, "-;eth0;IPv4;"))
}
