package hardware

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"time"

	"gardien/configs"
	"gardien/gateway"
)

// How long a daemon may take to answer before it is hung, and the kernel to take its lines back.
const (
	answersIn  = 3 * time.Second
	releasesIn = 2 * time.Second
)

// endHung ends a daemon that holds the strikes and does not answer any more: the kernel lets
// nobody else at its lines (F2). One that answers keeps them, and is named.
func endHung(ctx context.Context, cfg *configs.Config, say io.Writer) error {
	if !holdsStrikes(cfg) {
		return nil
	}
	pid, err := holder(cfg.Gateway.StateDir)
	if err != nil {
		return err
	}
	if answers(ctx, cfg.API.Socket) {
		return fmt.Errorf("gardiend runs (process %d), answers, and looks after its strikes: stop it to secure them all (systemctl stop gardiend)", pid)
	}
	fmt.Fprintf(say, "gardiend (process %d) holds the strikes and does not answer: it is ended\n", pid)
	for _, signal := range []syscall.Signal{syscall.SIGTERM, syscall.SIGKILL} {
		if err := syscall.Kill(pid, signal); err != nil && !errors.Is(err, syscall.ESRCH) {
			return fmt.Errorf("gardiend (process %d) is hung and cannot be ended: %w", pid, err)
		}
		for end := time.Now().Add(releasesIn); time.Now().Before(end); time.Sleep(5 * time.Millisecond) {
			if !holdsStrikes(cfg) {
				return nil
			}
		}
	}
	return fmt.Errorf("gardiend (process %d) was killed, and its lines are not free %s later", pid, releasesIn)
}

// holdsStrikes reports whether a gardiend holds the line of a strike.
func holdsStrikes(cfg *configs.Config) bool {
	for _, d := range cfg.Doors {
		if d.Strike == nil || d.Strike.Driver != "gpio" {
			continue
		}
		p, err := gateway.ParseLine(d.Strike.Pin)
		if err != nil {
			continue
		}
		if isOurs(p) {
			return true
		}
	}
	return false
}

// holder gives the process that has the state folder, if it is a gardiend as this one.
func holder(stateDir string) (int, error) {
	path := filepath.Join(stateDir, "lock")
	b, err := os.ReadFile(path)
	if err != nil {
		return 0, fmt.Errorf("the strikes are held by a gardiend with another state folder: %w", err)
	}
	pid, err := strconv.Atoi(strings.TrimSpace(string(b)))
	if err != nil || pid < 2 {
		return 0, fmt.Errorf("%s does not say which process holds the strikes: find it with gpioinfo and ps, and kill it", path)
	}
	// The same program, or the one that an upgrade has put this one in place of.
	theirs, err := os.Readlink(fmt.Sprintf("/proc/%d/exe", pid))
	ours, err2 := os.Readlink("/proc/self/exe")
	if err := errors.Join(err, err2); err != nil || strings.TrimSuffix(theirs, " (deleted)") != ours {
		return 0, fmt.Errorf("process %d of %s is not this gardiend, and is left alone: find who holds the strikes with gpioinfo and ps", pid, path)
	}
	return pid, nil
}

// answers asks the daemon for a sign of life of its doors.
func answers(ctx context.Context, socket string) bool {
	ctx, cancel := context.WithTimeout(ctx, answersIn)
	defer cancel()
	c := http.Client{Transport: &http.Transport{DisableKeepAlives: true, DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
		return (&net.Dialer{}).DialContext(ctx, "unix", socket)
	}}}
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, "http://gardien/v1/doors", nil)
	if err != nil {
		return false
	}
	res, err := c.Do(req)
	if err != nil {
		return false
	}
	res.Body.Close()
	return res.StatusCode == http.StatusOK
}
