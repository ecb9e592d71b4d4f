package evdev
