package configs

import (
	"fmt"
	"slices"
	"strings"

	"gardien/gateway"
)

// Wire is a line that the configuration names.
type Wire struct {
	Key string // of the configuration, as in doors[0].strike.pin
	Pin gateway.Line
}

// named is a key that names a line, or ought to.
type named struct {
	key, pin string
	missing  string // what to do where there is none; "" where it may be left out
	driver   string
}

func (n *named) wired() bool { return slices.Contains([]string{"gpio", "wiegand", "keypad"}, n.driver) }

// Wires gives every line of the configuration, which Load has checked.
func (c *Config) Wires() (list []Wire) {
	for _, n := range c.named() {
		if p, err := gateway.ParseLine(n.pin); err == nil && n.wired() {
			list = append(list, Wire{n.key, p})
		}
	}
	return list
}

func (c *Config) named() (list []named) {
	add := func(driver, key, pin, missing string) {
		list = append(list, named{key, pin, missing, driver})
	}
	const line = "name the GPIO line, as in pin: GPIO17"
	if b := c.Pairing.Button; b != nil {
		add(b.Driver, "pairing.button.pin", b.Pin, line)
	}
	for i, d := range c.Doors {
		at := fmt.Sprintf("doors[%d]", i)
		if s := d.Strike; s != nil {
			add(s.Driver, at+".strike.pin", s.Pin, line)
			add(s.Driver, at+".strike.feedback", s.Feedback, "")
		}
		if s := d.Contact; s != nil {
			add(s.Driver, at+".contact.pin", s.Pin, line)
			add(s.Driver, at+".contact.opposite", s.Opposite, "")
		}
		if s := d.REX; s != nil {
			add(s.Driver, at+".rex.pin", s.Pin, line)
		}
		if s := d.Bell; s != nil {
			add(s.Driver, at+".bell.pin", s.Pin, line)
		}
		if s := d.Indicator; s != nil {
			add(s.Driver, at+".indicator.green", s.Green, "")
			add(s.Driver, at+".indicator.red", s.Red, "")
			add(s.Driver, at+".indicator.buzzer", s.Buzzer, "")
		}
	}
	for i, r := range c.Readers {
		at := fmt.Sprintf("readers[%d]", i)
		if r.Driver == "wiegand" {
			add(r.Driver, at+".d0", r.D0, "name the GPIO line of DATA0, as in d0: GPIO5")
			add(r.Driver, at+".d1", r.D1, "name the GPIO line of DATA1, as in d1: GPIO6")
			add(r.Driver, at+".led", r.LED, "")
			add(r.Driver, at+".beep", r.Beep, "")
		}
		if r.Driver == "keypad" {
			for j, p := range r.Rows {
				add(r.Driver, fmt.Sprintf("%s.rows[%d]", at, j), p, "name the GPIO line of the row")
			}
			for j, p := range r.Columns {
				add(r.Driver, fmt.Sprintf("%s.columns[%d]", at, j), p, "name the GPIO line of the column")
			}
		}
		if r.Tamper != nil {
			add(r.Tamper.Driver, at+".tamper.pin", r.Tamper.Pin, line)
		}
	}
	return list
}

// pins checks the names of lines, that none is used twice, and that none lets a strike go
// while the computer starts (F3).
func (l *loader) pins(c *Config, bad func(key, problem, remedy string)) {
	used := map[gateway.Line]string{}
	for _, n := range c.named() {
		switch {
		case n.driver == "sim" && n.pin != "":
			bad(n.key, "a simulated device has no pin", "remove it, or choose driver: gpio")
			continue
		case !n.wired() || n.pin == "" && n.missing == "":
			continue
		case n.pin == "":
			bad(n.key, "missing", n.missing)
			continue
		}
		p, err := gateway.ParseLine(n.pin)
		if err != nil {
			problem, remedy, _ := strings.Cut(err.Error(), ": ")
			bad(n.key, problem, remedy)
			continue
		}
		if other, ok := used[p]; ok {
			bad(n.key, fmt.Sprintf("%s is the line of %s already (line %d)", p, other, l.lines[other]), "give each its own line")
		}
		used[p] = n.key
	}
	for i, d := range c.Doors {
		if s := d.Strike; s != nil && s.Driver == "gpio" && s.AtReset != "accept" {
			l.atReset(fmt.Sprintf("doors[%d].strike.pin", i), s, bad)
		}
	}
	for i, r := range c.Readers {
		if r.Driver == "keypad" {
			l.matrix(fmt.Sprintf("readers[%d]", i), r, bad)
		}
	}
}

// atReset refuses a line whose pull resistor releases the strike from power-on until
// gardiend runs.
func (l *loader) atReset(key string, s *Strike, bad func(key, problem, remedy string)) {
	p, err := gateway.ParseLine(s.Pin)
	if err != nil {
		return
	}
	high, known := p.HighAtReset()
	if !known || s.Active != map[bool]string{true: "high", false: "low"}[high] {
		return
	}
	if high {
		bad(key, fmt.Sprintf("%s is pulled high from power-on, and high releases this strike", p),
			"take one of GPIO9 to GPIO27, or, if a resistor of yours holds the line low, say at_reset: accept")
		return
	}
	bad(key, fmt.Sprintf("%s is pulled low from power-on, and low releases this strike", p),
		"take one of GPIO0 to GPIO8, or, if the relay board holds the line high, say at_reset: accept")
}

// matrix checks a keypad's rows, columns and keys.
func (l *loader) matrix(at string, r Reader, bad func(key, problem, remedy string)) {
	if len(r.Rows) == 0 {
		bad(at+".rows", "missing", "name the GPIO lines of the rows, from the top, as in rows: [GPIO5, GPIO6, GPIO13, GPIO19]")
	}
	if len(r.Columns) == 0 {
		bad(at+".columns", "missing", "name the GPIO lines of the columns, from the left, as in columns: [GPIO12, GPIO16, GPIO20]")
	}
	if len(r.Rows) > 8 || len(r.Columns) > 8 {
		bad(at+".rows", "a keypad has at most 8 rows and 8 columns", "name those of the keys only")
	}
	if keys := r.KeyNames(); len(keys) != len(r.Rows)*len(r.Columns) && len(r.Rows) > 0 && len(r.Columns) > 0 {
		bad(at+".keys", fmt.Sprintf("%d keys for %d rows and %d columns", len(keys), len(r.Rows), len(r.Columns)),
			`name each, row by row, as in keys: "123456789*0#"`)
	} else if strings.Trim(keys, "0123456789*#ABCD-") != "" {
		bad(at+".keys", fmt.Sprintf("%q has other keys than 0 to 9, *, # and A to D", keys), "write - for a key that does nothing")
	}
}

// KeyNames gives a keypad's keys, row by row: those of the usual pads where none are named.
func (r *Reader) KeyNames() string {
	switch {
	case r.Keys != "":
		return r.Keys
	case len(r.Rows) == 4 && len(r.Columns) == 3:
		return "123456789*0#"
	case len(r.Rows) == 4 && len(r.Columns) == 4:
		return "123A456B789C*0#D"
	}
	return ""
}
