package access

import (
	"errors"
	"testing"
	"testing/synctest"
	"time"

	"gardien/gateway"
)

// What goes on beside is waited for at the stop, and nothing begins after it.
func TestCrew(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var c crew
		done := false
		if !c.start(func() { time.Sleep(5 * time.Second); done = true }) {
			t.Error("not begun")
		}
		c.finish()
		if !done {
			t.Error("not waited for")
		}
		if c.start(func() { t.Error("begun after the end") }) {
			t.Error("it says that it begins")
		}
	})
}

// F12: a door whose lock is slow takes no place from another's commands.
func TestF12_CommandsOfEachDoor(t *testing.T) {
	var s slots
	for i := range commandsAtOnce + 1 {
		if got, want := s.take("side"), i < commandsAtOnce; got != want {
			t.Errorf("number %d at the side door: %v", i, got)
		}
	}
	if !s.take("front") {
		t.Error("the side door's commands keep the front door's out")
	}
	s.give("side")
	if !s.take("side") {
		t.Error("a place that was given back is not there")
	}
}

// A restore empties the memory of readers between an attempt's look and its end.
func TestThrottlesAfterARestore(t *testing.T) {
	var t1 throttles
	t1.forget()
	t1.set("pad", gateway.Throttle{Failures: 2})
	if th, err := t1.of(t.Context(), nil, "pad", gateway.Reading{}); err != nil || th.Failures != 2 {
		t.Errorf("%+v, %v", th, err)
	}
}

// Nobody answers an ask before the record has it, whoever knows its id.
func TestAskFirst_NotToldYet(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := Asks{c: &Controller{}}
		a := &attempt{Attempt: gateway.Attempt{ID: "a1", Door: "front", Grant: gateway.GrantID{Issuer: "x.example", JTI: "g1"}}}
		k, isNew := s.begin(a, nil)
		if k == nil || !isNew {
			t.Fatal("it does not begin")
		}
		if _, err := s.take("a1"); !errors.Is(err, ErrNotAsked) || len(s.takeAll("")) != 0 {
			t.Errorf("answered before it is told: %v", err)
		}
		if !s.tell(k) {
			t.Error("it is not told")
		}
		if got, err := s.take("a1"); got != k || err != nil {
			t.Errorf("then: %v", err)
		}
	})
}
