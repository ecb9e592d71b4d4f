package service

import (
	"bytes"
	"context"
	"encoding/json"
	"io"
	"log/slog"
	"net/http"
	"path/filepath"
	"testing"
	"time"

	"gardien/gateway"
	"gardien/gateway/cloud"
	"gardien/gateway/tokens"
	"gardien/store/mailbox"
)

var quiet = slog.New(slog.DiscardHandler)

// bench is a running service, seen as a stranger sees it: over HTTP.
type bench struct {
	t       testing.TB
	url     string
	box     *mailbox.Box
	stop    func()
	gateway *tokens.Identity
	issuer  *tokens.SigningKey
	jwks    []byte
}

const iss gateway.IssuerID = "colis-x.example"

func start(t testing.TB, o Options) *bench {
	t.Helper()
	b := &bench{t: t}
	ctx, cancel := context.WithCancel(context.Background())
	ready, done := make(chan *Running, 1), make(chan error, 1)
	if o.DB == "" {
		o.DB = filepath.Join(t.TempDir(), "mail.db")
	}
	o.Listen, o.Log, o.Ready = "127.0.0.1:0", quiet, func(r *Running) { ready <- r }
	go func() { done <- Run(ctx, o) }()
	select {
	case r := <-ready:
		b.url, b.box = r.URL, r.Box
	case err := <-done:
		t.Fatal(err)
	}
	stopped := false
	b.stop = func() {
		if !stopped {
			stopped = true
			cancel()
			if err := <-done; err != nil {
				t.Errorf("the service ended with %v", err)
			}
		}
	}
	t.Cleanup(b.stop)
	var err error
	if b.gateway, err = tokens.LoadIdentity(t.TempDir()); err == nil {
		if b.issuer, err = tokens.GenerateES256(); err == nil {
			b.jwks, err = tokens.MarshalKeySet(b.issuer.PublicKey, nil)
		}
	}
	if err != nil {
		t.Fatal(err)
	}
	return b
}

func (b *bench) code(kind, id string) string {
	code := gateway.NewJTI()
	if err := b.box.AddCode(context.Background(), kind, id, gateway.NewSecret(code), time.Now().Add(time.Hour)); err != nil {
		b.t.Fatal(err)
	}
	return code
}

func (b *bench) descriptor(issuers ...gateway.IssuerID) string {
	d, err := b.gateway.SignDescriptor(tokens.Descriptor{Doors: []gateway.DoorID{"front"}, Issuers: issuers, Zone: "Europe/Paris", At: time.Now()})
	if err != nil {
		b.t.Fatal(err)
	}
	return d
}

func (b *bench) token(key *tokens.SigningKey, who string) string {
	text, err := tokens.SignAssertion(key, who, b.url, time.Now())
	if err != nil {
		b.t.Fatal(err)
	}
	return text
}

func (b *bench) asGateway() string { return b.token(b.gateway.Signing, string(b.gateway.ID)) }
func (b *bench) asIssuer() string  { return b.token(b.issuer, string(iss)) }

// call does a request and gives status and body as JSON.
func (b *bench) call(method, path, token string, in any) (int, map[string]any) {
	b.t.Helper()
	status, _, body := b.raw(method, path, token, "application/json", in)
	var m map[string]any
	if len(body) > 0 {
		if err := json.Unmarshal(body, &m); err != nil {
			b.t.Fatalf("%s %s: %d %q", method, path, status, body)
		}
	}
	return status, m
}

func (b *bench) raw(method, path, token, accept string, in any) (int, http.Header, []byte) {
	b.t.Helper()
	var body io.Reader
	if in != nil {
		text, err := json.Marshal(in)
		if err != nil {
			b.t.Fatal(err)
		}
		body = bytes.NewReader(text)
	}
	req, err := http.NewRequest(method, b.url+path, body)
	if err != nil {
		b.t.Fatal(err)
	}
	req.Header.Set("Content-Type", "application/json")
	req.Header.Set("Accept", accept)
	if token != "" {
		req.Header.Set("Authorization", "Bearer "+token)
	}
	res, err := http.DefaultClient.Do(req)
	if err != nil {
		b.t.Fatal(err)
	}
	defer res.Body.Close()
	text, err := io.ReadAll(res.Body)
	if err != nil {
		b.t.Fatal(err)
	}
	return res.StatusCode, res.Header, text
}

// enrol enrols the gateway and the issuer.
func (b *bench) enrol() {
	b.t.Helper()
	status, m := b.call("POST", "/v1/gateways", "", cloud.GatewayEnrolment{Code: b.code("gateway", string(b.gateway.ID)), Descriptor: b.descriptor(iss)})
	if status != 201 || m["id"] != string(b.gateway.ID) {
		b.t.Fatalf("enrolment of the gateway: %d %v", status, m)
	}
	status, m = b.call("POST", "/v1/issuers", "", cloud.IssuerEnrolment{Code: b.code("issuer", string(iss)), Iss: iss, JWKS: b.jwks})
	if status != 201 || m["id"] != string(iss) {
		b.t.Fatalf("enrolment of the issuer: %d %v", status, m)
	}
}

func (b *bench) path(rest string) string { return "/v1/gateways/" + string(b.gateway.ID) + rest }

func itemPath(jti string) string { return "/items/" + gateway.ItemID(iss, jti) }

func write(ver int64, body string) cloud.ItemWrite {
	return cloud.ItemWrite{Kind: "grant", Ver: ver, Exp: gateway.Midnight(time.Now().Unix() + 1), Body: body}
}
