package gateway_test

import (
	"cmp"
	"fmt"
	"strings"
	"testing"

	gocmp "github.com/google/go-cmp/cmp"

	"gardien/gateway"
)

// told makes a record of one event a word: "type", "type:attempt", "type:attempt@door" or
// "type!device", of an access_denied the reason; the door is front, if none is named. Event 10 is the
// first. Its instant is its number, and so is its hash.
func told(words string) (list []gateway.Event) {
	for i, word := range strings.Fields(words) {
		e := gateway.Event{Seq: int64(10 + i), At: fmt.Sprint(10 + i), Hash: fmt.Sprint(10 + i), Door: "front"}
		word, device, _ := strings.Cut(word, "!")
		word, door, elsewhere := strings.Cut(word, "@")
		kind, attempt, _ := strings.Cut(word, ":")
		e.Type, e.Attempt, e.Device = gateway.EventType(kind), gateway.AttemptID(attempt), device
		if elsewhere {
			e.Door = gateway.DoorID(door)
		}
		switch e.Type {
		case gateway.GatewayStarted:
			e.Door = ""
		case gateway.AccessGranted:
			e.Issuer, e.Grant = "colis-x.example", "g"
		case gateway.AccessDenied:
			e.Reason, e.Device = gateway.Reason(cmp.Or(e.Device, "fault")), ""
		}
		list = append(list, e)
	}
	return list
}

// TestReceiptOf: how an entry ended is read from the record, whatever else happens meanwhile.
func TestReceiptOf(t *testing.T) {
	const granted = "access_granted:a strike_released:a "
	goesOn := gateway.Outcome("")
	for _, tt := range []struct {
		name, events           string
		outcome                gateway.Outcome
		opened, closed, secure string
		head                   int64
	}{
		{"entered", granted + "door_opened:a access_taken:a strike_secured:a door_closed request_to_exit", gateway.Entered, "12", "15", "14", 15},
		{"closed before it is secured", granted + "door_opened:a access_taken:a door_closed strike_secured:a", gateway.Entered, "12", "14", "15", 15},
		{"opened twice within the release", granted + "door_opened:a access_taken:a door_closed door_opened strike_secured:a door_closed", gateway.Entered, "12", "14", "16", 16},
		{"a bolt lock", "access_granted:a lock_unlocked:a door_opened:a access_taken:a door_closed lock_locked:a", gateway.Entered, "12", "14", "15", 15},
		{"a slow lock, opened by hand before it said so", "access_granted:a door_opened lock_unlocked:a access_taken:a door_closed lock_locked:a", gateway.Entered, "11", "14", "15", 15},
		{"a slow lock, closed again by then", "access_granted:a door_opened door_closed lock_unlocked:a access_taken:a lock_locked:a", gateway.Entered, "11", "12", "15", 15},
		{"the contact fails when it is closed again", granted + "door_opened:a access_taken:a door_closed door_fault!GPIO27 strike_secured:a", gateway.Entered, "12", "14", "16", 16},
		{"refused elsewhere meanwhile", granted + "access_denied:a!revoked door_opened:a access_taken:a strike_secured:a door_closed", gateway.Entered, "13", "16", "15", 16},
		{"another is let in while the leaf is open", granted + "door_opened:a access_taken:a strike_secured:a access_granted:b strike_released:b strike_secured:b door_closed", gateway.Entered, "12", "18", "14", 18},
		{"told twice", granted + "door_opened:a access_taken:a door_opened:a access_granted:a strike_secured:a door_closed", gateway.Unproved, "12", "", "16", 16},

		{"nobody came", granted + "strike_secured:a access_not_taken:a", gateway.NotEntered, "", "", "12", 13},
		{"nobody came, of two", granted + "access_granted:b strike_released:b strike_secured:b access_not_taken:a access_not_taken:b", gateway.NotEntered, "", "", "14", 15},
		{"nobody came, and later somebody else", granted + "strike_secured:a access_not_taken:a door_opened:b access_taken:b door_closed", gateway.NotEntered, "", "", "12", 13},
		{"tried again, and entered", granted + "strike_secured:a access_not_taken:a " + granted + "door_opened:a access_taken:a strike_secured:a door_closed", gateway.Entered, "16", "19", "18", 19},
		{"tried again, and not entered", granted + "strike_secured:a access_not_taken:a " + granted + "strike_secured:a access_not_taken:a", gateway.NotEntered, "", "", "16", 17},
		{"tried again, and it goes on", granted + "strike_secured:a access_not_taken:a " + granted, goesOn, "", "", "", 0},
		{"tried again, and somebody was quicker", granted + "strike_secured:a access_not_taken:a access_granted:a door_opened access_denied:a", gateway.Unproved, "", "", "", 16},
		{"tried again, and another release ends first", granted + "strike_secured:a access_not_taken:a access_granted:b strike_released:b access_granted:a strike_secured:b strike_released:a", goesOn, "", "", "", 0},
		{"tried again with a slow lock, after somebody else", "access_granted:a door_opened door_closed lock_unlocked:a lock_locked:a access_not_taken:a access_granted:a lock_unlocked:a access_taken:a door_closed lock_locked:a", gateway.Entered, "18", "19", "20", 20},
		{"it could not be released, and was then", "access_granted:a access_denied:a " + granted + "door_opened:a access_taken:a strike_secured:a door_closed", gateway.Entered, "14", "17", "16", 17},

		{"left open", granted + "door_opened:a access_taken:a strike_secured:a door_held_open door_closed", gateway.LeftOpen, "12", "", "14", 15},
		{"left open, and secured later", granted + "door_opened:a access_taken:a door_held_open strike_secured:a", gateway.LeftOpen, "12", "", "15", 15},
		{"left open with a bolt, which waits for the leaf", "access_granted:a lock_unlocked:a door_opened:a access_taken:a door_held_open door_closed lock_locked:a", gateway.LeftOpen, "12", "15", "16", 16},

		{"a power cut", granted + "interrupted:a gateway_started", gateway.EntryInterrupted, "", "", "", 12},
		{"a power cut after somebody came", granted + "door_opened:a access_taken:a interrupted:a gateway_started door_closed", gateway.EntryInterrupted, "12", "", "", 14},
		{"a power cut that nobody noted", granted + "gateway_started strike_secured:a", gateway.EntryInterrupted, "", "", "", 12},
		{"another's power cut", granted + "interrupted:b", goesOn, "", "", "", 0},

		{"a restart while the leaf is open", granted + "door_opened:a access_taken:a strike_secured:a gateway_started door_closed", gateway.Unproved, "12", "", "14", 15},
		{"a restart after all of it", granted + "door_opened:a access_taken:a strike_secured:a door_closed gateway_started", gateway.Entered, "12", "15", "14", 15},
		{"the contact fails while the leaf is open", granted + "door_opened:a access_taken:a door_fault!GPIO27 strike_secured:a door_closed", gateway.Unproved, "12", "", "15", 15},
		{"it could not be secured at once", granted + "door_opened:a access_taken:a door_fault strike_secured:a door_closed", gateway.Entered, "12", "16", "15", 16},
		{"the contact fails before anybody came", granted + "door_fault!GPIO27 strike_secured:a", gateway.Unproved, "", "", "13", 13},
		{"the contact fails, and is well again", granted + "door_opened:a access_taken:a door_fault!GPIO27 door_closed strike_secured:a", gateway.Unproved, "12", "", "16", 16},
		{"no word of who came", granted + "strike_secured:a door_bell access_not_taken:a", gateway.Unproved, "", "", "12", 12},
		{"no contact", granted + "strike_secured:a", gateway.Unproved, "", "", "12", 12},
		{"the latch fails", "access_granted:a door_fault:a access_denied:a", gateway.Unproved, "", "", "", 12},

		{"two at once, each opens for itself", granted + "access_granted:b strike_released:b door_opened:a access_taken:a door_closed door_opened:b access_taken:b strike_secured:b door_closed", gateway.Entered, "14", "16", "19", 19},
		{"two at once, and the other came", granted + "access_granted:b strike_released:b door_opened:b access_taken:b strike_secured:b access_not_taken:a door_closed", gateway.Unproved, "", "", "16", 16},
		{"somebody left meanwhile, perhaps he alone", granted + "request_to_exit door_opened:a access_taken:a strike_secured:a door_closed", gateway.Unproved, "13", "16", "15", 16},
		{"somebody left after that", granted + "door_opened:a access_taken:a request_to_exit strike_secured:a door_closed", gateway.Entered, "12", "16", "15", 16},
		{"somebody left through a door that nobody opened", granted + "request_to_exit strike_secured:a access_not_taken:a", gateway.NotEntered, "", "", "13", 14},
		{"secured after a release before", "access_granted:a strike_secured:b strike_released:a", goesOn, "", "", "", 0},
		{"another door", granted + "door_opened:b@side strike_secured:b@side door_closed@side access_granted:c@side", goesOn, "", "", "", 0},
		{"not opened yet", granted, goesOn, "", "", "", 0},
		{"not secured yet", granted + "door_opened:a access_taken:a door_closed", goesOn, "12", "14", "", 0},
		{"not closed yet", granted + "door_opened:a access_taken:a strike_secured:a", goesOn, "12", "", "14", 0},
		{"not closed for as long as is waited", granted + "door_opened:a access_taken:a strike_secured:a" + strings.Repeat(" door_bell@side", 600), gateway.Unproved, "12", "", "14", 510},
		{"closed at the very end", granted + "door_opened:a access_taken:a strike_secured:a" + strings.Repeat(" door_bell@side", 495) + " door_closed", gateway.Entered, "12", "510", "14", 510},
		{"closed too late", granted + "door_opened:a access_taken:a strike_secured:a" + strings.Repeat(" door_bell@side", 496) + " door_closed", gateway.Unproved, "12", "", "14", 510},
	} {
		t.Run(tt.name, func(t *testing.T) {
			want := gateway.EntryReceipt{Grant: gateway.GrantID{Issuer: "colis-x.example", JTI: "g"}, Door: "front", Granted: "10",
				Opened: tt.opened, Closed: tt.closed, Secured: tt.secure, Outcome: tt.outcome}
			if tt.head > 0 {
				want.Head = gateway.ReceiptHead{Seq: tt.head, Hash: fmt.Sprint(tt.head)}
			}
			all := told(tt.events)
			got, ended := gateway.ReceiptOf(all, "a")
			if d := gocmp.Diff(want, got); d != "" || ended != (tt.outcome != "") {
				t.Errorf("ended %v: %s", ended, d)
			}
			if ended && !got.Consistent() {
				t.Errorf("%+v is not consistent", got)
			}
			// It is the same whenever it is asked for: what comes later changes nothing, a retry aside.
			for n := range all {
				early, over := gateway.ReceiptOf(all[:n], "a")
				if over && early != got && !strings.Contains(tt.name, "again") && !strings.Contains(tt.name, "was then") &&
					all[n-1].Type != gateway.StrikeSecured { // its transaction has more
					t.Errorf("after %d events it was another: %+v", n, early)
				}
			}
		})
	}
}

// TestReceiptOfNothing: what does not begin with the attempt's being granted is no entry of it.
func TestReceiptOfNothing(t *testing.T) {
	for _, words := range []string{"", "access_granted:b", "strike_released:a access_granted:a strike_secured:a"} {
		if r, ended := gateway.ReceiptOf(told(words), "a"); ended || r != (gateway.EntryReceipt{}) {
			t.Errorf("%q: %+v", words, r)
		}
	}
	resident := told("access_granted:a strike_released:a strike_secured:a")
	resident[0].Issuer, resident[0].Grant = "", ""
	if r, ended := gateway.ReceiptOf(resident, "a"); !ended || r.Grant != (gateway.GrantID{}) {
		t.Errorf("a resident's own: %+v", r)
	}
}
