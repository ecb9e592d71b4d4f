package systemd

import (
	"context"
	"fmt"
	"log/slog"
	"os"
	"time"

	"github.com/coreos/go-systemd/v22/daemon"
)

// Ready tells the manager that the service is up, with a line for its status.
func Ready(status string) error { return notify(daemon.SdNotifyReady + "\nSTATUS=" + status) }

// Stopping tells the manager that the service ends.
func Stopping() error { return notify(daemon.SdNotifyStopping) }

// Status replaces the line that systemctl status shows; it also asks for d more time
// to start or stop, if d is not zero.
func Status(status string, d time.Duration) error {
	text := "STATUS=" + status
	if d > 0 {
		text += fmt.Sprintf("\nEXTEND_TIMEOUT_USEC=%d", d.Microseconds())
	}
	return notify(text)
}

// notify does nothing where no manager listens.
func notify(text string) error {
	if _, err := daemon.SdNotify(false, text); err != nil {
		return fmt.Errorf("systemd: %w", err)
	}
	return nil
}

// Watchdog feeds the manager's watchdog while check answers, at half its time. It
// returns at once where there is none.
func Watchdog(ctx context.Context, check func(context.Context) error) error {
	every, err := daemon.SdWatchdogEnabled(false)
	if err != nil || every == 0 {
		return err
	}
	tick := time.NewTicker(every / 2)
	defer tick.Stop()
	for {
		bounded, cancel := context.WithTimeout(ctx, every/2)
		err := check(bounded)
		cancel()
		if err == nil {
			err = notify(daemon.SdNotifyWatchdog)
		}
		if err != nil && ctx.Err() == nil {
			slog.Error("the watchdog is not fed", "err", err)
		}
		select {
		case <-ctx.Done():
			return nil
		case <-tick.C:
		}
	}
}

// UnderJournal reports whether standard error goes to the journal, which adds its own
// time stamps.
func UnderJournal() bool { return os.Getenv("JOURNAL_STREAM") != "" }
