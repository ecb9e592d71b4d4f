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
	if err := halfPairs(b); err != nil {
		return err
	}
	dec := json.NewDecoder(bytes.NewReader(b))
	dec.UseNumber()
	return walkJSON(dec, depth)
}

// walkJSON consumes one value that may be so deep.
func walkJSON(dec *json.Decoder, depth int) error {
	tok, err := dec.Token()
	if err != nil {
		return err
	}
	open, ok := tok.(json.Delim)
	if !ok {
		return nil
	}
	if depth == 0 {
		return errors.New("nested too deep")
	}
	seen := map[string]bool{}
	for dec.More() {
		if open == '{' {
			name, err := dec.Token()
			if err != nil {
				return err
			}
			key := FoldName(name.(string))
			if seen[key] {
				return fmt.Errorf("member %q stands twice", name)
			}
			seen[key] = true
		}
		if err := walkJSON(dec, depth-1); err != nil {
			return err
		}
	}
	_, err = dec.Token()
	return err
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
