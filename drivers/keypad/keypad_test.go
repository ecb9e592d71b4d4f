package keypad

import (
	"context"
	"errors"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"periph.io/x/conn/v3/gpio"
	"periph.io/x/conn/v3/gpio/gpiotest"

	"gardien/drivers/drivertest"
	"gardien/gateway"
)

// matrix is a keypad: wires that keys join.
type matrix struct {
	mu      sync.Mutex
	rows    []*rowPin
	columns []*columnPin
	down    map[[2]int]bool
	err     error
}

type rowPin struct {
	*gpiotest.Pin
	m      *matrix
	driven bool
}

func (p *rowPin) Out(l gpio.Level) error {
	p.m.mu.Lock()
	defer p.m.mu.Unlock()
	if l == gpio.High {
		return errors.New("a row is never driven high")
	}
	p.driven = true
	p.m.settle()
	return p.m.err
}

func (p *rowPin) In(gpio.Pull, gpio.Edge) error {
	p.m.mu.Lock()
	defer p.m.mu.Unlock()
	p.driven = false
	p.m.settle()
	return p.m.err
}

type columnPin struct {
	*gpiotest.Pin
	m      *matrix
	level  gpio.Level
	edges  chan struct{}
	halted chan struct{}
}

func (p *columnPin) In(gpio.Pull, gpio.Edge) error { return nil }
func (p *columnPin) Read() gpio.Level              { l, _ := p.Sample(); return l }
func (p *columnPin) Sample() (gpio.Level, error) {
	p.m.mu.Lock()
	defer p.m.mu.Unlock()
	return p.level, p.m.err
}
func (p *columnPin) Halt() error {
	select {
	case p.halted <- struct{}{}:
	default:
	}
	return nil
}

func (p *columnPin) WaitForEdge(d time.Duration) bool {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-p.edges:
		return true
	case <-p.halted:
	case <-t.C:
	}
	return false
}

// settle gives each column its level: low where a path of keys leads to a driven row.
func (m *matrix) settle() {
	low := map[int]bool{}
	reached := map[int]bool{}
	for i, r := range m.rows {
		reached[i] = r.driven
	}
	for range len(m.rows) + len(m.columns) {
		for k := range m.down {
			if reached[k[0]] {
				low[k[1]] = true
			}
			if low[k[1]] {
				reached[k[0]] = true
			}
		}
	}
	for i, c := range m.columns {
		if l := gpio.Level(!low[i]); l != c.level {
			c.level = l
			select {
			case c.edges <- struct{}{}:
			default:
			}
		}
	}
}

func (m *matrix) press(row, column int, down bool) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if down {
		m.down[[2]int{row, column}] = true
	} else {
		delete(m.down, [2]int{row, column})
	}
	m.settle()
}

const usual = "123456789*0#"

// key presses and lets go, with bounces.
func (m *matrix) key(k byte) {
	i := strings.IndexByte(usual, k)
	for _, down := range []bool{true, false} {
		for range 3 {
			m.press(i/3, i%3, down)
			time.Sleep(time.Millisecond)
			m.press(i/3, i%3, !down)
			time.Sleep(time.Millisecond)
		}
		m.press(i/3, i%3, down)
		time.Sleep(80 * time.Millisecond)
	}
}

func open(t *testing.T) (*Pad, *matrix) {
	t.Helper()
	m := &matrix{down: map[[2]int]bool{}}
	var rows []gpio.PinIO
	var columns []gpio.PinIn
	for range 4 {
		m.rows = append(m.rows, &rowPin{Pin: &gpiotest.Pin{N: "R"}, m: m})
		rows = append(rows, m.rows[len(m.rows)-1])
	}
	for range 3 {
		m.columns = append(m.columns, &columnPin{Pin: &gpiotest.Pin{N: "C"}, m: m, level: gpio.High, edges: make(chan struct{}, 1), halted: make(chan struct{}, 1)})
		columns = append(columns, m.columns[len(m.columns)-1])
	}
	p, err := New(rows, columns, Opts{Name: "pad", Keys: usual})
	if err != nil {
		t.Fatal(err)
	}
	return p, m
}

func TestReader(t *testing.T) {
	drivertest.TestReader(t, drivertest.Options{}, func(t *testing.T) (gateway.Reader, func()) {
		p, m := open(t)
		one := make(chan struct{}, 1)
		return p, func() {
			one <- struct{}{}
			m.key('4')
			i := strings.IndexByte(usual, '#')
			m.press(i/3, i%3, true)
			time.Sleep(60 * time.Millisecond)
			m.press(i/3, i%3, false)
			time.Sleep(60 * time.Millisecond)
			<-one
		}
	})
}

func TestKeys(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p, m := open(t)
		ctx, cancel := context.WithCancel(t.Context())
		var got []string
		done := make(chan error)
		go func() {
			done <- p.Read(ctx, func(_ context.Context, c gateway.Credential) {
				got = append(got, c.(gateway.PINCredential).PIN.Reveal())
			})
		}()
		synctest.Wait()
		for _, k := range "0123456789#55*42#" {
			m.key(byte(k))
		}
		// Held for a minute is once; two at once are none.
		m.press(0, 0, true)
		time.Sleep(5 * time.Second)
		m.press(0, 0, false)
		time.Sleep(100 * time.Millisecond)
		m.press(1, 1, true)
		m.press(2, 2, true)
		time.Sleep(100 * time.Millisecond)
		m.press(1, 1, false)
		time.Sleep(100 * time.Millisecond)
		m.press(2, 2, false)
		time.Sleep(100 * time.Millisecond)
		m.key('#')
		time.Sleep(time.Hour)
		if s := strings.Join(got, " "); s != "0123456789 42 1" {
			t.Errorf("%s", s)
		}
		cancel()
		if err := <-done; err != nil {
			t.Error(err)
		}
	})
}

func TestFault(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p, m := open(t)
		done := make(chan error)
		go func() { done <- p.Read(t.Context(), nil) }()
		synctest.Wait()
		m.mu.Lock()
		m.err = errors.New("the chip is gone")
		m.mu.Unlock()
		time.Sleep(2 * idle)
		if err := <-done; err == nil || !strings.Contains(err.Error(), "the chip is gone") {
			t.Error(err)
		}
		if err := p.Read(t.Context(), nil); err == nil {
			t.Error("opened without its chip")
		}
	})
	if _, err := New(make([]gpio.PinIO, 2), make([]gpio.PinIn, 2), Opts{Keys: "123"}); err == nil {
		t.Error("three keys for four places")
	}
}
