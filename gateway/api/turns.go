package api

import (
	"context"
	"net/http"
	"sync/atomic"
	"time"
)

// turns lets one reader in at a time, and a bounded number wait: whoever reads much, however
// many they are, takes one processor and one connection of the database, and leaves the rest
// to decisions and revocations (A11).
type turns struct {
	turn    chan struct{}
	most    int32 // waiting ones included
	present atomic.Int32
}

func newTurns(most int32) *turns { return &turns{turn: make(chan struct{}, 1), most: most} }

// take waits for its turn and gives the way out.
func (t *turns) take(ctx context.Context) (leave func(), err error) {
	if t.present.Add(1) > t.most {
		t.present.Add(-1)
		return nil, Fail(http.StatusTooManyRequests, "too-many-requests", "too many readers at once: come back later")
	}
	select {
	case t.turn <- struct{}{}:
		return func() { <-t.turn; t.present.Add(-1) }, nil
	case <-ctx.Done():
		t.present.Add(-1)
		return nil, ctx.Err()
	}
}

// inTurn answers a request when it is its turn.
func (t *turns) inTurn(answer func(*request) (Answer, error)) func(*request) (Answer, error) {
	return func(r *request) (Answer, error) {
		leave, err := t.take(r.Context())
		if err != nil {
			return Answer{}, err
		}
		defer leave()
		return answer(r)
	}
}

// writeWithin is how long a client may take to take what is written, each time.
const writeWithin = 10 * time.Second

// patient is a response whose client is waited for while the answer is made, but not while it
// is taken: a client that reads nothing loses its connection.
type patient struct {
	http.ResponseWriter
	out *http.ResponseController
}

func newPatient(w http.ResponseWriter) patient {
	return patient{w, http.NewResponseController(w)}
}

// Unwrap is for http.ResponseController.
func (p patient) Unwrap() http.ResponseWriter { return p.ResponseWriter }

func (p patient) WriteHeader(status int) {
	p.out.SetWriteDeadline(time.Now().Add(writeWithin))
	p.ResponseWriter.WriteHeader(status)
}

func (p patient) Write(b []byte) (int, error) {
	p.out.SetWriteDeadline(time.Now().Add(writeWithin))
	return p.ResponseWriter.Write(b)
}

// steady is a request's body that has to come on, each time it is read.
type steady struct {
	*http.Request
	in *http.ResponseController
}

func (s steady) Read(b []byte) (int, error) {
	s.in.SetReadDeadline(time.Now().Add(writeWithin))
	return s.Body.Read(b)
}
