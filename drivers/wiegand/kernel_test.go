package wiegand

import (
	"context"
	"fmt"
	"math/rand/v2"
	"sync"
	"testing"
	"time"

	periph "periph.io/x/conn/v3/gpio"

	"gardien/drivers/gpio"
	"gardien/drivers/gpio/gpiosim"
	"gardien/gateway"
)

// kernelLines is two lines of the kernel, as the daemon plugs them in.
type kernelLines struct{ *gpio.Line }

func (l kernelLines) Open() error { return l.OnFalling(periph.PullUp) }

func (l kernelLines) Next(deadline time.Time) (int, time.Duration, uint32, error) {
	e, err := l.NextEdge(deadline)
	return e.Line, e.At, e.Seq, err
}

// cable is a reader's end of the two wires.
type cable struct {
	chip   *gpiosim.Chip
	d0, d1 int
}

// send sends a frame with a real reader's timing; two writes to sysfs are a pulse of some 50 µs.
func (c cable) send(f Frame, gap time.Duration) {
	for i := f.N - 1; i >= 0; i-- {
		line := c.d0
		if f.Bits>>i&1 == 1 {
			line = c.d1
		}
		c.chip.Set(line, false)
		c.chip.Set(line, true)
		time.Sleep(gap)
	}
	time.Sleep(FrameEnd + 5*time.Millisecond)
}

// TestKernelFrames: two readers at once, 500 cards of 26 bits each (100 with -short), at real
// timing on the kernel's lines: every one is read, or the loss is told; none is read wrongly. An
// emulated machine on a busy host loses an edge now and then: a card is held there until it is
// read, ten times at most.
func TestKernelFrames(t *testing.T) {
	chip := gpiosim.New(t, "A0", "A1", "B0", "B1")
	for i := range 4 {
		chip.Set(i, true)
	}
	each := 500
	if testing.Short() {
		each = 100
	}
	var all sync.WaitGroup
	for r := range 2 {
		all.Go(func() {
			var pins []gateway.Line
			for i := range 2 {
				p, err := gateway.ParseLine(chip.Pin(2*r + i))
				if err != nil {
					t.Error(err)
				}
				pins = append(pins, p)
			}
			var mu sync.Mutex
			sent, dropped := map[string]bool{}, map[string]int{}
			var got []string
			reader := New(kernelLines{gpio.NewLine(gpio.LineOpts{Consumer: "gardien test"}, pins...)}, Opts{Name: "gate",
				Dropped: func(why string) { mu.Lock(); defer mu.Unlock(); dropped[why]++ }})
			defer reader.Close()
			ctx, cancel := context.WithCancel(t.Context())
			done := make(chan error, 1)
			go func() {
				done <- reader.Read(ctx, func(_ context.Context, c gateway.Credential) {
					mu.Lock()
					defer mu.Unlock()
					if card := c.(gateway.CardCredential).Card.Reveal(); !sent[card] {
						t.Errorf("a card that nobody sent: %s", card)
					}
					got = append(got, c.(gateway.CardCredential).Card.Reveal())
				})
			}()
			time.Sleep(100 * time.Millisecond) // until the lines are taken
			reads := func() (read int) { mu.Lock(); defer mu.Unlock(); return len(got) }
			sends := 0
			for range each {
				facility, number := rand.Uint64N(256), rand.Uint64N(1<<16)
				mu.Lock()
				sent[fmt.Sprintf("26:%d:%d", facility, number)] = true
				mu.Unlock()
				for try, before := 0, reads(); try < 10 && reads() == before; try++ {
					sends++
					cable{chip, 2 * r, 2*r + 1}.send(cardFrame(26, facility, number), time.Millisecond)
					for range 10 {
						if reads() > before {
							break
						}
						time.Sleep(10 * time.Millisecond)
					}
				}
			}
			cancel()
			if err := <-done; err != nil {
				t.Error(err)
			}
			mu.Lock()
			defer mu.Unlock()
			lost := 0
			for _, n := range dropped {
				lost += n
			}
			t.Logf("reader %d: %d of %d cards read, sent %d times, %v dropped", r, len(got), each, sends, dropped)
			if len(got) < each || len(got)+lost < sends {
				t.Errorf("%d of %d cards read, sent %d times, %d told as dropped", len(got), each, sends, lost)
			}
		})
	}
	all.Wait()
}
