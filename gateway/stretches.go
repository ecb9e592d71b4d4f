package gateway

import (
	"cmp"
	"slices"
	"time"
)

// Stretches lists the maximal stretches of p in which s contains every instant, read on the wall
// clock of loc: those that have an instant in from..to (half-open), rising, with their true bounds,
// which may lie outside of from..to. Windows that touch or overlap are one stretch; a local time
// that comes twice may make two of one window. p is in whole seconds. A nil schedule has one
// stretch, p.
func (s *Schedule) Stretches(p Period, from, to time.Time, loc *time.Location) (list []Period) {
	begin, end := p.NotBefore.Unix(), p.NotAfter.Unix()
	lo, hi := max(begin, from.Unix()), min(end, to.Add(time.Second-1).Unix())
	if lo >= hi {
		return nil
	}
	if s == nil {
		return []Period{p}
	}
	c := newCalendar(s, loc)
	spans := c.within(lo, hi)
	if n := len(spans); n > 0 {
		if spans[0].from == lo {
			spans[0].from = c.begins(lo, begin)
		}
		if spans[n-1].to == hi {
			spans[n-1].to = c.ends(hi, end)
		}
	}
	for _, x := range spans {
		list = append(list, Period{time.Unix(x.from, 0).UTC(), time.Unix(x.to, 0).UTC()})
	}
	return list
}

// span is a half-open stretch in seconds: of instants since 1970, or of a wall clock that is read as
// if it were UTC.
type span struct{ from, to int64 }

const day = 24 * 60 * 60

// calendar is a schedule made ready for many days. Days are numbered from 1970-01-01 on.
type calendar struct {
	days   [7][]span // by weekday: what starts on it, in seconds from its midnight on
	except []int64   // rising
	full   bool      // no minute of a week is without a window
	loc    *time.Location
}

func newCalendar(s *Schedule, loc *time.Location) *calendar {
	c := &calendar{loc: loc}
	for _, w := range s.Windows {
		x := span{int64(w.From) * 60, int64(w.To) * 60}
		if x.to <= x.from {
			x.to += day
		}
		for d := range c.days {
			if w.on(time.Weekday(d)) {
				c.days[d] = append(c.days[d], x)
			}
		}
	}
	var week []span // from Sunday on
	for d := int64(-1); d < 7; d++ {
		for _, x := range c.days[(d+7)%7] {
			week = append(week, span{max(0, d*day+x.from), min(7*day, d*day+x.to)})
		}
	}
	week = merge(week)
	c.full = len(week) == 1 && week[0] == span{0, 7 * day}
	for _, e := range s.Except {
		c.except = append(c.except, time.Date(e.Year, e.Month, e.Day, 0, 0, 0, 0, time.UTC).Unix()/day)
	}
	slices.Sort(c.except)
	return c
}

// within lists what is in a window from lo to hi. Between two changes of the zone's offset the wall
// clock runs as any clock does: each such part is looked at by itself.
func (c *calendar) within(lo, hi int64) (list []span) {
	for lo < hi {
		t := time.Unix(lo, 0).In(c.loc)
		_, offset := t.Zone()
		next := hi
		if _, change := t.ZoneBounds(); !change.IsZero() {
			next = min(hi, change.Unix())
		}
		list = c.part(list, lo, next, int64(offset))
		lo = next
	}
	return merge(list)
}

// part is within for one offset.
func (c *calendar) part(list []span, lo, hi, offset int64) []span {
	first := floor(lo+offset) - 1 // a window may run past midnight
	for d := first; d*day < hi+offset; d++ {
		if _, excepted := slices.BinarySearch(c.except, d); excepted {
			continue
		}
		midnight := d*day - offset
		for _, x := range c.days[(d%7+11)%7] { // 1970-01-01 was a Thursday
			if from, to := max(lo, midnight+x.from), min(hi, midnight+x.to); from < to {
				list = append(list, span{from, to})
			}
		}
	}
	return list
}

// floor gives the day that a second is of.
func floor(second int64) int64 {
	d := second / day
	if second < d*day {
		d--
	}
	return d
}

// merge sorts spans and makes one of those that touch. Empty ones go.
func merge(list []span) []span {
	slices.SortFunc(list, func(a, b span) int { return cmp.Compare(a.from, b.from) })
	out := list[:0]
	for _, x := range list {
		switch n := len(out); {
		case x.from >= x.to:
		case n > 0 && x.from <= out[n-1].to:
			out[n-1].to = max(out[n-1].to, x.to)
		default:
			out = append(out, x)
		}
	}
	return out
}

// look is how far begins and ends look at once: further than any window goes.
const look = 8 * day

// begins gives when a stretch began that goes on at an instant: limit at the earliest.
func (c *calendar) begins(at, limit int64) int64 {
	for at > limit {
		if quiet := max(limit, c.quietSince(at)); c.full && quiet < at {
			at = quiet
			continue
		}
		lo := max(limit, at-look)
		list := c.within(lo, at)
		if n := len(list); n == 0 || list[n-1].to < at {
			return at
		} else if at = list[n-1].from; at > lo {
			return at
		}
	}
	return at
}

// ends gives when a stretch ends that goes on until an instant: limit at the latest.
func (c *calendar) ends(at, limit int64) int64 {
	for at < limit {
		if quiet := min(limit, c.quietUntil(at)); c.full && quiet > at {
			at = quiet
			continue
		}
		hi := min(limit, at+look)
		list := c.within(at, hi)
		if len(list) == 0 || list[0].from > at {
			return at
		} else if at = list[0].to; at < hi {
			return at
		}
	}
	return at
}

// An exception is felt on its day and the next one, on the wall clock: no zone is further than a day
// from UTC. Where a week has no gap, all else is in a window.

// quietSince gives the instant since which no exception is felt at an instant, if that is before it.
func (c *calendar) quietSince(at int64) int64 {
	n, _ := slices.BinarySearch(c.except, floor(at)+2)
	if n == 0 {
		return at - 1<<40
	}
	return (c.except[n-1] + 3) * day
}

// quietUntil gives the instant until which none is felt, if that is after it.
func (c *calendar) quietUntil(at int64) int64 {
	n, _ := slices.BinarySearch(c.except, floor(at)-2)
	if n == len(c.except) {
		return at + 1<<40
	}
	return (c.except[n] - 1) * day
}
