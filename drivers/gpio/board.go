package gpio

import (
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"

	"periph.io/x/host/v3/distro"
)

// Facts is what is known of the board.
type Facts struct {
	Model        string // as the device tree says it; "" on a PC
	Pi           bool   // it has the 40-pin header of a Raspberry Pi
	Celsius      float64
	UnderVoltage bool // the supply was below 4.63 V since the start (hwmon rpi_volt)
}

func (f Facts) String() string {
	s := f.Model
	if f.Celsius != 0 {
		s += fmt.Sprintf(", %.0f °C", f.Celsius)
	}
	if f.UnderVoltage {
		s += ", under-voltage: use a better supply, or strikes may reset the board"
	}
	return s
}

// Board asks the device tree, through periph's distro, and the kernel's sensors. It touches
// no line.
func Board() Facts {
	f := Facts{Model: distro.DTModel()}
	if f.Model == "<unknown>" {
		f.Model = ""
	}
	f.Pi = strings.HasPrefix(f.Model, "Raspberry Pi")
	if f.Model == "" {
		return f
	}
	if b, err := os.ReadFile("/sys/class/thermal/thermal_zone0/temp"); err == nil {
		if v, err := strconv.Atoi(strings.TrimSpace(string(b))); err == nil {
			f.Celsius = float64(v) / 1000
		}
	}
	names, _ := filepath.Glob("/sys/class/hwmon/hwmon*/name")
	for _, name := range names {
		if b, err := os.ReadFile(name); err == nil && strings.TrimSpace(string(b)) == "rpi_volt" {
			b, err := os.ReadFile(filepath.Join(filepath.Dir(name), "in0_lcrit_alarm"))
			f.UnderVoltage = err == nil && strings.TrimSpace(string(b)) == "1"
		}
	}
	return f
}
