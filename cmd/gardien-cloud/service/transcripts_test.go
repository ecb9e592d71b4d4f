package service

import (
	"bufio"
	"context"
	"net/http"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"gardien/gateway"
	"gardien/gateway/cloud"
)

// transcript reads a stream's lines until one that ends it, times and ids of a run made equal.
func (b *bench) transcript(path, token string, last *regexp.Regexp, during func()) (lines []string) {
	b.t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), 20*time.Second)
	defer cancel()
	req, err := http.NewRequestWithContext(ctx, "GET", b.url+path, nil)
	if err != nil {
		b.t.Fatal(err)
	}
	req.Header.Set("Authorization", "Bearer "+token)
	res, err := http.DefaultClient.Do(req)
	if err != nil {
		b.t.Fatal(err)
	}
	defer res.Body.Close()
	if res.StatusCode != 200 || res.Header.Get("Content-Type") != "text/event-stream" {
		b.t.Fatalf("%s: %d %v", path, res.StatusCode, res.Header)
	}
	in := bufio.NewScanner(res.Body)
	for first := true; in.Scan(); {
		line := regexp.MustCompile(`\d{4}-\d\d-\d\dT[0-9:]+Z`).ReplaceAllString(in.Text(), "TIME")
		lines = append(lines, line)
		if first && line == "" && during != nil {
			first = false
			during()
		}
		if last.MatchString(line) {
			return lines
		}
	}
	b.t.Fatalf("the stream ended: %v %v", lines, in.Err())
	return nil
}

// The streams, word for word.
func TestTranscripts(t *testing.T) {
	b := start(t, Options{})
	b.enrol()
	gw := string(b.gateway.ID)
	put := func(jti string, ver int64) {
		if s, m := b.call("PUT", b.path(itemPath(jti)), b.asIssuer(), cloud.ItemWrite{Kind: "grant", Ver: ver, Exp: 1900022400, Body: "sealed"}); s != 201 {
			t.Fatal(s, m)
		}
	}
	put("a", 1)
	_, snap := b.call("GET", b.path("/snapshot"), b.asGateway(), nil)
	epoch := snap["epoch"].(string)
	a1 := gateway.Item{ID: gateway.ItemID(iss, "a"), Kind: "grant", Ver: 1, Exp: 1900022400, Body: "sealed"}
	a2 := a1
	a2.Ver = 2
	digest := func(i gateway.Item) string {
		text, err := gateway.DigestOf([]gateway.Item{i}).MarshalText()
		if err != nil {
			t.Fatal(err)
		}
		return string(text)
	}
	got := b.transcript(b.path("/feed?epoch="+epoch+"&after=0"), b.asGateway(), regexp.MustCompile(`"head":2`), func() { put("a", 2) })
	want := []string{
		"id: 1", "event: item", `data: {"seq":1,"id":"` + a1.ID + `","kind":"grant","ver":1,"exp":1900022400,"body":"sealed"}`, "",
		"event: head", `data: {"epoch":"` + epoch + `","head":1,"floor":0,"digest":"` + digest(a1) + `","time":"TIME"}`, "",
		"id: 2", "event: item", `data: {"seq":2,"id":"` + a1.ID + `","kind":"grant","ver":2,"exp":1900022400,"body":"sealed"}`, "",
		"event: head", `data: {"epoch":"` + epoch + `","head":2,"floor":0,"digest":"` + digest(a2) + `","time":"TIME"}`,
	}
	if d := cmp.Diff(want, got); d != "" {
		t.Error(d)
	}
	if s, m := b.call("POST", b.path("/events"), b.asGateway(), gateway.Upload{Log: "l", Letters: []gateway.Letter{{Seq: 1, To: iss, Body: "letter"}}}); s != 200 {
		t.Fatal(s, m)
	}
	got = b.transcript("/v1/issuers/"+string(iss)+"/feed?after=0", b.asIssuer(), regexp.MustCompile(`"head":1`), nil)
	got = slices.DeleteFunc(got, func(s string) bool { return strings.Contains(s, `"online":`) })
	want = []string{"id: 1", "event: event", `data: {"seq":1,"gateway":"` + gw + `","body":"letter"}`, "", "event: presence", "",
		"event: head", `data: {"head":1,"time":"TIME"}`}
	if d := cmp.Diff(want, got); d != "" {
		t.Error(d)
	}
	// Who comes with after=head hears only what is to come; streams hear that the service goes.
	go func() { <-time.After(300 * time.Millisecond); b.stop() }()
	got = b.transcript("/v1/issuers/"+string(iss)+"/feed?after=head", b.asIssuer(), regexp.MustCompile(`retry_ms`), nil)
	if slices.ContainsFunc(got, func(s string) bool { return strings.Contains(s, "letter") }) || !slices.Contains(got, "event: goaway") {
		t.Errorf("%q", got)
	}
}
