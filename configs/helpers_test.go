package configs_test

import (
	"bytes"
	"errors"
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp/cmpopts"
	"go.yaml.in/yaml/v3"

	"gardien/configs"
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
