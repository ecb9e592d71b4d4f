package hardware

import (
	"errors"
	"fmt"
	"io/fs"
	"strings"

	"golang.org/x/sys/unix"

	"gardien/configs"
	"gardien/drivers/gpio"
	"gardien/gateway"
)

// Check holds the configuration's lines against this machine, without requesting
// any. Notes are for whoever installs; a machine without any GPIO gets one in place of errors.
func Check(cfg *configs.Config) (problems configs.Problems, notes []string) {
	notes = deviceNotes(cfg)
	wires := cfg.Wires()
	if len(wires) == 0 {
		return nil, notes
	}
	board := gpio.Board()
	where := map[gpio.Address]string{}
	for _, w := range wires {
		a, err := gpio.Find(w.Pin)
		if errors.Is(err, gpio.ErrNoChip) && !board.Pi {
			notes = append(notes, err.Error()+": the lines are not checked against it")
			break
		}
		if err == nil {
			if other, ok := where[a]; ok {
				err = fmt.Errorf("%s is the line of %s already", w.Pin, other)
			}
			where[a] = w.Key
		}
		if err == nil {
			if who := gpio.Holder(a); who != "" && !strings.HasPrefix(who, consumer) {
				err = fmt.Errorf("%s is held by %q", a, who)
			}
		}
		if err != nil {
			problems = append(problems, wrong(cfg, w.Key, err).(configs.Problem))
		}
	}
	for i, d := range cfg.Doors {
		if d.Strike == nil || d.Strike.Driver != "gpio" {
			continue
		}
		if p, err := gateway.ParseLine(d.Strike.Pin); err == nil {
			if err := releasedAtReset(p, d.Strike); err != nil {
				problems = append(problems, cfg.Problem(fmt.Sprintf("doors[%d].strike.pin", i), err.Error(), resetRemedy))
			}
		}
	}
	return problems, append(notes, bootNotes(cfg, board)...)
}

// deviceNotes tells which devices are not there now, or not for us: they may be plugged in later.
func deviceNotes(cfg *configs.Config) (notes []string) {
	for _, r := range cfg.Readers {
		if r.Driver != "evdev" && r.Driver != "serial" {
			continue
		}
		err := unix.Access(r.Device, unix.R_OK) // opening a serial line would move its wires
		if err == nil {
			continue
		}
		remedy := "plug it in; ls /dev/input/by-id /dev/serial/by-id shows what there is"
		if errors.Is(err, fs.ErrPermission) {
			remedy = "sudo adduser gardien input, or dialout for a serial one"
		}
		notes = append(notes, fmt.Sprintf("reader %s: %s: %v: %s", r.ID, r.Device, err, remedy))
	}
	return notes
}

// bootNotes are the lines for config.txt that keep a strike secured from power-on, and let
// the kernel release lines when a process dies (F2, F3).
func bootNotes(cfg *configs.Config, board gpio.Facts) (notes []string) {
	for _, d := range cfg.Doors {
		if d.Strike == nil || d.Strike.Driver != "gpio" {
			continue
		}
		p, err := gateway.ParseLine(d.Strike.Pin)
		if err != nil || p.Chip != "" {
			continue
		}
		level := "dl"
		if d.Strike.Active == "low" {
			level = "dh"
		}
		notes = append(notes, fmt.Sprintf("door %s: in /boot/firmware/config.txt, so that the strike is secured before gardiend runs: gpio=%d=op,%s", d.ID, p.Header, level))
	}
	if len(notes) > 0 {
		notes = append(notes, "in /boot/firmware/config.txt, so that the kernel releases lines when a process dies: dtparam=strict_gpiod")
	}
	if board.Model != "" {
		notes = append(notes, "board: "+board.String())
	}
	return notes
}
