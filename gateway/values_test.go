package gateway

import (
	"bytes"
	"encoding/json"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"strings"
	"testing"
	"time"
)

func TestReadingIn(t *testing.T) {
	nbf := time.Date(2026, 11, 23, 9, 0, 0, 0, time.UTC)
	exp := nbf.Add(time.Hour)
	p := Period{nbf, exp}
	ns := time.Nanosecond
	for _, tt := range []struct {
		name             string
		earliest, latest time.Time
		want             Place
	}{
		{"just before", nbf.Add(-ns), nbf.Add(-ns), PlaceBefore},
		{"at not before", nbf, nbf, PlaceInside},
		{"last instant", exp.Add(-ns), exp.Add(-ns), PlaceInside},
		{"at not after", exp, exp, PlaceOver},
		{"after", exp.Add(time.Hour), exp.Add(2 * time.Hour), PlaceOver},
		{"ends just before", nbf.Add(-time.Hour), nbf.Add(-ns), PlaceBefore},
		{"ends at not before", nbf.Add(-time.Hour), nbf, PlaceUndecided},
		{"starts just before", nbf.Add(-ns), nbf, PlaceUndecided},
		{"fills it", nbf, exp.Add(-ns), PlaceInside},
		{"reaches not after", nbf, exp, PlaceUndecided},
		{"starts at its last instant", exp.Add(-ns), exp, PlaceUndecided},
		{"starts at not after", exp, exp.Add(time.Hour), PlaceOver},
		{"holds all of it", nbf.Add(-time.Hour), exp.Add(time.Hour), PlaceUndecided},
	} {
		if got := (Reading{Earliest: tt.earliest, Latest: tt.latest}).In(p); got != tt.want {
			t.Errorf("%s: %v, want %v", tt.name, got, tt.want)
		}
	}
	untimed := Period{nbf, MaxTime}
	if got := (Reading{Earliest: nbf, Latest: MaxTime.Add(-time.Second)}).In(untimed); got != PlaceInside {
		t.Errorf("an undecided clock and an untimed grant: %v", got)
	}
}

// model is P5 again, on a plain string: what stands since the last '*', '#' or silence.
func keypadModel(keys []byte, gaps []time.Duration) (pins []string) {
	entry := ""
	for i, k := range keys {
		if gaps[i] >= KeypadSilence {
			entry = ""
		}
		switch {
		case k == '*':
			entry = ""
		case k == '#':
			if len(entry) >= 1 && len(entry) <= 10 {
				pins = append(pins, entry)
			}
			entry = ""
		case strings.IndexByte("0123456789", k) >= 0:
			entry += string(k)
		}
	}
	return pins
}

func press(keys []byte, gaps []time.Duration) (pins []string) {
	var k Keypad
	at := time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC)
	for i, key := range keys {
		at = at.Add(gaps[i])
		if pin, ok := k.Press(key, at); ok {
			pins = append(pins, pin.Reveal())
		}
	}
	return pins
}

func FuzzKeypad(f *testing.F) {
	f.Add([]byte("001234#"), []byte{0})
	f.Add([]byte("99123456#"), []byte{0})
	f.Add([]byte("12345678901#123456#"), []byte{0})
	f.Add([]byte("12345678901*123456#"), []byte{0})
	f.Add([]byte("12*34#AB#"), []byte{1, 0})
	f.Fuzz(func(t *testing.T, keys, pauses []byte) {
		gaps := make([]time.Duration, len(keys))
		for i := range gaps {
			if len(pauses) > 0 { // 0 to 25.5 s
				gaps[i] = time.Duration(pauses[i%len(pauses)]) * 100 * time.Millisecond
			}
		}
		if got, want := press(keys, gaps), keypadModel(keys, gaps); fmt.Sprint(got) != fmt.Sprint(want) {
			t.Errorf("%q with pauses %v gives %q, want %q", keys, gaps, got, want)
		}
	})
}

// TestKeypadRandom runs the fuzz target's property on keys as people press them.
func TestKeypadRandom(t *testing.T) {
	seed := rand.Uint64()
	r := rand.New(rand.NewPCG(seed, 5))
	for range 20000 {
		keys, gaps := make([]byte, r.IntN(40)), make([]time.Duration, 40)
		for i := range keys {
			keys[i] = "00123456789012345678901234567890123456789##*A"[r.IntN(45)]
			gaps[i] = []time.Duration{0, time.Second, time.Second, time.Second, KeypadSilence - 1, KeypadSilence, time.Minute}[r.IntN(7)]
		}
		if got, want := press(keys, gaps), keypadModel(keys, gaps); fmt.Sprint(got) != fmt.Sprint(want) {
			t.Fatalf("seed %d: %q with %v gives %q, want %q", seed, keys, gaps, got, want)
		}
	}
}

func TestKeypadNamed(t *testing.T) {
	slow := func(at int, gap time.Duration) []time.Duration {
		gaps := make([]time.Duration, 40)
		gaps[at] = gap
		return gaps
	}
	none := make([]time.Duration, 40)
	for _, tt := range []struct {
		name, keys string
		gaps       []time.Duration
		want       string
	}{
		{"leading zeros", "000123#", none, "[000123]"},
		{"no sliding window", "9123456#", none, "[9123456]"},
		{"ten digits", "0123456789#", none, "[0123456789]"},
		{"eleven digits are void, whatever they end with", "01234567890#", none, "[]"},
		{"void until '#'", "99999999999123456#123456#", none, "[123456]"},
		{"void until '*'", "99999999999*123456#", none, "[123456]"},
		{"silence ends a void entry", "99999999999123456#", slow(11, KeypadSilence), "[123456]"},
		{"just in time", "123456#", slow(3, KeypadSilence-1), "[123456]"},
		{"silence", "123456#", slow(3, KeypadSilence), "[456]"},
		{"silence before '#'", "123456#", slow(6, KeypadSilence), "[]"},
		{"'#' alone", "##123456#", none, "[123456]"},
	} {
		if got := fmt.Sprint(press([]byte(tt.keys), tt.gaps)); got != tt.want {
			t.Errorf("%s: %q gives %s, want %s", tt.name, tt.keys, got, tt.want)
		}
	}
}

// TestP1_Capacity: of each length as many PINs may be live as keep a guess within 10⁻⁴, and not
// one more; lengths of which not even one may be live are none of a PIN's.
func TestP1_Capacity(t *testing.T) {
	for n, want := range map[int]int{4: 0, 5: 0, 6: 2, 7: 20, 8: 200, 9: 2000, 10: 20000} {
		if got := PINCapacity(n); got != want {
			t.Errorf("%d digits: %d live, want %d", n, got, want)
		}
	}
	for n := range MaxPIN + 1 { // live × 50 / 10^n ≤ 10⁻⁴, in whole numbers
		live, space := PINCapacity(n), 1
		for range n {
			space *= 10
		}
		if live*50*10_000 > space || (live+1)*50*10_000 <= space {
			t.Errorf("%d live PINs of %d digits are not the most that P1 allows", live, n)
		}
		if (live > 0) != (n >= MinPIN) {
			t.Errorf("%d digits, of which %d may be live: a PIN has %d to %d", n, live, MinPIN, MaxPIN)
		}
	}
}

// TestP1_ClassesAreDisjoint: no default length of home's is a third party's.
func TestP1_ClassesAreDisjoint(t *testing.T) {
	l := DefaultPINLengths()
	if c := CommonPINLengths(l.Of(HomeIssuer), l.Of("colis-x.example")); c != nil {
		t.Errorf("both classes have %v", c)
	}
	for _, tt := range []struct {
		lists [][]int
		want  string
	}{{[][]int{{6, 7, 9}, {7, 9, 10}}, "7 or 9 digits"}, {[][]int{{8}}, "8 digits"}, {[][]int{{6, 7, 9}}, "6, 7 or 9 digits"}} {
		if got := Digits(CommonPINLengths(tt.lists...)); got != tt.want {
			t.Errorf("%v: %s, want %s", tt.lists, got, tt.want)
		}
	}
}

// TestDrawPIN holds the digits of many draws against a uniform law: a χ² with nine
// degrees of freedom passes 50 once in a hundred million runs.
func TestDrawPIN(t *testing.T) {
	const draws = 20000
	for n := MinPIN; n <= MaxPIN; n++ {
		seen := map[string]bool{}
		counts := make([][10]int, n)
		for range draws {
			pin := DrawPIN(n).Reveal()
			if len(pin) != n {
				t.Fatalf("%d digits, want %d", len(pin), n)
			}
			seen[pin] = true
			for i := range n {
				counts[i][pin[i]-'0']++
			}
		}
		for i, c := range counts {
			chi := 0.0
			for _, k := range c {
				chi += float64(k-draws/10) * float64(k-draws/10) / (draws / 10)
			}
			if chi > 50 {
				t.Errorf("digit %d of %d: %v, χ² %.1f", i, n, c, chi)
			}
		}
		if len(seen) < draws*95/100 {
			t.Errorf("%d draws of %d digits give %d PINs", draws, n, len(seen))
		}
	}
}

func TestNewPIN(t *testing.T) {
	for s, ok := range map[string]bool{"0": true, "000000": true, "0123456789": true, "": false, "01234567890": false,
		"12a4": false, "-123": false, "1 2": false, "١٢٣٤": false, "1\x00": false} {
		p, err := NewPIN(s)
		if (err == nil) != ok || ok && (p.Reveal() != s || p.Len() != len(s)) {
			t.Errorf("%q: %v", s, err)
		}
	}
}

// TestSecretNeverPrints tries each way out (L5).
func TestSecretNeverPrints(t *testing.T) {
	const text = "hunter2-00421337"
	s := NewSecret(text)
	pin := PIN{s}
	type inner struct {
		hidden Secret
		pin    PIN
		ptr    *Secret
	}
	type outer struct {
		Shown  Secret
		PIN    PIN
		inner  inner
		deep   []inner
		byName map[string]PIN
		any    any
	}
	nest := outer{s, pin, inner{s, pin, &s}, []inner{{s, pin, &s}}, map[string]PIN{"a": pin}, s}
	grant := Grant{ID: GrantID{"home", "x"}, PIN: pin}
	var out bytes.Buffer
	for _, v := range []any{s, &s, pin, &pin, nest, &nest, grant, &grant, []Secret{s}, map[string]Secret{"k": s},
		PINCredential{pin}, GrantCredential{s, s}, &GrantCredential{s, s}, []any{s, pin}} {
		for _, verb := range []string{"%v", "%+v", "%#v", "%s", "%q", "%x", "%X", "%d", "%p", "%t", "%T", "%10v", "%-40s", "%c", "%U", "%o", "%e", "%w"} {
			fmt.Fprintf(&out, verb+"\n", v)
		}
		fmt.Fprintln(&out, v)
		out.WriteString(fmt.Errorf("x: %v", v).Error())
		for _, h := range []slog.Handler{slog.NewTextHandler(&out, nil), slog.NewJSONHandler(&out, nil)} {
			slog.New(h).Info("m", "v", v, slog.Group("g", "v", v))
			slog.New(h).With("w", v).Info("m")
		}
		b, _ := json.Marshal(v)
		out.Write(b)
		b, _ = json.MarshalIndent(map[string]any{"v": v}, "", " ")
		out.Write(b)
	}
	_, err := s.MarshalText()
	out.WriteString(err.Error())
	_, err = NewPIN(text)
	out.WriteString(err.Error())
	for _, leak := range []string{text, "hunter2", "00421337", fmt.Sprintf("%x", text), fmt.Sprintf("%X", text)} {
		if i := strings.Index(out.String(), leak); i >= 0 {
			t.Errorf("%q is printed: …%s…", leak, out.String()[max(0, i-60):min(out.Len(), i+40)])
		}
	}
	if _, err := json.Marshal(struct{ A Secret }{s}); err == nil {
		t.Error("a secret is written as JSON")
	}
	if s.Reveal() != text || s.IsZero() || !(Secret{}).IsZero() || (Secret{}).Reveal() != "" {
		t.Error("Reveal or IsZero is wrong")
	}
}

func FuzzParseGrantID(f *testing.F) {
	for _, s := range []string{"home/abc", "abc", "colis-x.example/P-1._", "a/b/c", "/x", "x/", "A.example/x", "", strings.Repeat("a", 65), "home/\u212a"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		id, err := ParseGrantID(s)
		if err != nil {
			if id != (GrantID{}) {
				t.Errorf("%q: %v beside an error", s, id)
			}
			return
		}
		if got := id.String(); got != s && got != "home/"+s {
			t.Errorf("%q becomes %q", s, got)
		}
		if back, err := ParseGrantID(id.String()); err != nil || back != id {
			t.Errorf("%q: %v, %v", s, back, err)
		}
		for i := range len(id.JTI) {
			if c := id.JTI[i]; c > 0x7f || strings.IndexByte("ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789._-", c) < 0 {
				t.Errorf("%q is taken as a jti", id.JTI)
			}
		}
		if len(id.JTI) > 64 || len(id.Issuer) > 64 {
			t.Errorf("%q is too long", s)
		}
	})
}

func TestIDs(t *testing.T) {
	long := strings.Repeat("a", 33)
	for _, tt := range []struct {
		s                                  string
		door, reader, issuer, jti, grantID bool
	}{
		{"front", true, true, true, true, true},
		{"door-2", true, true, true, true, true},
		{"colis-x.example", false, false, true, true, true},
		{"lan", true, false, true, true, true},
		{"app", true, false, true, true, true},
		{"home", true, true, true, true, true},
		{"Front", false, false, false, true, true},
		{"a_b", false, false, false, true, true},
		{long, false, false, true, true, true},
		{long + long[:31], false, false, true, true, true},
		{long + long, false, false, false, false, false},
		{"", false, false, false, false, false},
		{"home/A.z_9-", false, false, false, false, true},
		{"Home/x", false, false, false, false, false},
		{"home/x/y", false, false, false, false, false},
		{"home/\u212a", false, false, false, false, false}, // the Kelvin sign becomes k in lower case
		{"\u212a", false, false, false, false, false},
		{"a b", false, false, false, false, false},
		{"a\n", false, false, false, false, false},
	} {
		_, err := ParseGrantID(tt.s)
		got := []bool{DoorID(tt.s).Valid(), ReaderID(tt.s).Valid(), IssuerID(tt.s).Valid(), ValidJTI(tt.s), err == nil}
		if want := []bool{tt.door, tt.reader, tt.issuer, tt.jti, tt.grantID}; fmt.Sprint(got) != fmt.Sprint(want) {
			t.Errorf("%q: door, reader, issuer, jti, grant id %v, want %v", tt.s, got, want)
		}
	}
	seen := map[string]bool{}
	for range 1000 {
		for _, id := range []string{string(NewAttemptID()), string(NewResidentID()), NewJTI()} {
			if len(id) != 22 || !ValidJTI(id) || seen[id] {
				t.Fatalf("drew %q", id)
			}
			seen[id] = true
		}
	}
}

// Ids of ours begin with a letter or digit: no command line takes one for a flag.
func TestIDsBeginWithALetterOrDigit(t *testing.T) {
	for range 5000 {
		for _, id := range []string{string(NewAttemptID()), string(NewResidentID()), NewJTI()} {
			if len(id) != 22 || strings.ContainsAny(id[:1], "-_") {
				t.Fatalf("%q", id)
			}
		}
	}
}
