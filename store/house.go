package store

import (
	"encoding/hex"
	"fmt"
	"strconv"
	"time"

	"gardien/gateway"
)

// House is what concerns all of it: the pause of all third parties, readers that are locked
// out, and the time that it surely is.
type House struct{ *core }

// Paused gives the pause of all third parties, or the vacation; nil: there is none.
func (tx House) Paused() (p *gateway.Pause) { tx.get("paused", &p); return p }

// SetPaused replaces it; nil ends it. Only a pause has a row: a restore carries the row over.
func (tx House) SetPaused(p *gateway.Pause) error {
	if p == nil {
		tx.drop("paused")
	} else {
		tx.put("paused", p)
	}
	return tx.err
}

// Quarantine says why third parties are kept out until a resident accepts what happened to the
// database; "" where they are not. It is apart from a resident's pause, whose end does not end it.
func (tx House) Quarantine() (why Quarantine) { tx.get("quarantine", &why); return why }

// Degraded reports whether the disk takes no writes, so that nothing is durable (D5).
func (tx House) Degraded() bool { return standsIn(tx.s) }

// Quarantined reports whether there is one.
func (tx House) Quarantined() bool { return tx.Quarantine() != "" }

// SetQuarantine begins it, or ends it with "".
func (tx House) SetQuarantine(why Quarantine) {
	if why == "" {
		tx.drop("quarantine")
		return
	}
	tx.put("quarantine", why)
}

// Quarantine is what happened to the database.
type Quarantine string

// The ways in which the memory is not whole.
const (
	SetAside   Quarantine = "set_aside"   // it was broken, and begins anew
	RolledBack Quarantine = "rolled_back" // it is older than what it once acknowledged
	Restored   Quarantine = "restored"    // a backup that the database in use did not continue
)

// Throttle reads a reader's memory of wrong PINs.
func (tx House) Throttle(r gateway.ReaderID) (t gateway.Throttle) {
	tx.get("throttle/"+string(r), &t)
	return t
}

// PutThrottle stores it.
func (tx House) PutThrottle(r gateway.ReaderID, t gateway.Throttle) { tx.put("throttle/"+string(r), t) }

// Head is where the record ends durably.
func (tx House) Head() (h gateway.RecordHead) {
	var saved savedHead
	tx.get("head", &saved)
	tx.get("log", &h.Log)
	tx.get("epoch", &h.Epoch)
	h.Seq, h.Hash = saved.Seq, saved.Hash
	return h
}

// Behind reports whether the database knows less than a head that this gateway once signed (R1).
func (tx House) Behind(h gateway.RecordHead) bool {
	mine, first := tx.Head(), origin
	tx.get("anchor", &first)
	switch {
	case mine.Epoch != h.Epoch:
		return mine.Epoch < h.Epoch
	case mine.Seq < h.Seq:
		return true
	case h.Seq < first.First:
		return false
	}
	var hash []byte
	tx.row("SELECT hash FROM events WHERE seq = ?", []any{h.Seq}, &hash)
	return tx.err == nil && hex.EncodeToString(hash) != h.Hash
}

const unproved = "heard > ?1 OR manifest > ?1"

// Unproved reports whether an issuer's dates, by which it counts as heard from, lie after t.
func (tx House) Unproved(t time.Time) (some bool) {
	tx.row("SELECT EXISTS (SELECT 1 FROM issuers WHERE "+unproved+")", []any{t.Unix()}, &some)
	return some
}

// Disprove makes such dates count for nothing for good: the issuer was not heard from since 1970,
// as long as it says nothing new (T3).
func (tx House) Disprove(t time.Time) {
	tx.exec("UPDATE issuers SET heard = min(heard, ?2), manifest = min(manifest, ?2) WHERE "+unproved, t.Unix(), gateway.DisprovedAt.Unix())
}

// Floor persists that it is surely not earlier than t (T3); it never falls. Its
// milliseconds have 13 digits until the year 2286, so that texts compare as numbers do.
func (tx House) Floor(t time.Time) {
	if text := floorText(t); string(text) > string(tx.value("floor")) {
		tx.set("floor", text)
	}
}

func floorText(t time.Time) []byte { return fmt.Appendf(nil, "%013d", max(0, t.UnixMilli())) }

// floorTime reads it; zero where there is none.
func floorTime(text []byte) time.Time {
	ms, err := strconv.ParseInt(string(text), 10, 64)
	if err != nil {
		return time.Time{}
	}
	return time.UnixMilli(ms).UTC()
}

// void is the iat up to which limited grants are void; zero: none.
func (tx *core) void() (t time.Time) { tx.get("void", &t); return t }

// voidBefore makes limited grants void: those that are here, and those that come and were made
// before the reading, with a minute for issuers whose clock is ahead. The epoch rises above that of
// the database that this one follows.
func (tx *core) voidBefore(r gateway.Reading, epoch int) {
	at := r.Latest
	if r.State == gateway.ClockUndecided {
		at = r.Wall
	}
	void := at.Add(time.Minute).UTC().Truncate(time.Second)
	if was := tx.void(); was.After(void) {
		void = was
	}
	tx.put("void", void)
	tx.exec("UPDATE grants SET spoilt = 1 WHERE uses > 0") // whatever the clock shows
	var mine int
	tx.get("epoch", &mine)
	tx.put("epoch", max(mine, epoch)+1)
}

// ClockState is what the clock left at its last run.
type ClockState struct {
	Floor    time.Time `json:"-"`
	LastSync time.Time `json:"last_sync,omitzero"`
	Boot     string    `json:"boot"`
	BootWall time.Time `json:"boot_wall"`

	Stood     time.Duration `json:"stood,omitempty"`
	StoodWall time.Time     `json:"stood_wall,omitzero"`
}

// Clock reads it.
func (tx House) Clock() (c ClockState) {
	tx.get("clock", &c)
	c.Floor = floorTime(tx.value("floor"))
	return c
}

// PutClock stores it; the floor never falls.
func (tx House) PutClock(c ClockState) {
	tx.Floor(c.Floor)
	tx.put("clock", c)
}

// ResetClock stores it, the floor too, lower or not: a resident's word.
func (tx House) ResetClock(c ClockState) {
	tx.drop("floor")
	tx.PutClock(c)
}

// Cloud is what is remembered of the cloud.
func (tx House) Cloud() (c CloudState) { tx.get("cloud", &c); return c }

// CloudState is what is remembered of the cloud.
type CloudState struct {
	Origin     string `json:"origin"`     // where the gateway is enrolled
	Descriptor string `json:"descriptor"` // fingerprint of what it has registered there
	Pin        []byte `json:"pin"`        // SHA-256 of the cloud's public key, seen under a trusted clock
}

// PutCloud stores it.
func (tx House) PutCloud(c CloudState) { tx.put("cloud", c) }
