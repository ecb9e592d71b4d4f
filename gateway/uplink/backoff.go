package uplink

import (
	"errors"
	"math/rand/v2"
	"time"
)

// The bounds of back-off (N7), and how long all must be well for an outage to be over.
const (
	backoffLeast = 500 * time.Millisecond
	backoffMost  = time.Minute
	wellFor      = time.Minute
)

// backoff draws delays with full jitter. Their bound is a quarter of the time that the
// cloud has been away, so that it grows as powers do, and who was away for seconds is back
// in less. A first success proves little: a cloud that answers and then fails, for ever, is
// away, too.
type backoff struct {
	since  time.Time                              // when the outage began, without what was well in it; zero: there is none
	well   time.Time                              // since when all is well; zero: it is not
	jitter func(most time.Duration) time.Duration // nil: random
	fixed  bool                                   // a snapshot was taken since all was well
}

// good notes that the cloud is of use.
func (b *backoff) good() {
	if b.well.IsZero() {
		b.well = time.Now()
	}
}

// trouble notes that it is not any more.
func (b *backoff) trouble() {
	if b.well.IsZero() {
		return
	}
	well := time.Since(b.well)
	if well >= wellFor {
		b.reset()
		return
	}
	b.well = time.Time{}
	if !b.since.IsZero() {
		b.since = b.since.Add(well)
	}
}

// next gives how long to wait after an error; 0 is not at all.
func (b *backoff) next(err error) time.Duration {
	switch {
	case errors.Is(err, errWanted):
		b.reset()
		return 0
	case errors.Is(err, errAtOnce):
		return 0
	}
	b.trouble()
	if b.since.IsZero() {
		b.since = time.Now()
	}
	bound := min(max(time.Since(b.since)/4, backoffLeast), backoffMost)
	jitter := b.jitter
	if jitter == nil {
		jitter = rand.N[time.Duration]
	}
	return max(time.Millisecond+jitter(bound), told(err))
}

func (b *backoff) reset() { *b = backoff{jitter: b.jitter} }
