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
	"slices"
	"strings"
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
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	cert := &x509.Certificate{SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "test"}, NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().AddDate(2, 0, 0),
		IsCA: true, BasicConstraintsValid: true, KeyUsage: x509.KeyUsageCertSign | x509.KeyUsageDigitalSignature, IPAddresses: []net.IP{net.IPv4(127, 0, 0, 1)}}
	der, err := x509.CreateCertificate(rand.Reader, cert, cert, key.Public(), key)
	if err != nil {
		t.Fatal(err)
	}
	s.ca = pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der})
	s.roots = x509.NewCertPool()
	s.roots.AppendCertsFromPEM(s.ca)
	s.config = &tls.Config{MinVersion: tls.VersionTLS13, NextProtos: []string{"h2", "http/1.1"}, Certificates: []tls.Certificate{{Certificate: [][]byte{der}, PrivateKey: key}}}
	return s
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

// The whole way: a grant comes down, opens, and its events go up to its issuer alone; a
// revocation waits for the cable.
func TestCloud(t *testing.T) {
	h := newHome(t, sqliteSky(t))
	g := h.x.grantOf("one", 1, gateway.GrantActive)
	h.x.send(t, h.identity, g)
	h.known(t, h.x.id, "one", 1)
	text, err := tokens.SignGrant(h.x.key, h.identity.ID, g)
	if err != nil {
		t.Fatal(err)
	}
	if r := h.present(t, text); r != "" {
		t.Errorf("denied: %s", r)
	}
	two := h.x.grantOf("two", 1, gateway.GrantActive)
	h.x.send(t, h.identity, two)
	h.known(t, h.x.id, "two", 1)
	h.y.send(t, h.identity, h.y.grantOf("other", 1, gateway.GrantActive))
	h.known(t, h.y.id, "other", 1)

	h.sky.cable.Refuse()
	h.until(t, "disconnected", func() bool { s, _ := h.uplink.State(); return s == uplink.Disconnected })
	// The carrier's way to the cloud is another: it writes while the gateway is away.
	revoked := h.x.grantOf("two", 2, gateway.GrantRevoked)
	item := h.x.sealed(t, h.identity, revoked)
	if _, _, err := h.sky.box.Put(context.Background(), h.identity.ID, h.x.id, item, time.Now()); err != nil {
		t.Fatal(err)
	}
	h.sky.cable.Heal()
	healed := time.Now()
	h.known(t, h.x.id, "two", 2)
	t.Logf("the revocation landed %s after the cable was mended", time.Since(healed).Round(time.Millisecond))
	twoText, err := tokens.SignGrant(h.x.key, h.identity.ID, two)
	if err != nil {
		t.Fatal(err)
	}
	if r := h.present(t, twoText); r != gateway.Revoked {
		t.Errorf("after its revocation: %s", r)
	}

	keys := tokens.NewKeySet(h.identity.Signing.PublicKey)
	list := h.x.follow(t, 0, keys, func(l []letter) bool { return slices.Contains(types(l), "access_denied") })
	want := []string{"grant_added", "access_granted", "strike_released", "grant_added", "grant_revoked", "access_denied"}
	got := slices.DeleteFunc(types(list), func(s string) bool { return s == "strike_secured" || s == "access_not_taken" })
	if !slices.Equal(got, want) {
		t.Errorf("events %v, want %v", got, want)
	}
	for _, l := range list {
		if l.Event.Issuer != h.x.id || l.Gateway != h.identity.ID || l.Event.Seq != 0 || l.Event.Hash != "" {
			t.Errorf("%+v", l)
		}
	}
	others := h.y.follow(t, 0, keys, func(l []letter) bool { return len(l) > 0 })
	if len(others) != 1 || others[0].Event.Grant != "other" {
		t.Errorf("another issuer's events: %v", types(others))
	}
}

// N7: one that is poisoned is recorded with its reason, and blocks nothing behind it.
func TestPoisonedItems(t *testing.T) {
	h := newHome(t, sqliteSky(t))
	forger, stranger := newShipper(t, h.x.id), newShipper(t, "unknown.example")
	other, err := tokens.LoadIdentity(t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	put := func(jti string, i gateway.Item) {
		t.Helper()
		i.ID = gateway.ItemID(h.x.id, jti)
		if err := h.x.put(h.identity.ID, i); err != nil {
			t.Fatal(err)
		}
	}
	good := h.x.grantOf("good", 1, gateway.GrantActive)
	readdressed := h.x.sealed(t, other, good)
	if readdressed.Body, err = tokens.SignGrant(h.x.key, other.ID, good); err != nil {
		t.Fatal(err)
	}
	if readdressed.Body, err = tokens.Seal(readdressed.Body, tokens.TypGrant, h.identity.Opening.PublicKey); err != nil {
		t.Fatal(err)
	}
	over := h.x.grantOf("over", 1, gateway.GrantActive)
	over.NotBefore, over.NotAfter = over.NotBefore.Add(-time.Hour), over.NotBefore.Add(-time.Minute)
	unknown := h.x.sealed(t, h.identity, good)
	unknown.Kind = "horoscope"
	for n, c := range []struct {
		item gateway.Item
		want gateway.Reason
	}{
		{forger.sealed(t, h.identity, forger.grantOf("f", 1, gateway.GrantActive)), gateway.BadSignature},
		{stranger.sealed(t, h.identity, stranger.grantOf("s", 1, gateway.GrantActive)), gateway.UnknownIssuer},
		{h.x.sealed(t, other, good), gateway.UnknownCredential},
		{readdressed, gateway.WrongGateway},
		{gateway.Item{Kind: "grant", Ver: 1, Exp: 1900000000, Body: "rubbish"}, gateway.UnknownCredential},
		{gateway.Item{Kind: "grant", Ver: 1, Exp: 1900000000, Body: strings.Repeat("x", gateway.MaxItemBody)}, gateway.UnknownCredential},
		{h.x.sealed(t, h.identity, over), gateway.Expired},
		{unknown, gateway.UnknownCredential},
	} {
		put(fmt.Sprint("poison", n), c.item)
		h.until(t, string(c.want), func() bool { return len(h.events(t, gateway.GrantRejected)) > n })
		if e := h.events(t, gateway.GrantRejected)[n]; e.Reason != c.want {
			t.Errorf("item %d: recorded as %s, want %s", n, e.Reason, c.want)
		}
	}
	h.x.send(t, h.identity, good)
	h.known(t, h.x.id, "good", 1)
	// The same again by a snapshot: nothing is taken twice, and the good one stays.
	if err := h.sky.box.Compact(context.Background(), h.identity.ID, time.Unix(0, 0)); err != nil {
		t.Fatal(err)
	}
	h.stop()
	h.start(t)
	h.connected(t)
	if n := len(h.events(t, gateway.GrantAdded)); n != 1 {
		t.Errorf("%d grants were added", n)
	}
}

// A9: who withholds an item shows in the manifest, at once, and the issuer goes stale.
func TestManifests(t *testing.T) {
	h := newHome(t, sqliteSky(t))
	state := func() gateway.IssuerState {
		s, err := store.Look(context.Background(), h.store, func(tx *store.Tx) gateway.IssuerState { return tx.Issuers.State(h.x.id, "") })
		if err != nil {
			t.Fatal(err)
		}
		return s
	}
	line := func(jti string, ver int64) gateway.ManifestLine { return gateway.ManifestLine{JTI: jti, Ver: ver} }
	for _, jti := range []string{"a", "b"} {
		h.x.send(t, h.identity, h.x.grantOf(jti, 1, gateway.GrantActive))
	}
	h.known(t, h.x.id, "b", 1)
	h.x.manifest(t, h.identity, 1, line("a", 1), line("b", 1))
	h.until(t, "the manifest", func() bool { return !state().ManifestAt.IsZero() })
	first := state().ManifestAt
	if n := len(h.events(t, gateway.GrantRejected)); n != 0 {
		t.Errorf("%d rejections by a manifest that is right", n)
	}
	// The issuer has revoked b; the cloud keeps that to itself and delivers the manifest.
	next := first.Add(2 * time.Second)
	h.x.now = func() time.Time { return next }
	h.x.manifest(t, h.identity, 2, line("a", 1))
	h.until(t, "the event", func() bool { return len(h.events(t, gateway.GrantRejected)) == 1 })
	if e := h.events(t, gateway.GrantRejected)[0]; e.Reason != gateway.IssuerStale || e.Issuer != h.x.id {
		t.Errorf("%+v", e)
	}
	if !state().ManifestAt.Equal(first) {
		t.Error("a manifest that does not match counts for offline_limit")
	}
	// The revocation comes after all: the manifest is right now.
	h.x.send(t, h.identity, h.x.grantOf("b", 2, gateway.GrantRevoked))
	h.until(t, "the manifest's second look", func() bool { return state().ManifestAt.Equal(next) })
	// An older one, replayed, changes nothing.
	if in, err := h.access.TakeItem(context.Background(), gateway.ItemManifest, signed(t, func() (string, error) {
		return tokens.SignManifest(h.x.key, h.identity.ID, gateway.Manifest{Issuer: h.x.id, Version: 1, IssuedAt: next, NextUpdate: next.Add(time.Hour)})
	})); err != nil || in.Result != "rejected" || !state().ManifestAt.Equal(next) {
		t.Errorf("an older manifest: %+v, %v", in, err)
	}
	// A grant that is refused here (its PIN equals a live one) was not withheld.
	pin := h.pinGrant(t, "front")
	clash := h.x.grantOf("clash", 1, gateway.GrantActive)
	clash.PIN = pin
	h.x.send(t, h.identity, clash)
	h.until(t, "the refusal", func() bool { return len(h.events(t, gateway.GrantRejected)) == 3 })
	later := next.Add(time.Second)
	h.x.now = func() time.Time { return later }
	h.x.manifest(t, h.identity, 3, line("a", 1), line("clash", 1))
	h.until(t, "a manifest with a refused grant", func() bool { return state().ManifestAt.Equal(later) })
}

func signed(t testing.TB, sign func() (string, error)) string {
	t.Helper()
	text, err := sign()
	if err != nil {
		t.Fatal(err)
	}
	return text
}

// A key set of the issuer's replaces the file's, outlives a restart, and ends with the file.
func TestKeyRotation(t *testing.T) {
	h := newHome(t, sqliteSky(t))
	next := newShipper(t, h.x.id)
	jwks, err := tokens.MarshalKeySet(next.key.PublicKey, &h.x.opening.PublicKey)
	if err != nil {
		t.Fatal(err)
	}
	rotate := func(by *tokens.SigningKey, ver int64, jwks []byte) {
		k := gateway.KeyRing{Issuer: h.x.id, Version: ver, IssuedAt: time.Now().Truncate(time.Second), JWKS: jwks}
		h.x.sendDocument(t, h.identity, tokens.TypKeys, tokens.JTIKeys, gateway.ItemKeys, ver, k.IssuedAt.AddDate(1, 0, 0).Unix(), func() (string, error) { return tokens.SignKeys(by, h.identity.ID, k) })
	}
	stranger := newShipper(t, h.x.id)
	rotate(stranger.key, 1, stranger.jwks)
	h.until(t, "a stranger's keys are rejected", func() bool { return len(h.events(t, gateway.GrantRejected)) == 1 })
	rotate(h.x.key, 5, jwks)
	trusts := func(k *tokens.SigningKey) func() bool {
		return func() bool { set, _ := h.issuers.Keys(h.x.id); return slices.Equal(set.KeyIDs(), []string{k.KeyID()}) }
	}
	h.until(t, "the new key", trusts(next.key))
	h.stop()
	h.start(t)
	if !trusts(next.key)() {
		t.Error("the rotation did not outlive a restart")
	}
	h.connected(t)
	// Signed by the new key it is good, by the old one it is not; a snapshot has both in it.
	old := h.x.key
	h.x.send(t, h.identity, h.x.grantOf("by-the-old", 1, gateway.GrantActive))
	h.until(t, "the old key is over", func() bool { return len(h.events(t, gateway.GrantRejected)) == 2 })
	h.x.key = next.key
	item := h.x.sealed(t, h.identity, h.x.grantOf("by-the-new", 1, gateway.GrantActive))
	h.x.key = old // at the cloud the old one is enrolled
	if err := h.x.put(h.identity.ID, item); err != nil {
		t.Fatal(err)
	}
	h.known(t, h.x.id, "by-the-new", 1)
	// An older set, replayed, changes nothing; another file does.
	if in, err := h.access.TakeItem(context.Background(), gateway.ItemKeys, signed(t, func() (string, error) {
		return tokens.SignKeys(next.key, h.identity.ID, gateway.KeyRing{Issuer: h.x.id, Version: 5, IssuedAt: time.Now().Truncate(time.Second), JWKS: h.x.jwks})
	})); err != nil || in.Result == "accepted" || !trusts(next.key)() {
		t.Errorf("an older key set: %+v, %v", in, err)
	}
	h.stop()
	if err := os.WriteFile(filepath.Join(h.dir, "x.json"), stranger.jwks, 0o600); err != nil {
		t.Fatal(err)
	}
	h.start(t)
	if !trusts(stranger.key)() {
		t.Error("a new file does not count")
	}
}

// A revocation that comes before the key that signed it counts as soon as the key is there.
func TestRevocationBeforeItsKey(t *testing.T) {
	h := newHome(t, sqliteSky(t))
	h.x.send(t, h.identity, h.x.grantOf("g", 1, gateway.GrantActive))
	h.known(t, h.x.id, "g", 1)
	next := newShipper(t, h.x.id)
	jwks, err := tokens.MarshalKeySet(next.key.PublicKey, &h.x.opening.PublicKey)
	if err != nil {
		t.Fatal(err)
	}
	old := h.x.key
	h.x.key = next.key
	revocation := h.x.sealed(t, h.identity, h.x.grantOf("g", 2, gateway.GrantRevoked))
	h.x.key = old
	if err := h.x.put(h.identity.ID, revocation); err != nil {
		t.Fatal(err)
	}
	h.until(t, "nobody knows the key", func() bool { return len(h.events(t, gateway.GrantRejected)) == 1 })
	k := gateway.KeyRing{Issuer: h.x.id, Version: 2, IssuedAt: time.Now().Truncate(time.Second), JWKS: jwks}
	h.x.sendDocument(t, h.identity, tokens.TypKeys, tokens.JTIKeys, gateway.ItemKeys, 2, k.IssuedAt.AddDate(1, 0, 0).Unix(),
		func() (string, error) { return tokens.SignKeys(old, h.identity.ID, k) })
	h.known(t, h.x.id, "g", 2)
}

// F10: a command opens once, within its seconds, in the process that was there, and only
// where the resident allows it.
func TestCommands(t *testing.T) {
	h := newHome(t, sqliteSky(t))
	granted := func() int { return len(h.events(t, gateway.AccessGranted)) }
	denied := func(reason gateway.Reason) func() bool {
		return func() bool {
			return slices.ContainsFunc(h.events(t, gateway.AccessDenied), func(e gateway.Event) bool { return e.Reason == reason })
		}
	}
	now := func() time.Time { return time.Now().Truncate(time.Second) }
	// A command waits for the second after this process began.
	for h.access.Present(context.Background(), "front", "app", gateway.CommandCredential{Command: gateway.Command{Issuer: h.x.id, JTI: gateway.NewJTI(),
		IssuedAt: now(), NotAfter: now().Add(30 * time.Second), Door: "front"}}).Reason == gateway.Expired {
		<-time.After(50 * time.Millisecond)
	}
	before := granted()
	h.x.command(t, h.identity, "c1", now())
	h.until(t, "the command", func() bool { return granted() == before+1 })
	e := h.events(t, gateway.AccessGranted)[before]
	if e.Issuer != h.x.id || e.Grant != "c1" || e.Reader != gateway.ReaderApp {
		t.Errorf("%+v", e)
	}
	cmd := func(iss gateway.IssuerID, jti string, iat time.Time) gateway.Reason {
		return h.access.Present(context.Background(), "front", "app", gateway.CommandCredential{Command: gateway.Command{Issuer: iss, JTI: jti, IssuedAt: iat, NotAfter: iat.Add(30 * time.Second), Door: "front"}}).Reason
	}
	for _, c := range []struct {
		iss  gateway.IssuerID
		jti  string
		iat  time.Time
		want gateway.Reason
	}{
		{h.x.id, "c1", now(), gateway.UsesSpent},
		{h.x.id, "c2", now().Add(-31 * time.Second), gateway.Expired},
		{h.x.id, "c3", now().Add(2 * time.Minute), gateway.NotYetValid},
		{h.y.id, "c4", now(), gateway.BeyondPolicy},
	} {
		if r := cmd(c.iss, c.jti, c.iat); r != c.want {
			t.Errorf("%s: %s, want %s", c.jti, r, c.want)
		}
	}
	if in, err := h.access.TakeItem(context.Background(), gateway.ItemCommand, signed(t, func() (string, error) {
		return tokens.SignCommand(h.x.key, h.identity.ID, gateway.Command{Issuer: h.x.id, JTI: "bag", IssuedAt: now(), NotAfter: now().Add(time.Second), Door: "front"})
	})); err != nil || in.Result != "rejected" {
		t.Errorf("a command in a mailbag: %+v, %v", in, err)
	}
	// Issued while the gateway was down: over when it comes up, however few seconds that took.
	before = granted()
	h.stop()
	h.x.command(t, h.identity, "while-down", now().Add(-time.Second))
	h.start(t)
	h.connected(t)
	h.until(t, "it is told as over", denied(gateway.Expired))
	// And the one that was carried out before the restart is not carried out again.
	if r := cmd(h.x.id, "c1", now()); r != gateway.UsesSpent {
		t.Errorf("after a restart: %s", r)
	}
	if granted() != before {
		t.Error("a command from before the restart opened")
	}
}
