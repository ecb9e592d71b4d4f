// Package gpio drives a door's wires: strike, contact, request-to-exit, tamper and bell
// inputs, lamps and buzzer.
//
// The devices take the pin interfaces of periph.io/x/conn/v3/gpio, so that they run on
// whatever implements them, in unit tests on its gpiotest. Behind them in the daemon is
// [Line], which speaks the kernel's GPIO character device (v2, Linux ≥ 5.10; see
// Documentation/userspace-api/gpio) through the calls of github.com/warthog618/go-gpiocdev/uapi.
//
// # Why not periph's own lines
//
// periph.io/x/host identifies the board here ([Facts]) and does nothing else; host.Init is
// never called. Measured on host v3.8.5 (gpio-sim, Linux 6.1 and 6.12):
//
//   - the first Out(High) drives Low first: an active-low relay clicks at every start;
//   - Read on an output turns it into an input; a failed request leaves file descriptor 0
//     in use, and Close then closes the program's standard input;
//   - edges carry no direction, time or number, 16 of them are kept, and a loss is invisible;
//   - host.Init on a Raspberry Pi replaces the pins by ones that write registers behind the
//     kernel's back: after SIGKILL the strike stays driven, whatever the kernel is set to.
//
// # What a Line promises
//
// The first level is set with the direction, in one call: no glitch. A line that somebody
// else holds is named with its holder. Edges come with the kernel's monotonic time and
// sequence numbers; a gap is told as [Edge.Lost]. A line whose chip went away fails with an
// error, and every later call tries to find and request it again, also under another number.
//
// # What happens when the process dies
//
// The kernel releases its lines. Mainline drivers then make them inputs; Raspberry Pi's
// kernels keep an output driven unless /boot/firmware/config.txt has dtparam=strict_gpiod
// (raspberrypi/linux pull requests 6117 and 6150). So "gardiend secure-all" runs after
// every end of the daemon (F2), and [Strike] keeps its own limit meanwhile (F1).
//
// Polarity ends in this package: a strike is released or secured, a contact open or
// closed; levels are those of the wire.
package gpio
