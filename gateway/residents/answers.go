package residents

import (
	"context"
	"crypto/aes"
	"crypto/cipher"
	"crypto/hmac"
	"time"

	"gardien/gateway"
)

// AnswersFor is how long an answer is remembered.
const AnswersFor = 24 * time.Hour

// forgetEvery is how often answers that have ended are deleted: each is gone within an hour,
// also where the first try fails.
const forgetEvery = 20 * time.Minute

// Recall finds what was answered to a request with this key; same says that it had this body.
// What was answered more than AnswersFor ago is not given out, whether it is deleted or not.
func (r *Residents) Recall(ctx context.Context, key, body string) (answer []byte, found, same bool, err error) {
	wantBody, sealed, at, err := r.Memory.Answer(ctx, r.MAC("answer key", key))
	if err != nil || sealed == nil || !isFresh(at, r.Clock.Read()) {
		return nil, false, false, err
	}
	if !hmac.Equal(wantBody, r.MAC("answer body", body)) {
		return nil, true, false, nil
	}
	aead, err := r.sealer()
	if err == nil {
		answer, err = aead.Open(nil, nil, sealed, []byte(key))
	}
	return answer, true, true, err
}

// isFresh reports whether an answer's end has surely not passed. A clock that is undecided
// vouches for no more than the time since the boot.
func isFresh(at time.Time, now gateway.Reading) bool {
	const leeway = time.Minute // a clock may be set back a little
	if at.After(now.Wall.Add(leeway)) {
		return false
	}
	if now.State == gateway.ClockUndecided {
		booted := now.Wall.Add(-now.SinceBoot)
		return at.After(booted) && now.Wall.Sub(at) < AnswersFor
	}
	return now.Latest.Sub(at) < AnswersFor
}

// Remember keeps an answer.
func (r *Residents) Remember(ctx context.Context, key, body string, answer []byte) error {
	aead, err := r.sealer()
	if err != nil {
		return err
	}
	return r.Memory.PutAnswer(ctx, r.MAC("answer key", key), r.MAC("answer body", body), aead.Seal(nil, nil, answer, []byte(key)), r.Clock.Read().Wall)
}

// ForgetAnswers deletes answers that have ended, until ctx ends.
func (r *Residents) ForgetAnswers(ctx context.Context) error {
	tick := time.NewTicker(forgetEvery)
	defer tick.Stop()
	for {
		if err := r.forgetEnded(ctx); err != nil && ctx.Err() == nil {
			return err
		}
		select {
		case <-ctx.Done():
			return nil
		case <-tick.C:
		}
	}
}

// forgetEnded deletes what has surely ended: nothing while the clock is undecided.
func (r *Residents) forgetEnded(ctx context.Context) error {
	now := r.Clock.Read()
	if now.State == gateway.ClockUndecided {
		return nil
	}
	return r.Memory.DropAnswers(ctx, now.Earliest.Add(-AnswersFor))
}

// sealer encrypts under the device key.
func (r *Residents) sealer() (cipher.AEAD, error) {
	block, err := aes.NewCipher(r.MAC("answers"))
	if err != nil {
		return nil, err
	}
	return cipher.NewGCMWithRandomNonce(block)
}
