package gpio

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

// StrikeOpts of a Strike.
type StrikeOpts struct {
	Name   string     // for the log
	Active gpio.Level // level that releases
	// Feedback reads back whether the strike has its supply: an auxiliary contact of the
	// relay, or the switched voltage through a divider. nil: there is none.
	Feedback       gpio.PinIn
	FeedbackActive gpio.Level // level while released
	FeedbackPull   gpio.Pull
}

const (
	// settle is how long a relay may take to follow: 10 ms is usual, data sheets say up to 30.
	settle = 100 * time.Millisecond
	// watchEvery is how often a strike looks at itself, moved or not.
	watchEvery = 10 * time.Second
	// again is when securing is tried again after the line failed.
	again = 500 * time.Millisecond
)

// Strike is an electric strike on a line. It implements gateway.Strike and
// gateway.Monitored, and secures by itself gateway.ReleaseLimit after the latest release (F1).
type Strike struct {
	opts StrikeOpts
	pin  gpio.PinOut

	mu       sync.Mutex
	released bool
	limit    *time.Timer
	moved    time.Time
	fault    error
	faults   chan struct{}
	look     chan struct{}
	done     chan struct{}
	watching sync.WaitGroup
	closed   bool
}

// NewStrike takes the pin and secures it at once: the first level that it has as an output
// is the secured one. An error says that a line cannot be had now. The strike is good all the
// same: that is its Fault until the line is there, and then it is secured.
func NewStrike(pin gpio.PinOut, o StrikeOpts) (*Strike, error) {
	s := &Strike{opts: o, pin: pin, faults: make(chan struct{}, 1), look: make(chan struct{}, 1), done: make(chan struct{})}
	err := pin.Out(!o.Active)
	if err != nil {
		s.set(s.absent(err))
	}
	if o.Feedback != nil {
		if e := o.Feedback.In(o.FeedbackPull, gpio.NoEdge); e != nil && err == nil {
			err = fmt.Errorf("feedback: %w", e)
			pin.Out(!o.Active)
			s.failed(err)
		}
	}
	if err != nil {
		notify(s.look)
	}
	s.watching.Go(s.watch)
	return s, err
}

func (s *Strike) String() string { return s.opts.Name + " strike on " + s.pin.String() }

// Release implements gateway.Strike.
func (s *Strike) Release(ctx context.Context) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if err := ctx.Err(); err != nil {
		return err
	}
	if s.closed {
		return fmt.Errorf("%s: closed: %w", s, gateway.ErrFault)
	}
	if err := s.pin.Out(s.opts.Active); err != nil {
		s.pin.Out(!s.opts.Active) // a line that comes back must not do then what it could not do now
		notify(s.look)
		return s.set(s.absent(err))
	}
	s.released, s.moved = true, time.Now()
	s.setLimit(gateway.ReleaseLimit)
	notify(s.look)
	return nil
}

// setLimit replaces the limit: the latest release counts, an earlier one cuts nothing (F11).
func (s *Strike) setLimit(d time.Duration) {
	if s.limit != nil {
		s.limit.Stop()
	}
	var limit *time.Timer
	limit = time.AfterFunc(d, func() {
		s.mu.Lock()
		defer s.mu.Unlock()
		if s.limit == limit && s.secure() != nil {
			s.setLimit(again)
		}
	})
	s.limit = limit
}

// Secure implements gateway.Strike.
func (s *Strike) Secure(context.Context) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.secure()
}

func (s *Strike) secure() error {
	if err := s.pin.Out(!s.opts.Active); err != nil {
		notify(s.look)
		return s.set(s.absent(err))
	}
	if s.limit != nil {
		s.limit.Stop()
		s.limit = nil
	}
	if s.released {
		s.released, s.moved = false, time.Now()
	}
	notify(s.look)
	return nil
}

// Close leaves it secured and gives the line back.
func (s *Strike) Close() error {
	s.mu.Lock()
	if s.closed {
		s.mu.Unlock()
		return nil
	}
	err := s.secure()
	s.closed = true
	close(s.done)
	s.mu.Unlock()
	s.watching.Wait()
	if c, ok := s.pin.(io.Closer); ok {
		c.Close()
	}
	if c, ok := s.opts.Feedback.(io.Closer); ok {
		c.Close()
	}
	return err
}

// Fault implements gateway.Monitored.
func (s *Strike) Fault() error {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.fault
}

// FaultChanges implements gateway.Monitored.
func (s *Strike) FaultChanges() <-chan struct{} { return s.faults }

// absent is the fault of a line that cannot be had.
func (s *Strike) absent(err error) error { return fmt.Errorf("%s: %w: %w", s, gateway.ErrAbsent, err) }

func (s *Strike) failed(err error) error {
	return s.set(fmt.Errorf("%s: %w: %w", s, gateway.ErrFault, err))
}

func (s *Strike) set(fault error) error {
	if (fault == nil) != (s.fault == nil) || errors.Is(fault, gateway.ErrAbsent) != errors.Is(s.fault, gateway.ErrAbsent) {
		notify(s.faults)
	}
	s.fault = fault
	return fault
}

// watch compares what the strike does with what it was told: after each move, and now and then.
func (s *Strike) watch() {
	timer := time.NewTimer(watchEvery)
	defer timer.Stop()
	for {
		select {
		case <-s.done:
			return
		case <-s.look:
			timer.Reset(settle)
		case <-timer.C:
			timer.Reset(s.check())
		}
	}
}

// check gives when to check again.
func (s *Strike) check() time.Duration {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.closed {
		return watchEvery
	}
	if left := settle - time.Since(s.moved); left > 0 {
		return left
	}
	want := s.opts.Active
	if !s.released {
		want = !want
	}
	if line, ok := s.pin.(Sampler); ok {
		level, err := line.Sample()
		if err == nil && errors.Is(s.fault, gateway.ErrAbsent) { // it is there again
			err, level = s.pin.Out(want), want
		}
		gone := err != nil
		if err == nil && level != want {
			err = fmt.Errorf("the line is %v, it was set to %v", level, want)
		}
		if err != nil {
			if s.pin.Out(want) == nil {
				if level, again := line.Sample(); again == nil && level == want {
					err = nil // put right
				}
			}
			switch {
			case err == nil:
			case gone:
				s.set(s.absent(err))
				return time.Second
			default:
				s.failed(err)
				return time.Second
			}
		}
	}
	if f := s.opts.Feedback; f != nil {
		level, err := sample(f)
		if now := level == s.opts.FeedbackActive; err == nil && now != s.released {
			err = fmt.Errorf("the feedback on %s says %s, the strike was told %s", f, word(now), word(s.released))
		}
		if err != nil {
			s.failed(err)
			return time.Second
		}
	}
	s.set(nil)
	return watchEvery
}

func word(released bool) string {
	if released {
		return "released"
	}
	return "secured"
}

// notify leaves a token, and never blocks.
func notify(c chan struct{}) {
	select {
	case c <- struct{}{}:
	default:
	}
}
