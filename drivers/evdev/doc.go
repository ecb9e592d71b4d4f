// Package evdev reads USB keypads and scanners that are keyboards to the kernel
// (Documentation/input/event-codes).
//
// The device is grabbed: what is typed on it reaches no console and no other program. Keys
// are codes of places, not characters, so a scanner must be read with the keyboard layout
// that it is set to: US, or French (AZERTY), as many sold in France are.
//
// A device that goes away ends [Reader.Read] with an error; it is opened again, by the same
// path, when Read is called again. Name it by /dev/input/by-id or by-path: eventN changes.
package evdev
