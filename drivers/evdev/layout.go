package evdev

import "github.com/holoplot/go-evdev"

// Layout is a keyboard layout.
type Layout string

const (
	US     Layout = "us"
	French Layout = "fr" // AZERTY
)

// char is what a key writes, plain and with shift; 0 is nothing.
type char struct{ plain, shift byte }

var letters = map[evdev.EvCode]byte{
	evdev.KEY_A: 'a', evdev.KEY_B: 'b', evdev.KEY_C: 'c', evdev.KEY_D: 'd', evdev.KEY_E: 'e', evdev.KEY_F: 'f', evdev.KEY_G: 'g',
	evdev.KEY_H: 'h', evdev.KEY_I: 'i', evdev.KEY_J: 'j', evdev.KEY_K: 'k', evdev.KEY_L: 'l', evdev.KEY_M: 'm', evdev.KEY_N: 'n',
	evdev.KEY_O: 'o', evdev.KEY_P: 'p', evdev.KEY_Q: 'q', evdev.KEY_R: 'r', evdev.KEY_S: 's', evdev.KEY_T: 't', evdev.KEY_U: 'u',
	evdev.KEY_V: 'v', evdev.KEY_W: 'w', evdev.KEY_X: 'x', evdev.KEY_Y: 'y', evdev.KEY_Z: 'z',
}

// digits are the keys with a number on them, wherever they are.
var digits = map[evdev.EvCode]byte{
	evdev.KEY_0: '0', evdev.KEY_1: '1', evdev.KEY_2: '2', evdev.KEY_3: '3', evdev.KEY_4: '4',
	evdev.KEY_5: '5', evdev.KEY_6: '6', evdev.KEY_7: '7', evdev.KEY_8: '8', evdev.KEY_9: '9',
	evdev.KEY_KP0: '0', evdev.KEY_KP1: '1', evdev.KEY_KP2: '2', evdev.KEY_KP3: '3', evdev.KEY_KP4: '4',
	evdev.KEY_KP5: '5', evdev.KEY_KP6: '6', evdev.KEY_KP7: '7', evdev.KEY_KP8: '8', evdev.KEY_KP9: '9',
	evdev.KEY_NUMERIC_0: '0', evdev.KEY_NUMERIC_1: '1', evdev.KEY_NUMERIC_2: '2', evdev.KEY_NUMERIC_3: '3', evdev.KEY_NUMERIC_4: '4',
	evdev.KEY_NUMERIC_5: '5', evdev.KEY_NUMERIC_6: '6', evdev.KEY_NUMERIC_7: '7', evdev.KEY_NUMERIC_8: '8', evdev.KEY_NUMERIC_9: '9',
}

// pad are a keypad's other keys: enter ends an entry, whatever clears clears it (P5).
var pad = map[evdev.EvCode]byte{
	evdev.KEY_ENTER: '#', evdev.KEY_KPENTER: '#', evdev.KEY_NUMERIC_POUND: '#',
	evdev.KEY_KPASTERISK: '*', evdev.KEY_NUMERIC_STAR: '*', evdev.KEY_BACKSPACE: '*', evdev.KEY_ESC: '*', evdev.KEY_DELETE: '*',
}

// layouts are the characters that codes for doors are made of: base64url, dots and digits.
var layouts = map[Layout]map[evdev.EvCode]char{US: usLayout(), French: frenchLayout()}

func usLayout() map[evdev.EvCode]char {
	m := map[evdev.EvCode]char{
		evdev.KEY_MINUS: {'-', '_'}, evdev.KEY_DOT: {'.', '>'}, evdev.KEY_SLASH: {'/', '?'}, evdev.KEY_SEMICOLON: {';', ':'},
		evdev.KEY_EQUAL: {'=', '+'}, evdev.KEY_KPDOT: {'.', '.'}, evdev.KEY_KPMINUS: {'-', '-'},
	}
	for code, c := range letters {
		m[code] = char{c, c - 'a' + 'A'}
	}
	for code, c := range digits {
		m[code] = char{c, 0}
	}
	return m
}

func frenchLayout() map[evdev.EvCode]char {
	m := map[evdev.EvCode]char{
		evdev.KEY_COMMA: {';', '.'}, evdev.KEY_DOT: {':', '/'}, evdev.KEY_M: {',', '?'}, evdev.KEY_EQUAL: {'=', '+'},
		evdev.KEY_KPDOT: {'.', '.'}, evdev.KEY_KPMINUS: {'-', '-'},
	}
	moved := map[evdev.EvCode]byte{evdev.KEY_Q: 'a', evdev.KEY_A: 'q', evdev.KEY_W: 'z', evdev.KEY_Z: 'w', evdev.KEY_SEMICOLON: 'm'}
	for code, c := range letters {
		if code != evdev.KEY_M && moved[code] == 0 {
			moved[code] = c
		}
	}
	for code, c := range moved {
		m[code] = char{c, c - 'a' + 'A'}
	}
	for code, c := range digits { // the upper row has its digits on shift
		if m[code] = (char{c, 0}); code <= evdev.KEY_0 && code >= evdev.KEY_1 {
			m[code] = char{0, c}
		}
	}
	m[evdev.KEY_6], m[evdev.KEY_8] = char{'-', '6'}, char{'_', '8'}
	return m
}
