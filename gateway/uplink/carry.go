package uplink

import (
	"context"
	"encoding/json"
	"errors"
	"net/http"
	"time"

	"gardien/gateway"
)

// tellEvery is how often the cloud gets our word on the record, which letters take along besides:
// most of what happens at a door concerns no issuer.
const tellEvery = time.Minute

// carry carries events up until ctx ends. It waits while there is no connection: the feed
// finds out when there is one.
func (u *Uplink) carry(ctx context.Context) {
	grown, stop := u.Outbox.Grown()
	defer stop()
	var b backoff
	var err error
	var again <-chan time.Time // after a failure
	var said string            // our newest word on the record
	tell := time.NewTicker(tellEvery)
	defer tell.Stop()
	for connected, asked := false, false; ; {
		select {
		case <-ctx.Done():
			return
		case <-u.fresh:
			connected, asked = true, false
			if again != nil && told(err) > 0 {
				continue // the cloud has said when
			}
		case <-grown:
			if !connected || again != nil {
				continue
			}
		case <-tell.C:
			if s, _ := u.State(); s != Connected || !asked || again != nil {
				continue
			}
			if err := u.tell(ctx, &said); err != nil && ctx.Err() == nil {
				u.Log.Info("the cloud does not take our word on the record; it gets the next one", "err", err)
			}
			continue
		case <-again:
		}
		again = nil
		if asked, err = u.carryAll(ctx, &b, asked); err != nil && ctx.Err() == nil {
			u.Log.Info("events wait", "err", err)
			u.Client.Close() // where the feed is a long poll, the connection may be a dead one (sync.md §5.4)
			again = time.After(b.next(err))
		}
	}
}

// carryAll carries all that there is, once it is known how far the cloud has come.
func (u *Uplink) carryAll(ctx context.Context, b *backoff, asked bool) (bool, error) {
	if !asked {
		if err := u.ask(ctx); err != nil {
			return false, err
		}
		b.good()
	}
	for {
		more, err := u.carryBatch(ctx)
		if err != nil || !more {
			return true, err
		}
		b.good()
	}
}

// answer is what an upload is answered with.
type answer struct {
	Ack        *int64 `json:"ack"`
	Expect     *int64 `json:"expect"`
	ResendFrom *int64 `json:"resend_from"`
	Head       string `json:"head"`
}

// ask learns how far the cloud has come with our log: it may have lost some of it, or have
// more than we do. Nothing goes up before that is known, nor before the cloud has given back what
// we once said of our record (R1).
func (u *Uplink) ask(ctx context.Context) error {
	log, last, _, err := u.Outbox.Unsent(ctx, 0)
	if err != nil {
		return err
	}
	next, head, err := u.upload(ctx, gateway.Upload{Log: log, Letters: []gateway.Letter{}}, last)
	if err != nil {
		return err
	}
	if err := u.Outbox.Sent(ctx, log, next); err != nil || head == "" {
		return err
	}
	return u.Outbox.Told(ctx, head) // after the log's end is known: a rollback begins another log
}

// tell gives the cloud our word on the record, where it has changed and no letter takes it along.
func (u *Uplink) tell(ctx context.Context, told *string) error {
	head, err := u.Outbox.Head(ctx)
	if err != nil || head == "" || head == *told {
		return err
	}
	log, last, _, err := u.Outbox.Unsent(ctx, 0)
	if err == nil {
		_, _, err = u.upload(ctx, gateway.Upload{Log: log, Letters: []gateway.Letter{}, Head: head}, last)
	}
	if err == nil {
		*told = head
	}
	return err
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
	head, err := u.Outbox.Head(ctx)
	if err != nil {
		return false, err
	}
	next, _, err := u.upload(ctx, gateway.Upload{Log: log, Letters: list, Head: head}, last)
	if err != nil {
		return false, err
	}
	next = min(next, last+int64(len(list))) // what has not gone up is not there
	if err := u.Outbox.Sent(ctx, log, next); err != nil {
		return false, err
	}
	if next <= last { // it begins again further back, or says so for ever
		return false, errors.New("the cloud does not take the next events")
	}
	return true, nil
}

// upload sends letters after the last, and gives the number up to which the cloud has the log now,
// and the newest head that it has.
func (u *Uplink) upload(ctx context.Context, up gateway.Upload, last int64) (next int64, head string, err error) {
	var a answer
	err = u.Client.Do(ctx, http.MethodPost, "/v1/gateways/"+string(u.Gateway)+"/events", up, &a)
	var refused *StatusError
	if errors.As(err, &refused) && refused.Status == http.StatusConflict && json.Unmarshal(refused.Body, &a) == nil && (a.Expect != nil || a.ResendFrom != nil) {
		err = nil
	}
	if err != nil {
		return 0, "", err
	}
	next = last + int64(len(up.Letters))
	for _, from := range []*int64{a.Expect, a.ResendFrom} {
		if from != nil {
			next = max(*from, 1) - 1
		}
	}
	if a.Ack != nil {
		next = *a.Ack
	}
	const longest = 1 << 53 // no log is: what the store adds to a number must not overflow
	return min(max(next, 0), longest), a.Head, nil
}
