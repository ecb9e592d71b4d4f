package daemon

import (
	"context"
	"maps"
	"net/http"
	"slices"

	"gardien/drivers/sim"
	"gardien/gateway"
	"gardien/gateway/api"
)

// simulator moves simulated devices for the sim routes.
type simulator struct{ g *Gateway }

var _ api.Sim = (*simulator)(nil)

// find gives a simulated device, or a problem that names those there are.
func find[K ~string, V any](kind string, devices map[K]V, id K) (V, error) {
	v, ok := devices[id]
	if ok {
		return v, nil
	}
	var ids []string
	for _, k := range slices.Sorted(maps.Keys(devices)) {
		ids = append(ids, string(k))
	}
	return v, api.NotFound("simulated "+kind, string(id), ids)
}

// settle waits until what follows is in the record.
func (s *simulator) settle(ctx context.Context, id gateway.DoorID) error {
	return s.g.house.Door(id).Sync(ctx)
}

// Contact implements api.Sim.
func (s *simulator) Contact(ctx context.Context, v api.SimContact) error {
	c, err := find("contact at door", s.g.devices.Sim.Contacts, v.Door)
	if err != nil {
		return err
	}
	switch v.State {
	case "open":
		c.Move(gateway.ContactOpen)
	case "close", "closed":
		c.Move(gateway.ContactClosed)
	case "fault":
		c.Move(gateway.ContactFault)
	default:
		return api.Fail(http.StatusBadRequest, "bad-request", "state %q: want open or close", v.State)
	}
	return s.settle(ctx, v.Door)
}

// Keys implements api.Sim.
func (s *simulator) Keys(ctx context.Context, v api.SimKeys) error {
	r, err := find("reader", s.g.devices.Sim.Readers, v.Reader)
	if err != nil {
		return err
	}
	if err := r.Keys(ctx, v.Keys); err != nil {
		return err
	}
	return s.settle(ctx, s.doorOf(v.Reader))
}

// Scan implements api.Sim.
func (s *simulator) Scan(ctx context.Context, v api.SimScan) error {
	r, err := find("reader", s.g.devices.Sim.Readers, v.Reader)
	if err != nil {
		return err
	}
	if err := r.Scan(ctx, v.Text); err != nil {
		return err
	}
	return s.settle(ctx, s.doorOf(v.Reader))
}

func (s *simulator) doorOf(id gateway.ReaderID) gateway.DoorID {
	for _, r := range s.g.devices.Readers {
		if r.ID == id {
			return r.Door
		}
	}
	return ""
}

// REX implements api.Sim.
func (s *simulator) REX(ctx context.Context, v api.SimREX) error {
	r, err := find("request to exit at door", s.g.devices.Sim.REX, v.Door)
	if err != nil {
		return err
	}
	r.Press()
	return s.settle(ctx, v.Door)
}

// Fault implements api.Sim.
func (s *simulator) Fault(ctx context.Context, v api.SimFault) error {
	d, err := find("door", s.g.devices.Sim.Doors, v.Door)
	if err != nil {
		return err
	}
	if err := d.SetFault(sim.Fault(v.Fault)); err != nil {
		return api.Fail(http.StatusBadRequest, "bad-request", "%v", err)
	}
	return s.settle(ctx, v.Door)
}
