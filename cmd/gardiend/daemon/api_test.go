package daemon

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"gardien/gateway"
	"gardien/gateway/api"
	"gardien/gateway/tokens"
	"gardien/gateway/web/webtest"
)

// served serves the same handlers to strangers: no peer credentials vouch for them.
func (h *house) served(t *testing.T) *httptest.Server {
	t.Helper()
	srv := httptest.NewServer(api.New(h.backend(), &simulator{h.Gateway}, quiet, nil))
	t.Cleanup(srv.Close)
	return srv
}

// local is a client of the socket that shows the raw answer.
func (h *house) local() *http.Client {
	return &http.Client{Transport: &http.Transport{DisableKeepAlives: true, DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
		return new(net.Dialer).DialContext(ctx, "unix", h.cfg.API.Socket)
	}}}
}

// pair pairs a device that has no key, as a resident's, and confirms it.
func (h *house) pair(t *testing.T, name string) api.Paired {
	t.Helper()
	b := h.backend()
	w, err := b.Pairing.Open(t.Context(), gateway.RoleResident)
	if err != nil {
		t.Fatal(err)
	}
	p, err := b.Pairing.Pair(t.Context(), api.PairingRequest{Secret: w.Secret, Name: name})
	if err == nil {
		err = b.Residents.Confirm(t.Context(), p.ID)
	}
	if err != nil {
		t.Fatal(err)
	}
	return p
}

type answer struct {
	status int
	header http.Header
	body   string
}

func call(t *testing.T, c *http.Client, method, url, body string, header ...string) answer {
	t.Helper()
	req, err := http.NewRequest(method, url, strings.NewReader(body))
	if err != nil {
		t.Fatal(err)
	}
	if body != "" {
		req.Header.Set("Content-Type", "application/json")
	}
	for i := 0; i+1 < len(header); i += 2 {
		req.Header.Set(header[i], header[i+1])
	}
	res, err := c.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	defer res.Body.Close()
	b, err := io.ReadAll(res.Body)
	if err != nil {
		t.Fatal(err)
	}
	return answer{res.StatusCode, res.Header, string(b)}
}

// TestAnswersOfTheGateway: what a real gateway tells is as the OpenAPI text says (gateway/api has
// the routes and their refusals on a fake).
func TestAnswersOfTheGateway(t *testing.T) {
	h := build(t)
	h.start(t)
	h.open(t, "side", h.pinGrant(t, "side"))
	h.passDoor(t)
	record, err := h.store.Events(context.Background(), 0, 1000)
	check(t, err)
	entry := record[slices.IndexFunc(record, func(e gateway.Event) bool { return e.Type == gateway.AccessGranted })].Attempt
	waits := h.asks(t, must(tokens.GenerateES256()))
	page, err := h.backend().Grants.List(context.Background(), gateway.GrantID{}, 1)
	if err != nil || len(page) != 1 {
		t.Fatal(page, err)
	}
	text := webtest.New(t, h.local(), "http://g")
	client := text.Client(h.local())
	for _, o := range text.Operations() {
		if o.Method != "GET" || strings.HasSuffix(o.Path, "/stream") || o.Path == "/v1/session" {
			continue // a stream does not end (TestStream reads it), and the socket has no session
		}
		of := strings.NewReplacer("/attempts/{id}/receipt", "/attempts/"+string(entry)+"/receipt", "/attempts/{id}", "/attempts/"+string(waits))
		path := strings.NewReplacer("{door}", "front", "{id}", strings.ReplaceAll(page[0].ID, "/", "%2F")).Replace(of.Replace(o.Path))
		if got := call(t, client, "GET", "http://g"+path, ""); got.status != 200 {
			t.Errorf("%s: %d %s", path, got.status, got.body)
		}
	}
}

// TestW8_Strangers shows what is open without authentication, and that nothing else is.
func TestW8_Strangers(t *testing.T) {
	h := build(t)
	h.start(t)
	srv := h.served(t)
	if got := call(t, srv.Client(), "GET", srv.URL+"/v1/info", ""); got.status != 200 || !strings.Contains(got.body, string(h.identity.ID)) {
		t.Errorf("info: %+v", got)
	}
	for _, path := range []string{"/v1/status", "/v1/doors", "/v1/grants", "/v1/events", "/v1/residents", "/v1/issuers", "/v1/backup"} {
		if got := call(t, srv.Client(), "GET", srv.URL+path, ""); got.status != 401 || got.header.Get("Content-Type") != "application/problem+json" {
			t.Errorf("%s: %+v", path, got)
		}
	}
	if got := call(t, srv.Client(), "POST", srv.URL+"/v1/doors/front/attempts", "{}"); got.status != 401 {
		t.Errorf("a stranger's {}: %+v", got)
	}
	if got := call(t, srv.Client(), "POST", srv.URL+"/v1/doors/nosuch/attempts", `{"grant":"x"}`); got.status != 404 || strings.Contains(got.body, "front") {
		t.Errorf("a stranger learns the doors: %+v", got)
	}
	for body, want := range map[string]int{`{"grant":""}`: 403, `{"grant":null}`: 400, `{"proof":"x"}`: 403} {
		if got := call(t, h.local(), "POST", "http://g/v1/doors/front/attempts", body); got.status != want {
			t.Errorf("%s is no resident's wish: %+v", body, got)
		}
	}
	if got := call(t, srv.Client(), "GET", srv.URL+"/v1/doors", "", "Authorization", "Bearer nosuch.token"); got.status != 401 {
		t.Errorf("a made-up token: %+v", got)
	}

	w, err := h.backend().Pairing.Open(t.Context(), gateway.RoleResident)
	if err != nil {
		t.Fatal(err)
	}
	if got := call(t, srv.Client(), "POST", srv.URL+"/v1/pairing", `{"secret":"wrong","name":"Ada"}`); got.status != 403 {
		t.Errorf("a wrong secret: %+v", got)
	}
	paired := call(t, srv.Client(), "POST", srv.URL+"/v1/pairing", fmt.Sprintf(`{"secret":%q,"name":"Ada"}`, w.Secret))
	var p api.Paired
	if err := json.Unmarshal([]byte(paired.body), &p); err != nil || paired.status != 201 {
		t.Fatalf("pairing: %+v", paired)
	}
	bearer := []string{"Authorization", "Bearer " + p.Token}
	if got := call(t, srv.Client(), "POST", srv.URL+"/v1/doors/front/attempts", "{}", bearer...); got.status != 403 || !strings.Contains(got.body, "not-confirmed") {
		t.Errorf("nobody has confirmed the device: %+v", got)
	}
	if err := h.backend().Residents.Confirm(t.Context(), p.ID); err != nil {
		t.Fatal(err)
	}
	if got := call(t, srv.Client(), "POST", srv.URL+"/v1/doors/front/attempts", "{}", bearer...); got.status != 200 || !strings.Contains(got.body, `"decision":"granted"`) {
		t.Errorf("a resident: %+v", got)
	}
	for _, path := range []string{"/v1/sim/rex", "/v1/pairing/window"} {
		if got := call(t, srv.Client(), "POST", srv.URL+path, `{}`, bearer...); got.status != 401 {
			t.Errorf("%s is for the socket: %+v", path, got)
		}
	}
	if got := call(t, srv.Client(), "DELETE", srv.URL+"/v1/residents/"+string(p.ID), "", bearer...); got.status != 409 {
		t.Errorf("the last resident removes itself: %+v", got)
	}
	h.pair(t, "Ben")
	if got := call(t, srv.Client(), "DELETE", srv.URL+"/v1/residents/"+string(p.ID), "", bearer...); got.status != 204 {
		t.Errorf("remove: %+v", got)
	}
	if got := call(t, srv.Client(), "GET", srv.URL+"/v1/doors", "", bearer...); got.status != 401 {
		t.Errorf("a removed resident: %+v", got)
	}
}

// TestA7_Proofs shows the LAN: a holder, a nonce, once.
func TestA7_Proofs(t *testing.T) {
	h := build(t)
	h.start(t)
	srv := h.served(t)
	holder, err := tokens.GenerateES256()
	if err != nil {
		t.Fatal(err)
	}
	_, bound := h.grant(t, 1, "front", holder.KeyID())
	_, bearer := h.grant(t, 2, "front", "")
	present := func(grant, proof string) answer {
		b, err := json.Marshal(api.AttemptRequest{Grant: &grant, Proof: &proof})
		if err != nil {
			t.Fatal(err)
		}
		return call(t, srv.Client(), "POST", srv.URL+"/v1/doors/front/attempts", string(b))
	}
	nonce := func() string {
		var n api.Nonce
		got := call(t, srv.Client(), "POST", srv.URL+"/v1/nonces", "")
		if err := json.Unmarshal([]byte(got.body), &n); err != nil || got.status != 201 || n.ExpiresIn != 30 {
			t.Fatalf("nonce: %+v", got)
		}
		return n.Nonce
	}
	sign := func(nonce string) string {
		p, err := tokens.SignProof(holder, nonce, h.identity.ID, "front", bound, time.Now())
		if err != nil {
			t.Fatal(err)
		}
		return p
	}
	length := 0
	for _, refused := range []struct {
		name, grant, proof string
		reason             gateway.Reason
	}{
		{"no holder", bearer, sign(nonce()), gateway.ProofRequired},
		{"no proof", bound, "", gateway.ProofRequired},
		{"a nonce of nobody", bound, sign("AAAAAAAAAAAAAAAAAAAAAA"), gateway.BadProof},
		{"not a proof", bound, "x.y.z", gateway.BadProof},
		{"not a grant", "x", "", gateway.UnknownCredential},
	} {
		got := present(refused.grant, refused.proof)
		if got.status != 403 || !strings.Contains(got.body, `"code":"not_allowed"`) {
			t.Errorf("%s: %+v", refused.name, got)
		}
		if length != 0 && len(got.body) != length {
			t.Errorf("A8: %s: a body of %d bytes, others have %d", refused.name, len(got.body), length)
		}
		length = len(got.body)
		if e := h.last(t); e.Reason != refused.reason || e.Reader != "lan" {
			t.Errorf("%s: %+v", refused.name, e)
		}
	}
	// The first proof that names a nonce spends it, be it good or not.
	n := nonce()
	forged := sign(n)
	if got := present(bound, forged[:len(forged)-4]+"AAAA"); got.status != 403 {
		t.Errorf("a forged proof: %+v", got)
	}
	if got := present(bound, sign(n)); got.status != 403 || h.last(t).Reason != gateway.BadProof {
		t.Errorf("a spent nonce: %+v", got)
	}
	if got := present(bound, sign(nonce())); got.status != 200 {
		t.Errorf("a good proof: %+v", got)
	}
	if got := present(bound, sign(nonce())); got.status != 403 || h.last(t).Reason != gateway.UsesSpent {
		t.Errorf("once more: %+v", got)
	}
	for range 70 {
		if got := call(t, srv.Client(), "POST", srv.URL+"/v1/nonces", ""); got.status == 429 {
			if got.header.Get("Retry-After") == "" {
				t.Error("429 without Retry-After")
			}
			return
		}
	}
	t.Error("70 live nonces for one address")
}

// last is the newest denial.
func (h *house) last(t *testing.T) gateway.Event {
	t.Helper()
	list, err := h.store.Events(context.Background(), 0, 1000)
	if err != nil {
		t.Fatal(err)
	}
	for _, e := range slices.Backward(list) {
		if e.Type == gateway.AccessDenied {
			return e
		}
	}
	t.Fatal("no denial in the record")
	return gateway.Event{}
}

// TestI1_StrangersKeysAreIgnored: nothing of a caller whom nobody knows is kept, so that each
// of his requests is a new one.
func TestI1_StrangersKeysAreIgnored(t *testing.T) {
	h := build(t)
	h.start(t)
	srv := h.served(t)
	one := call(t, srv.Client(), "POST", srv.URL+"/v1/nonces", "{}", "Idempotency-Key", "k")
	two := call(t, srv.Client(), "POST", srv.URL+"/v1/nonces", "{}", "Idempotency-Key", "k")
	if one.status != 201 || two.status != 201 || one.body == two.body {
		t.Errorf("%+v, %+v", one, two)
	}
	if long := call(t, srv.Client(), "POST", srv.URL+"/v1/nonces", "{}", "Idempotency-Key", strings.Repeat("x", 100)); long.status != 201 {
		t.Errorf("a key that no known caller may use: %+v", long)
	}
}

// TestIdempotencyKey: a retry is answered as the first time, over a restart, too; and
// the PIN of the answer is nowhere in clear.
func TestIdempotencyKey(t *testing.T) {
	h := build(t)
	h.start(t)
	body := fmt.Sprintf(`{"doors":["front"],"uses":1,"pin":true,"not_after":%q}`, time.Now().Add(time.Hour).Format(time.RFC3339))
	first := call(t, h.local(), "POST", "http://g/v1/grants", body, "Idempotency-Key", "k1")
	if first.status != 201 {
		t.Fatalf("%+v", first)
	}
	again := call(t, h.local(), "POST", "http://g/v1/grants", body, "Idempotency-Key", "k1")
	if diff := cmp.Diff(first.body, again.body); diff != "" {
		t.Error(diff)
	}
	if other := call(t, h.local(), "POST", "http://g/v1/grants", strings.Replace(body, "front", "side", 1), "Idempotency-Key", "k1"); other.status != 409 {
		t.Errorf("another body: %+v", other)
	}
	if long := call(t, h.local(), "POST", "http://g/v1/grants", body, "Idempotency-Key", strings.Repeat("x", 65)); long.status != 400 {
		t.Errorf("a long key: %+v", long)
	}
	var made api.GrantMade
	if err := json.Unmarshal([]byte(first.body), &made); err != nil {
		t.Fatal(err)
	}
	h.stop()
	files, err := filepath.Glob(filepath.Join(h.cfg.Gateway.StateDir, "gardien.db*"))
	if err != nil || len(files) == 0 {
		t.Fatal(files, err)
	}
	for _, f := range files {
		b, err := os.ReadFile(f)
		if err != nil {
			t.Fatal(err)
		}
		if bytes.Contains(b, []byte(`"pin":"`+made.PIN)) {
			t.Errorf("P6: %s holds the PIN", f)
		}
	}
	h.start(t)
	if after := call(t, h.local(), "POST", "http://g/v1/grants", body, "Idempotency-Key", "k1"); after.body != first.body {
		t.Errorf("after a restart: %+v", after)
	}
	if list, err := h.backend().Grants.List(context.Background(), gateway.GrantID{}, 10); err != nil || len(list) != 1 {
		t.Errorf("%d grants, want one: %v", len(list), err)
	}
}

// TestBadRequests: each gets a problem that says what to do.
func TestBadRequests(t *testing.T) {
	h := build(t)
	h.start(t)
	for _, tt := range []struct {
		method, path, body, contentType string
		status                          int
		say                             string
	}{
		{"GET", "/v1/doors/nosuch", "", "", 404, "there are front, side"},
		{"GET", "/v1/nosuch", "", "", 404, "openapi.json"},
		{"PUT", "/v1/doors", "", "", 405, "takes GET"},
		{"POST", "/v1/grants", "x=1", "application/x-www-form-urlencoded", 415, "application/json"},
		{"POST", "/v1/grants", "{", "application/json", 400, "the body is not"},
		{"POST", "/v1/grants", `{"doors":["front"],"nosuch":1}`, "application/json", 400, "nosuch"},
		{"POST", "/v1/grants", `{"doors":["front"]}`, "application/json", 400, "not_after"},
		{"POST", "/v1/grants", `{"doors":["nosuch"],"not_after":"2099-01-01T00:00:00Z"}`, "application/json", 404, "there are front"},
		{"POST", "/v1/grants", `{"doors":["front"],"pin":true,"not_after":"2020-01-01T00:00:01Z"}`, "application/json", 400, "over already"},
		{"POST", "/v1/grants", `{"doors":["front"],"pin":true,"not_after":"2199-01-01T00:00:00Z"}`, "application/json", 400, "2020 to 2100"},
		{"POST", "/v1/grants", `{"doors":["front"],"schedule":{"windows":[]}}`, "application/json", 400, "windows"},
		{"POST", "/v1/grants", `{} {}`, "application/json", 400, "after top-level value"},
		{"POST", "/v1/grants", `{"doors":["front"],"doors":["side"]}`, "application/json", 400, "stands twice"},
		{"POST", "/v1/grants", `{"Doors":["front"]}`, "application/json", 400, "the name is \"doors\""},
		{"POST", "/v1/grants", `{"doors":null}`, "application/json", 400, "doors is null"},
		{"POST", "/v1/grants", `{"sub":"` + strings.Repeat("x", 17<<10) + `"}`, "application/json", 413, "16384"},
		{"POST", "/v1/mailbag", `{"items":1}`, "application/json", 400, "the body is not"},
		{"POST", "/v1/grants", `{"doors":["front"],"uses":0,"not_after":"2099-01-01T00:00:00Z"}`, "application/json", 400, "from 1 on"},
		{"POST", "/v1/doors/front/attempts", `null`, "application/json", 400, "the body is null"},
		{"POST", "/v1/doors/front/attempts", `[]`, "application/json", 400, "not an object"},
		{"GET", "/v1/events?limit=0", "", "", 400, "1 to 1000"},
		{"GET", "/v1/events?after=x", "", "", 400, "seq"},
		{"GET", "/v1/grants/home%2Fnosuch", "", "", 404, "home/nosuch"},
		{"DELETE", "/v1/grants/x!", "", "", 404, "grant id"},
		{"POST", "/v1/restore", "{}", "application/json", 415, "sqlite3"},
	} {
		got := call(t, h.local(), tt.method, "http://g"+tt.path, tt.body, "Content-Type", tt.contentType)
		var p api.Problem
		if err := json.Unmarshal([]byte(got.body), &p); err != nil || got.status != tt.status || p.Status != tt.status ||
			!strings.HasPrefix(p.Type, "urn:gardien:problem:") || !strings.Contains(p.Detail, tt.say) {
			t.Errorf("%s %s: %d %s; want %d with %q", tt.method, tt.path, got.status, got.body, tt.status, tt.say)
		}
	}
	mixed := call(t, h.local(), "POST", "http://g/v1/mailbag", `{"items":["x.y.z",1,{"id":"i","kind":"weather","ver":1,"exp":2,"body":"b","new":3}]}`)
	var res api.MailbagResults
	if err := json.Unmarshal([]byte(mixed.body), &res); err != nil || len(res.Results) != 3 || res.Results[0].Result != "rejected" || res.Results[1].Result != "rejected" || res.Results[2].Result != "rejected" {
		t.Errorf("mailbag: %+v", mixed)
	}
}

// TestStream: the record from a point on, and then as it grows; a client that comes back
// misses nothing.
func TestStream(t *testing.T) {
	h := build(t)
	h.start(t)
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
	defer cancel()
	req, err := http.NewRequestWithContext(ctx, "GET", "http://g/v1/events/stream", nil)
	if err != nil {
		t.Fatal(err)
	}
	req.Header.Set("Last-Event-ID", "1") // gateway_started
	res, err := h.local().Do(req)
	if err != nil {
		t.Fatal(err)
	}
	defer res.Body.Close()
	pin := h.pinGrant(t, "side")
	h.access.Present(ctx, "side", "side-pad", gateway.PINCredential{PIN: pin})
	var got []string
	lines := bufio.NewScanner(res.Body)
	for len(got) < 3 && lines.Scan() {
		if data, ok := strings.CutPrefix(lines.Text(), "data: "); ok {
			var e gateway.Event
			if err := json.Unmarshal([]byte(data), &e); err != nil {
				t.Fatal(err)
			}
			got = append(got, fmt.Sprint(e.Seq, " ", e.Type))
		}
	}
	if diff := cmp.Diff([]string{"2 grant_added", "3 access_granted", "4 strike_released"}, got); diff != "" {
		t.Error(diff)
	}
}
