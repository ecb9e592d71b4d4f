package main

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"syscall"
	"time"

	"gardien/cmd/gardien-demo/cable"
	"gardien/cmd/gardien-issuer/carrier"
	"gardien/gateway"
	"gardien/gateway/api"
	"gardien/gateway/tokens"
)

const config = `gateway: {name: Demo, time_zone: Europe/Paris, state_dir: state}
api: {listen: "", socket: api.sock}
clock: {source: system}
doors:
  - id: front
    name: Porte d'entrée
    strike:  {driver: sim}
    contact: {driver: sim}
    release_time: 3s
    relock_delay: 500ms
readers:
  - {id: keypad, door: front, driver: sim}
issuers:
  - id: colis-x.example
    name: Colis X
    keys: colis-x/jwks.json
    doors: [front]
    bearer: true
    one_time_only: true
cloud: {url: "%s"}
`

// house is the demo's gateway, in a folder of its own, and its carrier.
type house struct {
	dir     string
	client  *api.Client
	process *exec.Cmd
	gateway gateway.GatewayID
	carrier *carrier.Folder
	cable   *cable.Cable // to the cloud
}

// folder of the carrier: what gardien-issuer calls DIR.
func (h *house) folder() string { return filepath.Join(h.dir, "colis-x") }

func newHouse() (*house, error) {
	dir, err := os.MkdirTemp("", "gardien-demo-")
	if err != nil {
		return nil, err
	}
	h := &house{dir: dir, client: api.NewClient(filepath.Join(dir, "api.sock"))}
	if h.carrier, err = carrier.Create(h.folder(), carrierID); err != nil {
		return nil, err
	}
	if h.cable, err = cable.New("127.0.0.1:1"); err != nil {
		return nil, err
	}
	return h, os.WriteFile(h.config(), fmt.Appendf(nil, config, h.cloudURL()), 0o600)
}

func (h *house) config() string { return filepath.Join(h.dir, "gardien.yaml") }

// start starts the daemon with a wall clock, and waits until it answers.
func (h *house) start(ctx context.Context, wall string) error {
	self, err := os.Executable()
	if err != nil {
		return err
	}
	log, err := os.OpenFile(filepath.Join(h.dir, "log"), os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o600)
	if err != nil {
		return err
	}
	defer log.Close()
	h.process = exec.Command(self, daemonWord, h.config(), wall)
	h.process.Stderr = log
	h.process.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL, Setpgid: true}
	if err := h.process.Start(); err != nil {
		return err
	}
	var info api.Info
	for range 200 {
		if err = h.client.Do(ctx, "GET", "/v1/info", nil, &info); err == nil {
			h.gateway = info.ID
			return nil
		}
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-time.After(50 * time.Millisecond):
		}
	}
	return fmt.Errorf("the daemon does not answer (%w); its log is %s/log", err, h.dir)
}

// stop ends the daemon with a signal and waits for it.
func (h *house) stop(sig syscall.Signal) error {
	if h.process == nil {
		return nil
	}
	h.process.Process.Signal(sig)
	err := h.process.Wait()
	h.process = nil
	h.client.Close()
	if sig == syscall.SIGKILL {
		return nil
	}
	return err
}

// carriersGrant is one entry for a courier.
func carriersGrant(length time.Duration) gateway.Grant {
	now := time.Now().Truncate(time.Second)
	return gateway.Grant{ID: gateway.GrantID{Issuer: carrierID, JTI: gateway.NewJTI()}, Version: 1, Status: gateway.GrantActive,
		Doors: []gateway.DoorID{"front"}, IssuedAt: now, Period: gateway.Period{NotBefore: now, NotAfter: now.Add(length)}, Uses: 1, Sub: "parcel-4711"}
}

// grant signs one, to be shown as a QR code.
func (h *house) grant(length time.Duration) (string, error) {
	return h.carrier.ByHand(&tokens.Descriptor{Gateway: h.gateway}).Sign(carriersGrant(length), false)
}

func (h *house) keys(ctx context.Context, keys string) error {
	return h.client.Do(ctx, "POST", "/v1/sim/keys", api.SimKeys{Reader: "keypad", Keys: keys}, nil)
}

func (h *house) scan(ctx context.Context, text string) error {
	return h.client.Do(ctx, "POST", "/v1/sim/scan", api.SimScan{Reader: "keypad", Text: text}, nil)
}

func (h *house) leaf(ctx context.Context, s gateway.ContactState) error {
	return h.client.Do(ctx, "POST", "/v1/sim/contact", api.SimContact{Door: "front", State: s}, nil)
}

func (h *house) door(ctx context.Context) (d api.Door, err error) {
	err = h.client.Do(ctx, "GET", "/v1/doors/front", nil, &d)
	return d, err
}

func (h *house) events(ctx context.Context, after int64) (p api.Events, err error) {
	err = h.client.Do(ctx, "GET", fmt.Sprintf("/v1/events?limit=1000&after=%d", after), nil, &p)
	return p, err
}
