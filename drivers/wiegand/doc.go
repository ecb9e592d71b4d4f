// Package wiegand reads keypads and card readers on a Wiegand interface: two open-collector
// lines, DATA0 and DATA1, each pulled low for a moment to say a bit (SIA AC-01-1996.10).
//
// A frame is 4 or 8 bits for a key, or 26, 34 or 37 bits with parity for a card ([Parse]).
// [Decoder] puts falling edges together into frames by the kernel's own time of each, so a
// busy processor shifts nothing; what lies outside the limits of P8, or follows edges that
// the kernel had no room for, is dropped and counted, never guessed at.
//
// Only falling edges are taken. Linux serves an edge in a thread: two within its latency are
// one, or have the level after both (measured on 6.1 and 6.12). Bits are at least 200 µs
// apart and safe from that; both edges of a pulse of 20 to 200 µs are not. So the width of a
// pulse is not checked: noise shows as a bit too many, a bit too early, or a bit on both
// lines at once, and each of them voids the frame.
//
// Readers give 5 V on these lines; a Raspberry Pi takes 3.3 V. configs/wiring.md shows the
// level shifter.
package wiegand
