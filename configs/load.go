package configs

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"reflect"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"unicode"
	"unicode/utf8"

	"github.com/go-viper/mapstructure/v2"
	"github.com/spf13/viper"
	"go.yaml.in/yaml/v3"
)

// maxFile bounds a configuration, in bytes.
const maxFile = 1 << 20

// Problem is one thing wrong with a file.
type Problem struct {
	File                 string
	Line                 int
	Key, Problem, Remedy string
}

func (p Problem) Error() string {
	return fmt.Sprintf("%s:%d: %s: %s: %s", p.File, p.Line, p.Key, p.Problem, p.Remedy)
}

// Problems is everything wrong with a file, by line.
type Problems []Problem

func (p Problems) Error() string {
	var lines []string
	for _, e := range p {
		lines = append(lines, e.Error())
	}
	return strings.Join(lines, "\n")
}

// Opts of Load.
type Opts struct {
	// CheckKeys says what is wrong with an issuer's key file.
	CheckKeys func([]byte) error
	// SetAside takes a file all the same where the keys of an issuer cannot be read: they are
	// one third party's, and no reason to shut a house.
	SetAside bool
}

// Load reads, completes and checks a file. Relative paths in it start at its folder.
// What is wrong with its content is Problems.
func Load(file string, o Opts) (*Config, error) {
	b, err := readFile(file)
	if err != nil {
		return nil, err
	}
	l := &loader{file: file, lines: map[string]int{}}
	root := l.parse(b)
	if len(l.problems) > 0 {
		return nil, l.problems
	}
	l.object(root, reflect.TypeFor[Config](), "")
	// What cannot be read is left out by now, so that the rest is checked in the same run.
	cfg, err := l.decode(root)
	if err != nil {
		return nil, err
	}
	l.check(cfg, o)
	if len(l.problems) == 0 {
		return cfg, nil
	}
	slices.SortStableFunc(l.problems, func(a, b Problem) int { return a.Line - b.Line })
	return nil, l.problems
}

func readFile(file string) ([]byte, error) {
	f, err := os.Open(file)
	if err != nil {
		return nil, fmt.Errorf("configuration: %w: name another with --config", err)
	}
	defer f.Close()
	b, err := io.ReadAll(io.LimitReader(f, maxFile+1))
	if err == nil && len(b) > maxFile {
		err = fmt.Errorf("%s: larger than %d bytes", file, maxFile)
	}
	if err != nil {
		return nil, fmt.Errorf("configuration: %w", err)
	}
	return b, nil
}

type loader struct {
	file     string
	lines    map[string]int
	problems Problems
}

func (l *loader) report(line int, key, problem, remedy string) {
	l.problems = append(l.problems, Problem{l.file, max(line, 1), key, problem, remedy})
}

var (
	yamlLine = regexp.MustCompile(`^yaml: (?:line (\d+): )?(.*)$`)
	// yamlLate is what the YAML reader reports for one line too early.
	yamlLate = regexp.MustCompile(`^did not find expected (key|node content|'-' indicator|',' or|<)`)
)

// parse gives the one document's mapping.
func (l *loader) parse(b []byte) *yaml.Node {
	if l.plainText(b); len(l.problems) > 0 {
		return nil
	}
	var doc, second yaml.Node
	dec := yaml.NewDecoder(bytes.NewReader(b))
	err := dec.Decode(&doc)
	if errors.Is(err, io.EOF) {
		l.report(1, "(file)", "it is empty", "start from configs/minimal.yaml")
		return nil
	}
	if err == nil {
		if e := dec.Decode(&second); e == nil {
			l.report(second.Line, "(file)", "a second document begins", "keep one document; remove the line of three dashes")
			return nil
		} else if !errors.Is(e, io.EOF) {
			err = e
		}
	}
	if err != nil {
		line, text := 1, err.Error()
		if m := yamlLine.FindStringSubmatch(text); m != nil {
			line, _ = strconv.Atoi(m[1])
			text = m[2]
		}
		if yamlLate.MatchString(text) {
			line = min(line+1, bytes.Count(bytes.TrimRight(b, "\n"), []byte("\n"))+1)
			text += ", in what begins here"
		}
		if _, name, ok := strings.Cut(text, "unknown anchor '"); ok {
			name, _, _ = strings.Cut(name, "'")
			before, _, _ := bytes.Cut(b, []byte("*"+name))
			l.report(1+bytes.Count(before, []byte("\n")), "(file)", "anchors and aliases are not read", "put a text that begins with * in quotes")
			return nil
		}
		l.report(line, "(file)", "not YAML: "+text, "look for a tab, a missing space after a colon, or a quote that is not closed")
		return nil
	}
	if len(doc.Content) != 1 || doc.Content[0].Kind != yaml.MappingNode {
		l.report(doc.Line, "(file)", "not a mapping of keys", "start from configs/minimal.yaml")
		return nil
	}
	return doc.Content[0]
}

// plainText finds what the YAML reader reports without its line, or for another one.
func (l *loader) plainText(b []byte) {
	for i, line := range strings.Split(string(b), "\n") {
		text := strings.TrimLeft(line, " \t")
		switch indent := line[:len(line)-len(text)]; {
		case !utf8.ValidString(line):
			l.report(i+1, "(file)", "it is not UTF-8", "save it in the encoding UTF-8")
			return
		case strings.ContainsFunc(line, func(r rune) bool { return unicode.IsControl(r) && r != '\t' && r != '\r' }):
			l.report(i+1, "(file)", "it has control characters", "remove them; save it as plain text")
			return
		case strings.Contains(indent, "\t") && text != "" && text[0] != '#' && text != "\r":
			l.report(i+1, "(file)", "a tab stands before the text", "indent with spaces")
			return
		}
	}
}

// field is one key that a mapping may have.
type field struct {
	reflect.StructField
	key string
}

func fields(t reflect.Type) (list []field) {
	for i := range t.NumField() {
		if key := t.Field(i).Tag.Get("key"); key != "" && key != "-" {
			list = append(list, field{t.Field(i), key})
		}
	}
	return list
}

func join(path, key string) string {
	if path == "" {
		return key
	}
	return path + "." + key
}

// object holds a mapping against a struct, leaves out what cannot be read, and adds
// what is missing.
func (l *loader) object(n *yaml.Node, t reflect.Type, path string) {
	known := fields(t)
	seen := map[string]int{}
	var good []*yaml.Node
	for i := 0; i+1 < len(n.Content); i += 2 {
		k, v := n.Content[i], n.Content[i+1]
		at := join(path, k.Value)
		plain := k.Kind == yaml.ScalarNode && k.Anchor == "" && k.Style&yaml.TaggedStyle == 0
		if !plain || k.Value == "" || strings.ContainsFunc(k.Value, unicode.IsControl) {
			l.report(k.Line, join(path, "?"), "not a plain key", "write it as one word and a colon")
			continue
		}
		j := slices.IndexFunc(known, func(f field) bool { return f.key == k.Value })
		switch line, twice := seen[k.Value]; {
		case j < 0:
			l.report(k.Line, at, "unknown key", suggest(k.Value, known))
			continue
		case twice:
			l.report(k.Line, at, fmt.Sprintf("it stands twice, first in line %d", line), "keep one")
			continue
		}
		seen[k.Value] = k.Line
		l.lines[at] = k.Line
		if l.value(v, known[j].Type, known[j].Tag, at) {
			good = append(good, k, v)
		}
	}
	n.Content = good
	for _, f := range known {
		if seen[f.key] == 0 {
			l.missing(n, f, join(path, f.key))
		}
	}
}

// missing adds a default, or reports that there is none.
func (l *loader) missing(n *yaml.Node, f field, at string) {
	l.lines[at] = n.Line
	if f.Tag.Get("required") != "" {
		l.report(n.Line, at, "missing", "add it; configs/reference.yaml shows how")
		return
	}
	add := func(v *yaml.Node) {
		n.Content = append(n.Content, &yaml.Node{Kind: yaml.ScalarNode, Tag: "!!str", Value: f.key, Line: n.Line}, v)
	}
	if f.Type.Kind() == reflect.Struct {
		v := &yaml.Node{Kind: yaml.MappingNode, Tag: "!!map", Line: n.Line}
		l.object(v, f.Type, at)
		add(v)
		return
	}
	if d, ok := f.Tag.Lookup("default"); ok {
		tag := map[reflect.Kind]string{reflect.Bool: "!!bool", reflect.Int: "!!int"}[f.Type.Kind()]
		if tag == "" {
			tag = "!!str"
		}
		add(&yaml.Node{Kind: yaml.ScalarNode, Tag: tag, Value: d, Line: n.Line})
	}
}

// suggest names the nearest key, or all.
func suggest(got string, known []field) string {
	best, distance := "", 3
	var all []string
	for _, f := range known {
		all = append(all, f.key)
		if d := edits(strings.ToLower(got), f.key); d < distance && d <= len(f.key)/2 {
			best, distance = f.key, d
		}
	}
	if best != "" {
		return didYouMean(best)
	}
	return "remove it; the keys here are " + strings.Join(all, ", ")
}

func didYouMean(key string) string { return fmt.Sprintf("did you mean %q?", key) }

// edits is the Levenshtein distance.
func edits(a, b string) int {
	row := make([]int, len(b)+1)
	for j := range row {
		row[j] = j
	}
	for i := range len(a) {
		diagonal := row[0]
		row[0] = i + 1
		for j := range len(b) {
			cost := diagonal
			if a[i] != b[j] {
				cost++
			}
			diagonal = row[j+1]
			row[j+1] = min(cost, row[j]+1, row[j+1]+1)
		}
	}
	return row[len(b)]
}

// value holds a node against a field's type; false says that it is of no use.
func (l *loader) value(n *yaml.Node, t reflect.Type, tag reflect.StructTag, at string) bool {
	before := len(l.problems)
	if n.Kind == yaml.AliasNode || n.Anchor != "" {
		l.report(n.Line, at, "anchors and aliases are not read", "write the value out")
		return false
	}
	if n.Style&yaml.TaggedStyle != 0 {
		l.report(n.Line, at, "tags are not read", fmt.Sprintf("remove %s, or put a text that begins with ! in quotes", n.Tag))
		return false
	}
	if t.Kind() == reflect.Pointer {
		t = t.Elem()
	}
	switch {
	case t.Kind() == reflect.Struct:
		if n.Kind != yaml.MappingNode {
			l.report(n.Line, at, "want keys below it, got "+kind(n), "indent its keys under it, or write {key: value}")
			return false
		}
		l.object(n, t, at)
		return true
	case t.Kind() == reflect.Slice:
		return l.list(n, t, tag, at)
	case n.Kind != yaml.ScalarNode:
		l.report(n.Line, at, "want one value, got "+kind(n), "write the value on the same line")
	default:
		l.scalar(n, t, tag, at)
	}
	return len(l.problems) == before
}

// list holds a list; a mapping in it that is of no use becomes an empty one, so that
// the others keep their places.
func (l *loader) list(n *yaml.Node, t reflect.Type, tag reflect.StructTag, at string) bool {
	if n.Kind != yaml.SequenceNode {
		l.report(n.Line, at, "want a list, got "+kind(n), "write it as [a, b] or as lines that begin with a dash")
		return false
	}
	if len(n.Content) == 0 && tag.Get("required") != "" {
		l.report(n.Line, at, "the list is empty", "name at least one")
	}
	usable := true
	for i, e := range n.Content {
		p := fmt.Sprintf("%s[%d]", at, i)
		l.lines[p] = e.Line
		if l.value(e, t.Elem(), "", p) {
			continue
		}
		if t.Elem().Kind() == reflect.Struct {
			n.Content[i] = &yaml.Node{Kind: yaml.MappingNode, Tag: "!!map", Line: e.Line}
		} else {
			usable = false
		}
	}
	return usable
}

func kind(n *yaml.Node) string {
	switch n.Kind {
	case yaml.MappingNode:
		return "keys"
	case yaml.SequenceNode:
		return "a list"
	}
	switch n.Tag {
	case "!!null":
		return "nothing"
	case "!!int", "!!float":
		return "the number " + n.Value
	case "!!timestamp":
		return "the date " + n.Value
	case "!!bool":
		return n.Value
	}
	return "the text " + strconv.Quote(n.Value)
}

func (l *loader) decode(root *yaml.Node) (*Config, error) {
	b, err := yaml.Marshal(root)
	if err != nil {
		return nil, fmt.Errorf("configuration: %w", err)
	}
	v := viper.New() // no environment: nothing may move a pin from outside the file
	v.SetConfigType("yaml")
	if err := v.ReadConfig(bytes.NewReader(b)); err != nil {
		return nil, fmt.Errorf("configuration: %w", err)
	}
	cfg := &Config{file: l.file, lines: l.lines}
	err = v.UnmarshalExact(cfg, func(d *mapstructure.DecoderConfig) {
		d.TagName = "key"
		d.DecodeHook = mapstructure.TextUnmarshallerHookFunc()
		d.WeaklyTypedInput = false
	})
	if err != nil {
		return nil, fmt.Errorf("configuration: %w", err)
	}
	return cfg, nil
}

// path makes a path of the file absolute: relative ones start at its folder.
func (l *loader) path(p string) string {
	if p == "" || filepath.IsAbs(p) {
		return p
	}
	return filepath.Join(filepath.Dir(l.file), p)
}
