package wallclock

import (
	"context"
	"errors"
	"log/slog"
	"slices"
	"sync"
	"time"

	"gardien/gateway"
)

// The numbers of T2–T4.
const (
	DriftPPM    = 100                 // what a Pi's crystal is trusted with
	HoldoverFor = 30 * 24 * time.Hour // after that the interval is no longer bounded
	SyncedFor   = 3 * 2048 * time.Second
	StepBack    = 2 * time.Second
	StepForward = 300 * time.Second
	SaveEvery   = 10 * time.Minute

	pollTrusted   = 30 * time.Second
	pollUndecided = 5 * time.Second
)

// OS is the operating system's clocks.
type OS interface {
	// Now gives the wall clock, CLOCK_BOOTTIME, and the id of this boot.
	Now() (wall time.Time, sinceBoot time.Duration, boot string)
}

// Source is evidence of synchronisation.
type Source interface {
	// LastSync gives the wall-clock instant of the last sync that is known of.
	LastSync(context.Context) (time.Time, bool)
}

// Saved is what outlives the process.
type Saved struct {
	Floor    time.Time // it is surely not earlier
	LastSync time.Time // wall clock of the last sync, for an RTC's hold-over
	Boot     string    // the boot that BootWall speaks of
	BootWall time.Time // wall clock minus CLOCK_BOOTTIME: jumps at a step; zero: at one not confirmed since

	Stood     time.Duration // how long time has stood (I6)
	StoodWall time.Time     // wall clock of the latest trusted reading
}

// Keeper persists. Save raises the floor and never lowers it; Reset does lower it,
// on a resident's word.
type Keeper interface {
	SaveClock(context.Context, Saved) error
	ResetClock(context.Context, Saved) error
}

// Clock is the gateway's clock. Its methods are safe for concurrent use.
type Clock struct {
	os     OS
	source Source // nil: the operating system's word is the evidence
	rtc    bool
	keeper Keeper
	notify func(context.Context, gateway.Event)
	ready  chan struct{}
	poke   chan struct{}

	keeping  sync.Mutex // a save that is under way must not undo a resident's word
	mu       sync.Mutex
	floor    time.Time
	standing standing
	lastSync time.Time     // wall
	synced   bool          // anchor is meaningful
	anchor   time.Duration // boot time of the last confirmation
	bootWall time.Time     // of the latest reading
	since    time.Duration // of the latest reading
	boot     string
	looked   time.Duration      // boot time of the latest look for evidence
	seen     time.Time          // what it found
	distrust time.Duration      // evidence from before this boot time does not count
	stale    []interval         // evidence that bears these times was made before a step
	unsaved  bool               // a step or its end, which a restart has to know of
	told     gateway.ClockState // what Run has told last
	by       gateway.ResidentID // whose word it is that is not told yet
	confirms bool               // the anchor is a resident's word or an RTC: hold-over at once
}

// Opts of a Clock.
type Opts struct {
	OS     OS
	Source Source // nil trusts the operating system's clock: clock.source "system"
	RTC    bool   // the kernel set the clock from a battery-backed RTC at boot
	Saved  Saved  // from the last run; zero at the first
	Build  time.Time
	Keeper Keeper
	// Notify is told ClockTrusted, with the resident on whose word, and ClockLost.
	Notify func(context.Context, gateway.Event)
}

// New makes a clock and takes the first evidence.
func New(ctx context.Context, o Opts) *Clock {
	c := &Clock{os: o.OS, source: o.Source, rtc: o.RTC, keeper: o.Keeper, notify: o.Notify,
		ready: make(chan struct{}), poke: make(chan struct{}, 1),
		floor: o.Saved.Floor, lastSync: o.Saved.LastSync, standing: standing{stood: o.Saved.Stood, wall: o.Saved.StoodWall}}
	if c.floor.Before(o.Build) {
		c.floor = o.Build
	}
	if c.floor.After(lastFloor) { // of a clock that was believed once; Confirm lowers it
		c.floor = lastFloor
	}
	wall, since, boot := c.os.Now()
	c.bootWall, c.since, c.boot, c.looked = wall.Add(-since), since, boot, since
	if boot == o.Saved.Boot && (o.Saved.BootWall.IsZero() || stepped(c.bootWall.Sub(o.Saved.BootWall))) {
		c.distrust = since // the clock was stepped while nobody looked, or before that
		if at, ok := c.lookUp(ctx); ok {
			c.stale = []interval{{at, at}}
		}
	}
	c.refresh(ctx)
	c.tryRTC(wall, since)
	return c
}

func stepped(d time.Duration) bool { return d < -StepBack || d > StepForward }

func later(a, b time.Time) time.Time {
	if a.After(b) {
		return a
	}
	return b
}

// interval is a stretch of the wall clock, ends included.
type interval struct{ from, to time.Time }

func (c *Clock) isStale(t time.Time) bool {
	return slices.ContainsFunc(c.stale, func(i interval) bool { return !t.Before(i.from) && !t.After(i.to) })
}

// tryRTC counts a battery-backed RTC as confirmation, with its drift since the
// last sync that we know of. A dead battery shows: the clock is below the floor.
func (c *Clock) tryRTC(wall time.Time, since time.Duration) {
	c.mu.Lock()
	defer c.mu.Unlock()
	age := wall.Sub(c.lastSync)
	if c.synced || !c.rtc || c.distrust != 0 || c.lastSync.IsZero() || age < 0 || age > HoldoverFor || wall.Before(c.floor) {
		return
	}
	c.synced, c.confirms, c.anchor = true, true, since-age
}

// Read reads the clock, without I/O.
func (c *Clock) Read() gateway.Reading {
	c.mu.Lock()
	defer c.mu.Unlock()
	wall, since := c.observe()
	r := c.reading(wall, since)
	if c.told != "" && (r.State == gateway.ClockUndecided) != (c.told == gateway.ClockUndecided) {
		c.nudge()
	}
	return r
}

// nudge makes Run look at once.
func (c *Clock) nudge() {
	select {
	case c.poke <- struct{}{}:
	default:
	}
}

// observe takes the operating system's clocks and looks for a step.
func (c *Clock) observe() (wall time.Time, since time.Duration) {
	wall, since, boot := c.os.Now()
	bootWall := wall.Add(-since)
	if step := bootWall.Sub(c.bootWall); stepped(step) && c.source != nil {
		c.synced, c.unsaved = false, true
		c.distrust = c.since
		// Once the clock was set back, a sync from before can look like one after: the
		// last that was seen, and any since, give or take a small step.
		c.stale = append(c.stale, interval{c.seen, c.seen},
			interval{c.bootWall.Add(c.looked - StepForward), c.bootWall.Add(since + StepBack)})
		c.nudge()
	}
	c.bootWall, c.since, c.boot = bootWall, since, boot
	return wall, since
}

func (c *Clock) reading(wall time.Time, since time.Duration) gateway.Reading {
	r := gateway.Reading{Wall: wall, State: c.state(wall, since), Boot: c.boot, SinceBoot: since}
	if r.Wall.Before(c.floor) || absurd(r.Wall) {
		r.Wall = c.floor
	}
	switch r.State {
	case gateway.ClockSynced:
		r.Earliest, r.Latest = r.Wall, r.Wall
	case gateway.ClockHoldover:
		drift := (since - c.anchor) / (1e6 / DriftPPM)
		r.Earliest, r.Latest = r.Wall.Add(-drift), r.Wall.Add(drift)
		if r.Earliest.Before(c.floor) {
			r.Earliest = c.floor
		}
	default:
		r.Earliest, r.Latest = c.floor, lastFloor
		c.standing.count(r.Wall, since, false)
		return r
	}
	c.floor = later(c.floor, r.Earliest) // what was surely past stays so (T1)
	c.standing.count(r.Wall, since, true)
	r.Settled = c.standing.settled()
	return r
}

func (c *Clock) state(wall time.Time, since time.Duration) gateway.ClockState {
	age := since - c.anchor
	switch {
	case wall.Before(c.floor.Add(-StepBack)) || absurd(wall): // surely wrong, whoever vouches for it
		return gateway.ClockUndecided
	case c.source == nil:
		return gateway.ClockSynced
	case !c.synced || age > HoldoverFor:
		return gateway.ClockUndecided
	case age > SyncedFor || c.confirms:
		return gateway.ClockHoldover
	}
	return gateway.ClockSynced
}

// refresh asks the source for evidence and counts it if it is of this boot and made
// after the last step. What bears a time to come was made before a step back.
func (c *Clock) refresh(ctx context.Context) {
	at, ok := c.lookUp(ctx)
	if c.source == nil {
		return
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	wall, since := c.observe()
	c.looked = since
	if !ok {
		return
	}
	c.seen = at
	age := wall.Sub(at)
	if age < -time.Second && !c.isStale(at) {
		c.stale = append(c.stale, interval{at, at})
	}
	if age > since-c.distrust || c.isStale(at) || wall.Before(c.floor.Add(-StepBack)) {
		return
	}
	c.stale = nil // at is the evidence from now on
	c.unsaved = c.unsaved || !c.synced
	if anchor := since - max(age, 0); !c.synced || c.confirms || anchor > c.anchor {
		c.synced, c.confirms, c.anchor, c.lastSync = true, false, anchor, at
	}
}

func (c *Clock) lookUp(ctx context.Context) (time.Time, bool) {
	if c.source == nil {
		return time.Time{}, false
	}
	return c.source.LastSync(ctx)
}

// Floor is what to persist with the decision that was taken on a reading of this
// clock, which has raised the floor to its lower end.
func (c *Clock) Floor(gateway.Reading) time.Time {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.floor
}

// lastFloor is the latest instant that an undecided clock leaves possible.
var lastFloor = gateway.MaxTime.Add(-time.Second)

// absurd reports a time that no grant, no event and no certificate of ours can bear.
func absurd(t time.Time) bool { return t.Before(gateway.MinTime) || t.After(lastFloor) }

// ErrAbsurd says that the operating system's clock is surely wrong.
var ErrAbsurd = errors.New("the system's clock shows a year that it cannot be: set it first")

// Confirm is a resident's word that the operating system's clock is right now; by is empty for the
// local socket's user. It may lower a floor from an absurd future, and gives ErrAbsurd where that
// is now.
func (c *Clock) Confirm(ctx context.Context, by gateway.ResidentID) (gateway.Reading, error) {
	c.keeping.Lock()
	defer c.keeping.Unlock()
	c.mu.Lock()
	wall, since := c.observe()
	if absurd(wall) {
		defer c.mu.Unlock()
		return c.reading(wall, since), ErrAbsurd
	}
	c.stale = nil
	c.floor, c.synced, c.confirms, c.anchor, c.distrust = wall, true, true, since, since
	saved, r := c.saved(), c.reading(wall, since)
	c.by = by
	c.told = gateway.ClockUndecided // a resident's word is told, whatever was believed before
	c.nudge()
	c.mu.Unlock()
	return r, c.keeper.ResetClock(ctx, saved)
}

func (c *Clock) saved() Saved {
	s := Saved{Floor: c.floor, LastSync: c.lastSync, Boot: c.boot, BootWall: c.bootWall, Stood: c.standing.stood, StoodWall: c.standing.wall}
	if c.distrust != 0 && !c.synced || c.bootWall.After(gateway.MaxTime) {
		s.BootWall = time.Time{} // a restart is no confirmation
	}
	return s
}

// Ready is closed when the first evidence was taken.
func (c *Clock) Ready() <-chan struct{} { return c.ready }

func (c *Clock) String() string { return "clock" }

// Run looks for evidence and steps, tells of each change of trust, and persists
// the floor.
func (c *Clock) Run(ctx context.Context) error {
	var saved time.Duration
	save := func(r gateway.Reading) {
		c.keeping.Lock()
		defer c.keeping.Unlock()
		c.mu.Lock()
		s := c.saved()
		c.unsaved = false
		c.mu.Unlock()
		if err := c.keeper.SaveClock(context.WithoutCancel(ctx), s); err != nil {
			slog.Warn("clock: the floor is not saved; trying again", "err", err)
			c.mu.Lock()
			c.unsaved = true
			c.mu.Unlock()
			return
		}
		saved = r.SinceBoot
	}
	save(c.Read())
	close(c.ready)
	for {
		c.refresh(ctx)
		r := c.Read()
		c.mu.Lock()
		now, told, by := c.unsaved, c.told, c.by
		c.told = r.State
		trusted := r.State != gateway.ClockUndecided
		if trusted == (told == gateway.ClockUndecided) { // it is told now, or not true any more
			c.by = ""
		}
		c.mu.Unlock()
		switch {
		case trusted && told == gateway.ClockUndecided:
			c.notify(ctx, gateway.Event{Type: gateway.ClockTrusted, Resident: by})
		case !trusted && told != gateway.ClockUndecided:
			c.notify(ctx, gateway.Event{Type: gateway.ClockLost})
		}
		if now || r.SinceBoot-saved >= SaveEvery {
			save(r)
		}
		wait := pollTrusted
		if !trusted {
			wait = pollUndecided
		}
		timer := time.NewTimer(wait)
		select {
		case <-ctx.Done():
			timer.Stop()
			save(c.Read())
			return nil
		case <-c.poke:
			timer.Stop()
		case <-timer.C:
		}
	}
}
