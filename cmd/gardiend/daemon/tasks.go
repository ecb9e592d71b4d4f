package daemon

import (
	"context"
	"errors"
	"fmt"
	"runtime/debug"
	"sync"
	"time"

	"golang.org/x/sync/errgroup"

	"gardien/gateway"
	"gardien/gateway/api"
	"gardien/systemd"
)

// Task is everything long-running.
type Task interface {
	// Run works until ctx ends. One that runs beside may be run again after it failed.
	Run(context.Context) error
	// Ready is closed when the task does its work.
	Ready() <-chan struct{}
	String() string
}

// tasks lists what runs. Without a vital task no door is what it promises, so that one that
// fails ends the daemon, and systemd starts it anew. All others run beside: a busy port, an
// absent server or a bug in a reader's driver is no reason to shut a house.
func (g *Gateway) tasks() (vital, beside []Task) {
	vital = []Task{g.clock, g.access, g.keeper}
	for _, d := range g.house {
		vital = append(vital, d)
	}
	beside = []Task{g.socket, newJob("remembered answers", g.residents.ForgetAnswers), newJob("health", healthService{g}.watch)}
	if g.uplink != nil {
		beside = append(beside, g.uplink)
	}
	for _, r := range g.devices.Readers {
		beside = append(beside, newReading(r, g.access))
	}
	for _, t := range g.devices.Tampers {
		beside = append(beside, g.watchTamper(t))
	}
	if g.devices.Pairing != nil {
		beside = append(beside, g.watchPairing(g.devices.Pairing))
	}
	for _, i := range g.devices.Inputs {
		beside = append(beside, watchInput(i))
	}
	if g.board.Watched() {
		beside = append(beside, g.board)
	}
	return vital, beside
}

// job is a task that is one function.
type job struct {
	name  string
	run   func(context.Context) error
	ready chan struct{}
}

func newJob(name string, run func(context.Context) error) job {
	j := job{name, run, make(chan struct{})}
	close(j.ready)
	return j
}

func (j job) Run(ctx context.Context) error { return j.run(ctx) }
func (j job) Ready() <-chan struct{}        { return j.ready }
func (j job) String() string                { return j.name }

// The back-off of a task that runs beside: one that has worked for a minute begins anew.
const (
	restartLeast = time.Second
	restartMost  = time.Minute
	worksAgain   = 2 * time.Second // after a restart: then it is told that it is back
	stopsWithin  = 3 * time.Second // then nobody waits for it any more
)

// errEnded says that a task ended although nobody told it to.
var errEnded = errors.New("it ended by itself")

// keptUp is a task that runs beside, and is run again when it fails.
type keptUp struct {
	Task
	note    func(...gateway.Event)
	log     logger
	settled chan struct{} // closed when the task has failed for the first time

	telling sync.Mutex // what is told is told in order; whoever looks does not wait for it
	mu      sync.Mutex
	present int // number of the present run; 0: between two
	down    bool
	since   time.Time
	why     error
	tried   bool // settled is closed
}

// device is a task that is a device: its events are a device's, and it is tried again soon, for
// somebody may have plugged it in.
type device interface {
	Task
	offline(down bool) gateway.Event
}

// deviceMost is the longest wait for a device.
const deviceMost = 5 * time.Second

type logger interface {
	Error(msg string, args ...any)
	Info(msg string, args ...any)
}

func keepUp(t Task, note func(...gateway.Event), log logger) *keptUp {
	return &keptUp{Task: t, note: note, log: log, settled: make(chan struct{}), since: time.Now()}
}

// run runs the task until ctx ends.
func (k *keptUp) run(ctx context.Context) {
	most := restartMost
	if _, is := k.Task.(device); is {
		most = deviceMost
	}
	wait := restartLeast
	for n := 1; ; n++ {
		began := time.Now()
		k.mu.Lock()
		k.present = n
		k.mu.Unlock()
		works := time.AfterFunc(worksAgain, func() { k.tell(n, nil) })
		err := k.once(ctx)
		works.Stop()
		if ctx.Err() != nil {
			return
		}
		if err == nil {
			err = errEnded
		}
		k.tell(n, err)
		if time.Since(began) >= restartMost {
			wait = restartLeast
		}
		select {
		case <-ctx.Done():
			return
		case <-time.After(wait):
		}
		wait = min(2*wait, most)
	}
}

// once runs it once. A bug in it is a failure of this task alone.
func (k *keptUp) once(ctx context.Context) (err error) {
	defer func() {
		if p := recover(); p != nil {
			err = fmt.Errorf("a bug: %v\n%s", p, debug.Stack())
		}
	}()
	return k.Task.Run(ctx)
}

// tell records that a run failed, or that it works, each once.
func (k *keptUp) tell(run int, err error) {
	k.telling.Lock()
	defer k.telling.Unlock()
	if !k.change(run, err) {
		return
	}
	e := gateway.Event{Type: gateway.TaskUp, Device: k.String()}
	if err != nil {
		e.Type = gateway.TaskDown
		k.log.Error("a part does not work; it is tried again, and the doors go on without it", "part", k.String(), "err", err)
	} else {
		k.log.Info("a part works again", "part", k.String())
	}
	if d, is := k.Task.(device); is {
		e = d.offline(err != nil)
	}
	k.note(e)
}

// change notes it, and reports whether that is news. A run that is over works no more.
func (k *keptUp) change(run int, err error) (news bool) {
	k.mu.Lock()
	defer k.mu.Unlock()
	if run != k.present {
		return false
	}
	if err != nil {
		k.present = 0
		if !k.tried {
			k.tried = true
			close(k.settled)
		}
	}
	k.why = err
	if news = (err != nil) != k.down; news {
		k.down, k.since = err != nil, time.Now()
	}
	return news
}

// status tells how it stands.
func (k *keptUp) status() (down bool, since time.Time, why error) {
	k.mu.Lock()
	defer k.mu.Unlock()
	return k.down, k.since, k.why
}

// serve runs the tasks until ctx ends or a vital one fails.
func (g *Gateway) serve(ctx context.Context) error {
	group, ctx := errgroup.WithContext(ctx)
	var sim api.Sim
	if g.cfg.Simulated() {
		sim = &simulator{g}
	}
	handler := api.New(g.backend(), sim, g.log, ctx.Done())
	g.socket = api.NewSocket(g.cfg.API.Socket, g.opts.Listen, handler, g.log)
	lan := g.wireLAN(handler)
	vital, beside := g.tasks()
	beside = append(beside, lan...)
	var others sync.WaitGroup
	for _, t := range beside {
		g.beside = append(g.beside, keepUp(t, g.note, g.log))
	}
	for _, k := range g.beside {
		others.Go(func() { k.run(ctx) })
	}
	// The record ends after the doors: their last events are in it.
	for _, t := range vital {
		group.Go(func() error {
			err := t.Run(ctx)
			if ctx.Err() != nil {
				return nil
			}
			if err == nil {
				err = errEnded
			}
			return fmt.Errorf("%s: %w", t, err)
		})
	}
	group.Go(func() error { return systemd.Watchdog(ctx, g.alive) })
	group.Go(func() error { g.reload(ctx); return nil })
	group.Go(func() error { g.announce(ctx, vital); return nil })
	err := group.Wait()
	systemd.Stopping()
	if !waitFor(&others, stopsWithin) {
		g.log.Error("a part does not stop, and is left behind")
	}
	g.note(gateway.Event{Type: gateway.GatewayStopped})
	g.log.Info("stopped; every strike is secured")
	return err
}

// waitFor waits so long at most.
func waitFor(wg *sync.WaitGroup, d time.Duration) bool {
	done := make(chan struct{})
	go func() { wg.Wait(); close(done) }()
	late := time.NewTimer(d)
	defer late.Stop()
	select {
	case <-done:
		return true
	case <-late.C:
		return false
	}
}

// announce says ready when everything that a door needs is. The listeners are no such thing, but
// whoever is told that the gateway is ready asks there first: they get their one try.
func (g *Gateway) announce(ctx context.Context, vital []Task) {
	for _, t := range vital {
		select {
		case <-t.Ready():
		case <-ctx.Done():
			return
		}
	}
	for _, k := range g.beside {
		if k.Task != Task(g.socket) && (g.lan == nil || k.Task != Task(g.lan)) {
			continue
		}
		select {
		case <-k.Ready():
		case <-k.settled:
		case <-ctx.Done():
			return
		}
	}
	status := fmt.Sprintf("%s: %d doors, %d readers, %d issuers", g.identity.ID, len(g.house), len(g.devices.Readers), len(g.cfg.Issuers))
	g.log.Info("ready", "gateway", g.identity.ID, "doors", len(g.house), "socket", g.cfg.API.Socket, "https", g.address(), "clock", g.clock.Read().State)
	if err := systemd.Ready(status); err != nil {
		g.log.Warn("the service manager was not told", "err", err)
	}
	if g.opts.wired != nil {
		g.opts.wired <- g
	}
}

// commitWithin is how long a commit may take before the database counts as hung.
const commitWithin = 5 * time.Second

// alive asks decision and database for a sign of life (S6). It looks only: a door whose lock
// is slow, or a reader of the record, keeps nobody from feeding the watchdog (A11, F12).
func (g *Gateway) alive(context.Context) error {
	g.clock.Read()
	for _, d := range g.house {
		if d.Stuck() {
			return fmt.Errorf("the strike of %s does not answer, and may be released", d)
		}
	}
	if g.store.Hung(commitWithin) {
		return errors.New("the database does not answer")
	}
	return nil
}
