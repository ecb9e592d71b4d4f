package gateway

import (
	"encoding/json"
	"math/rand/v2"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
)

// TestPause holds random pauses and readings against what they mean, instant by instant: third
// parties are kept out if it may be a time of the pause, home's grants if it has surely begun and
// may not be over.
func TestPause(t *testing.T) {
	rnd := rand.New(rand.NewPCG(1, 2))
	const width = 12
	at := func(n int) time.Time { return MinTime.Add(time.Duration(n) * time.Second) }
	third, cleaner, kept := GrantID{"colis-x.example", "p1"}, GrantID{HomeIssuer, "cleaner"}, GrantID{HomeIssuer, "kept"}
	seen := map[[2]bool]int{}
	for range 20000 {
		from, until := rnd.IntN(width)-1, rnd.IntN(width)+1 // -1, width: no limit
		p := &Pause{Home: rnd.IntN(4) > 0, Keep: []GrantID{kept}}
		if from >= 0 {
			p.From = at(from)
		}
		if until < width {
			p.Until = at(until)
		} else {
			until = 10 * width
		}
		earliest := rnd.IntN(width)
		latest := earliest + rnd.IntN(4)
		r := Reading{Earliest: at(earliest), Latest: at(latest)}
		may, begun, over := false, true, true
		for n := earliest; n <= latest; n++ {
			may = may || from <= n && n < until
			begun = begun && from <= n
			over = over && until <= n
		}
		if from >= until { // nobody makes one: it keeps nobody out for sure
			continue
		}
		wantHome := p.Home && begun && !over
		if got := [4]bool{p.Denies(third, r), p.Holds(r), p.Denies(cleaner, r), p.Passed(r)}; got != [4]bool{may, may, wantHome, over} {
			t.Fatalf("[%d,%d) home %v at [%d,%d]: denies third, holds, denies home, passed: %v, want %v %v %v %v",
				from, until, p.Home, earliest, latest, got, may, may, wantHome, over)
		}
		if p.Denies(kept, r) {
			t.Fatalf("[%d,%d) at [%d,%d]: what is kept is denied", from, until, earliest, latest)
		}
		if wantHome && !may {
			t.Fatalf("[%d,%d) at [%d,%d]: home's are denied, and third parties are not", from, until, earliest, latest)
		}
		seen[[2]bool{may, wantHome}]++
	}
	for _, k := range [][2]bool{{false, false}, {true, false}, {true, true}} {
		if seen[k] < 500 {
			t.Errorf("third parties %v, home %v: tried %d times only", k[0], k[1], seen[k])
		}
	}
	var none *Pause
	if r := (Reading{Earliest: MinTime, Latest: MaxTime}); none.Denies(third, r) || none.Denies(cleaner, r) || none.Holds(r) || none.Passed(r) {
		t.Error("no pause keeps somebody out")
	}
}

// A pause that is kept is the one that was set.
func TestPauseIsKept(t *testing.T) {
	full := Pause{From: MinTime, Until: MinTime.Add(time.Hour), Home: true, Keep: []GrantID{{HomeIssuer, "a"}, {HomeIssuer, "b"}}}
	for _, p := range []*Pause{nil, {}, {Until: MinTime}, {From: MinTime, Home: true}, &full} {
		b, err := json.Marshal(p)
		if err != nil {
			t.Fatal(err)
		}
		var back *Pause
		if err := json.Unmarshal(b, &back); err != nil {
			t.Fatal(err)
		}
		if diff := cmp.Diff(p, back); diff != "" || !p.Equal(back) {
			t.Errorf("%s: (-want +got):\n%s", b, diff)
		}
	}
	for name, change := range map[string]func(*Pause){
		"from":  func(p *Pause) { p.From = p.From.Add(1) },
		"until": func(p *Pause) { p.Until = time.Time{} },
		"home":  func(p *Pause) { p.Home = false },
		"keep":  func(p *Pause) { p.Keep = p.Keep[:1] },
	} {
		other := full
		if change(&other); other.Equal(&full) || full.Equal(&other) {
			t.Errorf("another %s is the same pause", name)
		}
	}
	if none := (*Pause)(nil); none.Equal(&full) || full.Equal(none) || !none.Equal(nil) {
		t.Error("none is the same as one")
	}
}

// A day is whole where something ends with it, and at its midnight where something begins.
func TestParseEnd(t *testing.T) {
	paris := zone(t, "Europe/Paris")
	for text, want := range map[string]string{
		"2026-12-01":                "2026-12-02T00:00:00+01:00",
		"2026-12-31":                "2027-01-01T00:00:00+01:00",
		"2027-03-28":                "2027-03-29T00:00:00+02:00", // a day of 23 hours
		"2026-12-01T18:00":          "2026-12-01T18:00:00+01:00",
		"2026-12-01T00:00":          "2026-12-01T00:00:00+01:00",
		"2026-12-01T18:00:00+09:00": "2026-12-01T10:00:00+01:00",
	} {
		got, err := ParseEnd(text, paris)
		if err != nil || got.In(paris).Format(time.RFC3339) != want {
			t.Errorf("%s: %v, %v, want %s", text, got, err, want)
		}
	}
	if _, err := ParseEnd("2026-12-32", paris); err == nil {
		t.Error("the 32nd of a month ends")
	}
	if from, err := ParseTime("2026-12-01", paris); err != nil || from.Format(time.RFC3339) != "2026-12-01T00:00:00+01:00" {
		t.Errorf("a day begins at %v, %v", from, err)
	}
}
