package uplink

import (
	"context"
	"fmt"
	"log/slog"
	"strconv"
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
		seen := links{}
		for ctx.Err() == nil {
			n, _, err := unix.Recvfrom(fd, buf, 0)
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
	for len(b) >= unix.SizeofNlMsghdr {
		h := (*unix.NlMsghdr)(unsafe.Pointer(&b[0]))
		if h.Len < unix.SizeofNlMsghdr || int(h.Len) > len(b) {
			return news
		}
		body := b[unix.SizeofNlMsghdr:h.Len]
		switch h.Type {
		case unix.RTM_NEWADDR, unix.RTM_DELADDR:
			news = l.set(addressOf(body), h.Type == unix.RTM_NEWADDR) || news
		case unix.RTM_NEWLINK, unix.RTM_DELLINK:
			if len(body) >= unix.SizeofIfInfomsg {
				const runs = unix.IFF_UP | unix.IFF_RUNNING
				info := (*unix.IfInfomsg)(unsafe.Pointer(&body[0]))
				news = l.set("link "+strconv.Itoa(int(info.Index)), h.Type == unix.RTM_NEWLINK && info.Flags&runs == runs) || news
			}
		}
		b = b[min((int(h.Len)+unix.NLMSG_ALIGNTO-1)&^(unix.NLMSG_ALIGNTO-1), len(b)):]
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

// addressOf names the address of an RTM_NEWADDR or RTM_DELADDR: its link and IFA_ADDRESS.
func addressOf(b []byte) string {
	if len(b) < unix.SizeofIfAddrmsg {
		return ""
	}
	link := (*unix.IfAddrmsg)(unsafe.Pointer(&b[0])).Index
	for b = b[unix.SizeofIfAddrmsg:]; len(b) >= unix.SizeofRtAttr; {
		a := (*unix.RtAttr)(unsafe.Pointer(&b[0]))
		if a.Len < unix.SizeofRtAttr || int(a.Len) > len(b) {
			return ""
		}
		if a.Type == unix.IFA_ADDRESS {
			return fmt.Sprintf("address %d %x", link, b[unix.SizeofRtAttr:a.Len])
		}
		b = b[min((int(a.Len)+3)&^3, len(b)):]
	}
	return ""
}
