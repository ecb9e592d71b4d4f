package service

import (
	"os"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"gardien/gateway"
)

// The OpenAPI text and the handlers agree: each of its operations is served, each route
// is in it, and each answer of the contract test's kind has the members that it names.
func TestOpenAPI(t *testing.T) {
	b := start(t, Options{})
	b.enrol()
	status, doc := b.call("GET", "/v1/openapi.json", "", nil)
	if status != 200 || doc["openapi"] != "3.1.0" {
		t.Fatal(status, doc)
	}
	source, err := os.ReadFile("../../../gateway/cloud/routes.go")
	if err != nil {
		t.Fatal(err)
	}
	var inCode []string
	for _, m := range regexp.MustCompile(`Method: "(\w+)", Path: "([^"]+)"`).FindAllStringSubmatch(string(source), -1) {
		inCode = append(inCode, m[1]+" "+m[2])
	}
	var inText []string
	schemas := doc["components"].(map[string]any)["schemas"].(map[string]any)
	for path, ops := range doc["paths"].(map[string]any) {
		for method := range ops.(map[string]any) {
			inText = append(inText, strings.ToUpper(method)+" "+path)
			url := strings.NewReplacer("{gw}", string(b.gateway.ID), "{id}", gateway.ItemID(iss, "a"), "{iss}", string(iss)).Replace(path)
			// Without authentication: 401 where it is needed, never 404 or 405.
			if s, _, body := b.raw(strings.ToUpper(method), url, "", "application/json", map[string]any{}); s == 404 || s == 405 {
				t.Errorf("%s %s: %d %s", method, path, s, body)
			}
		}
	}
	slices.Sort(inCode)
	slices.Sort(inText)
	if d := cmp.Diff(inCode, inText); d != "" {
		t.Error(d)
	}
	// Contract §4's calls are all there.
	for _, call := range []string{"POST /v1/gateways", "POST /v1/issuers", "GET /v1/gateways/{gw}/feed", "GET /v1/gateways/{gw}/snapshot", "POST /v1/gateways/{gw}/events",
		"GET /v1/gateways/{gw}", "PUT /v1/gateways/{gw}/items/{id}", "GET /v1/issuers/{iss}/feed", "PUT /v1/gateways/{gw}"} {
		if !slices.Contains(inText, call) {
			t.Errorf("%s is not in the text", call)
		}
	}
	holds := func(schema string, answer map[string]any) {
		t.Helper()
		s, ok := schemas[schema].(map[string]any)
		if !ok {
			t.Fatalf("no schema %s in %v", schema, schemas)
		}
		for _, name := range s["required"].([]any) {
			if _, ok := answer[name.(string)]; !ok {
				t.Errorf("%s: the answer %v has no %s", schema, answer, name)
			}
		}
		for name := range answer {
			if _, ok := s["properties"].(map[string]any)[name]; !ok {
				t.Errorf("%s: %s is in the answer and not in the text", schema, name)
			}
		}
	}
	_, m := b.call("PUT", b.path(itemPath("a")), b.asIssuer(), write(1, "x"))
	holds("Written", m)
	_, m = b.call("GET", b.path("/snapshot"), b.asGateway(), nil)
	holds("FeedSnapshot", m)
	_, m = b.call("GET", b.path("/feed?epoch="+m["epoch"].(string)+"&after=0"), b.asGateway(), nil)
	holds("FeedPage", m)
	_, m = b.call("POST", b.path("/events"), b.asGateway(), gateway.Upload{Log: "l", Letters: []gateway.Letter{}})
	holds("Acknowledged", m)
	_, m = b.call("GET", "/v1/issuers/"+string(iss)+"/gateways", b.asIssuer(), nil)
	holds("Fleet", m)
	_, m = b.call("GET", b.path(""), b.asIssuer(), nil)
	holds("GatewayDescriptor", m)
}
