package api

import (
	"context"

	"gardien/gateway"
)

type fakeReceipts struct{ *Fake }

// Holds takes "proof" for the attempt "a1".
func (fakeReceipts) Holds(_ context.Context, attempt gateway.AttemptID, proof gateway.Secret) (bool, error) {
	return attempt == "a1" && proof.Reveal() == "proof", nil
}

// Receipt knows "a1".
func (f fakeReceipts) Receipt(ctx context.Context, attempt gateway.AttemptID) (string, bool, error) {
	f.wait(ctx)
	if attempt == "broken" {
		return "", false, ErrFake
	}
	return "r.e.c", attempt == "a1", nil
}
