// Package systemd speaks to the service manager: ready, stopping, watchdog, and the ports that it
// opens for a daemon without capabilities. The units beside it are what an installation uses;
// a test holds them against systemd-analyze.
//
// # Ports 443 and 80
//
// gardiend.service wants gardien-web.socket and gardien-web-80.socket, and they are part of the
// service: they come with a start, go with a stop, and come again with a restart. They have no
// [Install] section, so nothing starts them but the service. While a socket is there the
// service runs or is about to: no connection revives a service that was stopped. A port that
// somebody else has fails its own socket, and neither the other nor the service.
package systemd
