package web

import (
	"context"
	"net/http"
	"sync/atomic"
	"time"
)

// Turns lets one reader in at a time, and a bounded number wait: whoever reads much, however
// many they are, takes one processor and one connection of the database, and leaves the rest
// to decisions and revocations (A11).
type Turns struct {
	turn    chan struct{}
	most    int32 // waiting ones included
	present atomic.Int32
}

// NewTurns bounds how many there are, waiting ones included.
func NewTurns(most int32) *Turns { return &Turns{turn: make(chan struct{}, 1), most: most} }

// Take waits for its turn and gives the way out; too many are a 429.
func (t *Turns) Take(ctx context.Context) (leave func(), err error) {
	if t.present.Add(1) > t.most {
		t.present.Add(-1)
		return nil, TooMany("too many readers at once: come back later")
	}
	select {
	case t.turn <- struct{}{}:
		return func() { <-t.turn; t.present.Add(-1) }, nil
	case <-ctx.Done():
		t.present.Add(-1)
		return nil, ctx.Err()
	}
}

// Within is how long a client may take to take what is written, each time.
const Within = 10 * time.Second

// Patient is a response whose client is waited for while the answer is made, but not while it
// is taken: a client that reads nothing loses its connection.
type Patient struct {
	http.ResponseWriter
	out *http.ResponseController
	set time.Time // when the deadline was set at last
}

// NewPatient wraps a response.
func NewPatient(w http.ResponseWriter) *Patient {
	return &Patient{ResponseWriter: w, out: http.NewResponseController(w)}
}

// Unwrap is for http.ResponseController.
func (p *Patient) Unwrap() http.ResponseWriter { return p.ResponseWriter }

// extend gives the client its time anew. HTTP/2 wakes another goroutine for it, so it is not done for each write.
func (p *Patient) extend() {
	if now := time.Now(); now.Sub(p.set) > Within/10 {
		p.set = now
		p.out.SetWriteDeadline(now.Add(Within))
	}
}

func (p *Patient) WriteHeader(status int) {
	p.extend()
	p.ResponseWriter.WriteHeader(status)
}

func (p *Patient) Write(b []byte) (int, error) {
	p.extend()
	return p.ResponseWriter.Write(b)
}

// Steady is a request's body that has to come on, each time it is read.
type Steady struct {
	*http.Request
	in *http.ResponseController
}

// NewSteady wraps a request.
func NewSteady(w http.ResponseWriter, r *http.Request) Steady {
	return Steady{r, http.NewResponseController(w)}
}

func (s Steady) Read(b []byte) (int, error) {
	s.in.SetReadDeadline(time.Now().Add(Within))
	return s.Body.Read(b)
}
