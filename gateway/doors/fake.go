package doors

import (
	"context"
	"sync"
	"time"

	"gardien/gateway"
)

// Fake is doors for tests of whoever decides about them: each has a strike and a contact, and does
// what it is told at once. What is known of them can be set.
type Fake struct {
	mu       sync.Mutex
	views    map[gateway.DoorID]gateway.DoorView
	released []gateway.Attempt
	shown    []gateway.Signal
	fails    error
}

// FakeReleaseTime is how long a Fake lets somebody in.
const FakeReleaseTime = 4 * time.Second

// NewFake makes doors that are well, secured and closed.
func NewFake(ids ...gateway.DoorID) *Fake {
	f := &Fake{views: map[gateway.DoorID]gateway.DoorView{}}
	for _, id := range ids {
		f.Set(gateway.DoorView{ID: id, Strike: gateway.StrikeIsSecured, Contact: gateway.ContactClosed})
	}
	return f
}

// View is what is known of a door.
func (f *Fake) View(id gateway.DoorID) gateway.DoorView {
	f.mu.Lock()
	defer f.mu.Unlock()
	v := f.views[id]
	v.Entries = append([]gateway.Entry(nil), v.Entries...)
	return v
}

// Set makes something else known of a door.
func (f *Fake) Set(v gateway.DoorView) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.views[v.ID] = v
}

// Fail makes releases fail from now on; nil ends that.
func (f *Fake) Fail(err error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.fails = err
}

// Release lets the attempt in, until Secure or Pass.
func (f *Fake) Release(_ context.Context, a gateway.Attempt, _ bool) (time.Duration, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.fails != nil {
		return 0, f.fails
	}
	f.released = append(f.released, a)
	v := f.views[a.Door]
	v.Strike = gateway.StrikeIsReleased
	e := gateway.Entry{Attempt: a.ID, Episode: a.Episode, Grant: a.Grant, Running: true, Retries: retries}
	if a.Command {
		e.Retries = 0
	}
	v.Entries = append(v.Entries, e)
	f.views[a.Door] = v
	return FakeReleaseTime, nil
}

// Secure ends the release of a door: nobody has come in, and may try again.
func (f *Fake) Secure(id gateway.DoorID) {
	f.mu.Lock()
	defer f.mu.Unlock()
	v := f.views[id]
	v.Strike = gateway.StrikeIsSecured
	for i := range v.Entries {
		v.Entries[i].Running, v.Entries[i].Until = false, time.Now().Add(DefaultGrace)
	}
	f.views[id] = v
}

// Pass has somebody come in, and ends the release.
func (f *Fake) Pass(id gateway.DoorID) {
	f.mu.Lock()
	defer f.mu.Unlock()
	v := f.views[id]
	v.Strike, v.Entries = gateway.StrikeIsSecured, nil
	f.views[id] = v
}

// Show notes what is shown at the doors.
func (f *Fake) Show(_ gateway.DoorID, s gateway.Signal) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.shown = append(f.shown, s)
}

// Released lists who was let in so far.
func (f *Fake) Released() []gateway.Attempt {
	f.mu.Lock()
	defer f.mu.Unlock()
	return append([]gateway.Attempt(nil), f.released...)
}

// Shown lists what was shown so far.
func (f *Fake) Shown() []gateway.Signal {
	f.mu.Lock()
	defer f.mu.Unlock()
	return append([]gateway.Signal(nil), f.shown...)
}
