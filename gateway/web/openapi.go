package web

import (
	"encoding"
	"encoding/json"
	"fmt"
	"net/http"
	"reflect"
	"regexp"
	"strings"
	"time"

	"gardien/gateway"
)

// Scheme is a way to authenticate: a bearer token, or a cookie.
type Scheme struct {
	Name   string
	Cookie string // its name; "": a bearer token
}

func (s Scheme) text() map[string]any {
	if s.Cookie != "" {
		return map[string]any{"type": "apiKey", "in": "cookie", "name": s.Cookie}
	}
	return map[string]any{"type": "http", "scheme": "bearer"}
}

// OpenAPI writes the OpenAPI 3.1 text of a table of routes, and of the ways to authenticate, each
// of which is enough. Schemas come from the types that the handlers read and write.
func OpenAPI(title, version, description string, schemes []Scheme, routes []Route) []byte {
	schemas := &schemas{map[string]any{}, map[string]reflect.Type{}}
	paths := map[string]map[string]any{}
	for _, rt := range routes {
		if paths[rt.Path] == nil {
			paths[rt.Path] = map[string]any{}
		}
		paths[rt.Path][strings.ToLower(rt.Method)] = operation(rt, schemes, schemas)
	}
	ways := map[string]any{}
	for _, s := range schemes {
		ways[s.Name] = s.text()
	}
	doc := map[string]any{
		"openapi": "3.1.0",
		"info":    map[string]any{"title": title, "version": version, "description": description},
		"paths":   paths,
		"components": map[string]any{"schemas": schemas.texts,
			"securitySchemes": ways},
	}
	b, err := json.MarshalIndent(doc, "", "  ")
	if err != nil {
		panic(err) // maps, strings and numbers
	}
	return append(b, '\n')
}

var pathParameter = regexp.MustCompile(`\{(\w+)\}`)

func operation(rt Route, schemes []Scheme, schemas *schemas) map[string]any {
	op := map[string]any{"summary": rt.Summary}
	var params []any
	for _, m := range pathParameter.FindAllStringSubmatch(rt.Path, -1) {
		params = append(params, map[string]any{"name": m[1], "in": "path", "required": true, "schema": map[string]any{"type": "string"}})
	}
	for _, q := range rt.Query {
		params = append(params, map[string]any{"name": q, "in": "query", "schema": map[string]any{"type": "string"}})
	}
	if rt.Idempotent {
		params = append(params, map[string]any{"name": "Idempotency-Key", "in": "header", "schema": map[string]any{"type": "string", "maxLength": 64}})
	}
	for _, h := range rt.Headers {
		params = append(params, map[string]any{"name": h, "in": "header", "schema": map[string]any{"type": "string"}})
	}
	if params != nil {
		op["parameters"] = params
	}
	if rt.Request != nil {
		op["requestBody"] = map[string]any{"content": content("application/json", schemaOf(reflect.TypeOf(rt.Request), schemas))}
	}
	responses := map[string]any{}
	for code, v := range rt.Responses {
		r := map[string]any{"description": http.StatusText(code)}
		if c := contents(code, v, schemas); c != nil {
			r["content"] = c
		}
		responses[fmt.Sprint(code)] = r
	}
	responses["default"] = map[string]any{"description": "Problem",
		"content": content("application/problem+json", schemaOf(reflect.TypeFor[gateway.Problem](), schemas))}
	op["responses"] = responses
	if !rt.Open {
		var security []any
		for _, s := range schemes {
			security = append(security, map[string]any{s.Name: append([]string{}, rt.Roles...)})
		}
		op["security"] = security
	}
	if rt.Note != "" {
		op["description"] = rt.Note
	}
	return op
}

// contents describes an answer's bodies by media type.
func contents(code int, v any, schemas *schemas) map[string]any {
	kinds, several := v.(Kinds)
	switch {
	case v == nil:
		return nil
	case several:
	case code >= 400 && reflect.TypeOf(v).Kind() == reflect.Struct && isProblem(reflect.TypeOf(v)):
		kinds = Kinds{"application/problem+json": v}
	default:
		kinds = Kinds{"application/json": v}
	}
	out := map[string]any{}
	for kind, v := range kinds {
		if out[kind] = map[string]any{}; v != nil {
			out[kind] = map[string]any{"schema": schemaOf(reflect.TypeOf(v), schemas)}
		}
	}
	return out
}

// isProblem reports a problem, or a struct with one embedded beside members of its own.
func isProblem(t reflect.Type) bool {
	if t == reflect.TypeFor[gateway.Problem]() {
		return true
	}
	f, ok := t.FieldByName("Problem")
	return ok && f.Anonymous && f.Type == reflect.TypeFor[gateway.Problem]()
}

func content(kind string, schema any) map[string]any {
	return map[string]any{kind: map[string]any{"schema": schema}}
}

// texts are types of one JSON string.
var texts = map[reflect.Type]map[string]any{
	reflect.TypeFor[gateway.Weekday](): {"type": "string", "enum": []string{"mon", "tue", "wed", "thu", "fri", "sat", "sun"}},
	reflect.TypeFor[gateway.Clock]():   {"type": "string", "pattern": "^[0-2][0-9]:[0-5][0-9]$"},
	reflect.TypeFor[gateway.Date]():    {"type": "string", "format": "date"},
	reflect.TypeFor[time.Time]():       {"type": "string", "format": "date-time"},
}

func schemaOf(t reflect.Type, schemas *schemas) map[string]any {
	if s, ok := texts[t]; ok {
		return s
	}
	if t.Kind() != reflect.Pointer && t.Implements(reflect.TypeFor[encoding.TextMarshaler]()) {
		return map[string]any{"type": "string"}
	}
	switch t.Kind() {
	case reflect.Pointer:
		inner := schemaOf(t.Elem(), schemas)
		if kind, ok := inner["type"].(string); ok {
			nullable := map[string]any{}
			for k, v := range inner {
				nullable[k] = v
			}
			nullable["type"] = []string{kind, "null"}
			return nullable
		}
		return map[string]any{"oneOf": []any{inner, map[string]any{"type": "null"}}}
	case reflect.Map:
		return map[string]any{"type": "object"}
	case reflect.Slice:
		if t == reflect.TypeFor[json.RawMessage]() {
			return map[string]any{}
		}
		return map[string]any{"type": "array", "items": schemaOf(t.Elem(), schemas)}
	case reflect.Struct:
		return objectSchema(t, schemas)
	case reflect.String:
		return map[string]any{"type": "string"}
	case reflect.Bool:
		return map[string]any{"type": "boolean"}
	case reflect.Int, reflect.Int64:
		return map[string]any{"type": "integer"}
	}
	panic(fmt.Sprintf("web: no schema for %s", t)) // a route was added: add its kind here
}

// schemas is the named ones, and the type that each speaks of.
type schemas struct {
	texts map[string]any
	types map[string]reflect.Type
}

// objectSchema names a struct's schema once and refers to it.
func objectSchema(t reflect.Type, schemas *schemas) map[string]any {
	name := strings.ToUpper(t.Name()[:1]) + t.Name()[1:]
	ref := map[string]any{"$ref": "#/components/schemas/" + name}
	if of, done := schemas.types[name]; done && of != t {
		panic(fmt.Sprintf("web: %s and %s would be one schema", of, t)) // rename one of them
	} else if done {
		return ref
	}
	schema := map[string]any{"type": "object"}
	schemas.texts[name], schemas.types[name] = schema, t
	props := map[string]any{}
	required := []string{}
	for _, m := range members(t) {
		kind := m.field.Type
		if kind.Kind() == reflect.Pointer && m.optional {
			kind = kind.Elem() // it is left out, and never null
		}
		props[m.name] = schemaOf(kind, schemas)
		if !m.optional {
			required = append(required, m.name)
		}
	}
	schema["properties"], schema["required"] = props, required
	return ref
}
