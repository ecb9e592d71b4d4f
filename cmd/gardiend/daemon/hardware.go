package daemon

import (
	"context"
	"errors"
	"fmt"
	"io"

	"gardien/configs"
	"gardien/drivers/sim"
	"gardien/gateway"
	"gardien/gateway/doors"
)

// hardware is the opened devices.
type hardware struct {
	doors   map[gateway.DoorID]doors.Hardware
	readers []openReader
	closers []io.Closer
	sim     simDevices
}

type openReader struct {
	id     gateway.ReaderID
	door   gateway.DoorID
	reader gateway.Reader
}

// simDevices is what the sim routes move.
type simDevices struct {
	doors    map[gateway.DoorID]*sim.Door
	contacts map[gateway.DoorID]*sim.Contact
	rex      map[gateway.DoorID]*sim.REX
	readers  map[gateway.ReaderID]*sim.Reader
}

// openHardware opens and secures every door, then the readers.
func openHardware(ctx context.Context, cfg *configs.Config) (*hardware, error) {
	h := &hardware{doors: map[gateway.DoorID]doors.Hardware{}, sim: simDevices{
		map[gateway.DoorID]*sim.Door{}, map[gateway.DoorID]*sim.Contact{}, map[gateway.DoorID]*sim.REX{}, map[gateway.ReaderID]*sim.Reader{}}}
	var errs []error
	for _, d := range cfg.Doors {
		if err := h.openDoor(ctx, d); err != nil {
			errs = append(errs, fmt.Errorf("door %s: %w", d.ID, err))
		}
	}
	for _, r := range cfg.Readers {
		if err := h.openReader(r); err != nil {
			errs = append(errs, fmt.Errorf("reader %s: %w", r.ID, err))
		}
	}
	if len(errs) > 0 {
		return nil, errors.Join(errors.Join(errs...), h.Close())
	}
	return h, nil
}

func notBuilt(driver string) error {
	return fmt.Errorf("driver %q is not in this version of gardiend: use driver: sim", driver)
}

func (h *hardware) openDoor(ctx context.Context, d configs.Door) error {
	id := gateway.DoorID(d.ID)
	var hw doors.Hardware
	driver := ""
	if d.Strike != nil {
		driver = d.Strike.Driver
	} else {
		driver = d.Lock.Driver
	}
	if driver != "sim" {
		return notBuilt(driver)
	}
	latch := sim.NewDoor(d.ID, nil)
	h.sim.doors[id] = latch
	h.closers = append(h.closers, latch)
	if d.Strike != nil {
		hw.Strike = latch
	} else {
		hw.Lock = latch
	}
	if err := latch.Secure(ctx); err != nil {
		return err
	}
	if d.Contact != nil {
		if d.Contact.Driver != "sim" {
			return notBuilt(d.Contact.Driver)
		}
		c := sim.NewContact(d.ID + " contact")
		h.sim.contacts[id], hw.Contact = c, c
	}
	if d.REX != nil {
		if d.REX.Driver != "sim" {
			return notBuilt(d.REX.Driver)
		}
		r := sim.NewREX(d.ID + " rex")
		h.sim.rex[id], hw.REX = r, r
	}
	h.doors[id] = hw
	return nil
}

func (h *hardware) openReader(r configs.Reader) error {
	if r.Driver != "sim" {
		return notBuilt(r.Driver)
	}
	reader := sim.NewReader(r.ID)
	h.sim.readers[gateway.ReaderID(r.ID)] = reader
	h.readers = append(h.readers, openReader{gateway.ReaderID(r.ID), gateway.DoorID(r.Door), reader})
	return nil
}

// Close leaves every door secured.
func (h *hardware) Close() error {
	var errs []error
	for _, c := range h.closers {
		errs = append(errs, c.Close())
	}
	return errors.Join(errs...)
}

// SecureAll secures every strike of a configuration and nothing else. It takes no lock
// and opens no database, so that it works while the daemon is dead or hung (F2).
func SecureAll(ctx context.Context, file string) (n int, err error) {
	cfg, err := configs.Load(file, LoadOpts)
	if err != nil {
		return 0, err
	}
	h, err := openHardware(ctx, cfg)
	if err != nil {
		return 0, err
	}
	return len(h.doors), h.Close()
}

// Missing names the drivers that a configuration asks for and this version has not.
func Missing(cfg *configs.Config) []string {
	var list []string
	add := func(at, driver string) {
		if driver != "sim" {
			list = append(list, fmt.Sprintf("%s: %v", at, notBuilt(driver)))
		}
	}
	for _, d := range cfg.Doors {
		if d.Strike != nil {
			add("door "+d.ID, d.Strike.Driver)
		} else {
			add("door "+d.ID, d.Lock.Driver)
		}
	}
	for _, r := range cfg.Readers {
		add("reader "+r.ID, r.Driver)
	}
	return list
}
