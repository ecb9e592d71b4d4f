package keypad

import (
	"context"
	"errors"
	"fmt"
	"io"
	"sync"
	"time"

	"periph.io/x/conn/v3/gpio"

	"gardien/gateway"
)

// Opts of a Pad.
type Opts struct {
	Name string
	Keys string // row by row; '0' to '9', '*' and '#' count, others do nothing
}

const (
	debounce = 15 * time.Millisecond // a key bounces for 5 to 10 ms
	held     = 20 * time.Millisecond // how often a key that is down is looked at
	settle   = time.Millisecond      // a column rises through some 50 kΩ, against the cable's capacity
	idle     = 30 * time.Second      // how often the lines are asked for a sign of life
)

// Pad is a matrix keypad. It implements gateway.Reader.
type Pad struct {
	opts    Opts
	rows    []gpio.PinIO
	columns []gpio.PinIn
}

// New makes a reader; no line is taken before Read.
func New(rows []gpio.PinIO, columns []gpio.PinIn, o Opts) (*Pad, error) {
	if len(o.Keys) != len(rows)*len(columns) || len(o.Keys) == 0 {
		return nil, fmt.Errorf("%s: %d keys for %d rows and %d columns", o.Name, len(o.Keys), len(rows), len(columns))
	}
	return &Pad{o, rows, columns}, nil
}

func (p *Pad) String() string { return fmt.Sprintf("%s keypad on %s…", p.opts.Name, p.rows[0]) }

// Read implements gateway.Reader.
func (p *Pad) Read(ctx context.Context, present func(context.Context, gateway.Credential)) (err error) {
	if err := p.rest(); err != nil {
		return err
	}
	for _, c := range p.columns {
		if err := c.In(gpio.PullUp, gpio.BothEdges); err != nil {
			return fmt.Errorf("%s: %w", p, err)
		}
	}
	ctx, cancel := context.WithCancel(ctx)
	wake := make(chan struct{}, 1)
	var watching sync.WaitGroup
	for _, c := range p.columns {
		watching.Go(func() { watch(ctx, c, wake) })
	}
	defer func() {
		cancel()
		for _, c := range p.columns {
			c.Halt()
		}
		watching.Wait()
		if ctx.Err() != nil && errors.Is(err, context.Canceled) {
			err = nil
		}
	}()
	return p.scan(ctx, wake, present)
}

// watch leaves a token for each sign of a change on a column.
func watch(ctx context.Context, c gpio.PinIn, wake chan<- struct{}) {
	for ctx.Err() == nil {
		if !c.WaitForEdge(idle) && ctx.Err() == nil {
			pause(ctx, debounce) // a line that fails gives no edge at once
		}
		select {
		case wake <- struct{}{}:
		default:
		}
	}
}

// pause waits; false says that ctx has ended.
func pause(ctx context.Context, d time.Duration) bool {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-ctx.Done():
		return false
	case <-t.C:
		return true
	}
}

func (p *Pad) scan(ctx context.Context, wake <-chan struct{}, present func(context.Context, gateway.Credential)) error {
	var keys gateway.Keypad
	down := byte(0) // the key that counts until all are let go
	for {
		if down == 0 {
			select {
			case <-ctx.Done():
				return ctx.Err()
			case <-wake:
			}
			if !pause(ctx, debounce) {
				return ctx.Err()
			}
		} else if !pause(ctx, held) {
			return ctx.Err()
		}
		key, n, err := p.pressed(ctx)
		if err != nil {
			return err
		}
		switch {
		case n == 0:
			down = 0
		case down == 0 && n == 1:
			down = key
			if pin, ok := keys.Press(key, time.Now()); ok {
				present(ctx, gateway.PINCredential{PIN: pin})
			}
		case n > 1:
			down = '-' // until all are let go
		}
	}
}

// pressed gives the key that is down, and how many are.
func (p *Pad) pressed(ctx context.Context) (key byte, n int, err error) {
	any, err := p.low()
	if err != nil || len(any) == 0 {
		return 0, 0, err
	}
	defer func() { err = errors.Join(err, p.rest()) }()
	for _, r := range p.rows {
		if err := r.In(gpio.Float, gpio.NoEdge); err != nil {
			return 0, 0, fmt.Errorf("%s: %w", p, err)
		}
	}
	pause(ctx, settle)
	for i, r := range p.rows {
		if err := r.Out(gpio.Low); err != nil {
			return 0, 0, fmt.Errorf("%s: %w", p, err)
		}
		pause(ctx, settle)
		columns, err := p.low()
		if err != nil {
			return 0, 0, err
		}
		for _, c := range columns {
			key, n = p.opts.Keys[i*len(p.columns)+c], n+1
		}
		if err := r.In(gpio.Float, gpio.NoEdge); err != nil {
			return 0, 0, fmt.Errorf("%s: %w", p, err)
		}
		pause(ctx, settle)
	}
	return key, n, nil
}

// low gives the columns that are low now.
func (p *Pad) low() (list []int, err error) {
	for i, c := range p.columns {
		level := c.Read()
		if s, ok := c.(interface{ Sample() (gpio.Level, error) }); ok { // a line that can tell why not
			if level, err = s.Sample(); err != nil {
				return nil, fmt.Errorf("%s: %w", p, err)
			}
		}
		if level == gpio.Low {
			list = append(list, i)
		}
	}
	return list, nil
}

// rest drives all rows low.
func (p *Pad) rest() error {
	for _, r := range p.rows {
		if err := r.Out(gpio.Low); err != nil {
			return fmt.Errorf("%s: %w", p, err)
		}
	}
	return nil
}

// Close gives the lines back.
func (p *Pad) Close() error {
	for _, r := range p.rows {
		if c, ok := r.(io.Closer); ok {
			c.Close()
		}
	}
	for _, c := range p.columns {
		if c, ok := c.(io.Closer); ok {
			c.Close()
		}
	}
	return nil
}
