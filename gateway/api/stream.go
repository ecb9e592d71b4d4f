package api

import (
	"errors"
	"net/http"
	"strconv"
	"time"

	"gardien/gateway"
	"gardien/gateway/web"
)

// heartbeat is how often a quiet stream shows that the gateway is there: a client calls it lost
// after 10 s.
const heartbeat = 4 * time.Second

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
		return 0, web.BadRequest("after: want the seq of an event, or 0")
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
	page := Events{Events: []gateway.Event{}, Next: after}
	for _, e := range list {
		page.Next = e.Seq
		if e, may := r.caller.sees(e); may {
			page.Events = append(page.Events, e)
		}
	}
	return reply(200, page)
}

// streamEvents sends the record from a point on, and then as it grows.
func (s *Server) streamEvents(w http.ResponseWriter, r *request) error {
	after, err := afterOf(r)
	if err != nil {
		return err
	}
	leave, err := s.streams.enter(string(r.caller.Resident))
	if err != nil {
		return err
	}
	defer leave()
	grown, stop := s.backend.Record.Watch()
	defer stop()
	out := web.OpenStream(w, web.Within)
	out.Breathe()
	beat := time.NewTicker(heartbeat)
	defer beat.Stop()
	for {
		for more := true; more; {
			if after, more, err = s.addEvents(r, out, after); err != nil {
				return nil // the head is sent: the client comes back with Last-Event-ID
			}
			if out.Waiting() && out.Flush() != nil {
				return nil
			}
		}
		select {
		case <-r.Context().Done():
			return nil
		case <-s.stop:
			return nil
		case <-grown:
		case <-beat.C:
			if !stillThere(s, r) {
				return nil
			}
			out.Breathe()
		}
	}
}

// addEvents adds the next events after a number to a stream, and gives the last one's. It is this
// client's turn for as long, and not while they are written: another does not wait for a client
// that does not read. A device that was removed, or that moved, has seen its last event.
func (s *Server) addEvents(r *request, out *web.Stream, after int64) (last int64, more bool, err error) {
	leave, err := s.readers.Take(r.Context())
	if err != nil {
		return after, false, err
	}
	defer leave()
	const limit = 100
	list, err := s.backend.Record.Events(r.Context(), after, limit)
	for _, e := range list {
		if r.caller.Resident != "" && e.Resident == r.caller.Resident && (e.Type == gateway.ResidentRemoved || e.Type == gateway.ResidentPaired) {
			if !stillThere(s, r) {
				return after, false, errGone
			}
		}
		if e, may := r.caller.sees(e); may {
			out.Event("event", e.Seq, e)
		}
		after = e.Seq
	}
	return after, len(list) == limit, err
}

// stillThere reports whether a stream's reader may read still: a device that was removed, or that a
// restore has brought back as another, may not. Its connection stays one of a device.
func stillThere(s *Server, r *request) bool {
	if r.caller.Resident == "" {
		return true
	}
	device, is, err := s.backend.Sessions.Authenticate(r.Context(), r.caller.token)
	if err != nil || !is || device.Unconfirmed || device.Role != r.caller.device.Role {
		return false
	}
	web.Recognise(r.Context(), string(device.ID))
	return true
}

// errGone says that a stream's reader is no paired device any more.
var errGone = errors.New("the device was removed")

// databaseType is the media type of a copy of the database.
const databaseType = "application/vnd.sqlite3"

// backup streams the database.
func (s *Server) backup(w http.ResponseWriter, r *request) error {
	leave, err := s.copiers.Take(r.Context())
	if err != nil {
		return err
	}
	defer leave()
	w.Header().Set("Content-Type", databaseType)
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
	if r.Header.Get("Content-Type") != databaseType {
		return Fail(http.StatusUnsupportedMediaType, "unsupported-media-type", "want Content-Type: %s", databaseType)
	}
	leave, err := s.copiers.Take(r.Context())
	if err != nil {
		return err
	}
	defer leave()
	err = s.backend.Upkeep.Restore(r.Context(), web.NewSteady(w, r.Request))
	http.NewResponseController(w).SetReadDeadline(time.Now().Add(web.Within)) // for what is left of it
	if err != nil {
		return err
	}
	w.WriteHeader(http.StatusNoContent)
	return nil
}
