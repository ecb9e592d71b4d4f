package systemd

import (
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"testing"
)

// analyze runs systemd-analyze on the service, with a program where it expects one, and with
// its sockets beside it.
func analyze(t *testing.T, args ...string) string {
	t.Helper()
	tool, err := exec.LookPath("systemd-analyze")
	if err != nil {
		t.Skip("systemd-analyze is not here")
	}
	unit, web, web80 := unit(t, "gardiend.service"), unit(t, "gardien-web.socket"), unit(t, "gardien-web-80.socket")
	// verify wants ExecStart's program to exist.
	dir := t.TempDir()
	name := filepath.Join(dir, "gardiend.service")
	for path, text := range map[string]string{
		name:                                     strings.ReplaceAll(unit, "/usr/bin/gardiend", "/bin/true"),
		filepath.Join(dir, "gardien-web.socket"): web,
		filepath.Join(dir, "gardien-web-80.socket"): web80,
	} {
		if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	if args[0] == "verify" {
		args = append(args, filepath.Join(dir, "gardien-web.socket"), filepath.Join(dir, "gardien-web-80.socket"))
	}
	out, err := exec.Command(tool, append(args, name)...).CombinedOutput()
	if err != nil {
		t.Fatalf("systemd-analyze %v: %v\n%s", args, err, out)
	}
	return string(out)
}

func unit(t *testing.T, name string) string {
	t.Helper()
	b, err := os.ReadFile(name)
	if err != nil {
		t.Fatal(err)
	}
	return string(b)
}

func TestUnitVerifies(t *testing.T) {
	for _, line := range strings.Split(strings.TrimSpace(analyze(t, "verify", "--man=no")), "\n") {
		if strings.Contains(line, "gardien") {
			t.Error(line)
		}
	}
}

// TestS1_Exposure holds the unit against S1: exposure ≤ 1.5.
func TestS1_Exposure(t *testing.T) {
	out := analyze(t, "security", "--offline=true", "--no-pager")
	m := regexp.MustCompile(`Overall exposure level[^:]*: ([0-9.]+)`).FindStringSubmatch(out)
	if m == nil {
		t.Fatalf("no exposure level in:\n%s", out)
	}
	t.Logf("exposure %s", m[1])
	if level, err := strconv.ParseFloat(m[1], 64); err != nil || level > 1.5 {
		t.Errorf("exposure %s, want at most 1.5:\n%s", m[1], out)
	}
}

// What --check refuses is told before the start, and does not prevent it: the daemon itself
// decides what is one part's trouble (a key file, a line) and what is everybody's.
func TestCheckPreventsNoStart(t *testing.T) {
	for _, line := range strings.Split(unit(t, "gardiend.service"), "\n") {
		if strings.HasPrefix(line, "ExecStartPre=") && !strings.HasPrefix(line, "ExecStartPre=-") {
			t.Errorf("%q keeps the daemon from starting", line)
		}
	}
}

// Each of these lines was seen to matter under a real systemd: without PartOf a connection revives
// a daemon that was stopped, an [Install] section would do the same after a boot, Requires shuts the house
// for a port, and the default start limit takes the ports away at the fifth restart in 10 s.
func TestS2_SocketFollowsTheDaemon(t *testing.T) {
	service := unit(t, "gardiend.service")
	for name, port := range map[string]string{"gardien-web.socket": "443", "gardien-web-80.socket": "80"} {
		socket := unit(t, name)
		for _, line := range []string{"ListenStream=" + port, "BindIPv6Only=both", "Accept=no", "Service=gardiend.service",
			"PartOf=gardiend.service", "StartLimitIntervalSec=0"} {
			if !strings.Contains(socket, "\n"+line+"\n") {
				t.Errorf("%s lacks %s", name, line)
			}
		}
		if strings.Contains(socket, "[Install]") || strings.Count(socket, "ListenStream=") != 1 {
			t.Errorf("%s starts at boot, whether the daemon is enabled or not, or opens both ports or none", name)
		}
	}
	if !strings.Contains(service, "\nWants=gardien-web.socket gardien-web-80.socket\n") || !regexp.MustCompile(`(?m)^After=.* gardien-web\.socket gardien-web-80\.socket$`).MatchString(service) {
		t.Error("the daemon does not ask for its sockets, or not before it starts")
	}
	if regexp.MustCompile(`(?m)^(Requires|Requisite|BindsTo|Sockets)=`).MatchString(service) {
		t.Error("a port that somebody else has keeps the daemon from starting")
	}
}
