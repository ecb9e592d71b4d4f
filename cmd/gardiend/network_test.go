package main

import (
	"encoding/json"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"gardien/gateway/api"
	"gardien/gateway/mdns/lantest"
)

// phoneEnv makes this program the phone of the stories.
const phoneEnv = "GARDIEN_TEST_PHONE"

// TestFoundAndTrusted: on a network of its own, a phone finds the gateway by its name, curl trusts its
// certificate, and a client pairs, acts and streams, from another network namespace. The gateway
// announces itself, by itself and by avahi.
func TestFoundAndTrusted(t *testing.T) {
	for _, by := range []string{"builtin", "avahi"} {
		t.Run(by, func(t *testing.T) { foundAndTrusted(t, by) })
	}
}

func foundAndTrusted(t *testing.T, by string) {
	n := lantest.New(t)
	avahi := n.Avahi(lantest.Phone, "phone")
	dir := t.TempDir()
	bin, err := build()
	if err != nil {
		t.Fatal(err)
	}
	daemon := filepath.Join(dir, "gardiend")
	if out, err := exec.Command("go", "build", "-o", daemon, "gardien/cmd/gardiend").CombinedOutput(); err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	config := strings.Replace(house, `listen: ""`, `listen: ":8443"`, 1) + "mdns: {mode: auto}\n"
	if err := os.WriteFile(filepath.Join(dir, "house.yaml"), []byte(config), 0o600); err != nil {
		t.Fatal(err)
	}
	env := append(os.Environ(), "GARDIEN_SOCKET="+filepath.Join(dir, "api.sock"), "PATH="+bin+string(os.PathListSeparator)+os.Getenv("PATH"))
	gardiend := n.Command(lantest.Gateway, daemon, "--config", "house.yaml")
	gardiend.Dir, gardiend.Env = dir, env
	if by == "avahi" {
		gardiend.Env = append(gardiend.Env, n.Avahi(lantest.Gateway, "raspberrypi").Env())
	} else { // no system bus there
		gardiend.Env = append(gardiend.Env, "DBUS_SYSTEM_BUS_ADDRESS=unix:path="+filepath.Join(dir, "no.bus"))
	}
	log, err := os.Create(filepath.Join(dir, "log"))
	if err != nil {
		t.Fatal(err)
	}
	gardiend.Stderr = log
	lantest.Start(t, gardiend)
	begun := time.Now()
	run := func(cmd *exec.Cmd) string {
		t.Helper()
		cmd.Dir = dir
		if cmd.Env == nil {
			cmd.Env = env
		}
		out, err := cmd.CombinedOutput()
		if err != nil {
			said, _ := os.ReadFile(log.Name())
			t.Fatalf("%v: %v\n%s\n%s", cmd.Args, err, out, said)
		}
		return string(out)
	}
	tool := func(args ...string) string { return run(exec.Command(filepath.Join(bin, "gardien"), args...)) }
	var st api.Status
	lantest.Within(t, 10*time.Second, "the daemon", func() bool {
		out, _ := exec.Command(filepath.Join(bin, "gardien"), "--socket", filepath.Join(dir, "api.sock"), "status", "--json").Output()
		return json.Unmarshal(out, &st) == nil && st.API.Address != ""
	})
	name := st.API.Name
	var found []string
	lantest.Within(t, 10*time.Second, "the service on the phone", func() bool {
		out, _ := avahi.Command("avahi-browse", "-rpt", "_gardien._tcp").Output()
		found = nil
		for line := range strings.Lines(string(out)) {
			if f := strings.Split(strings.TrimSpace(line), ";"); len(f) > 9 && f[0] == "=" && f[6] == name && f[8] == "8443" && strings.Contains(f[9], "fp="+st.API.Fingerprint[:16]) {
				found = append(found, f[7])
			}
		}
		return len(found) > 0
	})
	t.Logf("by %s: %s is at %v, %v after the start", by, name, found, time.Since(begun).Round(100*time.Millisecond))
	resolved := strings.Fields(run(avahi.Command("avahi-resolve", "-4", "-n", name)))
	if len(resolved) != 2 || resolved[1] != lantest.GatewayIPv4 {
		t.Fatalf("%s resolves to %v", name, resolved)
	}
	address := net.JoinHostPort(resolved[1], "8443")
	tool("ca", "export", "house.pem")
	for _, ip := range []string{resolved[1], "[" + lantest.GatewayIPv6 + "]"} {
		out := run(n.Command(lantest.Phone, "curl", "-sS", "--cacert", "house.pem", "--resolve", name+":8443:"+ip, "https://"+name+":8443/v1/info"))
		if !strings.Contains(out, string(st.ID)) {
			t.Errorf("curl by %s: %s", ip, out)
		}
	}
	if out, err := n.Command(lantest.Phone, "curl", "-sS", "--cacert", filepath.Join(dir, "house.pem"), "https://"+address+"/v1/info").CombinedOutput(); err == nil {
		t.Errorf("curl by address trusts the CA: %s", out)
	}
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	onPhone := func(want string, args ...string) {
		t.Helper()
		cmd := n.Command(lantest.Phone, self, args...)
		cmd.Env = append(env, phoneEnv+"=1", "PHONE_AT="+address)
		if out := run(cmd); !strings.Contains(out, want) {
			t.Errorf("phone %v: %s, want %s", args, out, want)
		}
	}
	onPhone(`"code"`, "pair", "Ada", "y")
	onPhone(`200 {"decision":"granted"`, "do", "Ada", "POST", "/v1/doors/front/attempts", "{}")
	onPhone("strike_released", "stream", "Ada", "strike_released")
}
