package daemon

import (
	"context"
	"errors"
	"net/http"
	"time"

	"gardien/gateway"
	"gardien/gateway/api"
	"gardien/gateway/residents"
	"gardien/store"
)

// residentMemory is the store as the residents' room sees it.
type residentMemory struct{ store *store.Store }

func (m residentMemory) List(ctx context.Context) ([]gateway.Resident, error) {
	return store.Look(ctx, m.store, func(tx *store.Tx) []gateway.Resident { return tx.Residents.List() })
}

func (m residentMemory) Find(ctx context.Context, id gateway.ResidentID) (r gateway.Resident, mac []byte, found bool, err error) {
	err = m.store.View(ctx, func(tx *store.Tx) error { r, mac, found = tx.Residents.Find(id); return nil })
	return r, mac, found, err
}

func (m residentMemory) Rebind(ctx context.Context, id gateway.ResidentID, mac []byte, key string) (found bool, err error) {
	err = m.store.Update(ctx, func(tx *store.Tx) error {
		if found = tx.Residents.Rebind(id, mac, key); !found {
			return tx.Err()
		}
		return tx.Record.Append(gateway.Event{Type: gateway.ResidentPaired, Resident: id})
	})
	return found, err
}

func (m residentMemory) Confirm(ctx context.Context, id gateway.ResidentID) (needed bool, err error) {
	err = m.store.Update(ctx, func(tx *store.Tx) error {
		if needed = tx.Residents.Confirm(id); !needed {
			return tx.Err()
		}
		return tx.Record.Append(gateway.Event{Type: gateway.ResidentPaired, Resident: id})
	})
	return needed, err
}

func (m residentMemory) Add(ctx context.Context, r gateway.Resident, mac []byte) error {
	return m.store.Update(ctx, func(tx *store.Tx) error {
		return errors.Join(tx.Residents.Put(r, mac), tx.Record.Append(gateway.Event{Type: gateway.ResidentPaired, Resident: r.ID}))
	})
}

func (m residentMemory) Remove(ctx context.Context, id gateway.ResidentID, keep bool) (found, last bool, err error) {
	err = m.store.Update(ctx, func(tx *store.Tx) error {
		if last = keep && isLast(tx.Residents.List(), id); last {
			return tx.Err()
		}
		if found = tx.Residents.Remove(id); !found {
			return tx.Err()
		}
		return tx.Record.Append(gateway.Event{Type: gateway.ResidentRemoved, Resident: id})
	})
	return found, last, err
}

// isLast reports the only confirmed device of the role resident.
func isLast(list []gateway.Resident, id gateway.ResidentID) bool {
	is := false
	for _, r := range list {
		if r.Role != gateway.RoleResident || r.Unconfirmed {
			continue
		}
		if r.ID != id {
			return false
		}
		is = true
	}
	return is
}

func (m residentMemory) SeenAt(ctx context.Context) (map[gateway.ResidentID]time.Time, error) {
	return store.Look(ctx, m.store, func(tx *store.Tx) map[gateway.ResidentID]time.Time { return tx.Residents.SeenAt() })
}

func (m residentMemory) PutSeenAt(ctx context.Context, seen map[gateway.ResidentID]time.Time) error {
	return m.store.Follow(ctx, func(tx *store.Tx) error { tx.Residents.PutSeenAt(seen); return tx.Err() })
}

func (m residentMemory) Answer(ctx context.Context, key []byte) (body, answer []byte, at time.Time, err error) {
	err = m.store.View(ctx, func(tx *store.Tx) error { body, answer, at = tx.Residents.Answer(key); return nil })
	return body, answer, at, err
}

func (m residentMemory) PutAnswer(ctx context.Context, key, body, answer []byte, at time.Time) error {
	return m.store.Follow(ctx, func(tx *store.Tx) error { return tx.Residents.PutAnswer(key, body, answer, at) })
}

// DropAnswers writes nothing where there is nothing to forget.
func (m residentMemory) DropAnswers(ctx context.Context, before time.Time) error {
	has, err := store.Look(ctx, m.store, func(tx *store.Tx) bool { return tx.Residents.HasAnswers(before) })
	if err != nil || !has {
		return err
	}
	return m.store.Follow(ctx, func(tx *store.Tx) error { return tx.Residents.DropAnswers(before) })
}

// problems are the room's errors in the API's words.
var problems = []struct {
	err    error
	status int
	name   string
}{
	{residents.ErrName, http.StatusBadRequest, "bad-request"},
	{residents.ErrKey, http.StatusBadRequest, "bad-request"},
	{residents.ErrNeedsKey, http.StatusBadRequest, "bad-request"},
	{residents.ErrNoWindow, http.StatusConflict, "no-pairing"},
	{residents.ErrSecret, http.StatusForbidden, "wrong-secret"},
	{residents.ErrLast, http.StatusConflict, "last-resident"},
	{residents.ErrProof, http.StatusUnauthorized, "unauthorized"},
	{residents.ErrMoves, http.StatusTooManyRequests, "too-many-requests"},
	{residents.ErrActs, http.StatusTooManyRequests, "too-many-requests"},
}

func asProblem(err error) error {
	var unknown *residents.UnknownError
	if errors.As(err, &unknown) {
		return api.NotFound("resident", string(unknown.ID), unknown.Exist)
	}
	if errors.Is(err, residents.ErrNonce) {
		return api.ErrNonce
	}
	for _, p := range problems {
		if errors.Is(err, p.err) {
			return api.Fail(p.status, p.name, "%v", err)
		}
	}
	return err
}
