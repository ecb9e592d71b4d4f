// Package systemd speaks to the service manager: ready, stopping, watchdog. The units
// beside it are what an installation uses; a test holds them against systemd-analyze.
package systemd
