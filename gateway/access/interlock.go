package access

import (
	"slices"
	"sync"

	"gardien/gateway"
)

// interlock knows which doors are being released, until their view says that they are.
type interlock struct {
	mu      sync.Mutex
	opening map[gateway.DoorID]int
}

func (i *interlock) begin(door gateway.DoorID) {
	i.mu.Lock()
	defer i.mu.Unlock()
	if i.opening == nil {
		i.opening = map[gateway.DoorID]int{}
	}
	i.opening[door]++
}

func (i *interlock) done(door gateway.DoorID) {
	i.mu.Lock()
	defer i.mu.Unlock()
	if i.opening[door]--; i.opening[door] <= 0 {
		delete(i.opening, door)
	}
}

// engaged gives another door of a door's interlock that is not closed and secured, or not provably;
// "": there is none. Whoever decides by it holds the lock that the doors share.
func (i *interlock) engaged(doors Doors, rules *Rules, door gateway.DoorID) gateway.DoorID {
	for _, other := range rules.others(door) {
		i.mu.Lock()
		opening := i.opening[other] > 0
		i.mu.Unlock()
		if opening || !shut(doors.View(other)) {
			return other
		}
	}
	return ""
}

// shut reports whether a door is provably closed and secured.
func shut(v gateway.DoorView) bool {
	running := slices.ContainsFunc(v.Entries, func(e gateway.Entry) bool { return e.Running })
	secured := v.Lock == gateway.LockLocked || v.Lock == "" && v.Strike == gateway.StrikeIsSecured // a bolt that tells nothing proves nothing
	return secured && !running && !v.Fault && !v.Blocked && v.Strike != gateway.StrikeIsReleased && v.Contact == gateway.ContactClosed
}

// others lists the other doors of a door's interlock.
func (r *Rules) others(door gateway.DoorID) []gateway.DoorID {
	if !slices.Contains(r.Interlock, door) {
		return nil
	}
	return slices.DeleteFunc(slices.Clone(r.Interlock), func(d gateway.DoorID) bool { return d == door })
}

// lockOf is whose lock is held for a decision at a door: those of an interlock share one.
func (r *Rules) lockOf(door gateway.DoorID) gateway.DoorID {
	if slices.Contains(r.Interlock, door) {
		return r.Interlock[0]
	}
	return door
}
