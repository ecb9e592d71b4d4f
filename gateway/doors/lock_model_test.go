package doors

import (
	"fmt"
	"math/rand/v2"
	"os"
	"strconv"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"gardien/drivers/drivertest"
	"gardien/gateway"
)

// TestF12_LockModel plays random sequences on a door whose lock is good, slow, hung, late or
// lying, beside a neighbour with a strike, and holds both to what F12 and F1 promise:
// nobody waits past a deadline, nobody else waits at all, and in the end all is locked, with
// an event for each movement and an end for each entry. DOORS_SEED plays one again.
func TestF12_LockModel(t *testing.T) {
	sequences := uint64(500)
	first := rand.Uint64N(1 << 40)
	if s, err := strconv.ParseUint(os.Getenv("DOORS_SEED"), 10, 64); err == nil {
		first, sequences = s, 1
	}
	for seed := first; seed < first+sequences && !t.Failed(); seed++ {
		synctest.Test(t, func(t *testing.T) { playLock(t, seed) })
	}
}

func playLock(t *testing.T, seed uint64) {
	rnd := rand.New(rand.NewPCG(seed, 12))
	r, l := lockRig(t)
	neighbour := newRig(t, settings(), true)
	manners := []drivertest.Manner{{}, {}, {Takes: 4 * s}, {Takes: 20 * s}, {Hangs: true}, {Takes: 8 * s, Deaf: true}, {Lies: true}, {Fails: true}}
	var pending []<-chan error
	granted := 0
	quick := func(what string, f func()) {
		t.Helper()
		start := time.Now()
		if f(); time.Since(start) != 0 {
			t.Fatalf("DOORS_SEED=%d: %s took %v", seed, what, time.Since(start))
		}
	}
	settle := func() {
		t.Helper()
		for _, c := range pending {
			start := time.Now()
			if err := <-c; err == nil {
				granted++
			}
			if took := time.Since(start); took > 2*(lockWithin+answerGrace)+s {
				t.Fatalf("DOORS_SEED=%d: an answer after %v", seed, took)
			}
		}
		pending = nil
	}
	for i := range 40 {
		switch rnd.IntN(8) {
		case 0, 1:
			pending = append(pending, r.later(fmt.Sprint("a", i)))
		case 2:
			l.Behave(manners[rnd.IntN(len(manners))])
		case 3:
			r.move([]gateway.ContactState{gateway.ContactOpen, gateway.ContactClosed, gateway.ContactClosed, gateway.ContactFault}[rnd.IntN(4)])
		case 4:
			l.Report([]gateway.LockState{gateway.LockJammed, gateway.LockUnknown, "", ""}[rnd.IntN(4)])
		case 5:
			settle()
		default:
			pass(time.Duration(rnd.Int64N(int64(12 * s))))
		}
		synctest.Wait()
		quick("a look", func() { r.door.View() })
		quick("the neighbour's opening", func() { neighbour.admit(fmt.Sprint("n", i), "") })
	}
	l.Behave(drivertest.Manner{})
	l.Report("")
	settle()
	r.move(gateway.ContactClosed)
	pass(lockAgain + time.Minute)
	pending = append(pending, r.later("last"))
	settle()
	pass(time.Minute)
	if v := r.door.View(); l.Unlocked() || v.Lock != gateway.LockLocked || v.Blocked || v.Fault || len(v.Ailments) > 0 {
		t.Errorf("DOORS_SEED=%d: in the end unlocked %v, %+v", seed, l.Unlocked(), v)
	}
	moves, last := 0, ""
	for _, e := range r.journal.list() {
		what, who, _ := strings.Cut(e, " ")
		switch gateway.EventType(what) {
		case gateway.LockUnlockedEvent:
			if who != "" {
				moves++
			}
			last = what
		case gateway.LockLockedEvent:
			last = what
		}
	}
	if moves != granted || last == string(gateway.LockUnlockedEvent) {
		t.Errorf("DOORS_SEED=%d: %d were let in, the record tells of %d; the last movement it tells of is %q:\n%s", seed, granted, moves, last, strings.Join(r.journal.list(), "\n"))
	}
	r.stop()
	neighbour.stop()
}
