package hardware

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"os"
	"path/filepath"

	"gardien/configs"
	"gardien/gateway"
)

// heldStrike is a strike that a run of the daemon has taken.
type heldStrike struct {
	Door   string `json:"door"`
	Pin    string `json:"pin"`
	Active string `json:"active"`
}

const strikesFile = "strikes.json"

// NoteStrikes remembers which lines this run drives, for a secure-all that comes when the
// configuration is another, or cannot be read. It needs no disk that takes it: the
// configuration is the first source.
func NoteStrikes(cfg *configs.Config, log *slog.Logger) {
	list := []heldStrike{}
	for _, d := range cfg.Doors {
		if d.Strike != nil && d.Strike.Driver == "gpio" {
			list = append(list, heldStrike{d.ID, d.Strike.Pin, d.Strike.Active})
		}
	}
	path := filepath.Join(cfg.Gateway.StateDir, strikesFile)
	b, err := json.Marshal(list)
	if err == nil {
		err = os.WriteFile(path+".new", b, 0o600)
	}
	if err == nil {
		err = os.Rename(path+".new", path)
	}
	if err != nil {
		log.Warn("which lines are driven is not noted; secure-all will go by the configuration", "err", err)
	}
}

// addHeld adds the strikes of the last run. Where both know a line, its polarity is that of
// the run that drove it.
func addHeld(cfg *configs.Config) {
	b, err := os.ReadFile(filepath.Join(cfg.Gateway.StateDir, strikesFile))
	var list []heldStrike
	if err != nil || json.Unmarshal(b, &list) != nil {
		return
	}
	for _, h := range list {
		pin, err := gateway.ParseLine(h.Pin)
		if err != nil {
			continue
		}
		known := false
		for _, d := range cfg.Doors {
			if d.Strike == nil || d.Strike.Driver != "gpio" {
				continue
			}
			if p, err := gateway.ParseLine(d.Strike.Pin); err == nil && p == pin {
				d.Strike.Active, known = h.Active, true
			}
		}
		if !known {
			cfg.Doors = append(cfg.Doors, configs.Door{ID: h.Door, Strike: &configs.Strike{Driver: "gpio", Pin: h.Pin, Active: h.Active}})
		}
	}
}

// SecureAll secures every strike of a configuration, and of the last run, and nothing else.
// It takes no lock and opens no database, so that it works while the daemon is dead or hung,
// and reads what it needs of a configuration that is wrong (F2). Where nothing is known to be
// secured it says so; what it has to say besides goes to say, which must not block.
func SecureAll(ctx context.Context, file string, say io.Writer) (n int, err error) {
	cfg, wrong := configs.Load(file, configs.Opts{SetAside: true})
	if wrong != nil {
		cfg = configs.Strikes(file)
	}
	addHeld(cfg)
	if wrong != nil && len(cfg.Doors) == 0 {
		return 0, fmt.Errorf("no strike is known, so none is secured: %w", wrong)
	}
	if wrong != nil {
		fmt.Fprintf(say, "gardiend: the configuration is wrong (gardiend --check says where); what it and the last run name is secured\n")
	}
	for i, d := range cfg.Doors { // feedback and the like are no matter here
		if s := d.Strike; s != nil {
			cfg.Doors[i].Strike = &configs.Strike{Driver: s.Driver, Pin: s.Pin, Active: s.Active, AtReset: "accept"}
		}
	}
	if err := endHung(ctx, cfg, say); err != nil {
		return 0, err
	}
	h := newDevices(cfg, slog.New(slog.DiscardHandler))
	errs := h.openLatches(ctx)
	return len(h.closers) - len(errs), errors.Join(errors.Join(errs...), h.Close())
}
