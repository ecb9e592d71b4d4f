package gpio

import (
	"errors"
	"os"
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

var bubble drivertest.Options

// pin is periph's fake with what a kernel line has besides: errors, and an end.
type pin struct {
	*gpiotest.Pin
	mu   sync.Mutex
	err  error // of every call
	outs []gpio.Level
	over chan struct{}
}

func newPin(name string) *pin {
	return &pin{Pin: &gpiotest.Pin{N: name, EdgesChan: make(chan gpio.Level, 16)}, over: make(chan struct{})}
}

func (p *pin) fail(err error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.err = err
}

func (p *pin) failure() error {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.err
}

func (p *pin) Out(l gpio.Level) error {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.err != nil {
		return p.err
	}
	p.outs = append(p.outs, l)
	return p.Pin.Out(l)
}

func (p *pin) Sample() (gpio.Level, error) { return p.Pin.Read(), p.failure() }

func (p *pin) WaitForEdge(d time.Duration) bool {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-p.over:
		return false
	case <-timer.C:
		return false
	case <-p.EdgesChan:
		return true
	}
}

func (p *pin) Close() error { close(p.over); return nil }

// move sets the level from outside; edges that nobody takes are lost, as in the kernel.
func (p *pin) move(l gpio.Level) {
	p.Lock()
	p.L = l
	p.Unlock()
	select {
	case p.EdgesChan <- l:
	default:
	}
}

func openStrike(t *testing.T, active gpio.Level) (*Strike, *pin) {
	p := newPin("GPIO17")
	s, err := NewStrike(p, StrikeOpts{Name: "front", Active: active})
	if err != nil {
		t.Fatal(err)
	}
	return s, p
}

func TestStrike(t *testing.T) {
	for _, active := range []gpio.Level{gpio.High, gpio.Low} {
		t.Run("active "+active.String(), func(t *testing.T) {
			drivertest.TestStrike(t, bubble, func(t *testing.T) (gateway.Strike, func() bool) {
				s, p := openStrike(t, active)
				return s, func() bool { return p.Read() == active }
			})
		})
	}
}

func TestContact(t *testing.T) {
	for _, closed := range []gpio.Level{gpio.High, gpio.Low} {
		t.Run("closed "+closed.String(), func(t *testing.T) {
			drivertest.TestContact(t, bubble, func(t *testing.T) (gateway.Contact, func(gateway.ContactState)) {
				p := newPin("GPIO27")
				c, err := NewContact(p, ContactOpts{Name: "front", Closed: closed, Debounce: time.Millisecond / 4})
				if err != nil {
					t.Fatal(err)
				}
				return c, func(s gateway.ContactState) { p.move(closed == (s == gateway.ContactClosed)) }
			})
		})
	}
}

func TestREX(t *testing.T) {
	drivertest.TestREX(t, bubble, func(t *testing.T) (gateway.REX, func()) {
		p := newPin("GPIO22")
		p.move(gpio.High)
		b, err := NewButton(p, ButtonOpts{Name: "front", Kind: "rex", Active: gpio.Low})
		if err != nil {
			t.Fatal(err)
		}
		return b, func() {
			p.move(gpio.Low)
			time.Sleep(time.Millisecond)
			p.move(gpio.High)
			time.Sleep(time.Millisecond)
		}
	})
}

// TestF1_FirstLevel: the secured level is the first that the pin ever has as an output.
func TestF1_FirstLevel(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		for _, active := range []gpio.Level{gpio.High, gpio.Low} {
			s, p := openStrike(t, active)
			if len(p.outs) != 1 || p.outs[0] == active {
				t.Errorf("active %v: %v", active, p.outs)
			}
			s.Close()
		}
		p := newPin("GPIO17")
		// Without its line it is a strike that does not work; the line that comes is secured first.
		p.fail(errors.New("no such chip"))
		s, err := NewStrike(p, StrikeOpts{Active: gpio.High})
		if fault := s.Fault(); err == nil || !errors.Is(fault, gateway.ErrAbsent) {
			t.Errorf("without its line: %v, fault %v", err, fault)
		}
		defer s.Close()
		if err := s.Release(t.Context()); !errors.Is(err, gateway.ErrAbsent) {
			t.Errorf("released without its line: %v", err)
		}
		p.fail(nil)
		time.Sleep(2 * time.Second)
		synctest.Wait()
		if fault := s.Fault(); fault != nil || p.outs[len(p.outs)-1] != gpio.Low {
			t.Errorf("with its line: fault %v, levels %v", fault, p.outs)
		}
	})
}

// TestStrikeFault: a line that fails is told, and the hard limit goes on trying to secure.
func TestStrikeFault(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s, p := openStrike(t, gpio.High)
		defer s.Close()
		if err := s.Release(t.Context()); err != nil {
			t.Fatal(err)
		}
		p.fail(errors.New("the chip is gone"))
		if err := s.Secure(t.Context()); !errors.Is(err, gateway.ErrFault) {
			t.Errorf("secure: %v", err)
		}
		<-s.FaultChanges()
		if !errors.Is(s.Fault(), gateway.ErrFault) {
			t.Errorf("fault: %v", s.Fault())
		}
		time.Sleep(gateway.ReleaseLimit + time.Second)
		if p.Read() != gpio.High {
			t.Fatal("the fake moved without its line")
		}
		p.fail(nil)
		time.Sleep(again)
		synctest.Wait()
		if p.Read() != gpio.Low {
			t.Error("released after the limit, although the line is back")
		}
		time.Sleep(2 * time.Second)
		synctest.Wait()
		if s.Fault() != nil {
			t.Errorf("the fault stays: %v", s.Fault())
		}
		<-s.FaultChanges()
	})
}

// TestStrikeLateRelease: a release that failed is not carried out when the line comes back.
func TestStrikeLateRelease(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s, p := openStrike(t, gpio.High)
		defer s.Close()
		p.fail(errors.New("the chip is gone"))
		if err := s.Release(t.Context()); err == nil {
			t.Error("released without its line")
		}
		time.Sleep(time.Minute)
		p.fail(nil)
		time.Sleep(time.Minute)
		synctest.Wait()
		if p.Read() != gpio.Low || s.Fault() != nil {
			t.Errorf("%v, %v, %v", p.Read(), s.Fault(), p.outs)
		}
		for _, l := range p.outs {
			if l == gpio.High {
				t.Error("released late")
			}
		}
	})
}

// TestStrikeTampered: somebody else moves the wire; the strike puts it right within its watch.
func TestStrikeTampered(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s, p := openStrike(t, gpio.High)
		defer s.Close()
		time.Sleep(time.Second)
		p.Pin.Out(gpio.High)
		time.Sleep(watchEvery)
		synctest.Wait()
		if p.Read() != gpio.Low {
			t.Error("still released")
		}
	})
}

func TestStrikeFeedback(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p, back := newPin("GPIO17"), newPin("GPIO23")
		s, err := NewStrike(p, StrikeOpts{Name: "front", Active: gpio.High, Feedback: back, FeedbackActive: gpio.High})
		if err != nil {
			t.Fatal(err)
		}
		defer s.Close()
		fault := func(want bool, when string) {
			t.Helper()
			time.Sleep(1200 * time.Millisecond)
			synctest.Wait()
			if got := s.Fault(); (got != nil) != want {
				t.Errorf("%s: fault %v", when, got)
			}
		}
		fault(false, "secured, and it says so")
		s.Release(t.Context())
		back.move(gpio.High)
		fault(false, "released, and it says so")
		s.Secure(t.Context())
		fault(true, "the relay sticks")
		back.move(gpio.Low)
		fault(false, "it let go")
		s.Release(t.Context())
		fault(true, "no supply")
	})
}

func TestContactSupervised(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		a, b := newPin("GPIO27"), newPin("GPIO24")
		b.move(gpio.High)
		c, err := NewContact(a, ContactOpts{Name: "front", Closed: gpio.Low, Opposite: b})
		if err != nil {
			t.Fatal(err)
		}
		defer c.Close()
		sees := func(want gateway.ContactState, when string) {
			t.Helper()
			synctest.Wait()
			if got := c.Contact(); got != want {
				t.Errorf("%s: %s, want %s", when, got, want)
			}
		}
		sees(gateway.ContactClosed, "at first")
		a.move(gpio.High)
		sees(gateway.ContactClosed, "changing over")
		b.move(gpio.Low)
		sees(gateway.ContactOpen, "changed over")
		time.Sleep(time.Minute)
		sees(gateway.ContactOpen, "later")
		b.move(gpio.High) // the wire is cut
		sees(gateway.ContactOpen, "for a moment")
		synctest.Wait()
		for len(c.changes) > 0 {
			<-c.changes
		}
		<-c.ContactChanges()
		sees(gateway.ContactFault, "after the time that a changeover takes")
		b.move(gpio.Low)
		sees(gateway.ContactOpen, "mended")
		a.fail(errors.New("the chip is gone"))
		sees(gateway.ContactFault, "without its line")
	})
}

// TestButtonHeld: what is pressed at the start, or stuck, is one request at most.
func TestButtonHeld(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := newPin("GPIO22") // low: pressed
		b, err := NewButton(p, ButtonOpts{Name: "front", Kind: "rex", Active: gpio.Low})
		if err != nil {
			t.Fatal(err)
		}
		defer b.Close()
		count := func() (n int) {
			time.Sleep(3 * sampleEvery)
			synctest.Wait()
			for {
				select {
				case <-b.Requests():
					n++
				default:
					return n
				}
			}
		}
		if n := count(); n != 0 {
			t.Errorf("held at the start: %d requests", n)
		}
		p.move(gpio.High)
		if n := count(); n != 0 {
			t.Errorf("let go: %d requests", n)
		}
		p.move(gpio.Low)
		if n := count(); n != 1 {
			t.Errorf("pressed and stuck: %d requests", n)
		}
		p.fail(errors.New("the chip is gone"))
		p.move(gpio.High)
		time.Sleep(time.Second)
		p.fail(nil)
		if n := count(); n != 0 {
			t.Errorf("gone and back: %d requests", n)
		}
	})
}

// TestLamps: each signal has its pattern, the latest replaces the one before, and nothing
// stays on.
func TestLamps(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		green, red, buzzer := newPin("G"), newPin("R"), newPin("B")
		l, err := NewLamps(LampsOpts{Name: "front", Green: green, Red: red, Buzzer: buzzer, Active: gpio.Low})
		if err != nil {
			t.Fatal(err)
		}
		on := func() (s string) {
			synctest.Wait()
			for _, p := range []*pin{green, red, buzzer} {
				if p.Read() == gpio.Low {
					s += p.N
				}
			}
			return s
		}
		sees := func(when, want string) {
			t.Helper()
			if got := on(); got != want {
				t.Errorf("%s: %q, want %q", when, got, want)
			}
		}
		sees("at first", "")
		l.Show(gateway.SignalGranted)
		sees("granted", "GB")
		time.Sleep(time.Second)
		sees("a second later", "G")
		l.Show(gateway.SignalDenied)
		sees("denied", "RB")
		beeps := 0
		for range 20 {
			time.Sleep(100 * time.Millisecond)
			if strings.Contains(on(), "B") {
				beeps++
			}
		}
		if sees("later", ""); beeps != 2 { // the first was seen above
			t.Errorf("%d more beeps", beeps)
		}
		for range 100 {
			l.Show(gateway.SignalWait)
		}
		time.Sleep(time.Hour)
		l.Show(gateway.SignalHeldOpen)
		sees("held open", "RB")
		time.Sleep(time.Hour)
		sees("an hour later", "RB")
		l.Show(gateway.SignalNone)
		sees("closed", "")
		l.Show(gateway.SignalWait)
		sees("wait", "GR")
		l.Close()
		sees("the end", "")
	})
}

// edgePin tells its edges apart, as a kernel line does.
type edgePin struct {
	*pin
	edges chan Edge
}

func (p *edgePin) NextEdge(deadline time.Time) (Edge, error) {
	select {
	case e := <-p.edges:
		return e, nil
	default:
	}
	t := time.NewTimer(time.Until(deadline))
	defer t.Stop()
	select {
	case e := <-p.edges:
		return e, nil
	case <-p.over:
	case <-t.C:
	}
	return Edge{}, os.ErrDeadlineExceeded
}

// TestLostEdges: a gap is told, and the level is right all the same.
func TestLostEdges(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := &edgePin{newPin("GPIO27"), make(chan Edge, 8)}
		lost := 0
		c, err := NewContact(p, ContactOpts{Name: "front", Closed: gpio.Low, Lost: func(n int) { lost += n }})
		if err != nil {
			t.Fatal(err)
		}
		p.Pin.Lock()
		p.L = gpio.High
		p.Pin.Unlock()
		p.edges <- Edge{Level: gpio.High}
		p.edges <- Edge{Level: gpio.High, Lost: 2}
		p.edges <- Edge{Level: gpio.High, Lost: 1}
		<-c.ContactChanges()
		synctest.Wait()
		if lost != 3 || c.Contact() != gateway.ContactOpen {
			t.Errorf("%d told as lost, contact %s", lost, c.Contact())
		}
		c.Close()
	})
}
