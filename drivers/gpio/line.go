package gpio

import (
	"encoding/binary"
	"errors"
	"fmt"
	"os"
	"strings"
	"sync"
	"time"

	"github.com/warthog618/go-gpiocdev/uapi"
	"golang.org/x/sys/unix"
	"periph.io/x/conn/v3/gpio"
	"periph.io/x/conn/v3/physic"

	"gardien/gateway"
)

// Edge is one change of a line's level.
type Edge struct {
	At    time.Duration // on CLOCK_MONOTONIC, taken in the kernel's interrupt handler
	Line  int           // index among the pins of the request
	Level gpio.Level    // after the edge
	Seq   uint32        // among all edges of the request
	Lost  int           // edges before this one that have not come; they may come late, out of order
}

// Edges is the further ability of a pin to tell its edges apart.
type Edges interface {
	// NextEdge waits for an edge until the deadline (zero: for ever), Halt or Close. It gives
	// os.ErrDeadlineExceeded, os.ErrClosed, or what became of the line.
	NextEdge(deadline time.Time) (Edge, error)
}

// Sampler is the further ability of a pin to say that it cannot tell its level.
type Sampler interface {
	Sample() (gpio.Level, error)
}

// sample reads a pin, with its error where it can tell one.
func sample(p gpio.PinIn) (gpio.Level, error) {
	if s, ok := p.(Sampler); ok {
		return s.Sample()
	}
	return p.Read(), nil
}

// Line is one or several lines of one chip of the kernel. It implements gpio.PinIO for
// the first. Nothing is requested before In or Out. Its methods are safe for concurrent use.
type Line struct {
	pins     []gateway.Line
	consumer string
	debounce time.Duration

	mu      sync.Mutex
	closed  bool
	f       *os.File // the request; nil: none
	addr    []Address
	out     bool
	level   gpio.Level // wanted, of an output
	pull    gpio.Pull
	edge    gpio.Edge
	seq     uint32    // of the last edge
	pending []Edge    // read from the kernel, not yet taken
	halted  bool      // a wait, or the next one, ends at once
	retry   time.Time // no request before
	backoff time.Duration
	last    error // of the last request
}

// LineOpts of a Line.
type LineOpts struct {
	Consumer string        // shown by gpioinfo and to whoever finds the line busy; at most 31 bytes
	Debounce time.Duration // an input's level counts once it has stayed so long; 0: at once
}

// NewLine names lines of one chip.
func NewLine(o LineOpts, pins ...gateway.Line) *Line {
	return &Line{pins: pins, consumer: o.Consumer, debounce: o.Debounce}
}

var (
	_ gpio.PinIO = (*Line)(nil)
	_ Edges      = (*Line)(nil)
	_ Sampler    = (*Line)(nil)
)

// The bounds of the back-off while a line cannot be had.
const (
	backoffLeast = 250 * time.Millisecond
	backoffMost  = 10 * time.Second
)

// Busy reports that somebody else holds the line.
func Busy(err error) bool { return errors.Is(err, unix.EBUSY) }

func (l *Line) String() string {
	var names []string
	for _, p := range l.pins {
		names = append(names, p.String())
	}
	return strings.Join(names, " ")
}

// Name implements pin.Pin.
func (l *Line) Name() string { return l.pins[0].String() }

// Number implements pin.Pin.
func (l *Line) Number() int { return l.pins[0].Header }

// Function implements pin.Pin.
func (l *Line) Function() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	switch {
	case l.f == nil:
		return ""
	case l.out:
		return "OUT"
	}
	return "IN"
}

// Pull implements gpio.PinIn.
func (l *Line) Pull() gpio.Pull {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.pull
}

// DefaultPull implements gpio.PinIn: what the pin has at reset.
func (l *Line) DefaultPull() gpio.Pull {
	switch high, known := l.pins[0].HighAtReset(); {
	case !known:
		return gpio.PullNoChange
	case high:
		return gpio.PullUp
	}
	return gpio.PullDown
}

// PWM implements gpio.PinOut: it is not supported.
func (l *Line) PWM(gpio.Duty, physic.Frequency) error {
	return fmt.Errorf("%s: no PWM", l)
}

// Out implements gpio.PinOut. On the first call, or after the line was lost, the level is
// set together with the direction.
func (l *Line) Out(level gpio.Level) error {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.f != nil && l.out {
		if l.set(level) == nil {
			l.level = level
			return nil
		}
	}
	if l.f != nil && !l.out && l.edge == gpio.NoEdge {
		l.out, l.level = true, level
		if l.reconfigure() == nil {
			return nil
		}
	}
	l.drop()
	l.out, l.level, l.edge = true, level, gpio.NoEdge
	return l.acquire(true)
}

// reconfigure turns a held request to what is wanted, level and direction in one call.
func (l *Line) reconfigure() error {
	c := l.config()
	return l.control(func(fd uintptr) error { return uapi.SetLineConfigV2(fd, &c) })
}

func (l *Line) set(level gpio.Level) error {
	v := uapi.LineValues{Mask: 1}
	if level {
		v.Bits = 1
	}
	return l.control(func(fd uintptr) error { return uapi.SetLineValuesV2(fd, v) })
}

// control runs an ioctl on the request.
func (l *Line) control(f func(fd uintptr) error) error {
	c, err := l.f.SyscallConn()
	if err != nil {
		return err
	}
	var failed error
	if err := c.Control(func(fd uintptr) { failed = f(fd) }); err != nil {
		return err
	}
	return failed
}

// In implements gpio.PinIn. Edges from before are forgotten.
func (l *Line) In(pull gpio.Pull, edge gpio.Edge) error {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.halted = false
	if l.f != nil && l.edge == gpio.NoEdge && edge == gpio.NoEdge { // no edges to forget: turned as it is
		was := l.out
		l.out, l.pull, l.edge = false, pull, edge
		if l.reconfigure() == nil {
			return nil
		}
		l.out = was
	}
	l.drop()
	l.out, l.pull, l.edge = false, pull, edge
	return l.acquire(true)
}

// drop ends the request. Whoever waits for an edge gets an error.
func (l *Line) drop() {
	if l.f != nil {
		l.f.Close()
		l.f = nil
	}
	l.pending, l.seq = nil, 0
}

// acquire requests the line as it is wanted; without force not before the back-off is over.
func (l *Line) acquire(force bool) error {
	switch {
	case l.closed:
		return fmt.Errorf("%s: %w", l, os.ErrClosed)
	case !force && time.Now().Before(l.retry):
		return l.last
	}
	err := l.request()
	if err == nil {
		l.backoff, l.last = 0, nil
		return nil
	}
	l.backoff = min(max(2*l.backoff, backoffLeast), backoffMost)
	l.retry, l.last = time.Now().Add(l.backoff), fmt.Errorf("%s: %w", l, err)
	return l.last
}

func (l *Line) request() error {
	l.addr = l.addr[:0]
	for _, p := range l.pins {
		a, err := Find(p)
		if err != nil {
			return err
		}
		if len(l.addr) > 0 && a.Chip != l.addr[0].Chip {
			return fmt.Errorf("%s is on %s, %s on %s: lines that are read together have one chip", l.pins[0], l.addr[0].Chip, p, a.Chip)
		}
		l.addr = append(l.addr, a)
	}
	f, err := request(l.addr, l.consumer, l.config(), 1024)
	if err != nil {
		return err
	}
	l.f = f
	return nil
}

// config is the wanted state in the kernel's words.
func (l *Line) config() uapi.LineConfig {
	var c uapi.LineConfig
	all := uapi.NewLineBitMask(len(l.pins))
	if l.out {
		c.Flags = uapi.LineFlagV2Output
		var v uapi.OutputValues
		if l.level {
			v = 1
		}
		c.AddAttribute(uapi.LineConfigAttribute{Attr: v.Encode(), Mask: 1})
		return c
	}
	c.Flags = uapi.LineFlagV2Input
	switch l.pull {
	case gpio.PullUp:
		c.Flags |= uapi.LineFlagV2BiasPullUp
	case gpio.PullDown:
		c.Flags |= uapi.LineFlagV2BiasPullDown
	case gpio.Float:
		c.Flags |= uapi.LineFlagV2BiasDisabled
	}
	if l.edge&gpio.RisingEdge != 0 {
		c.Flags |= uapi.LineFlagV2EdgeRising
	}
	if l.edge&gpio.FallingEdge != 0 {
		c.Flags |= uapi.LineFlagV2EdgeFalling
	}
	if l.debounce > 0 {
		c.AddAttribute(uapi.LineConfigAttribute{Attr: uapi.DebouncePeriod(l.debounce).Encode(), Mask: all})
	}
	return c
}

// Sample implements Sampler. On an output it is what the chip reads back. A line that was
// lost is requested again.
func (l *Line) Sample() (gpio.Level, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.f == nil {
		if err := l.acquire(false); err != nil {
			return gpio.Low, err
		}
	}
	v := uapi.LineValues{Mask: 1}
	if err := l.control(func(fd uintptr) error { return uapi.GetLineValuesV2(fd, &v) }); err != nil {
		l.drop()
		l.last = fmt.Errorf("%s: %w", l, err)
		l.retry = time.Now().Add(backoffLeast)
		return gpio.Low, l.last
	}
	return gpio.Level(v.Bits&1 == 1), nil
}

// Read implements gpio.PinIn. What cannot be read is Low: ask Sample.
func (l *Line) Read() gpio.Level {
	level, _ := l.Sample()
	return level
}

// WaitForEdge implements gpio.PinIn: -1 waits for ever.
func (l *Line) WaitForEdge(timeout time.Duration) bool {
	var deadline time.Time
	if timeout >= 0 {
		deadline = time.Now().Add(timeout)
	}
	_, err := l.NextEdge(deadline)
	return err == nil
}

// eventSize is sizeof(struct gpio_v2_line_event).
const eventSize = 48

// NextEdge implements Edges. One goroutine waits at a time.
func (l *Line) NextEdge(deadline time.Time) (Edge, error) {
	l.mu.Lock()
	if len(l.pending) > 0 {
		e := l.pending[0]
		l.pending = l.pending[1:]
		l.mu.Unlock()
		return e, nil
	}
	if l.f == nil {
		if err := l.acquire(false); err != nil {
			l.mu.Unlock()
			return Edge{}, err
		}
	}
	if l.halted {
		l.halted = false
		l.mu.Unlock()
		return Edge{}, os.ErrDeadlineExceeded
	}
	f := l.f
	if err := f.SetReadDeadline(deadline); err != nil {
		l.mu.Unlock()
		return Edge{}, err
	}
	l.mu.Unlock()
	var buf [32 * eventSize]byte
	n, err := f.Read(buf[:])
	l.mu.Lock()
	defer l.mu.Unlock()
	if errors.Is(err, os.ErrDeadlineExceeded) && l.f == f && !l.halted {
		// A deadline that was over before we came says nothing of what is there already.
		if m := l.readNow(buf[:]); m > 0 {
			n, err = m, nil
		}
	}
	switch {
	case errors.Is(err, os.ErrDeadlineExceeded):
		l.halted = false
		return Edge{}, err
	case err != nil || l.f != f:
		err = fmt.Errorf("%s: %w", l, errors.Join(err, closedIf(l.closed)))
		if l.f == f { // the chip is gone
			l.drop()
			l.retry, l.last = time.Now().Add(backoffLeast), err
		}
		return Edge{}, err
	}
	for b := buf[:n]; len(b) >= eventSize; b = b[eventSize:] {
		l.pending = append(l.pending, l.edgeOf(b))
	}
	if len(l.pending) == 0 {
		return Edge{}, fmt.Errorf("%s: the kernel gave an edge of %d bytes, want %d", l, n, eventSize)
	}
	e := l.pending[0]
	l.pending = l.pending[1:]
	return e, nil
}

// readNow reads what is there, without waiting.
func (l *Line) readNow(buf []byte) (n int) {
	l.control(func(fd uintptr) (err error) {
		n, err = unix.Read(int(fd), buf)
		return err
	})
	return n
}

func closedIf(closed bool) error {
	if closed {
		return os.ErrClosed
	}
	return nil
}

// edgeOf decodes struct gpio_v2_line_event: u64 timestamp_ns, u32 id, offset, seqno,
// line_seqno, six words of padding.
func (l *Line) edgeOf(b []byte) Edge {
	e := Edge{At: time.Duration(binary.NativeEndian.Uint64(b)), Level: binary.NativeEndian.Uint32(b[8:]) == uint32(uapi.LineEventRisingEdge)}
	offset, seq := int(binary.NativeEndian.Uint32(b[12:])), binary.NativeEndian.Uint32(b[16:])
	e.Seq = seq
	for i, a := range l.addr {
		if a.Offset == offset {
			e.Line = i
		}
	}
	// Edges of one instant can have one number, or be out of order by it.
	if ahead := int32(seq - l.seq); ahead > 0 {
		e.Lost, l.seq = int(ahead-1), seq
	}
	return e
}

// Halt implements conn.Resource: it ends a wait for an edge.
func (l *Line) Halt() error {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.halted = true
	if l.f != nil && !l.out {
		return l.f.SetReadDeadline(time.Unix(1, 0))
	}
	return nil
}

// Close gives the line back to the kernel.
func (l *Line) Close() error {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.closed = true
	l.drop()
	return nil
}
