package access

import (
	"fmt"
	"slices"
	"strings"
	"time"

	"gardien/gateway"
)

// Facts is all that the rule knows.
type Facts struct {
	At        gateway.Reading // what time it is for the grant's issuer
	Clock     gateway.Reading // and for the house: no issuer's date ends a pause
	Zone      *time.Location
	Door      gateway.DoorID
	Blocked   bool              // the door's latch is not there, or does not answer
	Unwell    []gateway.Ailment // why the door might not be closed again, or not provably
	Grant     gateway.GrantRecord
	Outdated  gateway.Reason // a stored version contradicts the one presented: why
	Policy    gateway.Policy
	Issuer    gateway.IssuerState
	AllPaused *gateway.Pause // of all third parties, or the vacation
	// Degraded: nothing that is decided now is durable, for the disk takes no writes (D5).
	Degraded bool
	// Quarantined: something happened to the database, and no resident has accepted it yet (R1).
	Quarantined bool
	PIN         *gateway.PINRecord // of the PIN that was typed, or that the grant has here
	Lengths     []int              // that its issuer's PINs may have here
	Card        bool               // a card is presented
	PINRefuse   string             // a PIN that was refused when the grant came: why
	Intake      *gateway.Refusal   // why what is presented was not taken in
	Continues   bool               // the entry began at another door of the grant, and has not opened this one
	Unsure      bool               // whether it does, a clock that nobody believes cannot tell
	Interlock   []gateway.DoorID   // the other doors of the door's interlock
	Engaged     gateway.DoorID     // one of them that is not closed and secured
	Retry       bool               // within the retry grace of an entry that nobody took
	Command     bool               // an issuer's command, of which Grant is made up
	Explain     bool               // somebody reads the details; at a door nobody does
}

// Check is one question of the rule and its answer.
type Check struct {
	Name   string         `json:"check"`
	OK     bool           `json:"ok"`
	Reason gateway.Reason `json:"reason,omitempty"`
	Detail string         `json:"detail,omitempty"`
}

// Judge answers every check, in order.
func Judge(f Facts) []Check {
	checks := []Check{
		{Name: "version", Reason: f.Outdated},
		f.status(), f.door(), f.period(), f.clock(), f.schedule(),
	}
	if f.Grant.ID.Issuer != gateway.HomeIssuer {
		if f.Command {
			checks = append(checks, f.policyRemote())
		}
		checks = append(checks, f.policyDoors(), f.policyHours(), f.policyUses(), f.policyValidity(), f.perDay())
	}
	checks = append(checks, f.pin(), f.static(), f.paused())
	if f.Grant.ID.Issuer != gateway.HomeIssuer {
		checks = append(checks, f.stale())
	}
	if f.Degraded {
		checks = append(checks, f.durable())
	}
	checks = append(checks, f.doorState())
	if len(f.Interlock) > 0 {
		checks = append(checks, f.interlock())
	}
	checks = append(checks, f.uses())
	if f.Intake != nil {
		checks = append(checks, Check{Name: "intake", Reason: f.Intake.Reason, Detail: f.Intake.Detail})
	}
	for i := range checks {
		checks[i].OK = checks[i].Reason == ""
	}
	return checks
}

// Verdict is the first reason against; "" grants.
func Verdict(checks []Check) gateway.Reason {
	for _, c := range checks {
		if !c.OK {
			return c.Reason
		}
	}
	return ""
}

func (f *Facts) status() Check {
	c := Check{Name: "status", Detail: string(f.Grant.Status)}
	if f.Grant.Status != gateway.GrantActive || f.Grant.Block {
		c.Reason = gateway.Revoked
	}
	if f.Grant.Block {
		c.Detail = "deleted by a resident until the issuer sends a higher version"
	}
	return c
}

func (f *Facts) door() Check {
	c := Check{Name: "door", Detail: f.say("%s of %v", f.Door, f.Grant.Doors)}
	if !f.Grant.For(f.Door) {
		c.Reason = gateway.WrongDoor
	}
	return c
}

func (f *Facts) period() Check {
	c := Check{Name: "period", Detail: f.say("%s to %s", f.local(f.Grant.NotBefore), f.local(f.Grant.NotAfter))}
	switch f.At.In(f.Grant.Period) {
	case gateway.PlaceOver:
		c.Reason = gateway.Expired
	case gateway.PlaceBefore:
		c.Reason = gateway.NotYetValid
	}
	if f.Grant.Stripped {
		c.Reason, c.Detail = gateway.Expired, "it was over, and what it said is gone"
	}
	if c.Reason == "" && aheadOf(f.Grant.IssuedAt, f.At) {
		c.Reason, c.Detail = gateway.NotYetValid, f.say("issued in the future, at %s", f.local(f.Grant.IssuedAt))
	}
	return c
}

// clock denies what the interval of time leaves open (T5): a grant that may be
// over, or a calendar that cannot be read.
func (f *Facts) clock() Check {
	c := Check{Name: "clock", Detail: f.say("%s: %s to %s", f.At.State, f.local(f.At.Earliest), f.local(f.At.Latest))}
	third := f.Grant.ID.Issuer != gateway.HomeIssuer
	calendar := f.Grant.Schedule != nil || third && (len(f.Policy.Hours) > 0 || f.Policy.PerDay > 0 || f.Policy.OfflineLimit > 0)
	if f.At.In(f.Grant.Period) == gateway.PlaceUndecided || f.At.State == gateway.ClockUndecided && calendar {
		c.Reason = gateway.ClockUntrusted
	}
	return c
}

func (f *Facts) schedule() Check {
	c := Check{Name: "schedule", Detail: "always"}
	if f.Grant.Schedule != nil {
		c.Detail = f.say("%d windows in %s", len(f.Grant.Schedule.Windows), f.Zone)
	}
	if f.At.State == gateway.ClockUndecided {
		return c // the clock check has spoken
	}
	c.Reason = hours(f.Grant.Schedule.Covers(f.At.Earliest, f.At.Latest, f.Zone))
	return c
}

// hours turns coverage of the interval of now into a reason.
func hours(all, some bool) gateway.Reason {
	switch {
	case all:
		return ""
	case some:
		return gateway.ClockUntrusted
	}
	return gateway.OutsideSchedule
}

func (f *Facts) policyDoors() Check {
	c := Check{Name: "policy doors", Detail: f.say("%v", f.Policy.Doors)}
	if !slices.Contains(f.Policy.Doors, f.Door) {
		c.Reason = gateway.BeyondPolicy
	}
	return c
}

func (f *Facts) policyHours() Check {
	c := Check{Name: "policy hours", Detail: "always"}
	if len(f.Policy.Hours) == 0 {
		return c
	}
	c.Detail = f.say("%d windows in %s", len(f.Policy.Hours), f.Zone)
	if f.At.State != gateway.ClockUndecided {
		c.Reason = hours(gateway.WindowsCover(f.Policy.Hours, f.At.Earliest, f.At.Latest, f.Zone))
	}
	return c
}

func (f *Facts) policyRemote() Check {
	c := Check{Name: "policy remote_unlock", Detail: "allowed"}
	if !f.Policy.RemoteUnlock {
		c.Reason, c.Detail = gateway.BeyondPolicy, "not allowed"
	}
	return c
}

func (f *Facts) policyUses() Check {
	c := Check{Name: "policy one_time_only", Detail: "any number of uses"}
	if f.Policy.OneTimeOnly {
		c.Detail = "exactly one use"
		if f.Grant.Uses != 1 {
			c.Reason = gateway.BeyondPolicy
		}
	}
	return c
}

func (f *Facts) policyValidity() Check {
	length := f.Grant.NotAfter.Sub(f.Grant.NotBefore)
	c := Check{Name: "policy max_validity", Detail: "any"}
	if f.Policy.MaxValidity > 0 {
		c.Detail = f.say("%s of %s", length, f.Policy.MaxValidity)
		if length > f.Policy.MaxValidity {
			c.Reason = gateway.BeyondPolicy
		}
	}
	return c
}

func (f *Facts) perDay() Check {
	c := Check{Name: "policy per_day", Detail: "any number"}
	if f.Policy.PerDay > 0 {
		c.Detail = f.say("%d of %d so far", f.Issuer.Today, f.Policy.PerDay)
		if f.Issuer.Today >= f.Policy.PerDay && !f.Retry && !f.Continues {
			c.Reason = gateway.BeyondPolicy
		}
	}
	return c
}

func (f *Facts) pin() Check {
	c := Check{Name: "pin", Detail: "none"}
	switch {
	case f.PINRefuse != "":
		c.Reason, c.Detail = gateway.BeyondPolicy, f.PINRefuse
	case f.PIN != nil:
		c.Detail = f.say("%d digits", f.PIN.Length)
		if !slices.Contains(f.Lengths, f.PIN.Length) {
			c.Reason, c.Detail = gateway.BeyondPolicy, f.say("%d digits, and the door wants %s", f.PIN.Length, gateway.Digits(f.Lengths))
		}
	}
	return c
}

func (f *Facts) static() Check {
	c := Check{Name: "policy allow_static_credentials", Detail: "no card"}
	if f.Card && f.Grant.ID.Issuer != gateway.HomeIssuer {
		if c.Detail = "cards are allowed"; !f.Policy.StaticCredentials {
			c.Reason, c.Detail = gateway.BeyondPolicy, "a card can be copied, and is not allowed"
		}
	}
	return c
}

// paused tells home's grants, too: a vacation concerns them.
func (f *Facts) paused() Check {
	c := Check{Name: "issuer not paused"}
	all, id := f.AllPaused, f.Grant.ID
	switch {
	case f.Quarantined:
		c.Reason, c.Detail = gateway.IssuerPaused, "something happened to the database: a resident has to accept that (gardien resume)"
	case all.Denies(id, f.Clock):
		who := "all third parties are paused"
		if id.Issuer == gateway.HomeIssuer {
			who = "vacation: grants made at home are paused, but for those kept"
		}
		c.Reason, c.Detail = gateway.IssuerPaused, f.say("%s%s", who, span{all, f.Zone})
	case f.Issuer.Paused.Denies(id, f.Clock):
		c.Reason, c.Detail = gateway.IssuerPaused, f.say("paused by a resident%s", span{f.Issuer.Paused, f.Zone})
	case all == nil || all.Passed(f.Clock):
	case slices.Contains(all.Keep, id):
		c.Detail = f.say("kept through the vacation%s", span{all, f.Zone})
	case f.Clock.Earliest.Before(all.From) && (all.Home || id.Issuer != gateway.HomeIssuer):
		c.Detail = f.say("a pause is planned%s", span{all, f.Zone})
	}
	return c
}

// span says from when and until when, where that is limited.
type span struct {
	pause *gateway.Pause
	zone  *time.Location
}

func (s span) String() (text string) {
	if !s.pause.From.IsZero() {
		text += " from " + local{s.pause.From, s.zone}.String()
	}
	if !s.pause.Until.IsZero() {
		text += " until " + local{s.pause.Until, s.zone}.String()
	}
	return text
}

// stale counts from the newest manifest; until the first one, from the newest
// verified document of the issuer (A9). A date that is still to come counts for nothing (T3).
func (f *Facts) stale() Check {
	c := Check{Name: "issuer heard from", Detail: "no limit"}
	if f.Policy.OfflineLimit == 0 || f.At.State == gateway.ClockUndecided {
		return c
	}
	c.Detail = f.say("at %s, limit %s", f.local(f.Issuer.LastSign()), f.Policy.OfflineLimit)
	if f.Issuer.Silent(f.Policy.OfflineLimit, f.At) {
		c.Reason = gateway.IssuerStale
	}
	return c
}

// durable keeps out whoever needs a durable record: third parties, and what opens so many times.
func (f *Facts) durable() Check {
	c := Check{Name: "durable record", Detail: "not needed"}
	if f.Grant.ID.Issuer != gateway.HomeIssuer || f.Grant.Uses > 0 {
		c.Reason, c.Detail = gateway.Fault, "the disk takes no writes: without a durable record nobody comes in but residents, and whom they let in without a limit"
	}
	return c
}

func (f *Facts) doorState() Check {
	c := Check{Name: "door ready"}
	switch {
	case f.Blocked:
		c.Reason, c.Detail = gateway.DoorBlocked, "the strike or lock is not there, or does not answer"
	case len(f.Unwell) > 0:
		c.Detail = f.say("unwell (%s)", join(f.Unwell))
		if f.Grant.ID.Issuer != gateway.HomeIssuer {
			c.Reason = gateway.DoorBlocked
			c.Detail += ": what might not be closed again is opened for residents only"
		}
	}
	return c
}

func (f *Facts) interlock() Check {
	c := Check{Name: "interlock", Detail: f.say("closed and secured: %v", f.Interlock)}
	if f.Engaged != "" {
		c.Reason, c.Detail = gateway.Interlocked, f.say("door %s is released, open, or not provably closed and secured", f.Engaged)
	}
	return c
}

func join(list []gateway.Ailment) string {
	var words []string
	for _, a := range list {
		words = append(words, string(a))
	}
	return strings.Join(words, ", ")
}

func (f *Facts) uses() Check {
	c := Check{Name: "uses", Detail: "no limit"}
	left, limited := f.Grant.UsesLeft()
	if limited {
		c.Detail = f.say("%d of %d left", left, f.Grant.Uses)
	}
	switch {
	case f.Grant.Spoilt:
		c.Reason, c.Detail = gateway.UsesSpent, "made before a backup was restored: it may have been used since"
	case f.Retry:
		c.Detail = "a retry of an entry that nobody took"
	case f.Continues:
		c.Detail = "an entry began at another door of the grant: it opens this one, too, once"
	case limited && left == 0 && f.Unsure:
		c.Reason, c.Detail = gateway.ClockUntrusted, "an entry began at another door before the machine started anew: how long ago, the clock cannot tell"
	case limited && left == 0:
		c.Reason = gateway.UsesSpent
	}
	return c
}

// knock tells that residents are asked first; a veto counts for whoever comes.
func (f *Facts) knock(vetoed bool) Check {
	c := Check{Name: "residents asked first", OK: !vetoed, Detail: f.say("for %s, in which they may say no", f.Policy.Knock)}
	if vetoed {
		c.Reason, c.Detail = gateway.Vetoed, "one of them said no a short while ago"
	}
	return c
}

// approval tells that residents have to say yes; a veto counts for whoever comes.
func (f *Facts) approval(silence gateway.Approval, vetoed bool) Check {
	c := Check{Name: "residents say yes", OK: !vetoed, Detail: f.say("each time, within %s; silence says %s", askFor, silence)}
	if vetoed {
		c.Reason, c.Detail = gateway.Vetoed, "one of them said no a short while ago"
	}
	return c
}

// say writes a detail for whoever reads it.
func (f *Facts) say(format string, args ...any) string {
	if !f.Explain {
		return ""
	}
	return fmt.Sprintf(format, args...)
}

// local is a time as the house's people read it, written only where it is read.
func (f *Facts) local(t time.Time) local { return local{t, f.Zone} }

type local struct {
	time time.Time
	zone *time.Location
}

func (l local) String() string { return l.time.In(l.zone).Format(time.RFC3339) }
