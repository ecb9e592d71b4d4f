package gpio

import (
	"errors"
	"sync"
	"time"

	"periph.io/x/conn/v3/gpio"

	"gardien/gateway"
)

// ContactOpts of a Contact.
type ContactOpts struct {
	Name     string
	Closed   gpio.Level // level while the leaf is closed
	Pull     gpio.Pull
	Debounce time.Duration // for pins that do not debounce by themselves
	// Opposite is the other side of a changeover contact (supervision): it has the level
	// Closed while the leaf is open. Both alike for longer than it takes to change over is a
	// cut or shorted wire. nil: there is none.
	Opposite gpio.PinIn
	Lost     func(n int) // told of edges that the kernel lost; nil: nobody is
}

// changeover is how long both sides of a changeover contact may be alike.
const changeover = 500 * time.Millisecond

// Contact is a door position switch on a line. Its level is sampled whenever it is asked
// for (F5). It implements gateway.Contact.
type Contact struct {
	opts    ContactOpts
	pin     gpio.PinIn
	changes chan struct{}
	inputs  []*input

	mu    sync.Mutex
	state gateway.ContactState // the last that was consistent
	alike time.Time            // since when both sides are alike; zero: they are not
}

// NewContact takes the pins. An error says that one cannot be had now. The contact is good all
// the same: it tells ContactFault until the line is there.
func NewContact(pin gpio.PinIn, o ContactOpts) (*Contact, error) {
	var failed error
	c := &Contact{opts: o, pin: pin, changes: make(chan struct{}, 1), state: gateway.ContactUnknown}
	for _, p := range []gpio.PinIn{pin, o.Opposite} {
		if p == nil {
			continue
		}
		in := &input{pin: p, pull: o.Pull, debounce: o.Debounce, lost: o.Lost, wake: func(look) { c.changed() }}
		failed = errors.Join(failed, p.In(o.Pull, gpio.BothEdges))
		in.watch()
		c.inputs = append(c.inputs, in)
	}
	c.Contact()
	return c, failed
}

func (c *Contact) String() string { return describe("contact", c.opts.Name, c.pin) }

func (c *Contact) changed() {
	notify(c.changes)
	if c.Contact(); c.opts.Opposite != nil {
		c.mu.Lock()
		defer c.mu.Unlock()
		if !c.alike.IsZero() {
			time.AfterFunc(changeover, func() { notify(c.changes) })
		}
	}
}

// Contact implements gateway.Contact.
func (c *Contact) Contact() gateway.ContactState {
	c.mu.Lock()
	defer c.mu.Unlock()
	level, err := sample(c.pin)
	if err != nil {
		return gateway.ContactFault
	}
	state := gateway.ContactOpen
	if level == c.opts.Closed {
		state = gateway.ContactClosed
	}
	if c.opts.Opposite == nil {
		return state
	}
	other, err := sample(c.opts.Opposite)
	switch {
	case err != nil:
		return gateway.ContactFault
	case other != level:
		c.alike, c.state = time.Time{}, state
	case c.alike.IsZero():
		c.alike = time.Now()
	case time.Since(c.alike) >= changeover:
		return gateway.ContactFault
	}
	return c.state
}

// ContactChanges implements gateway.Contact.
func (c *Contact) ContactChanges() <-chan struct{} { return c.changes }

// Close gives the lines back.
func (c *Contact) Close() error {
	var err error
	for _, in := range c.inputs {
		if e := in.Close(); e != nil {
			err = e
		}
	}
	return err
}
