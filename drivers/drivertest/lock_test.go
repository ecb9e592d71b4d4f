package drivertest

import (
	"testing"

	"gardien/gateway"
)

// The lock that misbehaves on demand is a good one otherwise.
func TestLockOfTests(t *testing.T) {
	TestLock(t, Options{}, func(*testing.T) (gateway.Lock, func() bool) {
		l := NewLock()
		return l, l.Unlocked
	})
}
