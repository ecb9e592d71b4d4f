package uplink

import (
	"context"
	"log/slog"
	"unsafe"

	"golang.org/x/sys/unix"
)

// WatchLink delivers a token when the kernel says that a link or an address came up
// (rtnetlink). Where it may not be asked, none comes, and back-off alone decides.
func WatchLink(ctx context.Context, log *slog.Logger) <-chan struct{} {
	up := make(chan struct{}, 1)
	fd, err := unix.Socket(unix.AF_NETLINK, unix.SOCK_RAW|unix.SOCK_CLOEXEC, unix.NETLINK_ROUTE)
	if err == nil {
		err = unix.Bind(fd, &unix.SockaddrNetlink{Family: unix.AF_NETLINK, Groups: unix.RTMGRP_LINK | unix.RTMGRP_IPV4_IFADDR | unix.RTMGRP_IPV6_IFADDR})
	}
	if err == nil { // so that the end of ctx is seen
		err = unix.SetsockoptTimeval(fd, unix.SOL_SOCKET, unix.SO_RCVTIMEO, &unix.Timeval{Sec: 5})
	}
	if err != nil {
		log.Info("links that come up are not noticed at once", "err", err)
		return up
	}
	go func() {
		defer unix.Close(fd)
		buf := make([]byte, 64<<10)
		for ctx.Err() == nil {
			n, _, err := unix.Recvfrom(fd, buf, 0)
			if err == nil && cameUp(buf[:n]) {
				select {
				case up <- struct{}{}:
				default:
				}
			}
		}
	}()
	return up
}

// cameUp looks for a new address, or a link that runs, in rtnetlink messages.
func cameUp(b []byte) bool {
	for len(b) >= unix.SizeofNlMsghdr {
		h := (*unix.NlMsghdr)(unsafe.Pointer(&b[0]))
		if h.Len < unix.SizeofNlMsghdr || int(h.Len) > len(b) {
			return false
		}
		switch h.Type {
		case unix.RTM_NEWADDR:
			return true
		case unix.RTM_NEWLINK:
			if int(h.Len) >= unix.SizeofNlMsghdr+unix.SizeofIfInfomsg {
				const runs = unix.IFF_UP | unix.IFF_RUNNING
				if info := (*unix.IfInfomsg)(unsafe.Pointer(&b[unix.SizeofNlMsghdr])); info.Flags&runs == runs {
					return true
				}
			}
		}
		b = b[min((int(h.Len)+unix.NLMSG_ALIGNTO-1)&^(unix.NLMSG_ALIGNTO-1), len(b)):]
	}
	return false
}
