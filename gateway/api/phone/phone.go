// Package phone is somebody's device for tests: a resident's pairs, keeps its key, and signs its acts
// (contract §5, RFC 9449); a courier's presents a grant with a proof (contract §2).
package phone

import (
	"bytes"
	"context"
	"crypto/sha256"
	"crypto/tls"
	"crypto/x509"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"strings"
	"sync"
	"time"

	"gardien/gateway"
	"gardien/gateway/api"
	"gardien/gateway/tokens"
)

// Phone is one device. Its methods are safe for concurrent use once it has paired.
type Phone struct {
	Base   string // "https://gardien-62fg.local:8443"
	HTTP   *http.Client
	Key    *tokens.SigningKey // nil: its token is enough
	Cookie bool               // it is a browser: its token is in a cookie
	Token  string

	mu    sync.Mutex
	nonce string
}

// Answer is one.
type Answer struct {
	Status int
	Body   string
	Header http.Header
}

// Into decodes a body.
func (a Answer) Into(v any) error { return json.Unmarshal([]byte(a.Body), v) }

// Trusting makes a client that trusts a CA (DER), and dials an address whatever the name is; "":
// the name's own.
func Trusting(ca []byte, address string) (*http.Client, error) {
	c, err := x509.ParseCertificate(ca)
	if err != nil {
		return nil, err
	}
	pool := x509.NewCertPool()
	pool.AddCert(c)
	return client(&tls.Config{RootCAs: pool}, address), nil
}

// Pinning makes a client that believes the key of a fingerprint alone, as an app does that has
// scanned the QR code: 64 hex digits, of the SubjectPublicKeyInfo.
func Pinning(fingerprint, address string) *http.Client {
	return client(&tls.Config{InsecureSkipVerify: true, VerifyConnection: func(s tls.ConnectionState) error {
		sum := sha256.Sum256(s.PeerCertificates[0].RawSubjectPublicKeyInfo)
		if fmt.Sprintf("%x", sum) != fingerprint {
			return errors.New("another key than the one that was scanned")
		}
		return nil
	}}, address)
}

func client(c *tls.Config, address string) *http.Client {
	t := &http.Transport{TLSClientConfig: c, ForceAttemptHTTP2: true}
	if address != "" {
		t.DialContext = func(ctx context.Context, network, _ string) (net.Conn, error) {
			return new(net.Dialer).DialContext(ctx, network, address)
		}
	}
	return &http.Client{Transport: t}
}

// Pair pairs with a secret.
func (p *Phone) Pair(ctx context.Context, secret, name string) (api.Paired, error) {
	req := api.PairingRequest{Secret: secret, Name: name, Cookie: p.Cookie}
	var paired api.Paired
	if p.Key != nil {
		jwk, err := p.Key.JWK()
		if err != nil {
			return paired, err
		}
		req.Key = jwk
	}
	body, err := json.Marshal(req)
	if err != nil {
		return paired, err
	}
	a, err := p.send(ctx, http.MethodPost, "/v1/pairing", string(body), nil)
	if err == nil && a.Status != http.StatusCreated {
		err = fmt.Errorf("pairing: %d %s", a.Status, a.Body)
	}
	if err == nil {
		err = a.Into(&paired)
	}
	if err != nil {
		return paired, err
	}
	p.Token = paired.Token
	if p.Cookie {
		for _, c := range (&http.Response{Header: a.Header}).Cookies() {
			p.Token = c.Value
		}
	}
	return paired, nil
}

// Do sends a request with the phone's token, and signs it where it is an act of a phone that has a
// key; once more, where the gateway wants another nonce.
func (p *Phone) Do(ctx context.Context, method, path, body string, headers ...string) (Answer, error) {
	for again := false; ; again = true {
		h := http.Header{}
		for i := 0; i+1 < len(headers); i += 2 {
			h.Set(headers[i], headers[i+1])
		}
		p.Identify(h)
		if p.Key != nil && method != http.MethodGet {
			proof, err := p.Proof(method, path)
			if err != nil {
				return Answer{}, err
			}
			h.Set("DPoP", proof)
		}
		a, err := p.send(ctx, method, path, body, h)
		if err != nil || again || !strings.Contains(a.Header.Get("WWW-Authenticate"), "use_dpop_nonce") {
			return a, err
		}
	}
}

// Elsewhere is the same phone with another client, as one that connects anew.
func (p *Phone) Elsewhere(client *http.Client) *Phone {
	p.mu.Lock()
	defer p.mu.Unlock()
	return &Phone{Base: p.Base, HTTP: client, Key: p.Key, Cookie: p.Cookie, Token: p.Token, nonce: p.nonce}
}

// From makes a client connect from an address of this machine.
func From(c *http.Client, local net.IP, address string) *http.Client {
	t := c.Transport.(*http.Transport).Clone()
	t.DialContext = func(ctx context.Context, network, _ string) (net.Conn, error) {
		return (&net.Dialer{LocalAddr: &net.TCPAddr{IP: local}}).DialContext(ctx, network, address)
	}
	return &http.Client{Transport: t}
}

// Identify puts the token into a request's header.
func (p *Phone) Identify(h http.Header) {
	switch {
	case p.Token == "":
	case p.Cookie:
		h.Set("Cookie", "__Host-gardien="+p.Token)
	default:
		h.Set("Authorization", "Bearer "+p.Token)
	}
}

// Proof signs a request with the newest nonce that the gateway has given.
func (p *Phone) Proof(method, path string) (string, error) {
	p.mu.Lock()
	nonce := p.nonce
	p.mu.Unlock()
	path, _, _ = strings.Cut(path, "?")
	return tokens.SignDPoP(p.Key, method, p.Base+path, nonce)
}

func (p *Phone) send(ctx context.Context, method, path, body string, h http.Header) (Answer, error) {
	q, err := http.NewRequestWithContext(ctx, method, p.Base+path, strings.NewReader(body))
	if err != nil {
		return Answer{}, err
	}
	if h != nil {
		q.Header = h
	}
	if body != "" {
		q.Header.Set("Content-Type", "application/json")
	}
	res, err := p.HTTP.Do(q)
	if err != nil {
		return Answer{}, err
	}
	defer res.Body.Close()
	if n := res.Header.Get("DPoP-Nonce"); n != "" {
		p.mu.Lock()
		p.nonce = n
		p.mu.Unlock()
	}
	var text bytes.Buffer
	_, err = io.Copy(&text, res.Body)
	return Answer{res.StatusCode, text.String(), res.Header}, err
}

// Stream opens the event stream, whose body the caller reads and closes.
func (p *Phone) Stream(ctx context.Context, after int64) (*http.Response, error) {
	q, err := http.NewRequestWithContext(ctx, http.MethodGet, fmt.Sprintf("%s/v1/events/stream?after=%d", p.Base, after), nil)
	if err != nil {
		return nil, err
	}
	p.Identify(q.Header)
	res, err := p.HTTP.Do(q)
	if err == nil && res.StatusCode != http.StatusOK {
		res.Body.Close()
		err = fmt.Errorf("stream: %s", res.Status)
	}
	return res, err
}

// prove signs a proof of possession for a door and a grant's text, with a nonce of the gateway.
func (p *Phone) prove(ctx context.Context, door, grant string, at time.Time) (string, error) {
	var info api.Info
	var nonce api.Nonce
	for _, q := range []struct {
		method, path string
		want         int
		into         any
	}{{http.MethodGet, "/v1/info", http.StatusOK, &info}, {http.MethodPost, "/v1/nonces", http.StatusCreated, &nonce}} {
		a, err := p.send(ctx, q.method, q.path, "", nil)
		if err == nil && a.Status != q.want {
			err = fmt.Errorf("%s: %d %s", q.path, a.Status, a.Body)
		}
		if err == nil {
			err = a.Into(q.into)
		}
		if err != nil {
			return "", err
		}
	}
	return tokens.SignProof(p.Key, nonce.Nonce, info.ID, gateway.DoorID(door), grant, at)
}

// Present shows a grant at a door with the proof, signed at an instant, that the phone's key is its
// holder's (A7). It needs no pairing.
func (p *Phone) Present(ctx context.Context, door, grant string, at time.Time) (Answer, error) {
	proof, err := p.prove(ctx, door, grant, at)
	if err != nil {
		return Answer{}, err
	}
	body, err := json.Marshal(api.AttemptRequest{Grant: &grant, Proof: &proof})
	if err != nil {
		return Answer{}, err
	}
	return p.send(ctx, http.MethodPost, "/v1/doors/"+door+"/attempts", string(body), nil)
}

// Receipt asks for the receipt of an attempt at a door, with a proof of the grant's key.
func (p *Phone) Receipt(ctx context.Context, door, attempt string, at time.Time) (Answer, error) {
	proof, err := p.prove(ctx, door, "the grant's text is not compared", at)
	if err != nil {
		return Answer{}, err
	}
	return p.send(ctx, http.MethodGet, "/v1/attempts/"+attempt+"/receipt", "", http.Header{"Gardien-Proof": {proof}})
}
