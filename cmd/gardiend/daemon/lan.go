package daemon

import (
	"context"
	"crypto/tls"
	"errors"
	"net"
	"net/netip"
	"path/filepath"
	"strings"
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

// openCerts opens the house CA and the leaf, if they are not open yet. What ails them ails the
// listener alone.
func (g *Gateway) openCerts() (*certs.House, error) {
	g.certsTurn.Lock()
	defer g.certsTurn.Unlock()
	if h := g.certs.Load(); h != nil {
		return h, nil
	}
	h, err := certs.Open(certs.Opts{Dir: filepath.Join(g.cfg.Gateway.StateDir, keysDir), Name: hostName(g.identity.ID) + ".local", Clock: g.clock, Log: g.log})
	if err != nil {
		return nil, err
	}
	g.certs.Store(h)
	return h, nil
}

// fingerprint is that of the TLS key; "" where there is none.
func (g *Gateway) fingerprint() string {
	if h := g.certs.Load(); h != nil && g.lan != nil {
		return h.Fingerprint()
	}
	return ""
}

// wireLAN makes the listener for the home network, and who announces it.
func (g *Gateway) wireLAN(handler *api.Server) []Task {
	ports := g.opts.Sockets
	if g.cfg.API.Listen == "" {
		for _, l := range []net.Listener{ports.Secure, ports.Plain} {
			if l != nil {
				l.Close() // nobody would answer
			}
		}
		return nil
	}
	if systemd.UnderJournal() && (ports.Secure == nil || ports.Plain == nil) {
		g.log.Info("ports 443 and 80 are not both ours, so that people have to type the port: look at gardien-web.socket and gardien-web-80.socket (systemctl status), and at who else has the port (ss -ltnp)")
	}
	g.lan = api.NewLAN(api.LANOpts{Listen: g.cfg.API.Listen, Name: hostName(g.identity.ID) + ".local", Secure: ports.Secure, Plain: ports.Plain,
		Addresses: web.OwnAddresses, Handler: handler, Log: g.log,
		Certificate: func() (func(*tls.ClientHelloInfo) (*tls.Certificate, error), error) {
			h, err := g.openCerts()
			if err != nil {
				return nil, err
			}
			return h.Certificate, nil
		}})
	if g.cfg.MDNS.Mode == "off" || onlyHere(g.cfg.API.Listen) {
		return []Task{g.lan}
	}
	g.mdns = &announcing{g: g, ready: make(chan struct{})}
	return []Task{g.lan, g.mdns}
}

// onlyHere reports an address that nobody else can reach.
func onlyHere(listen string) bool {
	host, _, err := net.SplitHostPort(listen)
	ip, _ := netip.ParseAddr(host)
	return err == nil && (host == "localhost" || ip.IsLoopback())
}

// announcing announces the listener, as soon as it listens.
type announcing struct {
	g     *Gateway
	ready chan struct{}
	now   atomic.Pointer[mdns.Announcer] // nil: nothing is announced yet
}

func (a *announcing) String() string         { return "mdns" }
func (a *announcing) Ready() <-chan struct{} { return a.ready }

func (a *announcing) Run(ctx context.Context) error {
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
func (g *Gateway) address() string {
	if g.lan == nil || g.lan.Address() == nil {
		return ""
	}
	return g.lan.Address().String()
}

// statusOfLAN says where the gateway listens.
func (g *Gateway) statusOfLAN(st *api.Status, note func(format string, args ...any)) {
	st.API = api.StatusAPI{Socket: g.cfg.API.Socket}
	if g.lan == nil {
		return
	}
	st.API.Name, st.API.Address = g.lan.Name, g.address()
	if h := g.certs.Load(); h != nil {
		st.API.Fingerprint, st.API.CAFingerprint = h.Fingerprint(), h.CAFingerprint()
	}
	if g.mdns != nil {
		if m := g.mdns.now.Load(); m != nil {
			if who := m.State().Collision; who != "" {
				note("another device on the network calls itself %s (%s): phones may find it in place of this gateway; find out what it is", g.lan.Name, who)
			}
		}
	}
}
