// Package powercut tells what a power cut at any moment of a program's run could
// have left on its disk, and makes its disk fail on demand. It is for tests.
//
// The shim (shim/shim.c), preloaded into the program, records each call by which
// libc changes the files of one folder. [ReadFile] reads the record, [Disk] is a
// model of the disk that is fed with it, and [Walk] goes over every point of the
// run, puts the state that a cut there would leave into a folder, and lets the
// program recover it. An acknowledgement ([AckWriter]) stands in the record, too:
// what came before it must be there afterwards.
package powercut
