package wallclock

import (
	"fmt"
	"sync"
	"time"

	"gardien/gateway"
)

// Fake is a clock for tests of whoever asks what time it is. It shows time.Now, in a synctest
// bubble the bubble's, and is synced until it is told otherwise.
type Fake struct {
	mu    sync.Mutex
	state gateway.ClockState
	floor time.Time
	born  time.Time
	young bool
	boots int
}

// NewFake makes one.
func NewFake() *Fake {
	return &Fake{state: gateway.ClockSynced, floor: gateway.MinTime, born: time.Now()}
}

// Set makes the clock's state another. One that is undecided knows that it is later than its floor.
func (f *Fake) Set(s gateway.ClockState) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.state = s
}

// Unsettle makes time one that has not stood for a day, or has (I6).
func (f *Fake) Unsettle(young bool) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.young = young
}

// Reboot starts the machine anew: its boot clock begins, and whether time is known is to be seen.
func (f *Fake) Reboot(s gateway.ClockState) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.boots++
	f.state, f.born = s, time.Now()
}

// Read says what time it is.
func (f *Fake) Read() gateway.Reading {
	f.mu.Lock()
	defer f.mu.Unlock()
	now := time.Now()
	r := gateway.Reading{Wall: now, Earliest: now, Latest: now, State: f.state, Boot: fmt.Sprint("boot", f.boots), SinceBoot: time.Since(f.born)}
	r.Settled = f.state != gateway.ClockUndecided && !f.young
	if f.state == gateway.ClockUndecided {
		r.Earliest, r.Latest = f.floor, lastFloor
	}
	return r
}

// Floor is what is kept of a reading.
func (f *Fake) Floor(r gateway.Reading) time.Time {
	f.mu.Lock()
	defer f.mu.Unlock()
	return later(f.floor, r.Earliest)
}
