package hardware

import (
	"context"
	"sync"
	"time"

	"gardien/configs"
	"gardien/gateway"
	"gardien/gateway/doors"
)

// Exits serves requests to exit while the daemon waits for its disk: the way out depends on no
// database (F4). stop ends it, with every strike secured.
func (h *Devices) Exits(ctx context.Context) (stop func()) {
	ctx, cancel := context.WithCancel(ctx)
	var serving sync.WaitGroup
	for _, d := range h.cfg.Doors {
		hw := h.Doors[gateway.DoorID(d.ID)]
		if d.REX == nil || !d.REX.Releases || hw.Strike == nil {
			continue
		}
		serving.Go(func() { h.exit(ctx, d, hw.Strike, hw.REX) })
	}
	return func() { cancel(); serving.Wait() }
}

func (h *Devices) exit(ctx context.Context, d configs.Door, s gateway.Strike, r gateway.REX) {
	secure := func() { // should it fail, the driver tries again by itself
		if err := s.Secure(context.WithoutCancel(ctx)); err != nil {
			h.log.Error("the strike is not secured", "door", d.ID, "err", err)
		}
	}
	defer secure()
	timer := time.NewTimer(0)
	<-timer.C
	var began time.Time // of the release on end
	for {
		select {
		case <-ctx.Done():
			return
		case <-r.Requests():
			if began.IsZero() {
				began = time.Now()
			}
			if err := s.Release(ctx); err != nil {
				h.log.Error("a request to exit did not release the strike", "door", d.ID, "err", err)
			}
			timer.Reset(min(time.Duration(d.ReleaseTime), time.Until(began.Add(doors.LongestRelease))))
		case <-timer.C:
			began = time.Time{}
			secure()
		}
	}
}
