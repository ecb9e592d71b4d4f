// Package keypad scans a bare matrix keypad on GPIO lines: each key connects a row with a
// column.
//
// At rest all rows are low and all columns pulled up, so that any key is an edge on its
// column; nothing is polled. A press is then located by driving one row at a time and
// letting the others float: two keys at once can join two rows, and no output ever works
// against another. Two keys at once are none.
package keypad
