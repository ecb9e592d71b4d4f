package evdev

import (
	"context"
	"fmt"
	"os"
	"syscall"
	"time"

	"github.com/holoplot/go-evdev"

	"gardien/gateway"
)

// Kind is what a device is.
type Kind string

const (
	Keypad  Kind = "keypad"  // digits, and enter in place of '#'
	Scanner Kind = "scanner" // a code, and enter
)

// Opts of a Reader.
type Opts struct {
	Name   string
	Device string // path
	Kind   Kind
	Layout Layout
}

// Reader is a keyboard device. It implements gateway.Reader.
type Reader struct {
	opts Opts
}

// New makes a reader; nothing is opened before Read.
func New(o Opts) *Reader { return &Reader{o} }

func (r *Reader) String() string {
	return r.opts.Name + " " + string(r.opts.Kind) + " at " + r.opts.Device
}

// Read implements gateway.Reader.
func (r *Reader) Read(ctx context.Context, present func(context.Context, gateway.Credential)) error {
	d, err := evdev.OpenWithFlags(r.opts.Device, os.O_RDONLY)
	if err != nil {
		return fmt.Errorf("%s: %w", r, err)
	}
	defer d.Close()
	if err := d.Grab(); err != nil {
		if err.Error() == syscall.EBUSY.Error() { // the library gives the text alone
			err = fmt.Errorf("another program has grabbed it: %w", err)
		}
		return fmt.Errorf("%s: %w", r, err)
	}
	stop := context.AfterFunc(ctx, func() { d.Revoke() }) // ends a read
	defer stop()
	dec := decoder{kind: r.opts.Kind, layout: layouts[r.opts.Layout], us: r.opts.Layout == US}
	for {
		e, err := d.ReadOne()
		if ctx.Err() != nil {
			return nil
		}
		if err != nil {
			return fmt.Errorf("%s: %w", r, err)
		}
		if c, ok := dec.event(*e); ok {
			present(ctx, c)
		}
	}
}

// Close implements io.Closer.
func (r *Reader) Close() error { return nil }

// decoder turns input events into credentials. It is pure.
type decoder struct {
	kind    Kind
	layout  map[evdev.EvCode]char
	us      bool
	left    bool // shift is held
	right   bool
	caps    bool
	keys    gateway.Keypad
	line    gateway.ScanLine
	dropped bool // until the next report
}

func (d *decoder) event(e evdev.InputEvent) (gateway.Credential, bool) {
	if e.Type == evdev.EV_SYN {
		switch e.Code {
		case evdev.SYN_DROPPED: // the kernel had no room: what was typed is not whole
			d.dropped, d.left, d.right = true, false, false
			d.line.Spoil()
			d.keys.Press('*', instant(e))
		case evdev.SYN_REPORT:
			d.dropped = false
		}
		return nil, false
	}
	if e.Type != evdev.EV_KEY || d.dropped {
		return nil, false
	}
	switch e.Code {
	case evdev.KEY_LEFTSHIFT:
		d.left = e.Value != 0
		return nil, false
	case evdev.KEY_RIGHTSHIFT:
		d.right = e.Value != 0
		return nil, false
	case evdev.KEY_CAPSLOCK:
		d.caps = d.caps != (e.Value == 1)
		return nil, false
	}
	if e.Value != 1 { // let go, or repeated because it is held
		return nil, false
	}
	if d.kind == Keypad {
		return d.key(e)
	}
	return d.char(e)
}

// key takes a keypad's key.
func (d *decoder) key(e evdev.InputEvent) (gateway.Credential, bool) {
	k, ok := digits[e.Code]
	if !ok {
		k, ok = pad[e.Code]
	}
	switch {
	case !ok:
		return nil, false
	case d.us && (d.left || d.right) && e.Code == evdev.KEY_3: // some pads send # and * as an American keyboard does
		k = '#'
	case d.us && (d.left || d.right) && e.Code == evdev.KEY_8:
		k = '*'
	}
	if pin, ok := d.keys.Press(k, instant(e)); ok {
		return gateway.PINCredential{PIN: pin}, true
	}
	return nil, false
}

// char takes a scanner's character.
func (d *decoder) char(e evdev.InputEvent) (gateway.Credential, bool) {
	if e.Code == evdev.KEY_ENTER || e.Code == evdev.KEY_KPENTER {
		return d.line.Add('\n')
	}
	c := d.layout[e.Code]
	b := c.plain
	letter := b >= 'a' && b <= 'z'
	if shifted := d.left || d.right; shifted != (d.caps && letter) {
		b = c.shift
	}
	if b == 0 { // no character of a code: the code is not what it seems
		d.line.Spoil()
		return nil, false
	}
	return d.line.Add(b)
}

func instant(e evdev.InputEvent) time.Time {
	return time.Unix(int64(e.Time.Sec), int64(e.Time.Usec)*1000)
}
