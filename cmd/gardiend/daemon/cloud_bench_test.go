package daemon

import (
	"context"
	"crypto/ecdsa"
	"crypto/sha256"
	"database/sql"
	"encoding/base64"
	"encoding/json"
	"flag"
	"fmt"
	"math/big"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/go-jose/go-jose/v4"

	"gardien/gateway"
)

var b64 = base64.RawURLEncoding

// BenchmarkRevocation: written at the cloud → refused at the door, loopback, p50 ≤ 1.5 ×
// (one cloud commit + one gateway commit), each a bare commit of the same bytes in the same
// run.
func BenchmarkRevocation(b *testing.B) {
	h := newHome(b, sqliteSky(b))
	cloudDB, gatewayDB := h.sky.dsn, filepath.Join(h.cfg.Gateway.StateDir, "gardien.db")
	// The pages of one of each: the least of several, for what follows is not of the way.
	n, inCloud, inGateway := 0, int64(1<<20), int64(1<<20)
	for range 10 {
		n++
		var c, g int64
		h.revoke(b, fmt.Sprint("r", n), func() { c, g = walFrames(b, cloudDB), walFrames(b, gatewayDB) })
		if c, g = walFrames(b, cloudDB)-c, walFrames(b, gatewayDB)-g; c > 0 && g > 0 {
			inCloud, inGateway = min(inCloud, c), min(inGateway, g)
		}
	}
	cloudCommit, gatewayCommit := newBareOf(b, b.TempDir(), 4096, inCloud), newBare(b, h.dir, inGateway)
	var whole, commits []time.Duration
	for b.Loop() {
		n++
		whole = append(whole, h.revoke(b, fmt.Sprint("r", n), func() {}))
		commits = append(commits, cloudCommit.commit(b)+gatewayCommit.commit(b))
	}
	b.ReportMetric(float64(inCloud), "cloud-pages")
	b.ReportMetric(float64(inGateway), "gateway-pages")
	b.ReportMetric(quantile(whole, 0.5), "p50-µs")
	b.ReportMetric(quantile(whole, 0.99), "p99-µs")
	b.ReportMetric(quantile(commits, 0.5), "two-commits-µs")
	b.ReportMetric(quantile(whole, 0.5)/quantile(commits, 0.5), "ratio(≤1.5)")
}

// revoke sends a grant, lets all be quiet, and times its revocation.
func (h *home) revoke(b *testing.B, jti string, ready func()) time.Duration {
	b.Helper()
	ctx := context.Background()
	h.x.send(b, h.identity, h.x.grantOf(jti, 1, gateway.GrantActive))
	h.known(b, h.x.id, jti, 1)
	h.until(b, "its event has gone up", func() bool {
		_, _, list, err := h.store.Unsent(ctx, 1)
		return err == nil && len(list) == 0
	})
	item := h.x.sealed(b, h.identity, h.x.grantOf(jti, 2, gateway.GrantRevoked))
	grown, stop := h.store.Watch()
	defer stop()
	ready()
	begun := time.Now()
	if _, _, err := h.sky.box.Put(ctx, h.identity.ID, h.x.id, item, begun); err != nil {
		b.Fatal(err)
	}
	for {
		g, _, err := h.find(ctx, gateway.GrantID{Issuer: h.x.id, JTI: jti})
		if err != nil {
			b.Fatal(err)
		}
		if g.Status == gateway.GrantRevoked {
			return time.Since(begun)
		}
		<-grown
	}
}

// BenchmarkSnapshot: 10,000 sealed grants into an empty gateway ≤ 2 × (bare JWE open +
// signature check + one bulk insert of the same rows).
func BenchmarkSnapshot(b *testing.B) {
	const grants = 10_000
	h := newHome(b, sqliteSky(b))
	ctx := context.Background()
	s := gateway.FeedSnapshot{Epoch: "bench", Head: grants}
	for n := range grants {
		s.Items = append(s.Items, h.x.sealed(b, h.identity, h.x.grantOf(fmt.Sprint("s", n), 1, gateway.GrantActive)))
	}
	s.Digest = gateway.DigestOf(s.Items)
	h.stop()
	var ours, bare time.Duration
	runs := 0
	for b.Loop() {
		runs++
		empty := &home{house: &house{dir: h.dir}, sky: h.sky, x: h.x, y: h.y}
		for _, left := range []string{"gardien.db", "gardien.db-wal", "gardien.db-shm"} {
			os.Remove(filepath.Join(h.dir, "state", left))
		}
		empty.start(b)
		begun := time.Now()
		if err := empty.access.ReceiveAll(ctx, s); err != nil {
			b.Fatal(err)
		}
		ours += time.Since(begun)
		if n := len(empty.events(b, gateway.GrantAdded)); n != grants {
			b.Fatalf("%d grants came in", n)
		}
		empty.stop()
		bare += bareIntake(b, h, s)
	}
	b.ReportMetric(ours.Seconds()/float64(runs), "snapshot-s")
	b.ReportMetric(bare.Seconds()/float64(runs), "bare-s")
	b.ReportMetric(float64(ours)/float64(bare), "ratio(≤2)")
}

// bareIntake opens and checks with the libraries alone, and inserts in one transaction.
func bareIntake(b *testing.B, h *home, s gateway.FeedSnapshot) time.Duration {
	b.Helper()
	private, err := h.identity.Opening.Marshal()
	if err != nil {
		b.Fatal(err)
	}
	var key jose.JSONWebKey
	if err := json.Unmarshal(private, &key); err != nil {
		b.Fatal(err)
	}
	var set jose.JSONWebKeySet
	if err := json.Unmarshal(h.x.jwks, &set); err != nil {
		b.Fatal(err)
	}
	public := set.Keys[0].Key.(*ecdsa.PublicKey)
	db, err := sql.Open("sqlite3", "file:"+filepath.Join(b.TempDir(), "bare.db")+"?_journal_mode=WAL&_synchronous=FULL")
	if err != nil {
		b.Fatal(err)
	}
	defer db.Close()
	if _, err := db.Exec("CREATE TABLE grants (iss TEXT, jti TEXT, body TEXT, PRIMARY KEY (iss, jti)) WITHOUT ROWID"); err != nil {
		b.Fatal(err)
	}
	begun := time.Now()
	tx, err := db.Begin()
	if err != nil {
		b.Fatal(err)
	}
	insert, err := tx.Prepare("INSERT INTO grants VALUES (?, ?, ?)")
	if err != nil {
		b.Fatal(err)
	}
	for _, i := range s.Items {
		e, err := jose.ParseEncryptedCompact(i.Body, []jose.KeyAlgorithm{jose.ECDH_ES}, []jose.ContentEncryption{jose.A256GCM})
		if err != nil {
			b.Fatal(err)
		}
		plain, err := e.Decrypt(key.Key)
		if err != nil {
			b.Fatal(err)
		}
		parts := strings.Split(string(plain), ".")
		sig, err := b64.DecodeString(parts[2])
		if err != nil {
			b.Fatal(err)
		}
		sum := sha256.Sum256([]byte(parts[0] + "." + parts[1]))
		if !ecdsa.Verify(public, sum[:], new(big.Int).SetBytes(sig[:32]), new(big.Int).SetBytes(sig[32:])) {
			b.Fatal("a signature that is not good")
		}
		claims, err := b64.DecodeString(parts[1])
		if err != nil {
			b.Fatal(err)
		}
		if _, err := insert.Exec(string(h.x.id), i.ID, string(claims)); err != nil {
			b.Fatal(err)
		}
	}
	if err := tx.Commit(); err != nil {
		b.Fatal(err)
	}
	return time.Since(begun)
}

var idleFor = flag.Duration("idle", 30*time.Second, "how long BenchmarkIdleDay watches; its promise is for 10m")

// BenchmarkIdleDay: what a gateway and its cloud say to each other while nothing happens:
// bytes of the TLS stream, both ways, extrapolated to a day, ≤ 1 MB.
func BenchmarkIdleDay(b *testing.B) {
	h := newHome(b, sqliteSky(b))
	h.x.client.Close() // the issuers' connections run over the same cable
	h.y.client.Close()
	<-time.After(2 * time.Second)
	was, begun := h.sky.cable.Bytes(), time.Now()
	for left := *idleFor; left > 0; left -= time.Minute {
		<-time.After(min(left, time.Minute))
		fmt.Fprintf(os.Stderr, "idle for %s: %d bytes\n", time.Since(begun).Round(time.Second), h.sky.cable.Bytes()-was)
	}
	bytes, seconds := float64(h.sky.cable.Bytes()-was), time.Since(begun).Seconds()
	for b.Loop() {
	}
	b.ReportMetric(bytes/seconds*86400/1e6, "MB/day(≤1)")
	b.ReportMetric(seconds, "seconds-watched")
}
