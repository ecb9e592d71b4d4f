package cloud

import (
	"cmp"
	"context"
	"errors"
	"strings"
	"sync"
	"time"

	"gardien/gateway"
)

// Fake is a mailbox for tests of whoever speaks to a cloud: the gateway "gw-aaaaaaaaaa" listens to
// the issuer "colis-x.example" and not to "other.example". The one-time code is "good". Of each
// call, Fail makes the next one fail.
type Fake struct {
	mu    sync.Mutex
	items []gateway.FeedItem
	ack   int64
	told  string // head of the record
	fail  error
}

// The principals that a Fake knows.
const (
	FakeGateway gateway.GatewayID = "gw-aaaaaaaaaa"
	FakeIssuer  gateway.IssuerID  = "colis-x.example"
	FakeOther   gateway.IssuerID  = "other.example"
)

// Mailbox gives the fake as what Service asks.
func (f *Fake) Mailbox() Mailbox { return Mailbox{f, f, f, f, f} }

// Fail makes the next call of the database fail.
func (f *Fake) Fail(err error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.fail = err
}

func (f *Fake) failed() error {
	f.mu.Lock()
	defer f.mu.Unlock()
	err := f.fail
	f.fail = nil
	return err
}

func enrol(code gateway.Secret) error {
	switch code.Reveal() {
	case "good":
		return nil
	case "taken":
		return gateway.ErrOtherKey
	}
	return gateway.ErrBadCode
}

// EnrolGateway takes the code "good"; "taken" finds another key.
func (f *Fake) EnrolGateway(_ context.Context, code gateway.Secret, _ gateway.Registration, _ time.Time) error {
	return enrol(code)
}

// EnrolIssuer is like EnrolGateway.
func (f *Fake) EnrolIssuer(_ context.Context, code gateway.Secret, _ gateway.IssuerID, _, _ string, _ time.Time) error {
	return enrol(code)
}

// UpdateGateway finds another key where the descriptor says "taken".
func (f *Fake) UpdateGateway(_ context.Context, r gateway.Registration) error {
	if strings.HasPrefix(r.Descriptor, "taken ") {
		return gateway.ErrOtherKey
	}
	return nil
}

// UpdateIssuer takes any.
func (f *Fake) UpdateIssuer(context.Context, gateway.IssuerID, string) error { return nil }

// GatewayDescriptor implements Registry.
func (f *Fake) GatewayDescriptor(_ context.Context, gw gateway.GatewayID) (string, bool, error) {
	return string(gw), gw == FakeGateway, f.failed()
}

// IssuerKeys implements Registry.
func (f *Fake) IssuerKeys(_ context.Context, iss gateway.IssuerID) (string, bool, error) {
	return string(iss), iss == FakeIssuer || iss == FakeOther, f.failed()
}

// Listens implements Registry.
func (f *Fake) Listens(_ context.Context, gw gateway.GatewayID, iss gateway.IssuerID) (bool, error) {
	return gw == FakeGateway && iss == FakeIssuer, nil
}

// Put implements Feeds.
func (f *Fake) Put(_ context.Context, gw gateway.GatewayID, iss gateway.IssuerID, i gateway.Item, _ time.Time) (int64, bool, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if gw != FakeGateway {
		return 0, false, gateway.ErrNoSuchGateway
	}
	if iss != FakeIssuer {
		return 0, false, gateway.ErrNotOwner
	}
	for _, was := range f.items {
		if was.ID == i.ID && was.Item == i {
			return was.Seq, false, nil
		}
		if was.ID == i.ID && was.Ver >= i.Ver {
			return 0, false, &gateway.VersionConflict{Ver: was.Ver}
		}
	}
	seq := int64(len(f.items) + 1)
	f.items = append(f.items, gateway.FeedItem{Seq: seq, Item: i})
	return seq, true, nil
}

func (f *Fake) head() gateway.FeedHead {
	return gateway.FeedHead{Epoch: "e1", Head: int64(len(f.items))}
}

// Feed implements Feeds.
func (f *Fake) Feed(_ context.Context, _ gateway.GatewayID, p gateway.Position, _ int, _ time.Time) (gateway.FeedPage, bool, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	h := f.head()
	if p.Epoch != h.Epoch || p.Seq > h.Head {
		return gateway.FeedPage{}, false, &gateway.FeedGone{FeedHead: h}
	}
	return gateway.FeedPage{FeedHead: h, Items: append([]gateway.FeedItem{}, f.items[p.Seq:]...)}, true, nil
}

// Snapshot implements Feeds.
func (f *Fake) Snapshot(context.Context, gateway.GatewayID) (gateway.FeedSnapshot, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	s := gateway.FeedSnapshot{Epoch: "e1", Head: int64(len(f.items)), Items: []gateway.Item{}}
	for _, i := range f.items {
		s.Items = append(s.Items, i.Item)
	}
	return s, nil
}

// WatchGateway never wakes anybody.
func (f *Fake) WatchGateway(gateway.GatewayID) (<-chan struct{}, func()) { return nil, func() {} }

// Upload implements Letters.
func (f *Fake) Upload(_ context.Context, _ gateway.GatewayID, u gateway.Upload, _ time.Time) (gateway.Receipt, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	for _, l := range u.Letters {
		if l.Seq > f.ack+1 {
			return gateway.Receipt{}, &gateway.UploadGap{Expect: f.ack + 1, Head: f.told}
		}
		f.ack = max(f.ack, l.Seq)
	}
	f.told = cmp.Or(u.Head, f.told)
	return gateway.Receipt{Ack: f.ack, Head: f.told}, nil
}

// Letters gives one.
func (f *Fake) Letters(_ context.Context, _ gateway.IssuerID, after int64, _ int) ([]gateway.Delivered, int64, error) {
	if after > 0 {
		return nil, 1, nil
	}
	return []gateway.Delivered{{Seq: 1, Gateway: FakeGateway, Body: "sealed"}}, 1, nil
}

// WatchIssuer never wakes anybody.
func (f *Fake) WatchIssuer(gateway.IssuerID) (<-chan struct{}, func()) { return nil, func() {} }

// Observe takes what there is.
func (f *Fake) Observe(context.Context, []gateway.Sighting) error { return nil }

// Fleet is the one gateway.
func (f *Fake) Fleet(context.Context, gateway.IssuerID, time.Time, time.Time) ([]gateway.Member, error) {
	return []gateway.Member{{Gateway: FakeGateway, Descriptor: "a.b.c", At: "2026-11-27T12:00:00Z"}}, nil
}

// Summary implements Upkeep.
func (f *Fake) Summary(context.Context, time.Time) (gateway.MailboxSummary, error) {
	return gateway.MailboxSummary{Gateways: 1, Issuers: 2}, nil
}

// Ping implements Upkeep.
func (f *Fake) Ping(context.Context) error { return f.failed() }

// FakeTokens takes an assertion that is somebody's id, "late ID" for one that has run out, and a
// descriptor that is a gateway's id, with "taken " before it for another key.
type FakeTokens struct{}

var errFake = errors.New("not signed by the key")

type fakeAssertion string

func (a fakeAssertion) Who() string { return strings.TrimPrefix(string(a), "late ") }

func (a fakeAssertion) verify() error {
	if strings.HasPrefix(string(a), "late ") {
		return errFake
	}
	return nil
}

func (a fakeAssertion) ByGateway(string, time.Time) error { return a.verify() }
func (a fakeAssertion) ByIssuer(string, time.Time) error  { return a.verify() }

// Assertion implements Tokens.
func (FakeTokens) Assertion(text string) (Assertion, error) {
	if text == "rubbish" {
		return nil, errFake
	}
	return fakeAssertion(text), nil
}

// Descriptor implements Tokens.
func (FakeTokens) Descriptor(text string) (gateway.Registration, error) {
	id := gateway.GatewayID(strings.TrimPrefix(text, "taken "))
	if !id.Valid() {
		return gateway.Registration{}, errFake
	}
	return gateway.Registration{ID: id, KeyID: "k", Descriptor: text}, nil
}

// KeySet implements Tokens.
func (FakeTokens) KeySet(jwks []byte) (string, error) {
	if !strings.Contains(string(jwks), "keys") {
		return "", errFake
	}
	return "k", nil
}
