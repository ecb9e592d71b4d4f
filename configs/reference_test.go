package configs_test

import (
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"
	"go.yaml.in/yaml/v3"
)

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
