package tokens

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"regexp"
	"strings"
	"time"
	"unicode/utf8"

	"gardien/gateway"
)

// maxDepth counts the outermost object as 1.
const maxDepth = 5

// object is the members of a JSON object that has one meaning only.
type object map[string]json.RawMessage

// parseObject reads exactly one JSON object: valid UTF-8, depth ≤ 5, and no two
// members of one object that are the same name, or the same but for case. A
// member that is a case variant of a known name is refused too.
func parseObject(b []byte, known ...string) (object, error) {
	if !utf8.Valid(b) || !json.Valid(b) {
		return nil, errors.New("not valid JSON")
	}
	dec := json.NewDecoder(bytes.NewReader(b))
	dec.UseNumber()
	if err := walk(dec, 0); err != nil {
		return nil, err
	}
	var o object
	if err := json.Unmarshal(b, &o); err != nil || o == nil {
		return nil, errors.New("not a JSON object")
	}
	for name := range o {
		for _, k := range known {
			if name != k && fold(name) == fold(k) {
				return nil, fmt.Errorf("member %q is a case variant of %q", name, k)
			}
		}
	}
	return o, nil
}

// walk consumes one value.
func walk(dec *json.Decoder, depth int) error {
	tok, err := dec.Token()
	if err != nil {
		return err
	}
	open, ok := tok.(json.Delim)
	if !ok {
		return nil
	}
	if depth++; depth > maxDepth {
		return fmt.Errorf("nested deeper than %d", maxDepth)
	}
	seen := map[string]bool{}
	for dec.More() {
		if open == '{' {
			name, err := dec.Token()
			if err != nil {
				return err
			}
			key := fold(name.(string))
			if seen[key] {
				return fmt.Errorf("member %q stands twice", name)
			}
			seen[key] = true
		}
		if err := walk(dec, depth); err != nil {
			return err
		}
	}
	_, err = dec.Token()
	return err
}

// fold maps case variants to one text, the Kelvin sign and the long s included.
func fold(s string) string { return strings.ToLower(strings.ToUpper(s)) }

var integer = regexp.MustCompile(`^-?(0|[1-9][0-9]{0,15})$`)

// claims reads typed members and keeps the first error.
type claims struct {
	object
	err error
}

func (c *claims) fail(name, want string) {
	if c.err == nil {
		c.err = fmt.Errorf("claim %q: want %s", name, want)
	}
}

// raw gives a member that is there; null counts as mistyped, not as absent.
func (c *claims) raw(name string, required bool) (json.RawMessage, bool) {
	v, ok := c.object[name]
	if !ok && required {
		c.fail(name, "it present")
	}
	return v, ok
}

func (c *claims) text(name string, required bool, valid func(string) bool, want string) string {
	v, ok := c.raw(name, required)
	if !ok {
		return ""
	}
	s, ok := jsonString(v)
	if !ok || !valid(s) {
		c.fail(name, want)
		return ""
	}
	return s
}

func (c *claims) int(name string, required bool, lo, hi int64) int64 {
	v, ok := c.raw(name, required)
	if !ok {
		return 0
	}
	var n int64
	if !integer.Match(v) || json.Unmarshal(v, &n) != nil || n < lo || n > hi {
		c.fail(name, fmt.Sprintf("an integer from %d to %d", lo, hi))
	}
	return n
}

func (c *claims) instant(name string) time.Time {
	return time.Unix(c.int(name, true, gateway.MinTime.Unix(), gateway.MaxTime.Unix()), 0).UTC()
}

func (c *claims) texts(name string, lo, hi int, valid func(string) bool, want string) []string {
	v, _ := c.raw(name, true)
	var list []json.RawMessage
	if c.err != nil || v[0] != '[' || json.Unmarshal(v, &list) != nil || len(list) < lo || len(list) > hi {
		c.fail(name, want)
		return nil
	}
	var out []string
	for _, e := range list {
		s, ok := jsonString(e)
		if !ok || !valid(s) {
			c.fail(name, want)
			return nil
		}
		out = append(out, s)
	}
	return out
}

// jsonString reads a JSON string; a lone surrogate, which Go would replace
// silently, is refused.
func jsonString(v json.RawMessage) (string, bool) {
	var s string
	if len(v) == 0 || v[0] != '"' || json.Unmarshal(v, &s) != nil {
		return "", false
	}
	return s, !strings.ContainsRune(s, utf8.RuneError)
}
