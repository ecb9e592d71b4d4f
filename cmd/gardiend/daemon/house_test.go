package daemon

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"sync/atomic"
	"testing"
	"time"

	"gardien/cmd/gardiend/hardware"
	"gardien/drivers/gpio"
	"gardien/gateway"
	"gardien/gateway/api"
	"gardien/gateway/tokens"
	"gardien/gateway/wallclock"
)

// house is a gateway under test, in this process, with a carrier.
type house struct {
	*Gateway
	dir     string
	client  *api.Client
	carrier *tokens.SigningKey
	os      wallclock.OS // nil: the system's
	devices func(*hardware.Devices)
	board   func() gpio.Facts
	source  wallclock.Source // nil: the configured one
	stop    func()
}

const houseYAML = `gateway: {name: Test, time_zone: Europe/Paris, state_dir: state}
api: {listen: "", socket: s}
clock: {source: system}
doors:
  - {id: front, strike: {driver: sim}, release_time: 3s}
  - {id: side, strike: {driver: sim}, contact: {driver: sim}, release_time: 3s, relock_delay: 0s}
readers:
  - {id: pad, door: front, driver: sim}
  - {id: scanner, door: front, driver: sim}
  - {id: side-pad, door: side, driver: sim}
issuers:
  - {id: colis-x.example, keys: jwks.json, doors: [front, side], bearer: true, max_validity: off}
`

// build makes the folder of a house.
func build(t testing.TB) *house {
	t.Helper()
	h := &house{dir: t.TempDir()}
	var err error
	if h.carrier, err = tokens.GenerateES256(); err != nil {
		t.Fatal(err)
	}
	public, err := tokens.MarshalKeySet(h.carrier.PublicKey, nil)
	if err != nil {
		t.Fatal(err)
	}
	for name, content := range map[string][]byte{"jwks.json": public, "g.yaml": []byte(houseYAML)} {
		if err := os.WriteFile(filepath.Join(h.dir, name), content, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	return h
}

// start runs the daemon and returns when it is ready.
func (h *house) start(t testing.TB) {
	t.Helper()
	ctx, cancel := context.WithCancel(context.Background())
	ready := make(chan *Gateway, 1)
	done := make(chan error, 1)
	go func() {
		done <- Run(ctx, Options{Config: filepath.Join(h.dir, "g.yaml"), OS: h.os, Log: quiet, wired: ready, devices: h.devices, board: h.board, Source: h.source})
	}()
	select {
	case h.Gateway = <-ready:
	case err := <-done:
		t.Fatalf("the daemon ended: %v", err)
	}
	h.client = api.NewClient(h.cfg.API.Socket)
	var stopped atomic.Bool
	h.stop = func() {
		if stopped.Swap(true) {
			return
		}
		h.client.Close()
		cancel()
		if err := <-done; err != nil {
			t.Errorf("the daemon ended with %v", err)
		}
	}
	t.Cleanup(h.stop)
}

// grant signs a one-time grant of the carrier.
func (h *house) grant(t testing.TB, n int, door gateway.DoorID, holder string) (jti, text string) {
	t.Helper()
	now := time.Now().Truncate(time.Second)
	jti = fmt.Sprintf("g%d", n)
	text, err := tokens.SignGrant(h.carrier, h.identity.ID, gateway.Grant{
		ID: gateway.GrantID{Issuer: "colis-x.example", JTI: jti}, Version: 1, Status: gateway.GrantActive, Doors: []gateway.DoorID{door},
		IssuedAt: now, Period: gateway.Period{NotBefore: now, NotAfter: now.Add(24 * time.Hour)}, Uses: 1, Holder: holder,
	})
	if err != nil {
		t.Fatal(err)
	}
	return jti, text
}

// proof makes a proof of possession for a fresh nonce.
func (h *house) proof(t testing.TB, key *tokens.SigningKey, door gateway.DoorID, text string) string {
	t.Helper()
	n, err := h.backend().Doors.Nonce(fmt.Sprintf("test-%p", &text))
	if err != nil {
		t.Fatal(err)
	}
	p, err := tokens.SignProof(key, n.Nonce, h.identity.ID, door, text, time.Now())
	if err != nil {
		t.Fatal(err)
	}
	return p
}

func (h *house) scan(text string) gateway.Reason {
	return h.access.Present(context.Background(), "front", "scanner", gateway.GrantCredential{Text: gateway.NewSecret(text)}).Reason
}
