package hardware

import (
	"context"
	"fmt"

	"gardien/gateway"
)

// absent is a device that cannot be opened at all, so that nothing is tried with it: what the
// configuration asks for is refused on this machine, or not built. It says so.
type absent struct {
	name  string
	fault error
}

func newAbsent(name string, err error) absent {
	return absent{name, fmt.Errorf("%s: %w: %w", name, gateway.ErrAbsent, err)}
}

func (a absent) String() string { return a.name }

// Fault implements gateway.Monitored.
func (a absent) Fault() error { return a.fault }

// FaultChanges implements gateway.Monitored: it never does.
func (a absent) FaultChanges() <-chan struct{} { return nil }

type absentStrike struct{ absent }

func (a absentStrike) Release(context.Context) error { return a.fault }
func (a absentStrike) Secure(context.Context) error  { return nil } // it was never released

type absentLock struct{ absent }

func (a absentLock) Unlock(context.Context) error { return a.fault }
func (a absentLock) Lock(context.Context) error   { return nil }

type absentReader struct{ absent }

// Read implements gateway.Reader.
func (a absentReader) Read(context.Context, func(context.Context, gateway.Credential)) error {
	return a.fault
}
