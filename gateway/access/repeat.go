package access

import (
	"crypto/hmac"
	"sync"
	"time"

	"gardien/gateway"
)

// repeats remembers who was let in last at each reader. A code that is held before a scanner
// is read again and again: while the door is still released for it, it is judged as ever, and
// if it is still good it is answered as the first time. That spends nothing, records nothing,
// and is no retry (contract §9).
type repeats struct {
	mu   sync.Mutex
	each map[gateway.ReaderID]repeat
}

type repeat struct {
	credential  []byte // a keyed hash
	grant       gateway.GrantID
	attempt     gateway.AttemptID
	releaseTime time.Duration
}

// repeats asks whether the credential is the one that this reader's door is released for.
func (a *attempt) repeats(credential []byte) {
	a.credential = credential
	a.c.repeats.mu.Lock()
	last, ok := a.c.repeats.each[a.Reader]
	a.c.repeats.mu.Unlock()
	if ok && a.view.Runs(last.attempt) && hmac.Equal(last.credential, credential) {
		a.repeat, a.retry = &last, true
	}
}

// remember notes who was let in at a reader. Whoever comes over the network has other means
// to repeat a request.
func (r *repeats) remember(a *attempt, releaseTime time.Duration) {
	if a.credential == nil || a.Reader == gateway.ReaderLAN || a.Reader == gateway.ReaderApp {
		return
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.each == nil {
		r.each = map[gateway.ReaderID]repeat{}
	}
	r.each[a.Reader] = repeat{a.credential, a.Grant, a.ID, releaseTime}
}
