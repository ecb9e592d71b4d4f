package residents

import (
	"bytes"
	"context"
	"slices"
	"sync"
	"time"

	"gardien/gateway"
)

// Fake is a Memory in memory, for tests of whoever uses this room.
type Fake struct {
	mu      sync.Mutex
	list    []gateway.Resident
	tokens  map[gateway.ResidentID][]byte
	answers map[string]fakeAnswer
	Fail    error // of every call
}

type fakeAnswer struct {
	body, answer []byte
	at           time.Time
}

var _ Memory = (*Fake)(nil)

// List implements Memory.
func (f *Fake) List(context.Context) ([]gateway.Resident, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	return append([]gateway.Resident{}, f.list...), f.Fail
}

// HasToken implements Memory.
func (f *Fake) HasToken(_ context.Context, id gateway.ResidentID, mac []byte) (has, confirmed bool, err error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	has = f.Fail == nil && f.tokens[id] != nil && bytes.Equal(f.tokens[id], mac)
	i := slices.IndexFunc(f.list, func(r gateway.Resident) bool { return r.ID == id })
	return has, has && !f.list[i].Unconfirmed, f.Fail
}

// Confirm implements Memory.
func (f *Fake) Confirm(_ context.Context, id gateway.ResidentID) (bool, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	for i := range f.list {
		if r := &f.list[i]; r.ID == id && r.Unconfirmed && f.Fail == nil {
			r.Unconfirmed = false
			return true, nil
		}
	}
	return false, f.Fail
}

// Add implements Memory.
func (f *Fake) Add(_ context.Context, r gateway.Resident, mac []byte) error {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.Fail != nil {
		return f.Fail
	}
	if f.tokens == nil {
		f.tokens = map[gateway.ResidentID][]byte{}
	}
	f.list, f.tokens[r.ID] = append(f.list, r), mac
	return nil
}

// Remove implements Memory.
func (f *Fake) Remove(_ context.Context, id gateway.ResidentID) (bool, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	for i, r := range f.list {
		if r.ID == id && f.Fail == nil {
			f.list = append(f.list[:i:i], f.list[i+1:]...)
			delete(f.tokens, id)
			return true, nil
		}
	}
	return false, f.Fail
}

// Answer implements Memory.
func (f *Fake) Answer(_ context.Context, key []byte) (body, answer []byte, at time.Time, err error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	a := f.answers[string(key)]
	return a.body, a.answer, a.at, f.Fail
}

// PutAnswer implements Memory.
func (f *Fake) PutAnswer(_ context.Context, key, body, answer []byte, at time.Time) error {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.answers == nil {
		f.answers = map[string]fakeAnswer{}
	}
	if f.Fail == nil {
		f.answers[string(key)] = fakeAnswer{body, answer, at}
	}
	return f.Fail
}

// DropAnswers implements Memory.
func (f *Fake) DropAnswers(_ context.Context, before time.Time) error {
	f.mu.Lock()
	defer f.mu.Unlock()
	for key, a := range f.answers {
		if f.Fail == nil && a.at.Before(before) {
			delete(f.answers, key)
		}
	}
	return f.Fail
}

// Answers counts those that are remembered.
func (f *Fake) Answers() int {
	f.mu.Lock()
	defer f.mu.Unlock()
	return len(f.answers)
}
