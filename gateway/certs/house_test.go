package certs

import (
	"bytes"
	"crypto/tls"
	"crypto/x509"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"gardien/gateway"
)

const ownName = "gardien-62fg.local"

var (
	built   = time.Date(2026, 9, 1, 0, 0, 0, 0, time.UTC)
	moved   = time.Date(2026, 11, 27, 12, 0, 0, 0, time.UTC) // into the house
	lastNow = gateway.MaxTime.Add(-time.Second)              // wallclock's
)

// clock is what the test says it is.
type clock struct {
	mu sync.Mutex
	r  gateway.Reading
}

func (c *clock) Read() gateway.Reading {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.r
}

func (c *clock) set(r gateway.Reading) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.r = r
}

func synced(t time.Time) gateway.Reading {
	return gateway.Reading{Wall: t, Earliest: t, Latest: t, State: gateway.ClockSynced}
}

// undecided knows a floor; its wall clock is a year that would show.
func undecided(floor time.Time) gateway.Reading {
	return gateway.Reading{Wall: time.Date(2055, 1, 1, 0, 0, 0, 0, time.UTC), Earliest: floor, Latest: lastNow, State: gateway.ClockUndecided}
}

func at(r gateway.Reading) *clock { return &clock{r: r} }

// journal is a log that a test reads.
type journal struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (j *journal) Write(b []byte) (int, error) {
	j.mu.Lock()
	defer j.mu.Unlock()
	return j.b.Write(b)
}

func (j *journal) count(text string) int {
	j.mu.Lock()
	defer j.mu.Unlock()
	return strings.Count(j.b.String(), text)
}

func (j *journal) logger() *slog.Logger { return slog.New(slog.NewTextHandler(j, nil)) }

func opts(dir string, c *clock) Opts {
	return Opts{Dir: dir, Name: ownName, Clock: c, Log: new(journal).logger()}
}

func mustOpen(t testing.TB, o Opts) *House {
	t.Helper()
	h, err := Open(o)
	if err != nil {
		t.Fatal(err)
	}
	return h
}

// leafOf makes a handshake.
func leafOf(t testing.TB, h *House) *x509.Certificate {
	t.Helper()
	c, err := h.Certificate(nil)
	if err != nil || c == nil {
		t.Fatalf("a handshake got no certificate: %v", err)
	}
	if len(c.Certificate) != 1 || !bytes.Equal(c.Certificate[0], c.Leaf.Raw) {
		t.Fatal("what is sent is not the leaf alone")
	}
	return c.Leaf
}

func caOf(t testing.TB, h *House) *x509.Certificate {
	t.Helper()
	c, err := x509.ParseCertificate(h.CA())
	if err != nil {
		t.Fatal(err)
	}
	return c
}

// W6: keys and certificates are made once, and a restart changes none of them.
func TestW6_RestartKeepsTheHouse(t *testing.T) {
	dir, c := t.TempDir(), at(synced(moved))
	first := mustOpen(t, opts(dir, c))
	for _, name := range []string{caFile, caKeyFile, leafFile, leafKeyFile} {
		fi, err := os.Stat(filepath.Join(dir, name))
		if err != nil {
			t.Fatal(err)
		}
		if fi.Mode().Perm() != 0o600 {
			t.Errorf("%s has mode %v", name, fi.Mode())
		}
	}
	if entries, _ := os.ReadDir(dir); len(entries) != 4 {
		t.Errorf("%v in the folder", entries)
	}
	for _, r := range []gateway.Reading{synced(moved), undecided(built), undecided(moved), synced(moved.Add(100 * day))} {
		c.set(r)
		again := mustOpen(t, opts(dir, c))
		if again.Fingerprint() != first.Fingerprint() || again.CAFingerprint() != first.CAFingerprint() ||
			!leafOf(t, again).Equal(leafOf(t, first)) || !bytes.Equal(again.MobileConfig(), first.MobileConfig()) {
			t.Errorf("%v: the restart has changed the house", r.Earliest)
		}
	}
	if n := len(first.Fingerprint()); n != 64 || first.Fingerprint() != strings.ToLower(first.Fingerprint()) {
		t.Errorf("fp is %q", first.Fingerprint())
	}
	if first.Fingerprint() != fingerprint(leafOf(t, first).RawSubjectPublicKeyInfo) {
		t.Error("fp is not of the key of the leaf")
	}
}

// W6: what a client sees in TLS 1.3 is the leaf, and its key is fp's.
func TestW6_Handshake(t *testing.T) {
	h := mustOpen(t, opts(t.TempDir(), at(synced(moved))))
	l, err := tls.Listen("tcp", "127.0.0.1:0", &tls.Config{MinVersion: tls.VersionTLS13, GetCertificate: h.Certificate})
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	go func() {
		if c, err := l.Accept(); err == nil {
			c.(*tls.Conn).Handshake()
			c.Close()
		}
	}()
	pool := x509.NewCertPool()
	pool.AddCert(caOf(t, h))
	c, err := tls.Dial("tcp", l.Addr().String(), &tls.Config{RootCAs: pool, ServerName: ownName, Time: func() time.Time { return moved }})
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	if got := fingerprint(c.ConnectionState().PeerCertificates[0].RawSubjectPublicKeyInfo); got != h.Fingerprint() {
		t.Errorf("the peer's key is %s, fp %s", got, h.Fingerprint())
	}
}

// Handshakes at once, while the leaf gets old: the race detector's test, and one new leaf for all.
func TestHandshakesAtOnce(t *testing.T) {
	c := at(synced(moved))
	h := mustOpen(t, opts(t.TempDir(), c))
	old := leafOf(t, h)
	c.set(synced(moved.Add(300 * day)))
	var wg sync.WaitGroup
	leaves := make([]*tls.Certificate, 64)
	for i := range leaves {
		wg.Go(func() {
			leaves[i], _ = h.Certificate(&tls.ClientHelloInfo{ServerName: "whatever"})
			h.CA()
		})
	}
	wg.Wait()
	for _, l := range leaves {
		if l != leaves[0] || l.Leaf.Equal(old) {
			t.Fatal("not one new leaf for all")
		}
	}
}

// A name that no certificate can bear, or that is another CA's, is an error that says so.
func TestNames(t *testing.T) {
	for _, name := range []string{"", "gardien", "Gardien-62fg.local", "gardien-62fg.local.", "*.local", "-a.local", "a b.local", "10.0.0.1/x", strings.Repeat("a", 40) + ".local"} {
		if _, err := Open(Opts{Dir: t.TempDir(), Name: name, Clock: at(synced(moved))}); err == nil {
			t.Errorf("%q is taken", name)
		}
	}
	dir := t.TempDir()
	mustOpen(t, opts(dir, at(synced(moved))))
	o := opts(dir, at(synced(moved)))
	o.Name = "gardien-aaaa.local"
	_, err := Open(o)
	if err == nil || !strings.Contains(err.Error(), ownName) || !strings.Contains(err.Error(), o.Name) || !strings.Contains(err.Error(), "move house-ca.*") {
		t.Errorf("another name: %v", err)
	}
	for name, want := range map[string]string{ownName: "Gardien 62fg: this house only", "door.home.arpa": "Gardien door: this house only"} {
		if d := cmp.Diff(want, caName(name)); d != "" {
			t.Error(d)
		}
	}
}

func BenchmarkCertificate(b *testing.B) {
	h := mustOpen(b, opts(b.TempDir(), at(synced(moved))))
	for b.Loop() {
		if _, err := h.Certificate(nil); err != nil {
			b.Fatal(err)
		}
	}
}
