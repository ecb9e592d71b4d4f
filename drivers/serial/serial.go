// Package serial reads scanners on a serial line, which write a code and an end of line
// (CR or LF). USB scanners do so in the mode "USB COM" or "virtual serial port".
//
// 8 data bits, no parity, one stop bit. A device that goes away ends [Reader.Read] with an
// error; it is opened again, by the same path, when Read is called again. Name it by
// /dev/serial/by-id: ttyUSBn changes.
package serial

import (
	"context"
	"errors"
	"fmt"
	"io"

	"go.bug.st/serial"

	"gardien/gateway"
)

// Opts of a Reader.
type Opts struct {
	Name   string
	Device string // path
	Baud   int    // bit/s
}

// Reader is a scanner. It implements gateway.Reader.
type Reader struct{ opts Opts }

// New makes a reader; nothing is opened before Read.
func New(o Opts) *Reader { return &Reader{o} }

func (r *Reader) String() string { return r.opts.Name + " scanner at " + r.opts.Device }

// Read implements gateway.Reader.
func (r *Reader) Read(ctx context.Context, present func(context.Context, gateway.Credential)) error {
	port, err := serial.Open(r.opts.Device, &serial.Mode{BaudRate: r.opts.Baud})
	if err != nil {
		return fmt.Errorf("%s: %w", r, err)
	}
	defer port.Close()
	stop := context.AfterFunc(ctx, func() { port.Close() }) // ends a read
	defer stop()
	return scan(ctx, r, port, present)
}

func scan(ctx context.Context, name fmt.Stringer, from io.Reader, present func(context.Context, gateway.Credential)) error {
	var line gateway.ScanLine
	buf := make([]byte, 512)
	for {
		n, err := from.Read(buf)
		for _, c := range buf[:n] {
			if c, ok := line.Add(c); ok && ctx.Err() == nil {
				present(ctx, c)
			}
		}
		switch {
		case ctx.Err() != nil:
			return nil
		case err != nil:
			return fmt.Errorf("%s: %w", name, err)
		case n == 0:
			return fmt.Errorf("%s: %w", name, errors.New("the device is gone"))
		}
	}
}

// Close implements io.Closer.
func (r *Reader) Close() error { return nil }
