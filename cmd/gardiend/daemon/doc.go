// Package daemon wires a gateway together: it is all of gardiend but its command
// line. It decides nothing about doors. gardien-demo and the stories run it with
// clocks of their own; no flag, variable or file of gardiend reaches [Options.OS].
package daemon
