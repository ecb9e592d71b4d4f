package hardware

import (
	"errors"
	"fmt"
	"io/fs"
	"strings"
	"sync"
	"time"

	"gardien/configs"
	"gardien/drivers/gpio"
	"gardien/drivers/keypad"
	"gardien/drivers/wiegand"
	"gardien/gateway"
)

// The devices on GPIO lines.

// line names a line of the configuration; it is requested by its driver.
func (h *Devices) line(pin, name, kind string, debounce configs.Duration, more ...string) *gpio.Line {
	var pins []gateway.Line
	for _, s := range append([]string{pin}, more...) {
		p, err := gateway.ParseLine(s)
		if err != nil {
			panic(err) // Load has checked it
		}
		pins = append(pins, p)
	}
	return gpio.NewLine(gpio.LineOpts{Consumer: consumer + name + " " + kind, Debounce: time.Duration(debounce)}, pins...)
}

// consumer begins the name under which the kernel shows our lines.
const consumer = "gardien "

// wrong says what is wrong with a line, where in the configuration, and what to do.
func wrong(cfg *configs.Config, key string, err error) error {
	if err == nil {
		return nil
	}
	remedy := "name a line that this machine has; gpioinfo lists them"
	switch {
	case errors.Is(err, gpio.ErrNoChip):
		remedy = "run gardiend on a Raspberry Pi, or use driver: sim"
	case errors.Is(err, fs.ErrPermission):
		remedy = "on Raspberry Pi OS: sudo adduser gardien gpio"
	case gpio.Busy(err):
		remedy = "a second gardiend? systemctl status gardiend; gpioinfo shows who holds which line"
	}
	return cfg.Problem(key, err.Error(), remedy)
}

func (h *Devices) gpioStrike(at string, d configs.Door) (gateway.Strike, error) {
	s := d.Strike
	p, err := gateway.ParseLine(s.Pin)
	if err != nil { // of a configuration that secure-all reads, however wrong it is
		err = h.cfg.Problem(at+".pin", err.Error(), "gardiend --check")
	} else if err = releasedAtReset(p, s); err != nil {
		err = h.cfg.Problem(at+".pin", err.Error(), resetRemedy)
	}
	if err != nil {
		return absentStrike{newAbsent(d.ID+" strike", err)}, err
	}
	o := gpio.StrikeOpts{Name: d.ID, Active: gpio.LevelOf(s.Active)}
	if s.Feedback != "" {
		o.Feedback = h.line(s.Feedback, d.ID, "feedback", 0)
		o.FeedbackActive, o.FeedbackPull = gpio.LevelOf(s.FeedbackActive), gpio.PullOf(s.FeedbackPull)
	}
	strike, err := gpio.NewStrike(h.line(s.Pin, d.ID, "strike", 0), o)
	h.closers = append(h.closers, strike)
	if gpio.Busy(err) && isOurs(p) {
		return strike, fmt.Errorf("%w: %w", errOwned, wrong(h.cfg, at+".pin", err))
	}
	return strike, wrong(h.cfg, at+".pin", err)
}

// errOwned says that another gardiend has a strike's line.
var errOwned = errors.New("another gardiend has it")

// isOurs reports whether a gardiend holds a line.
func isOurs(p gateway.Line) bool {
	a, err := gpio.Find(p)
	return err == nil && strings.HasPrefix(gpio.Holder(a), consumer)
}

const resetRemedy = "take another line, or, if the board holds this one itself, say at_reset: accept"

// releasedAtReset holds F3 against the kernel's own name of a line: gpiochip0:4 may be GPIO4.
func releasedAtReset(p gateway.Line, s *configs.Strike) error {
	a, err := gpio.Find(p)
	if err != nil || !gateway.IsHeaderChip(a.Label) || s.AtReset == "accept" {
		return nil
	}
	if high, known := (gateway.Line{Header: a.Offset}).HighAtReset(); known && a.Offset < gateway.HeaderPins && high == (s.Active == "high") {
		return fmt.Errorf("%s is GPIO%d, whose resistor releases this strike from power-on", p, a.Offset)
	}
	return nil
}

func (h *Devices) gpioContact(at string, d configs.Door) gateway.Contact {
	c := d.Contact
	o := gpio.ContactOpts{Name: d.ID, Closed: gpio.LevelOf(c.Closed), Pull: gpio.PullOf(c.Pull), Lost: h.lost(d.ID + " contact")}
	if c.Opposite != "" {
		o.Opposite = h.line(c.Opposite, d.ID, "opposite", c.Debounce)
	}
	contact, err := gpio.NewContact(h.line(c.Pin, d.ID, "contact", c.Debounce), o)
	h.missing(wrong(h.cfg, at+".pin", err))
	h.closers = append(h.closers, contact)
	return contact
}

func (h *Devices) gpioButton(at string, door gateway.DoorID, name, kind string, b configs.Button) *gpio.Button {
	button, err := gpio.NewButton(h.line(b.Pin, name, kind, b.Debounce), gpio.ButtonOpts{Name: name, Kind: kind, Active: gpio.LevelOf(b.Active), Pull: gpio.PullOf(b.Pull),
		Lost: h.lost(name + " " + kind)})
	h.missing(wrong(h.cfg, at+".pin", err))
	h.closers = append(h.closers, button)
	h.Inputs = append(h.Inputs, Input{door, button})
	return button
}

func (h *Devices) gpioLamps(at, name string, l configs.Lamps) *gpio.Lamps {
	o := gpio.LampsOpts{Name: name, Active: gpio.LevelOf(l.Active)}
	if l.Green != "" {
		o.Green = h.line(l.Green, name, "green", 0)
	}
	if l.Red != "" {
		o.Red = h.line(l.Red, name, "red", 0)
	}
	if l.Buzzer != "" {
		o.Buzzer = h.line(l.Buzzer, name, "buzzer", 0)
	}
	lamps, err := gpio.NewLamps(o)
	h.missing(wrong(h.cfg, at, err))
	h.closers = append(h.closers, lamps)
	return lamps
}

// dataLines is two lines as the wiegand driver sees them.
type dataLines struct{ *gpio.Line }

func (l dataLines) Open() error { return l.OnFalling(gpio.PullOf("up")) }

func (l dataLines) Next(deadline time.Time) (int, time.Duration, uint32, error) {
	e, err := l.NextEdge(deadline)
	return e.Line, e.At, e.Seq, err
}

// keypad is a bare matrix on GPIO lines.
func (h *Devices) keypad(r configs.Reader) (gateway.Reader, error) {
	var rows []gpio.Pin
	var columns []gpio.PinIn
	for _, p := range r.Rows {
		rows = append(rows, h.line(p, r.ID, "row", 0))
	}
	for _, p := range r.Columns {
		columns = append(columns, h.line(p, r.ID, "column", 0))
	}
	pad, err := keypad.New(rows, columns, keypad.Opts{Name: r.ID, Keys: r.KeyNames()})
	if err == nil {
		h.closers = append(h.closers, pad)
	}
	return pad, err
}

func (h *Devices) wiegand(r configs.Reader) gateway.Reader {
	reader := wiegand.New(dataLines{h.line(r.D0, r.ID, "wiegand", 0, r.D1)}, wiegand.Opts{Name: r.ID, Dropped: h.dropped(r.ID)})
	h.closers = append(h.closers, reader)
	return reader
}

// dropped tells of frames that a reader dropped.
func (h *Devices) dropped(reader string) func(why string) {
	var c counted
	return func(why string) {
		c.add(1, func(n int) {
			h.log.Warn("a reader's frames were dropped: noise on its cable, or a format that is not read", "reader", reader, "frames", n, "last", why)
		})
	}
}

// lost tells of edges that an input lost.
func (h *Devices) lost(input string) func(n int) {
	var c counted
	return func(n int) {
		c.add(n, func(n int) {
			h.log.Warn("an input's edges were lost: its wire swings faster than the kernel serves it; its level is right, but something may have happened unseen", "input", input, "edges", n)
		})
	}
}

// counted tells of many alike: the first at once, and then how many there were, once a minute.
type counted struct {
	mu   sync.Mutex
	next time.Time
	n    int
}

func (c *counted) add(n int, tell func(n int)) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.n += n
	if now := time.Now(); now.After(c.next) {
		tell(c.n)
		c.n, c.next = 0, now.Add(time.Minute)
	}
}
