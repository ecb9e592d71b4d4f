// Package systemd speaks to the service manager: ready, stopping, watchdog, and the ports that it
// opens for a daemon without capabilities. The units beside it are what an installation uses;
// a test holds them against systemd-analyze.
//
// # Ports 443 and 80
//
// gardiend.service wants gardien-web.socket, and the socket is part of the service: it comes
// with a start, goes with a stop, and comes again with a restart. It has no [Install] section,
// so nothing starts it but the service. While the socket is there the service runs or is about
// to: no connection revives a service that was stopped. A port that somebody else has fails
// the socket, both ports of it, and not the service.
package systemd
