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

func (m residentMemory) HasToken(ctx context.Context, id gateway.ResidentID, mac []byte) (has, confirmed bool, err error) {
	err = m.store.View(ctx, func(tx *store.Tx) error { has, confirmed = tx.Residents.HasToken(id, mac); return nil })
	return has, confirmed, err
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

func (m residentMemory) Remove(ctx context.Context, id gateway.ResidentID) (found bool, err error) {
	err = m.store.Update(ctx, func(tx *store.Tx) error {
		if found = tx.Residents.Remove(id); !found {
			return tx.Err()
		}
		return tx.Record.Append(gateway.Event{Type: gateway.ResidentRemoved, Resident: id})
	})
	return found, err
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

// asProblem turns the room's errors into the API's words.
func asProblem(err error) error {
	var unknown *residents.UnknownError
	switch {
	case errors.Is(err, residents.ErrName):
		return api.Fail(http.StatusBadRequest, "bad-request", "%v", err)
	case errors.Is(err, residents.ErrNoWindow):
		return api.Fail(http.StatusConflict, "no-pairing", "%v", err)
	case errors.Is(err, residents.ErrUnsure):
		return api.Fail(http.StatusForbidden, "not-confirmed", "%v", err)
	case errors.Is(err, residents.ErrSecret):
		return api.Fail(http.StatusForbidden, "wrong-secret", "%v", err)
	case errors.As(err, &unknown):
		return api.NotFound("resident", string(unknown.ID), unknown.Exist)
	}
	return err
}
