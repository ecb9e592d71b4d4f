package access_test

import (
	"context"
	"errors"
	"log/slog"
	"slices"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"gardien/gateway"
	"gardien/gateway/access"
	"gardien/gateway/doors"
	"gardien/gateway/tokens"
	"gardien/gateway/wallclock"
	"gardien/store"
	"gardien/store/storetest"
)

// house is the decision with a real memory and real tokens, on doors and a clock that are fakes,
// in a synctest bubble.
type house struct {
	*access.Controller
	t       *testing.T
	dir     string // of the store
	doors   *doors.Fake
	clock   *wallclock.Fake
	store   *store.Store
	id      *tokens.Identity
	carrier *tokens.SigningKey
	rules   access.Rules
	finds   atomic.Int64 // how often a code was looked for among the live ones
	updates atomic.Int64 // durable transactions that were asked for
	follow  func() error // asked once before a transaction that is not durable; it may refuse
	stop    func()
}

const (
	colisX  gateway.IssuerID = "colis-x.example"
	menageY gateway.IssuerID = "menage-y.example" // configured by the tests that need a second one
)

var zone = func() *time.Location {
	z, err := time.LoadLocation("Europe/Paris")
	if err != nil {
		panic(err)
	}
	return z
}()

// live runs a test with a house in a bubble that begins on a Monday at 8 in Paris. change makes
// the carrier's policy another; nil leaves it.
func live(t *testing.T, change func(*gateway.Policy), f func(*house)) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) {
		time.Sleep(time.Until(time.Date(2027, 3, 1, 8, 0, 0, 0, zone)))
		h := &house{t: t, dir: t.TempDir(), doors: doors.NewFake("front", "side"), clock: wallclock.NewFake()}
		h.store = storetest.Open(t, h.dir, h.clock, zone)
		id, err := tokens.LoadIdentity(t.TempDir())
		h.check(err)
		h.carrier, err = tokens.GenerateES256()
		h.check(err)
		h.id = id
		policy := gateway.Policy{Doors: []gateway.DoorID{"front", "side"}, Bearer: true}
		if change != nil {
			change(&policy)
		}
		h.rules = access.Rules{Zone: zone, Doors: policy.Doors, Issuers: map[gateway.IssuerID]gateway.Issuer{colisX: {ID: colisX, Policy: policy}},
			Sharers: map[gateway.DoorID]int{"front": 1, "side": 1},
			Readers: map[gateway.DoorID][]access.Reader{"front": {{ID: "front-pad"}, {ID: "pad"}, {ID: "scanner", Texts: true}}, "side": {{ID: "side-pad"}}}}
		h.check(h.store.Update(t.Context(), func(tx *store.Tx) error {
			return tx.Residents.Put(gateway.Resident{ID: "ada", Name: "Ada", PairedAt: time.Now()}, []byte("token"))
		}))
		h.start()
		defer func() { h.stop() }()
		f(h)
	})
}

// start makes the controller and runs it.
func (h *house) start() { h.startWith(h.doors) }

func (h *house) startWith(doors access.Doors) {
	h.t.Helper()
	text, err := tokens.MarshalKeySet(h.carrier.PublicKey, nil)
	h.check(err)
	set, err := tokens.ParseKeySet(text)
	h.check(err)
	sets := map[gateway.IssuerID]tokens.KeySet{colisX: set, menageY: set, gateway.HomeIssuer: tokens.NewKeySet(h.id.Signing.PublicKey)}
	trust := func(iss gateway.IssuerID) (tokens.KeySet, bool) { s, ok := sets[iss]; return s, ok }
	h.Controller = access.New(access.Opts{Ledger: ledger{h.store, &h.finds, &h.updates, &h.follow}, Doors: doors, Tokens: signer{&tokens.Verifier{Gateway: h.id.ID, Trust: trust, Opening: h.id.Opening}, h.id},
		Clock: h.clock, MAC: h.id.MAC, Log: slog.New(slog.DiscardHandler), Rules: h.rules})
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- h.Run(ctx) }()
	<-h.Ready()
	h.stop = func() {
		cancel()
		if err := <-done; err != nil {
			h.t.Error(err)
		}
		h.stop = func() {}
	}
}

func (h *house) check(err error) {
	h.t.Helper()
	if err != nil {
		h.t.Fatal(err)
	}
}

// ledger is the store as access sees it; it counts the codes that are looked for, and what is to be
// durable.
type ledger struct {
	store          *store.Store
	finds, updates *atomic.Int64
	follow         *func() error // asked before what is not durable; it may refuse
}

func (l ledger) Update(ctx context.Context, f func(access.Tx) error) error {
	l.updates.Add(1)
	return l.store.Update(ctx, func(tx *store.Tx) error { return f(l.tx(tx)) })
}

func (l ledger) Follow(ctx context.Context, f func(access.Tx) error) error {
	if l.follow != nil && *l.follow != nil {
		ask := *l.follow
		*l.follow = nil
		if err := ask(); err != nil {
			return err
		}
	}
	return l.store.Follow(ctx, func(tx *store.Tx) error { return f(l.tx(tx)) })
}

func (l ledger) View(ctx context.Context, f func(access.Tx) error) error {
	return l.store.View(ctx, func(tx *store.Tx) error { return f(l.tx(tx)) })
}

func (l ledger) Browse(ctx context.Context, f func(access.Tx) error) error {
	return l.store.Browse(ctx, func(tx *store.Tx) error { return f(l.tx(tx)) })
}

func (l ledger) tx(tx *store.Tx) access.Tx {
	return access.Tx{Grants: tx.Grants, Codes: countedCodes{tx.Codes, l.finds}, Issuers: tx.Issuers, Feed: tx.Feed, House: tx.House, Record: tx.Record, Err: tx.Err}
}

type countedCodes struct {
	access.Codes
	finds *atomic.Int64
}

func (c countedCodes) Find(door gateway.DoorID, mac []byte) (gateway.PINRecord, bool) {
	c.finds.Add(1)
	return c.Codes.Find(door, mac)
}

// signer is the tokens room as access sees it.
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

// grant is one of the carrier for an hour and one entry, and change makes it another.
func (h *house) grant(jti string, change func(*gateway.Grant)) string {
	h.t.Helper()
	now := time.Now().Truncate(time.Second)
	g := gateway.Grant{ID: gateway.GrantID{Issuer: colisX, JTI: jti}, Version: 1, Status: gateway.GrantActive, Doors: []gateway.DoorID{"front"},
		IssuedAt: now, Period: gateway.Period{NotBefore: now, NotAfter: now.Add(time.Hour)}, Uses: 1, Sub: "ref-" + jti}
	if change != nil {
		change(&g)
	}
	text, err := tokens.SignGrant(h.carrier, h.id.ID, g)
	h.check(err)
	if !g.PIN.IsZero() || !g.Card.IsZero() {
		text, err = tokens.Seal(text, tokens.TypGrant, h.id.Opening.PublicKey)
		h.check(err)
	}
	return text
}

// takes has a document taken in.
func (h *house) takes(text, want string) {
	h.t.Helper()
	in, err := h.Take(h.t.Context(), text)
	h.check(err)
	if in.Result != want {
		h.t.Errorf("%+v, want %s", in, want)
	}
}

func (h *house) scan(text string) gateway.Reason {
	return h.Present(h.t.Context(), "front", "scanner", gateway.GrantCredential{Text: gateway.NewSecret(text)}).Reason
}

func (h *house) card(number uint64) gateway.Reason {
	return h.Present(h.t.Context(), "front", "pad", gateway.CardCredential{Card: gateway.NewCard(26, 123, number)}).Reason
}

func (h *house) types(door gateway.DoorID, pin gateway.PIN) gateway.Reason {
	return h.Present(h.t.Context(), door, gateway.ReaderID(door+"-pad"), gateway.PINCredential{PIN: pin}).Reason
}

// home makes a grant at home.
func (h *house) home(g access.HomeGrant) (gateway.GrantID, gateway.PIN) {
	h.t.Helper()
	if g.Doors == nil {
		g.Doors = []gateway.DoorID{"front"}
	}
	g.NotAfter = time.Now().Add(time.Hour)
	made, err := h.Home(h.t.Context(), g)
	h.check(err)
	return made.ID, made.PIN
}

// events lists what happened, grants that came in aside.
func (h *house) events() []gateway.Event {
	h.t.Helper()
	synctest.Wait()
	list, err := h.store.Events(h.t.Context(), 0, 1000)
	h.check(err)
	return slices.DeleteFunc(list, func(e gateway.Event) bool { return e.Type == gateway.GrantAdded })
}

// told holds what happened against these types, in order. A veto acts before it is recorded, so
// that its own event may stand after what it brought about: it is taken as the last here.
func (h *house) told(want ...gateway.EventType) {
	h.t.Helper()
	var got []gateway.EventType
	for _, e := range h.events() {
		got = append(got, e.Type)
	}
	if i := slices.Index(got, gateway.KnockVetoed); i >= 0 {
		got = append(slices.Delete(got, i, i+1), gateway.KnockVetoed)
	}
	if !slices.Equal(got, want) {
		h.t.Errorf("told %v, want %v", got, want)
	}
}

// livePINs counts a door's.
func (h *house) livePINs(door gateway.DoorID) (n int) {
	h.t.Helper()
	for length := 1; length <= gateway.MaxPIN; length++ {
		n += h.liveOf(door, length, gateway.HomeIssuer, colisX, menageY)
	}
	return n
}

// liveOf counts a door's PINs of a length by who made them.
func (h *house) liveOf(door gateway.DoorID, length int, by ...gateway.IssuerID) int {
	h.t.Helper()
	n, err := store.Look(h.t.Context(), h.store, func(tx *store.Tx) (n int) {
		for _, iss := range by {
			n += tx.Codes.Live(gateway.GrantID{Issuer: iss}, door, length)
		}
		return n
	})
	h.check(err)
	return n
}

func (h *house) used(jti string) int {
	h.t.Helper()
	g, err := store.Look(h.t.Context(), h.store, func(tx *store.Tx) gateway.GrantRecord {
		g, _ := tx.Grants.Get(gateway.GrantID{Issuer: colisX, JTI: jti})
		return g
	})
	h.check(err)
	return g.Used
}

// refused is the reason in an error of Home.
func refused(err error) gateway.Reason {
	var r *gateway.Refusal
	errors.As(err, &r)
	if r == nil {
		return ""
	}
	return r.Reason
}
