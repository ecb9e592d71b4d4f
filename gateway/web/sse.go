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

// ReadEvents reads server-sent events (WHATWG HTML §9.2) until the stream ends or f fails. An
// event counts when its last line has come; what the stream ends in the middle of does not.
func ReadEvents(r io.Reader, f func(Event) error) error {
	in := lines{r: bufio.NewReader(r)}
	var e Event
	has := false
	for first := true; ; first = false {
		line, err := in.next()
		if errors.Is(err, io.EOF) {
			return ErrStreamEnded
		}
		if err != nil {
			return err
		}
		if first {
			line = bytes.TrimPrefix(line, []byte("\ufeff"))
		}
		if len(line) == 0 {
			if has {
				if e.Name == "" {
					e.Name = "message"
				}
				if err := f(e); err != nil {
					return err
				}
			}
			e, has = Event{}, false
			continue
		}
		field, value, _ := bytes.Cut(line, []byte(":"))
		value = bytes.TrimPrefix(value, []byte(" "))
		switch string(field) {
		case "event":
			e.Name = string(value)
		case "data":
			if has {
				e.Data = append(e.Data, '\n')
			}
			if e.Data, has = append(e.Data, value...), true; len(e.Data) > maxEvent {
				return fmt.Errorf("an event of more than %d bytes", maxEvent)
			}
		}
	}
}

// lines splits at LF, CR LF and CR. A CR ends its line at once: an LF after it is its other half.
type lines struct {
	r    *bufio.Reader
	line []byte
	cr   bool // the last line ended with one
}

// next gives a line of at most maxEvent bytes, which is good until the next.
func (l *lines) next() ([]byte, error) {
	l.line = l.line[:0]
	for {
		if _, err := l.r.Peek(1); err != nil {
			return nil, err
		}
		b, _ := l.r.Peek(l.r.Buffered())
		other := l.cr && b[0] == '\n'
		if l.cr = false; other {
			l.r.Discard(1)
			continue
		}
		i := bytes.IndexAny(b, "\r\n")
		whole := i >= 0
		if whole {
			l.cr = b[i] == '\r'
			l.line = append(l.line, b[:i]...)
			l.r.Discard(i + 1)
		} else {
			l.line = append(l.line, b...)
			l.r.Discard(len(b))
		}
		if len(l.line) > maxEvent {
			return nil, fmt.Errorf("a line of more than %d bytes", maxEvent)
		}
		if whole {
			return l.line, nil
		}
	}
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
