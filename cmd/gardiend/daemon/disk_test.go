package daemon

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"gardien/gateway"
	"gardien/gateway/access"
	"gardien/gateway/api"
	"gardien/gateway/wallclock"
	"gardien/store/powercut"
)

// deadEnv names the house of a child process on a disk that takes nothing; laterFile, in the house,
// says how much later it is for that process.
const (
	deadEnv   = "GARDIEN_TEST_DEAD_CARD"
	laterFile = "later"
)

// laterOS is the system's clocks, put forward.
type laterOS struct {
	wallclock.OS
	file string
}

func (l laterOS) Now() (time.Time, time.Duration, string) {
	wall, since, boot := l.OS.Now()
	var later time.Duration
	if b, err := os.ReadFile(l.file); err == nil {
		later, _ = time.ParseDuration(string(b)) // half written: not yet
	}
	return wall.Add(later), since + later, boot
}

// runOnADeadCard is the child: a daemon that logs to standard error, until it is killed.
func runOnADeadCard(dir string) {
	sys, err := wallclock.NewSystem()
	if err == nil {
		err = Run(context.Background(), Options{Config: filepath.Join(dir, "g.yaml"), OS: laterOS{sys, filepath.Join(dir, laterFile)},
			Log: slog.New(slog.NewTextHandler(os.Stderr, nil))})
	}
	panic(fmt.Sprint("it ended: ", err))
}

// TestD5_StartOnADeadCard starts a daemon, a process of its own, on a disk that takes nothing. Residents come in,
// nobody else does, and it says so; when the disk heals, all of it is in the record.
func TestD5_StartOnADeadCard(t *testing.T) {
	built, err := powercut.BuildShim(t.TempDir())
	if errors.Is(err, powercut.ErrNoCompiler) {
		t.Skip("skipped: ", err)
	}
	check(t, err)
	h := build(t)
	h.start(t)
	made, err := h.access.Home(t.Context(), access.HomeGrant{Doors: []gateway.DoorID{"front"}, PIN: true})
	check(t, err)
	family := made.PIN.Reveal()
	made, err = h.access.Home(t.Context(), access.HomeGrant{Doors: []gateway.DoorID{"front"}, PIN: true})
	check(t, err)
	another := made.PIN.Reveal() // the door is still released for the first
	made, err = h.access.Home(t.Context(), access.HomeGrant{Doors: []gateway.DoorID{"front"}, PIN: true, Uses: 1})
	check(t, err)
	once := made.PIN.Reveal()
	_, parcel := h.grant(t, 1, "front", "")
	_, other := h.grant(t, 2, "front", "")
	h.stop()
	trace := powercut.Trace{Shim: built, Dir: h.cfg.Gateway.StateDir, Log: filepath.Join(h.dir, "io.log"), Fault: filepath.Join(h.dir, "fault")}
	check(t, os.WriteFile(trace.Fault, []byte("any:EROFS:1"), 0o600))
	cmd := exec.Command(os.Args[0])
	cmd.Env = append(append(os.Environ(), trace.Env()...), deadEnv+"="+h.dir)
	log := &signalled{want: "msg=ready", seen: make(chan struct{})}
	cmd.Stderr = log
	check(t, cmd.Start())
	ended := make(chan error, 1)
	go func() { ended <- cmd.Wait() }()
	defer func() { cmd.Process.Kill(); <-ended }()
	select {
	case <-log.seen:
	case err := <-ended:
		ended <- err
		t.Fatalf("it ended: %v\n%s", err, log)
	case <-time.After(20 * time.Second):
		t.Fatalf("it is not ready:\n%s", log)
	}
	client := api.NewClient(h.cfg.API.Socket)
	defer client.Close()
	do := func(method, path string, in, out any) {
		t.Helper()
		check(t, client.Do(t.Context(), method, path, in, out))
	}
	var st api.Status
	if do("GET", "/v1/status", nil, &st); st.Database != "read-only" || !strings.Contains(strings.Join(st.Notes, "\n"), "the disk takes no writes") {
		t.Errorf("status %q, %q", st.Database, st.Notes)
	}
	var granted api.Granted
	if do("POST", "/v1/doors/front/attempts", struct{}{}, &granted); granted.Decision != "granted" {
		t.Errorf("a resident: %+v", granted)
	}
	done := api.Done{Durable: true}
	if do("POST", "/v1/pause", struct{}{}, &done); done.Durable {
		t.Errorf("a pause: %+v", done)
	}
	do("POST", "/v1/resume", struct{}{}, &done)
	var taken api.MailbagResults
	if do("POST", "/v1/mailbag", map[string]any{"items": []string{other}}, &taken); taken.Results[0].Result != "accepted" || taken.Durable == nil || *taken.Durable {
		t.Errorf("a mailbag: %+v", taken)
	}
	types := func(pin string) { do("POST", "/v1/sim/keys", api.SimKeys{Reader: "pad", Keys: pin + "#"}, &done) }
	later := func(d time.Duration) {
		check(t, os.WriteFile(filepath.Join(h.dir, laterFile), []byte(d.String()), 0o600))
	}
	grant := made.ID
	shut := func(what string, want bool, say string) { // it is told that residents' PINs do not open
		t.Helper()
		var found api.Health
		do("GET", "/v1/health", nil, &found)
		has := slices.ContainsFunc(found.Findings, func(f api.Finding) bool {
			return f.Key == "reader.locked_out.pad" && f.Severity == gateway.SeverityNow
		})
		var x api.Explanation
		do("GET", "/v1/grants/"+url.PathEscape(grant.String())+"/explanation?door=front", nil, &x)
		i := slices.IndexFunc(x.Checks, func(c api.Check) bool { return c.Check == "lock-out" })
		do("GET", "/v1/status", nil, &st)
		notes := strings.Join(st.Notes, "\n")
		if has != want || i < 0 || strings.Contains(x.Checks[i].Detail, "reader pad takes no PIN") != want || strings.Contains(notes, "but nobody with a PIN") != want || !strings.Contains(notes, say) {
			t.Errorf("%s: found %v, explained %+v, told %q", what, has, x.Checks, notes)
		}
	}
	later(10 * time.Second)
	types(family) // for half a minute after a start readers take nothing
	shut("half a minute after the start", true, "started while the disk takes no writes: wait")
	later(31 * time.Second)
	shut("later", false, "")
	types(family)
	types(once)
	do("POST", "/v1/sim/scan", api.SimScan{Reader: "scanner", Text: parcel}, &done)
	reasons := func() (list []string) {
		var page api.Events
		do("GET", "/v1/events?limit=1000", nil, &page)
		for _, e := range page.Events {
			if e.Type == gateway.AccessGranted || e.Type == gateway.AccessDenied {
				list = append(list, strings.TrimSpace(string(e.Type)+" "+string(e.Reason)))
			}
		}
		return list
	}
	want := []string{"access_granted", "access_denied locked_out", "access_granted", "access_denied fault", "access_denied fault"}
	if got := reasons(); !slices.Equal(got, want) {
		t.Errorf("while the disk takes nothing: %q, want %q\n%s", got, want, log)
	}
	n := len(want)
	for i := range 10 {
		later(time.Hour + time.Duration(i)*20*time.Minute)
		types("123456")
	}
	later(5 * time.Hour) // no lock-out lasts as long
	types(family)
	shut("ten guesses", true, "gardien reader lift pad")
	do("POST", "/v1/readers/pad/lift", nil, &done)
	shut("lifted", false, "")
	types(another)
	if want = reasons(); want[len(want)-2] != "access_denied locked_out" || want[len(want)-1] != "access_granted" {
		t.Errorf("after ten guesses, and lifted: %q", want[n:])
	}
	check(t, os.Remove(trace.Fault))
	for deadline := time.Now().Add(20 * time.Second); st.Database != "ok"; <-time.After(100 * time.Millisecond) {
		do("GET", "/v1/status", nil, &st)
		if time.Now().After(deadline) {
			t.Fatalf("the disk has healed, and it is %q:\n%s", st.Database, log)
		}
	}
	var again api.MailbagResults
	if do("POST", "/v1/mailbag", map[string]any{"items": []string{other}}, &again); again.Results[0].Result != "known" || again.Durable != nil {
		t.Errorf("healed, a mailbag: %+v", again)
	}
	var v api.Verification
	if do("GET", "/v1/events/verification", nil, &v); !v.OK {
		t.Errorf("the record: %+v", v)
	}
	if got := reasons(); !slices.Equal(got, want) {
		t.Errorf("in the record: %q, want %q", got, want)
	}
	types(once) // it was not spent meanwhile
	if got := reasons(); len(got) != len(want)+1 || got[len(want)] != "access_granted" {
		t.Errorf("healed: %q", got)
	}
}

// signalled is a log that tells when a text is in it.
type signalled struct {
	want string
	seen chan struct{}

	mu   sync.Mutex
	text bytes.Buffer
	told bool
}

func (s *signalled) Write(b []byte) (int, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.text.Write(b)
	if !s.told && strings.Contains(s.text.String(), s.want) {
		s.told = true
		close(s.seen)
	}
	return len(b), nil
}

func (s *signalled) String() string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.text.String()
}

// TestD5_ReadOnlyMount: the state folder lies on a file system that is mounted read-only. What
// Go writes there by itself keeps the daemon from starting no more than what SQLite does: the shim of
// the test above does not see that.
func TestD5_ReadOnlyMount(t *testing.T) {
	if os.Getuid() != 0 {
		t.Skip("skipped: only root mounts a file system")
	}
	h := build(t)
	state := filepath.Join(h.dir, "state")
	check(t, os.Mkdir(state, 0o700))
	if err := syscall.Mount("tmpfs", state, "tmpfs", 0, "mode=0700"); err != nil {
		t.Skip("skipped: ", err)
	}
	t.Cleanup(func() { syscall.Unmount(state, syscall.MNT_DETACH) })
	remount := func(flags uintptr) { t.Helper(); check(t, syscall.Mount("", state, "", syscall.MS_REMOUNT|flags, "")) }
	database := func() string {
		t.Helper()
		st, err := h.backend().Upkeep.Status(t.Context(), true)
		check(t, err)
		return st.Database
	}
	h.start(t)
	h.stop()
	remount(syscall.MS_RDONLY)
	h.start(t)
	if o := h.access.Present(t.Context(), "front", gateway.ReaderApp, gateway.ResidentCredential{}); !o.Granted || database() != "read-only" {
		t.Errorf("%+v, database %q", o, database())
	}
	remount(0)
	for deadline := time.Now().Add(20 * time.Second); database() != "ok"; <-time.After(50 * time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatalf("the disk takes writes again, and the database is %q", database())
		}
	}
	events, err := h.store.Events(t.Context(), 0, 100)
	check(t, err)
	if !slices.ContainsFunc(events, func(e gateway.Event) bool { return e.Late && e.Type == gateway.AccessGranted }) {
		t.Errorf("the entry is not in the record: %+v", events)
	}
}
