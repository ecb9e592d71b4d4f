package configs

import (
	"path/filepath"
	"regexp"

	"go.yaml.in/yaml/v3"
)

var stateDir = regexp.MustCompile(`state_dir: *"?([^\s"',}#]+)`)

// Strikes reads of a file what securing its strikes needs, however wrong the rest is: a
// configuration that is being edited must not keep a strike released. What cannot be read is
// left out, and what is left out has its default.
func Strikes(file string) *Config {
	c := &Config{file: file, lines: map[string]int{}, Gateway: Gateway{StateDir: "/var/lib/gardien"}, API: API{Socket: "/run/gardien/api.sock"}}
	b, err := readFile(file)
	if err != nil {
		return c
	}
	var f struct {
		Gateway struct {
			StateDir string `yaml:"state_dir"`
		}
		API struct {
			Socket string
		}
		Doors []struct {
			ID     string
			Strike struct{ Driver, Pin, Active string }
		}
	}
	yaml.Unmarshal(b, &f)                                                    // an error leaves what could be read
	if m := stateDir.FindSubmatch(b); f.Gateway.StateDir == "" && m != nil { // of what is no YAML at all
		f.Gateway.StateDir = string(m[1])
	}
	set := func(to *string, path string) {
		if path == "" {
			return
		}
		if !filepath.IsAbs(path) {
			path = filepath.Join(filepath.Dir(file), path)
		}
		*to = path
	}
	set(&c.Gateway.StateDir, f.Gateway.StateDir)
	set(&c.API.Socket, f.API.Socket)
	for _, d := range f.Doors {
		if s := d.Strike; s.Driver == "gpio" {
			if s.Active != "low" {
				s.Active = "high"
			}
			c.Doors = append(c.Doors, Door{ID: d.ID, Strike: &Strike{Driver: s.Driver, Pin: s.Pin, Active: s.Active}})
		}
	}
	return c
}
