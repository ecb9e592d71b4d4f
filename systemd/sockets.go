package systemd

import (
	"errors"
	"fmt"
	"net"
	"os"

	"github.com/coreos/go-systemd/v22/activation"
)

// The ports of gardien-web.socket and gardien-web-80.socket.
const (
	httpsPort = 443
	httpPort  = 80
)

// Sockets gives the listeners of ports 443 and 80 that the manager has opened
// (sd_listen_fds(3)), nil where it did not. What else it handed over is closed, and the error names it; the
// listeners are good beside an error. The environment forgets them: a second call, or a child process, gets none.
func Sockets() (https, http net.Listener, err error) { return sockets(httpsPort, httpPort) }

func sockets(httpsPort, httpPort int) (https, http net.Listener, err error) {
	var errs []error
	for _, f := range activation.Files(true) {
		l, err := listener(f)
		if err != nil {
			errs = append(errs, err)
			continue
		}
		switch port := l.Addr().(*net.TCPAddr).Port; {
		case port == httpsPort && https == nil:
			https = l
		case port == httpPort && http == nil:
			http = l
		default:
			l.Close()
			errs = append(errs, fmt.Errorf("systemd: the manager handed over %s, a second one or none of the ports %d and %d: it is closed", l.Addr(), httpsPort, httpPort))
		}
	}
	return https, http, errors.Join(errs...)
}

// listener takes over f, which it closes, if that is a TCP socket which listens.
func listener(f *os.File) (*net.TCPListener, error) {
	defer f.Close()
	l, err := net.FileListener(f)
	if err != nil {
		return nil, fmt.Errorf("systemd: the manager handed over %q, which is no listener: it is closed: %w", f.Name(), err)
	}
	tcp, ok := l.(*net.TCPListener)
	if !ok {
		l.Close()
		return nil, fmt.Errorf("systemd: the manager handed over %q, the %s socket %s: it is closed", f.Name(), l.Addr().Network(), l.Addr())
	}
	return tcp, nil
}
