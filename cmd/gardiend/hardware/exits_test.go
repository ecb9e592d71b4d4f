package hardware

import (
	"context"
	"testing"
	"testing/synctest"
	"time"

	"gardien/configs"
	"gardien/drivers/sim"
	"gardien/gateway"
	"gardien/gateway/doors"
)

// F4: whoever asks to leave gets out while the daemon waits for its disk, and nothing stays released.
func TestF4_ExitWithoutDisk(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		strike, rex := sim.NewDoor("front", nil), sim.NewREX("front rex")
		alarmed, silent := sim.NewDoor("back", nil), sim.NewREX("back rex")
		h := &Devices{log: quiet, cfg: &configs.Config{Doors: []configs.Door{
			{ID: "front", ReleaseTime: configs.Duration(4 * time.Second), REX: &configs.REX{Releases: true}},
			{ID: "back", ReleaseTime: configs.Duration(4 * time.Second), REX: &configs.REX{}},
		}}, Doors: map[gateway.DoorID]doors.Hardware{"front": {Strike: strike, REX: rex}, "back": {Strike: alarmed, REX: silent}}}
		stop := h.Exits(context.Background())
		released := func(want bool, when string) {
			t.Helper()
			synctest.Wait()
			if strike.Released() != want || alarmed.Released() {
				t.Errorf("%s: released %v, %v", when, strike.Released(), alarmed.Released())
			}
		}
		rex.Press()
		silent.Press()
		released(true, "pressed")
		time.Sleep(3 * time.Second)
		rex.Press()
		time.Sleep(3 * time.Second)
		released(true, "pressed again: extended")
		time.Sleep(time.Second)
		released(false, "in its time")
		rex.Press()
		released(true, "once more")
		stop()
		released(false, "the disk is back")
	})
}
