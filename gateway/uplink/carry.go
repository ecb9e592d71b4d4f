package uplink

import (
	"context"
	"encoding/json"
	"errors"
	"net/http"
	"time"

	"gardien/gateway"
)

// carry carries events up until ctx ends. It waits while there is no connection: the feed
// finds out when there is one.
func (u *Uplink) carry(ctx context.Context) {
	grown, stop := u.Outbox.Grown()
	defer stop()
	var b backoff
	for connected := false; ; {
		select {
		case <-ctx.Done():
			return
		case <-u.fresh:
			connected = true
			b.reset()
			if err := u.ask(ctx); err != nil {
				u.Log.Info("the cloud did not say how far the record has come up", "err", err)
			}
		case <-grown:
		}
		for connected && ctx.Err() == nil {
			more, err := u.carryBatch(ctx)
			if err == nil && more {
				continue
			}
			if err == nil {
				break
			}
			u.Log.Info("events wait", "err", err)
			// A new connection: this one may be dead (sync.md §5.4).
			u.Client.Close()
			select {
			case <-ctx.Done():
			case <-u.fresh:
				b.reset()
			case <-time.After(b.next(err)):
			}
		}
	}
}

// answer is what an upload is answered with.
type answer struct {
	Ack        *int64 `json:"ack"`
	Expect     *int64 `json:"expect"`
	ResendFrom *int64 `json:"resend_from"`
}

// ask learns how far the cloud has come with our log; it may have lost some of it. An
// empty log has nothing to ask.
func (u *Uplink) ask(ctx context.Context) error {
	log, last, _, err := u.Outbox.Unsent(ctx, 0)
	if err != nil || last == 0 {
		return err
	}
	return u.upload(ctx, log, last, nil)
}

// carryBatch carries one batch and moves the cursor.
func (u *Uplink) carryBatch(ctx context.Context) (more bool, err error) {
	log, last, list, err := u.Outbox.Unsent(ctx, gateway.MaxLetters)
	if err != nil || len(list) == 0 {
		return false, err
	}
	size := 0
	for n, l := range list {
		if size += len(l.Body) + 128; size > gateway.MaxUpload-4096 {
			list = list[:n]
			break
		}
	}
	return true, u.upload(ctx, log, last, list)
}

func (u *Uplink) upload(ctx context.Context, log string, last int64, list []gateway.Letter) error {
	if list == nil {
		list = []gateway.Letter{}
	}
	var a answer
	err := u.Client.Do(ctx, http.MethodPost, "/v1/gateways/"+string(u.Gateway)+"/events", gateway.Upload{Log: log, Letters: list}, &a)
	var refused *StatusError
	if errors.As(err, &refused) && refused.Status == http.StatusConflict && json.Unmarshal(refused.Body, &a) == nil && (a.Expect != nil || a.ResendFrom != nil) {
		err = nil
	}
	if err != nil {
		return err
	}
	next := last + int64(len(list))
	for _, from := range []*int64{a.Expect, a.ResendFrom} {
		if from != nil {
			next = *from - 1
		}
	}
	if a.Ack != nil {
		next = *a.Ack
	}
	if next == last && len(list) > 0 {
		return errors.New("the cloud does not take the next events")
	}
	if next == last {
		return nil
	}
	return u.Outbox.Sent(ctx, log, next)
}
