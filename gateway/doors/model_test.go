package doors

import (
	"context"
	"fmt"
	"math/rand/v2"
	"os"
	"slices"
	"strconv"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"gardien/gateway"
)

// model is what a door promises, told as a list of events. It knows nothing of
// goroutines, channels or timers: the test moves its time by hand.
type model struct {
	Settings
	contact bool
	now     time.Duration
	events  []string

	stuckRelease, stuckHold bool

	released bool
	deadline time.Duration // one (F11)
	began    time.Duration // of the release on end (F1)
	stray    bool          // a release has failed: secured for safety
	drawn    bool          // the hardware itself, its own limit aside
	driven   time.Duration // latest Release that the driver took
	again    time.Duration // next try to secure; 0: none failed
	last     gateway.AttemptID
	come     []gateway.AttemptID // may still come
	grace    map[string]*modelGrace

	leaf    gateway.ContactState
	ajar    bool
	opened  time.Duration
	alarms  int
	shunted time.Duration
}

type modelGrace struct {
	id      gateway.AttemptID
	left    int
	running bool
	secured time.Duration
}

func (m *model) tell(t gateway.EventType, a gateway.AttemptID) {
	m.events = append(m.events, line(t, a))
}

// advance moves time on, and does what falls due on the way.
func (m *model) advance(by time.Duration) {
	end := m.now + by
	for {
		next, secures := end+1, false
		if m.stray && !m.released {
			next, secures = max(m.again, m.now), true
		}
		if m.released {
			next, secures = max(min(m.deadline, m.began+time.Minute), m.again, m.now), true
		}
		if m.leaf == gateway.ContactOpen && m.HeldOpenAfter > 0 {
			if at := max(m.opened+m.HeldOpenAfter<<m.alarms, m.now); at < next {
				next, secures = at, false
			}
		}
		if next > end {
			m.now = end
			return
		}
		m.now = next
		if !secures {
			m.alarms++
			m.tell(gateway.DoorHeldOpen, "")
			continue
		}
		m.secure()
	}
}

func (m *model) secure() {
	if m.stuckHold {
		if m.again == 0 {
			m.tell(gateway.DoorFault, "")
		}
		m.again = m.now + time.Second
		return
	}
	m.stray = false
	if !m.released {
		m.drawn, m.again = false, 0
		return
	}
	m.tell(gateway.StrikeSecured, m.last)
	for _, id := range m.come {
		m.tell(gateway.AccessNotTaken, id)
	}
	m.released, m.drawn, m.deadline, m.again, m.last, m.come = false, false, 0, 0, "", nil
	for _, g := range m.grace {
		if g.running {
			g.running, g.secured = false, m.now
		}
	}
}

// retry tells whether the grant continues an entry (contract §1).
func (m *model) retry(grant string) (gateway.AttemptID, bool) {
	g := m.grace[grant]
	if g == nil || g.left == 0 || m.leaf != gateway.ContactClosed || !g.running && m.now-g.secured > 180*time.Second {
		return "", false
	}
	return g.id, true
}

func (m *model) drive() bool {
	if m.stuckRelease {
		m.stray = !m.released
		return false
	}
	m.stray = false
	if !m.released {
		m.began = m.now
	}
	m.released, m.drawn, m.driven, m.again = true, true, m.now, 0
	m.deadline = max(m.deadline, m.now+m.ReleaseTime)
	return true
}

func (m *model) admit(id gateway.AttemptID, grant string, retry bool) bool {
	if retry {
		m.grace[grant].left--
	}
	if !m.drive() {
		m.tell(gateway.DoorFault, id)
		return false
	}
	m.last = id
	m.tell(gateway.StrikeReleased, id)
	if m.contact && m.leaf == gateway.ContactClosed {
		if !slices.Contains(m.come, id) {
			m.come = append(m.come, id)
		}
		if grant != "" && !retry && m.RetryGrace > 0 {
			m.grace[grant] = &modelGrace{id: id, left: 2}
		}
	}
	if g := m.grace[grant]; g != nil && g.id == id {
		g.running = true
	}
	return true
}

func (m *model) rex() {
	m.shunted = m.now + m.REXShunt
	m.tell(gateway.RequestToExit, "")
	if m.REXReleases {
		if m.drive() {
			m.tell(gateway.StrikeReleased, "")
		} else {
			m.tell(gateway.DoorFault, "")
		}
	}
}

func (m *model) move(s gateway.ContactState) {
	if !m.contact || s == m.leaf {
		return
	}
	m.leaf = s
	switch s {
	case gateway.ContactClosed:
		m.alarms = 0
		if m.ajar {
			m.tell(gateway.DoorClosed, "")
		}
		m.ajar = false
	case gateway.ContactOpen:
		if m.ajar {
			return
		}
		m.ajar, m.opened, m.alarms = true, m.now, 0
		clear(m.grace)
		switch {
		case m.released && len(m.come) > 0:
			m.tell(gateway.DoorOpened, m.come[0])
			m.tell(gateway.AccessTaken, m.come[0])
			m.come = m.come[1:]
		case m.released:
			m.tell(gateway.DoorOpened, "")
		default:
			m.tell(gateway.DoorOpened, "")
			if m.now >= m.shunted {
				m.tell(gateway.DoorForcedOpen, "")
			}
		}
		if m.released {
			m.deadline = min(m.deadline, m.now+m.RelockDelay)
		}
	default:
		m.tell(gateway.DoorFault, "")
		clear(m.grace)
		m.come = nil
	}
}

// stop is the end of the program: secured and recorded; a driver that fails has its limit.
func (m *model) stop() {
	if m.released || m.stray {
		m.secure()
	}
	m.stray = false
	m.drawn = m.drawn && m.stuckHold
	leaf := m.leaf
	m.released, m.deadline, m.again, m.last, m.come, m.shunted, m.alarms = false, 0, 0, "", nil, 0, 0
	m.grace = map[string]*modelGrace{}
	m.ajar, m.opened = leaf == gateway.ContactOpen, m.now
}

// rig is a real door on fakes, in a bubble.
type rig struct {
	t       *testing.T
	hw      Hardware
	strike  *fakeStrike
	contact *fakeContact
	rex     fakeREX
	journal *fakeJournal
	door    *Door
	secure  func()
	cancel  context.CancelFunc
	done    chan error
}

func newRig(t *testing.T, s Settings, contact bool) *rig {
	r := &rig{t: t, strike: &fakeStrike{}, contact: newFakeContact(), rex: make(fakeREX, 8), journal: &fakeJournal{}}
	r.hw = Hardware{Strike: r.strike, REX: r.rex}
	r.secure = func() { r.strike.Secure(t.Context()) } // as the wiring does
	if contact {
		r.hw.Contact = r.contact
	}
	r.start(s)
	return r
}

func (r *rig) start(s Settings) {
	r.t.Helper()
	d, err := New(s, r.hw, bubbleClock{}, r.journal, quiet)
	if err != nil {
		r.t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	r.door, r.cancel, r.done = d, cancel, make(chan error, 1)
	r.secure()
	go func() { r.done <- d.Run(ctx) }()
	<-d.Ready()
	synctest.Wait()
}

func (r *rig) stop() {
	r.cancel()
	if err := <-r.done; err != nil {
		r.t.Errorf("Run: %v", err)
	}
}

// admit does what gateway/access does with a grant; "" is a resident.
func (r *rig) admit(id, grant string) (gateway.AttemptID, error) {
	a := gateway.Attempt{ID: gateway.AttemptID(id)}
	retry := false
	if grant != "" {
		a.Grant = gateway.GrantID{Issuer: "home", JTI: grant}
		v := r.door.View()
		if first, ok := v.Retry(a.Grant, time.Now()); ok {
			a.ID, retry = first.Attempt, true
		}
	}
	_, err := r.door.Release(r.t.Context(), a, retry)
	synctest.Wait()
	return a.ID, err
}

func (r *rig) move(s gateway.ContactState) {
	r.contact.move(s)
	synctest.Wait()
}

func (r *rig) expect(want ...string) {
	r.t.Helper()
	synctest.Wait()
	if got := r.journal.list(); !slices.Equal(got, want) {
		r.t.Errorf("the record says\n\t%s\nwant\n\t%s", strings.Join(got, "\n\t"), strings.Join(want, "\n\t"))
	}
}

// pass lets time pass in the bubble.
func pass(d time.Duration) { time.Sleep(d); synctest.Wait() }

// TestModel plays random sequences on a door and on the model. DOORS_SEED plays one again.
func TestModel(t *testing.T) {
	sequences := uint64(2000)
	first := rand.Uint64N(1 << 40)
	if s, err := strconv.ParseUint(os.Getenv("DOORS_SEED"), 10, 64); err == nil {
		first, sequences = s, 1
	}
	for seed := first; seed < first+sequences && !t.Failed(); seed++ {
		synctest.Test(t, func(t *testing.T) { play(t, seed) })
	}
}

func play(t *testing.T, seed uint64) {
	r := rand.New(rand.NewPCG(seed, 11))
	pick := func(list ...time.Duration) time.Duration { return list[r.IntN(len(list))] }
	const s = time.Second
	set := Settings{ID: "front", ReleaseTime: pick(3*s, 4*s, 10*s), RelockDelay: pick(0, s, 2*s), HeldOpenAfter: pick(0, 5*s, 30*s),
		RetryGrace: pick(0, DefaultGrace, DefaultGrace), REXReleases: r.IntN(2) == 0, REXShunt: pick(0, 5*s, 15*s)}
	contact := r.IntN(8) != 0
	rig := newRig(t, set, contact)
	m := &model{Settings: set, contact: contact, leaf: gateway.ContactClosed, grace: map[string]*modelGrace{}}
	if !contact {
		m.leaf = ""
	}
	var steps []string
	fail := func(format string, args ...any) {
		t.Helper()
		t.Fatalf("DOORS_SEED=%d, %+v, contact %v:\n%s\n%s", seed, set, contact, strings.Join(steps, "\n"), fmt.Sprintf(format, args...))
	}
	began := time.Now()
	check := func() {
		t.Helper()
		synctest.Wait()
		m.advance(time.Since(began) - m.now) // a failed release waits a second for the record
		if got, want := rig.strike.released(), m.drawn && m.now-m.driven < gateway.ReleaseLimit; got != want {
			fail("released is %v, want %v", got, want)
		}
		if got := rig.door.View(); (got.Strike == gateway.StrikeIsReleased) != m.released || contact && got.Contact != m.leaf || got.HeldOpen != (m.alarms > 0) {
			fail("state is %+v; want released %v, contact %s, held open %v", got, m.released, m.leaf, m.alarms > 0)
		}
	}
	defer func() {
		if t.Failed() { // a bubble must end empty
			rig.journal.mend()
			rig.cancel()
		}
	}()
	for i := range 40 {
		switch op := r.IntN(20); {
		case op < 5: // a grant, often one that came before
			grant, id := fmt.Sprint("g", r.IntN(3)), fmt.Sprint("a", i)
			steps = append(steps, fmt.Sprintf("%v grant %s %s", m.now, grant, id))
			first, again := m.retry(grant)
			if again {
				id = string(first)
			}
			got, err := rig.admit(fmt.Sprint("a", i), grant)
			if string(got) != id {
				fail("attempt %s, want %s", got, id)
			}
			if ok := m.admit(gateway.AttemptID(id), grant, again); ok != (err == nil) {
				fail("released: %v, want %v", err, ok)
			}
		case op < 6:
			id := fmt.Sprint("r", i)
			steps = append(steps, fmt.Sprintf("%v resident %s", m.now, id))
			_, err := rig.admit(id, "")
			if ok := m.admit(gateway.AttemptID(id), "", false); ok != (err == nil) {
				fail("released: %v, want %v", err, ok)
			}
		case op < 10 && contact:
			to := []gateway.ContactState{gateway.ContactOpen, gateway.ContactOpen, gateway.ContactOpen, gateway.ContactClosed, gateway.ContactClosed, gateway.ContactClosed, gateway.ContactFault}[r.IntN(7)]
			steps = append(steps, fmt.Sprintf("%v leaf %s", m.now, to))
			rig.move(to)
			m.move(to)
		case op < 11:
			steps = append(steps, fmt.Sprintf("%v REX", m.now))
			rig.rex <- struct{}{}
			synctest.Wait()
			m.rex()
		case op < 12:
			m.stuckRelease, m.stuckHold = r.IntN(3) == 0, r.IntN(3) == 0
			steps = append(steps, fmt.Sprintf("%v stuck: release %v, secure %v", m.now, m.stuckRelease, m.stuckHold))
			rig.strike.set(m.stuckRelease, m.stuckHold)
		case op < 13:
			steps = append(steps, fmt.Sprintf("%v journal", m.now))
			[]func(){rig.journal.fail, rig.journal.hang, rig.journal.mend}[r.IntN(3)]()
		case op < 14 && r.IntN(3) == 0:
			steps = append(steps, fmt.Sprintf("%v restart", m.now))
			rig.journal.mend()
			rig.stop()
			m.stop()
			rig.start(set)
		default:
			d := pick(time.Duration(r.Int64N(int64(2*s))), time.Duration(r.Int64N(int64(20*s))), time.Duration(r.Int64N(int64(200*s)))) + 1
			steps = append(steps, fmt.Sprintf("%v wait %v", m.now, d))
			pass(d)
		}
		check()
	}
	rig.journal.mend()
	rig.strike.set(false, false)
	m.stuckHold = false
	pass(2 * s)
	check()
	rig.stop()
	m.stop()
	if rig.strike.released() {
		fail("released after the end")
	}
	if got := rig.journal.list(); !slices.Equal(got, m.events) {
		fail("the record says\n\t%s\nwant\n\t%s", strings.Join(got, "\n\t"), strings.Join(m.events, "\n\t"))
	}
	if !slices.IsSortedFunc(rig.journal.times, time.Time.Compare) {
		fail("times of the record go back")
	}
}
