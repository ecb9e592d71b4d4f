package mdns

import (
	"context"
	"encoding/json"
	"fmt"
	"net"
	"net/netip"
	"os"
	"runtime"
	"testing"
	"time"

	"gardien/gateway/mdns/lantest"
)

// asLookUp makes the test's program look for the gateway of opts on eth0, as its self-query does.
const asLookUp = "GARDIEN_MDNS_LOOKUP"

type lookedUp struct {
	Err        string
	Took       time.Duration
	Goroutines int // that are left over
}

func beLookUp(string) error {
	o := opts()
	names, err := o.check()
	if err != nil {
		return err
	}
	eth0, err := net.InterfaceByName("eth0")
	if err != nil {
		return err
	}
	before, begun := runtime.NumGoroutine(), time.Now()
	r := &responder{desk: &desk{names: names}}
	err = r.lookUp(context.Background(), iface{index: eth0.Index, name: "eth0", prefixes: []netip.Prefix{netip.MustParsePrefix("10.77.0.2/24")}})
	l := lookedUp{Took: time.Since(begun)}
	if err != nil {
		l.Err = err.Error()
	}
	for wait := time.Now(); runtime.NumGoroutine() > before && time.Since(wait) < 2*time.Second; time.Sleep(10 * time.Millisecond) {
	}
	l.Goroutines = runtime.NumGoroutine() - before
	return json.NewEncoder(os.Stdout).Encode(l)
}

// TestSelfQuery: it finds the gateway, and neither silence nor another of its name; nothing of it is left.
func TestSelfQuery(t *testing.T) {
	t.Parallel()
	n := lantest.New(t)
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	look := func() (l lookedUp) {
		t.Helper()
		cmd := n.Command(lantest.Phone, self)
		cmd.Env = append(os.Environ(), asLookUp+"=eth0")
		out, err := cmd.Output()
		if err == nil {
			err = json.Unmarshal(out, &l)
		}
		if err != nil {
			t.Fatal(err)
		}
		if l.Goroutines > 0 {
			t.Errorf("%d goroutines are left", l.Goroutines)
		}
		return l
	}
	if l := look(); l.Err == "" || l.Took < confirmIn || l.Took > confirmIn+time.Second {
		t.Errorf("nobody is there: %+v", l)
	}
	g := startGateway(t, n, lantest.Gateway, opts())
	g.announced(Builtin, "eth0")
	l := look()
	if l.Err != "" || l.Took > soon {
		t.Errorf("it is there: %+v", l)
	}
	t.Log("found after ", fmt.Sprint(l.Took))
	g.stop()
	o := opts()
	o.Port++
	startGateway(t, n, lantest.Gateway, o).announced(Builtin, "eth0")
	if l := look(); l.Err == "" {
		t.Errorf("another is there: %+v", l)
	}
}
