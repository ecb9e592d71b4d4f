package api

import (
	"context"
	"errors"
	"fmt"
	"gardien/gateway/web"
	"io/fs"
	"log/slog"
	"net"
	"net/http"
	"os"
	"os/user"
	"path/filepath"
	"slices"
	"strconv"
	"sync"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

// Group is the group whose members act as residents on the socket.
const Group = "gardien"

// Socket serves the API on a Unix socket.
type Socket struct {
	path    string
	handler http.Handler
	log     *slog.Logger
	ready   chan struct{}
	once    sync.Once
	own     func() (net.Listener, error)
	vouched bool // the kernel says who calls
	gid     int
}

// NewSocket makes the task. With listen not nil it serves there in place of the path; callers are
// nobody's then, for no kernel vouches for them.
func NewSocket(path string, listen func() (net.Listener, error), h http.Handler, log *slog.Logger) *Socket {
	s := &Socket{path: path, handler: h, log: log, ready: make(chan struct{}), own: listen, vouched: listen == nil}
	if s.own == nil {
		s.own = s.listen
	}
	return s
}

func (s *Socket) String() string { return "socket" }

// Ready is closed when the socket answers.
func (s *Socket) Ready() <-chan struct{} { return s.ready }

// Run serves until ctx ends.
func (s *Socket) Run(ctx context.Context) error {
	l, err := s.own()
	if err != nil {
		return fmt.Errorf("socket: %w", err)
	}
	srv := newHTTPServer(s.handler, s.log)
	srv.ConnContext = func(ctx context.Context, c net.Conn) context.Context {
		return withCaller(ctx, Caller{Local: s.vouched && s.trusted(c)})
	}
	s.once.Do(func() { close(s.ready) })
	if err := web.Serve(ctx, srv, l, 3*time.Second); err != nil {
		return fmt.Errorf("socket: %w", err)
	}
	return nil
}

func newHTTPServer(h http.Handler, log *slog.Logger) *http.Server {
	return web.NewServer(h, web.Limits{Request: 10 * time.Second, Idle: 30 * time.Second, Headers: 8 << 10}, log, slog.LevelWarn)
}

// SocketFree reports an error where somebody answers at a path already: a second gardiend,
// with a state folder of its own, must not take the socket away from the first.
func SocketFree(ctx context.Context, path string) error {
	ctx, cancel := context.WithTimeout(ctx, time.Second)
	defer cancel()
	c, err := new(net.Dialer).DialContext(ctx, "unix", path)
	switch {
	case err == nil:
		c.Close()
	case errors.Is(err, syscall.EAGAIN) || ctx.Err() != nil: // somebody is there, and busy
	default:
		return nil // nobody, or nobody whom we may ask: listen says what is wrong
	}
	return fmt.Errorf("somebody answers at %s already: stop the other gardiend (systemctl stop gardiend), or set api.socket to another path", path)
}

// listen makes the socket, 0660 and of group gardien; one that a dead process left
// is replaced.
func (s *Socket) listen() (net.Listener, error) {
	if err := SocketFree(context.Background(), s.path); err != nil {
		return nil, err
	}
	if err := os.MkdirAll(filepath.Dir(s.path), 0o750); err != nil {
		return nil, err
	}
	if fi, err := os.Lstat(s.path); err == nil && fi.Mode().Type() != fs.ModeSocket {
		return nil, fmt.Errorf("%s is there and is no socket: move it away, or set api.socket to another path", s.path)
	}
	if err := os.Remove(s.path); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return nil, err
	}
	l, err := net.Listen("unix", s.path)
	if err != nil {
		return nil, err
	}
	s.gid = os.Getegid()
	if g, err := user.LookupGroup(Group); err == nil {
		s.gid, _ = strconv.Atoi(g.Gid)
	} else {
		s.log.Warn("there is no group gardien: the socket is for this process's group; \"groupadd --system gardien\" makes it", "gid", s.gid)
	}
	if s.gid != os.Getegid() {
		if err := os.Chown(s.path, -1, s.gid); err != nil {
			s.log.Warn("the socket stays with this process's group: join group gardien, or start as root", "err", err)
			s.gid = os.Getegid()
		}
	}
	return l, os.Chmod(s.path, 0o660)
}

// trusted asks the kernel who is at the other end: root, our own user, or a member of
// the group.
func (s *Socket) trusted(c net.Conn) bool {
	uc, ok := c.(*net.UnixConn)
	if !ok {
		return false
	}
	raw, err := uc.SyscallConn()
	if err != nil {
		return false
	}
	var cred *unix.Ucred
	if err := raw.Control(func(fd uintptr) { cred, err = unix.GetsockoptUcred(int(fd), unix.SOL_SOCKET, unix.SO_PEERCRED) }); err != nil || cred == nil {
		return false
	}
	if cred.Uid == 0 || int(cred.Uid) == os.Geteuid() || int(cred.Gid) == s.gid {
		return true
	}
	u, err := user.LookupId(strconv.Itoa(int(cred.Uid)))
	if err != nil {
		return false
	}
	groups, err := u.GroupIds()
	return err == nil && slices.Contains(groups, strconv.Itoa(s.gid))
}
