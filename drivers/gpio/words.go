package gpio

import "periph.io/x/conn/v3/gpio"

// The pin interfaces of periph, for whoever wires devices together.
type (
	Pin   = gpio.PinIO
	PinIn = gpio.PinIn
)

// LevelOf reads the configuration's word for a level: high, or else low.
func LevelOf(word string) gpio.Level { return gpio.Level(word == "high") }

// PullOf reads the configuration's word for a pull resistor: up, down, or else none.
func PullOf(word string) gpio.Pull {
	switch word {
	case "up":
		return gpio.PullUp
	case "down":
		return gpio.PullDown
	}
	return gpio.Float
}

// OnFalling takes the lines as inputs that collect falling edges.
func (l *Line) OnFalling(pull gpio.Pull) error { return l.In(pull, gpio.FallingEdge) }
