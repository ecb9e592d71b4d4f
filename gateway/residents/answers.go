package residents

import (
	"context"
	"crypto/aes"
	"crypto/cipher"
	"crypto/hmac"
	"time"
)

// AnswersFor is how long an answer is remembered.
const AnswersFor = 24 * time.Hour

// Recall finds what was answered to a request with this key; same says that it had this body.
func (r *Residents) Recall(ctx context.Context, key, body string) (answer []byte, found, same bool, err error) {
	wantBody, sealed, err := r.Memory.Answer(ctx, r.MAC("answer key", key))
	if err != nil || sealed == nil {
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

// Remember keeps an answer.
func (r *Residents) Remember(ctx context.Context, key, body string, answer []byte) error {
	aead, err := r.sealer()
	if err != nil {
		return err
	}
	now := r.Clock.Read().Wall
	return r.Memory.PutAnswer(ctx, r.MAC("answer key", key), r.MAC("answer body", body), aead.Seal(nil, nil, answer, []byte(key)), now, now.Add(-AnswersFor))
}

// sealer encrypts under the device key.
func (r *Residents) sealer() (cipher.AEAD, error) {
	block, err := aes.NewCipher(r.MAC("answers"))
	if err != nil {
		return nil, err
	}
	return cipher.NewGCMWithRandomNonce(block)
}
