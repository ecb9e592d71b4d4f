package configs_test

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"gardien/configs"
	"gardien/gateway"
)

// TestDefaults spells every default out, beside the tags.
func TestDefaults(t *testing.T) {
	dir := t.TempDir()
	write(t, filepath.Join(dir, "x.json"), `{"keys":[]}`)
	got := load(t, write(t, filepath.Join(dir, "gardien.yaml"), `
gateway: {time_zone: Europe/Paris, state_dir: /state}
doors:
  - {id: front, strike: {driver: sim}, contact: {driver: sim}, rex: {driver: sim}}
  - {id: flat, lock: {driver: sim}}
readers: [{id: pad, door: front, driver: sim}]
issuers: [{id: x.example, keys: x.json, doors: [flat]}]
`))
	const second = configs.Duration(time.Second)
	door := configs.Door{ReleaseTime: 4 * second, RelockDelay: second, HeldOpenAfter: 30 * second, RetryGrace: 180 * second, Unwell: "refuse",
		PIN: configs.PIN{Home: []int{6, 7, 9}, ThirdParty: []int{8}}}
	front, flat := door, door
	front.ID, front.Name = "front", "front"
	front.Strike = &configs.Strike{Driver: "sim", Active: "high", Fail: "secure", AtReset: "refuse", FeedbackActive: "high", FeedbackPull: "down"}
	front.Contact = &configs.Contact{Driver: "sim", Closed: "low", Debounce: second / 20, Pull: "up"}
	front.REX = &configs.REX{Driver: "sim", Active: "low", Debounce: second / 50, Pull: "up", Shunt: 10 * second}
	flat.ID, flat.Name, flat.Lock = "flat", "flat", &configs.Lock{Driver: "sim"}
	want := &configs.Config{
		Gateway: configs.Gateway{Name: "Gardien", TimeZone: "Europe/Paris", StateDir: "/state"},
		Clock:   configs.Clock{Source: "auto"},
		API:     configs.API{Listen: ":8443", Socket: "/run/gardien/api.sock"},
		MDNS:    configs.MDNS{Mode: "auto"},
		Doors:   []configs.Door{front, flat},
		Readers: []configs.Reader{{ID: "pad", Door: "front", Driver: "sim", Kind: "keypad", Layout: "us", Baud: 9600}},
		ZWave:   configs.ZWave{Server: "ws://127.0.0.1:3000"},
		Issuers: []configs.Issuer{{ID: "x.example", Name: "x.example", Keys: filepath.Join(dir, "x.json"), Doors: []string{"flat"},
			MaxValidity: 365 * 24 * 3600 * second, OfflineLimit: 72 * 3600 * second, Approval: "off", ApprovalSilence: "deny", KeySet: []byte(`{"keys":[]}`)}},
		Retention: 90 * 24 * 3600 * second,
	}
	if diff := cmp.Diff(want, got, private); diff != "" {
		t.Errorf("defaults (-want +got):\n%s", diff)
	}
}

// TestValues holds that what is written arrives, off and the ends of ranges included.
func TestValues(t *testing.T) {
	cfg := load(t, write(t, filepath.Join(t.TempDir(), "gardien.yaml"), `
gateway: {name: "Château n° 1: \"Les Ünïcode\" 🏠", time_zone: UTC, state_dir: /state}
api: {listen: "[::1]:0"}
cloud: {url: "http://localhost:8080"}
doors:
  - {id: "0", name: "", strike: {driver: gpio, pin: P1_7, active: low, fail: safe, at_reset: accept}, release_time: 3s, relock_delay: 0s, held_open_after: off, retry_grace: off}
  - {id: "on", lock: {driver: zwave, node: 4000}, release_time: 10s, relock_delay: 10s, held_open_after: 24h, retry_grace: 1m30s, pin: {home: [10, 6], third_party: [9, 7]}}
retention: 1000000h
`))
	a, b := cfg.Doors[0], cfg.Doors[1]
	if cfg.Gateway.Name != `Château n° 1: "Les Ünïcode" 🏠` || cfg.API.Listen != "[::1]:0" || cfg.Cloud.URL != "http://localhost:8080" || cfg.Zone() != time.UTC || cfg.Simulated() {
		t.Errorf("%+v", cfg)
	}
	if diff := cmp.Diff(&configs.Strike{Driver: "gpio", Pin: "P1_7", Active: "low", Fail: "safe", AtReset: "accept", FeedbackActive: "high", FeedbackPull: "down"}, a.Strike); diff != "" {
		t.Error(diff)
	}
	if a.ID != "0" || a.Name != "0" || a.RelockDelay != 0 || a.HeldOpenAfter != 0 || a.RetryGrace != 0 {
		t.Errorf("%+v", a)
	}
	if b.ID != "on" || b.Lock.Node != 4000 || b.HeldOpenAfter != configs.Duration(24*time.Hour) || b.RetryGrace != configs.Duration(90*time.Second) {
		t.Errorf("%+v", b)
	}
	if diff := cmp.Diff(gateway.PINLengths{Home: []int{6, 10}, ThirdParty: []int{7, 9}}, b.Lengths()); diff != "" {
		t.Error(diff)
	}
	if diff := cmp.Diff(gateway.DefaultPINLengths(), a.Lengths()); diff != "" {
		t.Error(diff)
	}
}

// Addresses of a cloud that are good; invalid/cloud_*.yaml has those that are not.
func TestCloudURL(t *testing.T) {
	file := filepath.Join(t.TempDir(), "gardien.yaml")
	for _, u := range []string{"https://cloud.example", "https://cloud.example/", "HTTPS://Cloud.Example:8443", "https://192.0.2.1", "https://[2001:db8::1]:8443/",
		"https://[fe80::1%25eth0]", "https://nuée.example", "http://[::1]:8080", "http://127.0.0.1:8080/", ""} {
		cfg := load(t, write(t, file, fmt.Sprintf("gateway: {time_zone: UTC, state_dir: /state}\ndoors: [{id: front, strike: {driver: sim}}]\ncloud: {url: %q}\n", u)))
		if cfg.Cloud.URL != u {
			t.Errorf("%s became %s", u, cfg.Cloud.URL)
		}
	}
}

func TestPolicy(t *testing.T) {
	want := gateway.Policy{
		Doors:       []gateway.DoorID{"front"},
		Hours:       []gateway.Window{{Days: []gateway.Weekday{1, 2, 3, 4, 5, 6}, From: 8 * 60, To: 20 * 60}},
		MaxValidity: 8760 * time.Hour, OfflineLimit: 72 * time.Hour,
	}
	if diff := cmp.Diff(want, load(t, "reference.yaml").Issuers[0].Policy()); diff != "" {
		t.Errorf("policy of reference.yaml (-want +got):\n%s", diff)
	}
}

func TestRelativePaths(t *testing.T) {
	dir := t.TempDir()
	const text = `
gateway: {time_zone: Europe/Paris, state_dir: %[1]sstate}
api: {socket: %[1]srun/api.sock}
doors: [{id: front, strike: {driver: sim}}]
issuers: [{id: x.example, keys: %[1]sissuers/x.json, doors: [front]}]
cloud: {ca: %[1]sca.pem}
`
	write(t, filepath.Join(dir, "house", "issuers", "x.json"), `{"keys":[]}`)
	t.Chdir(t.TempDir()) // relative paths start at the file's folder, not here
	paths := func(c *configs.Config) []string {
		return []string{c.Gateway.StateDir, c.API.Socket, c.Issuers[0].Keys, c.Cloud.CA}
	}
	house := filepath.Join(dir, "house")
	want := []string{filepath.Join(house, "state"), filepath.Join(house, "run/api.sock"), filepath.Join(house, "issuers/x.json"), filepath.Join(house, "ca.pem")}
	for _, prefix := range []string{"", "./", "../house/", house + "/"} {
		cfg := load(t, write(t, filepath.Join(house, "gardien.yaml"), fmt.Sprintf(text, prefix)))
		if diff := cmp.Diff(want, paths(cfg)); diff != "" {
			t.Errorf("prefix %q (-want +got):\n%s", prefix, diff)
		}
	}
	// None stays none, and does not become the folder.
	if ca := load(t, write(t, filepath.Join(house, "gardien.yaml"), strings.Replace(fmt.Sprintf(text, ""), "ca: ca.pem", "ca: \"\"", 1))).Cloud.CA; ca != "" {
		t.Errorf("ca is %q", ca)
	}
}

// TestEnvironment holds that nothing from outside of the file moves a key.
func TestEnvironment(t *testing.T) {
	want := load(t, "minimal.yaml")
	for path := range schema() {
		name := strings.ToUpper(strings.ReplaceAll(path, "[]", ""))
		for _, prefix := range []string{"", "GARDIEN_", "GARDIEND_", "CONFIGS_"} {
			for _, sep := range []string{"_", ".", "__"} {
				t.Setenv(prefix+strings.ReplaceAll(name, ".", sep), "from-outside")
			}
		}
	}
	if os.Getenv("GATEWAY_NAME") != "from-outside" || os.Getenv("GARDIEN_API_SOCKET") != "from-outside" {
		t.Fatal("the variables are not set")
	}
	if diff := cmp.Diff(want, load(t, "minimal.yaml"), private); diff != "" {
		t.Errorf("minimal.yaml under other variables (-before +after):\n%s", diff)
	}
}
