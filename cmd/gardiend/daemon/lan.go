package daemon

import (
	"context"
	"crypto/tls"
	"errors"
	"net"
	"net/netip"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"

	"gardien/gateway"
	"gardien/gateway/api"
	"gardien/gateway/certs"
	"gardien/gateway/mdns"
	"gardien/gateway/web"
	"gardien/systemd"
)

// What the home network sees of a gateway: HTTPS under a name of its own, and who announces it.

// hostName is the gateway's name on the network, without ".local": the last four of its id make it
// one of many in a street.
func hostName(id gateway.GatewayID) string { return "gardien-" + string(id[len(id)-4:]) }

// network is a gateway's side of it.
type network struct {
	g         *Gateway
	certs     atomic.Pointer[certs.House] // nil: not open yet, or something ails it
	certsTurn sync.Mutex
	lan       *api.LAN    // nil: no home network is served
	mdns      *announcing // nil: nobody announces it
}

// openCerts opens the house CA and the leaf, if they are not open yet. What ails them ails the
// listener alone.
func (n *network) openCerts() (*certs.House, error) {
	n.certsTurn.Lock()
	defer n.certsTurn.Unlock()
	if h := n.certs.Load(); h != nil {
		return h, nil
	}
	h, err := certs.Open(certs.Opts{Dir: filepath.Join(n.g.cfg.Gateway.StateDir, keysDir), Name: hostName(n.g.identity.ID) + ".local", Clock: n.g.clock, Log: n.g.log})
	if err != nil {
		return nil, err
	}
	n.certs.Store(h)
	return h, nil
}

// fingerprint is that of the TLS key; "" where there is none.
func (n *network) fingerprint() string {
	if h := n.certs.Load(); h != nil && n.lan != nil {
		return h.Fingerprint()
	}
	return ""
}

// wireLAN makes the listener for the home network, and who announces it.
func (n *network) wireLAN(handler *api.Server) []Task {
	ports := n.g.opts.Sockets
	if n.g.cfg.API.Listen == "" {
		for _, l := range []net.Listener{ports.Secure, ports.Plain} {
			if l != nil {
				l.Close() // nobody would answer
			}
		}
		return nil
	}
	if systemd.UnderJournal() && (ports.Secure == nil || ports.Plain == nil) {
		n.g.log.Info("ports 443 and 80 are not both ours, so that people have to type the port: look at gardien-web.socket and gardien-web-80.socket (systemctl status), and at who else has the port (ss -ltnp)")
	}
	n.lan = api.NewLAN(api.LANOpts{Listen: n.g.cfg.API.Listen, Name: hostName(n.g.identity.ID) + ".local", Secure: ports.Secure, Plain: ports.Plain,
		Addresses: web.OwnAddresses, Handler: handler, Log: n.g.log,
		Certificate: func() (func(*tls.ClientHelloInfo) (*tls.Certificate, error), error) {
			h, err := n.openCerts()
			if err != nil {
				return nil, err
			}
			return h.Certificate, nil
		}})
	if n.g.cfg.MDNS.Mode == "off" || onlyHere(n.g.cfg.API.Listen) {
		return []Task{n.lan}
	}
	n.mdns = &announcing{g: n.g}
	n.mdns.job = newJob("mdns", n.mdns.announce)
	return []Task{n.lan, n.mdns}
}

// onlyHere reports an address that nobody else can reach.
func onlyHere(listen string) bool {
	host, _, err := net.SplitHostPort(listen)
	ip, _ := netip.ParseAddr(host)
	return err == nil && (host == "localhost" || ip.IsLoopback())
}

// announcing announces the listener, as soon as it listens.
type announcing struct {
	job
	g   *Gateway
	now atomic.Pointer[mdns.Announcer] // nil: nothing is announced yet
}

func (a *announcing) announce(ctx context.Context) error {
	g := a.g
	select {
	case <-g.lan.Ready():
	case <-ctx.Done():
		return nil
	}
	address := g.lan.Address()
	if address == nil {
		return errors.New("nobody listens on the network yet")
	}
	only, _ := netip.AddrFromSlice(address.IP)
	if only = only.Unmap(); only.IsUnspecified() {
		only = netip.Addr{}
	}
	host := hostName(g.identity.ID)
	m := mdns.New(mdns.Opts{Host: host, Instance: "Gardien " + strings.TrimPrefix(host, "gardien-"), Port: address.Port,
		TXT:  []string{"txtvers=1", "id=" + string(g.identity.ID), "api=" + api.Version, "fp=" + g.fingerprint()[:16]},
		Mode: g.cfg.MDNS.Mode, Interfaces: g.cfg.MDNS.Interfaces, Only: only, Log: g.log})
	a.now.Store(m)
	return m.Run(ctx)
}

// address is where the gateway listens; "": nowhere.
func (n *network) address() string {
	if n.lan == nil || n.lan.Address() == nil {
		return ""
	}
	return n.lan.Address().String()
}

// statusOfLAN says where the gateway listens.
func (n *network) statusOfLAN() api.StatusAPI {
	st := api.StatusAPI{Socket: n.g.cfg.API.Socket}
	if n.lan == nil {
		return st
	}
	st.Name, st.Address = n.lan.Name, n.address()
	if h := n.certs.Load(); h != nil {
		st.Fingerprint, st.CAFingerprint = h.Fingerprint(), h.CAFingerprint()
	}
	return st
}
