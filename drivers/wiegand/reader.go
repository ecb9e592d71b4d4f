package wiegand

import (
	"context"
	"errors"
	"fmt"
	"os"
	"time"

	"gardien/gateway"
)

// Lines is the two data lines of a reader.
type Lines interface {
	// Open takes the lines, pulled up, and begins to collect falling edges.
	Open() error
	// Next waits for a falling edge until a deadline: on which line (0: DATA0), when by the
	// kernel's monotonic clock, and its number over both lines. It gives
	// os.ErrDeadlineExceeded, or what became of the lines.
	Next(deadline time.Time) (line int, at time.Duration, seq uint32, err error)
	// Halt ends a wait.
	Halt() error
	Close() error
	String() string
}

// Opts of a Reader.
type Opts struct {
	Name string
	// Dropped is told why a frame was dropped; nil: nobody is. It never gets what was in it.
	Dropped func(why string)
}

// Reader is a keypad or card reader. It implements gateway.Reader.
type Reader struct {
	opts  Opts
	lines Lines
}

// New makes a reader; nothing is opened before Read.
func New(lines Lines, o Opts) *Reader {
	if o.Dropped == nil {
		o.Dropped = func(string) {}
	}
	return &Reader{o, lines}
}

func (r *Reader) String() string { return r.opts.Name + " wiegand on " + r.lines.String() }

// idle is how often the lines are asked for a sign of life without an edge.
const idle = 30 * time.Second

// Read implements gateway.Reader.
func (r *Reader) Read(ctx context.Context, present func(context.Context, gateway.Credential)) error {
	if err := r.lines.Open(); err != nil {
		return fmt.Errorf("%s: %w", r, err)
	}
	stop := context.AfterFunc(ctx, func() { r.lines.Halt() })
	defer stop()
	var d Decoder
	var keys gateway.Keypad
	take := func(f Frame, why string, at time.Duration) {
		c, err := credentialOf(f, why, at, &keys)
		switch {
		case err != nil:
			r.opts.Dropped(err.Error())
		case c != nil:
			present(ctx, c)
		}
	}
	var last time.Duration
	for ctx.Err() == nil {
		wait := idle
		if d.Running() {
			wait = FrameEnd
		}
		line, at, seq, err := r.lines.Next(time.Now().Add(wait))
		switch {
		case ctx.Err() != nil:
		case errors.Is(err, os.ErrDeadlineExceeded):
			if f, why, ok := d.End(); ok {
				take(f, why, last)
			}
		case err != nil:
			return fmt.Errorf("%s: %w", r, err)
		default:
			f, why, ok := d.Bit(Bit{line == 1, at, seq})
			if ok {
				take(f, why, last)
			}
			last = max(last, at)
		}
	}
	return nil
}

// credentialOf reads a frame; a key is kept until it ends an entry (P5).
func credentialOf(f Frame, why string, at time.Duration, keys *gateway.Keypad) (gateway.Credential, error) {
	if why != "" {
		return nil, errors.New(why)
	}
	key, card, err := Parse(f)
	if err != nil {
		return nil, err
	}
	if key == 0 {
		return gateway.CardCredential{Card: card}, nil
	}
	if pin, ok := keys.Press(key, time.Unix(0, int64(at))); ok {
		return gateway.PINCredential{PIN: pin}, nil
	}
	return nil, nil
}

// Close gives the lines back.
func (r *Reader) Close() error { return r.lines.Close() }
