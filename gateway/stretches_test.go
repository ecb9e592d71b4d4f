package gateway

import (
	"math/rand/v2"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
)

// walkStretches is Stretches by asking Contains of every minute from one day to another, both
// beyond what p may have.
func walkStretches(s *Schedule, p Period, from, to, first, last time.Time, loc *time.Location) (list []Period) {
	var open *Period
	for t := first; !t.After(last); t = t.Add(time.Minute) {
		in := !t.Before(p.NotBefore) && t.Before(p.NotAfter) && s.Contains(t, loc)
		switch {
		case in && open == nil:
			open = &Period{NotBefore: t}
		case !in && open != nil:
			open.NotAfter = t
			if open.NotBefore.Before(to) && open.NotAfter.After(from) {
				list = append(list, *open)
			}
			open = nil
		}
	}
	return list
}

// TestT7_StretchesAgreeWithContains: around changes of the clocks, over two weeks or a part of them,
// the stretches are those that Contains makes, minute by minute.
func TestT7_StretchesAgreeWithContains(t *testing.T) {
	changes := map[string][]string{
		"Europe/Paris":        {"2027-03-28T01:00:00Z", "2027-10-31T01:00:00Z"},
		"Australia/Lord_Howe": {"2027-04-03T15:00:00Z", "2027-10-02T15:30:00Z"},
		"America/New_York":    {"2027-03-14T07:00:00Z", "2027-11-07T06:00:00Z"},
		"Africa/Cairo":        {"2027-04-29T22:00:00Z", "2027-10-28T21:00:00Z"}, // at midnight
	}
	for name, instants := range changes {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			loc := zone(t, name)
			seed := rand.Uint64()
			r := rand.New(rand.NewPCG(seed, 7))
			for _, text := range instants {
				change, err := time.Parse(time.RFC3339, text)
				if err != nil {
					t.Fatal(err)
				}
				if _, before := change.Add(-time.Second).In(loc).Zone(); before == offsetAt(change, loc) {
					t.Fatalf("%s: the clocks do not change then", text)
				}
				first, last := change.Add(-8*24*time.Hour), change.Add(8*24*time.Hour)
				within := func() time.Time { return first.Add(time.Duration(r.Int64N(16*24*60)) * time.Minute) }
				for range 20 {
					s := randomSchedule(r)
					if r.IntN(3) == 0 { // all the time, but for exceptions
						s.Windows = []Window{{Days: []Weekday{0, 1, 2, 3, 4, 5, 6}, From: Clock(r.IntN(2) * 540), To: Clock(r.IntN(2) * 540)}}
					}
					s.Except = append(s.Except, Date{2027, change.Month(), 1 + r.IntN(30)})
					p := Period{first, last}
					if r.IntN(2) == 0 {
						p = Period{within(), within()}
					}
					from, to := within(), within()
					if r.IntN(3) == 0 {
						from = from.Add(time.Nanosecond)
					}
					want := walkStretches(s, p, from, to, first, last, loc)
					if !from.Before(to) {
						want = nil
					}
					if d := cmp.Diff(want, s.Stretches(p, from, to, loc)); d != "" {
						t.Fatalf("seed %d: %+v in %v, %v to %v (-want +got):\n%s", seed, s, p, from, to, d)
					}
				}
			}
		})
	}
}

func offsetAt(t time.Time, loc *time.Location) int {
	_, offset := t.In(loc).Zone()
	return offset
}

// TestStretches has cases that people think of.
func TestStretches(t *testing.T) {
	paris := zone(t, "Europe/Paris")
	at := func(s string) time.Time {
		v, err := ParseTime(s, paris)
		if err != nil {
			t.Fatal(err)
		}
		return v.UTC()
	}
	always := "mon,tue,wed,thu,fri,sat,sun 00:00-24:00"
	untimed := Period{MinTime, MaxTime}
	for _, tt := range []struct {
		name     string
		windows  []string
		except   string
		period   Period
		from, to string
		want     []string // pairs of bounds
	}{
		{"a window that goes on at both ends has its true bounds", []string{"fri 22:00-06:00"}, "", untimed, "2027-10-02T01:00", "2027-10-02T02:00",
			[]string{"2027-10-01T22:00", "2027-10-02T06:00"}},
		{"windows that touch are one", []string{"fri 09:00-12:00", "fri 12:00-14:00"}, "", untimed, "2027-10-01", "2027-10-02", []string{"2027-10-01T09:00", "2027-10-01T14:00"}},
		{"a window that ends when the question begins is none of it", []string{"fri 09:00-12:00"}, "", untimed, "2027-10-01T12:00", "2027-10-02", nil},
		{"one that begins when it ends is none", []string{"fri 09:00-12:00"}, "", untimed, "2027-10-01", "2027-10-01T09:00", nil},
		{"always: the period", []string{always}, "", untimed, "2027-10-01", "2027-10-02", []string{"2020-01-01T00:00:00Z", "2100-12-31T23:59:59Z"}},
		{"always, but for days far away", []string{always}, "2024-02-29 2031-12-25", untimed, "2027-10-01", "2027-10-02", []string{"2024-03-01", "2031-12-25"}},
		{"always from nine to nine, but for a day", []string{"mon,tue,wed,thu,fri,sat,sun 09:00-09:00"}, "2031-12-25", untimed, "2027-10-01", "2027-10-02",
			[]string{"2020-01-01T00:00:00Z", "2031-12-25T09:00"}},
		{"half the night comes twice", []string{"sun 02:15-02:45"}, "", untimed, "2027-10-31", "2027-11-01",
			[]string{"2027-10-31T02:15:00+02:00", "2027-10-31T02:45:00+02:00", "2027-10-31T02:15:00+01:00", "2027-10-31T02:45:00+01:00"}},
		{"from in the hour that comes twice: there is a gap", []string{"sun 02:30-04:00"}, "", untimed, "2027-10-31", "2027-11-01",
			[]string{"2027-10-31T02:30:00+02:00", "2027-10-31T03:00:00+02:00", "2027-10-31T02:30:00+01:00", "2027-10-31T04:00:00+01:00"}},
		{"skipped: the end of the gap", []string{"sun 02:30-04:00"}, "", untimed, "2027-03-28", "2027-03-29", []string{"2027-03-28T03:00", "2027-03-28T04:00"}},
		{"the period cuts", []string{"fri 09:00-12:00"}, "", Period{at("2027-10-01T10:00:07+02:00"), at("2027-10-01T11:00")}, "2027-10-01", "2027-10-02",
			[]string{"2027-10-01T10:00:07+02:00", "2027-10-01T11:00"}},
		{"over before", []string{always}, "", Period{MinTime, at("2027-09-30")}, "2027-10-01", "2027-10-02", nil},
	} {
		t.Run(tt.name, func(t *testing.T) {
			s := &Schedule{}
			for _, w := range tt.windows {
				s.Windows = append(s.Windows, window(t, w))
			}
			for _, e := range strings.Fields(tt.except) {
				s.Except = append(s.Except, date(t, e))
			}
			var want []Period
			for i := 0; i < len(tt.want); i += 2 {
				want = append(want, Period{at(tt.want[i]), at(tt.want[i+1])})
			}
			if d := cmp.Diff(want, s.Stretches(tt.period, at(tt.from), at(tt.to), paris)); d != "" {
				t.Errorf("(-want +got):\n%s", d)
			}
		})
	}
	if got := (*Schedule)(nil).Stretches(untimed, at("2027-10-01"), at("2027-10-02"), paris); len(got) != 1 || got[0] != untimed {
		t.Errorf("no schedule: %v", got)
	}
}
