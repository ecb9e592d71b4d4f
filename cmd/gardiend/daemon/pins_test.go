package daemon

import (
	"bytes"
	"context"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"gardien/configs"
	"gardien/gateway"
	"gardien/gateway/access"
	"gardien/gateway/api"
	"gardien/gateway/tokens"
)

// sealed signs a grant of the carrier with a PIN at front, and hands it in.
func (h *house) sealed(t *testing.T, ver int64, pin gateway.PIN) access.Intake {
	t.Helper()
	now := time.Now().Truncate(time.Second)
	text, err := tokens.SignGrant(h.carrier, h.identity.ID, gateway.Grant{ID: gateway.GrantID{Issuer: "colis-x.example", JTI: "p1"}, Version: ver,
		Status: gateway.GrantActive, Doors: []gateway.DoorID{"front"}, IssuedAt: now, Period: gateway.Period{NotBefore: now, NotAfter: now.Add(time.Hour)}, PIN: pin})
	check(t, err)
	text, err = tokens.Seal(text, tokens.TypGrant, h.identity.Opening.PublicKey)
	check(t, err)
	in, err := h.access.Take(context.Background(), text)
	check(t, err)
	return in
}

// home makes a grant at home.
func (h *house) home(t *testing.T, req api.GrantRequest) api.GrantMade {
	t.Helper()
	end := time.Now().Add(time.Hour)
	req.NotAfter = &end
	made, err := h.backend().Grants.Make(context.Background(), api.Caller{}, req)
	check(t, err)
	return made
}

func (h *house) types(door gateway.DoorID, digits string) gateway.Reason {
	return h.access.Present(context.Background(), door, gateway.ReaderID(door+"-pad"), gateway.PINCredential{PIN: gateway.PIN{Secret: gateway.NewSecret(digits)}}).Reason
}

// wiped lists the grants whose missing PIN the status names.
func (h *house) wiped(t *testing.T) (ids []string) {
	t.Helper()
	st, err := h.backend().Upkeep.Status(context.Background(), true)
	check(t, err)
	for _, note := range st.Notes {
		if id, ok := strings.CutPrefix(note, "the PIN of grant "); ok {
			id, _, _ = strings.Cut(id, " ")
			ids = append(ids, id)
		}
	}
	return ids
}

// TestP1_LengthsThatChange: where a door takes other lengths from now on, PINs of the old ones are
// wiped at the start. The status names their grants until they are made or sent again, or end.
func TestP1_LengthsThatChange(t *testing.T) {
	h := build(t)
	h.start(t)
	front := h.home(t, api.GrantRequest{Doors: []gateway.DoorID{"front"}, PIN: true})
	lost := h.home(t, api.GrantRequest{Doors: []gateway.DoorID{"front"}, PIN: true})
	side := h.home(t, api.GrantRequest{Doors: []gateway.DoorID{"side"}, PIN: true})
	if in := h.sealed(t, 1, gateway.DrawPIN(8)); in.Result != "accepted" {
		t.Fatalf("%+v", in)
	}
	var backup bytes.Buffer
	check(t, h.backend().Upkeep.Backup(context.Background(), &backup))
	h.stop()
	yaml := strings.Replace(houseYAML, "{id: front,", "{id: front, pin: {home: [7], third_party: [10]},", 1)
	check(t, os.WriteFile(filepath.Join(h.dir, "g.yaml"), []byte(yaml), 0o600))
	for range 2 { // and named at each start that follows
		h.start(t)
		if got, want := h.wiped(t), []string{front.ID, lost.ID, "colis-x.example/p1"}; !slices.Equal(slices.Sorted(slices.Values(got)), slices.Sorted(slices.Values(want))) {
			t.Errorf("the status names %q, want %q", got, want)
		}
		if r := h.types("front", front.PIN); r != gateway.WrongPIN {
			t.Errorf("a PIN of six digits where the door wants seven: %q", r)
		}
		if r := h.types("side", side.PIN); r != "" {
			t.Errorf("a PIN of another door: %q", r)
		}
		h.stop()
	}
	h.start(t)
	if again := h.home(t, api.GrantRequest{Doors: []gateway.DoorID{"front"}, PIN: true}); len(again.PIN) != 7 {
		t.Errorf("a PIN of %d digits, want seven", len(again.PIN))
	}
	if in := h.sealed(t, 2, gateway.DrawPIN(8)); in.Result != "rejected" || in.Refusal.Detail != "want 10 digits" {
		t.Errorf("a PIN of eight digits: %+v", in)
	}
	if in := h.sealed(t, 2, gateway.DrawPIN(10)); in.Result != "accepted" {
		t.Errorf("a PIN of ten digits: %+v", in)
	}
	id, err := gateway.ParseGrantID(front.ID)
	check(t, err)
	check(t, h.backend().Grants.Revoke(context.Background(), api.Caller{}, id))
	if got := h.wiped(t); !slices.Equal(got, []string{lost.ID}) {
		t.Errorf("the status still names %q, want %q", got, lost.ID)
	}
	check(t, h.backend().Upkeep.Restore(context.Background(), &backup))
	if r := h.types("front", lost.PIN); r != gateway.WrongPIN {
		t.Errorf("a PIN of six digits, from a backup: %q", r)
	}
	text, err := h.descriptor()
	check(t, err)
	d, err := tokens.ParseDescriptor(text)
	check(t, err)
	if diff := cmp.Diff(map[gateway.DoorID][]int{"front": {10}, "side": {8}}, d.PINs); diff != "" {
		t.Error(diff)
	}
}

// TestP1_DoorThatIsGone: PINs of a door that is not configured now stay: it may come back.
func TestP1_DoorThatIsGone(t *testing.T) {
	lengths := configs.PIN{Home: []int{6}, ThirdParty: []int{8}}
	fits := fits(&configs.Config{Gateway: configs.Gateway{TimeZone: "UTC"}, Doors: []configs.Door{{ID: "front", PIN: lengths}}})
	for door, want := range map[gateway.DoorID]bool{"front": false, "gone": true} {
		if got := fits(gateway.PINRecord{Door: door, Length: 7}); got != want {
			t.Errorf("a PIN of seven digits at %s fits: %v", door, got)
		}
	}
}

// TestI2_SharersOfADoor: whoever may use a door has a share of it, also while its keys cannot be
// read: it would come back to places that others have taken.
func TestI2_SharersOfADoor(t *testing.T) {
	cfg := &configs.Config{Gateway: configs.Gateway{TimeZone: "UTC"}, Doors: []configs.Door{{ID: "front"}, {ID: "side"}}, Issuers: []configs.Issuer{
		{ID: "a.example", Doors: []string{"front", "front"}},
		{ID: "b.example", Doors: []string{"side", "front"}, SetAside: "its keys cannot be read"},
	}}
	if diff := cmp.Diff(map[gateway.DoorID]int{"front": 2, "side": 1}, rules(cfg).Sharers); diff != "" {
		t.Error(diff)
	}
}

// TestA7_HolderOfAHomeGrant: a grant made at home for the holder of a key is presented by that
// phone, with the text that was told when it was made, and by no other.
func TestA7_HolderOfAHomeGrant(t *testing.T) {
	h := build(t)
	h.start(t)
	phone, err := tokens.GenerateES256()
	check(t, err)
	thief, err := tokens.GenerateES256()
	check(t, err)
	made := h.home(t, api.GrantRequest{Doors: []gateway.DoorID{"front"}, Holder: phone.PublicKey.KeyID()})
	if made.Grant == "" || made.PIN != "" {
		t.Fatalf("%+v", made)
	}
	if with := h.home(t, api.GrantRequest{Doors: []gateway.DoorID{"front"}, PIN: true}); with.Grant != "" {
		t.Error("the text of a grant without a holder is told")
	}
	present := func(key *tokens.SigningKey) gateway.Reason {
		return h.access.Present(context.Background(), "front", gateway.ReaderLAN,
			gateway.GrantCredential{Text: gateway.NewSecret(made.Grant), Proof: gateway.NewSecret(h.proof(t, key, "front", made.Grant))}).Reason
	}
	if r := present(thief); r != gateway.BadProof {
		t.Errorf("another phone: %q", r)
	}
	if r := present(phone); r != "" {
		t.Errorf("its holder's phone: %q", r)
	}
	x, err := h.backend().Grants.Explain(context.Background(), gateway.GrantID{Issuer: gateway.HomeIssuer, JTI: strings.TrimPrefix(made.ID, "home/")}, "front", time.Time{})
	check(t, err)
	if last := x.Checks[len(x.Checks)-1]; x.Verdict != "granted" || last.Check != "presentable" || last.Detail != "its holder's phone" {
		t.Errorf("%+v", x)
	}
}
