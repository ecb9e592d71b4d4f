package daemon

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/json"
	"encoding/pem"
	"errors"
	"fmt"
	"math/big"
	"net"
	"net/http"
	"net/url"
	"os"
	"path/filepath"
	"sync"
	"testing"
	"time"

	"gardien/cmd/gardien-cloud/service"
	"gardien/cmd/gardien-demo/cable"
	"gardien/gateway"
	"gardien/gateway/api"
	"gardien/gateway/cloud"
	"gardien/gateway/tokens"
	"gardien/gateway/uplink"
	"gardien/gateway/web"
	"gardien/store"
	"gardien/store/mailbox"
)

// sky is a cloud under test, behind a cable, with TLS.
type sky struct {
	dsn    string
	cable  *cable.Cable
	url    string
	ca     []byte
	config *tls.Config
	roots  *x509.CertPool
	wrap   func(http.Handler) http.Handler
	now    func() time.Time

	box  *mailbox.Box
	stop func()
}

// newSky makes a cloud on a database; up starts it.
func newSky(t testing.TB, dsn string) *sky {
	t.Helper()
	s := &sky{dsn: dsn}
	var err error
	if s.cable, err = cable.New("127.0.0.1:1"); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(s.cable.Close)
	s.url = "https://" + s.cable.Addr()
	s.config, s.ca = certified(t, &x509.Certificate{IPAddresses: []net.IP{net.IPv4(127, 0, 0, 1)}})
	s.roots = x509.NewCertPool()
	s.roots.AppendCertsFromPEM(s.ca)
	return s
}

// certified makes a TLS server's own authority, for two years from now, and gives its PEM.
func certified(t testing.TB, of *x509.Certificate) (*tls.Config, []byte) {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	of.SerialNumber, of.Subject, of.NotBefore, of.NotAfter = big.NewInt(1), pkix.Name{CommonName: "test"}, time.Now().Add(-time.Hour), time.Now().AddDate(2, 0, 0)
	of.IsCA, of.BasicConstraintsValid, of.KeyUsage = true, true, x509.KeyUsageCertSign|x509.KeyUsageDigitalSignature
	der, err := x509.CreateCertificate(rand.Reader, of, of, key.Public(), key)
	if err != nil {
		t.Fatal(err)
	}
	return &tls.Config{MinVersion: tls.VersionTLS13, NextProtos: []string{"h2", "http/1.1"}, Certificates: []tls.Certificate{{Certificate: [][]byte{der}, PrivateKey: key}}},
		pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der})
}

// up starts the service; stop ends it gently.
func (s *sky) up(t testing.TB) {
	t.Helper()
	l, err := service.Listen(context.Background(), "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	ready, done := make(chan *service.Running, 1), make(chan error, 1)
	go func() {
		done <- service.Run(ctx, service.Options{DB: s.dsn, Origin: s.url, TLS: s.config, Listener: l, Log: quiet, Wrap: s.wrap, Now: s.now,
			Ready: func(r *service.Running) { ready <- r }})
	}()
	select {
	case r := <-ready:
		s.box = r.Box
	case err := <-done:
		t.Fatalf("the cloud ended: %v", err)
	}
	s.cable.Retarget(l.Addr().String())
	var once sync.Once
	s.stop = func() {
		once.Do(func() {
			cancel()
			if err := <-done; err != nil {
				t.Errorf("the cloud ended with %v", err)
			}
		})
	}
	t.Cleanup(s.stop)
}

// code makes a one-time code.
func (s *sky) code(t testing.TB, kind, id string) gateway.Secret {
	t.Helper()
	code, now := gateway.NewSecret(gateway.NewJTI()), time.Now()
	if s.now != nil {
		now = s.now()
	}
	if err := s.box.AddCode(context.Background(), kind, id, code, now.Add(time.Hour)); err != nil {
		t.Fatal(err)
	}
	return code
}

// shipper is an issuer under test, enrolled at a cloud.
type shipper struct {
	id      gateway.IssuerID
	key     *tokens.SigningKey
	opening *tokens.OpeningKey
	jwks    []byte
	client  *uplink.Client
	sky     *sky
	now     func() time.Time
}

func newShipper(t testing.TB, id gateway.IssuerID) *shipper {
	t.Helper()
	p := &shipper{id: id, now: time.Now}
	var err error
	if p.key, err = tokens.GenerateES256(); err != nil {
		t.Fatal(err)
	}
	if p.opening, err = tokens.GenerateOpening(); err != nil {
		t.Fatal(err)
	}
	if p.jwks, err = tokens.MarshalKeySet(p.key.PublicKey, &p.opening.PublicKey); err != nil {
		t.Fatal(err)
	}
	return p
}

func (p *shipper) enrol(t testing.TB, s *sky) {
	t.Helper()
	p.sky = s
	u, err := url.Parse(s.url)
	if err != nil {
		t.Fatal(err)
	}
	p.client = uplink.NewClient(uplink.ClientOpts{URL: u, TLS: &tls.Config{RootCAs: s.roots}, Now: p.now, Sign: func(now time.Time) (string, error) {
		return tokens.SignAssertion(p.key, string(p.id), s.url, now)
	}})
	t.Cleanup(p.client.Close)
	code := s.code(t, mailbox.KindIssuer, string(p.id))
	if err := p.client.Do(context.Background(), "POST", "/v1/issuers", cloud.IssuerEnrolment{Code: code.Reveal(), Iss: p.id, JWKS: p.jwks}, nil); err != nil {
		t.Fatal(err)
	}
}

// put writes a sealed document as an item.
func (p *shipper) put(gw gateway.GatewayID, i gateway.Item) error {
	return p.client.Do(context.Background(), "PUT", "/v1/gateways/"+string(gw)+"/items/"+i.ID, cloud.ItemWrite{Kind: i.Kind, Ver: i.Ver, Exp: i.Exp, Body: i.Body}, nil)
}

// sealed makes an item of a grant for a gateway.
func (p *shipper) sealed(t testing.TB, id *tokens.Identity, g gateway.Grant) gateway.Item {
	t.Helper()
	text, err := tokens.SignGrant(p.key, id.ID, g)
	if err == nil {
		text, err = tokens.Seal(text, tokens.TypGrant, id.Opening.PublicKey)
	}
	if err != nil {
		t.Fatal(err)
	}
	return gateway.Item{ID: gateway.ItemID(p.id, g.ID.JTI), Kind: gateway.ItemGrant, Ver: g.Version, Exp: gateway.Midnight(g.NotAfter.Unix()), Body: text}
}

func (p *shipper) grantOf(jti string, ver int64, status gateway.GrantStatus) gateway.Grant {
	now := p.now().Truncate(time.Second)
	return gateway.Grant{ID: gateway.GrantID{Issuer: p.id, JTI: jti}, Version: ver, Status: status, Doors: []gateway.DoorID{"front"},
		IssuedAt: now, Period: gateway.Period{NotBefore: now, NotAfter: now.Add(24 * time.Hour)}, Uses: 1}
}

// send seals and writes a grant.
func (p *shipper) send(t testing.TB, id *tokens.Identity, g gateway.Grant) {
	t.Helper()
	if err := p.put(id.ID, p.sealed(t, id, g)); err != nil {
		t.Fatal(err)
	}
}

// sendDocument seals another document and writes it.
func (p *shipper) sendDocument(t testing.TB, id *tokens.Identity, typ, jti string, kind gateway.ItemKind, ver, exp int64, sign func() (string, error)) {
	t.Helper()
	text, err := sign()
	if err == nil {
		text, err = tokens.Seal(text, typ, id.Opening.PublicKey)
	}
	if err == nil {
		err = p.put(id.ID, gateway.Item{ID: gateway.ItemID(p.id, jti), Kind: kind, Ver: ver, Exp: exp, Body: text})
	}
	if err != nil {
		t.Fatal(err)
	}
}

func (p *shipper) manifest(t testing.TB, id *tokens.Identity, ver int64, lines ...gateway.ManifestLine) {
	t.Helper()
	now := p.now().Truncate(time.Second)
	m := gateway.Manifest{Issuer: p.id, Version: ver, IssuedAt: now, NextUpdate: now.Add(time.Hour), Count: len(lines), Digest: gateway.ManifestDigest(lines)}
	p.sendDocument(t, id, tokens.TypManifest, tokens.JTIManifest, gateway.ItemManifest, ver, m.NextUpdate.Unix(), func() (string, error) { return tokens.SignManifest(p.key, id.ID, m) })
}

func (p *shipper) command(t testing.TB, id *tokens.Identity, jti string, iat time.Time) {
	t.Helper()
	m := gateway.Command{Issuer: p.id, JTI: jti, IssuedAt: iat, NotAfter: iat.Add(gateway.CommandLife), Door: "front"}
	p.sendDocument(t, id, tokens.TypCommand, jti, gateway.ItemCommand, 1, m.NotAfter.Unix(), func() (string, error) { return tokens.SignCommand(p.key, id.ID, m) })
}

// letter is an event as its issuer reads it.
type letter struct {
	Seq     int64
	Gateway gateway.GatewayID
	Log     string
	Event   gateway.Event
	Raw     string
}

// follow reads the issuer's feed from a place until enough says so, or the time is over.
func (p *shipper) follow(t testing.TB, after int64, keys tokens.KeySet, enough func([]letter) bool) (list []letter) {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), 30*time.Second)
	defer cancel()
	for ctx.Err() == nil {
		err := p.client.Stream(ctx, fmt.Sprintf("/v1/issuers/%s/feed?after=%d", p.id, after), func(e web.Event) error {
			if e.Name == "event" {
				var d gateway.Delivered
				if err := json.Unmarshal(e.Data, &d); err != nil {
					return err
				}
				m, err := tokens.OpenEvent(p.opening, p.id, d.Body, func(gateway.GatewayID) (tokens.KeySet, error) { return keys, nil })
				if err != nil {
					return err
				}
				l := letter{d.Seq, d.Gateway, m.Log, gateway.Event{}, string(m.Event)}
				if err := json.Unmarshal(m.Event, &l.Event); err != nil {
					return err
				}
				list, after = append(list, l), d.Seq
			}
			if enough(list) {
				return errEnough
			}
			return nil
		})
		if errors.Is(err, errEnough) {
			return list
		}
	}
	t.Fatalf("%s: what was waited for did not come; %d letters did: %v", p.id, len(list), types(list))
	return nil
}

var errEnough = errors.New("enough")

func types(list []letter) (names []string) {
	for _, l := range list {
		names = append(names, string(l.Event.Type))
	}
	return names
}

const cloudYAML = `gateway: {name: Test, time_zone: Europe/Paris, state_dir: state}
api: {listen: "", socket: s}
clock: {source: system}
doors:
  - {id: front, strike: {driver: sim}, release_time: 3s}
readers:
  - {id: pad, door: front, driver: sim}
issuers:
  - {id: colis-x.example, keys: x.json, doors: [front], bearer: true, max_validity: off, remote_unlock: true}
  - {id: soins-y.example, keys: y.json, doors: [front], bearer: true, max_validity: off}
cloud: {url: "%s", ca: ca.pem}
`

// home is a gateway under test with its cloud and its two issuers.
type home struct {
	*house
	sky  *sky
	x, y *shipper
}

// newHome builds and starts a gateway that is enrolled and connected.
func newHome(t testing.TB, s *sky) *home {
	t.Helper()
	h := &home{house: &house{dir: t.TempDir()}, sky: s, x: newShipper(t, "colis-x.example"), y: newShipper(t, "soins-y.example")}
	for name, content := range map[string][]byte{"x.json": h.x.jwks, "y.json": h.y.jwks, "ca.pem": s.ca, "g.yaml": fmt.Appendf(nil, cloudYAML, s.url)} {
		if err := os.WriteFile(filepath.Join(h.dir, name), content, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	h.x.enrol(t, s)
	h.y.enrol(t, s)
	h.start(t)
	h.enrol(t)
	h.connected(t)
	return h
}

func (h *home) enrol(t testing.TB) {
	t.Helper()
	if _, err := h.backend().Upkeep.EnrolInCloud(context.Background(), api.CloudEnrolment{Code: h.sky.code(t, mailbox.KindGateway, string(h.identity.ID)).Reveal()}); err != nil {
		t.Fatal(err)
	}
}

// until waits for something that the record's growth announces, and looks again every
// few milliseconds for what it does not.
func (h *home) until(t testing.TB, what string, ok func() bool) {
	t.Helper()
	grown, stop := h.store.Watch()
	defer stop()
	deadline := time.NewTimer(30 * time.Second)
	defer deadline.Stop()
	tick := time.NewTicker(5 * time.Millisecond)
	defer tick.Stop()
	for !ok() {
		select {
		case <-grown:
		case <-tick.C:
		case <-deadline.C:
			t.Fatalf("%s: it did not happen within 30 s", what)
		}
	}
}

func (h *home) connected(t testing.TB) {
	t.Helper()
	h.until(t, "connected", func() bool { s, _ := h.uplink.State(); return s == uplink.Connected })
}

// known waits until the gateway has a version of a grant.
func (h *home) known(t testing.TB, iss gateway.IssuerID, jti string, ver int64) {
	t.Helper()
	h.until(t, jti, func() bool {
		g, found, err := h.find(context.Background(), gateway.GrantID{Issuer: iss, JTI: jti})
		return err == nil && found && g.Version >= ver
	})
}

// events gives the record's events of a type.
func (h *home) events(t testing.TB, typ gateway.EventType) (list []gateway.Event) {
	t.Helper()
	for after := int64(0); ; {
		page, err := h.store.Events(context.Background(), after, 1000)
		if err != nil {
			t.Fatal(err)
		}
		for _, e := range page {
			if e.Type == typ {
				list = append(list, e)
			}
			after = e.Seq
		}
		if len(page) < 1000 {
			return list
		}
	}
}

// present shows a grant's text at the reader.
func (h *home) present(t testing.TB, text string) gateway.Reason {
	t.Helper()
	out := h.access.Present(context.Background(), "front", "pad", gateway.GrantCredential{Text: gateway.NewSecret(text)})
	return out.Reason
}

func sqliteSky(t testing.TB) *sky {
	s := newSky(t, filepath.Join(t.TempDir(), "mail.db"))
	s.up(t)
	return s
}

func signed(t testing.TB, sign func() (string, error)) string {
	t.Helper()
	text, err := sign()
	if err != nil {
		t.Fatal(err)
	}
	return text
}

// find gives what is remembered of a grant.
func (g *Gateway) find(ctx context.Context, id gateway.GrantID) (r gateway.GrantRecord, found bool, err error) {
	err = g.store.View(ctx, func(tx *store.Tx) error { r, found = tx.Grants.Get(id); return nil })
	return r, found, err
}
