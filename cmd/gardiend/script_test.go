package main

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"runtime"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/rogpeppe/go-internal/testscript"

	"gardien/cmd/gardien-demo/cable"
	"gardien/cmd/gardiend/daemon"
	"gardien/gateway"
	"gardien/gateway/api"
	"gardien/gateway/wallclock"
)

// The product's stories: testdata/script/*.txtar run the real tools against the real
// daemon. gardiend is this test binary, so that a story can move its clock from
// outside; gardien and gardien-issuer are built.

// tidy removes what the stories built, at the end of all of them.
type tidy struct{ *testing.M }

func (m tidy) Run() int {
	code := m.M.Run()
	if built.Load() {
		if dir, err := build(); err == nil {
			os.RemoveAll(dir)
		}
	}
	return code
}

func TestMain(m *testing.M) {
	if os.Getenv(phoneEnv) != "" {
		phoneMain()
		os.Exit(0)
	}
	if os.Getenv(dayEnv) != "" {
		os.Exit(dayMain())
	}
	// Stories wait far more than they compute; -parallel of the command line comes after, and wins.
	if err := flag.Set("test.parallel", strconv.Itoa(2*runtime.GOMAXPROCS(0))); err != nil {
		panic(err)
	}
	testscript.Main(tidy{m}, map[string]func(){
		"gardiend": func() { os.Exit(run(os.Args[1:], daemon.Options{OS: storyClock()})) },
		"pairer":   pairer,
		"phone":    phoneMain,
		"courier":  courierMain,
		"wrongusage": func() { // runs a command that must end with 2
			var exit *exec.ExitError
			if err := exec.Command(os.Args[1], os.Args[2:]...).Run(); !errors.As(err, &exit) || exit.ExitCode() != 2 {
				fmt.Fprintf(os.Stderr, "%q: %v, want exit code 2\n", os.Args[1:], err)
				os.Exit(1)
			}
		},
	})
}

// clockFile is what the commands "advance" and "step" write and the story's gardiend
// reads at each look at the clock.
type clockFile struct{ Wall, Boot time.Duration }

// storyOS is the system's clocks, moved.
type storyOS struct {
	wallclock.OS
	file string
}

func storyClock() wallclock.OS {
	sys, err := wallclock.NewSystem()
	if err != nil {
		panic(err)
	}
	return storyOS{sys, os.Getenv("STORY_CLOCK")}
}

func (s storyOS) Now() (time.Time, time.Duration, string) {
	wall, since, boot := s.OS.Now()
	var c clockFile
	if b, err := os.ReadFile(s.file); err == nil {
		json.Unmarshal(b, &c)
	}
	return wall.Add(c.Wall), since + c.Boot, boot
}

var built atomic.Bool // build has run

var build = sync.OnceValues(func() (dir string, err error) {
	built.Store(true)
	if dir, err = os.MkdirTemp("", "gardien-bin-"); err != nil {
		return "", err
	}
	out, err := exec.Command("go", "build", "-o", dir+"/", "gardien/cmd/gardien", "gardien/cmd/gardien-issuer", "gardien/cmd/gardien-cloud").CombinedOutput()
	if err != nil {
		err = fmt.Errorf("go build: %w\n%s", err, out)
	}
	return dir, err
})

func TestStories(t *testing.T) {
	t.Parallel()
	p := storyParams(t)
	p.Dir = "testdata/script"
	testscript.Run(t, p)
}

// storyParams are what every story has.
func storyParams(t *testing.T) testscript.Params {
	t.Helper()
	bin, err := build()
	if err != nil {
		t.Fatal(err)
	}
	return testscript.Params{
		Setup: func(e *testscript.Env) error {
			e.Setenv("PATH", bin+string(os.PathListSeparator)+e.Getenv("PATH"))
			e.Setenv("GARDIEN_SOCKET", filepath.Join(e.WorkDir, "api.sock"))
			e.Setenv("STORY_CLOCK", filepath.Join(e.WorkDir, ".clock"))
			// The house that stories start from; a story may bring its own.
			port, err := freePort()
			if err != nil {
				return err
			}
			networked := strings.Replace(house, `listen: ""`, fmt.Sprintf(`listen: "127.0.0.1:%d"`, port), 1)
			for name, text := range map[string]string{"house.yaml": house, "lan.yaml": networked} {
				if err := os.WriteFile(filepath.Join(e.WorkDir, name), []byte(text), 0o600); err != nil {
					return err
				}
			}
			wire, err := cable.New("127.0.0.1:1")
			if err != nil {
				return err
			}
			e.Defer(wire.Close)
			e.Setenv("CLOUD", "http://"+wire.Addr())
			s := &scene{env: e, client: api.NewClient(filepath.Join(e.WorkDir, "api.sock")), cable: wire}
			e.Values["scene"] = s
			e.Defer(s.end)
			return nil
		},
		Cmds: map[string]func(*testscript.TestScript, bool, []string){
			"start": cmdStart, "signal": cmdSignal, "event": cmdEvent, "noevent": cmdNoEvent, "skipevents": cmdSkip,
			"json": cmdJSON, "advance": cmdAdvance, "step": cmdStep, "goto": cmdGoto, "scan": cmdScan, "corrupt": cmdCorrupt, "door": cmdDoor,
			"cloud": cmdCloud, "cable": cmdCable, "config": cmdConfig, "webhook": cmdWebhook,
		},
	}
}

// freePort is one that nobody has at present: a restart of the daemon keeps it.
func freePort() (int, error) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return 0, err
	}
	return l.Addr().(*net.TCPAddr).Port, l.Close()
}

const house = `gateway: {name: Maison, time_zone: Europe/Paris, state_dir: state}
api: {listen: "", socket: api.sock}
clock: {source: system}
doors:
  - id: front
    strike: {driver: sim}
    contact: {driver: sim}
    rex: {driver: sim}
    release_time: 3s
    relock_delay: 100ms
    held_open_after: 1s
  - id: cellar
    strike: {driver: sim}
    release_time: 3s
readers:
  - {id: pad, door: front, driver: sim}
  - {id: cellar-pad, door: cellar, driver: sim}
`

// scene is one story's daemon.
type scene struct {
	env    *testscript.Env
	client *api.Client
	daemon *exec.Cmd
	ended  chan struct{} // closed at the end of the daemon
	exit   error         // of the daemon that has ended
	log    bytes.Buffer  // of all daemons; read after the end only
	cable  *cable.Cable
	cloud  *exec.Cmd
	hook   *hook
	seq    int64 // events that the story has passed
}

func sceneOf(ts *testscript.TestScript) *scene { return ts.Value("scene").(*scene) }

func (s *scene) end() {
	if s.daemon != nil {
		s.daemon.Process.Kill()
		<-s.ended
	}
	if s.cloud != nil {
		s.cloud.Process.Kill()
		s.cloud.Wait()
	}
	s.client.Close()
	s.env.T().Log("[gardiend]\n" + s.log.String())
}

// cmdStart starts gardiend [CONFIG] and waits for its READY=1. "! start" wants it to end
// with an error instead; its log is then stderr.
func cmdStart(ts *testscript.TestScript, neg bool, args []string) {
	s := sceneOf(ts)
	config := "house.yaml"
	if len(args) > 0 {
		config = args[0]
	}
	l, err := net.ListenUnixgram("unixgram", &net.UnixAddr{Name: ts.MkAbs("notify.sock"), Net: "unixgram"})
	ts.Check(err)
	defer os.Remove(ts.MkAbs("notify.sock"))
	defer l.Close()
	cmd := exec.Command("gardiend", "--config", config)
	for _, dir := range filepath.SplitList(ts.Getenv("PATH")) {
		if _, err := os.Stat(filepath.Join(dir, "gardiend")); err == nil {
			cmd.Path, cmd.Err = filepath.Join(dir, "gardiend"), nil
			break
		}
	}
	cmd.Dir = ts.Getenv("WORK")
	cmd.Env = append(s.env.Vars, "NOTIFY_SOCKET="+ts.MkAbs("notify.sock"))
	cmd.Stderr = &s.log
	cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	ts.Check(cmd.Start())
	ended := make(chan struct{})
	go func() { s.exit = cmd.Wait(); close(ended); l.SetReadDeadline(time.Unix(1, 0)) }()
	l.SetReadDeadline(time.Now().Add(20 * time.Second))
	ready := false
	for buf := make([]byte, 4096); !ready; {
		n, err := l.Read(buf)
		if err != nil {
			break
		}
		ready = strings.Contains(string(buf[:n]), "READY=1")
	}
	switch {
	case ready && neg:
		cmd.Process.Kill()
		ts.Fatalf("gardiend is ready, and should have refused")
	case ready:
		s.daemon = cmd
		s.ended = ended
	case neg:
		<-ended
		if s.exit == nil {
			ts.Fatalf("gardiend ended without an error")
		}
		ts.Logf("[gardiend] %v\n%s", s.exit, s.log.String())
		ts.Check(os.WriteFile(ts.MkAbs("daemon.log"), s.log.Bytes(), 0o600))
	default:
		cmd.Process.Kill()
		ts.Fatalf("gardiend is not ready:\n%s", s.log.String())
	}
}

// cmdSignal sends TERM, KILL or HUP; after TERM and KILL it waits for the end.
func cmdSignal(ts *testscript.TestScript, neg bool, args []string) {
	s := sceneOf(ts)
	sig := map[string]syscall.Signal{"TERM": syscall.SIGTERM, "KILL": syscall.SIGKILL, "HUP": syscall.SIGHUP}[args[0]]
	ts.Check(s.daemon.Process.Signal(sig))
	if sig == syscall.SIGHUP {
		return
	}
	select {
	case <-s.ended:
		if sig == syscall.SIGTERM {
			ts.Check(s.exit) // exit code 0
		}
	case <-time.After(10 * time.Second):
		ts.Fatalf("gardiend does not end")
	}
	s.daemon = nil
	s.client.Close()
	ts.Check(s.clean())
	ts.Check(os.WriteFile(ts.MkAbs("daemon.log"), s.log.Bytes(), 0o600))
}

func (s *scene) page() ([]gateway.Event, error) {
	var p api.Events
	err := s.client.Do(context.Background(), "GET", fmt.Sprintf("/v1/events?limit=1000&after=%d", s.seq), nil, &p)
	return p.Events, err
}

// matches holds an event against "type" and "member=value" words; "member=-" wants it absent.
func matches(e gateway.Event, words []string) bool {
	if string(e.Type) != words[0] {
		return false
	}
	b, _ := json.Marshal(e)
	var m map[string]any
	json.Unmarshal(b, &m)
	for _, w := range words[1:] {
		k, v, _ := strings.Cut(w, "=")
		got, ok := m[k]
		if v == "-" && !ok {
			continue
		}
		if v == "*" && ok {
			continue
		}
		if !ok || fmt.Sprint(got) != v {
			return false
		}
	}
	return true
}

// errFound ends a stream.
var errFound = errors.New("found")

// cmdEvent waits for the next event of that kind and passes it.
func cmdEvent(ts *testscript.TestScript, neg bool, args []string) {
	s := sceneOf(ts)
	ctx, cancel := context.WithTimeout(context.Background(), 8*time.Second)
	defer cancel()
	var passed []gateway.Event
	err := s.client.Stream(ctx, s.seq, func(e gateway.Event) error {
		if !matches(e, args) {
			passed = append(passed, e)
			return nil
		}
		s.seq = e.Seq
		ts.Setenv("ATTEMPT", string(e.Attempt))
		ts.Setenv("GRANT", e.Grant)
		return errFound
	})
	if !errors.Is(err, errFound) {
		for _, e := range passed {
			ts.Logf("%+v", e)
		}
		ts.Fatalf("no event %v after %d (%v)", args, s.seq, err)
	}
}

// cmdNoEvent holds that no such event has come since the last one that was passed.
func cmdNoEvent(ts *testscript.TestScript, neg bool, args []string) {
	list, err := sceneOf(ts).page()
	ts.Check(err)
	for _, e := range list {
		if matches(e, args) {
			ts.Fatalf("unwanted event: %+v", e)
		}
	}
}

// cmdSkip passes everything that the record has now, be it shorter than it was.
func cmdSkip(ts *testscript.TestScript, neg bool, args []string) {
	s := sceneOf(ts)
	s.seq = 0
	list, err := s.page()
	ts.Check(err)
	if len(list) > 0 {
		s.seq = list[len(list)-1].Seq
	}
}

// cmdJSON sets a variable from a member of the last command's JSON output: json VAR member.
func cmdJSON(ts *testscript.TestScript, neg bool, args []string) {
	var m map[string]any
	out := ts.ReadFile("stdout")
	ts.Check(json.Unmarshal([]byte(out[max(strings.IndexByte(out, '{'), 0):]), &m)) // a status may stand before it
	v, ok := m[args[1]]
	if !ok {
		ts.Fatalf("no member %q", args[1])
	}
	ts.Setenv(args[0], fmt.Sprint(v))
}

func (s *scene) moveClock(ts *testscript.TestScript, wall, boot time.Duration) {
	var c clockFile
	if b, err := os.ReadFile(ts.MkAbs(".clock")); err == nil {
		ts.Check(json.Unmarshal(b, &c))
	}
	c.Wall, c.Boot = c.Wall+wall, c.Boot+boot
	b, err := json.Marshal(c)
	ts.Check(err)
	ts.Check(os.WriteFile(ts.MkAbs(".clock.new"), b, 0o600))
	ts.Check(os.Rename(ts.MkAbs(".clock.new"), ts.MkAbs(".clock")))
}

// cmdAdvance lets time pass on both clocks.
func cmdAdvance(ts *testscript.TestScript, neg bool, args []string) {
	d, err := time.ParseDuration(args[0])
	ts.Check(err)
	sceneOf(ts).moveClock(ts, d, d)
}

// cmdStep sets the wall clock, and leaves the boot clock: to RFC 3339, or "now".
func cmdStep(ts *testscript.TestScript, neg bool, args []string) {
	setWall(ts, args[0], false)
}

// cmdGoto lets time pass until an instant, on both clocks.
func cmdGoto(ts *testscript.TestScript, neg bool, args []string) { setWall(ts, args[0], true) }

func setWall(ts *testscript.TestScript, text string, both bool) {
	s := sceneOf(ts)
	var c clockFile
	if b, err := os.ReadFile(ts.MkAbs(".clock")); err == nil {
		ts.Check(json.Unmarshal(b, &c))
	}
	want := time.Now()
	if text != "now" {
		var err error
		want, err = time.Parse(time.RFC3339, text)
		ts.Check(err)
	}
	d := time.Until(want) - c.Wall
	boot := time.Duration(0)
	if both {
		boot = d
	}
	s.moveClock(ts, d, boot)
}

// cmdScan presents a file's text at a reader: scan READER FILE.
func cmdScan(ts *testscript.TestScript, neg bool, args []string) {
	text := strings.TrimSpace(ts.ReadFile(args[1]))
	ts.Check(sceneOf(ts).client.Do(context.Background(), "POST", "/v1/sim/scan", api.SimScan{Reader: gateway.ReaderID(args[0]), Text: text}, nil))
}

// cmdCorrupt overwrites bytes of a file: corrupt FILE OFFSET LENGTH.
func cmdCorrupt(ts *testscript.TestScript, neg bool, args []string) {
	offset, err := strconv.Atoi(args[1])
	ts.Check(err)
	length, err := strconv.Atoi(args[2])
	ts.Check(err)
	f, err := os.OpenFile(ts.MkAbs(args[0]), os.O_RDWR, 0)
	ts.Check(err)
	defer f.Close()
	_, err = f.WriteAt(bytes.Repeat([]byte{0xff}, length), int64(offset))
	ts.Check(err)
}

// cmdDoor waits until a door is as wanted: door front strike=secured.
func cmdDoor(ts *testscript.TestScript, neg bool, args []string) {
	tick := time.NewTicker(10 * time.Millisecond)
	defer tick.Stop()
	for deadline := time.Now().Add(8 * time.Second); ; <-tick.C {
		var m map[string]any
		ts.Check(sceneOf(ts).client.Do(context.Background(), "GET", "/v1/doors/"+args[0], nil, &m))
		ok := true
		for _, w := range args[1:] {
			k, v, _ := strings.Cut(w, "=")
			ok = ok && fmt.Sprint(m[k]) == v
		}
		if ok {
			return
		}
		if time.Now().After(deadline) {
			ts.Fatalf("door is %v", m)
		}
	}
}

// secretLike finds what must be in no log (L5): a grant, a token, a typed PIN.
var secretLike = regexp.MustCompile(`eyJ[A-Za-z0-9_-]{20,}|\b\d{6,8}#|\b[A-Za-z0-9_-]{22}\.[A-Za-z0-9_-]{43}\b`)

// clean holds a daemon's log against it.
func (s *scene) clean() error {
	if found := secretLike.FindString(s.log.String()); found != "" {
		return fmt.Errorf("L5: the log holds %q", found)
	}
	return nil
}
