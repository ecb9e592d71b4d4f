package daemon

import (
	"context"
	"database/sql"
	"encoding/json"
	"fmt"
	"io"
	"maps"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"gardien/gateway"
	"gardien/gateway/api"
	"gardien/gateway/api/phone"
	"gardien/gateway/tokens"
	"gardien/store"
)

// carriersEnv names what a child process of strangers with mailbags reads: see flood.
const carriersEnv = "GARDIEN_TEST_CARRIERS"

// flood is what strangers at many addresses send: bag after bag, or bags that do not end.
type flood struct {
	Address, Base, Fingerprint string
	Carriers                   int
	Bags                       []string
	Trickle                    bool
}

// carryBags is the child. It tells on its standard output when it has begun.
func carryBags(file string) {
	var f flood
	if err := json.Unmarshal(must(os.ReadFile(file)), &f); err != nil {
		panic(err)
	}
	var next atomic.Int64
	var begun sync.Once
	for n := range f.Carriers {
		go func() {
			c := phone.From(phone.Pinning(f.Fingerprint, f.Address), net.IPv4(127, 0, 5, byte(1+n)), f.Address)
			for range 2 {
				go func() {
					for {
						bag := f.Bags[int(next.Add(1))%len(f.Bags)]
						var body io.Reader = strings.NewReader(bag)
						if f.Trickle {
							body = io.MultiReader(strings.NewReader(bag[:20<<10]), &trickle{rest: bag[20<<10:]})
						}
						q, _ := http.NewRequest("POST", f.Base+"/v1/mailbag", body)
						q.Header.Set("Content-Type", "application/json")
						begun.Do(func() { fmt.Println("begun") })
						res, err := c.Do(q)
						if err != nil {
							<-time.After(20 * time.Millisecond)
							continue
						}
						io.Copy(io.Discard, res.Body)
						res.Body.Close()
						if res.StatusCode != 200 { // it is told to come back in half a minute, and does not obey
							<-time.After(20 * time.Millisecond)
						}
					}
				}()
			}
		}()
	}
	select {}
}

// trickle gives a byte now and then.
type trickle struct{ rest string }

func (t *trickle) Read(b []byte) (int, error) {
	<-time.After(200 * time.Millisecond)
	n := copy(b[:1], t.rest)
	t.rest = t.rest[n:]
	return n, nil
}

// bagOf is a mailbag of texts, as many as fit.
func bagOf(texts ...string) string {
	var b strings.Builder
	b.WriteString(`{"items":[`)
	for i, t := range texts {
		if i == 1000 || b.Len()+len(t) > 250<<10 {
			break
		}
		if i > 0 {
			b.WriteByte(',')
		}
		fmt.Fprintf(&b, "%q", t)
	}
	b.WriteString("]}")
	return b.String()
}

func repeated(n int, text func(int) string) (list []string) {
	for i := range n {
		list = append(list, text(i))
	}
	return list
}

// signed is a grant of the carrier.
func (h *house) signed(b testing.TB, jti string, ver int64, change func(*gateway.Grant)) string {
	b.Helper()
	now := time.Now().Truncate(time.Second)
	g := gateway.Grant{ID: gateway.GrantID{Issuer: "colis-x.example", JTI: jti}, Version: ver, Status: gateway.GrantActive, Doors: []gateway.DoorID{"side"},
		IssuedAt: now, Period: gateway.Period{NotBefore: now, NotAfter: now.Add(24 * time.Hour)}}
	if change != nil {
		change(&g)
	}
	return must(tokens.SignGrant(h.carrier, h.identity.ID, g))
}

// floods are the bags that strangers send.
func (h *house) floods(b *testing.B) map[string]flood {
	sealed := must(tokens.Seal("nonsense", tokens.TypGrant, h.identity.Opening.PublicKey))
	known := h.signed(b, "known", 2, nil)
	old := h.signed(b, "known", 1, nil)
	if in, err := h.access.Take(context.Background(), known); err != nil || in.Refusal != nil {
		b.Fatal(in.Refusal, err)
	}
	var fresh []string
	for n := range 60 {
		fresh = append(fresh, bagOf(repeated(600, func(i int) string { return h.signed(b, fmt.Sprintf("new-%d-%d", n, i), 1, nil) })...))
	}
	always := func(text string) []string {
		return []string{bagOf(repeated(1000, func(int) string { return text })...)}
	}
	return map[string]flood{
		"1-garbage": {Bags: always(strings.Repeat("A", 250))},
		"2-sealed":  {Bags: always(sealed)},
		"3-known":   {Bags: always(known)},
		"4-old":     {Bags: always(old)},
		"5-new":     {Bags: fresh},
		"6-trickle": {Bags: always(strings.Repeat("A", 250)), Trickle: true},
		"7-small":   {Bags: []string{`{"items":[` + strings.TrimSuffix(strings.Repeat(`"`+known+`",`, 16<<10/(len(known)+3)-1), ",") + `]}`}},
	}
}

// begin starts a flood in a process of its own, which the kernel lets run last: strangers bring
// processors of their own.
func (h *house) begin(b *testing.B, f flood) (stop func()) {
	f.Address, f.Base, f.Fingerprint, f.Carriers = h.lan.Address().String(), h.lan.URL(""), h.fingerprint(), 64
	file := filepath.Join(b.TempDir(), "flood.json")
	if err := os.WriteFile(file, must(json.Marshal(f)), 0o600); err != nil {
		b.Fatal(err)
	}
	cmd := exec.Command("nice", "-n", "19", os.Args[0])
	cmd.Env = append(os.Environ(), carriersEnv+"="+file)
	out, err := cmd.StdoutPipe()
	if err == nil {
		err = cmd.Start()
	}
	if err != nil {
		b.Fatal(err)
	}
	io.ReadFull(out, make([]byte, 5))
	return func() { cmd.Process.Kill(); cmd.Wait() }
}

// durable counts the durable commits of a house.
func (h *house) durable(b *testing.B) int64 {
	b.Helper()
	db := must(sql.Open("sqlite3", "file:"+filepath.Join(h.cfg.Gateway.StateDir, store.FileName)+"?mode=ro"))
	defer db.Close()
	var text []byte
	if err := db.QueryRow("SELECT value FROM state WHERE key = 'head'").Scan(&text); err != nil {
		b.Fatal(err)
	}
	var head struct{ N int64 }
	if err := json.Unmarshal(text, &head); err != nil {
		b.Fatal(err)
	}
	return head.N
}

// neighbour is what others do meanwhile.
type neighbour struct {
	h       *house
	phone   *phone.Phone
	key     *tokens.SigningKey
	holder  string
	pin     gateway.PIN
	n       int
	refused int // large bags
	list    map[string][]time.Duration
}

// round does each thing once. The grants are there before it begins.
func (x *neighbour) round(b *testing.B) {
	h, ctx := x.h, context.Background()
	x.n++
	jti := fmt.Sprintf("neighbour-%d-%p", x.n, x.list)
	timed := func(what string, f func()) {
		start := time.Now()
		f()
		x.list[what] = append(x.list[what], time.Since(start))
	}
	grant := h.signed(b, jti, 1, func(g *gateway.Grant) { g.Holder, g.Uses = x.holder, 1 })
	away := h.signed(b, jti+"-r", 2, func(g *gateway.Grant) { g.Status = gateway.GrantRevoked })
	if _, err := h.access.Take(ctx, h.signed(b, jti+"-r", 1, nil)); err != nil {
		b.Fatal(err)
	}
	timed("proof", func() {
		var n api.Nonce
		if a := do(b, x.phone, "POST", "/v1/nonces", ""); a.Into(&n) != nil || a.Status != 201 {
			b.Fatal(a)
		}
		proof := must(tokens.SignProof(x.key, n.Nonce, h.identity.ID, "side", grant, time.Now()))
		if a := do(b, x.phone, "POST", attempts, fmt.Sprintf(`{"grant":%q,"proof":%q}`, grant, proof)); a.Status != 200 {
			b.Fatal(a)
		}
	})
	h.passDoor(b)
	timed("pin", func() { h.open(b, "side", x.pin) })
	h.passDoor(b)
	timed("revocation", func() {
		if a := do(b, x.phone, "POST", "/v1/mailbag", fmt.Sprintf(`{"items":[%q]}`, away)); a.Status != 200 || !strings.Contains(a.Body, "accepted") {
			b.Fatal(a)
		}
	})
	if x.n%10 != 1 { // it waits for a place for seconds
		return
	}
	large := bagOf(repeated(60, func(int) string { return grant })...)
	timed("large", func() {
		if a := do(b, x.phone, "POST", "/v1/mailbag", large); a.Status != 200 {
			x.refused++
		}
	})
}

// BenchmarkI1_Mailbags: what a neighbour feels while 64 addresses send mailbag after mailbag: a courier
// presents a grant with proof, a phone hands in a revocation, a PIN is typed, a large bag comes. Each
// is a ratio to alone, at p50, and the worst in ms; beside it what strangers cost the disk.
func BenchmarkI1_Mailbags(b *testing.B) {
	h := networked(b)
	h.start(b)
	address := h.lan.Address().String()
	p := &phone.Phone{Base: h.lan.URL(""), HTTP: phone.From(phone.Pinning(h.fingerprint(), address), net.IPv4(127, 0, 9, 1), address)}
	key := must(tokens.GenerateES256())
	pin := h.pinGrant(b, "side")
	fresh := func() *neighbour {
		return &neighbour{h: h, phone: p, key: key, holder: key.KeyID(), pin: pin, list: map[string][]time.Duration{}}
	}
	floods := h.floods(b)
	for _, name := range slices.Sorted(maps.Keys(floods)) {
		f := floods[name]
		b.Run(name, func(b *testing.B) {
			for b.Loop() {
			}
			alone, beside := fresh(), fresh()
			rounds := max(b.N, 20)
			for range rounds {
				alone.round(b)
			}
			stop := h.begin(b, f)
			<-time.After(3 * time.Second) // all places are taken
			commits, seq, began := h.durable(b), h.store.Head(), time.Now()
			<-time.After(4 * time.Second)
			took := time.Since(began)
			commits, seq = h.durable(b)-commits, h.store.Head()-seq
			for range rounds {
				beside.round(b)
			}
			runtime.GC()
			var m runtime.MemStats
			runtime.ReadMemStats(&m)
			stop()
			for _, what := range []string{"pin", "proof", "revocation", "large"} {
				b.ReportMetric(quantile(beside.list[what], 0.5)/quantile(alone.list[what], 0.5), what+"-ratio")
				b.ReportMetric(quantile(alone.list[what], 0.5), what+"-alone-µs")
				b.ReportMetric(quantile(beside.list[what], 1)/1000, what+"-worst-ms")
			}
			b.ReportMetric(float64(beside.refused)/float64(len(beside.list["large"])), "large-refused")
			b.ReportMetric(float64(commits)/took.Seconds(), "durable-commits/s")
			b.ReportMetric(float64(seq)/took.Seconds(), "events/s")
			b.ReportMetric(float64(m.HeapAlloc)/(1<<20), "MiB-heap")
		})
	}
}
