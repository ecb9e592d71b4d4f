package gateway

import (
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"
)

func zone(t testing.TB, name string) *time.Location {
	t.Helper()
	loc, err := time.LoadLocation(name)
	if err != nil {
		t.Fatal(err)
	}
	return loc
}

func date(t testing.TB, s string) (d Date) {
	t.Helper()
	if err := d.UnmarshalText([]byte(s)); err != nil {
		t.Fatal(err)
	}
	return d
}

// window reads "fri 22:00-06:00".
func window(t testing.TB, s string) Window {
	t.Helper()
	days, span, _ := strings.Cut(s, " ")
	sched, err := ParseHours(days, span)
	if err != nil {
		t.Fatal(err)
	}
	return sched.Windows[0]
}

// minute is a label that a wall clock shows: the day's number and the minute of it.
type minute struct{ day, of int }

// oracle knows a schedule as the set of labels that its windows cover: for each day
// of the calendar, every window that starts on it is written out, minute by minute.
// It never compares instants, and never asks a time zone.
type oracle struct {
	first   int // day
	minutes []bool
}

func (o oracle) at(m minute) bool { return o.minutes[(m.day-o.first)*1440+m.of] }

// The days that the tests look at, and one more on each side.
var firstDay, lastDay = dayNumber(2025, 12, 31), dayNumber(2028, 1, 1)

// dayNumber counts days by the calendar's own rules, not by package time's.
func dayNumber(y, m, d int) int {
	n := 0
	for i := 2025; i < y; i++ {
		n += 365
		if i%4 == 0 {
			n++
		}
	}
	length := []int{31, 28, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31}
	if y%4 == 0 {
		length[1] = 29
	}
	for _, l := range length[:m-1] {
		n += l
	}
	return n + d - 1
}

// write marks the windows of the days from first to last.
func write(s *Schedule, first, last int) oracle {
	o := oracle{first, make([]bool, (last-first+3)*1440)}
	skip := map[int]bool{}
	for _, d := range s.Except {
		skip[dayNumber(d.Year, int(d.Month), d.Day)] = true
	}
	for day := first; day <= last; day++ {
		if skip[day] {
			continue
		}
		weekday := Weekday((day - firstDay + 3) % 7) // 2025-12-31 was a Wednesday
		for _, w := range s.Windows {
			if !slices.Contains(w.Days, weekday) {
				continue
			}
			length := int(w.To) - int(w.From)
			if length <= 0 {
				length += 24 * 60
			}
			for m := int(w.From); m < int(w.From)+length; m++ {
				o.minutes[(day-first)*1440+m] = true
			}
		}
	}
	return o
}

func (o oracle) contains(t time.Time, loc *time.Location) bool {
	t = t.In(loc)
	y, m, d := t.Date()
	return o.at(minute{dayNumber(y, int(m), d), t.Hour()*60 + t.Minute()})
}

// labels is the wall clock of two years, minute by minute, read once per zone.
func labels(loc *time.Location) (from time.Time, list []minute) {
	cached.Lock()
	defer cached.Unlock()
	from = time.Date(2026, 1, 1, 0, 0, 0, 0, loc)
	to := time.Date(2028, 1, 1, 0, 0, 0, 0, loc)
	if list, ok := cached.lists[loc.String()]; ok {
		return from, list
	}
	list = make([]minute, 0, 2*366*1440)
	day, of := 0, 0
	for t := from; t.Before(to); t = t.Add(time.Minute) {
		y, m, d := t.Date()
		if d != of {
			day, of = dayNumber(y, int(m), d), d
		}
		h, min, _ := t.Clock()
		list = append(list, minute{day, h*60 + min})
	}
	cached.lists[loc.String()] = list
	return from, list
}

var cached = struct {
	sync.Mutex
	lists map[string][]minute
}{lists: map[string][]minute{}}

var zones = []string{"Europe/Paris", "America/New_York", "Australia/Lord_Howe", "Australia/Sydney"}

// randomSchedule draws edges often: changes of the clocks happen between one and four.
func randomSchedule(r *rand.Rand) *Schedule {
	edges := []Clock{0, 60, 90, 105, 119, 120, 121, 135, 150, 165, 179, 180, 181, 210, 240, 1380, 1439}
	pick := func() Clock {
		if r.IntN(2) == 0 {
			return edges[r.IntN(len(edges))]
		}
		return Clock(r.IntN(1440))
	}
	s := &Schedule{}
	for range 1 + r.IntN(4) {
		w := Window{From: pick(), To: pick()}
		switch r.IntN(6) {
		case 0:
			w.To = w.From
		case 1:
			w.To = 1440
		}
		for d := range Weekday(7) {
			if r.IntN(2) == 0 {
				w.Days = append(w.Days, d)
			}
		}
		if len(w.Days) == 0 {
			w.Days = []Weekday{0} // Sunday: the day that clocks change on
		}
		s.Windows = append(s.Windows, w)
	}
	for range r.IntN(4) {
		s.Except = append(s.Except, Date{2026 + r.IntN(2), time.Month(1 + r.IntN(12)), 1 + r.IntN(28)})
	}
	if r.IntN(2) == 0 { // the days of the changes themselves, and the days before
		s.Except = append(s.Except, Date{2026, 3, 28 + r.IntN(2)}, Date{2026, 10, 24 + r.IntN(2)})
	}
	return s
}

// TestContainsEveryMinute walks two years (T7); which minutes changes from run to run.
func TestContainsEveryMinute(t *testing.T) {
	for _, name := range zones {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			seed := rand.Uint64()
			r := rand.New(rand.NewPCG(seed, 7))
			loc := zone(t, name)
			from, walk := labels(loc)
			s := randomSchedule(r)
			o := write(s, firstDay, lastDay)
			for i := r.IntN(3); i < len(walk); i += 3 { // a third at a time: the race detector is slow
				label := walk[i]
				// An instant within the minute, not always its first.
				at := from.Add(time.Duration(i)*time.Minute + time.Duration(i%60)*time.Second + time.Duration(i%2)*999999999)
				if got, want := s.Contains(at, loc), o.at(label); got != want {
					t.Fatalf("seed %d: %+v at %v: %v, want %v", seed, s, at, got, want)
				}
			}
		})
	}
}

// TestContainsAroundChanges holds many schedules against the oracle where it matters:
// two days around each change of the clocks, year ends and 1 March, minute by minute.
func TestContainsAroundChanges(t *testing.T) {
	for _, name := range zones {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			seed := rand.Uint64()
			r := rand.New(rand.NewPCG(seed, 7))
			loc := zone(t, name)
			from, walk := labels(loc)
			var near []int // indices worth a look
			for i := 1; i < len(walk); i++ {
				jump := walk[i].day*1440 + walk[i].of - walk[i-1].day*1440 - walk[i-1].of
				if jump != 1 {
					for j := max(0, i-180); j < min(len(walk), i+240); j++ {
						near = append(near, j)
					}
				}
			}
			if len(near) != 4*420 {
				t.Fatalf("%d minutes around changes: want four changes in two years", len(near))
			}
			for range 10 {
				s := randomSchedule(r)
				o := write(s, firstDay, lastDay)
				look := func(i int) {
					at := from.Add(time.Duration(i) * time.Minute)
					if got, want := s.Contains(at, loc), o.at(walk[i]); got != want {
						t.Fatalf("seed %d: %+v at %v: %v, want %v", seed, s, at, got, want)
					}
				}
				for _, i := range near {
					look(i)
				}
				for range 1000 {
					look(r.IntN(len(walk)))
				}
			}
		})
	}
}

// TestCovers holds Covers and WindowsCover against sampling every second.
func TestCovers(t *testing.T) {
	seed := rand.Uint64()
	r := rand.New(rand.NewPCG(seed, 7))
	changes := []time.Time{
		time.Date(2026, 3, 29, 1, 0, 0, 0, time.UTC), time.Date(2026, 10, 25, 1, 0, 0, 0, time.UTC), // Paris
		time.Date(2026, 4, 4, 15, 0, 0, 0, time.UTC), time.Date(2026, 10, 3, 15, 30, 0, 0, time.UTC), // Lord Howe
	}
	for range 300 {
		loc := zone(t, zones[r.IntN(len(zones))])
		s := randomSchedule(r)
		first := changes[r.IntN(len(changes))].Add(time.Duration(r.Int64N(int64(4*time.Hour))) - 2*time.Hour)
		length := []time.Duration{0, 1, time.Second, 59 * time.Second, time.Minute, 259 * time.Second, 518 * time.Second, 40 * time.Minute}[r.IntN(8)]
		if r.IntN(2) == 0 {
			first = first.Truncate(time.Minute)
		}
		last := first.Add(length)
		day := dayNumber(first.Year(), int(first.Month()), first.Day())
		o := write(s, day-3, day+3)
		all, some := true, false
		sample := func(at time.Time) { in := o.contains(at, loc); all, some = all && in, some || in }
		sample(last)
		for at := first; !at.After(last); at = at.Add(time.Second) {
			sample(at)
		}
		if a, b := s.Covers(first, last, loc); a != all || b != some {
			t.Fatalf("seed %d: Covers %+v %v to %v: %v, %v; want %v, %v", seed, s, first.In(loc), last.In(loc), a, b, all, some)
		}
		s.Except = nil
		o = write(s, day-3, day+3)
		all, some = true, false
		sample(last)
		for at := first; !at.After(last); at = at.Add(time.Second) {
			sample(at)
		}
		if a, b := WindowsCover(s.Windows, first, last, loc); a != all || b != some {
			t.Fatalf("seed %d: WindowsCover %+v %v to %v: %v, %v; want %v, %v", seed, s, first.In(loc), last.In(loc), a, b, all, some)
		}
	}
	now := changes[0]
	if all, some := (*Schedule)(nil).Covers(now, now.AddDate(50, 0, 0), time.UTC); !all || !some {
		t.Error("no schedule does not cover everything")
	}
	if all, some := WindowsCover(nil, now, now.AddDate(50, 0, 0), time.UTC); !all || !some {
		t.Error("no windows do not cover everything")
	}
	if !(*Schedule)(nil).Contains(now, time.UTC) {
		t.Error("no schedule does not contain every instant")
	}
	everyDay := &Schedule{Windows: []Window{window(t, "mon,tue,wed,thu,fri,sat,sun 09:00-10:00")}}
	if all, some := everyDay.Covers(now, now.AddDate(0, 1, 0), time.UTC); all || !some {
		t.Errorf("a month: %v, %v", all, some)
	}
}

func TestContainsNamed(t *testing.T) {
	const (
		paris  = "Europe/Paris"
		night  = "fri 22:00-06:00"
		spring = "2026-03-29"
	)
	for _, tt := range []struct {
		name, window, except, zone string
		in, out                    string // instants: RFC 3339
	}{
		{"Friday's night starts on Friday", night, "", paris, "2026-11-27T22:00:00+01:00 2026-11-28T05:59:59+01:00", "2026-11-27T21:59:59+01:00 2026-11-28T06:00:00+01:00 2026-11-27T03:00:00+01:00 2026-11-28T22:00:00+01:00"},
		{"an exception names the start day", night, "2026-11-27", paris, "", "2026-11-27T23:00:00+01:00 2026-11-28T03:00:00+01:00"},
		{"an exception of the next day leaves the night", night, "2026-11-28", paris, "2026-11-28T03:00:00+01:00", ""},
		{"24 hours", "wed 09:00-09:00", "", paris, "2026-11-25T09:00:00+01:00 2026-11-26T08:59:59+01:00", "2026-11-25T08:59:59+01:00 2026-11-26T09:00:00+01:00"},
		{"a whole day", "wed 00:00-24:00", "", paris, "2026-11-25T00:00:00+01:00 2026-11-25T23:59:59.999999999+01:00", "2026-11-24T23:59:59+01:00 2026-11-26T00:00:00+01:00"},
		{"to midnight, as 00:00", "wed 20:00-00:00", "", paris, "2026-11-25T23:59:59+01:00", "2026-11-26T00:00:00+01:00 2026-11-25T19:59:59+01:00"},
		{"midnight to midnight, as 00:00", "wed 00:00-00:00", "", paris, "2026-11-25T00:00:00+01:00 2026-11-25T23:59:00+01:00", "2026-11-26T00:00:00+01:00"},
		{"29 February", "tue 09:00-12:00", "", paris, "2028-02-29T09:00:00+01:00", "2028-02-28T09:00:00+01:00 2028-03-01T09:00:00+01:00"},
		{"over 29 February", "mon 23:00-01:00", "", paris, "2028-02-29T00:30:00+01:00", "2028-03-01T00:30:00+01:00"},
		{"into 29 February, excepted", "mon 23:00-01:00", "2028-02-28", paris, "", "2028-02-28T23:30:00+01:00 2028-02-29T00:30:00+01:00"},
		{"year end", "thu 22:00-02:00", "", paris, "2026-12-31T22:00:00+01:00 2027-01-01T01:59:59+01:00", "2027-01-01T02:00:00+01:00 2027-01-01T22:00:00+01:00"},
		{"year end, excepted", "thu 22:00-02:00", "2026-12-31", paris, "", "2027-01-01T01:00:00+01:00"},
		// 29 March 2026: 02:00 +01:00 becomes 03:00 +02:00.
		{"all in the gap: never", "sun 02:00-03:00", "", paris, "", spring + "T01:59:59+01:00 " + spring + "T03:00:00+02:00"},
		{"from in the gap moves to its end", "sun 02:30-04:00", "", paris, spring + "T03:00:00+02:00 " + spring + "T03:59:59+02:00", spring + "T01:59:59+01:00 " + spring + "T04:00:00+02:00"},
		{"to in the gap moves to its end", "sun 01:00-02:30", "", paris, spring + "T01:00:00+01:00 " + spring + "T01:59:59+01:00", spring + "T03:00:00+02:00"},
		{"a night over the gap ends by the wall clock", "sat 22:00-06:00", "", paris, spring + "T03:00:00+02:00 " + spring + "T05:59:59+02:00", spring + "T06:00:00+02:00"},
		// 25 October 2026: 03:00 +02:00 becomes 02:00 +01:00.
		{"a doubled time counts twice", "sun 02:15-02:45", "", paris, "2026-10-25T02:15:00+02:00 2026-10-25T02:44:59+02:00 2026-10-25T02:15:00+01:00 2026-10-25T02:44:59+01:00", "2026-10-25T02:45:00+02:00 2026-10-25T02:14:59+01:00 2026-10-25T02:45:00+01:00"},
		{"to in the overlap", "sun 01:30-02:30", "", paris, "2026-10-25T02:29:59+02:00 2026-10-25T02:00:00+01:00 2026-10-25T02:29:59+01:00", "2026-10-25T02:30:00+02:00 2026-10-25T02:30:00+01:00"},
		{"a night over the overlap", "sat 22:00-06:00", "", paris, "2026-10-25T02:30:00+02:00 2026-10-25T02:30:00+01:00 2026-10-25T05:59:59+01:00", "2026-10-25T06:00:00+01:00"},
		{"half an hour's gap", "sun 02:00-03:00", "", "Australia/Lord_Howe", "2026-10-04T02:30:00+11:00 2026-10-04T02:59:59+11:00", "2026-10-04T01:59:59+10:30 2026-10-04T03:00:00+11:00"},
		{"half an hour's overlap", "sun 01:30-01:45", "", "Australia/Lord_Howe", "2026-04-05T01:30:00+11:00 2026-04-05T01:30:00+10:30", "2026-04-05T01:45:00+11:00 2026-04-05T01:45:00+10:30"},
		{"the gateway's zone, not the caller's", "wed 09:00-10:00", "", "America/New_York", "2026-11-25T15:00:00+01:00", "2026-11-25T09:00:00+01:00"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			s := &Schedule{Windows: []Window{window(t, tt.window)}}
			if tt.except != "" {
				s.Except = []Date{date(t, tt.except)}
			}
			for i, list := range []string{tt.in, tt.out} {
				for _, f := range strings.Fields(list) {
					at, err := time.Parse(time.RFC3339Nano, f)
					if err != nil {
						t.Fatal(err)
					}
					if got := s.Contains(at, zone(t, tt.zone)); got != (i == 0) {
						t.Errorf("%s: %v", f, got)
					}
				}
			}
		})
	}
}

func TestScheduleValidate(t *testing.T) {
	ok := Window{Days: []Weekday{1}, From: 0, To: 1440}
	for _, tt := range []struct {
		name string
		s    Schedule
		ok   bool
	}{
		{"one", Schedule{Windows: []Window{ok}}, true},
		{"none", Schedule{}, false},
		{"16", Schedule{Windows: slices.Repeat([]Window{ok}, 16)}, true},
		{"17", Schedule{Windows: slices.Repeat([]Window{ok}, 17)}, false},
		{"no days", Schedule{Windows: []Window{{From: 0, To: 60}}}, false},
		{"from 24:00", Schedule{Windows: []Window{{Days: ok.Days, From: 1440, To: 60}}}, false},
		{"from below", Schedule{Windows: []Window{{Days: ok.Days, From: -1, To: 60}}}, false},
		{"to beyond", Schedule{Windows: []Window{{Days: ok.Days, From: 0, To: 1441}}}, false},
		{"the second is bad", Schedule{Windows: []Window{ok, {}}}, false},
	} {
		if err := tt.s.Validate(); (err == nil) != tt.ok {
			t.Errorf("%s: %v", tt.name, err)
		}
	}
}

func FuzzClock(f *testing.F) {
	for _, s := range []string{"00:00", "23:59", "24:00", "24:01", "9:00", "09:60", "0x:00", "+1:00", "٠٩:٠٠", "09:00 "} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		var c Clock
		if c.UnmarshalText([]byte(s)) != nil {
			return
		}
		if c < 0 || c > 1440 || c.String() != s {
			t.Errorf("%q is taken as %d, written %q", s, int(c), c)
		}
	})
}

func TestClockText(t *testing.T) {
	for c := range Clock(1441) {
		var back Clock
		if err := back.UnmarshalText([]byte(c.String())); err != nil || back != c {
			t.Fatalf("%d becomes %q, becomes %d, %v", int(c), c, int(back), err)
		}
	}
}

func FuzzDate(f *testing.F) {
	for _, s := range []string{"2026-12-25", "2028-02-29", "2026-02-29", "2026-2-9", "0000-01-01", "2026-12-25T00:00:00Z"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		var d Date
		if d.UnmarshalText([]byte(s)) != nil {
			return
		}
		if y, m, day := time.Date(d.Year, d.Month, d.Day, 0, 0, 0, 0, time.UTC).Date(); d.String() != s || (Date{y, m, day}) != d {
			t.Errorf("%q is taken as %v", s, d)
		}
	})
}

func FuzzWeekday(f *testing.F) {
	for _, s := range []string{"mon", "sun", "Mon", "monday", "", " mon"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		var d Weekday
		if d.UnmarshalText([]byte(s)) != nil {
			return
		}
		if d.String() != s || !strings.HasPrefix(strings.ToLower(time.Weekday(d).String()), s) {
			t.Errorf("%q is taken as %v", s, time.Weekday(d))
		}
	})
}

func FuzzParseHours(f *testing.F) {
	f.Add("", "")
	f.Add("mon,thu", "09:00-12:30,14:00-18:00")
	f.Add("mon, thu", " 09:00-12:30 , 22:00-06:00")
	f.Add("mon,,thu", "09:00")
	f.Add("fri", "24:00-06:00")
	f.Fuzz(func(t *testing.T, days, hours string) {
		s, err := ParseHours(days, hours)
		if err != nil {
			return
		}
		if err := s.Validate(); err != nil {
			t.Errorf("%q %q is taken, but: %v", days, hours, err)
		}
		// What it says can be written and read again.
		var names, spans []string
		for _, d := range s.Windows[0].Days {
			names = append(names, d.String())
		}
		for _, w := range s.Windows {
			spans = append(spans, fmt.Sprintf("%v-%v", w.From, w.To))
		}
		again, err := ParseHours(strings.Join(names, ","), strings.Join(spans, ","))
		if err != nil || fmt.Sprint(again) != fmt.Sprint(s) {
			t.Errorf("%q %q: %v, again %v, %v", days, hours, s, again, err)
		}
	})
}

func TestParseHours(t *testing.T) {
	s, err := ParseHours("", "")
	if err != nil || len(s.Windows) != 1 || len(s.Windows[0].Days) != 7 || s.Windows[0].From != 0 || s.Windows[0].To != 1440 {
		t.Errorf("nothing: %+v, %v", s, err)
	}
	for _, bad := range [][2]string{{"mo", ""}, {"mon;tue", ""}, {"mon", "9-12"}, {"mon", "09:00"}, {"mon", "09:00-12:00-13:00"},
		{"mon", "24:00-06:00"}, {"mon", "09:00-24:01"}, {"mon", strings.Repeat("09:00-10:00,", 16) + "11:00-12:00"}} {
		if s, err := ParseHours(bad[0], bad[1]); err == nil {
			t.Errorf("%q is taken as %+v", bad, s)
		}
	}
}
