package gateway

import (
	"bytes"
	"encoding/json"
	"strings"
	"testing"
	"time"
	"unicode/utf8"
)

func TestCheckJSON(t *testing.T) {
	for _, tt := range []struct{ text, want string }{
		{`{"a":[1,"é","😀"],"c":null}`, ""},
		{`"\ud83d\ude00 \\ud83d \" \n"`, ""},
		{`{"a":{"b":{"c":1}}}`, "nested too deep"},
		{`{"a":[[1]]}`, "nested too deep"},
		{`{"a":1,"a":1}`, "stands twice"},
		{`{"a":1,"A":1}`, "stands twice"},
		{`{"x":{"key":1,"\u212aey":1}}`, "stands twice"}, // the Kelvin sign
		{`{"a":"\ud83d"}`, "half of a surrogate pair"},
		{`{"a":"\ude00\ud83d"}`, "half of a surrogate pair"},
		{`{"a":"\ud83d\n\ude00"}`, "half of a surrogate pair"},
		{`{"\ud83dx":1}`, "half of a surrogate pair"},
		{`["\ud83d\ud83d\ude00"]`, "half of a surrogate pair"},
		{`{"a":1} {}`, "not valid JSON"},
		{`{"a":01}`, "not valid JSON"},
		{"{\"a\":\"\xff\"}", "not valid JSON"},
		{``, "not valid JSON"},
	} {
		got := ""
		if err := CheckJSON([]byte(tt.text), 2); err != nil {
			got = err.Error()
		}
		if (got == "") != (tt.want == "") || !strings.Contains(got, tt.want) {
			t.Errorf("%s: %q, want %q", tt.text, got, tt.want)
		}
	}
}

// FuzzCheckJSON: the verdict is that of a naive reading with encoding/json's tokens, and what is
// taken comes back as it was written.
func FuzzCheckJSON(f *testing.F) {
	for _, s := range []string{`{"a":[1,"\ud83d\ude00"]}`, `"\ud83d"`, `{"a":1,"A":2}`, `[[[[]]]]`, `"\\u0041"`, `{"":0}`, `[{"a":1},{"a":1}] `, `{"\u0061":1,"a":1}`, `-1.5e3`} {
		f.Add([]byte(s))
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		const depth = 4
		err := CheckJSON(b, depth)
		if want := naiveJSON(b, depth); (err == nil) != want {
			t.Fatalf("%q: %v, and naively it is %v", b, err, want)
		}
	})
}

func naiveJSON(b []byte, depth int) bool {
	var v any
	if !utf8.Valid(b) || json.Unmarshal(b, &v) != nil {
		return false
	}
	dec := json.NewDecoder(bytes.NewReader(b))
	dec.UseNumber()
	type level struct {
		object, value bool
		seen          map[string]bool
	}
	var open []level
	for {
		tok, err := dec.Token()
		if err != nil {
			break
		}
		top := len(open) - 1
		if text, ok := tok.(string); ok {
			// A half becomes U+FFFD; the character itself is none.
			if strings.Count(text, "\ufffd") > strings.Count(string(b), "\ufffd")+strings.Count(strings.ToLower(string(b)), `\ufffd`) {
				return false
			}
			if top >= 0 && open[top].object && !open[top].value {
				if key := FoldName(text); open[top].seen[key] {
					return false
				} else {
					open[top].seen[key], open[top].value = true, true
				}
				continue
			}
		}
		if d, ok := tok.(json.Delim); ok && (d == '{' || d == '[') {
			if len(open) == depth {
				return false
			}
			if top >= 0 {
				open[top].value = false
			}
			open = append(open, level{object: d == '{', seen: map[string]bool{}})
			continue
		} else if ok {
			open = open[:top]
			continue
		}
		if top >= 0 {
			open[top].value = false
		}
	}
	return true
}

// BenchmarkCheckJSON: a body of 240 kB of small objects, which a stranger may send, against
// encoding/json reading the same ≤ 1.5.
func BenchmarkCheckJSON(b *testing.B) {
	body := []byte("[" + strings.Repeat(`{"a":1},`, 30_000) + `{}]`)
	var ours, bare time.Duration
	for b.Loop() {
		begun := time.Now()
		if err := CheckJSON(body, 4); err != nil {
			b.Fatal(err)
		}
		ours += time.Since(begun)
		begun = time.Now()
		var v any
		if err := json.Unmarshal(body, &v); err != nil {
			b.Fatal(err)
		}
		bare += time.Since(begun)
	}
	b.ReportMetric(float64(ours)/float64(bare), "ratio(≤1.5)")
}
