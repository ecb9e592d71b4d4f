package configs_test

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"reflect"
	"slices"
	"strings"
	"testing"
	"time"
	"unicode"
	"unicode/utf16"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"
	"go.yaml.in/yaml/v3"

	"gardien/configs"
	"gardien/gateway"
)

// checkKeys stands in for tokens.ParseKeySet, which the daemon plugs in.
func checkKeys(b []byte) error {
	switch {
	case !bytes.Contains(b, []byte(`"keys"`)):
		return errors.New(`want "keys": a list of 1 to 16 keys`)
	case bytes.Contains(b, []byte(`"d"`)):
		return errors.New(`key 1: member "d" is private: give the public key only`)
	}
	return nil
}

var opts = configs.Opts{CheckKeys: checkKeys}

func load(t *testing.T, file string) *configs.Config {
	t.Helper()
	cfg, err := configs.Load(file, opts)
	if err != nil {
		t.Fatal(err)
	}
	return cfg
}

func write(t *testing.T, file, text string) string {
	t.Helper()
	if err := os.MkdirAll(filepath.Dir(file), 0o700); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	return file
}

// The struct and a file's nodes, walked by the same paths: "doors[].strike.pin".

func walkType(typ reflect.Type, path string, visit func(path string, f reflect.StructField)) {
	for i := range typ.NumField() {
		f := typ.Field(i)
		key := f.Tag.Get("key")
		if key == "-" || !f.IsExported() {
			continue
		}
		at, below := strings.TrimPrefix(path+"."+key, "."), f.Type
		visit(at, f)
		if below.Kind() == reflect.Slice {
			at += "[]"
		}
		if below.Kind() == reflect.Slice || below.Kind() == reflect.Pointer {
			below = below.Elem()
		}
		if below.Kind() == reflect.Struct {
			walkType(below, at, visit)
		}
	}
}

func schema() map[string]reflect.StructTag {
	tags := map[string]reflect.StructTag{}
	walkType(reflect.TypeFor[configs.Config](), "", func(path string, f reflect.StructField) { tags[path] = f.Tag })
	return tags
}

// private is where a configuration stands in its file.
var private = cmpopts.IgnoreUnexported(configs.Config{})

// walkNode visits every key of a mapping; what visit refuses is taken out.
func walkNode(n *yaml.Node, path string, visit func(path string, key, value *yaml.Node) bool) {
	switch n.Kind {
	case yaml.SequenceNode:
		for _, e := range n.Content {
			walkNode(e, path+"[]", visit)
		}
	case yaml.MappingNode:
		var kept []*yaml.Node
		for i := 0; i < len(n.Content); i += 2 {
			k, v := n.Content[i], n.Content[i+1]
			at := strings.TrimPrefix(path+"."+k.Value, ".")
			if visit(at, k, v) {
				kept = append(kept, k, v)
				walkNode(v, at, visit)
			}
		}
		n.Content = kept
	}
}

func parse(t *testing.T, file string) *yaml.Node {
	t.Helper()
	b, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	var doc yaml.Node
	if err := yaml.Unmarshal(b, &doc); err != nil {
		t.Fatal(err)
	}
	return doc.Content[0]
}

// TestReference holds that reference.yaml documents every key, with the default and the
// range that the struct has.
func TestReference(t *testing.T) {
	want := load(t, "reference.yaml")
	tags := schema()

	var missing []string
	root := parse(t, "reference.yaml")
	values, comments := map[string][]string{}, map[string]string{}
	walkNode(root, "", func(path string, k, v *yaml.Node) bool {
		values[path] = append(values[path], v.Value)
		comments[path] += k.HeadComment + k.LineComment + k.FootComment + v.LineComment + v.FootComment
		return true
	})
	for path, tag := range tags {
		if values[path] == nil {
			missing = append(missing, path)
			continue
		}
		says := func(what, text string) {
			if !strings.Contains(comments[path], text) {
				t.Errorf("%s: the comment does not say its %s %q: %s", path, what, text, comments[path])
			}
		}
		if def, ok := tag.Lookup("default"); ok {
			if !slices.Contains(values[path], def) {
				t.Errorf("%s: values %q, none of them the default %q", path, values[path], def)
			}
			if strings.HasPrefix(def, ":") {
				def = `"` + def + `"` // as YAML wants it
			}
			says("default", "Default: "+def)
		}
		if tag.Get("required") != "" {
			says("being", "Required")
		}
		if tag.Get("off") != "" {
			says("being", "or off")
		}
		if tag.Get("min") != "0" { // 0 is the absence of a node
			says("least", tag.Get("min"))
		}
		says("most", tag.Get("max"))
		for _, word := range strings.Fields(tag.Get("oneof")) {
			says("choice", word)
		}
	}
	if slices.Sort(missing); missing != nil {
		t.Errorf("not in reference.yaml: %q", missing)
	}

	// Without everything that is at its default it is the same configuration.
	taken := 0
	walkNode(root, "", func(path string, k, v *yaml.Node) bool {
		tag := tags[path]
		def, ok := tag.Lookup("default")
		if ok && v.Value == def || tag.Get("required") == "" && v.Kind != yaml.MappingNode && v.Value == "" && len(v.Content) == 0 {
			taken++
			return false
		}
		return true
	})
	if taken < 20 {
		t.Errorf("only %d keys are at their default", taken)
	}
	b, err := yaml.Marshal(root)
	if err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	jwks, err := os.ReadFile("issuers/colis-x.jwks.json")
	if err != nil {
		t.Fatal(err)
	}
	write(t, filepath.Join(dir, "issuers", "colis-x.jwks.json"), string(jwks))
	got := load(t, write(t, filepath.Join(dir, "short.yaml"), string(b)))
	got.Issuers[0].Keys = want.Issuers[0].Keys // relative to another folder
	if diff := cmp.Diff(want, got, cmpopts.EquateEmpty(), private); diff != "" {
		t.Errorf("reference.yaml without defaults (-whole +short):\n%s", diff)
	}
}

func TestMinimalAndDemo(t *testing.T) {
	m := load(t, "minimal.yaml")
	if m.API.Listen != "" || m.Clock.Source != "auto" || len(m.Doors) != 1 || m.Doors[0].Strike.Driver != "sim" || !m.Simulated() {
		t.Errorf("minimal.yaml: %+v", m)
	}
	// It is minimal: without any one of its keys it fails, or is no longer the least
	// that runs beside another gateway (api).
	tags := schema()
	walkNode(parse(t, "minimal.yaml"), "", func(path string, _, _ *yaml.Node) bool {
		if tags[path].Get("required") == "" && !strings.HasPrefix(path, "api") && !strings.HasPrefix(path, "doors[].strike") {
			t.Errorf("minimal.yaml: %s is not needed", path)
		}
		return true
	})

	d := load(t, "demo.yaml")
	if d.Clock.Source != "system" || len(d.Doors) != 1 || len(d.Readers) != 1 || !d.Simulated() {
		t.Fatalf("demo.yaml: %+v", d)
	}
	door, reader := d.Doors[0], d.Readers[0]
	if door.Strike == nil || door.Contact == nil || door.REX == nil || reader.ID != "keypad" || reader.Door != door.ID || reader.Driver != "sim" {
		t.Errorf("demo.yaml: %+v %+v", door, reader)
	}
	for _, file := range []string{"minimal.yaml", "demo.yaml"} {
		walkNode(parse(t, file), "", func(path string, _, v *yaml.Node) bool {
			if strings.HasPrefix(v.Value, "/") {
				t.Errorf("%s: %s: %s is outside of its folder", file, path, v.Value)
			}
			return true
		})
	}
}

// expectations are the "# expect: " lines that a file begins with.
func expectations(b []byte) (want []string) {
	for line := range strings.Lines(string(b)) {
		text, ok := strings.CutPrefix(line, "# expect: ")
		if !ok {
			break
		}
		want = append(want, strings.TrimSuffix(text, "\n"))
	}
	return want
}

// problems are those of an error of Load, as the lines of a file say them.
func problems(t *testing.T, file string, err error) (got []string) {
	t.Helper()
	list, ok := err.(configs.Problems)
	if !ok {
		t.Fatalf("%s: want Problems, got %v", file, err)
	}
	for line := range strings.Lines(list.Error() + "\n") {
		text, ok := strings.CutPrefix(line, file+":")
		if !ok {
			t.Errorf("%q does not begin with the file", line)
		}
		got = append(got, strings.TrimSuffix(text, "\n"))
	}
	return got
}

func TestInvalid(t *testing.T) {
	files, err := filepath.Glob("invalid/*.yaml")
	if err != nil || len(files) < 44 {
		t.Fatalf("invalid/*.yaml: %d files, %v", len(files), err)
	}
	for _, file := range files {
		t.Run(strings.TrimSuffix(filepath.Base(file), ".yaml"), func(t *testing.T) {
			b, err := os.ReadFile(file)
			if err != nil {
				t.Fatal(err)
			}
			want := expectations(b)
			if len(want) == 0 {
				t.Fatal("the file begins with no # expect: line")
			}
			cfg, err := configs.Load(file, opts)
			if cfg != nil {
				t.Fatal("it is accepted")
			}
			if diff := cmp.Diff(want, problems(t, file, err)); diff != "" {
				t.Errorf("problems (-want +got):\n%s", diff)
			}
		})
	}
}

// TestFile is about what a file is before its keys are looked at, where it cannot carry
// its own # expect: line.
func TestFile(t *testing.T) {
	minimal, err := os.ReadFile("minimal.yaml")
	if err != nil {
		t.Fatal(err)
	}
	var wide []byte
	for _, unit := range utf16.Encode([]rune("\ufeff" + string(minimal))) {
		wide = append(wide, byte(unit), byte(unit>>8))
	}
	const empty = "1: (file): it is empty: start from configs/minimal.yaml"
	for _, c := range []struct{ name, text, want string }{
		{"empty", "", empty},
		{"blank lines", "\n\n  \n", empty},
		{"null", "~\n", "1: (file): not a mapping of keys: start from configs/minimal.yaml"},
		{"UTF-16", string(wide), "1: (file): it is not UTF-8: save it in the encoding UTF-8"},
		{"alias first", "*a\n", "1: (file): anchors and aliases are not read: put a text that begins with * in quotes"},
		{"error in the first line", "{", "1: (file): not YAML: did not find expected node content, in what begins here: look for a tab, a missing space after a colon, or a quote that is not closed"},
		{"empty key", string(minimal) + "? \n", "8: ?: not a plain key: write it as one word and a colon"},
		{"key on two lines", string(minimal) + "\"re\\ntention\": 24h\n", "8: ?: not a plain key: write it as one word and a colon"},
		{"second document that is none", string(minimal) + "---\n{", "9: (file): not YAML: did not find expected node content, in what begins here: look for a tab, a missing space after a colon, or a quote that is not closed"},
		{"UTF-8 with a mark", "\ufeff" + string(minimal), ""},
		{"line ends of Windows", strings.ReplaceAll(string(minimal), "\n", "\r\n"), ""},
		{"tabs that do not indent", strings.ReplaceAll(string(minimal), "\n", "\t\n"), ""},
	} {
		t.Run(c.name, func(t *testing.T) {
			file := write(t, filepath.Join(t.TempDir(), "gardien.yaml"), c.text)
			_, err := configs.Load(file, opts)
			if c.want == "" {
				if err != nil {
					t.Fatal(err)
				}
				return
			}
			if diff := cmp.Diff([]string{c.want}, problems(t, file, err)); diff != "" {
				t.Errorf("problems (-want +got):\n%s", diff)
			}
		})
	}

	dir := t.TempDir()
	large := write(t, filepath.Join(dir, "large.yaml"), "# "+strings.Repeat("x", 1<<20))
	for file, want := range map[string]string{
		filepath.Join(dir, "nosuch.yaml"): "name another with --config",
		dir:                               "is a directory",
		large:                             "larger than 1048576 bytes",
	} {
		cfg, err := configs.Load(file, opts)
		if _, ok := err.(configs.Problems); cfg != nil || err == nil || ok || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: got %v, want an error with %q", file, err, want)
		}
	}
}

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
	door := configs.Door{ReleaseTime: 4 * second, RelockDelay: second, HeldOpenAfter: 30 * second, RetryGrace: 180 * second, Unwell: "refuse"}
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
			MaxValidity: 365 * 24 * 3600 * second, OfflineLimit: 72 * 3600 * second, KeySet: []byte(`{"keys":[]}`)}},
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
  - {id: "on", lock: {driver: zwave, node: 4000}, release_time: 10s, relock_delay: 10s, held_open_after: 24h, retry_grace: 1m30s}
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

// FuzzLoad: whatever the bytes, Load gives a configuration that can be used, or says by
// the line what is wrong. Add -fuzzminimizetime 20x: to shorten what is only interesting
// takes a minute each.
func FuzzLoad(f *testing.F) {
	for _, pattern := range []string{"*.yaml", "invalid/*.yaml"} {
		files, err := filepath.Glob(pattern)
		if err != nil || len(files) == 0 {
			f.Fatalf("%s: %d files, %v", pattern, len(files), err)
		}
		for _, file := range files {
			b, err := os.ReadFile(file)
			if err != nil {
				f.Fatal(err)
			}
			f.Add(b)
		}
	}
	file := filepath.Join(f.TempDir(), "gardien.yaml") // each worker process has its own
	f.Fuzz(func(t *testing.T, b []byte) {
		if err := os.WriteFile(file, b, 0o600); err != nil {
			t.Fatal(err)
		}
		cfg, err := configs.Load(file, opts)
		if cfg != nil {
			if err != nil {
				t.Fatalf("both a configuration and %v", err)
			}
			usable(t, cfg)
			return
		}
		list, ok := err.(configs.Problems)
		if !ok || len(list) == 0 {
			t.Fatalf("want Problems, got %v", err)
		}
		lines := 1 + bytes.Count(b, []byte("\n")) + bytes.Count(b, []byte("\r")) + bytes.Count(b, []byte("\u2028")) + bytes.Count(b, []byte("\u2029"))
		for i, p := range list {
			if p.File != file || p.Line < 1 || p.Line > lines || p.Key == "" || p.Problem == "" || p.Remedy == "" || strings.ContainsFunc(p.Error(), unicode.IsControl) {
				t.Errorf("%q in a file of %d lines", p, lines)
			}
			if i > 0 && p.Line < list[i-1].Line {
				t.Errorf("line %d after line %d", p.Line, list[i-1].Line)
			}
		}
	})
}

// usable holds what the daemon takes for granted.
func usable(t *testing.T, cfg *configs.Config) {
	cfg.Zone()
	cfg.Simulated()
	if len(cfg.Doors) == 0 || cfg.Gateway.StateDir == "" || cfg.API.Socket == "" || cfg.Retention <= 0 {
		t.Errorf("%+v", cfg)
	}
	ids := map[string]bool{}
	for _, d := range cfg.Doors {
		if !gateway.DoorID(d.ID).Valid() || ids[d.ID] || d.Name == "" || (d.Strike == nil) == (d.Lock == nil) || d.ReleaseTime <= 0 {
			t.Errorf("door %+v", d)
		}
		ids[d.ID] = true
	}
	for _, r := range cfg.Readers {
		if !gateway.ReaderID(r.ID).Valid() || !ids[r.Door] {
			t.Errorf("reader %+v", r)
		}
	}
	for _, i := range cfg.Issuers {
		p := i.Policy()
		if !gateway.IssuerID(i.ID).Valid() || i.ID == string(gateway.HomeIssuer) || len(p.Doors) == 0 || i.KeySet == nil {
			t.Errorf("issuer %+v", i)
		}
		for _, w := range p.Hours {
			if err := w.Validate(); err != nil {
				t.Errorf("issuer %s: %v", i.ID, err)
			}
		}
	}
}
