package web

import (
	"bytes"
	"encoding/json"
	"errors"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"gardien/gateway"
)

type inner struct {
	Place string `json:"place"`
}

type body struct {
	Name  string          `json:"name"`
	Count int             `json:"count,omitempty"`
	Maybe *string         `json:"maybe"`
	Other *string         `json:"other,omitempty"`
	In    inner           `json:"in"`
	List  []inner         `json:"list"`
	Raw   json.RawMessage `json:"raw"`
	Date  gateway.Date    `json:"date"`
	gateway.Period
}

func TestDecode(t *testing.T) {
	for _, tt := range []struct {
		text, want string
		others     Members
	}{
		{text: `{}`},
		{text: `{"name":"a","count":1,"maybe":null,"other":"x","in":{"place":"p"},"list":[{"place":"q"}],"raw":{"any":[null]}}`},
		{text: `{"nosuch":{"deep":null}}`, others: OthersPass},
		{text: `{"nosuch":1}`, want: `"nosuch" is not known`},
		{text: `{"list":[{"place":"q"},{"nosuch":1}]}`, want: `"nosuch" is not known`},
		{text: `{"Name":"a"}`, want: `the name is "name"`},
		{text: `{"Name":"a"}`, want: `the name is "name"`, others: OthersPass},
		{text: `{"in":{"PLACE":"a"}}`, want: `the name is "place"`, others: OthersPass},
		{text: `{"name":"a","name":"a"}`, want: "stands twice", others: OthersPass},
		{text: `{"nosuch":{"x":1,"X":1}}`, want: "stands twice", others: OthersPass},
		{text: `{"name":null}`, want: "name is null", others: OthersPass},
		{text: `{"other":null}`, want: "other is null"},
		{text: `{"in":null}`, want: "in is null"},
		{text: `{"list":[null]}`, want: "list[0] is null"},
		{text: `{"list":[{"place":null}]}`, want: "list[0].place is null"},
		{text: `{"raw":null}`},
		{text: `{"date":null}`, want: "date is null"},
		{text: `{"name":"\ud83d"}`, want: "surrogate"},
		{text: `{"name":1}`, want: "name may not be a JSON number"},
		{text: `{"count":1.5}`, want: "count may not be a JSON number"},
		{text: `{"in":[]}`, want: "in is not an object"},
		{text: `{"list":{}}`, want: "list may not be a JSON object"},
		{text: `null`, want: "the body is null"},
		{text: `[]`, want: "the body is not an object"},
		{text: `{} {}`, want: "not valid JSON"},
		{text: ``, want: "not valid JSON"},
		{text: strings.Repeat(`{"nosuch":`, 20) + "1" + strings.Repeat("}", 20), want: "too deep", others: OthersPass},
	} {
		var v body
		err := Decode([]byte(tt.text), &v, tt.others)
		if tt.want == "" {
			if err != nil {
				t.Errorf("%s: %v", tt.text, err)
			}
			continue
		}
		var p *gateway.Problem
		if !errors.As(err, &p) || p.Status != http.StatusBadRequest || !strings.Contains(p.Detail, tt.want) {
			t.Errorf("%s: %v, want 400 with %q", tt.text, err, tt.want)
		}
	}
}

// FuzzDecode: a body that is taken says the same to a reader that minds the case and takes the
// first of two members, as to encoding/json, which does neither.
func FuzzDecode(f *testing.F) {
	for _, s := range []string{`{"name":"a","in":{"place":"b"}}`, `{"name":"a","NAME":"b"}`, `{"list":[{"place":"x"}]}`, `{"name":"\ud83d\ude00"}`, `{"in":{"place":"a","\u017Flace":1}}`} {
		f.Add([]byte(s), true)
		f.Add([]byte(s), false)
	}
	f.Fuzz(func(t *testing.T, b []byte, strict bool) {
		var v body
		if Decode(b, &v, Members(!strict)) != nil {
			return
		}
		var exact map[string]json.RawMessage
		if err := json.Unmarshal(b, &exact); err != nil {
			t.Fatal(err)
		}
		var name string
		if raw, ok := exact["name"]; ok {
			if err := json.Unmarshal(raw, &name); err != nil {
				t.Fatal(err)
			}
		}
		if name != v.Name {
			t.Errorf("%s: the name is %q, and %q by its exact member", b, v.Name, name)
		}
	})
}

func TestReadBody(t *testing.T) {
	for _, tt := range []struct {
		body, contentType string
		status            int
	}{
		{`{"a":1}`, "application/json", 0},
		{`{"a":1}`, "application/json; charset=utf-8", 0},
		{"", "", 0},
		{`{"a":1}`, "", 415},
		{`{"a":1}`, "text/plain", 415},
		{strings.Repeat("x", 65), "application/json", 413},
	} {
		r := httptest.NewRequest("POST", "/", strings.NewReader(tt.body))
		r.Header.Set("Content-Type", tt.contentType)
		b, err := ReadBody(httptest.NewRecorder(), r, 64)
		var p *gateway.Problem
		errors.As(err, &p)
		switch {
		case tt.status == 0 && (err != nil || tt.body != "" && string(b) != tt.body || tt.body == "" && string(b) != "{}"):
			t.Errorf("%q %s: %q, %v", tt.body, tt.contentType, b, err)
		case tt.status != 0 && (p == nil || p.Status != tt.status):
			t.Errorf("%d bytes of %q: %v, want %d", len(tt.body), tt.contentType, err, tt.status)
		}
	}
}

func TestMux(t *testing.T) {
	var m Mux
	ok := http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { Reply(w, 200, r.PathValue("id")) })
	m.Handle("GET", "/v1/things", ok)
	m.Handle("POST", "/v1/things", ok)
	m.Handle("PUT", "/v1/things/{id}", ok)
	for _, tt := range []struct {
		method, path, allow string
		status              int
	}{
		{"GET", "/v1/things", "", 200},
		{"PUT", "/v1/things/7", "", 200},
		{"PUT", "/v1/things/a%2Fb", "", 200},
		{"DELETE", "/v1/things", "GET, POST", 405},
		{"PATCH", "/v1/things/7", "PUT", 405},
		{"GET", "/v1/nothing", "", 404},
		{"GET", "/", "", 404},
		{"GET", "/v1/things/", "", 404},
	} {
		w := httptest.NewRecorder()
		m.ServeHTTP(w, httptest.NewRequest(tt.method, tt.path, nil))
		if w.Code != tt.status || w.Header().Get("Allow") != tt.allow {
			t.Errorf("%s %s: %d, Allow %q", tt.method, tt.path, w.Code, w.Header().Get("Allow"))
		}
		if kind := w.Header().Get("Content-Type"); tt.status >= 400 && kind != "application/problem+json" {
			t.Errorf("%s %s: a refusal of type %q", tt.method, tt.path, kind)
		}
	}
}

func TestWriteProblem(t *testing.T) {
	w := httptest.NewRecorder()
	WriteProblem(w, gateway.Fail(429, "too-many-requests", "slower"), map[string]int{"ver": 7})
	var got map[string]any
	if err := json.Unmarshal(w.Body.Bytes(), &got); err != nil || got["ver"] != 7.0 || got["status"] != 429.0 || got["detail"] != "slower" {
		t.Errorf("%s %v", w.Body, err)
	}
	if w.Header().Get("Retry-After") == "" || w.Header().Get("Cache-Control") != "no-store" || !bytes.HasSuffix(w.Body.Bytes(), []byte("}\n")) {
		t.Errorf("%v", w.Header())
	}
	w = httptest.NewRecorder()
	WriteProblem(w, Unauthorized("who are you"), nil)
	if w.Code != 401 || w.Header().Get("WWW-Authenticate") != "Bearer" {
		t.Errorf("%d %v", w.Code, w.Header())
	}
}

// What a stream writes, the reader reads.
func TestStream(t *testing.T) {
	w := httptest.NewRecorder()
	s := OpenStream(w, Within)
	s.Event("item", 7, map[string]string{"text": "a\nb\r\nc"})
	s.Breathe()
	s.Event("head", 0, []int{1})
	if !s.Waiting() {
		t.Error("nothing waits")
	}
	if err := s.Flush(); err != nil && !errors.Is(err, http.ErrNotSupported) {
		t.Fatal(err)
	}
	if s.Waiting() || w.Header().Get("Content-Type") != EventStream || !strings.Contains(w.Body.String(), "id: 7\n") {
		t.Errorf("%q", w.Body)
	}
	got, err := read(w.Body.String())
	if len(got) != 2 || got[0] != `item={"text":"a\nb\r\nc"}` || got[1] != "head=[1]" || !errors.Is(err, ErrStreamEnded) {
		t.Errorf("%q %v", got, err)
	}
}
