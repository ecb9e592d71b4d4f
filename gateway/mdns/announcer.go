package mdns

import (
	"context"
	"log/slog"
	"net/netip"
	"slices"
	"sync"
	"sync/atomic"
	"time"
)

// Modes of an Announcer.
const (
	Auto    = "auto"    // by avahi where it runs, else by ourselves
	Avahi   = "avahi"   // by avahi alone: another responder on this machine is not wanted
	Builtin = "builtin" // by ourselves, also beside an avahi
)

// Opts of an Announcer.
type Opts struct {
	Host       string     // "gardien-62fg": the host name without ".local"
	Instance   string     // "Gardien 62fg": at most 63 bytes of UTF-8
	Port       int        // of the API
	TXT        []string   // "key=value", each at most 255 bytes, 400 with their lengths together
	Mode       string     // auto (also ""), avahi, builtin
	Interfaces []string   // names; none: every suitable interface with an address
	Only       netip.Addr // valid: the API listens on this address alone, so it alone is announced, on its interface
	Log        *slog.Logger
}

// State is how the gateway is announced. It is never changed once given.
type State struct {
	By         string    // "avahi", "builtin"; "": it is not announced
	Interfaces []string  // where it is, sorted
	Since      time.Time // By and Interfaces are so
	Collision  string    // who else has our name, as found: an address, or what avahi says; "": nobody
}

// Announcer tells the network where the gateway is. It is a task that may fail alone.
type Announcer struct {
	Opts
	ready chan struct{}
	once  sync.Once
	state atomic.Pointer[State]
	dial  func(context.Context) (avahi, error) // to avahi
}

// New makes an announcer.
func New(o Opts) *Announcer {
	if o.Log == nil {
		o.Log = slog.New(slog.DiscardHandler)
	}
	a := &Announcer{Opts: o, ready: make(chan struct{}), dial: dialAvahi}
	a.state.Store(&State{})
	return a
}

// Ready is closed as soon as the network is watched. A network that is not there yet is waited for.
func (a *Announcer) Ready() <-chan struct{} { return a.ready }

func (a *Announcer) String() string { return "mdns" }

// State gives a snapshot, and waits for nothing.
func (a *Announcer) State() State { return *a.state.Load() }

// tell sets the state, and logs what is new in it. Only the goroutine of Run calls it.
func (a *Announcer) tell(by string, where []string, collision string) {
	old := a.State()
	slices.Sort(where)
	if len(where) == 0 {
		by = ""
	}
	s := State{By: by, Interfaces: where, Collision: collision, Since: old.Since}
	moved := old.By != s.By || !slices.Equal(old.Interfaces, s.Interfaces)
	if !moved && s.Collision == old.Collision {
		return
	}
	if moved {
		s.Since = time.Now()
	}
	a.state.Store(&s)
	if moved && by != "" {
		a.Log.Info("phones find the gateway", "name", a.Host+".local", "by", by, "interfaces", where)
	} else if moved && old.By != "" {
		a.Log.Info("phones do not find the gateway at present", "name", a.Host+".local")
	}
	if collision != "" && old.Collision == "" {
		a.Log.Warn("somebody else on the network has the gateway's name; it is tried again until it is free", "name", a.Host+".local", "who", collision)
	} else if collision == "" && old.Collision != "" {
		a.Log.Info("the gateway's name is its own again", "name", a.Host+".local")
	}
}

// Run announces the gateway until ctx ends, and then says goodbye. Its error is what it cannot work
// with: options that are wrong, a port that is taken, a network that does not carry its packets.
func (a *Announcer) Run(ctx context.Context) error {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	defer a.state.Store(&State{})
	names, err := a.check()
	if err != nil {
		return err
	}
	net, err := watch(ctx, a.Opts)
	if err != nil {
		return err
	}
	d := &desk{announcer: a, names: names, net: net, again: time.NewTicker(poll)}
	defer d.again.Stop()
	defer d.close()
	a.once.Do(func() { close(a.ready) })
	for ctx.Err() == nil {
		switch {
		case a.Mode != Builtin && d.open(ctx):
			err = d.runAvahi(ctx)
		case a.Mode == Avahi:
			err = d.awaitAvahi(ctx)
		default:
			err = d.runBuiltin(ctx)
		}
		if err != nil && ctx.Err() == nil {
			return err
		}
	}
	return nil
}
