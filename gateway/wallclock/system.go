package wallclock

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"time"

	"golang.org/x/sys/unix"
)

// System is the running kernel's clocks.
type System struct{ boot string }

// NewSystem reads the boot id.
func NewSystem() (*System, error) {
	b, err := os.ReadFile("/proc/sys/kernel/random/boot_id")
	if err != nil {
		return nil, fmt.Errorf("clock: %w", err)
	}
	return &System{strings.TrimSpace(string(b))}, nil
}

// Now implements OS.
func (s *System) Now() (time.Time, time.Duration, string) {
	var ts unix.Timespec
	if err := unix.ClockGettime(unix.CLOCK_BOOTTIME, &ts); err != nil {
		panic(err) // every Linux since 2.6.39 has it
	}
	return time.Now().Round(0), time.Duration(ts.Nano()), s.boot
}

// HasRTC reports whether the kernel set the system's clock from an RTC at boot, and
// the two agree now. They do not after a boot with a flat battery, when systemd moves
// the clock on to where it last stood.
func HasRTC() bool { return hasRTC("/sys/class/rtc/rtc0", time.Now()) }

func hasRTC(dir string, now time.Time) bool {
	set, err1 := os.ReadFile(filepath.Join(dir, "hctosys"))
	epoch, err2 := os.ReadFile(filepath.Join(dir, "since_epoch"))
	sec, err3 := strconv.ParseInt(strings.TrimSpace(string(epoch)), 10, 64)
	return errors.Join(err1, err2, err3) == nil && strings.TrimSpace(string(set)) == "1" &&
		now.Sub(time.Unix(sec, 0)).Abs() < rtcApart
}

// rtcApart is how far an RTC and a system that was set from it may drift apart.
const rtcApart = time.Minute

// Timesyncd is systemd-timesyncd: it touches a file for each good answer of a
// server. (Not /var/lib/systemd/timesync/clock, which advances without any.)
type Timesyncd struct{ Path string }

// TimesyncdPath is where systemd-timesyncd touches.
const TimesyncdPath = "/run/systemd/timesync/synchronized"

// LastSync implements Source.
func (t Timesyncd) LastSync(context.Context) (time.Time, bool) {
	fi, err := os.Stat(t.Path)
	if err != nil {
		return time.Time{}, false
	}
	return fi.ModTime(), true
}

// Chrony is chronyd, asked over its monitoring port.
type Chrony struct{ Addr string }

// ChronyAddr is chronyd's default monitoring address.
const ChronyAddr = "127.0.0.1:323"

// LastSync implements Source.
func (c Chrony) LastSync(ctx context.Context) (time.Time, bool) {
	at, ok, err := chronyTracking(ctx, c.Addr)
	return at, ok && err == nil
}

// Sources is several sources: the latest evidence counts.
type Sources []Source

// LastSync implements Source.
func (s Sources) LastSync(ctx context.Context) (latest time.Time, ok bool) {
	for _, src := range s {
		if at, found := src.LastSync(ctx); found && at.After(latest) {
			latest, ok = at, true
		}
	}
	return latest, ok
}
