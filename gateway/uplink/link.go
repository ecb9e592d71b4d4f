package uplink

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"strconv"
	"syscall"

	"golang.org/x/sys/unix"
)

// WatchLink delivers a token when the kernel says that a link or an address came up
// (rtnetlink). Where it may not be asked, none comes, and back-off alone decides.
func WatchLink(ctx context.Context, log *slog.Logger) <-chan struct{} {
	up := make(chan struct{}, 1)
	fd, err := unix.Socket(unix.AF_NETLINK, unix.SOCK_RAW|unix.SOCK_CLOEXEC|unix.SOCK_NONBLOCK, unix.NETLINK_ROUTE)
	if err == nil {
		err = unix.Bind(fd, &unix.SockaddrNetlink{Family: unix.AF_NETLINK, Groups: unix.RTMGRP_LINK | unix.RTMGRP_IPV4_IFADDR | unix.RTMGRP_IPV6_IFADDR})
	}
	if err != nil {
		log.Info("links that come up are not noticed at once", "err", err)
		if fd >= 0 {
			unix.Close(fd)
		}
		return up
	}
	socket := os.NewFile(uintptr(fd), "rtnetlink") // the runtime's poller waits for it
	context.AfterFunc(ctx, func() { socket.Close() })
	go func() {
		buf := make([]byte, 64<<10)
		seen := links{}
		for {
			n, err := socket.Read(buf)
			if ctx.Err() != nil {
				return
			}
			if err != nil && !errors.Is(err, unix.ENOBUFS) { // that is an overrun: some news is lost
				log.Info("links that come up are not noticed at once any more", "err", err)
				return
			}
			if err == nil && seen.cameUp(buf[:n]) {
				select {
				case up <- struct{}{}:
				default:
				}
			}
		}
	}()
	return up
}

// links is what is known to be up: links by number, addresses by their message. The kernel
// repeats itself: an address that is renewed is no news.
type links map[string]bool

// cameUp looks for a new address, or a link that runs and did not, in rtnetlink messages.
func (l links) cameUp(b []byte) (news bool) {
	messages, _ := syscall.ParseNetlinkMessage(b)
	for _, m := range messages {
		switch kind, n := m.Header.Type, len(m.Data); {
		case (kind == unix.RTM_NEWADDR || kind == unix.RTM_DELADDR) && n >= unix.SizeofIfAddrmsg:
			attrs, _ := syscall.ParseNetlinkRouteAttr(&m)
			for _, a := range attrs {
				if a.Attr.Type == unix.IFA_ADDRESS {
					news = l.set(fmt.Sprintf("address %d %x", binary.NativeEndian.Uint32(m.Data[4:]), a.Value), kind == unix.RTM_NEWADDR) || news
				}
			}
		case (kind == unix.RTM_NEWLINK || kind == unix.RTM_DELLINK) && n >= unix.SizeofIfInfomsg:
			const runs = unix.IFF_UP | unix.IFF_RUNNING
			index, flags := binary.NativeEndian.Uint32(m.Data[4:]), binary.NativeEndian.Uint32(m.Data[8:])
			news = l.set("link "+strconv.Itoa(int(index)), kind == unix.RTM_NEWLINK && flags&runs == runs) || news
		}
	}
	return news
}

// set notes what is up, and reports that it was not.
func (l links) set(what string, up bool) (news bool) {
	if what == "" || l[what] == up {
		return false
	}
	if len(l) > 1024 {
		clear(l)
	}
	if l[what] = up; !up {
		delete(l, what)
	}
	return up
}
