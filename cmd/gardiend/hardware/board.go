package hardware

import (
	"context"
	"sync/atomic"
	"time"

	"gardien/drivers/gpio"
)

// boardEvery is how often the board is looked at.
const boardEvery = time.Minute

// Board watches the board's supply: a strike that draws it down may reset the board while
// the door is open. It is a task.
type Board struct {
	ready chan struct{}
	low   atomic.Bool
	look  func() gpio.Facts
}

// NewBoard looks at the board once, and again when it runs.
func NewBoard(look func() gpio.Facts) *Board {
	b := &Board{ready: make(chan struct{}), look: look}
	close(b.ready)
	b.low.Store(b.look().UnderVoltage)
	return b
}

// Watched reports whether this machine tells of its supply.
func (b *Board) Watched() bool { return b.look().Pi }

// UnderVoltage reports whether the board had too little voltage at the last look.
func (b *Board) UnderVoltage() bool { return b.low.Load() }

// Run looks at it now and then.
func (b *Board) Run(ctx context.Context) error {
	tick := time.NewTicker(boardEvery)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return nil
		case <-tick.C:
			b.low.Store(b.look().UnderVoltage)
		}
	}
}

// Ready is closed at once.
func (b *Board) Ready() <-chan struct{} { return b.ready }

func (b *Board) String() string { return "board" }
