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

// analyze runs systemd-analyze on the unit, with a program where the unit expects it.
func analyze(t *testing.T, args ...string) string {
	t.Helper()
	tool, err := exec.LookPath("systemd-analyze")
	if err != nil {
		t.Skip("systemd-analyze is not here")
	}
	unit, err := os.ReadFile("gardiend.service")
	if err != nil {
		t.Fatal(err)
	}
	// verify wants ExecStart's program to exist.
	text := strings.ReplaceAll(string(unit), "/usr/bin/gardiend", "/bin/true")
	name := filepath.Join(t.TempDir(), "gardiend.service")
	if err := os.WriteFile(name, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	out, err := exec.Command(tool, append(args, name)...).CombinedOutput()
	if err != nil {
		t.Fatalf("systemd-analyze %v: %v\n%s", args, err, out)
	}
	return string(out)
}

func TestUnitVerifies(t *testing.T) {
	for _, line := range strings.Split(strings.TrimSpace(analyze(t, "verify", "--man=no")), "\n") {
		if strings.Contains(line, "gardiend.service") {
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
	unit, err := os.ReadFile("gardiend.service")
	if err != nil {
		t.Fatal(err)
	}
	for _, line := range strings.Split(string(unit), "\n") {
		if strings.HasPrefix(line, "ExecStartPre=") && !strings.HasPrefix(line, "ExecStartPre=-") {
			t.Errorf("%q keeps the daemon from starting", line)
		}
	}
}
