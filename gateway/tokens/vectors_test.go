package tokens

//go:generate go test -run TestVectors -update .

import (
	"bytes"
	"encoding/json"
	"flag"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"gardien/gateway"
)

var update = flag.Bool("update", false, "write testdata/vectors anew")

const vectorsDir = "testdata/vectors"

// vector is one file of testdata/vectors; its README tells what each header means.
type vector struct {
	expect, why, via, key, nonce, door, grant string
	now                                       int64
	text                                      string
}

func (v vector) file() []byte {
	var b bytes.Buffer
	line := func(name, value string) {
		if value != "" {
			fmt.Fprintf(&b, "%s: %s\n", name, value)
		}
	}
	line("expect", v.expect)
	line("why", v.why)
	line("via", v.via)
	if v.now != 0 {
		line("now", strconv.FormatInt(v.now, 10))
	}
	line("key", v.key)
	line("nonce", v.nonce)
	line("door", v.door)
	line("grant", v.grant)
	return append(append(b.Bytes(), '\n'), v.text...)
}

func parseVector(b []byte) (vector, error) {
	head, text, ok := strings.Cut(string(b), "\n\n")
	if !ok {
		return vector{}, fmt.Errorf("no empty line")
	}
	v := vector{text: text}
	for line := range strings.Lines(head + "\n") {
		name, value, ok := strings.Cut(strings.TrimSuffix(line, "\n"), ": ")
		var err error
		switch name {
		case "expect":
			v.expect = value
		case "why":
			v.why = value
		case "via":
			v.via = value
		case "now":
			v.now, err = strconv.ParseInt(value, 10, 64)
		case "key":
			v.key = value
		case "nonce":
			v.nonce = value
		case "door":
			v.door = value
		case "grant":
			v.grant = value
		default:
			ok = false
		}
		if !ok || err != nil {
			return v, fmt.Errorf("header %q", line)
		}
	}
	if v.expect == "" || v.why == "" || v.via == "" {
		return v, fmt.Errorf("expect, why and via are required")
	}
	return v, nil
}

func readVectors(t testing.TB) map[string]vector {
	t.Helper()
	files, err := filepath.Glob(filepath.Join(vectorsDir, "*.txt"))
	if err != nil {
		t.Fatal(err)
	}
	vectors := map[string]vector{}
	for _, file := range files {
		b, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		v, err := parseVector(b)
		if err != nil {
			t.Fatalf("%s: %v", file, err)
		}
		vectors[strings.TrimSuffix(filepath.Base(file), ".txt")] = v
	}
	return vectors
}

// vectorContext is testdata/vectors/context.json.
type vectorContext struct {
	Warning string          `json:"warning"`
	Gateway vectorGateway   `json:"gateway"`
	Issuers []vectorIssuer  `json:"issuers"`
	Holder  json.RawMessage `json:"holder"`
}

type vectorGateway struct {
	ID      gateway.GatewayID `json:"id"`
	Signing json.RawMessage   `json:"signing"`
	Opening json.RawMessage   `json:"opening"`
}

type vectorIssuer struct {
	ID   gateway.IssuerID `json:"id"`
	JWKS json.RawMessage  `json:"jwks"`
}

// readContext makes the gateway that the vectors are for, from context.json alone.
func readContext(t testing.TB) *Verifier {
	t.Helper()
	b, err := os.ReadFile(filepath.Join(vectorsDir, "context.json"))
	if err != nil {
		t.Fatal(err)
	}
	var c vectorContext
	if err := json.Unmarshal(b, &c); err != nil {
		t.Fatal(err)
	}
	opening, err := ParseOpeningKey(c.Gateway.Opening)
	if err != nil {
		t.Fatal(err)
	}
	signing, err := ParseSigningKey(c.Gateway.Signing)
	if err != nil {
		t.Fatal(err)
	}
	if id, err := GatewayIDOf(signing.PublicKey); err != nil || id != c.Gateway.ID {
		t.Fatalf("context.json: the signing key's id is %s, not %s (%v)", id, c.Gateway.ID, err)
	}
	trust := map[gateway.IssuerID]KeySet{gateway.HomeIssuer: NewKeySet(signing.PublicKey)}
	for _, i := range c.Issuers {
		if trust[i.ID], err = ParseKeySet(i.JWKS); err != nil {
			t.Fatalf("context.json: %s: %v", i.ID, err)
		}
	}
	return &Verifier{Gateway: c.Gateway.ID, Opening: opening,
		Trust: func(id gateway.IssuerID) (KeySet, bool) { set, ok := trust[id]; return set, ok }}
}

// judge runs one vector as the README says, to "good" or the reason.
func judge(gw *Verifier, v vector) (string, gateway.Grant) {
	switch v.via {
	case "grant":
		g, r := gw.Grant(v.text)
		if r != nil {
			return string(r.Reason), g
		}
		if v.now != 0 {
			return judgeTime(g, time.Unix(v.now, 0)), g
		}
		return "good", g
	case "proof":
		g, r := gw.Grant(v.grant)
		if r != nil {
			return "the grant of the proof: " + r.Error(), g
		}
		p, r := ParseProof(v.text)
		if r != nil {
			return string(r.Reason), g
		}
		iat, r := p.Verify(gw.Gateway, gateway.DoorID(v.door), v.grant, g.Holder)
		if r != nil {
			return string(r.Reason), g
		}
		off := time.Unix(v.now, 0).Sub(iat).Abs()
		if p.Nonce != v.nonce || v.now != 0 && off > 300*time.Second {
			return string(gateway.BadProof), g
		}
		return "good", g
	case "dpop":
		d, r := ParseDPoP(v.text)
		if r != nil {
			return string(r.Reason), gateway.Grant{}
		}
		if d.Key != v.key || d.Nonce != v.nonce {
			return string(gateway.BadProof), gateway.Grant{}
		}
		return "good", gateway.Grant{}
	case "descriptor":
		if _, err := ParseDescriptor(v.text); err != nil {
			return "refused", gateway.Grant{}
		}
		return "good", gateway.Grant{}
	}
	return "via: want grant, proof, dpop or descriptor", gateway.Grant{}
}

func judgeTime(g gateway.Grant, now time.Time) string {
	if g.IssuedAt.After(now.Add(60 * time.Second)) {
		return string(gateway.NotYetValid)
	}
	switch (gateway.Reading{Wall: now, Earliest: now, Latest: now}).In(g.Period) {
	case gateway.PlaceOver:
		return string(gateway.Expired)
	case gateway.PlaceBefore:
		return string(gateway.NotYetValid)
	}
	return "good"
}

// A2, A3: each published vector gets exactly the verdict that it names.
func TestVectors(t *testing.T) {
	if *update {
		writeVectors(t)
	}
	gw, vectors := readContext(t), readVectors(t)
	if len(vectors) < 60 {
		t.Fatalf("%d vectors, want at least 60", len(vectors))
	}
	t.Logf("%d vectors", len(vectors))
	for _, name := range slices.Sorted(maps.Keys(vectors)) {
		v := vectors[name]
		t.Run(name, func(t *testing.T) {
			if got, _ := judge(gw, v); got != v.expect {
				t.Errorf("%s: got %s, want %s", v.why, got, v.expect)
			}
		})
	}
}

// The tree holds what the generator writes: it is deterministic.
func TestVectorsAreCurrent(t *testing.T) {
	vectors, context := generate(t)
	onDisk := readVectors(t)
	for name, v := range vectors {
		b, err := os.ReadFile(filepath.Join(vectorsDir, name+".txt"))
		if err != nil || !bytes.Equal(b, v.file()) {
			t.Errorf("%s.txt is not what the generator writes: go generate ./gateway/tokens", name)
		}
		delete(onDisk, name)
	}
	for name := range onDisk {
		t.Errorf("%s.txt has no line in the generator", name)
	}
	if b, err := os.ReadFile(filepath.Join(vectorsDir, "context.json")); err != nil || !bytes.Equal(b, context) {
		t.Error("context.json is not what the generator writes")
	}
}

func writeVectors(t *testing.T) {
	vectors, context := generate(t)
	if err := os.MkdirAll(vectorsDir, 0o755); err != nil {
		t.Fatal(err)
	}
	old, err := filepath.Glob(filepath.Join(vectorsDir, "*.txt"))
	if err != nil {
		t.Fatal(err)
	}
	for _, file := range old {
		if err := os.Remove(file); err != nil {
			t.Fatal(err)
		}
	}
	for name, v := range vectors {
		if err := os.WriteFile(filepath.Join(vectorsDir, name+".txt"), v.file(), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	if err := os.WriteFile(filepath.Join(vectorsDir, "context.json"), context, 0o644); err != nil {
		t.Fatal(err)
	}
}

// A6, §1: what a good grant says arrives whole, and nothing else does.
func TestVectorsWholeByHand(t *testing.T) {
	nbf := time.Date(2026, 9, 21, 14, 13, 20, 0, time.UTC) // 1790000000
	base := func(edit func(*gateway.Grant)) gateway.Grant {
		g := gateway.Grant{
			ID:      gateway.GrantID{Issuer: "colis-x.example", JTI: "parcel-1"},
			Version: 1, Status: gateway.GrantActive, Doors: []gateway.DoorID{"front"},
			IssuedAt: nbf, Period: gateway.Period{NotBefore: nbf, NotAfter: nbf.Add(24 * time.Hour)},
		}
		if edit != nil {
			edit(&g)
		}
		return g
	}
	monday := []gateway.Weekday{gateway.Weekday(time.Monday)}
	schedule := func(from, to gateway.Clock) func(*gateway.Grant) {
		return func(g *gateway.Grant) {
			g.Schedule = &gateway.Schedule{Windows: []gateway.Window{{Days: monday, From: from, To: to}}}
		}
	}
	want := map[string]gateway.Grant{
		"good_eddsa":           base(nil),
		"good_ed25519_header":  base(nil),
		"good_es256":           base(nil),
		"good_aud_list_of_one": base(nil),
		"good_unknown_header":  base(nil),
		"good_unknown_claims":  base(nil),
		"good_white_space":     base(nil),
		"good_depth_5":         base(nil),
		"good_4096_bytes":      base(nil),
		"good_status_active":   base(nil),
		"good_escapes":         base(nil),
		"good_now_is_nbf":      base(nil),
		"good_now_before_exp":  base(nil),
		"good_iat_60_ahead":    base(func(g *gateway.Grant) { g.IssuedAt = nbf.Add(60 * time.Second) }),
		"good_home":            base(func(g *gateway.Grant) { g.ID.Issuer = "home" }),
		"good_other_issuer":    base(func(g *gateway.Grant) { g.ID.Issuer = "menage-y.example" }),
		"good_status_revoked":  base(func(g *gateway.Grant) { g.Status, g.Version = gateway.GrantRevoked, 2 }),
		"good_eight_doors": base(func(g *gateway.Grant) {
			g.Doors = []gateway.DoorID{"a", "b", "c", "d", "e", "f", "g-8", "0123456789-abcdefghijklmnopqrstu"}
		}),
		"good_jti_of_64":    base(func(g *gateway.Grant) { g.ID.JTI = "A._-z0" + strings.Repeat("9", 58) }),
		"good_largest_ver":  base(func(g *gateway.Grant) { g.Version = 9007199254740991 }),
		"good_largest_uses": base(func(g *gateway.Grant) { g.Uses = 2147483647 }),
		"good_sub_of_64": base(func(g *gateway.Grant) {
			g.Sub = strings.Repeat("é", 63) + "🚪"
		}),
		"good_earliest_times": base(func(g *gateway.Grant) {
			g.IssuedAt = time.Date(2020, 1, 1, 0, 0, 0, 0, time.UTC)
			g.Period = gateway.Period{NotBefore: g.IssuedAt, NotAfter: g.IssuedAt.Add(time.Second)}
		}),
		"good_latest_times": base(func(g *gateway.Grant) {
			end := time.Date(2100, 12, 31, 23, 59, 59, 0, time.UTC)
			g.Period = gateway.Period{NotBefore: end.Add(-time.Second), NotAfter: end}
		}),
		"good_schedule":            base(schedule(9*60, 12*60+30)),
		"good_schedule_past_night": base(schedule(22*60, 6*60)),
		"good_schedule_24_hours":   base(schedule(9*60, 9*60)),
		"good_schedule_to_2400":    base(schedule(0, 24*60)),
		"good_schedule_last_min":   base(schedule(23*60+59, 0)),
		"good_schedule_16_windows": base(func(g *gateway.Grant) {
			g.Schedule = &gateway.Schedule{}
			for range 16 {
				g.Schedule.Windows = append(g.Schedule.Windows, gateway.Window{Days: monday, From: 540, To: 600})
			}
		}),
		"good_schedule_except": base(func(g *gateway.Grant) {
			schedule(540, 600)(g)
			g.Schedule.Except = []gateway.Date{{Year: 2026, Month: time.December, Day: 25}, {Year: 2028, Month: time.February, Day: 29}}
		}),
		"good_every_claim": base(func(g *gateway.Grant) {
			g.Version, g.Uses, g.Sub, g.Doors = 7, 3, "ref 4711", []gateway.DoorID{"front", "cellar"}
			g.Schedule = &gateway.Schedule{Windows: []gateway.Window{{
				Days: []gateway.Weekday{1, 2, 3, 4, 5, 6, 0}, From: 8*60 + 5, To: 20 * 60}},
				Except: []gateway.Date{{Year: 2026, Month: time.December, Day: 25}}}
			g.Holder = newWorld(t).holder.kid
		}),
		"good_cnf":    base(func(g *gateway.Grant) { g.Holder = newWorld(t).holder.kid }),
		"good_sealed": base(nil),
		"good_sealed_cnf": base(func(g *gateway.Grant) {
			g.Holder = newWorld(t).holder.kid
		}),
		"good_sealed_pin_6":      base(func(g *gateway.Grant) { g.PIN = gateway.PIN{Secret: gateway.NewSecret("004711")} }),
		"good_sealed_pin_8":      base(func(g *gateway.Grant) { g.PIN = gateway.PIN{Secret: gateway.NewSecret("00000000")} }),
		"good_sealed_pin_9":      base(func(g *gateway.Grant) { g.PIN = gateway.PIN{Secret: gateway.NewSecret("471108154")} }),
		"good_sealed_pin_10":     base(func(g *gateway.Grant) { g.PIN = gateway.PIN{Secret: gateway.NewSecret("4711081547")} }),
		"good_sealed_8192_bytes": base(nil),
		"good_sealed_inner_4096": base(nil),
		"good_sealed_apu_apv":    base(nil),
	}
	gw, vectors := readContext(t), readVectors(t)
	for name, v := range vectors {
		if v.via != "grant" || v.expect != "good" {
			continue
		}
		w, ok := want[name]
		if !ok {
			t.Errorf("%s: no expected grant here", name)
			continue
		}
		delete(want, name)
		_, got := judge(gw, v)
		if d := diff(w, got); d != "" {
			t.Errorf("%s: %s", name, d)
		}
	}
	for name := range want {
		t.Errorf("%s: no such vector", name)
	}
}
