package gateway

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"strconv"
	"strings"
	"unicode/utf8"
)

// CheckJSON reports why a text is not JSON of one meaning. That is: valid UTF-8, exactly one
// value, nested at most depth deep (the outermost object or array is 1), no two members of an
// object that are equal or differ only in case, and no half of a surrogate pair. Programs read
// all of those each in their own way (RFC 8259 §4 and §8.2).
func CheckJSON(b []byte, depth int) error {
	if !utf8.Valid(b) {
		return errors.New("not valid JSON: not UTF-8")
	}
	var raw json.RawMessage
	if err := json.Unmarshal(b, &raw); err != nil {
		return fmt.Errorf("not valid JSON: %w", err)
	}
	c := jsonChecker{rest: b}
	return c.value(depth)
}

// jsonChecker walks through valid JSON, each byte once.
type jsonChecker struct{ rest []byte }

func (c *jsonChecker) space() { c.rest = bytes.TrimLeft(c.rest, " \t\r\n") }

// value passes by one value that may be so deep.
func (c *jsonChecker) value(depth int) error {
	c.space()
	switch c.rest[0] {
	case '"':
		_, err := c.text()
		return err
	case '{', '[':
		if depth == 0 {
			return errors.New("nested too deep")
		}
		return c.members(c.rest[0] == '{', depth-1)
	}
	i := bytes.IndexAny(c.rest, ",]} \t\r\n") // a number or a word
	if i < 0 {
		i = len(c.rest)
	}
	c.rest = c.rest[i:]
	return nil
}

// members passes by an object or array.
func (c *jsonChecker) members(named bool, depth int) error {
	c.rest = c.rest[1:]
	var seen map[string]bool
	for {
		c.space()
		switch c.rest[0] {
		case '}', ']':
			c.rest = c.rest[1:]
			return nil
		case ',':
			c.rest = c.rest[1:]
			c.space()
		}
		if named {
			name, err := c.text()
			if err != nil {
				return err
			}
			if seen == nil {
				seen = map[string]bool{}
			}
			key := FoldName(name)
			if seen[key] {
				return fmt.Errorf("member %q stands twice", name)
			}
			seen[key] = true
			c.space()
			c.rest = c.rest[1:] // the colon
		}
		if err := c.value(depth); err != nil {
			return err
		}
	}
}

// text passes by a string and gives it.
func (c *jsonChecker) text() (string, error) {
	end, escaped := 1, false
	for c.rest[end] != '"' {
		if c.rest[end] == '\\' {
			escaped = true
			end++
		}
		end++
	}
	raw := c.rest[:end+1]
	c.rest = c.rest[end+1:]
	if !escaped {
		return string(raw[1 : len(raw)-1]), nil
	}
	if err := halfPairs(raw); err != nil {
		return "", err
	}
	var s string
	err := json.Unmarshal(raw, &s)
	return s, err
}

// FoldName maps the case variants of a member's name to one text, the Kelvin sign and the long s
// included.
func FoldName(s string) string { return strings.ToLower(strings.ToUpper(s)) }

// halfPairs finds the escape of a surrogate without the other half beside it, in valid JSON.
func halfPairs(b []byte) error {
	for {
		i := bytes.IndexByte(b, '\\')
		if i < 0 {
			return nil
		}
		unit, rest := escape(b[i:])
		b = rest
		if unit < 0xd800 || unit > 0xdfff {
			continue
		}
		low, rest := rune(0), b
		if len(b) > 0 && b[0] == '\\' {
			low, rest = escape(b)
		}
		if unit >= 0xdc00 || low < 0xdc00 || low > 0xdfff {
			return fmt.Errorf("\\u%04x is half of a surrogate pair", unit)
		}
		b = rest
	}
}

// escape reads the escape at the beginning of b: the UTF-16 unit that \u names, or 0.
func escape(b []byte) (unit rune, rest []byte) {
	if b[1] != 'u' {
		return 0, b[2:]
	}
	n, _ := strconv.ParseUint(string(b[2:6]), 16, 32) // valid JSON has four digits here
	return rune(n), b[6:]
}
