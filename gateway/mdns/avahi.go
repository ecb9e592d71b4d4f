package mdns

import (
	"context"
	"errors"
	"time"

	"github.com/godbus/dbus/v5"
)

// callTimeout bounds each call: a bus or a daemon that hangs holds up nothing but this task.
const callTimeout = 2 * time.Second

const (
	avahiName   = "org.freedesktop.Avahi"
	avahiServer = avahiName + ".Server"
	avahiGroup  = avahiName + ".EntryGroup"
	avahiTwice  = avahiName + ".CollisionError"
)

// What avahi's numbers mean (avahi-common/defs.h, avahi-common/address.h).
const (
	protoAny  = int32(-1)
	noReverse = uint32(16) // AVAHI_PUBLISH_NO_REVERSE: addresses already have a name, the machine's

	serverRunning = int32(2)
	serverFailure = int32(4)

	groupEstablished = int32(2)
	groupCollision   = int32(3)
	groupFailure     = int32(4)
)

// isCollision reports whether avahi refuses a name since it has it already.
func isCollision(err error) bool {
	var e dbus.Error
	return errors.As(err, &e) && e.Name == avahiTwice
}

// bus is avahi over the system's message bus.
type bus struct {
	conn    *dbus.Conn
	signals chan *dbus.Signal
	news    chan news
}

// dialAvahi connects to the system's message bus (DBUS_SYSTEM_BUS_ADDRESS), not to avahi.
func dialAvahi(ctx context.Context) (avahi, error) {
	conn, err := dbus.ConnectSystemBus(dbus.WithContext(ctx), dbus.WithSignalHandler(dbus.NewSequentialSignalHandler()))
	if err != nil {
		return nil, err
	}
	b := &bus{conn: conn, signals: make(chan *dbus.Signal, 16), news: make(chan news, 16)}
	conn.Signal(b.signals)
	err = errors.Join(
		conn.AddMatchSignal(dbus.WithMatchSender("org.freedesktop.DBus"), dbus.WithMatchInterface("org.freedesktop.DBus"),
			dbus.WithMatchMember("NameOwnerChanged"), dbus.WithMatchArg(0, avahiName)),
		conn.AddMatchSignal(dbus.WithMatchSender(avahiName), dbus.WithMatchMember("StateChanged")),
	)
	if err != nil {
		conn.Close()
		return nil, err
	}
	go b.translate(conn.Context())
	return b, nil
}

// translate makes news of signals until the connection ends.
func (b *bus) translate(ctx context.Context) {
	defer close(b.news)
	for s := range b.signals { // closed with the connection
		if n, ok := translate(s); ok {
			select {
			case b.news <- n:
			case <-ctx.Done():
				return
			}
		}
	}
}

func translate(s *dbus.Signal) (news, bool) {
	if s.Name == "org.freedesktop.DBus.NameOwnerChanged" {
		return news{what: ownerChanged}, true
	}
	n := news{id: string(s.Path)}
	var state int32
	if dbus.Store(s.Body, &state, &n.reason) != nil {
		return news{}, false
	}
	switch s.Name {
	case avahiServer + ".StateChanged":
		switch state {
		case serverRunning:
			n.what = serverRuns
			return n, true
		case serverFailure:
			n.what = serverFailed
			return n, true
		}
	case avahiGroup + ".StateChanged":
		switch state {
		case groupEstablished:
			n.what = established
			return n, true
		case groupCollision:
			n.what = groupCollides
			return n, true
		case groupFailure:
			n.what = groupFailed
			return n, true
		}
	}
	return news{}, false
}

func (b *bus) News() <-chan news { return b.news }

func (b *bus) Close() { b.conn.Close() }

// call calls a method of whoever is avahi, which is never started by it.
func (b *bus) call(ctx context.Context, path dbus.ObjectPath, method string, args ...any) *dbus.Call {
	ctx, cancel := context.WithTimeout(ctx, callTimeout)
	defer cancel()
	return b.conn.Object(avahiName, path).CallWithContext(ctx, method, dbus.FlagNoAutoStart, args...)
}

func (b *bus) Runs(ctx context.Context) bool {
	var state int32
	err := b.call(ctx, "/", avahiServer+".GetState").Store(&state)
	return err == nil && state != serverFailure
}

func (b *bus) HostName(ctx context.Context) (name string, err error) {
	return name, b.call(ctx, "/", avahiServer+".GetHostName").Store(&name)
}

func (b *bus) Publish(ctx context.Context, g group) (string, error) {
	var path dbus.ObjectPath
	if err := b.call(ctx, "/", avahiServer+".EntryGroupNew").Store(&path); err != nil {
		return "", err
	}
	err := b.fill(ctx, path, g)
	if err == nil {
		err = b.call(ctx, path, avahiGroup+".Commit").Err
	}
	if err != nil {
		b.Withdraw(ctx, string(path))
		return "", err
	}
	return string(path), nil
}

func (b *bus) fill(ctx context.Context, path dbus.ObjectPath, g group) error {
	index := int32(g.iface.index)
	if s := g.service; s != nil {
		var txt [][]byte
		for _, t := range s.TXT {
			txt = append(txt, []byte(t))
		}
		return b.call(ctx, path, avahiGroup+".AddService", index, protoAny, uint32(0), s.Instance, serviceType, "local", g.host, uint16(s.Port), txt).Err
	}
	for _, a := range g.iface.addrs() {
		if err := b.call(ctx, path, avahiGroup+".AddAddress", index, protoAny, noReverse, g.host, a.String()).Err; err != nil {
			return err
		}
	}
	return nil
}

func (b *bus) Withdraw(ctx context.Context, id string) {
	if id != "" {
		_ = b.call(ctx, dbus.ObjectPath(id), avahiGroup+".Free").Err // gone with avahi, if that is gone
	}
}

func (b *bus) Whose(ctx context.Context, host string) string {
	var index, proto, aproto int32
	var name, address string
	var flags uint32
	if b.call(ctx, "/", avahiServer+".ResolveHostName", protoAny, protoAny, host, protoAny, uint32(0)).Store(&index, &proto, &name, &aproto, &address, &flags) != nil {
		return ""
	}
	return address
}
