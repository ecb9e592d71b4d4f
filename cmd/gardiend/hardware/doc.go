// Package hardware opens the devices that a configuration names, and secures strikes when
// nothing else is there to do so: at the start, while the daemon waits for its disk (requests
// to exit), and for a daemon that is dead or hung ([SecureAll]). It knows no database.
//
// Strikes are secured before anything else. What is missing, or does not work, is a fault of
// its door or reader alone: the device is there all the same, says so, and is tried again.
package hardware
