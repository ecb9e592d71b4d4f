package daemon

import (
	"bufio"
	"context"
	"encoding/json"
	"flag"
	"fmt"
	"io"
	"iter"
	"log/slog"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"

	"gardien/gateway"
	"gardien/gateway/tokens"
	"gardien/store"
)

var stressGrants = flag.Int("stress-grants", 150, "one-time grants of the A4 stress; the promise names 1000")

// TestA4_NoGrantOpensTwice presents one-time grants from 64 presenters over two channels,
// scanned at readers and with proofs from the LAN, at a door that has no contact, where
// once is once.
func TestA4_NoGrantOpensTwice(t *testing.T) {
	h := build(t)
	h.start(t)
	holder, err := tokens.GenerateES256()
	if err != nil {
		t.Fatal(err)
	}
	n := *stressGrants
	texts := make([]string, n)
	// A repeat while the door is released is answered as the first time: what counts is how many
	// attempts a grant had.
	opened := make([]sync.Map, n)
	for i := range n {
		// A holder-bound grant is for the LAN, another for the readers.
		bound := ""
		if i%2 == 0 {
			bound = holder.KeyID()
		}
		_, texts[i] = h.grant(t, i, "front", bound)
	}
	const presenters = 64
	var wg sync.WaitGroup
	for p := range presenters {
		wg.Go(func() {
			order := rand.New(rand.NewPCG(1, uint64(p))).Perm(n)
			for _, i := range order {
				cred := gateway.GrantCredential{Text: gateway.NewSecret(texts[i])}
				reader := gateway.ReaderID("scanner")
				if i%2 == 0 {
					reader = gateway.ReaderLAN
					cred.Proof = gateway.NewSecret(h.proof(t, holder, "front", texts[i]))
				}
				if out := h.access.Present(context.Background(), "front", reader, cred); out.Granted {
					opened[i].Store(out.Attempt, true)
				}
			}
		})
	}
	wg.Wait()
	for i := range opened {
		got := 0
		opened[i].Range(func(_, _ any) bool { got++; return true })
		if got != 1 {
			t.Errorf("grant %d opened %d times", i, got)
		}
	}
	if v, err := h.store.Verify(context.Background()); err != nil || !v.OK {
		t.Errorf("the record: %+v, %v", v, err)
	}
	t.Logf("%d grants, %d presenters: each opened once", n, presenters)
}

// The stress under SIGKILL: a child process presents, and is killed at random moments.

const childEnv = "GARDIEN_TEST_CHILD"

func TestMain(m *testing.M) {
	if dir := os.Getenv(childEnv); dir != "" {
		presentUntilKilled(dir)
	}
	if dir := os.Getenv(costEnv); dir != "" {
		countCost(dir)
	}
	if dir := os.Getenv(deadEnv); dir != "" {
		runOnADeadCard(dir)
	}
	if file := os.Getenv(carriersEnv); file != "" {
		carryBags(file)
	}
	if dir := os.Getenv(lanEnv); dir != "" {
		serveLAN(dir)
	}
	flag.Parse()
	os.Exit(m.Run())
}

// presentUntilKilled presents all grants of a folder, over and over, from 16 goroutines
// and prints a line "open N ATTEMPT" for each entry after it was released.
func presentUntilKilled(dir string) {
	b, err := os.ReadFile(filepath.Join(dir, "grants.json"))
	if err != nil {
		panic(err)
	}
	var texts []string
	if err := json.Unmarshal(b, &texts); err != nil {
		panic(err)
	}
	ready := make(chan *Gateway, 1)
	go func() {
		if err := Run(context.Background(), Options{Config: filepath.Join(dir, "g.yaml"), Log: quiet, wired: ready}); err != nil {
			fmt.Println("error", err)
			os.Exit(3)
		}
	}()
	g := <-ready
	fmt.Println("ready")
	var out sync.Mutex
	var wg sync.WaitGroup
	for range 16 {
		wg.Go(func() {
			for _, i := range rand.Perm(len(texts)) {
				o := g.access.Present(context.Background(), "front", "scanner", gateway.GrantCredential{Text: gateway.NewSecret(texts[i])})
				if o.Granted {
					out.Lock()
					fmt.Fprintf(os.Stdout, "open %d %s\n", i, o.Attempt)
					out.Unlock()
				}
			}
		})
	}
	wg.Wait()
	fmt.Println("all")
	select {}
}

// TestA4_NoGrantOpensTwiceUnderSIGKILL kills the daemon at random moments, restarts it,
// and holds that no grant was let in twice over all lives, and that every entry of the
// record is one grant's only one.
func TestA4_NoGrantOpensTwiceUnderSIGKILL(t *testing.T) {
	h := build(t)
	h.start(t)
	const n, lives = 400, 12
	texts := make([]string, n)
	for i := range n {
		_, texts[i] = h.grant(t, i, "front", "")
	}
	h.stop()
	b, err := json.Marshal(texts)
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(h.dir, "grants.json"), b, 0o600); err != nil {
		t.Fatal(err)
	}
	opened := map[int]map[string]bool{}
	all := false
	for life := 0; !all && life < 100; life++ {
		all = h.live(t, life >= lives, opened)
	}
	for i, attempts := range opened {
		if len(attempts) > 1 {
			t.Errorf("grant %d was let in %d times", i, len(attempts))
		}
	}
	st, err := store.Open(store.Opts{Dir: h.cfg.Gateway.StateDir, Zone: h.cfg.Zone(), Log: quiet})
	if err != nil {
		t.Fatal(err)
	}
	defer st.Close()
	entries := map[string]int{}
	for after := int64(0); ; {
		list, err := st.Events(context.Background(), after, 1000)
		if err != nil {
			t.Fatal(err)
		}
		for _, e := range list {
			after = e.Seq
			if e.Type == gateway.AccessGranted {
				entries[e.Grant]++
			}
		}
		if len(list) < 1000 {
			break
		}
	}
	if len(entries) != n {
		t.Errorf("%d of %d grants have an entry", len(entries), n)
	}
	for g, k := range entries {
		if k != 1 {
			t.Errorf("grant %s has %d entries in the record", g, k)
		}
	}
	if v, err := st.Verify(context.Background()); err != nil || !v.OK {
		t.Errorf("the record: %+v, %v", v, err)
	}
	for i := range opened {
		if entries[fmt.Sprintf("g%d", i)] != 1 {
			t.Errorf("grant %d was let in and is not in the record", i)
		}
	}
}

// live is one life of the child: killed after a random number of entries, or, at last,
// when all grants were presented.
func (h *house) live(t *testing.T, toTheEnd bool, opened map[int]map[string]bool) (all bool) {
	t.Helper()
	cmd := exec.Command(os.Args[0])
	cmd.Env = append(os.Environ(), childEnv+"="+h.dir)
	cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	budget := rand.IntN(60)
	dec := newLines(out)
	for line := range dec {
		var i int
		var attempt string
		switch {
		case strings.HasPrefix(line, "error"):
			t.Error(line)
		case line == "all":
			cmd.Process.Kill()
			all = true
		case line == "ready":
		default:
			if _, err := fmt.Sscanf(line, "open %d %s", &i, &attempt); err != nil || len(attempt) != 22 {
				continue // torn by the kill
			}
			if opened[i] == nil {
				opened[i] = map[string]bool{}
			}
			opened[i][attempt] = true
			if budget--; budget <= 0 && !toTheEnd {
				cmd.Process.Kill()
			}
		}
	}
	cmd.Wait()
	return all
}

// newLines gives the lines of a pipe until it closes.
func newLines(r io.Reader) iter.Seq[string] {
	return func(yield func(string) bool) {
		for s := bufio.NewScanner(r); s.Scan(); {
			if !yield(s.Text()) {
				return
			}
		}
	}
}

var quiet = slog.New(slog.DiscardHandler)
