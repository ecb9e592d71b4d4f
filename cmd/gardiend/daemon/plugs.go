package daemon

import (
	"context"
	"reflect"
	"slices"

	"gardien/cmd/gardiend/hardware"
	"gardien/configs"
	"gardien/gateway"
	"gardien/gateway/access"
	"gardien/gateway/doors"
	"gardien/gateway/tokens"
	"gardien/gateway/wallclock"
	"gardien/store"
)

// The plugs between rooms that do not know each other.

// ledger is the store as access sees it.
type ledger struct{ store *store.Store }

func (l ledger) Update(ctx context.Context, f func(access.Tx) error) error {
	return l.store.Update(ctx, func(tx *store.Tx) error { return f(accessTx(tx)) })
}

func (l ledger) Follow(ctx context.Context, f func(access.Tx) error) error {
	return l.store.Follow(ctx, func(tx *store.Tx) error { return f(accessTx(tx)) })
}

func (l ledger) View(ctx context.Context, f func(access.Tx) error) error {
	return l.store.View(ctx, func(tx *store.Tx) error { return f(accessTx(tx)) })
}

func (l ledger) Browse(ctx context.Context, f func(access.Tx) error) error {
	return l.store.Browse(ctx, func(tx *store.Tx) error { return f(accessTx(tx)) })
}

func accessTx(tx *store.Tx) access.Tx {
	return access.Tx{Grants: tx.Grants, Codes: tx.Codes, Issuers: tx.Issuers, Feed: tx.Feed, House: tx.House, Record: tx.Record, Err: tx.Err}
}

// accessDoors is the doors as access sees them: what ails the board ails them all.
type accessDoors struct {
	doors.House
	board *hardware.Board
}

func (h accessDoors) View(id gateway.DoorID) gateway.DoorView {
	v := h.House.View(id)
	if h.board.UnderVoltage() {
		v.Ailments = append(slices.Clip(v.Ailments), gateway.BoardVoltage)
	}
	return v
}

// journal is the store as doors see it.
type journal struct{ *store.Store }

func (j journal) Record(ctx context.Context, at gateway.Reading, durable bool, events ...gateway.Event) error {
	write := j.Follow
	if durable {
		write = j.Update
	}
	return write(ctx, func(tx *store.Tx) error { return tx.Record.AppendAt(at, events...) })
}

// keeper is the store as the clock sees it.
type keeper struct{ *store.Store }

func (k keeper) SaveClock(ctx context.Context, s wallclock.Saved) error {
	return k.Update(ctx, func(tx *store.Tx) error { tx.House.PutClock(store.ClockState(s)); return tx.Err() })
}

func (k keeper) ResetClock(ctx context.Context, s wallclock.Saved) error {
	return k.Update(ctx, func(tx *store.Tx) error { tx.House.ResetClock(store.ClockState(s)); return tx.Err() })
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

// reading is a reader as a task. One that fails is tried again; other doors and readers do not
// notice.
type reading struct {
	hardware.Reader
	access *access.Controller
	ready  chan struct{}
}

func newReading(r hardware.Reader, a *access.Controller) *reading {
	ready := make(chan struct{})
	close(ready)
	return &reading{r, a, ready}
}

func (r *reading) Ready() <-chan struct{} { return r.ready }
func (r *reading) String() string         { return "reader " + string(r.ID) }

func (r *reading) Run(ctx context.Context) error {
	return r.Device.Read(ctx, func(ctx context.Context, c gateway.Credential) { r.access.Present(ctx, r.Door, r.ID, c) })
}

func (r *reading) offline(down bool) gateway.Event {
	return gateway.Event{Type: offlineType(down), Door: r.Door, Reader: r.ID, Device: r.Device.String()}
}

func offlineType(down bool) gateway.EventType {
	if down {
		return gateway.DeviceOffline
	}
	return gateway.DeviceOnline
}

// watchTamper records the openings of a reader's case.
func (g *Gateway) watchTamper(t hardware.Tamper) Task {
	return newJob("tamper switch of reader "+string(t.Reader), func(ctx context.Context) error {
		for {
			select {
			case <-ctx.Done():
				return nil
			case <-t.Device.Requests():
				g.log.Warn("a reader's case is open", "reader", t.Reader)
				g.note(gateway.Event{Type: gateway.ReaderTamper, Door: t.Door, Reader: t.Reader, Device: t.Device.String()})
			}
		}
	})
}

// watchPairing lets a device pair when somebody presses the button.
func (g *Gateway) watchPairing(button gateway.REX) Task {
	return newJob("pairing button", func(ctx context.Context) error {
		for {
			select {
			case <-ctx.Done():
				return nil
			case <-button.Requests():
			}
			if err := g.residents.PressButton(ctx); err != nil {
				g.log.Warn("the pairing button does nothing", "err", err)
				continue
			}
			g.log.Info("the pairing button was pressed: one device may pair within five minutes, and a resident's device confirms it")
		}
	})
}

// input is a button as a task, which fails while the button cannot be read.
type input struct {
	job
	button hardware.Input
}

func (i input) offline(down bool) gateway.Event {
	return gateway.Event{Type: offlineType(down), Door: i.button.Door, Device: i.button.Device.String()}
}

func watchInput(i hardware.Input) Task {
	return input{newJob(i.Device.String(), func(ctx context.Context) error {
		for {
			if err := i.Device.Fault(); err != nil {
				return err
			}
			select {
			case <-ctx.Done():
				return nil
			case <-i.Device.FaultChanges():
			}
		}
	}), i}
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
