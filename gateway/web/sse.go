package web

import (
	"bufio"
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"time"
)

// maxEvent bounds one server-sent event, in bytes.
const maxEvent = 64 << 10

// Event is one server-sent event.
type Event struct {
	Name string // "message" where it names none
	Data []byte
}

// ErrStreamEnded says that the other side ended the stream.
var ErrStreamEnded = errors.New("the stream ended")

// ReadEvents reads server-sent events (WHATWG HTML §9.2) until the stream ends or f fails.
// An event that is not finished when the stream ends does not count.
func ReadEvents(r io.Reader, f func(Event) error) error {
	lines := bufio.NewScanner(r)
	lines.Buffer(make([]byte, 0, 4096), maxEvent)
	lines.Split(scanLine)
	var name string
	var data []byte
	has := false
	for lines.Scan() {
		line := lines.Bytes()
		if len(line) == 0 {
			if has {
				if name == "" {
					name = "message"
				}
				if err := f(Event{name, data}); err != nil {
					return err
				}
			}
			name, data, has = "", nil, false
			continue
		}
		field, value, _ := bytes.Cut(line, []byte(":"))
		value = bytes.TrimPrefix(value, []byte(" "))
		switch string(field) {
		case "event":
			name = string(value)
		case "data":
			if has {
				data = append(data, '\n')
			}
			if data, has = append(data, value...), true; len(data) > maxEvent {
				return fmt.Errorf("an event of more than %d bytes", maxEvent)
			}
		}
	}
	if err := lines.Err(); err != nil {
		return err
	}
	return ErrStreamEnded
}

// scanLine splits at LF, CR LF and CR. A CR at the end of what is there waits for what
// follows.
func scanLine(b []byte, atEOF bool) (advance int, token []byte, err error) {
	i := bytes.IndexAny(b, "\r\n")
	switch {
	case i < 0 && atEOF:
		return len(b), nil, nil // an unfinished line does not count
	case i < 0:
		return 0, nil, nil
	case b[i] == '\n':
		return i + 1, b[:i], nil
	case i+1 < len(b) && b[i+1] == '\n':
		return i + 2, b[:i], nil
	case i+1 < len(b) || atEOF:
		return i + 1, b[:i], nil
	}
	return 0, nil, nil
}

// Stream writes server-sent events. It is one goroutine's.
type Stream struct {
	w      http.ResponseWriter
	out    *http.ResponseController
	within time.Duration
	buf    bytes.Buffer
}

// OpenStream begins a stream whose client takes what is flushed within a time, or loses it.
func OpenStream(w http.ResponseWriter, within time.Duration) *Stream {
	w.Header().Set("Content-Type", EventStream)
	w.Header().Set("Cache-Control", "no-store")
	w.Header().Set("X-Accel-Buffering", "no") // nginx would keep it all to itself
	w.WriteHeader(http.StatusOK)
	return &Stream{w: w, out: http.NewResponseController(w), within: within}
}

// Event adds an event with v as JSON; id 0 is none.
func (s *Stream) Event(name string, id int64, v any) {
	b, err := json.Marshal(v)
	if err != nil {
		panic(err) // texts and numbers of ours
	}
	if id > 0 {
		fmt.Fprintf(&s.buf, "id: %d\n", id)
	}
	fmt.Fprintf(&s.buf, "event: %s\ndata: %s\n\n", name, b)
}

// Breathe adds a sign of life, the shortest there is.
func (s *Stream) Breathe() { s.buf.WriteString(":\n\n") }

// Waiting reports whether something was added that is not sent yet.
func (s *Stream) Waiting() bool { return s.buf.Len() > 0 }

// Flush sends what was added.
func (s *Stream) Flush() error {
	s.out.SetWriteDeadline(time.Now().Add(s.within))
	_, err := s.w.Write(s.buf.Bytes())
	if s.buf.Reset(); s.buf.Cap() > 16<<10 { // a batch was large once: thousands of idle streams keep no such thing
		s.buf = bytes.Buffer{}
	}
	return errors.Join(err, s.out.Flush())
}
