package configs_test

import (
	"bytes"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"unicode"

	"gardien/configs"
	"gardien/gateway"
)

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
