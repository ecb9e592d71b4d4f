package hardware

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"time"

	"gardien/configs"
	"gardien/drivers/evdev"
	"gardien/drivers/serial"
	"gardien/drivers/sim"
	"gardien/gateway"
	"gardien/gateway/doors"
)

// Devices is the opened devices of a house.
type Devices struct {
	Doors   map[gateway.DoorID]doors.Hardware
	Readers []Reader
	Inputs  []Input
	Tampers []Tamper
	Pairing gateway.REX // the button that lets a device pair; nil: there is none
	Sim     Sim

	closers []io.Closer
	log     *slog.Logger
	cfg     *configs.Config
}

// Reader is a reader and its door.
type Reader struct {
	ID     gateway.ReaderID
	Door   gateway.DoorID
	Device gateway.Reader
}

// Input is a button of a door, which may go away and come back.
type Input struct {
	Door   gateway.DoorID
	Device interface {
		gateway.Monitored
		fmt.Stringer
	}
}

// Tamper is a reader's case switch.
type Tamper struct {
	Reader gateway.ReaderID
	Door   gateway.DoorID
	Device gateway.REX
}

// Sim is what the sim routes move.
type Sim struct {
	Doors    map[gateway.DoorID]*sim.Door
	Contacts map[gateway.DoorID]*sim.Contact
	REX      map[gateway.DoorID]*sim.REX
	Readers  map[gateway.ReaderID]*sim.Reader
}

func newDevices(cfg *configs.Config, log *slog.Logger) *Devices {
	return &Devices{Doors: map[gateway.DoorID]doors.Hardware{}, log: log, cfg: cfg, Sim: Sim{
		map[gateway.DoorID]*sim.Door{}, map[gateway.DoorID]*sim.Contact{}, map[gateway.DoorID]*sim.REX{}, map[gateway.ReaderID]*sim.Reader{}}}
}

// Open secures every strike, and then opens what else there is. An error says that another
// gardiend has the strikes: they have one owner (F9).
func Open(ctx context.Context, cfg *configs.Config, log *slog.Logger) (*Devices, error) {
	h := newDevices(cfg, log)
	for _, err := range h.openLatches(ctx) {
		if errors.Is(err, errOwned) {
			return nil, errors.Join(err, h.Close())
		}
		log.Error("a door cannot be opened until this is mended", "err", err)
	}
	for i, d := range cfg.Doors {
		h.openInputs(fmt.Sprintf("doors[%d]", i), d)
	}
	if b := cfg.Pairing.Button; b != nil {
		h.Pairing = h.gpioButton("pairing.button", "", "pairing", "button", *b)
	}
	for i, r := range cfg.Readers {
		h.openReader(fmt.Sprintf("readers[%d]", i), r)
	}
	return h, nil
}

// missing tells of a device that is not there, or not as it should be.
func (h *Devices) missing(err error) {
	if err != nil {
		h.log.Error("a device does not work; it is tried again", "err", err)
	}
}

// openLatches opens strikes and locks. Strikes are secured at once. One that fails is a latch
// that does not work, and keeps no other from it.
func (h *Devices) openLatches(ctx context.Context) (errs []error) {
	for i, d := range h.cfg.Doors {
		hw, err := h.openLatch(ctx, fmt.Sprintf("doors[%d]", i), d)
		if err != nil {
			errs = append(errs, err)
		}
		h.Doors[gateway.DoorID(d.ID)] = hw
	}
	return errs
}

func notBuilt(driver string) error {
	return fmt.Errorf("driver %q is not in this version of gardiend", driver)
}

func (h *Devices) openLatch(ctx context.Context, at string, d configs.Door) (hw doors.Hardware, err error) {
	switch {
	case d.Strike != nil && d.Strike.Driver == "gpio":
		hw.Strike, err = h.gpioStrike(at+".strike", d)
		return hw, err
	case d.Lock != nil && d.Lock.Driver != "sim":
		err = h.cfg.Problem(at+".lock.driver", notBuilt(d.Lock.Driver).Error(), "use driver: sim")
		hw.Lock = absentLock{newAbsent(d.ID+" lock", err)}
		return hw, err
	}
	latch := sim.NewDoor(d.ID, nil)
	h.Sim.Doors[gateway.DoorID(d.ID)] = latch
	h.closers = append(h.closers, latch)
	if hw.Lock = latch; d.Strike != nil {
		hw.Strike, hw.Lock = latch, nil
	}
	return hw, latch.Secure(ctx)
}

func (h *Devices) openInputs(at string, d configs.Door) {
	id := gateway.DoorID(d.ID)
	hw := h.Doors[id]
	defer func() { h.Doors[id] = hw }()
	if c := d.Contact; c != nil && c.Driver == "sim" {
		h.Sim.Contacts[id] = sim.NewContact(d.ID + " contact")
		hw.Contact = h.Sim.Contacts[id]
	} else if c != nil {
		hw.Contact = h.gpioContact(at+".contact", d)
	}
	if r := d.REX; r != nil && r.Driver == "sim" {
		h.Sim.REX[id] = sim.NewREX(d.ID + " rex")
		hw.REX = h.Sim.REX[id]
	} else if r != nil {
		hw.REX = h.gpioButton(at+".rex", id, d.ID, "rex", configs.Button{Driver: r.Driver, Pin: r.Pin, Active: r.Active, Debounce: r.Debounce, Pull: r.Pull})
	}
	if b := d.Bell; b != nil {
		hw.Bell = h.gpioButton(at+".bell", id, d.ID, "bell", *b)
	}
	if l := d.Indicator; l != nil {
		hw.Indicators = append(hw.Indicators, h.gpioLamps(at+".indicator", d.ID, *l))
	}
	for i, r := range h.cfg.Readers {
		if r.Door != d.ID || r.Driver != "wiegand" || r.LED == "" && r.Beep == "" {
			continue
		}
		hw.Indicators = append(hw.Indicators, h.gpioLamps(fmt.Sprintf("readers[%d]", i), r.ID, configs.Lamps{Green: r.LED, Buzzer: r.Beep, Active: "low"}))
	}
}

func (h *Devices) openReader(at string, r configs.Reader) {
	id, door := gateway.ReaderID(r.ID), gateway.DoorID(r.Door)
	device, err := h.reader(at, r)
	if err != nil {
		device = absentReader{newAbsent(r.ID+" reader", err)}
	}
	h.Readers = append(h.Readers, Reader{id, door, device})
	if r.Tamper != nil {
		h.Tampers = append(h.Tampers, Tamper{id, door, h.gpioButton(at+".tamper", door, r.ID, "tamper", *r.Tamper)})
	}
}

func (h *Devices) reader(at string, r configs.Reader) (gateway.Reader, error) {
	switch r.Driver {
	case "sim":
		reader := sim.NewReader(r.ID)
		h.Sim.Readers[gateway.ReaderID(r.ID)] = reader
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

// closeWithin is how long a device may take to close: one that hangs keeps nobody from stopping.
const closeWithin = 2 * time.Second

// Close leaves every door secured.
func (h *Devices) Close() error {
	ended := make(chan error, len(h.closers))
	for _, c := range h.closers {
		go func() { ended <- c.Close() }()
	}
	late := time.NewTimer(closeWithin)
	defer late.Stop()
	var errs []error
	for range h.closers {
		select {
		case err := <-ended:
			if !errors.Is(err, gateway.ErrAbsent) { // what is not there is not released
				errs = append(errs, err)
			}
		case <-late.C:
			return errors.Join(append(errs, errors.New("a device does not close"))...)
		}
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
