//go:build race

package mdns

// underRace: the race detector multiplies memory.
const underRace = true
