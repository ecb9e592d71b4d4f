package gateway

import (
	"encoding/json"
	"strings"
	"testing"
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

// FuzzCheckJSON: what is taken is JSON, and comes back from another writer as it was.
func FuzzCheckJSON(f *testing.F) {
	for _, s := range []string{`{"a":[1,"\ud83d\ude00"]}`, `"\ud83d"`, `{"a":1,"A":2}`, `[[[[]]]]`, `"\\u0041"`, `{"":0}`} {
		f.Add([]byte(s))
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		if CheckJSON(b, 4) != nil {
			return
		}
		var v any
		if err := json.Unmarshal(b, &v); err != nil {
			t.Fatalf("taken, and not JSON: %v", err)
		}
		if _, text := v.(string); text && strings.ContainsRune(v.(string), '\ufffd') && !strings.Contains(string(b), "\ufffd") && !strings.Contains(strings.ToLower(string(b)), `\ufffd`) {
			t.Fatalf("%q was changed when it was read: %q", b, v)
		}
	})
}
