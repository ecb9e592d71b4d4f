package gateway

import "time"

// Keypad gathers keys into a PIN (P5): digits, then '#'; '*' clears; ten seconds
// of silence clear; more than ten digits void the entry until '#' or '*'. There
// is no sliding window. The zero value is ready; it is not safe for concurrent use.
type Keypad struct {
	digits []byte
	void   bool
	last   time.Time
}

// KeypadSilence is how long an unfinished entry lives.
const KeypadSilence = 10 * time.Second

// Press takes one key at an instant of the reader's own clock. It gives a PIN
// when the key ended an entry that has digits; other keys are ignored.
func (k *Keypad) Press(key byte, at time.Time) (PIN, bool) {
	if !k.last.IsZero() && at.Sub(k.last) >= KeypadSilence {
		k.clear()
	}
	k.last = at
	switch {
	case key == '*':
		k.clear()
	case key == '#':
		pin, err := NewPIN(string(k.digits))
		ok := err == nil && !k.void
		k.clear()
		if ok {
			return pin, true
		}
	case key >= '0' && key <= '9':
		if len(k.digits) == 10 {
			k.void = true
			break
		}
		k.digits = append(k.digits, key)
	}
	return PIN{}, false
}

func (k *Keypad) clear() {
	clear(k.digits)
	k.digits, k.void = k.digits[:0], false
}
