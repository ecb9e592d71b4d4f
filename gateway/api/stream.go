package api

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"strconv"
	"time"
)

// heartbeat keeps middle boxes from closing a quiet stream.
const heartbeat = 25 * time.Second

// afterOf reads where to begin: Last-Event-ID, or ?after=.
func afterOf(r *request) (int64, error) {
	q := r.URL.Query().Get("after")
	if id := r.Header.Get("Last-Event-ID"); id != "" {
		q = id
	}
	if q == "" {
		return 0, nil
	}
	n, err := strconv.ParseInt(q, 10, 64)
	if err != nil || n < 0 {
		return 0, Fail(http.StatusBadRequest, "bad-request", "after: want the seq of an event, or 0")
	}
	return n, nil
}

func (s *Server) events(r *request) (Answer, error) {
	after, err := afterOf(r)
	if err != nil {
		return Answer{}, err
	}
	limit, err := limitOf(r)
	if err != nil {
		return Answer{}, err
	}
	list, err := s.backend.Record.Events(r.Context(), after, limit)
	if err != nil {
		return Answer{}, err
	}
	page := Events{Events: list, Next: after}
	if len(list) > 0 {
		page.Next = list[len(list)-1].Seq
	}
	return reply(200, page)
}

// streamEvents sends the record from a point on, and then as it grows.
func (s *Server) streamEvents(w http.ResponseWriter, r *request) error {
	after, err := afterOf(r)
	if err != nil {
		return err
	}
	if s.streams.Add(1) > maxStreams {
		s.streams.Add(-1)
		return Fail(http.StatusTooManyRequests, "too-many-requests", "at most %d streams at once: come back later", maxStreams)
	}
	defer s.streams.Add(-1)
	grown, stop := s.backend.Record.Watch()
	defer stop()
	w.Header().Set("Content-Type", "text/event-stream")
	w.Header().Set("Cache-Control", "no-store")
	out := http.NewResponseController(w)
	fmt.Fprint(w, ": the record\n\n")
	beat := time.NewTicker(heartbeat)
	defer beat.Stop()
	for {
		for more := true; more; {
			page, err := s.eventsAfter(r.Context(), after)
			if err != nil {
				return nil // the head is sent: the client comes back with Last-Event-ID
			}
			if _, err := w.Write(page.text); err != nil {
				return nil
			}
			after, more = page.last, page.full
		}
		if out.Flush() != nil {
			return nil
		}
		select {
		case <-r.Context().Done():
			return nil
		case <-s.stop:
			return nil
		case <-grown:
		case <-beat.C:
			fmt.Fprint(w, ": still here\n\n")
		}
	}
}

// streamed is a part of the record as a stream has it.
type streamed struct {
	text []byte
	last int64 // seq
	full bool  // there may be more
}

// eventsAfter gives the next part after a number. It is this client's turn for as long, and
// not while it is written: another does not wait for a client that does not read.
func (s *Server) eventsAfter(ctx context.Context, after int64) (p streamed, err error) {
	leave, err := s.readers.take(ctx)
	if err != nil {
		return p, err
	}
	defer leave()
	const limit = 100
	list, err := s.backend.Record.Events(ctx, after, limit)
	p.last, p.full = after, len(list) == limit
	var text bytes.Buffer
	for _, e := range list {
		b, err := json.Marshal(e)
		if err != nil {
			return p, err
		}
		fmt.Fprintf(&text, "id: %d\nevent: event\ndata: %s\n\n", e.Seq, b)
		p.last = e.Seq
	}
	p.text = text.Bytes()
	return p, err
}

// backup streams the database.
func (s *Server) backup(w http.ResponseWriter, r *request) error {
	leave, err := s.copiers.take(r.Context())
	if err != nil {
		return err
	}
	defer leave()
	w.Header().Set("Content-Type", "application/vnd.sqlite3")
	counted := &countingWriter{ResponseWriter: w}
	err = s.backend.Upkeep.Backup(r.Context(), counted)
	if err != nil && counted.n > 0 {
		panic(http.ErrAbortHandler) // half of it is sent: the client must see that it broke
	}
	return err
}

type countingWriter struct {
	http.ResponseWriter
	n int64
}

func (w *countingWriter) Write(b []byte) (int, error) {
	n, err := w.ResponseWriter.Write(b)
	w.n += int64(n)
	return n, err
}

// restore takes a database.
func (s *Server) restore(w http.ResponseWriter, r *request) error {
	if r.Header.Get("Content-Type") != "application/vnd.sqlite3" {
		return Fail(http.StatusUnsupportedMediaType, "unsupported-media-type", "want Content-Type: application/vnd.sqlite3")
	}
	leave, err := s.copiers.take(r.Context())
	if err != nil {
		return err
	}
	defer leave()
	in := http.NewResponseController(w)
	err = s.backend.Upkeep.Restore(r.Context(), steady{r.Request, in})
	in.SetReadDeadline(time.Now().Add(writeWithin)) // for what is left of it
	if err != nil {
		return err
	}
	w.WriteHeader(http.StatusNoContent)
	return nil
}
