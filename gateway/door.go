package gateway

import (
	"context"
	"errors"
	"fmt"
	"time"
)

// ReleaseLimit is how long a driver keeps a strike released by itself, whatever becomes of
// the daemon (F1).
const ReleaseLimit = 15 * time.Second

// Strike lets the latch go while it is released. Methods are safe for concurrent
// use and wait for nothing but the wire; Close of a concrete driver leaves it secured.
type Strike interface {
	// Release lets the latch go. Whatever becomes of the caller, the driver
	// secures again ReleaseLimit after the latest Release.
	Release(context.Context) error
	// Secure holds the latch. Securing what is secured is no error.
	Secure(context.Context) error
	String() string
}

// Lock is a bolt lock that reports itself. Its methods may take seconds: each gets a context
// with a deadline, and may still act after it, or not at all.
type Lock interface {
	// Unlock withdraws the bolt. It is never retried blindly (Z4).
	Unlock(context.Context) error
	// Lock throws the bolt.
	Lock(context.Context) error
	String() string
}

// LockState is what a lock reports.
type LockState string

const (
	LockLocked   LockState = "locked"
	LockUnlocked LockState = "unlocked"
	LockJammed   LockState = "jammed"
	LockUnknown  LockState = "unknown" // not heard from for too long (F7)
)

// LockMonitor is the further ability of a Lock, or of a Strike with read-back, to
// tell its state, without waiting.
type LockMonitor interface {
	LockState() LockState
	// LockChanges delivers a token after the state may have changed.
	LockChanges() <-chan struct{}
}

// ContactState is where the leaf is.
type ContactState string

const (
	ContactOpen    ContactState = "open"
	ContactClosed  ContactState = "closed"
	ContactUnknown ContactState = "unknown"
	ContactFault   ContactState = "fault"
)

// Contact is a door position switch. It tells what it knows without waiting. Its level is
// sampled, never toggled per edge (F5).
type Contact interface {
	// Contact samples the level now.
	Contact() ContactState
	// ContactChanges delivers a token after the level may have changed.
	ContactChanges() <-chan struct{}
	String() string
}

// REX is a request-to-exit input: it needs no grant.
type REX interface {
	// Requests delivers a token for each request.
	Requests() <-chan struct{}
	String() string
}

// Reader is where a credential is presented.
type Reader interface {
	// Read calls present for each credential, one at a time, until ctx ends or the
	// device fails. present returns when the verdict is recorded.
	Read(ctx context.Context, present func(context.Context, Credential)) error
	String() string
}

// ErrFault is wrapped by errors of drivers: the hardware did not do it.
var ErrFault = errors.New("hardware fault")

// ErrAbsent is wrapped by errors of drivers whose device is not there: it cannot be moved,
// by nobody.
var ErrAbsent = fmt.Errorf("not there: %w", ErrFault)

// Monitored is the further ability of a device to tell that it does not work.
type Monitored interface {
	// Fault is what is wrong now; nil while the device works. It wraps ErrFault.
	Fault() error
	// FaultChanges delivers a token after that may have changed.
	FaultChanges() <-chan struct{}
}

// Signal is what somebody at a door is told.
type Signal string

const (
	SignalGranted  Signal = "granted"
	SignalDenied   Signal = "denied"
	SignalWait     Signal = "wait"      // residents are asked first
	SignalHeldOpen Signal = "held_open" // please close the door
	SignalNone     Signal = ""
)

// Indicator shows signals: lamps, a buzzer.
type Indicator interface {
	// Show replaces what is shown. It never waits.
	Show(Signal)
	String() string
}
