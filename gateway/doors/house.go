package doors

import (
	"context"
	"fmt"
	"time"

	"gardien/gateway"
)

// House is the doors of one gateway, in the order of the configuration.
type House []*Door

// Door finds a door; nil where there is none.
func (h House) Door(id gateway.DoorID) *Door {
	for _, d := range h {
		if d.ID == id {
			return d
		}
	}
	return nil
}

// View gives what is known of a door, without waiting. A door that is not there is blocked.
func (h House) View(id gateway.DoorID) gateway.DoorView {
	if d := h.Door(id); d != nil {
		return d.View()
	}
	return gateway.DoorView{ID: id, Blocked: true}
}

// Show tells whoever stands at a door.
func (h House) Show(id gateway.DoorID, s gateway.Signal) {
	if d := h.Door(id); d != nil {
		d.Show(s)
	}
}

// Release lets the attempt in at its door.
func (h House) Release(ctx context.Context, a gateway.Attempt, retry bool) (time.Duration, error) {
	d := h.Door(a.Door)
	if d == nil {
		return 0, fmt.Errorf("no door %q", a.Door)
	}
	return d.Release(ctx, a, retry)
}
