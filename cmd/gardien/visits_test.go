package main

import (
	"testing"
	"time"
)

// TestT7_DaysOfTheCalendar: each day begins when it does, also where its midnight is skipped, and
// says how long it is where that is not 24 hours.
func TestT7_DaysOfTheCalendar(t *testing.T) {
	for _, tt := range []struct{ zone, day, begins, note string }{
		{"Europe/Paris", "2026-11-28", "2026-11-28T00:00:00+01:00", ""},
		{"Europe/Paris", "2027-03-28", "2027-03-28T00:00:00+01:00", "23 h: at 02:00 it is 03:00"},
		{"Europe/Paris", "2027-10-31", "2027-10-31T00:00:00+02:00", "25 h: at 03:00 it is 02:00 again"},
		{"Australia/Lord_Howe", "2027-04-04", "2027-04-04T00:00:00+11:00", "24 h 30 min: at 02:00 it is 01:30 again"},
		{"Australia/Lord_Howe", "2027-10-03", "2027-10-03T00:00:00+10:30", "23 h 30 min: at 02:00 it is 02:30"},
		{"Africa/Cairo", "2027-04-30", "2027-04-30T01:00:00+03:00", "23 h: at 00:00 it is 01:00"},
		{"Africa/Cairo", "2027-10-28", "2027-10-28T00:00:00+03:00", "25 h: at 00:00 it is 23:00 again"},
	} {
		zone, err := time.LoadLocation(tt.zone)
		if err != nil {
			t.Fatal(err)
		}
		at, err := time.ParseInLocation("2006-01-02 15:04", tt.day+" 15:04", zone)
		if err != nil {
			t.Fatal(err)
		}
		day := dayOf(at.AddDate(0, 0, -3), 3)
		if got := day.begins.Format(time.RFC3339); got != tt.begins || day.note() != tt.note {
			t.Errorf("%s in %s begins at %s, %q; want %s, %q", tt.day, tt.zone, got, day.note(), tt.begins, tt.note)
		}
		if day.has(day.begins.Add(-time.Second)) || !day.has(day.begins) || day.has(day.next().begins) || !day.has(day.next().begins.Add(-time.Second)) {
			t.Errorf("%s in %s does not end where the next one begins", tt.day, tt.zone)
		}
	}
}
