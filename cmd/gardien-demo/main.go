// Command gardien-demo tells Gardien's story on a laptop: it starts the real daemon in
// a temporary folder with a simulated door, lets a courier in, refuses forgers, starts a
// cloud and a carrier and cuts the cable to them, kills the daemon in mid-release and turns
// its clock back. It needs no root, no network and no hardware. It exits with 0 only if everything happened as told.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"log/slog"
	"os"
	"os/signal"
	"syscall"
	"time"

	"gardien/cmd/gardiend/daemon"
	"gardien/gateway/wallclock"
)

// daemonWord makes this program the daemon of its own story: with a clock that no flag,
// variable or file of the shipped gardiend can move.
const daemonWord = "be-the-daemon"

func main() {
	if len(os.Args) == 4 && os.Args[1] == daemonWord {
		os.Exit(beDaemon(os.Args[2], os.Args[3]))
	}
	os.Exit(run(os.Args[1:], os.Stdout, os.Stderr))
}

func run(args []string, out, errOut io.Writer) int {
	flags := flag.NewFlagSet("gardien-demo", flag.ContinueOnError)
	flags.SetOutput(errOut)
	fast := flags.Bool("fast", false, "do not pause for reading")
	stay := flags.Bool("stay", false, "leave the gateway running at the end, with commands to try")
	flags.Usage = func() {
		fmt.Fprint(errOut, "gardien-demo tells Gardien's story with a simulated door. It needs no root, network or hardware.\n\n")
		flags.PrintDefaults()
	}
	if err := flags.Parse(args); errors.Is(err, flag.ErrHelp) {
		return 0
	} else if err != nil || flags.NArg() > 0 {
		return 2
	}
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	s, err := newStory(out, *fast)
	if err != nil {
		fmt.Fprintln(errOut, "gardien-demo:", err)
		return 1
	}
	if err = s.tell(ctx); err == nil && *stay {
		s.stay(ctx)
	}
	if err = errors.Join(err, s.close()); err != nil {
		fmt.Fprintf(errOut, "gardien-demo: it did not happen as told: %v\nthe daemon's log is %s/log\n", err, s.dir)
		return 1
	}
	if err := os.RemoveAll(s.dir); err != nil {
		fmt.Fprintln(errOut, "gardien-demo:", err)
		return 1
	}
	return 0
}

// movedOS is the system's clocks with another wall time.
type movedOS struct {
	wallclock.OS
	by time.Duration
}

func (m movedOS) Now() (time.Time, time.Duration, string) {
	wall, since, boot := m.OS.Now()
	return wall.Add(m.by), since, boot
}

// beDaemon runs gardiend on a configuration; wall is its wall clock at the start, or "now".
func beDaemon(config, wall string) int {
	sys, err := wallclock.NewSystem()
	o := daemon.Options{Config: config, OS: sys, Log: slog.New(slog.NewTextHandler(os.Stderr, nil))}
	if wall != "now" && err == nil {
		var at time.Time
		if at, err = time.Parse(time.RFC3339, wall); err == nil {
			o.OS = movedOS{sys, time.Until(at)}
		}
	}
	if err == nil {
		ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGTERM)
		defer stop()
		err = daemon.Run(ctx, o)
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, "gardiend:", err)
		return 1
	}
	return 0
}
