package tokens

import (
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

// parseObject reads exactly one JSON object of one meaning (gateway.CheckJSON) and depth ≤ 5. A
// member that is a case variant of a known name is refused, too.
func parseObject(b []byte, known ...string) (object, error) {
	if err := gateway.CheckJSON(b, maxDepth); err != nil {
		return nil, err
	}
	var o object
	if err := json.Unmarshal(b, &o); err != nil || o == nil {
		return nil, errors.New("not a JSON object")
	}
	for name := range o {
		for _, k := range known {
			if name != k && gateway.FoldName(name) == gateway.FoldName(k) {
				return nil, fmt.Errorf("member %q is a case variant of %q", name, k)
			}
		}
	}
	return o, nil
}

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
