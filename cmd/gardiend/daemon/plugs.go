package daemon

import (
	"context"
	"log/slog"
	"reflect"
	"sync"
	"time"

	"gardien/configs"
	"gardien/gateway"
	"gardien/gateway/access"
	"gardien/gateway/tokens"
	"gardien/gateway/wallclock"
	"gardien/store"
)

// The plugs between rooms that do not know each other.

// ledger is the store as access sees it.
type ledger struct{ *store.Store }

func (l ledger) Update(ctx context.Context, f func(access.Tx) error) error {
	return l.Store.Update(ctx, func(tx *store.Tx) error { return f(tx) })
}

func (l ledger) Follow(ctx context.Context, f func(access.Tx) error) error {
	return l.Store.Follow(ctx, func(tx *store.Tx) error { return f(tx) })
}

// journal is the store as doors see it.
type journal struct{ *store.Store }

func (j journal) Record(ctx context.Context, at gateway.Reading, durable bool, events ...gateway.Event) error {
	write := j.Follow
	if durable {
		write = j.Update
	}
	return write(ctx, func(tx *store.Tx) error { return tx.AppendAt(at, events...) })
}

// keeper is the store as the clock sees it.
type keeper struct{ *store.Store }

func (k keeper) SaveClock(ctx context.Context, s wallclock.Saved) error {
	return k.Store.SaveClock(ctx, store.ClockState(s))
}

func (k keeper) ResetClock(ctx context.Context, s wallclock.Saved) error {
	return k.Store.ResetClock(ctx, store.ClockState(s))
}

// signer is the tokens room as access sees it: it verifies, and signs what is made
// at home.
type signer struct {
	*tokens.Verifier
	id *tokens.Identity
}

func (s signer) Sign(g gateway.Grant) (string, error) {
	text, err := tokens.SignGrant(s.id.Signing, s.id.ID, g)
	if err != nil {
		return "", err
	}
	return tokens.Seal(text, tokens.TypGrant, s.id.Opening.PublicKey)
}

// retaining is the store's maintenance as a task.
type retaining struct {
	*store.Store
	retention time.Duration
}

func (r retaining) Run(ctx context.Context) error { return r.Store.Run(ctx, r.retention) }

// reading is a reader as a task. One that fails is tried again; other doors and
// readers do not notice.
type reading struct {
	openReader
	access *access.Controller
	note   func(...gateway.Event)
	log    *slog.Logger
	ready  chan struct{}

	mu      sync.Mutex
	offline bool
}

func newReading(r openReader, a *access.Controller, note func(...gateway.Event), log *slog.Logger) *reading {
	return &reading{openReader: r, access: a, note: note, log: log, ready: make(chan struct{})}
}

// A reader that fails is opened again this often; one that has worked for so long is back.
const (
	readAgain = time.Second
	readsWell = 2 * time.Second
)

func (r *reading) Ready() <-chan struct{} { return r.ready }
func (r *reading) String() string         { return "reader " + string(r.id) }

func (r *reading) Run(ctx context.Context) error {
	close(r.ready)
	for {
		well := time.AfterFunc(readsWell, func() { r.tell(nil) })
		err := r.reader.Read(ctx, func(ctx context.Context, c gateway.Credential) {
			r.access.Present(ctx, r.door, r.id, c)
		})
		well.Stop()
		if ctx.Err() != nil {
			return nil
		}
		r.tell(err)
		select {
		case <-ctx.Done():
			return nil
		case <-time.After(readAgain):
		}
	}
}

// tell records that the reader went away, and that it is back, each once.
func (r *reading) tell(err error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if (err != nil) == r.offline {
		return
	}
	r.offline = err != nil
	e := gateway.Event{Type: gateway.DeviceOnline, Door: r.door, Reader: r.id, Device: r.reader.String()}
	if r.offline {
		e.Type = gateway.DeviceOffline
		r.log.Error("a reader does not work; it is tried again", "reader", r.id, "err", err)
	} else {
		r.log.Info("a reader works again", "reader", r.id)
	}
	r.note(e)
}

// needsRestart names the first section that a reload cannot apply.
func needsRestart(old, new *configs.Config) string {
	a, b := reflect.ValueOf(*old), reflect.ValueOf(*new)
	for i := range a.NumField() {
		f := a.Type().Field(i)
		if f.IsExported() && f.Name != "Issuers" && !reflect.DeepEqual(a.Field(i).Interface(), b.Field(i).Interface()) {
			return f.Tag.Get("key")
		}
	}
	return ""
}
