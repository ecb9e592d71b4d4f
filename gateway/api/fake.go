package api

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"gardien/gateway"
	"gardien/gateway/web"
)

// Fake is a gateway for tests of whoever speaks the API: one door "front" with a reader "pad", a grant "home/g1", an
// issuer "colis-x.example" and a resident "r1" whose token is "token". What is named "nosuch" is
// not there; what is named "broken" fails.
type Fake struct {
	mu      sync.Mutex
	acts    []string // what was done, and by whom
	answers map[string]fakeAnswer
	busy    chan struct{} // closed when it is not any more; nil: it is not
	lax     atomic.Bool   // nothing is durable
}

// Lax makes nothing durable that is done from now on.
func (f *Fake) Lax() {
	f.lax.Store(true)
	f.mu.Lock()
	defer f.mu.Unlock()
	f.acts = nil
}

type fakeAnswer struct {
	body   string
	answer Answer
}

// ErrFake is what fails in a Fake.
var ErrFake = errors.New("it is broken")

// Backend gives the fake as what Server asks.
func (f *Fake) Backend() Backend {
	return Backend{Doors: fakeDoors{f}, Attempts: fakeAttempts{f}, Grants: fakeGrants{f}, Visits: fakeVisits{f}, Record: fakeRecord{f}, Issuers: fakeIssuers{f},
		Residents: fakeResidents{f}, Pairing: fakePairing{f}, Sessions: fakeSessions{f}, Upkeep: fakeUpkeep{f}, Mailbag: fakeMailbag{}, Receipts: fakeReceipts{f}, Health: fakeHealth{f}}
}

// Acts lists what was done: "revoke home/g1 by r1".
func (f *Fake) Acts() []string {
	f.mu.Lock()
	defer f.mu.Unlock()
	return append([]string(nil), f.acts...)
}

// Busy has readers of the record wait, and refuses nonces, until it is released.
func (f *Fake) Busy() (release func()) {
	f.mu.Lock()
	defer f.mu.Unlock()
	busy := make(chan struct{})
	f.busy = busy
	return func() {
		f.mu.Lock()
		defer f.mu.Unlock()
		f.busy = nil
		close(busy)
	}
}

func (f *Fake) wait(ctx context.Context) {
	f.mu.Lock()
	busy := f.busy
	f.mu.Unlock()
	if busy == nil {
		return
	}
	select {
	case <-busy:
	case <-ctx.Done():
	}
}

// Remembered counts the answers that are kept for an Idempotency-Key.
func (f *Fake) Remembered() int {
	f.mu.Lock()
	defer f.mu.Unlock()
	return len(f.answers)
}

// act notes an act upon something, or refuses it.
func (f *Fake) act(by Caller, what, name string, there ...string) error {
	if err := known(what, name, there...); err != nil {
		return err
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	who := string(by.Resident)
	if who == "" {
		who = "socket"
	}
	f.acts = append(f.acts, what+" "+name+" by "+who)
	return nil
}

func known(what, name string, there ...string) error {
	if name == "broken" {
		return ErrFake
	}
	for _, t := range there {
		if t == name {
			return nil
		}
	}
	return NotFound(what, name, there)
}

type (
	fakeDoors     struct{ *Fake }
	fakeAttempts  struct{ *Fake }
	fakeGrants    struct{ *Fake }
	fakeRecord    struct{ *Fake }
	fakeIssuers   struct{ *Fake }
	fakeResidents struct{ *Fake }
	fakePairing   struct{ *Fake }
	fakeSessions  struct{ *Fake }
	fakeUpkeep    struct{ *Fake }
)

const fakeTime = "2026-11-27T12:00:00+01:00"

func (fakeDoors) List() []Door {
	strike, contact := "secured", "closed"
	return []Door{{ID: "front", Name: "Front door", Strike: &strike, Contact: &contact, Health: []gateway.Ailment{}, Since: fakeTime,
		Knock: &Knock{Attempt: "a1", Grant: "colis-x.example/g1", Issuer: "colis-x.example", Until: fakeTime, Asks: true}}}
}

// Attempt lets residents in, and whoever presents "good"; whoever presents "ask" has to wait.
func (f fakeDoors) Attempt(_ context.Context, door gateway.DoorID, _ gateway.ReaderID, c gateway.Credential) (Verdict, error) {
	if g, ok := c.(gateway.GrantCredential); ok && g.Text.Reveal() != "good" {
		if g.Text.Reveal() == "ask" {
			return Verdict{Reason: gateway.NotApproved, Pending: "a1"}, nil
		}
		return Verdict{Reason: gateway.UnknownCredential}, nil
	}
	return Verdict{Granted: Granted{"granted", door, "4s", "a1"}}, nil
}

// Outcome is pending until somebody answers.
func (f fakeAttempts) Outcome(id gateway.AttemptID) (AttemptOutcome, <-chan struct{}, error) {
	if code, denied := strings.CutPrefix(string(id), "denied-"); denied {
		return AttemptOutcome{Attempt: "a3", Decision: "denied", Code: gateway.DenialCode(code)}, nil, nil
	}
	err := known("attempt", string(id), "a1")
	for _, a := range f.Acts() {
		if strings.HasPrefix(a, "approve ") {
			return AttemptOutcome{Attempt: id, Decision: "granted", Door: "front", ReleaseTime: "4s"}, nil, err
		}
	}
	return AttemptOutcome{Attempt: id, Decision: "pending"}, make(chan struct{}), err
}

func (f fakeAttempts) Approve(_ context.Context, by Caller, id gateway.AttemptID) error {
	return f.answer(by, "approve", id)
}

func (f fakeAttempts) Deny(_ context.Context, by Caller, id gateway.AttemptID) error {
	return f.answer(by, "deny", id)
}

// answer takes the first answer to each attempt.
func (f fakeAttempts) answer(by Caller, what string, id gateway.AttemptID) error {
	for _, a := range f.Acts() {
		if (strings.HasPrefix(a, "approve "+string(id)+" ") || strings.HasPrefix(a, "deny "+string(id)+" ")) && !f.lax.Load() {
			return Fail(http.StatusConflict, "answered", "attempt %s is answered already", id)
		}
	}
	return f.act(by, what, string(id), "a1", "a2")
}

func (f fakeDoors) Nonce(string) (Nonce, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.busy != nil {
		return Nonce{}, Fail(http.StatusTooManyRequests, "too-many-requests", "too many nonces")
	}
	return Nonce{"bm9uY2U", 60}, nil
}

// Veto finds that somebody knocks the first time.
func (f fakeDoors) Veto(_ context.Context, by Caller, door gateway.DoorID) error {
	for _, a := range f.Acts() {
		if strings.HasPrefix(a, "veto ") {
			return Fail(http.StatusConflict, "conflict", "nobody knocks at %s", door)
		}
	}
	return f.act(by, "veto", string(door), "front")
}

func (f fakeDoors) Lift(_ context.Context, by Caller, reader gateway.ReaderID) error {
	return f.act(by, "lift", string(reader), "pad")
}

func fakeGrant() Grant {
	return Grant{ID: "home/g1", Issuer: gateway.HomeIssuer, JTI: "g1", Ver: 1, Status: gateway.GrantActive, Doors: []gateway.DoorID{"front"},
		NotBefore: fakeTime, NotAfter: fakeTime, Kind: gateway.KindCourier, Approval: "off"}
}

func (fakeGrants) List(_ context.Context, after gateway.GrantID, _ int) ([]Grant, error) {
	if after.JTI >= "g1" {
		return []Grant{}, nil
	}
	return []Grant{fakeGrant()}, nil
}

func (fakeGrants) Get(_ context.Context, id gateway.GrantID) (Grant, error) {
	return fakeGrant(), known("grant", id.String(), "home/g1")
}

func (f fakeGrants) Make(_ context.Context, by Caller, req GrantRequest) (GrantMade, error) {
	if req.Resident != "" {
		if err := known("resident", string(req.Resident), "r1"); err != nil {
			return GrantMade{}, err
		}
	}
	return GrantMade{ID: "home/g2", PIN: "493027"}, f.act(by, "grant", "g2", "g2")
}

func (f fakeGrants) Revoke(_ context.Context, by Caller, id gateway.GrantID) error {
	return f.act(by, "revoke", id.String(), "home/g1")
}

func (fakeGrants) Explain(_ context.Context, id gateway.GrantID, door gateway.DoorID, _ time.Time) (Explanation, error) {
	reason := gateway.Expired
	return Explanation{"denied", &reason, "front", fakeTime, []Check{{Check: "period", Reason: reason, Detail: "over"}}}, known("grant", id.String(), "home/g1")
}

// Events are three.
func (f fakeRecord) Events(ctx context.Context, after int64, limit int) ([]gateway.Event, error) {
	f.wait(ctx)
	list := []gateway.Event{}
	for seq := after + 1; seq <= 3 && len(list) < limit; seq++ {
		e := gateway.Event{Seq: seq, At: fakeTime, Clock: gateway.ClockSynced, Boot: "b", Type: gateway.DoorBell, Door: "front", Prev: "00", Hash: "01"}
		if seq == 3 {
			e.Type, e.Issuer, e.Sub = gateway.DoorOpened, "colis-x.example", "parcel-1"
		}
		list = append(list, e)
	}
	return list, nil
}

func (fakeRecord) Watch() (<-chan struct{}, func()) { return nil, func() {} }

func (f fakeRecord) Verify(ctx context.Context) (Verification, error) {
	f.wait(ctx)
	return Verification{OK: true, Events: 3}, nil
}

func (f fakeRecord) Forget(_ context.Context, ref string) (int64, error) {
	if ref == "broken" {
		return 0, ErrFake
	}
	return 2, nil
}

func (fakeIssuers) List(context.Context) ([]Issuer, error) {
	return []Issuer{{ID: "colis-x.example", Name: "Colis X", Doors: []gateway.DoorID{"front"}, KeyIDs: []string{}, Policy: PolicyOf(gateway.Policy{})}}, nil
}

func (f fakeIssuers) Pause(_ context.Context, by Caller, id gateway.IssuerID, p *gateway.Pause) error {
	return f.act(by, pauseOrResume(p), string(id), "colis-x.example")
}

// PauseAll keeps "home/g1" only.
func (f fakeIssuers) PauseAll(_ context.Context, by Caller, p *gateway.Pause) error {
	if p != nil {
		for _, id := range p.Keep {
			if id != (gateway.GrantID{Issuer: gateway.HomeIssuer, JTI: "g1"}) {
				return Fail(http.StatusBadRequest, "bad-request", "keep: there is no grant %s", id)
			}
		}
	}
	return f.act(by, pauseOrResume(p), "all", "all")
}

// pauseOrResume tells the act whole: "pause until 2090-01-01T00:00:00Z".
func pauseOrResume(p *gateway.Pause) string {
	if p == nil {
		return "resume"
	}
	text := "pause"
	if !p.From.IsZero() {
		text += " from " + p.From.Format(time.RFC3339)
	}
	if !p.Until.IsZero() {
		text += " until " + p.Until.Format(time.RFC3339)
	}
	if p.Home {
		text += fmt.Sprint(" home but ", p.Keep)
	}
	return text
}

func (fakePairing) Open(_ context.Context, role gateway.Role) (PairingWindow, error) {
	return PairingWindow{ID: "w1", URL: "gardien:pair", Secret: "secret for a " + string(role), ExpiresIn: 300}, nil
}

func (f fakePairing) Close(context.Context, string) error {
	return f.act(Caller{}, "close", "window", "window")
}

func (fakePairing) Await(_ context.Context, _ string, most time.Duration) (PairingState, error) {
	if most == 0 {
		return PairingState{Open: true, ExpiresIn: 300}, nil
	}
	return PairingState{true, 299, &PairingDevice{"r2", "Bo", gateway.RoleResident, "123456"}}, nil
}

// Pair takes the secret "secret", and knows "r1" already.
func (fakePairing) Pair(_ context.Context, req PairingRequest) (Paired, error) {
	switch {
	case req.Secret != "secret":
		return Paired{}, Fail(http.StatusForbidden, "pairing-refused", "no window is open for this secret")
	case req.Name == "r1":
		return Paired{}, Fail(http.StatusConflict, "conflict", "there is an r1 already")
	}
	return Paired{"r2", "123456", "token-2"}, nil
}

func (fakePairing) Move(_ context.Context, id gateway.ResidentID) (SessionMove, error) {
	return SessionMove{"720451", 300}, nil
}

func (fakeResidents) List(_ context.Context, by Caller) ([]Resident, error) {
	return []Resident{{ID: "r1", Name: "Ada", Role: gateway.RoleResident, PairedAt: fakeTime, Confirmed: true, This: by.Resident == "r1"}}, nil
}

// Remove knows "r1", "guest" and others, of whom "last" is the last resident.
func (f fakeResidents) Remove(_ context.Context, by Caller, id gateway.ResidentID) error {
	if id == "last" && !by.Local {
		return Fail(http.StatusConflict, "last-resident", "it is the last one")
	}
	return f.act(by, "remove", string(id), "r1", "last", "guest", "installer", "newcomer", "bound")
}

func (f fakeResidents) Confirm(_ context.Context, id gateway.ResidentID) error {
	return f.act(Caller{}, "confirm", string(id), "r1")
}

func (f fakeResidents) Duress(_ context.Context, by Caller, id gateway.ResidentID, _ DuressRequest) (GrantMade, error) {
	return GrantMade{ID: "home/d1", PIN: "918273"}, f.act(by, "duress", string(id), "r1")
}

// FakeTokens are the devices of a fake, by their token. "bound" has a key.
var FakeTokens = map[string]gateway.Resident{
	"token":     {ID: "r1", Role: gateway.RoleResident},
	"last":      {ID: "last", Role: gateway.RoleResident},
	"guest":     {ID: "guest", Role: gateway.RoleGuest},
	"installer": {ID: "installer", Role: gateway.RoleInstaller},
	"newcomer":  {ID: "newcomer", Role: gateway.RoleResident, Unconfirmed: true},
	"bound":     {ID: "bound", Role: gateway.RoleResident, Key: "key"},
}

func (fakeSessions) Authenticate(_ context.Context, token gateway.Secret) (gateway.Resident, bool, error) {
	if token.Reveal() == "broken" {
		return gateway.Resident{}, false, ErrFake
	}
	r, found := FakeTokens[token.Reveal()]
	return r, found, nil
}

// Prove takes "proof METHOD URL" of a device with a key.
func (fakeSessions) Prove(_ context.Context, device gateway.Resident, method, url, proof string) error {
	switch proof {
	case "":
		return ErrNonce
	case "proof " + method + " " + url:
		return nil
	}
	return web.Unauthorized("the proof is another's")
}

func (fakeSessions) Nonce() string { return "nonce" }

func (f fakeSessions) Recall(_ context.Context, key, body string) (Answer, bool, bool, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	a, found := f.answers[key]
	return a.answer, found, a.body == body, nil
}

func (f fakeSessions) Remember(_ context.Context, key, body string, a Answer) error {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.answers == nil {
		f.answers = map[string]fakeAnswer{}
	}
	f.answers[key] = fakeAnswer{body, a}
	return nil
}

func (f fakeUpkeep) Durable() bool { return !f.lax.Load() }

func (fakeUpkeep) CA() (der, profile []byte, err error) {
	return []byte("a certificate"), []byte("a profile"), nil
}

func (fakeUpkeep) Info() Info { return Info{"gw-aaaaaaaaaa", Version} }

func (fakeUpkeep) Status(context.Context, bool) (Status, error) {
	return Status{ID: "gw-aaaaaaaaaa", Name: "Home", Version: "0", Started: fakeTime, Cloud: "off", Database: "ok", Tasks: []StatusTask{}, Notes: []string{}, Severities: []gateway.Severity{},
		Clock: StatusClock{State: gateway.ClockSynced}}, nil
}

func (fakeUpkeep) Descriptor(context.Context) (Descriptor, error) { return Descriptor{"a.b.c"}, nil }

// EnrolInCloud takes the code "good"; "nocloud" finds none configured, "away" finds nobody there.
func (fakeUpkeep) EnrolInCloud(_ context.Context, e CloudEnrolment) (CloudStatus, error) {
	switch e.Code {
	case "nocloud":
		return CloudStatus{}, Fail(http.StatusConflict, "no-cloud", "no cloud is configured")
	case "away":
		return CloudStatus{}, Fail(http.StatusBadGateway, "cloud", "the cloud does not answer")
	}
	return CloudStatus{"gw-aaaaaaaaaa", "https://cloud.example"}, nil
}

func (f fakeUpkeep) ConfirmClock(_ context.Context, by Caller) (StatusClock, error) {
	return StatusClock{State: gateway.ClockSynced}, f.act(by, "confirm", "clock", "clock")
}

func (f fakeUpkeep) Backup(_ context.Context, w io.Writer) error {
	if !f.Durable() {
		return Fail(http.StatusConflict, "read-only", "the disk takes no writes")
	}
	_, err := io.WriteString(w, "SQLite format 3\x00")
	return err
}

// Restore takes what looks like a database.
func (f fakeUpkeep) Restore(_ context.Context, r io.Reader) error {
	if !f.Durable() {
		return Fail(http.StatusConflict, "read-only", "the disk takes no writes")
	}
	b, err := io.ReadAll(r)
	if err == nil && !bytes.HasPrefix(b, []byte("SQLite")) {
		return Fail(http.StatusBadRequest, "bad-request", "this is no backup")
	}
	return err
}

// FakeSim is simulated devices that do as they are told.
type FakeSim struct{}

func (FakeSim) Contact(_ context.Context, c SimContact) error {
	return known("door", string(c.Door), "front")
}
func (FakeSim) Keys(_ context.Context, k SimKeys) error {
	return known("reader", string(k.Reader), "pad")
}
func (FakeSim) Scan(_ context.Context, s SimScan) error {
	return known("reader", string(s.Reader), "pad")
}
func (FakeSim) REX(_ context.Context, x SimREX) error { return known("door", string(x.Door), "front") }
func (FakeSim) Fault(_ context.Context, x SimFault) error {
	return known("door", string(x.Door), "front")
}
