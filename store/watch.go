package store

import "sync"

// watchers are told when the record has grown.
type watchers struct {
	mu   sync.Mutex
	list map[chan struct{}]bool
}

func (w *watchers) wake() {
	w.mu.Lock()
	defer w.mu.Unlock()
	for c := range w.list {
		select {
		case c <- struct{}{}:
		default:
		}
	}
}

// Watch delivers a token after the record has grown; stop ends it.
func (s *Store) Watch() (grown <-chan struct{}, stop func()) {
	c := make(chan struct{}, 1)
	s.watchers.mu.Lock()
	defer s.watchers.mu.Unlock()
	if s.watchers.list == nil {
		s.watchers.list = map[chan struct{}]bool{}
	}
	s.watchers.list[c] = true
	return c, func() {
		s.watchers.mu.Lock()
		defer s.watchers.mu.Unlock()
		delete(s.watchers.list, c)
	}
}
