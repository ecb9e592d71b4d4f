package daemon

import (
	"fmt"
	"slices"
	"strings"
	"time"

	"gardien/gateway"
	"gardien/gateway/access"
	"gardien/gateway/uplink"
	"gardien/store"
)

// finding is what somebody should look at. It is told to programs by its key, and to people at a
// terminal by its text, which names the remedy.
type finding struct {
	key      string // with the subject behind a point
	severity gateway.Severity
	subject  string
	since    time.Time // when it began; zero, or to come: nobody knows
	house    bool      // it tells of who lives here, or when nobody is at home
	text     string
}

// findings gathers what is found, and keeps it in order of urgency.
type findings []finding

func (l *findings) add(kind gateway.FindingKind, s gateway.Severity, subject, format string, args ...any) *finding {
	*l = append(*l, finding{key: kind.Of(subject), severity: s, subject: subject, text: fmt.Sprintf(format, args...)})
	return &(*l)[len(*l)-1]
}

// soon is how long before an issuer goes stale that is told: not where it has just been heard from.
func soon(limit time.Duration) time.Duration { return min(24*time.Hour, limit/4) }

// findings makes those of a condition: all there are, the most urgent first.
func (c condition) findings() findings {
	var l findings
	for _, part := range []func(*findings){c.ofDatabase, c.ofDoors, c.ofReaders, c.ofClock, c.ofTasks, c.ofIssuers, c.ofHouse, c.ofCloud} {
		part(&l)
	}
	slices.SortStableFunc(l, func(a, b finding) int { return a.severity.Compare(b.severity) })
	return l
}

func (c condition) ofDatabase(l *findings) {
	switch {
	case c.about.Degraded != "":
		l.add(gateway.DatabaseReadOnly, gateway.SeverityNow, "", "the disk takes no writes, so that only residents come in, and whom they let in without a limit%s; what happens is kept in memory until it does, and a power cut takes that away: replace the card, or make room on it (df, dmesg): %s", c.butWherePINsDoNot(), c.about.Degraded)
	case !c.healthy:
		l.add(gateway.DatabaseFailing, gateway.SeverityNow, "", "the database does not take writes, so nothing opens: check the disk (df, dmesg)")
	}
	switch c.about.Quarantine {
	case store.SetAside:
		l.add(gateway.DatabaseAside, gateway.SeverityNow, "", "the database was broken and a new one is in use: restore a backup (gardien restore FILE), or accept it (gardien resume)")
	case store.RolledBack:
		l.add(gateway.DatabaseRollback, gateway.SeverityNow, "", "the database is older than what it once acknowledged, so that what happened last is lost: check the card, and who may have written to it; third parties are kept out, and grants for one entry from before are void; accept it with gardien resume, and ask for new grants")
	case store.Restored:
		l.add(gateway.DatabaseRestore, gateway.SeverityToday, "", "a backup was restored that is not of the database that was in use: what was revoked since is not known; let third parties in again with gardien resume")
	}
}

// butWherePINsDoNot is that of what is said of residents, where readers take nothing.
func (c condition) butWherePINsDoNot() string {
	var shut []string
	for _, r := range c.readers {
		if r.LockedOut {
			shut = append(shut, string(r.ID))
		}
	}
	if len(shut) == 0 {
		return ""
	}
	return fmt.Sprintf(" (but nobody with a PIN or a card at %s now, which is locked out)", strings.Join(shut, ", "))
}

// remedies say what to do about a door's ailments, and how soon.
var remedies = map[gateway.Ailment]struct {
	severity gateway.Severity
	remedy   string
}{
	gateway.ContactFaulty:   {gateway.SeverityToday, "its contact's wire is cut or shorted, or not there: check contact and wire"},
	gateway.ContactUnsure:   {gateway.SeverityToday, "its contact has not told yet where the leaf is: check contact and wire"},
	gateway.StrikeFaulty:    {gateway.SeverityToday, "its strike says that it does not work: check its wire and supply"},
	gateway.StrikeUnsecured: {gateway.SeverityNow, "its strike could not be secured, so that the door may be open to everybody: check its wire and supply, and lock the door by key"},
	gateway.LockFaulty:      {gateway.SeverityToday, "its lock says that it does not work: check its supply"},
	gateway.LockUnsecured:   {gateway.SeverityNow, "its lock does not prove that it locked, so that the door may be open to everybody: push the door, and lock it by key"},
	gateway.LockIsJammed:    {gateway.SeverityNow, "its bolt is jammed: push the door, and turn the key once"},
	gateway.LockIsUnknown:   {gateway.SeverityToday, "its lock is not heard from: check its battery, and that it is in reach"},
}

// explained are the ailments that a blocked latch has by itself.
var explained = []gateway.Ailment{gateway.StrikeFaulty, gateway.LockFaulty, gateway.LockIsUnknown}

func (c condition) ofDoors(l *findings) {
	if c.low {
		l.add(gateway.FindingKind(gateway.BoardVoltage), gateway.SeverityToday, "", "the board had too little voltage, so that third parties are refused: use a supply of its own for the strike, and a better one for the board")
	}
	for _, v := range c.doors {
		id := string(v.ID)
		if v.Blocked {
			l.add(gateway.DoorIsBlocked, gateway.SeverityNow, id, "door %s cannot be moved: its strike or lock is not there, or does not answer; check its wire and supply", id)
		}
		for _, a := range v.Ailments {
			if v.Blocked && slices.Contains(explained, a) {
				continue
			}
			refused := "third parties are refused"
			if v.open {
				refused = "third parties are let in all the same"
			}
			l.add(gateway.FindingKind(a), remedies[a].severity, id, "door %s is unwell (%s), and %s: %s", id, a, refused, remedies[a].remedy)
		}
		if v.Fault && !v.Blocked && len(v.Ailments) == 0 {
			l.add(gateway.DoorFaulty, gateway.SeverityToday, id, "door %s has a fault: check strike and contact", id)
		}
		if v.HeldOpen {
			l.add(gateway.DoorIsHeldOpen, gateway.SeverityNow, id, "door %s stands open: close it", id).since = c.ago(v.HeldSince)
		}
		switch {
		case v.Battery == nil || *v.Battery > 20: // Z5
		case *v.Battery <= 5:
			l.add(gateway.BatteryLowOf, gateway.SeverityNow, id, "door %s: its lock's battery has %d %% left: change the cells now", id, *v.Battery)
		default:
			l.add(gateway.BatteryLowOf, gateway.SeverityToday, id, "door %s: its lock's battery has %d %% left: change the cells this week", id, *v.Battery)
		}
	}
}

func (c condition) ofReaders(l *findings) {
	for _, r := range c.readers {
		id := string(r.ID)
		switch { // good PINs of residents, too
		case r.LockedOut && r.Degraded && r.For == 0:
			l.add(gateway.ReaderLockedOutNow, gateway.SeverityNow, id, "reader %s takes no PIN and no card while the disk takes no writes, a resident's included, after too many wrong ones: gardien reader lift %[1]s", id)
		case r.LockedOut && r.Degraded:
			l.add(gateway.ReaderLockedOutNow, gateway.SeverityNow, id, "reader %s takes no PIN and no card for %s, because the gateway started while the disk takes no writes: wait", id, access.More(r.For)).since = r.Since
		case r.LockedOut:
			l.add(gateway.ReaderLockedOutNow, gateway.SeverityNow, id, "reader %s takes no PIN and no card for %s, after too many wrong ones: gardien reader lift %[1]s", id, access.More(r.For)).since = r.Since
		default:
			l.add(gateway.ReaderPaused, gateway.SeverityToday, id, "reader %s takes no third party's PIN or card today, after too many wrong ones: gardien reader lift %[1]s", id).since = r.Since
		}
	}
}

func (c condition) ofClock(l *findings) {
	if c.at.State == gateway.ClockUndecided {
		l.add(gateway.ClockUnsure, gateway.SeverityToday, "", "the clock is undecided, so that timed grants do not open, PINs made at home included, nor third parties whose limits ask what time it is: wait for a sync, or check it and run gardien clock confirm")
	}
}

func (c condition) ofTasks(l *findings) {
	for _, t := range c.tasks {
		if t.why == "" {
			continue
		}
		kind, subject := gateway.TaskIsDown, t.name
		if t.name == c.lan {
			kind, subject = gateway.NetworkUnserved, ""
		}
		l.add(kind, gateway.SeverityToday, subject, "%s does not work since %s, and is tried again: %s", t.name, c.stamp(t.since), t.why).since = t.since
	}
	if c.collision != "" {
		l.add(gateway.NameCollision, gateway.SeverityToday, "", "another device on the network calls itself %s (%s): phones may find it in place of this gateway; find out what it is", c.hostName, c.collision)
	}
}

func (c condition) ofIssuers(l *findings) {
	for _, i := range c.issuers {
		stops, last, id := stopsAt(i.IssuerState, i.limit), i.LastSign(), string(i.id)
		if p := i.Paused; p.Holds(c.at) {
			f := l.add(gateway.IssuerIsPaused, gateway.SeverityInfo, id, "issuer %s is paused: gardien issuer resume %[1]s lets it in again", id)
			if !p.Until.IsZero() {
				f.text = fmt.Sprintf("issuer %s is paused until %s: gardien issuer resume %[1]s ends it before", id, c.stamp(p.Until))
			}
			f.house, f.since = true, p.From
		}
		switch {
		case i.setAside != "":
			l.add(gateway.IssuerAside, gateway.SeverityToday, id, "issuer %s is set aside, and nothing of it is believed: %s; put its key set there, then systemctl restart gardiend", id, i.setAside).since = c.started
		case stops.IsZero() || c.at.State == gateway.ClockUndecided: // nothing of it is here, or nobody knows
		case i.Disproved() || i.Silent(i.limit, c.at) && last.After(c.at.Latest):
			l.add(gateway.IssuerIsStale, gateway.SeverityToday, id, "issuer %s has said nothing that counts, for the date of what it said last lay in the future, and its grants do not open any more: ask it to set its clock and to send something new", id)
		case i.Silent(i.limit, c.at):
			l.add(gateway.IssuerIsStale, gateway.SeverityToday, id, "issuer %s was last heard from at %s, and its grants do not open any more: ask it what is wrong, and look at the cloud's connection", id, c.stamp(last)).since = stops
		case stops.Sub(c.at.Latest) <= soon(i.limit):
			l.add(gateway.IssuerStopsSoon, gateway.SeverityInfo, id, "issuer %s was last heard from at %s: without news its grants stop at %s", id, c.stamp(last), c.stamp(stops)).since = stops.Add(-soon(i.limit))
		}
	}
}

// ofHouse tells of who lives here.
func (c condition) ofHouse(l *findings) {
	some := false
	for _, r := range c.residents {
		some = some || r.Role == gateway.RoleResident && !r.Unconfirmed
		if r.Unconfirmed {
			l.add(gateway.ResidentUnsure, gateway.SeverityToday, string(r.ID), "the device of %s (%s) came back with a backup and may have been removed since, so that it opens nothing: gardien resident confirm %[2]s, or remove it", r.Name, r.ID).house = true
		}
	}
	if !some {
		l.add(gateway.ResidentMissing, gateway.SeverityInfo, "", "no device of a resident is paired: gardien pair lets a phone in").house = true
	}
	for _, id := range c.missed {
		l.add(gateway.PINMissed, gateway.SeverityToday, id.String(), "the PIN of grant %s had a length that is not used any more and was wiped: make or send it again", id).house = true
	}
	c.ofPause(l)
}

// ofPause tells the pause that is on. Its end does not end a quarantine, and the word that ends both
// is told there.
func (c condition) ofPause(l *findings) {
	p := c.about.Paused
	if !p.Holds(c.at) || c.about.Quarantine != "" {
		return
	}
	who := "all third parties are paused"
	if p.Denies(gateway.GrantID{Issuer: gateway.HomeIssuer}, c.at) {
		who = fmt.Sprintf("vacation: all third parties are paused, and grants made at home, but for %d", len(p.Keep))
	}
	f := l.add(gateway.PauseIsOn, gateway.SeverityInfo, "", "%s: gardien resume lets them in again", who)
	if !p.Until.IsZero() {
		f.text = fmt.Sprintf("%s, until %s: gardien resume ends it before", who, c.stamp(p.Until))
	}
	f.house, f.since = true, p.From
}

func (c condition) ofCloud(l *findings) {
	switch c.cloud {
	case "", uplink.Connected:
	case uplink.NotEnrolled:
		l.add(gateway.CloudNotEnrolled, gateway.SeverityToday, "", "cloud %s: %s; grants that are here still open", c.cloud, c.cloudWhy)
	default:
		l.add(gateway.CloudMissing, gateway.SeverityInfo, "", "cloud %s: %s; grants that are here still open", c.cloud, c.cloudWhy)
	}
}
