package gpio

import (
	"fmt"
	"sync"
	"time"

	"periph.io/x/conn/v3/gpio"

	"gardien/gateway"
)

// ButtonOpts of a Button.
type ButtonOpts struct {
	Name, Kind string     // for the log: "front", "rex"
	Active     gpio.Level // level while it is pressed
	Pull       gpio.Pull
	Debounce   time.Duration // for pins that do not debounce by themselves
	Lost       func(n int)   // told of edges that the kernel lost; nil: nobody is
}

// Button is an input that asks for something when it becomes active: a request to exit, a
// bell, a tamper switch. It implements gateway.REX. One that is active at the start asks
// for nothing until it was let go; one that is stuck asks once. It implements
// gateway.Monitored, too.
type Button struct {
	opts     ButtonOpts
	in       *input
	requests chan struct{}
	was      gpio.Level

	mu     sync.Mutex
	fault  error
	faults chan struct{}
}

// NewButton takes the pin. An error says that it cannot be had now. The button is good all the
// same: that is its Fault until the line is there.
func NewButton(pin gpio.PinIn, o ButtonOpts) (*Button, error) {
	b := &Button{opts: o, requests: make(chan struct{}, 1), faults: make(chan struct{}, 1), was: o.Active}
	b.in = &input{pin: pin, pull: o.Pull, debounce: o.Debounce, lost: o.Lost, wake: b.changed}
	err := pin.In(o.Pull, gpio.BothEdges)
	if err == nil {
		b.was = pin.Read()
	}
	b.tell(err)
	b.in.watch()
	return b, err
}

// tell notes whether the line can be read.
func (b *Button) tell(err error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if (err != nil) != (b.fault != nil) {
		notify(b.faults)
	}
	if b.fault = nil; err != nil {
		b.fault = fmt.Errorf("%s: %w: %w", b, gateway.ErrAbsent, err)
	}
}

// Fault implements gateway.Monitored.
func (b *Button) Fault() error {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.fault
}

// FaultChanges implements gateway.Monitored.
func (b *Button) FaultChanges() <-chan struct{} { return b.faults }

func (b *Button) String() string { return describe(b.opts.Kind, b.opts.Name, b.in.pin) }

func (b *Button) changed(l look) {
	if b.tell(l.err); l.err != nil {
		return
	}
	pressed := l.level == b.opts.Active && b.was != b.opts.Active
	// Pressed and let go since the last look: the kernel's thread may read both edges' level
	// after the second, so that their number tells, not their direction.
	pressed = pressed || len(l.edges) > 1 && b.was != b.opts.Active
	b.was = l.level
	if pressed {
		notify(b.requests)
	}
}

// Requests implements gateway.REX.
func (b *Button) Requests() <-chan struct{} { return b.requests }

// Close gives the line back.
func (b *Button) Close() error { return b.in.Close() }
