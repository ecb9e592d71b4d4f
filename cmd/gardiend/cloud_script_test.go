package main

import (
	"bufio"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"syscall"

	"github.com/rogpeppe/go-internal/testscript"
)

// cmdCloud starts or ends the story's gardien-cloud: cloud start|stop|kill. Clients reach
// it at $CLOUD, over the story's cable.
func cmdCloud(ts *testscript.TestScript, neg bool, args []string) {
	s := sceneOf(ts)
	switch args[0] {
	case "stop":
		ts.Check(s.cloud.Process.Signal(syscall.SIGTERM))
		ts.Check(s.cloud.Wait()) // exit code 0
		s.cloud = nil
		return
	case "kill":
		ts.Check(s.cloud.Process.Kill())
		s.cloud.Wait()
		s.cloud = nil
		return
	}
	var bin string
	for _, dir := range filepath.SplitList(ts.Getenv("PATH")) {
		if _, err := os.Stat(filepath.Join(dir, "gardien-cloud")); err == nil {
			bin = filepath.Join(dir, "gardien-cloud")
			break
		}
	}
	cmd := exec.Command(bin, "serve", "--db", ts.MkAbs("mail.db"), "--listen", "127.0.0.1:0", "--origin", ts.Getenv("CLOUD"))
	cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	log, err := os.OpenFile(ts.MkAbs("cloud.log"), os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o600)
	ts.Check(err)
	defer log.Close()
	cmd.Stdout = log
	errs, err := cmd.StderrPipe()
	ts.Check(err)
	ts.Check(cmd.Start())
	lines := bufio.NewReader(errs)
	for {
		line, err := lines.ReadString('\n')
		if err != nil {
			ts.Fatalf("gardien-cloud ended before it was ready")
		}
		if _, after, ok := strings.Cut(line, "address="); ok {
			address, _, _ := strings.Cut(strings.TrimSpace(after), " ")
			s.cable.Retarget(address)
			break
		}
	}
	go io.Copy(io.Discard, lines)
	s.cloud = cmd
}

// cmdCable cuts or mends the cable between the gateway and the cloud: cable cut|heal.
func cmdCable(ts *testscript.TestScript, neg bool, args []string) {
	switch args[0] {
	case "cut":
		sceneOf(ts).cable.Refuse()
	case "heal":
		sceneOf(ts).cable.Heal()
	}
}

// cmdConfig writes a file with its variables expanded: config FROM TO.
func cmdConfig(ts *testscript.TestScript, neg bool, args []string) {
	ts.Check(os.WriteFile(ts.MkAbs(args[1]), []byte(os.Expand(ts.ReadFile(args[0]), ts.Getenv)), 0o600))
}

// hook is a carrier's own service, which fails at first.
type hook struct {
	mu    sync.Mutex
	calls int
	got   []string // bodies that it took
}

// cmdWebhook starts a webhook that refuses the first calls, and sets HOOK; or writes the
// bodies that it has taken to a file: webhook start N | webhook took FILE.
func cmdWebhook(ts *testscript.TestScript, neg bool, args []string) {
	s := sceneOf(ts)
	if args[0] == "took" {
		s.hook.mu.Lock()
		defer s.hook.mu.Unlock()
		ts.Check(os.WriteFile(ts.MkAbs(args[1]), []byte(strings.Join(s.hook.got, "\n")+"\n"), 0o600))
		return
	}
	var n int
	fmt.Sscan(args[1], &n)
	s.hook = &hook{}
	srv := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		b, _ := io.ReadAll(r.Body)
		s.hook.mu.Lock()
		defer s.hook.mu.Unlock()
		if s.hook.calls++; s.hook.calls <= n {
			w.WriteHeader(http.StatusBadGateway)
			return
		}
		if r.Header.Get("Idempotency-Key") == "" || !strings.HasPrefix(r.Header.Get("Gardien-Signature"), "t=") {
			w.WriteHeader(http.StatusBadRequest)
			return
		}
		s.hook.got = append(s.hook.got, string(b))
	}))
	s.env.Defer(srv.Close)
	u, err := url.Parse(srv.URL)
	ts.Check(err)
	ts.Setenv("HOOK", u.String())
}
