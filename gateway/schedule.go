package gateway

import (
	"fmt"
	"strings"
	"time"
	_ "time/tzdata" // a gateway has no need of the system's zone files (T7)
)

// Period is a half-open stretch of time: NotBefore is inside, NotAfter is not.
type Period struct{ NotBefore, NotAfter time.Time }

// MaxWindows bounds a schedule.
const MaxWindows = 16

// Schedule is a weekly calendar in a door's own time zone, with exceptions.
type Schedule struct {
	Windows []Window `json:"windows"`
	Except  []Date   `json:"except,omitempty"`
}

// Window is a stretch of the wall clock that recurs on some days of the week. It
// is half-open and belongs to the day that it starts on: To ≤ From runs past
// midnight, To = From lasts 24 hours.
type Window struct {
	Days []Weekday `json:"days"`
	From Clock     `json:"from"`
	To   Clock     `json:"to"`
}

// Weekday is time.Weekday, written "mon" … "sun".
type Weekday time.Weekday

// Clock is a time of day in minutes, 0 to 1440, written "09:00".
type Clock int

// Date is a day of the calendar, written "2026-12-25".
type Date struct {
	Year  int
	Month time.Month
	Day   int
}

// Contains reports whether t is inside a window of s, read on the wall clock of
// loc. In the gap of a daylight-saving change a skipped time moves to the end of
// the gap; in the overlap a doubled time counts twice. A nil schedule contains
// every instant.
func (s *Schedule) Contains(t time.Time, loc *time.Location) bool {
	if s == nil {
		return true
	}
	return anyWindow(s.Windows, s.Except, t, loc)
}

// Covers reports whether every instant from first to last is inside a window, and
// whether any is. A nil schedule covers everything.
func (s *Schedule) Covers(first, last time.Time, loc *time.Location) (all, some bool) {
	if s == nil {
		return true, true
	}
	return covers(s.Windows, s.Except, first, last, loc)
}

// WindowsCover is Schedule.Covers for bare windows; no windows mean always.
func WindowsCover(ws []Window, first, last time.Time, loc *time.Location) (all, some bool) {
	if len(ws) == 0 {
		return true, true
	}
	return covers(ws, nil, first, last, loc)
}

// covers samples both ends and every minute between them: windows begin and end
// on whole minutes, and so do the changes of every zone's offset since 1972.
func covers(ws []Window, except []Date, first, last time.Time, loc *time.Location) (all, some bool) {
	all = true
	sample := func(t time.Time) {
		in := anyWindow(ws, except, t, loc)
		all, some = all && in, some || in
	}
	sample(first)
	if last.Sub(first) > 8*24*time.Hour {
		return false, true // longer than any window: not all, and a week meets each day
	}
	for t := first.Truncate(time.Minute).Add(time.Minute); t.Before(last); t = t.Add(time.Minute) {
		sample(t)
	}
	if last.After(first) {
		sample(last)
	}
	return all, some
}

func anyWindow(ws []Window, except []Date, t time.Time, loc *time.Location) bool {
	// The wall clock as if it were UTC: civil times then compare and add plainly.
	t = t.In(loc)
	y, m, d := t.Date()
	wall := time.Date(y, m, d, t.Hour(), t.Minute(), t.Second(), t.Nanosecond(), time.UTC)
	today := time.Date(y, m, d, 0, 0, 0, 0, time.UTC)
	for _, start := range []time.Time{today, today.AddDate(0, 0, -1)} {
		if excepted(except, start) {
			continue
		}
		for _, w := range ws {
			if w.on(start.Weekday()) && w.holds(wall.Sub(start)) {
				return true
			}
		}
	}
	return false
}

func excepted(except []Date, start time.Time) bool {
	y, m, d := start.Date()
	for _, e := range except {
		if e == (Date{y, m, d}) {
			return true
		}
	}
	return false
}

func (w Window) on(day time.Weekday) bool {
	for _, d := range w.Days {
		if time.Weekday(d) == day {
			return true
		}
	}
	return false
}

// holds takes the wall time since midnight of the window's start day.
func (w Window) holds(since time.Duration) bool {
	from, to := time.Duration(w.From)*time.Minute, time.Duration(w.To)*time.Minute
	if to <= from {
		to += 24 * time.Hour
	}
	return since >= from && since < to
}

// Validate reports what is out of range: 1–16 windows, each with a day, From
// 00:00–23:59, To 00:00–24:00.
func (s *Schedule) Validate() error {
	if len(s.Windows) == 0 || len(s.Windows) > MaxWindows {
		return fmt.Errorf("a schedule has 1 to %d windows", MaxWindows)
	}
	for _, w := range s.Windows {
		if err := w.Validate(); err != nil {
			return err
		}
	}
	return nil
}

// Validate reports what is out of range in one window.
func (w Window) Validate() error {
	if len(w.Days) == 0 {
		return fmt.Errorf("a window names at least one day")
	}
	if w.From < 0 || w.From >= 1440 || w.To < 0 || w.To > 1440 {
		return fmt.Errorf("a window is from 00:00–23:59 to 00:00–24:00")
	}
	return nil
}

// ParseHours reads what people write on a command line: days "mon,thu" (empty: every
// day) and hours "09:00-12:30,14:00-18:00" (empty: all day).
func ParseHours(days, hours string) (*Schedule, error) {
	if days == "" {
		days = "mon,tue,wed,thu,fri,sat,sun"
	}
	if hours == "" {
		hours = "00:00-24:00"
	}
	var list []Weekday
	for _, name := range strings.Split(days, ",") {
		var d Weekday
		if err := d.UnmarshalText([]byte(strings.TrimSpace(name))); err != nil {
			return nil, err
		}
		list = append(list, d)
	}
	s := &Schedule{}
	for _, span := range strings.Split(hours, ",") {
		from, to, ok := strings.Cut(strings.TrimSpace(span), "-")
		w := Window{Days: list}
		if !ok || w.From.UnmarshalText([]byte(from)) != nil || w.To.UnmarshalText([]byte(to)) != nil {
			return nil, fmt.Errorf("hours %q: want HH:MM-HH:MM, as in 09:00-12:30", span)
		}
		s.Windows = append(s.Windows, w)
	}
	return s, s.Validate()
}

// ParseTime reads an instant as people write it on a command line: RFC 3339, or local in
// zone.
func ParseTime(s string, zone *time.Location) (time.Time, error) {
	if v, err := time.Parse(time.RFC3339, s); err == nil {
		return v, nil
	}
	for _, layout := range []string{"2006-01-02T15:04:05", "2006-01-02T15:04", "2006-01-02 15:04", time.DateOnly} {
		if v, err := time.ParseInLocation(layout, s, zone); err == nil {
			return v, nil
		}
	}
	return time.Time{}, fmt.Errorf("%q: want 2026-12-01T09:00, or RFC 3339 as in 2026-12-01T09:00:00+01:00", s)
}

// ParseEnd is ParseTime for the end of a stretch of time: a date without a time is included.
func ParseEnd(s string, zone *time.Location) (time.Time, error) {
	if d, err := time.ParseInLocation(time.DateOnly, s, zone); err == nil {
		return time.Date(d.Year(), d.Month(), d.Day()+1, 0, 0, 0, 0, zone), nil
	}
	return ParseTime(s, zone)
}

var weekdays = [...]string{"sun", "mon", "tue", "wed", "thu", "fri", "sat"}

func (d Weekday) String() string               { return weekdays[d] }
func (d Weekday) MarshalText() ([]byte, error) { return []byte(d.String()), nil }

// UnmarshalText takes "mon" … "sun" only.
func (d *Weekday) UnmarshalText(b []byte) error {
	for i, name := range weekdays {
		if name == string(b) {
			*d = Weekday(i)
			return nil
		}
	}
	return fmt.Errorf("day %q: want one of mon tue wed thu fri sat sun", b)
}

func (c Clock) String() string               { return fmt.Sprintf("%02d:%02d", int(c)/60, int(c)%60) }
func (c Clock) MarshalText() ([]byte, error) { return []byte(c.String()), nil }

// UnmarshalText takes "00:00" … "24:00", five characters.
func (c *Clock) UnmarshalText(b []byte) error {
	bad := fmt.Errorf("time of day %q: want HH:MM, 00:00 to 24:00, as in \"09:00\"", b)
	if len(b) != 5 || b[2] != ':' || strings.Trim(string(b[:2])+string(b[3:]), "0123456789") != "" {
		return bad
	}
	h, m := int(b[0]-'0')*10+int(b[1]-'0'), int(b[3]-'0')*10+int(b[4]-'0')
	if m > 59 || h*60+m > 1440 {
		return bad
	}
	*c = Clock(h*60 + m)
	return nil
}

func (d Date) String() string               { return fmt.Sprintf("%04d-%02d-%02d", d.Year, d.Month, d.Day) }
func (d Date) MarshalText() ([]byte, error) { return []byte(d.String()), nil }

// UnmarshalText takes a day that the calendar has, as "2026-12-25".
func (d *Date) UnmarshalText(b []byte) error {
	t, err := time.Parse(time.DateOnly, string(b))
	if err != nil {
		return fmt.Errorf("date %q: want a day of the calendar, as in \"2026-12-25\"", b)
	}
	d.Year, d.Month, d.Day = t.Date()
	return nil
}
