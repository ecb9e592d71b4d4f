package residents

import (
	"context"
	"maps"
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
	seen    map[gateway.ResidentID]time.Time
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

// Find implements Memory.
func (f *Fake) Find(_ context.Context, id gateway.ResidentID) (r gateway.Resident, mac []byte, found bool, err error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if i := f.index(id); i >= 0 && f.Fail == nil {
		return f.list[i], f.tokens[id], true, nil
	}
	return gateway.Resident{}, nil, false, f.Fail
}

// index finds a resident. The caller holds mu.
func (f *Fake) index(id gateway.ResidentID) int {
	return slices.IndexFunc(f.list, func(r gateway.Resident) bool { return r.ID == id })
}

// Rebind implements Memory.
func (f *Fake) Rebind(_ context.Context, id gateway.ResidentID, mac []byte, key string) (bool, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	i := f.index(id)
	if i < 0 || f.Fail != nil {
		return false, f.Fail
	}
	f.list[i].Key, f.tokens[id] = key, mac
	f.list[i].Ver++
	return true, nil
}

// SeenAt implements Memory.
func (f *Fake) SeenAt(context.Context) (map[gateway.ResidentID]time.Time, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	list := map[gateway.ResidentID]time.Time{}
	maps.Copy(list, f.seen)
	return list, f.Fail
}

// PutSeenAt implements Memory.
func (f *Fake) PutSeenAt(_ context.Context, seen map[gateway.ResidentID]time.Time) error {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.Fail != nil {
		return f.Fail
	}
	if f.seen == nil {
		f.seen = map[gateway.ResidentID]time.Time{}
	}
	maps.Copy(f.seen, seen)
	return nil
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
func (f *Fake) Remove(_ context.Context, id gateway.ResidentID, keep bool) (found, last bool, err error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	i := f.index(id)
	if i < 0 || f.Fail != nil {
		return false, false, f.Fail
	}
	others := slices.ContainsFunc(f.list, func(r gateway.Resident) bool {
		return r.ID != id && r.Role == gateway.RoleResident && !r.Unconfirmed
	})
	if keep && !others && f.list[i].Role == gateway.RoleResident && !f.list[i].Unconfirmed {
		return true, true, nil
	}
	f.list = append(f.list[:i:i], f.list[i+1:]...)
	delete(f.tokens, id)
	return true, false, nil
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
