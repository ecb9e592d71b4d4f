package certs

import (
	"bytes"
	"context"
	"crypto/ecdsa"
	"crypto/tls"
	"crypto/x509"
	"encoding/json"
	"fmt"
	"io"
	"log"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// visit is what Chromium says of one page (.ci/browser/visit.mjs).
type visit struct {
	URL, Error, Text string
	Secure, Passkeys bool
}

// browser is Chromium with a store of trusted certificates of its own.
type browser struct{ folder, home, chromium, certutil, node string }

func newBrowser(t *testing.T) browser {
	t.Helper()
	b := browser{folder: os.Getenv("GARDIEN_BROWSER"), home: t.TempDir()}
	if b.folder == "" {
		t.Skip("GARDIEN_BROWSER does not name the folder with playwright-core: run .ci/browser/run")
	}
	if _, err := os.Stat(filepath.Join(b.folder, "node_modules", "playwright-core")); err != nil {
		t.Skipf("playwright-core is not here: run npm ci in %s", b.folder)
	}
	for name, path := range map[string]*string{"chromium": &b.chromium, "certutil": &b.certutil, "node": &b.node} {
		var err error
		if *path, err = exec.LookPath(name); err != nil {
			t.Skipf("%s is not here", name)
		}
	}
	b.run(t, b.certutil, nil, "-N", "--empty-password", "-d", b.store(t))
	return b
}

func (b browser) store(t *testing.T) string {
	dir := filepath.Join(b.home, ".pki", "nssdb")
	if err := os.MkdirAll(dir, 0o700); err != nil {
		t.Fatal(err)
	}
	return "sql:" + dir
}

func (b browser) run(t *testing.T, program string, stdin []byte, args ...string) []byte {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 2*time.Minute)
	defer cancel()
	cmd := exec.CommandContext(ctx, program, args...)
	var stderr bytes.Buffer
	cmd.Stdin, cmd.Stderr = bytes.NewReader(stdin), &stderr
	cmd.Env = append(os.Environ(), "HOME="+b.home, "XDG_CONFIG_HOME="+b.home, "XDG_CACHE_HOME="+b.home, "XDG_DATA_HOME="+filepath.Join(b.home, "data"))
	out, err := cmd.Output()
	if err != nil {
		t.Fatalf("%s %v: %v\n%s", program, args, err, stderr.Bytes())
	}
	return out
}

// trust installs a CA as a person does: for web sites.
func (b browser) trust(t *testing.T, name string, der []byte) {
	t.Helper()
	b.run(t, b.certutil, encodeCertificate(der), "-A", "-a", "-t", "C,,", "-n", name, "-d", b.store(t))
}

// visit goes to the pages; every name is this machine.
func (b browser) visit(t *testing.T, urls ...string) (version string, visits []visit) {
	t.Helper()
	job, err := json.Marshal(map[string]any{"executable": b.chromium, "urls": urls,
		"args": []string{"--host-resolver-rules=MAP * 127.0.0.1"}})
	if err != nil {
		t.Fatal(err)
	}
	var answer struct {
		Version string
		Visits  []visit
	}
	if err := json.Unmarshal(b.run(t, b.node, job, filepath.Join(b.folder, "visit.mjs")), &answer); err != nil {
		t.Fatal(err)
	}
	if len(answer.Visits) != len(urls) {
		t.Fatalf("%d visits to %d pages", len(answer.Visits), len(urls))
	}
	return answer.Version, answer.Visits
}

// serve shows one page over TLS 1.3, and gives the port.
func serve(t *testing.T, get func(*tls.ClientHelloInfo) (*tls.Certificate, error)) string {
	t.Helper()
	l, err := tls.Listen("tcp", "127.0.0.1:0", &tls.Config{MinVersion: tls.VersionTLS13, GetCertificate: get})
	if err != nil {
		t.Fatal(err)
	}
	s := &http.Server{ErrorLog: log.New(io.Discard, "", 0), Handler: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Content-Type", "text/html; charset=utf-8")
		fmt.Fprintf(w, "<!doctype html><title>Gardien</title><p>%s", tls.VersionName(r.TLS.Version))
	})}
	go s.Serve(l)
	t.Cleanup(func() { s.Close() })
	_, port, _ := net.SplitHostPort(l.Addr().String())
	return port
}

// W6: what the house's CA can do in Chromium, and cannot. The last CA, without constraints, shows that it
// is the constraints which refuse, and what somebody who offers another CA could do.
func TestW6_Chromium(t *testing.T) {
	stranger, trusting := newBrowser(t), newBrowser(t)
	h := mustOpen(t, opts(t.TempDir(), at(synced(time.Now()))))
	trusting.trust(t, "the house", h.CA())
	free := unconstrained(t)
	trusting.trust(t, "without constraints", free.CA())

	fixed := func(h *House, change func(*x509.Certificate)) string {
		leaf, key := rogue(t, h, change)
		return serve(t, func(*tls.ClientHelloInfo) (*tls.Certificate, error) {
			return &tls.Certificate{Certificate: [][]byte{leaf.Raw}, PrivateKey: key}, nil
		})
	}
	own := serve(t, h.Certificate)
	const other, good, refused = "bank.example", "", "ERR_CERT_"
	pages := []struct{ what, url, want string }{
		{"own name", ownName + ":" + own, good},
		{"the leaf, by address", "127.0.0.1:" + own, "ERR_CERT_COMMON_NAME_INVALID"},
		{"own name, rogue leaf", ownName + ":" + fixed(h, named(ownName)), good},
		{"rogue leaf of another name", other + ":" + fixed(h, named(other)), refused},
		{"rogue leaf of another house", "gardien-aaaa.local:" + fixed(h, named("gardien-aaaa.local")), refused},
		{"rogue leaf of own name and another", other + ":" + fixed(h, named(ownName, other)), refused},
		{"rogue leaf of an address", "127.0.0.1:" + fixed(h, only("127.0.0.1")), refused},
		{"rogue leaf of own name and an address", ownName + ":" + fixed(h, addressed("127.0.0.1")), refused},
		{"the same, by address", "127.0.0.1:" + fixed(h, addressed("127.0.0.1")), refused},
		{"a CA without constraints: another name", other + ":" + fixed(free, named(other)), good},
		{"a CA without constraints: an address", "127.0.0.1:" + fixed(free, only("127.0.0.1")), good},
		{"a CA without constraints: own name and an address", ownName + ":" + fixed(free, addressed("127.0.0.1")), good},
	}
	var urls []string
	for _, p := range pages {
		urls = append(urls, "https://"+p.url+"/")
	}
	version, visits := trusting.visit(t, urls...)
	t.Logf("Chromium %s, the house's CA trusted:", version)
	for i, v := range visits {
		said := v.Error
		if said == "" {
			said = fmt.Sprintf("loaded over %s, secure context %v, passkeys %v", v.Text, v.Secure, v.Passkeys)
		}
		t.Logf("%-50s %s", pages[i].what, said)
		switch want := pages[i].want; {
		case want == good && (v.Error != "" || !v.Secure || v.Text != "TLS 1.3"):
			t.Errorf("%s: %+v", pages[i].what, v)
		case want == good && strings.HasPrefix(pages[i].url, ownName) && !v.Passkeys:
			t.Errorf("%s: no passkeys", pages[i].what)
		case want != good && !strings.HasPrefix(v.Error, want):
			t.Errorf("%s: %q, want %s", pages[i].what, said, want)
		}
	}
	_, visits = stranger.visit(t, urls[0])
	t.Logf("not trusted: own name: %s", visits[0].Error)
	if visits[0].Error != "ERR_CERT_AUTHORITY_INVALID" {
		t.Errorf("without the CA: %+v", visits[0])
	}
}

// unconstrained is a house whose CA vouches for anything.
func unconstrained(t *testing.T) *House {
	t.Helper()
	h := mustOpen(t, opts(t.TempDir(), at(synced(time.Now()))))
	template := *caOf(t, h)
	template.RawSubject, template.Extensions, template.Subject.CommonName = nil, nil, "Anything"
	template.PermittedDNSDomains, template.ExcludedIPRanges, template.PermittedDNSDomainsCritical = nil, nil, false
	ca, err := sign(&template, &template, h.caKey.Public().(*ecdsa.PublicKey), h.caKey)
	if err != nil {
		t.Fatal(err)
	}
	h.ca = ca
	return h
}
