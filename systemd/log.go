package systemd

import (
	"bytes"
	"fmt"
	"io"
	"sync"
	"time"
)

// logLimit bounds the lines that wait for a reader, in bytes.
const logLimit = 256 << 10

// Log is a log that never blocks: a daemon must not hang because nobody reads what it
// writes, a full pipe or a terminal that was stopped. Lines that wait beyond a bound are
// dropped, the oldest first, and counted. It is safe for concurrent use.
type Log struct {
	mu      sync.Mutex
	changed *sync.Cond
	lines   [][]byte
	size    int
	dropped int
	closed  bool
	idle    chan struct{} // closed when the writer has ended
}

// NewLog writes to w, which may block, from a goroutine of its own.
func NewLog(w io.Writer) *Log {
	l := &Log{idle: make(chan struct{})}
	l.changed = sync.NewCond(&l.mu)
	go l.run(w)
	return l
}

// Write takes whole lines, and never fails.
func (l *Log) Write(b []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.lines = append(l.lines, bytes.Clone(b))
	for l.size += len(b); l.size > logLimit && len(l.lines) > 1; l.dropped++ {
		l.size -= len(l.lines[0])
		l.lines = l.lines[1:]
	}
	l.changed.Signal()
	return len(b), nil
}

// Close writes what waits, and gives up on a reader who does not read within d.
func (l *Log) Close(d time.Duration) {
	l.mu.Lock()
	l.closed = true
	l.changed.Signal()
	l.mu.Unlock()
	late := time.NewTimer(d)
	defer late.Stop()
	select {
	case <-l.idle:
	case <-late.C:
	}
}

func (l *Log) run(w io.Writer) {
	defer close(l.idle)
	for {
		text, more := l.take()
		w.Write(text) // whoever cannot be written to is not told so
		if !more {
			return
		}
	}
}

// take gives all that waits, and waits for it; more is false at the end.
func (l *Log) take() (text []byte, more bool) {
	l.mu.Lock()
	defer l.mu.Unlock()
	for len(l.lines) == 0 && !l.closed {
		l.changed.Wait()
	}
	if l.dropped > 0 {
		text = fmt.Appendf(nil, "%d lines of this log were dropped before the next: nobody read them in time\n", l.dropped)
	}
	for _, line := range l.lines {
		text = append(text, line...)
	}
	l.lines, l.size, l.dropped = nil, 0, 0
	return text, !l.closed
}
