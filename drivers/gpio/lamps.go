package gpio

import (
	"errors"
	"fmt"
	"io"
	"sync"
	"time"

	"periph.io/x/conn/v3/gpio"

	"gardien/gateway"
)

// LampsOpts of Lamps.
type LampsOpts struct {
	Name               string
	Green, Red, Buzzer gpio.PinOut // nil: there is none
	Active             gpio.Level  // level that turns them on
}

// Lamps show signals with a green and a red lamp and a buzzer. They implement
// gateway.Indicator: the latest signal replaces the one before. A lamp that fails later harms nobody.
type Lamps struct {
	opts    LampsOpts
	signals chan gateway.Signal
	done    chan struct{}
	running sync.WaitGroup
	once    sync.Once
}

// step is what is on, and for how long.
type step struct {
	green, red, buzz bool
	d                time.Duration
}

// pattern of a signal; one that repeats goes on until the next signal.
type pattern struct {
	steps  []step
	repeat bool
}

const ms = time.Millisecond

// Patterns tell apart by sound alone, and by light alone: granted is one long, denied three
// short, wait a slow blink, held open a nagging one.
var patterns = map[gateway.Signal]pattern{
	gateway.SignalGranted:  {steps: []step{{green: true, buzz: true, d: 200 * ms}, {green: true, d: 2800 * ms}}},
	gateway.SignalDenied:   {steps: []step{{red: true, buzz: true, d: 100 * ms}, {d: 100 * ms}, {red: true, buzz: true, d: 100 * ms}, {d: 100 * ms}, {red: true, buzz: true, d: 100 * ms}, {red: true, d: 900 * ms}}},
	gateway.SignalWait:     {steps: []step{{green: true, red: true, d: 250 * ms}, {d: 750 * ms}}, repeat: true},
	gateway.SignalHeldOpen: {steps: []step{{red: true, buzz: true, d: 200 * ms}, {d: 800 * ms}}, repeat: true},
}

// NewLamps takes the pins and turns them off. An error says that one cannot be had now. The
// lamps are good all the same: the others shine, and that one when its line is there.
func NewLamps(o LampsOpts) (*Lamps, error) {
	l := &Lamps{opts: o, signals: make(chan gateway.Signal, 1), done: make(chan struct{})}
	err := l.set(step{})
	l.running.Go(l.run)
	return l, err
}

func (l *Lamps) String() string { return l.opts.Name + " indicator" }

// Show implements gateway.Indicator.
func (l *Lamps) Show(s gateway.Signal) {
	for {
		select {
		case l.signals <- s:
			return
		case <-l.signals: // an older one that nobody has seen
		}
	}
}

func (l *Lamps) set(s step) (failed error) {
	for _, p := range []struct {
		pin gpio.PinOut
		on  bool
	}{{l.opts.Green, s.green}, {l.opts.Red, s.red}, {l.opts.Buzzer, s.buzz}} {
		if p.pin == nil {
			continue
		}
		if err := p.pin.Out(gpio.Level(p.on == bool(l.opts.Active))); err != nil {
			failed = errors.Join(failed, fmt.Errorf("%s: %w", l, err))
		}
	}
	return failed
}

func (l *Lamps) run() {
	defer l.set(step{})
	var now pattern
	for i := 0; ; i++ {
		if i == len(now.steps) {
			if i = 0; !now.repeat {
				now = pattern{}
			}
		}
		var next <-chan time.Time
		if len(now.steps) > 0 {
			l.set(now.steps[i])
			next = time.After(now.steps[i].d)
		} else {
			l.set(step{})
		}
		select {
		case <-l.done:
			return
		case s := <-l.signals:
			now, i = patterns[s], -1
		case <-next:
		}
	}
}

// Close turns everything off and gives the lines back.
func (l *Lamps) Close() error {
	l.once.Do(func() {
		close(l.done)
		l.running.Wait()
		for _, p := range []gpio.PinOut{l.opts.Green, l.opts.Red, l.opts.Buzzer} {
			if c, ok := p.(io.Closer); ok {
				c.Close()
			}
		}
	})
	return nil
}
