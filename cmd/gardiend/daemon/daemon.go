package daemon

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"os"
	"path/filepath"
	"runtime/debug"
	"strings"
	"sync/atomic"
	"syscall"
	"time"

	"golang.org/x/sys/unix"

	"gardien/cmd/gardiend/hardware"
	"gardien/configs"
	"gardien/drivers/gpio"
	"gardien/gateway"
	"gardien/gateway/access"
	"gardien/gateway/api"
	"gardien/gateway/doors"
	"gardien/gateway/issuers"
	"gardien/gateway/residents"
	"gardien/gateway/tokens"
	"gardien/gateway/uplink"
	"gardien/gateway/wallclock"
	"gardien/store"
	"gardien/systemd"
)

// Options of a run.
type Options struct {
	Config string // file
	OS     wallclock.OS
	Source wallclock.Source // evidence in place of the configured one; nil: the configured
	Reload <-chan os.Signal // each asks to read the file again
	Log    *slog.Logger

	// What a gateway has of the machine and of the network; nil: theirs.
	Dial    func(ctx context.Context, network, address string) (net.Conn, error) // to the cloud
	Listen  func() (net.Listener, error)                                         // in place of api.socket
	Sockets Sockets                                                              // that the service manager has opened
	Links   <-chan struct{}                                                      // a token when a link comes up
	RTC     func() bool                                                          // whether a clock goes on without power
	Jitter  func(most time.Duration) time.Duration                               // of back-offs: from 0 to below most

	wired   chan<- *Gateway         // told when everything is ready
	devices func(*hardware.Devices) // changes the devices that were opened
	board   func() gpio.Facts       // nil: the machine's
}

// Sockets are what the service manager has opened of ports that a process without rights cannot.
type Sockets struct {
	Secure, Plain net.Listener // of ports 443 and 80; nil: none
}

// keysDir is the folder of the identity, below the state folder.
const keysDir = "keys"

// Gateway is a wired gateway.
type Gateway struct {
	opts      Options
	log       *slog.Logger
	cfg       *configs.Config
	zone      *time.Location // of cfg, read once: reading it costs more than a grant
	devices   *hardware.Devices
	board     *hardware.Board
	store     *store.Store
	keeper    *store.Keeper
	identity  *tokens.Identity
	clock     *wallclock.Clock
	house     doors.House
	access    *access.Controller
	issuers   *issuers.Issuers[tokens.KeySet]
	residents *residents.Residents
	uplink    *uplink.Uplink // nil where there is no cloud
	socket    *api.Socket
	network
	beside  []*keptUp // the tasks that may fail alone
	linkUp  <-chan struct{}
	said    said // to the cloud of the record
	watched watched
	started time.Time
	inForce atomic.Pointer[configs.Config] // the configuration whose issuers are believed
}

// Run runs a gateway until ctx ends. What it returns is one clear line; nil means that
// it stopped as it was told to.
func Run(ctx context.Context, o Options) (err error) {
	start := LoadOpts
	start.SetAside = true
	cfg, err := configs.Load(o.Config, start)
	if err != nil {
		return err
	}
	g := &Gateway{opts: o, log: o.Log, cfg: cfg, zone: cfg.Zone()}
	g.network.g = g
	g.inForce.Store(cfg)
	release, err := lockState(cfg.Gateway.StateDir)
	if err != nil {
		return err
	}
	defer release()
	// Strikes first: whatever else fails, nothing stays released.
	if o.board == nil {
		o.board = gpio.Board
	}
	if g.devices, err = hardware.Open(ctx, cfg, g.log); err != nil {
		return err
	}
	g.board = hardware.NewBoard(o.board)
	defer func() { err = errors.Join(err, g.devices.Close()) }()
	if o.devices != nil {
		o.devices(g.devices)
	}
	hardware.NoteStrikes(cfg, g.log)
	if o.Listen == nil {
		if err := api.SocketFree(ctx, cfg.API.Socket); err != nil {
			return err
		}
	}
	if err := g.open(ctx); errors.Is(err, context.Canceled) {
		return nil // told to stop while it waited for the disk
	} else if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, g.store.Close()) }()
	return g.serve(ctx)
}

// LoadOpts is how every part of gardiend reads its configuration.
var LoadOpts = configs.Opts{CheckKeys: func(b []byte) error { _, err := tokens.ParseKeySet(b); return err }}

// lockState makes the state folder and takes it for this process (F9).
func lockState(dir string) (release func(), err error) {
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return nil, fmt.Errorf("state folder: %w", err)
	}
	if err := os.Chmod(dir, 0o700); err != nil && !diskTrouble(err) {
		return nil, fmt.Errorf("state folder: %w", err)
	}
	f, err := os.OpenFile(filepath.Join(dir, "lock"), os.O_CREATE|os.O_RDWR, 0o600)
	readOnly := err != nil && diskTrouble(err)
	if readOnly { // a card that has gone read-only (D5)
		f, err = os.Open(filepath.Join(dir, "lock"))
	}
	if err != nil {
		return nil, fmt.Errorf("state folder: %w", err)
	}
	if err := unix.Flock(int(f.Fd()), unix.LOCK_EX|unix.LOCK_NB); err != nil {
		f.Close()
		return nil, fmt.Errorf("another gardiend runs on %s: stop it first (systemctl stop gardiend)", dir)
	}
	// For whoever finds this process hung: see endHung.
	if readOnly {
		return func() { f.Close() }, nil
	}
	if err := errors.Join(f.Truncate(0), writeAt(f, fmt.Sprintln(os.Getpid()))); err != nil && !diskTrouble(err) {
		f.Close()
		return nil, fmt.Errorf("state folder: %w", err)
	}
	return func() { f.Close() }, nil
}

func writeAt(f *os.File, s string) error {
	_, err := f.WriteAt([]byte(s), 0)
	return err
}

// open brings up what a decision needs. It waits for a disk that is full, read-only or
// failing: a crash loop would not mend it, and nothing opens meanwhile (D5).
func (g *Gateway) open(ctx context.Context) error {
	_, err := os.Stat(filepath.Join(g.cfg.Gateway.StateDir, keysDir))
	known := err == nil // not the first start, however often this one is tried
	stop := func() {}
	defer func() { stop() }()
	for waiting := false; ; {
		err := g.openOnce(ctx, known)
		if err == nil || !diskTrouble(err) {
			return err
		}
		if !waiting {
			waiting, stop = true, g.devices.Exits(ctx)
		}
		g.log.Error("the disk does not take the database; nothing opens until it does; trying again in 5 s", "err", err)
		systemd.Status("waiting for the disk: "+err.Error(), 30*time.Second)
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-time.After(5 * time.Second):
		}
	}
}

// openOnce opens memory, identity, time, rules and doors. The clock comes before the
// database's owner: what was set aside is marked so before it counts as ours.
func (g *Gateway) openOnce(ctx context.Context, known bool) (err error) {
	g.house = nil
	if g.store, err = store.Open(store.Opts{Dir: g.cfg.Gateway.StateDir, Zone: g.zone, Log: g.log, Known: known, Runtime: runtimeDir(g.cfg)}); err != nil {
		return err
	}
	g.keeper = g.store.Keeper(time.Duration(g.cfg.Retention))
	defer func() {
		if err != nil {
			g.store.Close()
		}
	}()
	if g.identity, err = tokens.LoadIdentity(filepath.Join(g.cfg.Gateway.StateDir, keysDir)); err != nil {
		return err
	}
	if err := g.openClock(ctx); err != nil {
		return err
	}
	if err := g.store.Belong(g.identity.ID); err != nil {
		return err
	}
	if err := g.wireIssuers(ctx); err != nil {
		return err
	}
	g.residents = residents.New(residents.Opts{Memory: residentMemory{g.store}, Clock: g.clock, MAC: g.identity.MAC,
		Key: tokens.ParseHolder, Proof: dpop, Fingerprint: g.fingerprint})
	if err := g.wireDoors(); err != nil {
		return err
	}
	g.wireAccess()
	if err := g.wireUplink(ctx); err != nil {
		return err
	}
	return g.begin()
}

// runtimeDir is a folder in memory that outlives the process: the one that systemd made, or that of
// the socket.
func runtimeDir(cfg *configs.Config) string {
	dir, _, _ := strings.Cut(os.Getenv("RUNTIME_DIRECTORY"), ":")
	if dir == "" {
		dir = filepath.Dir(cfg.API.Socket)
	}
	return dir
}

func diskTrouble(err error) bool {
	for _, e := range []error{syscall.ENOSPC, syscall.EROFS, syscall.EIO, syscall.EDQUOT} {
		if errors.Is(err, e) {
			return true
		}
	}
	return store.DiskTrouble(err)
}

func (g *Gateway) openClock(ctx context.Context) error {
	if g.opts.OS == nil {
		sys, err := wallclock.NewSystem()
		if err != nil {
			return err
		}
		g.opts.OS = sys
	}
	rtc := g.opts.RTC
	if rtc == nil {
		rtc = wallclock.HasRTC
	}
	source := g.opts.Source
	if source == nil {
		source = sourceOf(g.cfg.Clock.Source)
	}
	saved, err := store.Look(ctx, g.store, func(tx *store.Tx) store.ClockState { return tx.House.Clock() })
	if err != nil {
		return err
	}
	g.clock = wallclock.New(ctx, wallclock.Opts{OS: g.opts.OS, Source: source, RTC: rtc(),
		Saved: wallclock.Saved(saved),
		Build: firstFloor(source), Keeper: keeper{g.store},
		Notify: func(_ context.Context, e gateway.Event) { g.note(e) }})
	g.started = g.clock.Read().Wall
	if err := g.store.SetClock(g.clock); err != nil {
		return err
	}
	if err := g.store.KeepRemovals(g.identity.MAC); err != nil {
		return err
	}
	if n := g.store.Salvage(); n > 0 {
		g.log.Info("residents were carried over from the broken database", "residents", n)
	}
	return nil
}

func sourceOf(name string) wallclock.Source {
	timesyncd, chrony := wallclock.Timesyncd{Path: wallclock.TimesyncdPath}, wallclock.Chrony{Addr: wallclock.ChronyAddr}
	switch name {
	case "system":
		return nil
	case "timesyncd":
		return timesyncd
	case "chrony":
		return chrony
	}
	return wallclock.Sources{timesyncd, chrony}
}

// firstFloor is the time of the build (T3); an operating system's clock that the
// configuration trusts may be earlier than that.
func firstFloor(source wallclock.Source) time.Time {
	if source == nil {
		return gateway.MinTime
	}
	return buildTime()
}

// firstBuild is the floor of builds that carry no time of their own.
var firstBuild = time.Date(2026, 11, 1, 0, 0, 0, 0, time.UTC)

// buildTime is the time of the commit that the program was built from.
func buildTime() time.Time {
	if info, ok := debug.ReadBuildInfo(); ok {
		for _, s := range info.Settings {
			if t, err := time.Parse(time.RFC3339, s.Value); s.Key == "vcs.time" && err == nil && t.After(firstBuild) {
				return t
			}
		}
	}
	return firstBuild
}

func (g *Gateway) wireDoors() error {
	for _, d := range g.cfg.Doors {
		s := doors.Settings{ID: gateway.DoorID(d.ID), Name: d.Name, ReleaseTime: time.Duration(d.ReleaseTime),
			RelockDelay: time.Duration(d.RelockDelay), HeldOpenAfter: time.Duration(d.HeldOpenAfter), RetryGrace: time.Duration(d.RetryGrace)}
		if d.REX != nil {
			s.REXReleases, s.REXShunt = d.REX.Releases, time.Duration(d.REX.Shunt)
		}
		s.Rung = func() { g.access.Ring(s.ID) } // g.access: made after the doors
		door, err := doors.New(s, g.devices.Doors[s.ID], g.clock, journal{g.store}, g.log)
		if err != nil {
			return err
		}
		g.house = append(g.house, door)
	}
	return nil
}

func (g *Gateway) wireAccess() {
	verifier := &tokens.Verifier{Gateway: g.identity.ID, Trust: g.issuers.Keys, Opening: g.identity.Opening}
	g.access = access.New(access.Opts{Ledger: ledger{g.store}, Doors: accessDoors{g.house, g.board}, Tokens: signer{verifier, g.identity},
		Clock: g.clock, MAC: g.identity.MAC, Log: g.log, Rules: rules(g.cfg), Rotated: g.rotated})
}

// begin writes what the last run left open, wipes PINs of lengths that are not used any more (P1),
// and writes that this run starts.
func (g *Gateway) begin() error {
	return g.store.Update(context.Background(), func(tx *store.Tx) error {
		for _, id := range tx.Record.Interrupt() {
			g.log.Warn("the last run ended within an entry; nothing is released again", "door", id)
			if d := g.house.Door(id); d != nil {
				d.Interrupted()
			}
		}
		g.wipeOdd(tx)
		tx.Record.Append(gateway.Event{Type: gateway.GatewayStarted})
		for _, i := range g.cfg.Issuers {
			if i.SetAside != "" {
				g.log.Error("an issuer is set aside: nothing of it is believed, and nobody whom it has granted comes in", "issuer", i.ID, "why", i.SetAside)
				tx.Record.Append(gateway.Event{Type: gateway.IssuerSetAside, Issuer: gateway.IssuerID(i.ID)})
			}
		}
		return tx.Err()
	})
}

// wipeOdd wipes live PINs of lengths that their door does not take any more.
func (g *Gateway) wipeOdd(tx *store.Tx) {
	if n := tx.Codes.WipeOdd(fits(g.cfg)); n > 0 {
		g.log.Warn("live PINs had a length that their door does not take any more, and were wiped; gardien status names their grants", "pins", n)
	}
}

// note appends an event that no transaction of its own carries.
func (g *Gateway) note(events ...gateway.Event) {
	if err := g.store.Update(context.Background(), func(tx *store.Tx) error { return tx.Record.Append(events...) }); err != nil {
		g.log.Error("an event is lost", "type", events[0].Type, "err", err)
	}
}

// reload reads the file again when it is told to. What it can apply at once are the
// issuers; a file with errors changes nothing.
func (g *Gateway) reload(ctx context.Context) {
	for {
		select {
		case <-ctx.Done():
			return
		case <-g.opts.Reload:
		}
		cfg, err := configs.Load(g.opts.Config, LoadOpts)
		if err != nil {
			g.log.Error("the configuration is not reloaded; the old one stays", "err", err)
			continue
		}
		if what := needsRestart(g.cfg, cfg); what != "" {
			g.log.Error("the configuration is not reloaded; the old one stays: what changed takes effect at a restart only", "changed", what)
			continue
		}
		if err := g.adopt(ctx, cfg); err != nil {
			g.log.Error("the configuration is not reloaded; the old one stays", "err", err)
			continue
		}
		g.resync(ctx)
		g.log.Info("the configuration is reloaded", "issuers", len(cfg.Issuers))
	}
}
