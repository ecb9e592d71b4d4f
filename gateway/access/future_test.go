package access_test

import (
	"testing"
	"time"

	"gardien/gateway"
	"gardien/gateway/tokens"
)

// A document from the future is refused, whatever it is: a minute is what an issuer's clock may be
// ahead. What was refused changes nothing, so that the same word may come again in its time.
func TestDocumentsFromTheFuture(t *testing.T) {
	sign := map[gateway.ItemKind]func(h *house, iat time.Time) (string, error){
		gateway.ItemGrant: func(h *house, iat time.Time) (string, error) {
			return h.grant("g1", func(g *gateway.Grant) { g.IssuedAt = iat }), nil
		},
		gateway.ItemManifest: func(h *house, iat time.Time) (string, error) {
			return tokens.SignManifest(h.carrier, h.id.ID, gateway.Manifest{Issuer: colisX, Version: 7, IssuedAt: iat, NextUpdate: iat.Add(time.Hour),
				Digest: gateway.ManifestDigest(nil)})
		},
		gateway.ItemKeys: func(h *house, iat time.Time) (string, error) {
			jwks, err := tokens.MarshalKeySet(h.carrier.PublicKey, nil)
			if err != nil {
				return "", err
			}
			return tokens.SignKeys(h.carrier, h.id.ID, gateway.KeyRing{Issuer: colisX, Version: 7, IssuedAt: iat, JWKS: jwks})
		},
	}
	for kind, signed := range sign {
		live(t, nil, func(h *house) {
			takes := func(after time.Duration, want string, reason gateway.Reason) {
				h.t.Helper()
				text, err := signed(h, time.Now().Truncate(time.Second).Add(after))
				h.check(err)
				in, err := h.TakeItem(h.t.Context(), kind, text)
				h.check(err)
				if in.Result != want || in.Refusal != nil && in.Refusal.Reason != reason {
					h.t.Errorf("%s of %s ahead: %+v %v, want %s", kind, after, in, in.Refusal, want)
				}
			}
			takes(10*time.Minute, "rejected", gateway.NotYetValid)
			takes(61*time.Second, "rejected", gateway.NotYetValid)
			takes(59*time.Second, "accepted", "")
		})
	}
}
