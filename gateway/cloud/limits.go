package cloud

import (
	"sync"
	"time"

	"golang.org/x/time/rate"
)

// limits bounds what each principal may do: requests a second, and streams at once.
type limits struct {
	now   func() time.Time
	mu    sync.Mutex
	each  map[string]*allowance
	open  int // streams in all
	swept time.Time
}

type allowance struct {
	rate    *rate.Limiter
	streams int
	used    time.Time
}

func (l *limits) of(who string, perSecond, burst int) *allowance {
	now := l.now()
	if l.each == nil {
		l.each = map[string]*allowance{}
	}
	if now.Sub(l.swept) > time.Minute { // who was idle for long has its burst again anyway
		for k, a := range l.each {
			if a.streams == 0 && now.Sub(a.used) > 5*time.Minute {
				delete(l.each, k)
			}
		}
		l.swept = now
	}
	a := l.each[who]
	if a == nil {
		a = &allowance{}
		l.each[who] = a
	}
	if a.rate == nil && perSecond > 0 {
		a.rate = rate.NewLimiter(rate.Limit(perSecond), burst)
	}
	a.used = now
	return a
}

func (l *limits) allow(who string, perSecond, burst int) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.of(who, perSecond, burst).rate.AllowN(l.now(), 1)
}

// enter counts a stream; leave ends it.
func (l *limits) enter(who string, most int) (leave func(), ok bool) {
	l.mu.Lock()
	defer l.mu.Unlock()
	a := l.of(who, 0, 0)
	if a.streams >= most {
		return nil, false
	}
	a.streams++
	l.open++
	return func() {
		l.mu.Lock()
		defer l.mu.Unlock()
		a.streams--
		l.open--
	}, true
}

func (l *limits) streams() int {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.open
}
