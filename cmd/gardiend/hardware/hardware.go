package daemon

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"

	"gardien/configs"
	"gardien/drivers/evdev"
	"gardien/drivers/serial"
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
	log     *slog.Logger
	cfg     *configs.Config
	tampers []tamper
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

// openHardware secures every strike and lock, and then opens what else there is.
func openHardware(ctx context.Context, cfg *configs.Config, log *slog.Logger) (*hardware, error) {
	h := &hardware{doors: map[gateway.DoorID]doors.Hardware{}, log: log, cfg: cfg, sim: simDevices{
		map[gateway.DoorID]*sim.Door{}, map[gateway.DoorID]*sim.Contact{}, map[gateway.DoorID]*sim.REX{}, map[gateway.ReaderID]*sim.Reader{}}}
	errs := h.openLatches(ctx)
	for i, d := range cfg.Doors {
		if err := h.openInputs(fmt.Sprintf("doors[%d]", i), d); err != nil {
			errs = append(errs, err)
		}
	}
	for i, r := range cfg.Readers {
		if err := h.openReader(fmt.Sprintf("readers[%d]", i), r); err != nil {
			errs = append(errs, err)
		}
	}
	if len(errs) > 0 {
		return nil, errors.Join(errors.Join(errs...), h.Close())
	}
	return h, nil
}

// openLatches opens strikes and locks, each of which is secured at once. One that fails
// keeps no other from it.
func (h *hardware) openLatches(ctx context.Context) (errs []error) {
	for i, d := range h.cfg.Doors {
		hw, err := h.openLatch(ctx, fmt.Sprintf("doors[%d]", i), d)
		if err != nil {
			errs = append(errs, err)
			continue
		}
		h.doors[gateway.DoorID(d.ID)] = hw
	}
	return errs
}

func notBuilt(driver string) error {
	return fmt.Errorf("driver %q is not in this version of gardiend", driver)
}

func (h *hardware) openLatch(ctx context.Context, at string, d configs.Door) (hw doors.Hardware, err error) {
	switch {
	case d.Strike != nil && d.Strike.Driver == "gpio":
		hw.Strike, err = h.gpioStrike(at+".strike", d)
		return hw, err
	case d.Lock != nil && d.Lock.Driver != "sim":
		return hw, h.cfg.Problem(at+".lock.driver", notBuilt(d.Lock.Driver).Error(), "use driver: sim")
	}
	latch := sim.NewDoor(d.ID, nil)
	h.sim.doors[gateway.DoorID(d.ID)] = latch
	h.closers = append(h.closers, latch)
	if hw.Lock = latch; d.Strike != nil {
		hw.Strike, hw.Lock = latch, nil
	}
	return hw, latch.Secure(ctx)
}

func (h *hardware) openInputs(at string, d configs.Door) error {
	id := gateway.DoorID(d.ID)
	hw := h.doors[id]
	defer func() { h.doors[id] = hw }()
	var errs []error
	if c := d.Contact; c != nil && c.Driver == "sim" {
		h.sim.contacts[id] = sim.NewContact(d.ID + " contact")
		hw.Contact = h.sim.contacts[id]
	} else if c != nil {
		contact, err := h.gpioContact(at+".contact", d)
		hw.Contact, errs = contact, append(errs, err)
	}
	if r := d.REX; r != nil && r.Driver == "sim" {
		h.sim.rex[id] = sim.NewREX(d.ID + " rex")
		hw.REX = h.sim.rex[id]
	} else if r != nil {
		rex, err := h.gpioButton(at+".rex", d.ID, "rex", configs.Button{Driver: r.Driver, Pin: r.Pin, Active: r.Active, Debounce: r.Debounce, Pull: r.Pull})
		hw.REX, errs = rex, append(errs, err)
	}
	if b := d.Bell; b != nil {
		bell, err := h.gpioButton(at+".bell", d.ID, "bell", *b)
		hw.Bell, errs = bell, append(errs, err)
	}
	if l := d.Indicator; l != nil {
		lamps, err := h.gpioLamps(at+".indicator", d.ID, *l)
		hw.Indicators, errs = append(hw.Indicators, lamps), append(errs, err)
	}
	for i, r := range h.cfg.Readers {
		if r.Door != d.ID || r.Driver != "wiegand" || r.LED == "" && r.Beep == "" {
			continue
		}
		lamps, err := h.gpioLamps(fmt.Sprintf("readers[%d]", i), r.ID, configs.Lamps{Green: r.LED, Buzzer: r.Beep, Active: "low"})
		hw.Indicators, errs = append(hw.Indicators, lamps), append(errs, err)
	}
	return errors.Join(errs...)
}

func (h *hardware) openReader(at string, r configs.Reader) error {
	reader, err := h.reader(at, r)
	if err != nil {
		return err
	}
	h.readers = append(h.readers, openReader{gateway.ReaderID(r.ID), gateway.DoorID(r.Door), reader})
	if r.Tamper == nil {
		return nil
	}
	button, err := h.gpioButton(at+".tamper", r.ID, "tamper", *r.Tamper)
	h.tampers = append(h.tampers, tamper{gateway.ReaderID(r.ID), gateway.DoorID(r.Door), button})
	return err
}

func (h *hardware) reader(at string, r configs.Reader) (gateway.Reader, error) {
	switch r.Driver {
	case "sim":
		reader := sim.NewReader(r.ID)
		h.sim.readers[gateway.ReaderID(r.ID)] = reader
		return reader, nil
	case "wiegand":
		return h.wiegand(r), nil
	case "keypad":
		return h.keypad(r)
	case "evdev":
		return evdev.New(evdev.Opts{Name: r.ID, Device: r.Device, Kind: evdev.Kind(r.Kind), Layout: evdev.Layout(r.Layout)}), nil
	case "serial":
		return serial.New(serial.Opts{Name: r.ID, Device: r.Device, Baud: r.Baud}), nil
	}
	return nil, h.cfg.Problem(at+".driver", notBuilt(r.Driver).Error(), "use driver: sim")
}

// Close leaves every door secured.
func (h *hardware) Close() error {
	var errs []error
	for _, c := range h.closers {
		errs = append(errs, c.Close())
	}
	return errors.Join(errs...)
}

// Missing names the drivers that a configuration asks for and this version has not.
func Missing(cfg *configs.Config) (list []string) {
	for _, d := range cfg.Doors {
		if d.Lock != nil && d.Lock.Driver != "sim" {
			list = append(list, fmt.Sprintf("door %s: %v", d.ID, notBuilt(d.Lock.Driver)))
		}
	}
	return list
}
