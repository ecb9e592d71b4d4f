package keypad
