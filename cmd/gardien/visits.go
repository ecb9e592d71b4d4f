package main

import (
	"cmp"
	"fmt"
	"net/url"
	"strings"
	"time"
	"unicode/utf8"

	"github.com/spf13/cobra"

	"gardien/gateway"
	"gardien/gateway/api"
)

const maxVisitDays = 62 // that the gateway tells at once

func visitsCmd(t *tool) *cobra.Command {
	var days int
	var from string
	cmd := &cobra.Command{Use: "visits", Short: "Who may come in the next days, and when", Args: cobra.NoArgs,
		Long: `visits is the door's calendar: day by day, who may come by period and hours, at which
door, and what you may want to settle. Whoever may come on several days on end is told
once, at the top, and goes with everything below. Times are the gateway's. Residents'
own PINs and phones are no visits, and neither is what is revoked, spent or over.

In red: another comes to the same door at the same time; a pause or a vacation keeps
somebody out, for some of that time at least; a third party comes beyond your policy
(its doors, hours, length or number of uses), and the door will refuse.
"gardien grant explain ID --at TIME" says more of one of them.`,
		Example: `  gardien visits                          today and the 13 days after it
  gardien visits --from 2026-12-24 --days 3
  gardien visits --json                   one line a visit, for programs

  Sat 28 Nov
    09:00–12:00      front  home cleaner           at the same time as colis-x.example fibre
    10:00–11:00      front  colis-x.example fibre  at the same time as home cleaner
  Sun 29 Nov – Fri 4 Dec: nobody`,
		RunE: func(cmd *cobra.Command, _ []string) error {
			if days < 1 || days > maxVisitDays {
				return usage("--days: want 1 to %d", maxVisitDays)
			}
			begin, err := t.gatewayTime(cmd)
			if err != nil {
				return err
			}
			if from != "" {
				zone := begin.Location()
				if begin, err = gateway.ParseTime(from, zone); err != nil {
					return usage("--from: %v", err)
				}
				begin = begin.In(zone)
			}
			list, err := t.visits(cmd, begin, dayOf(begin, days).begins)
			if err != nil {
				return err
			}
			if t.json {
				return printLines(t, list, nil)
			}
			names, err := t.namesOf(cmd, list)
			if err != nil {
				return err
			}
			return t.printVisits(begin, days, list, names)
		}}
	cmd.Flags().IntVar(&days, "days", 14, "how many days, the first one included")
	cmd.Flags().StringVar(&from, "from", "", "first day, as in 2026-12-24 (default: now)")
	return cmd
}

// visits asks for all of them, page by page.
func (t *tool) visits(cmd *cobra.Command, from, to time.Time) (all []api.Visit, err error) {
	q := url.Values{"from": {from.Format(time.RFC3339)}, "to": {to.Format(time.RFC3339)}}
	for {
		page, err := get[api.Visits](cmd, t, "/v1/visits?"+q.Encode())
		if err != nil {
			return nil, err
		}
		if all = append(all, page.Visits...); page.Next == "" {
			return all, nil
		}
		q.Set("after", page.Next)
	}
}

// namesOf says of each grant of the visits whose it is: "home cleaner", "colis-x.example parcel-4711".
func (t *tool) namesOf(cmd *cobra.Command, list []api.Visit) (names map[string]string, err error) {
	names, wanted := map[string]string{}, map[string]bool{}
	for _, v := range list {
		wanted[v.Grant] = true
		for _, c := range v.Conflicts {
			wanted[c.Grant] = true
		}
	}
	delete(wanted, "")
	for after := ""; len(wanted) > 0; {
		page, err := get[struct {
			Grants []struct {
				api.Grant
				Kind string `json:"kind"`
			} `json:"grants"`
			Next string `json:"next"`
		}](cmd, t, "/v1/grants?limit=1000&after="+url.QueryEscape(after))
		if err != nil {
			return nil, err
		}
		for _, g := range page.Grants {
			if wanted[g.ID] {
				names[g.ID] = fmt.Sprintf("%s %s", g.Issuer, cmp.Or(or(g.Sub, ""), g.Kind, g.JTI))
				delete(wanted, g.ID)
			}
		}
		if after = page.Next; after == "" {
			break
		}
	}
	for id := range wanted { // it went meanwhile
		names[id] = id
	}
	return names, nil
}

// calendarDay is a day of the gateway's zone.
type calendarDay struct {
	begins time.Time
	noon   time.Time // an instant that the day surely has
}

// dayOf gives the day that is so many days after that of t.
func dayOf(t time.Time, after int) calendarDay {
	y, m, d := t.Date()
	day := calendarDay{time.Date(y, m, d+after, 0, 0, 0, 0, t.Location()), time.Date(y, m, d+after, 12, 0, 0, 0, t.Location())}
	if day.begins.Day() != day.noon.Day() { // its midnight is skipped
		_, day.begins = day.begins.ZoneBounds()
	}
	return day
}

func (d calendarDay) String() string { return d.noon.Format("Mon 2 Jan") }

func (d calendarDay) next() calendarDay { return dayOf(d.noon, 1) }

// has reports whether t is of this day.
func (d calendarDay) has(t time.Time) bool {
	return t.Format(time.DateOnly) == d.noon.Format(time.DateOnly)
}

// note says that the clocks change on the day, and how.
func (d calendarDay) note() string {
	length := d.next().begins.Sub(d.begins)
	before, change := d.begins.ZoneBounds()
	if before.Equal(d.begins) { // they change at midnight
		change = before
	}
	if length == 24*time.Hour || change.IsZero() {
		return ""
	}
	hours := fmt.Sprintf("%d h", length/time.Hour)
	if rest := length % time.Hour; rest > 0 {
		hours += fmt.Sprintf(" %d min", rest/time.Minute)
	}
	_, offset := change.Add(-time.Second).Zone()
	shown := change.In(time.FixedZone("", offset)) // what the clocks would show without the change
	again := ""
	if length > 24*time.Hour {
		again = " again"
	}
	return fmt.Sprintf("%s: at %s it is %s%s", hours, shown.Format("15:04"), change.Format("15:04"), again)
}

// clock is an instant as it is told under the day's heading: with its day, if that is another one, and
// with the name of the time on days that have two of them.
func (d calendarDay) clock(t time.Time) string {
	layout := "15:04"
	if d.note() != "" {
		layout = "15:04 MST"
	}
	switch {
	case t.Equal(d.next().begins):
		return "24:00"
	case !d.has(t):
		return t.Format("Mon " + layout)
	}
	return t.Format(layout)
}

// guest is a visit as people read it.
type guest struct {
	api.Visit
	from, to time.Time
	who      string
}

// long reports whether it goes on for several days.
func (g guest) long() bool { return g.to.Sub(g.from) > 25*time.Hour }

// calendar prints visits.
type calendar struct {
	*tool
	begin time.Time
	names map[string]string
	any   map[string]bool // grants, with their door, that are told at the top
	// How wide the columns are.
	when, door, who int
}

func (t *tool) printVisits(begin time.Time, days int, list []api.Visit, names map[string]string) error {
	c := calendar{tool: t, begin: begin, names: names, any: map[string]bool{}, when: len("Fri 22:00-06:00")}
	for i := range days {
		if dayOf(begin, i).note() != "" {
			c.when = len("02:15 CEST-02:45 CEST")
		}
	}
	var anyTime, daily []guest
	for _, v := range list {
		g := guest{Visit: v, who: names[v.Grant]}
		for _, at := range []struct {
			text string
			to   *time.Time
		}{{v.From, &g.from}, {v.To, &g.to}} {
			instant, err := time.Parse(time.RFC3339, at.text)
			if err != nil {
				return err
			}
			*at.to = instant.In(begin.Location())
		}
		c.door, c.who = max(c.door, len(g.Door)), max(c.who, utf8.RuneCountInString(g.who))
		if g.long() {
			c.any[string(g.Door)+" "+g.Grant] = true
			anyTime = append(anyTime, g)
			continue
		}
		daily = append(daily, g)
	}
	if len(anyTime) > 0 {
		fmt.Fprintln(t.out, "Any time")
		c.rows(anyTime, c.span)
	}
	c.days(days, daily)
	return nil
}

// days prints them, those without a visit on one line.
func (c calendar) days(n int, daily []guest) {
	var empty []calendarDay
	flush := func() {
		switch len(empty) {
		case 0:
			return
		case 1:
			fmt.Fprintf(c.out, "%s: nobody\n", empty[0])
		default:
			fmt.Fprintf(c.out, "%s – %s: nobody\n", empty[0], empty[len(empty)-1])
		}
		empty = nil
	}
	for i := range n {
		day := dayOf(c.begin, i)
		come := 0 // visits are in the order of their begin
		for come < len(daily) && (day.has(daily[come].from) || daily[come].from.Before(day.begins)) {
			come++
		}
		note := day.note()
		if come == 0 && note == "" {
			empty = append(empty, day)
			continue
		}
		flush()
		heading := day.String()
		if note != "" {
			heading += "   " + c.paint(yellow, note)
		}
		fmt.Fprintln(c.out, heading)
		if come == 0 {
			fmt.Fprintln(c.out, "  nobody")
		}
		c.rows(daily[:come], func(g guest) string { return day.clock(g.from) + "–" + day.clock(g.to) })
		daily = daily[come:]
	}
	flush()
}

// rows prints visits below each other.
func (c calendar) rows(list []guest, when func(guest) string) {
	for _, g := range list {
		line := fmt.Sprintf("  %-*s  %-*s  %-*s", c.when, when(g), c.door, g.Door, c.who, g.who)
		if words := c.conflicts(g); words != "" {
			line += "  " + c.paint(red, words)
		}
		fmt.Fprintln(c.out, strings.TrimRight(line, " "))
	}
}

// span says when a visit of several days begins and ends, where it does.
func (c calendar) span(g guest) string {
	instant := func(t time.Time) string {
		layout := "Mon 2 Jan 15:04"
		if t.Year() != c.begin.Year() {
			layout = "Mon 2 Jan 2006 15:04"
		}
		return t.Format(layout)
	}
	var words []string
	if g.from.After(c.begin) {
		words = append(words, "from "+instant(g.from))
	}
	if g.to.Before(gateway.MaxTime) {
		words = append(words, "until "+instant(g.to))
	}
	return cmp.Or(strings.Join(words, " "), "always")
}

// conflicts says what stands against a visit. Whoever may come at any time goes with everything: that
// is nothing to settle.
func (c calendar) conflicts(g guest) string {
	var words, others []string
	for _, x := range g.Conflicts {
		switch {
		case x.Key != gateway.ConflictOverlap:
		case g.long() || c.any[string(g.Door)+" "+x.Grant]:
		default:
			others = append(others, c.names[x.Grant])
		}
	}
	if len(others) > 0 {
		words = append(words, "at the same time as "+strings.Join(others, ", "))
	}
	for _, x := range g.Conflicts {
		switch x.Key {
		case gateway.ConflictPaused:
			words = append(words, "a pause keeps it out")
		case gateway.ConflictBeyondPolicy:
			words = append(words, "beyond your policy")
		}
	}
	return strings.Join(words, "; ")
}
