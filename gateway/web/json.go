package web

import (
	"bytes"
	"encoding"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"maps"
	"mime"
	"net/http"
	"reflect"
	"slices"
	"strings"

	"gardien/gateway"
)

// maxDepth is how deep a body may be nested.
const maxDepth = 16

// Members says what is made of an object's members that nobody asked for.
type Members bool

const (
	KnownOnly  Members = false // they are refused
	OthersPass Members = true  // they are passed by: somebody's future
)

// ReadBody reads a JSON body of at most limit bytes; no body is "{}". Its refusals are problems
// (400, 413, 415).
func ReadBody(w http.ResponseWriter, r *http.Request, limit int64) ([]byte, error) {
	b, err := io.ReadAll(http.MaxBytesReader(w, r.Body, limit))
	var large *http.MaxBytesError
	if errors.As(err, &large) {
		return nil, gateway.Fail(http.StatusRequestEntityTooLarge, "too-large", "the body is larger than %d bytes", limit)
	}
	if err != nil {
		return nil, BadRequest("the body did not arrive whole")
	}
	if len(b) == 0 {
		return []byte("{}"), nil
	}
	if t, _, err := mime.ParseMediaType(r.Header.Get("Content-Type")); err != nil || t != "application/json" {
		return nil, gateway.Fail(http.StatusUnsupportedMediaType, "unsupported-media-type", "want Content-Type: application/json")
	}
	return b, nil
}

// Decode reads a body into v, a pointer to a struct. What has no one meaning (gateway.CheckJSON),
// members that differ from a known one in case only, and null where a value is due are refused
// with 400. A member may be null where its Go type is a pointer without omitempty.
func Decode(body []byte, v any, others Members) error {
	err := gateway.CheckJSON(body, maxDepth)
	if err == nil {
		err = fits(reflect.TypeOf(v).Elem(), body, others, "")
	}
	if err == nil {
		err = json.Unmarshal(body, v)
	}
	var mistyped *json.UnmarshalTypeError
	if errors.As(err, &mistyped) {
		err = fmt.Errorf("%s may not be a JSON %s", name(mistyped.Field), mistyped.Value)
	}
	if err != nil {
		return BadRequest("the body is not as /v1/openapi.json says: %v", err)
	}
	return nil
}

// fits holds a value against the type that it is for. Types of one text or number, and those that
// read themselves, see to what is in them.
func fits(t reflect.Type, raw json.RawMessage, others Members, at string) error {
	raw = bytes.TrimSpace(raw)
	if t == reflect.TypeFor[json.RawMessage]() {
		return nil // its reader sees to it
	}
	if string(raw) == "null" {
		return fmt.Errorf("%s is null", name(at))
	}
	if t.Kind() == reflect.Pointer {
		return fits(t.Elem(), raw, others, at)
	}
	if p := reflect.PointerTo(t); p.Implements(reflect.TypeFor[json.Unmarshaler]()) || p.Implements(reflect.TypeFor[encoding.TextUnmarshaler]()) {
		return nil
	}
	switch {
	case t.Kind() == reflect.Struct && raw[0] != '{':
		return fmt.Errorf("%s is not an object", name(at))
	case t.Kind() == reflect.Struct:
		return objectFits(t, raw, others, at)
	case t.Kind() == reflect.Slice && raw[0] == '[':
		var list []json.RawMessage
		if err := json.Unmarshal(raw, &list); err != nil {
			return err
		}
		for i, e := range list {
			if err := fits(t.Elem(), e, others, fmt.Sprintf("%s[%d]", at, i)); err != nil {
				return err
			}
		}
	}
	return nil
}

func objectFits(t reflect.Type, raw json.RawMessage, others Members, at string) error {
	var object map[string]json.RawMessage
	if err := json.Unmarshal(raw, &object); err != nil {
		return err
	}
	known := map[string]member{}
	folded := map[string]string{}
	for _, m := range members(t) {
		known[m.name], folded[gateway.FoldName(m.name)] = m, m.name
	}
	for _, member := range slices.Sorted(maps.Keys(object)) {
		m, ok := known[member]
		if meant := folded[gateway.FoldName(member)]; !ok && meant != "" {
			return fmt.Errorf("member %q: the name is %q", member, meant)
		}
		if !ok && others == KnownOnly {
			return fmt.Errorf("member %q is not known", member)
		}
		if !ok || m.nullable() && string(object[member]) == "null" {
			continue
		}
		if err := fits(m.field.Type, object[member], others, strings.TrimPrefix(at+"."+member, ".")); err != nil {
			return err
		}
	}
	return nil
}

// member is a struct's field as JSON has it.
type member struct {
	name     string
	field    reflect.StructField
	optional bool
}

func (m member) nullable() bool { return m.field.Type.Kind() == reflect.Pointer && !m.optional }

// members lists them; those of an embedded struct stand beside the others.
func members(t reflect.Type) (list []member) {
	for _, f := range reflect.VisibleFields(t) {
		name, opts, _ := strings.Cut(f.Tag.Get("json"), ",")
		if f.Anonymous && name == "" || !f.IsExported() || name == "-" {
			continue
		}
		if name == "" {
			name = f.Name
		}
		list = append(list, member{name, f, opts != ""})
	}
	return list
}

func name(at string) string {
	if at == "" {
		return "the body"
	}
	return at
}
