package tokens

import (
	"slices"

	"github.com/google/go-cmp/cmp"

	"gardien/gateway"
)

// diff tells how want and got differ, secrets included; "" where they do not.
func diff(want, got any) string {
	return cmp.Diff(want, got,
		cmp.Comparer(func(a, b gateway.Secret) bool { return a.Reveal() == b.Reveal() }),
		cmp.Comparer(func(a, b KeySet) bool { return slices.Equal(a.KeyIDs(), b.KeyIDs()) }),
		cmp.Comparer(func(a, b PublicKey) bool { return a.kid == b.kid && a.alg == b.alg }))
}
