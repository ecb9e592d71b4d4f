package web

import (
	"net"
	"net/http"
	"net/netip"
	"strconv"
	"strings"

	"gardien/gateway"
)

// Site is the names under which browsers may speak to a server (W1, W2).
type Site struct {
	Name      string              // "gardien-62fg.local"
	Addresses func() []netip.Addr // of this machine
}

// OwnAddresses lists the addresses of this machine's interfaces.
func OwnAddresses() (list []netip.Addr) {
	addrs, err := net.InterfaceAddrs()
	if err != nil {
		return nil
	}
	for _, a := range addrs {
		if n, ok := a.(*net.IPNet); ok {
			if ip, ok := netip.AddrFromSlice(n.IP); ok {
				list = append(list, ip.Unmap())
			}
		}
	}
	return list
}

// Check refuses a request whose Host is none of ours with 421: a name that an attacker has pointed
// at this machine (DNS rebinding) is none. It refuses one of another page with 403.
func (s Site) Check(r *http.Request) error {
	if !s.IsOurs(r) {
		return gateway.Fail(http.StatusMisdirectedRequest, "misdirected", "this gateway is https://%s, or one of its addresses", s.Name)
	}
	if origins := r.Header.Values("Origin"); len(origins) > 1 || len(origins) == 1 && !sameOrigin(origins[0], r.Host) {
		return gateway.Fail(http.StatusForbidden, "foreign-origin", "another page may not call this gateway")
	}
	return nil
}

// sameOrigin reports whether an origin is that of https and the host.
func sameOrigin(origin, host string) bool {
	return strings.EqualFold(strings.TrimSuffix(origin, ":443"), "https://"+strings.TrimSuffix(host, ":443"))
}

// IsOurs reports whether a request's Host is the own name, localhost, or an address of this machine.
func (s Site) IsOurs(r *http.Request) bool {
	host := r.Host
	if h, port, err := net.SplitHostPort(host); err == nil {
		if _, err := strconv.ParseUint(port, 10, 16); err != nil {
			return false
		}
		host = h
	} else if h, ok := strings.CutPrefix(host, "["); ok {
		if host, ok = strings.CutSuffix(h, "]"); !ok {
			return false
		}
	}
	if strings.EqualFold(host, "localhost") || strings.EqualFold(strings.TrimSuffix(host, "."), s.Name) {
		return true
	}
	ip, err := netip.ParseAddr(host)
	if err != nil {
		return false
	}
	ip = ip.Unmap().WithZone("")
	if local, ok := r.Context().Value(http.LocalAddrContextKey).(net.Addr); ok && addressOf(local) == ip {
		return true
	}
	// Unspecified is this machine, too, for whoever dials it.
	if ip.IsUnspecified() || ip.IsLoopback() {
		return true
	}
	for _, own := range s.Addresses() {
		if own == ip {
			return true
		}
	}
	return false
}
