package daemon

import (
	"errors"
	"strings"
	"testing"

	"gardien/cmd/gardiend/hardware"
	"gardien/gateway"
	"gardien/gateway/access"
	"gardien/gateway/api"
	"gardien/gateway/tokens"
)

var errHeard = errors.New("heard")

// hears waits for an event of the type and the door, and gives the newest such.
func (h *house) hears(t *testing.T, after int64, kind gateway.EventType, door gateway.DoorID) (found gateway.Event) {
	t.Helper()
	err := h.client.Stream(t.Context(), after, func(e gateway.Event) error {
		if e.Type == kind && e.Door == door {
			found = e
			return errHeard
		}
		return nil
	})
	if !errors.Is(err, errHeard) {
		t.Fatal(err)
	}
	return found
}

func (h *house) moves(t *testing.T, door gateway.DoorID, to gateway.ContactState) {
	t.Helper()
	if err := (&simulator{h.Gateway}).Contact(t.Context(), api.SimContact{Door: door, State: to}); err != nil {
		t.Fatal(err)
	}
}

// reads verifies a receipt as others do, and holds its head against the record.
func (h *house) reads(t *testing.T, attempt gateway.AttemptID) (text string, r gateway.EntryReceipt) {
	t.Helper()
	b := h.backend()
	text, found, err := b.Receipts.Receipt(t.Context(), attempt)
	if err != nil || !found {
		t.Fatalf("no receipt: %v", err)
	}
	said, err := b.Upkeep.Descriptor(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	d, err := tokens.ParseDescriptor(said.Descriptor)
	if err == nil {
		r, err = d.ReadReceipt(text)
	}
	if err != nil {
		t.Fatal(err)
	}
	list, err := b.Record.Events(t.Context(), r.Head.Seq-1, 1)
	st, e := b.Upkeep.Status(t.Context(), false)
	if err != nil || e != nil || len(list) != 1 || list[0].Hash != r.Head.Hash || st.Log != r.Head.Log {
		t.Errorf("the record has not the head %+v: %+v, log %s, %v %v", r.Head, list, st.Log, err, e)
	}
	return text, r
}

// TestReceiptOfACourier: the holder of a grant gets the receipt of its entry, by a proof that is good
// once, for the door of the entry and with the key of the grant (A7).
func TestReceiptOfACourier(t *testing.T) {
	h := build(t)
	h.start(t)
	srv := h.served(t)
	holder, err := tokens.GenerateES256()
	if err != nil {
		t.Fatal(err)
	}
	other, err := tokens.GenerateES256()
	if err != nil {
		t.Fatal(err)
	}
	_, text := h.grant(t, 1, "side", holder.KeyID())
	out := h.access.Present(t.Context(), "side", gateway.ReaderLAN,
		gateway.GrantCredential{Text: gateway.NewSecret(text), Proof: gateway.NewSecret(h.proof(t, holder, "side", text))})
	if out.Reason != "" {
		t.Fatal(out.Reason)
	}
	h.moves(t, "side", "open")
	h.hears(t, 0, gateway.StrikeSecured, "side")
	h.moves(t, "side", "closed")
	ask := func(attempt gateway.AttemptID, proof string) answer {
		t.Helper()
		return call(t, srv.Client(), "GET", srv.URL+"/v1/attempts/"+string(attempt)+"/receipt", "", "Gardien-Proof", proof)
	}
	good := h.proof(t, holder, "side", "not at hand")
	got := ask(out.Attempt, good)
	receipt, r := h.reads(t, out.Attempt)
	want := gateway.EntryReceipt{Gateway: h.identity.ID, Grant: gateway.GrantID{Issuer: "colis-x.example", JTI: "g1"}, Door: "side", Outcome: gateway.Entered,
		Granted: r.Granted, Opened: r.Opened, Closed: r.Closed, Secured: r.Secured, Head: r.Head}
	if got.status != 200 || !strings.Contains(got.body, receipt) || r != want {
		t.Errorf("%+v, %+v", got, r)
	}
	none := ask("AAAAAAAAAAAAAAAAAAAAAA", h.proof(t, holder, "side", text))
	for what, proof := range map[string]string{"a proof again": good, "another's key": h.proof(t, other, "side", text), "another door": h.proof(t, holder, "front", text),
		"a nonce of nobody": func() string {
			p, err := tokens.SignProof(holder, "AAAAAAAAAAAAAAAAAAAAAA", h.identity.ID, "side", text, h.clock.Read().Wall)
			if err != nil {
				t.Fatal(err)
			}
			return p
		}(), "no proof": "x"} {
		if got := ask(out.Attempt, proof); got.status != 404 || got.body != none.body {
			t.Errorf("%s: %+v", what, got)
		}
	}
	// What is a home's or a resident's own, without a holder's key, is no stranger's.
	out = h.access.Present(t.Context(), "front", gateway.ReaderApp, gateway.ResidentCredential{})
	h.hears(t, 0, gateway.StrikeSecured, "front")
	if got := ask(out.Attempt, h.proof(t, holder, "front", text)); got.status != 404 || got.body != none.body {
		t.Errorf("a resident's entry: %+v", got)
	}
	if _, r := h.reads(t, out.Attempt); r.Outcome != gateway.Unproved || r.Grant != (gateway.GrantID{}) || r.Secured == "" {
		t.Errorf("a resident's entry: %+v", r)
	}
}

// TestReceiptOverARestart: a leaf that stood open over a restart stays that of whoever opened it, and
// nothing proves how the entry ended.
func TestReceiptOverARestart(t *testing.T) {
	h := build(t)
	h.start(t)
	out := h.access.Present(t.Context(), "side", gateway.ReaderApp, gateway.ResidentCredential{})
	h.moves(t, "side", "open")
	h.hears(t, 0, gateway.StrikeSecured, "side")
	if text, found, err := h.backend().Receipts.Receipt(t.Context(), out.Attempt); found || err != nil {
		t.Errorf("while the leaf is open: %q %v", text, err)
	}
	h.stop()
	h.devices = func(d *hardware.Devices) { d.Sim.Contacts["side"].Move(gateway.ContactOpen) }
	h.start(t)
	text, r := h.reads(t, out.Attempt)
	h.moves(t, "side", "closed")
	if e := h.hears(t, 0, gateway.DoorClosed, "side"); e.Episode != out.Attempt {
		t.Errorf("%+v", e)
	}
	again, _ := h.reads(t, out.Attempt)
	if again != text || r.Outcome != gateway.Unproved || r.Opened == "" || r.Closed != "" || r.Secured == "" {
		t.Errorf("%+v", r)
	}
}

// TestReceiptWaitsForRetries: where nobody came there is no receipt as long as the door lets the same
// grant try again, and the one of a try that succeeds tells of that.
func TestReceiptWaitsForRetries(t *testing.T) {
	h := build(t)
	h.start(t)
	uses := 1
	made := h.home(t, api.GrantRequest{Doors: []gateway.DoorID{"side"}, Uses: &uses, PIN: true})
	pin, err := gateway.NewPIN(made.PIN)
	if err != nil {
		t.Fatal(err)
	}
	tries := func() access.Outcome {
		return h.access.Present(t.Context(), "side", "side-pad", gateway.PINCredential{PIN: pin})
	}
	out := tries()
	e := h.hears(t, 0, gateway.AccessNotTaken, "side")
	if text, found, err := h.backend().Receipts.Receipt(t.Context(), out.Attempt); found || err != nil || e.Attempt != out.Attempt {
		t.Errorf("while it may be tried again: %q %v", text, err)
	}
	if again := tries(); again.Attempt != out.Attempt || again.Reason != "" {
		t.Fatalf("%+v", again)
	}
	h.moves(t, "side", "open")
	h.hears(t, e.Seq, gateway.StrikeSecured, "side")
	h.moves(t, "side", "closed")
	if _, r := h.reads(t, out.Attempt); r.Outcome != gateway.Entered || r.Opened <= r.Granted {
		t.Errorf("%+v", r)
	}
}
