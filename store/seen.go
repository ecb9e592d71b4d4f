package store

import (
	"maps"
	"slices"
	"strings"
	"time"

	"gardien/gateway"
)

// What residents have seen, and when residents were seen. Both are rows of the table "state": small,
// and no part of the record.

const (
	findingsKey = "findings seen"
	devicesKey  = "devices seen"
)

// MostMarks bounds how many findings are marked as seen.
const MostMarks = 256

// Console is who has seen a finding where no resident's device has.
const Console = "console"

// SeenFindings gives the findings that somebody has seen, by key, with who: a resident's id, or Console.
func (tx House) SeenFindings() (marks map[string]string) {
	tx.get(findingsKey, &marks)
	return marks
}

// SeeFinding marks a finding as seen; beyond MostMarks it does nothing, and reports that.
func (tx House) SeeFinding(key, by string) (marked bool) {
	marks := tx.SeenFindings()
	if marks == nil {
		marks = map[string]string{}
	}
	if _, is := marks[key]; !is && len(marks) >= MostMarks {
		return false
	}
	marks[key] = by
	tx.put(findingsKey, marks)
	return true
}

// UnseeFindings drops the marks of which gone is true.
func (tx House) UnseeFindings(gone func(key, by string) bool) {
	marks := tx.SeenFindings()
	n := len(marks)
	maps.DeleteFunc(marks, gone)
	switch {
	case len(marks) == n:
	case len(marks) == 0:
		tx.drop(findingsKey)
	default:
		tx.put(findingsKey, marks)
	}
}

// SeenAt gives when each device last authenticated, as far as it was kept.
func (tx Residents) SeenAt() map[gateway.ResidentID]time.Time {
	var kept map[gateway.ResidentID]int64
	tx.get(devicesKey, &kept)
	seen := map[gateway.ResidentID]time.Time{}
	for id, s := range kept {
		seen[id] = unix(s)
	}
	return seen
}

// PutSeenAt keeps that of some devices; the others' stays. Of a device that is not here nothing is kept.
func (tx Residents) PutSeenAt(seen map[gateway.ResidentID]time.Time) {
	kept := map[gateway.ResidentID]int64{}
	tx.get(devicesKey, &kept)
	for id, t := range seen {
		kept[id] = t.Unix()
	}
	here := tx.List()
	maps.DeleteFunc(kept, func(id gateway.ResidentID, _ int64) bool {
		return !slices.ContainsFunc(here, func(r gateway.Resident) bool { return r.ID == id })
	})
	tx.put(devicesKey, kept)
}

// unsee forgets when a device was seen, what it has seen, and that somebody has seen something of it.
func (tx Residents) unsee(id gateway.ResidentID) {
	House(tx).UnseeFindings(func(key, by string) bool { return by == string(id) || strings.HasSuffix(key, "."+string(id)) })
	var kept map[gateway.ResidentID]int64
	if tx.get(devicesKey, &kept) && kept[id] != 0 {
		delete(kept, id)
		tx.put(devicesKey, kept)
	}
}
