//go:build !race

package mdns

const underRace = false
